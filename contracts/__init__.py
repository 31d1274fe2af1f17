"""The rules of the ledger: every record, refusal, proof and transition, pure and integer-only."""
