"""Replay protection without queues: a transaction is remembered until it could no longer be included anyway.

An envelope names the last height it is valid at, within a bounded window, and carries a random nonce; workers of one
organisation submit side by side with no sequence number to fight over. What is remembered is the hash of the *signed
structure* (the envelope's bytes are malleable), also for transactions refused after authentication. Marks are sorted
by height, so that a non-empty block can drop what has expired; an empty block changes nothing.
"""

from . import limits
from .rules import Record
from .state import Map, ScanView, View, Write
from .types import Height


class Mark(Record):
    """When a transaction was first seen."""

    height: Height


SEEN = Map("replay/seen", Mark, "valid until", "transaction")


def is_seen(view: View, valid_until: int, identity: bytes) -> bool:
    """Whether the transaction was already decided."""
    return view.get(SEEN.path((valid_until, identity))) is not None


def mark(valid_until: int, identity: bytes, height: int) -> Write:
    """Remember a decided transaction."""
    return SEEN.put((valid_until, identity), Mark(height))


def prune(view: ScanView, height: int, most: int = limits.REPLAY_PRUNED_PER_BLOCK) -> tuple[Write, ...]:
    """Drop marks of transactions that can no longer be included at ``height``, up to ``most``.

    Read from committed state only: a mark that is still pending cannot have expired. They are sorted by the height
    they are needed until, so the first that is still needed ends the walk: where none expired, one is read.
    """
    marks = view.scan(SEEN.prefix.encode() + b"/", limit=most)
    last = SEEN.path((height, b""))  # Sorts before every mark that is still needed.
    dropped = []
    for path, _ in marks:
        if path >= last:
            break
        dropped.append(Write(path, None))
    return tuple(dropped)
