"""What aggregators and verifiers share: seeing a task's round, fetching its payloads, recomputing its candidate.

Reading order: ``round`` (what to do next, pure), ``recompute`` (the candidate, pure), ``gather`` (fetching payloads),
``fetching`` (in the background), ``ballot_journal`` (what a sealed ballot says), ``observe`` (what the ledger shows,
block by block).
"""
