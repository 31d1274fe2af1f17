"""A seeded cluster in one process: replicas, crashes, a Byzantine proposer, elections, and checkers of every block."""
