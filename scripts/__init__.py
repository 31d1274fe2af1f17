"""Programs for people who work on this repository: set-up, generated files. Never part of the distribution."""
