"""The verifier: recomputes every proposal, votes with the digest it arrives at, and probes what was promoted."""
