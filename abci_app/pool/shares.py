"""What each member may have waiting in this node's pool, so that no member can fill it, not even for itself.

The pool is CometBFT's; this is the account of it. A transaction enters when CheckTx accepts it. It leaves with its
block, when a recheck refuses it, or when CometBFT has stopped asking about it: after every commit CometBFT rechecks
all that waits, so what one whole round of rechecks did not mention is gone (dropped after our answer, or lost with a
CometBFT that died). The account therefore needs ``mempool.recheck``, and repairs itself within two blocks.

An organisation's shares are apart, so that its own flood cannot keep out its own revocation:

- **safety**: a few for each *key*. A thief who holds one key cannot use up the share of the key that revokes it;
- **governance**: a few for each organisation;
- **work**: everything else.

This is a node's own rule and no rule of consensus: it may differ between nodes, and its code is not the ledger's.
CometBFT's ``mempool.size`` and ``max_txs_bytes`` must exceed all shares of all members together (``everything``).
"""

from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from contracts import identity
from contracts.kernel import InvariantBroken, Lane, Message, Rejected, View, codec, limits
from contracts.rulebook import Rules
from contracts.transition import Transaction

CODESPACE: Final = "fedledger-node"
POOL_SHARE_FULL: Final = 100_001  # No contract can have it: theirs end at 99,999.


class Share(StrEnum):
    """What a waiting transaction is counted under."""

    SAFETY = "safety"
    GOVERNANCE = "governance"
    WORK = "work"


class Allowance(NamedTuple):
    """How much may wait at once."""

    transactions: int
    size: int
    """In bytes of transactions."""


ALLOWANCES: Final = {
    Share.SAFETY: Allowance(2, 2 * 1024),  # For each key.
    Share.GOVERNANCE: Allowance(8, 64 * 1024),
    Share.WORK: Allowance(2 * limits.BLOCK_TXS_PER_ORGANISATION, 96 * 1024),  # What two blocks take of one member.
}
_SHARES: Final = {Lane.SAFETY: Share.SAFETY, Lane.GOVERNANCE: Share.GOVERNANCE}
_LARGE_BYTES: Final = 2_048  # From here on decoding costs more than verifying a signature.
_Holder = tuple[Share, bytes | str]

assert min(ALLOWANCES[Share.GOVERNANCE].size, ALLOWANCES[Share.WORK].size) >= limits.TX_BYTES, "any one must fit"


def everything() -> Allowance:
    """All shares of as many members with as many keys as there can be."""
    per_key, *others = (ALLOWANCES[share] for share in Share)
    keys, members = limits.KEYS_PER_ORGANISATION, limits.ORGANISATIONS
    return Allowance(
        members * (keys * per_key.transactions + sum(one.transactions for one in others)),
        members * (keys * per_key.size + sum(one.size for one in others)),
    )


@dataclass(frozen=True)
class ShareFull:
    """The refusal of a transaction for which its sender has no room left in this node's pool."""

    organisation: str
    share: Share
    waiting: int
    waiting_bytes: int

    @property
    def data(self) -> bytes:
        """The facts, as the ledger's own refusals carry them."""
        return codec.encode_plain(self._facts())

    @property
    def log(self) -> str:
        """The same to be read."""
        return f"POOL_SHARE_FULL({', '.join(f'{name}={value}' for name, value in self._facts().items())})"

    def _facts(self) -> dict[str, str | int]:
        most = ALLOWANCES[self.share]
        return {
            "organisation": self.organisation,
            "share": self.share.value,
            "waiting": self.waiting,
            "limit": most.transactions,
            "waiting_bytes": self.waiting_bytes,
            "limit_bytes": most.size,
        }


@dataclass(slots=True)
class _Waiting:
    holder: _Holder
    size: int
    seen: int
    """The committed height at which CheckTx last said yes."""


@dataclass(slots=True)
class _Held:
    transactions: int = 0
    size: int = 0


