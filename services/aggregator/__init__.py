"""The aggregator: opens and closes rounds, and proposes the version that every verifier recomputes."""
