"""Measurements, each with its own command: ``python -m benchmarks.NAME``. Results go to docs/benchmarks.md."""
