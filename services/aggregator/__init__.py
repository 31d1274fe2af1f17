"""Aggregators and verifiers: both recompute the same candidate; one proposes it, the others vote on it.

Reading order: ``round`` (what to do next, pure), ``recompute`` (the candidate, pure), ``gather`` (fetching payloads),
``aggregator`` and ``verifier`` (the programs).
"""
