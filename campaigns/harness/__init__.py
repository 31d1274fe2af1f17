"""What campaigns, tests and benchmarks stand on: a chain in memory, a consortium, rules of CometBFT, real and fake
nodes.

``chain`` and ``consortium`` build ledger state transaction by transaction; ``cometbft_blocks`` and ``grammar`` are
CometBFT's own rules, as oracles; ``header_chain``, ``fake_node`` and ``answered`` play a node to a client; ``comet``
runs a real one.
"""
