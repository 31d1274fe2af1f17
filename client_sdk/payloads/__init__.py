"""Payloads: model updates as content-addressed, verified, optionally encrypted blocks, in any store.

Only hashes of payloads go to the ledger. Here are the CID (``cid``), the tree of blocks below it
(``unixfs``), the archive it travels in (``car``), what every store does (``store``), and the stores: a folder
(``block_folder``) and a Kubo daemon (``kubo``, started for a devnet by ``kubo_node``). ``confidential``
encrypts before any of that.

Import the modules; this file imports nothing, so the command line starts without an HTTP library.
"""
