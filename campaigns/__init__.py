"""Long attacks on the whole, each with a short version that CI runs from ``tests/campaigns``.

``simulation``: replicas under crashes and a Byzantine proposer, by seed. ``fuzz``: every decoder under mutated bytes.
``hostile``: hostile transactions, in process and against real nodes. ``reliability``: kill -9 at fifty moments on four
real validators. ``flood``: a member that floods, and the revocation that must get through. ``damage``: stores damaged
on disk. ``harness`` is what they, the tests and the benchmarks stand on.
"""
