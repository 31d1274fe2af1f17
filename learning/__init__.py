"""The learning plane's pure core: numerics, and nothing else.

No sockets, no files, no clock, and no randomness of its own: whatever draws takes an
`entropy.EntropySource` or a seed as an argument. NumPy is the only import; `torch_model` alone
imports torch. Nothing here knows the ledger: the terms of a task arrive as plain numbers.

A round, in the order of the modules that serve it:

    inputs, partition        public input transforms, the four-way split, non-IID shards
    model, logistic, torch_model, feed_forward   what can be trained, and what can be scored
    entropy, privacy, local_training   the differentially private steps, up to an update
    tensors, fixed, payload  the update as a vector, as integers, as bytes
    robust                   the aggregate, bit for bit the same on every machine
    canary, backdoor_probe   what voters measure before a version is promoted
"""
