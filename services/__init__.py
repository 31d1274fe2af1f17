"""Aggregator and verifier, programs that the command line starts, and ``rounds``, what both rest on.

Each is a thin shell around a pure core.
"""
