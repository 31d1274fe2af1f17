"""Signatures that this node has already verified, so that each costs once per transaction and not four times.

Only positive verdicts are kept, and only of (key, statement, signature): whether the key may act is state,
and is read from state every time. Bounded by count; every entry is one digest.
"""

from collections import OrderedDict

from contracts.kernel import crypto

ENTRIES = 65_536


class VerifiedSignatures:
    """A drop-in for ``crypto.verify`` with the same verdicts."""

    def __init__(self, entries: int = ENTRIES) -> None:
        self._entries = entries
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def __call__(self, key: bytes, statement: bytes, signature: bytes) -> bool:
        """Whether the signature holds."""
        name = crypto.sha256(key + signature + statement)
        if name in self._known:
            self._known.move_to_end(name)
            return True
        if not crypto.verify(key, statement, signature):
            return False
        self._known[name] = None
        if len(self._known) > self._entries:
            self._known.popitem(last=False)
        return True