class Pool:
    """The account of one node's pool. Transactions are known by the hash of their bytes, as CometBFT knows them."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[bytes, _Waiting] = OrderedDict()  # Least recently seen first.
        self._held: dict[_Holder, _Held] = {}
        self._owners: dict[bytes, str] = {}  # Of keys. A key belongs to one organisation for ever.

    def __len__(self) -> int:
        return len(self._waiting)

    def refusal(self, rules: Rules, view: View, transaction: Transaction) -> ShareFull | None:
        """Why a new transaction has no room: a flood must be cheap to refuse.

        What costs more to decode than its signature to verify is verified first, for anybody can name anybody's key.
        """
        try:
            key = transaction.sealed.key
            owner = self._owner_of(view, key)
            large = len(transaction.raw) > _LARGE_BYTES
            unknown = owner is None or (large and not transaction.is_authentic)
            kind = None if unknown else rules.messages.get(transaction.envelope.tag)
        except Rejected:
            return None  # CheckTx says why.
        if owner is None or kind is None or transaction.hash in self._waiting:
            return None  # CheckTx says why, or nothing is added.
        holder = _holder(kind, key, owner)
        held, most = self._held.get(holder, _Held()), ALLOWANCES[holder[0]]
        if held.transactions < most.transactions and held.size + len(transaction.raw) <= most.size:
            return None
        return ShareFull(owner, holder[0], held.transactions, held.size)

    def accepted_at(self, transaction: Transaction) -> int | None:
        """The committed height at which CheckTx last accepted a transaction; None for one that is not counted."""
        waiting = self._waiting.get(transaction.hash)
        return None if waiting is None else waiting.seen

    def share_of(self, rules: Rules, view: View, transaction: Transaction) -> Share | None:
        """What a transaction is counted under; None for one that says nothing known, or that its key did not sign."""
        try:
            signed = self._owner_of(view, transaction.sealed.key) is not None and transaction.is_authentic
            kind = rules.messages.get(transaction.envelope.tag) if signed else None
        except Rejected:
            return None
        return None if kind is None else _SHARES.get(kind.lane, Share.WORK)

    def admit(self, rules: Rules, view: View, transaction: Transaction, height: int) -> None:
        """Count a transaction that CheckTx has accepted, or accepted again, on the state of ``height``."""
        waiting = self._waiting.get(transaction.hash)
        if waiting is not None:
            waiting.seen = height
            self._waiting.move_to_end(transaction.hash)
            return
        key = transaction.envelope.key
        owner = self._owner_of(view, key)
        if owner is None:
            raise InvariantBroken("CheckTx has accepted what nobody's key has signed")
        holder = _holder(type(transaction.message(rules)), key, owner)
        self._waiting[transaction.hash] = _Waiting(holder, len(transaction.raw), height)
        held = self._held.setdefault(holder, _Held())
        held.transactions += 1
        held.size += len(transaction.raw)

    def release(self, name: bytes) -> None:
        """Forget a transaction: it was decided, or refused at recheck. One that is not counted is no error."""
        waiting = self._waiting.pop(name, None)
        if waiting is None:
            return
        held = self._held[waiting.holder]
        held.transactions -= 1
        held.size -= waiting.size
        if not held.transactions:
            del self._held[waiting.holder]

    def sweep(self, height: int) -> None:
        """Forget what CometBFT no longer has, when ``height`` has been committed and its rechecks are to come.

        What was there before ``height - 1`` was committed has been asked about since, if it still was there.
        """
        while self._waiting:
            name, waiting = next(iter(self._waiting.items()))
            if waiting.seen >= height - 1:
                return
            self.release(name)

    def _owner_of(self, view: View, key: bytes) -> str | None:
        """Whose key it is, asked once: it stays that organisation's."""
        owner = self._owners.get(key)
        if owner is None and (record := identity.KEYS.get(view, key)) is not None:
            owner = self._owners[key] = record.organisation
        return owner


def _holder(kind: type[Message], key: bytes, owner: str) -> _Holder:
    share = _SHARES.get(kind.lane, Share.WORK)
    return share, key if share is Share.SAFETY else owner
