"""What blocks are made of: headers, commits, validators, keys, proofs, times (typed in ``blocks.pyi``)."""

from . import declared_in

_PACKAGES = ("tendermint.types", "tendermint.crypto", "tendermint.version", "google.protobuf")

globals().update(declared_in(*_PACKAGES))
