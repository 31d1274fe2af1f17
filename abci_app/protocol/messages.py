"""What CometBFT asks and an application answers: the messages of ABCI 2.0 (typed in ``messages.pyi``)."""

from . import declared_in

globals().update(declared_in("tendermint.abci"))
