"""Whether this run of the program believes a node: ``--trust-node``, which stands anywhere on the line.

Answers are verified unless that is asked for. When it is, and the ledger is really read, a warning goes to standard
error and every JSON result says ``"verified": false``. Nothing is ever signed on a node's word.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

OPTION = "--trust-node"
VARIABLE = "FEDLEDGER_TRUST_NODE"
WARNING = f"Not verified: this is what one node says, because of {OPTION}."


@dataclass
class _Choice:
    believe: bool = False
    believed: bool = False


_choice: ContextVar[_Choice | None] = ContextVar("trust_node", default=None)


@contextmanager
def chosen(believe: bool) -> Iterator[None]:
    """The choice for everything within."""
    token = _choice.set(_Choice(believe))
    try:
        yield
    finally:
        _choice.reset(token)


def node_is_believed() -> bool:
    """Whether to read without verification. Asking is reading: from now on results say so."""
    choice = _choice.get()
    if choice is None or not choice.believe:
        return False
    choice.believed = True
    return True


def unverified() -> bool:
    """Whether something was read without verification."""
    choice = _choice.get()
    return choice is not None and choice.believed


def node_would_be_believed() -> bool:
    """Whether it was asked for, read or not."""
    choice = _choice.get()
    return choice is not None and choice.believe
