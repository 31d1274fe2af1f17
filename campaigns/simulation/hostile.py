"""Transactions that no honest client sends, and blocks that no honest proposer makes.

``Attacker.transaction`` gives one at a time: bytes that are no envelope, envelopes of other chains and times, foreign
keys, and messages that are wrong in one field. ``Attacker.proposal`` gives a block within ABCI's rules. The attacker
has seen everything that was ever sent, and enrolled keys sign for it: some members are not honest.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random
from typing import Any

from abci_app.pool.proposals import Standings
from contracts import origin, rounds, tasks
from contracts.ballots import AdvanceRound, Attest, OpenBallot, Seal, Share
from contracts.contributions import NoiseSource, Reserve, Withdraw
from contracts.governance import Propose, RollBackModel, Vote
from contracts.identity import AddKey, RegisterDataset, RevokeKey
from contracts.kernel import Lane, Message, Place, Rejected, View, bitmap, limits
from contracts.kernel.envelope import LedgerId
from contracts.kernel.types import Purpose
from contracts.lineage import Candidate
from contracts.models import RaiseAlarm
from contracts.registry import RULES
from contracts.rounds import OpenRound
from contracts.tasks import JoinTask, LeaveTask
from contracts.thefts import ReportStolenKey
from contracts.transition import Transaction

from ..harness.chain import Member
from ..harness.consortium import AUDITOR, DATA_CLASS, DATASET, DELTA_INVERSE, LIMIT, cid, digest
from .lifecycle import Lifecycle
from .members import CHAIN_ID, EVERYBODY, HOSPITALS, LABS, VALID_BLOCKS, VERIFIERS, Clerk, ledger

ELSEWHERE = (LedgerId("fedledger-elsewhere", ledger().genesis), LedgerId(CHAIN_ID, bytes(32)))

STRANGER = Member("stranger")
_SOME = bitmap.of([0])  # A set of seats, and what somebody may say of it.
SEEN_MAX = 200


class Ploy(StrEnum):
    """What a Byzantine proposer does with its turn."""

    GARBAGE = "garbage"  # Bytes that are no envelope among good transactions.
    OVERSIZE = "oversize"  # One transaction over the limit.
    WRONG_LANES = "wrong lanes"  # Good transactions, last lane first.
    OVER_QUOTA = "over quota"  # One sender beyond its share of a block.
    OVER_SIZE = "over size"  # More bytes than a block may have.
    FALSE_LANE = "false lane"  # What nobody may sign, in front as a revocation.
    REPLAYS = "replays"  # What was decided already, and everything twice.
    REFUSED = "refused"  # What CheckTx refused, also out of its time.
    SHUFFLED = "shuffled"  # A lane in another order than it came.
    EMPTY = "empty"  # Nothing, though there is something.


REJECTED = (Ploy.GARBAGE, Ploy.OVERSIZE, Ploy.OVER_QUOTA, Ploy.OVER_SIZE, Ploy.FALSE_LANE)
"""Ploys that every honest replica must see through, whatever its state."""


@dataclass
class Attacker:
    """Everything it knows: what was sent, and what was refused."""

    rng: Random
    clerk: Clerk
    life: Lifecycle
    seen: list[bytes] = field(default_factory=list)
    refused: list[bytes] = field(default_factory=list)

    def saw(self, raw: bytes, *, refused: bool) -> None:
        """Remember a transaction, for a while."""
        kept = self.refused if refused else self.seen
        kept.append(raw)
        del kept[:-SEEN_MAX]

    # --- one transaction ---

    def transaction(self, view: View) -> bytes:
        """Something hostile."""
        kind = self.rng.choice((self._broken, self._broken, self._misdirected, self._foreign, self._wrong, self._wrong))
        return kind(view)

    def _broken(self, view: View) -> bytes:
        """Bytes that are no envelope, or one that was changed after signing."""
        raw = bytearray(self.rng.choice(self.seen) if self.seen else self._wrong(view))
        match self.rng.randrange(6):
            case 0:
                raw[self.rng.randrange(len(raw))] ^= 1 << self.rng.randrange(8)
            case 1:
                del raw[self.rng.randrange(len(raw)) :]
            case 2:
                raw += self.rng.randbytes(self.rng.randint(1, 8))
            case 3:
                raw = bytearray(self.rng.randbytes(self.rng.randint(0, 200)))
            case 4:
                at = self.rng.randrange(len(raw))
                raw[at:at] = bytes(self.rng.randint(1, 3))
            case _:
                raw[-1] ^= 0x80  # The signature's scalar leaves its range.
        return bytes(raw)

    def _misdirected(self, view: View) -> bytes:
        """A good message at a wrong time, for a wrong chain, or once more."""
        member, message = self._message(view)
        match self.rng.randrange(4):
            case 0:
                return self.clerk.seal(member, message, ledger=self.rng.choice(ELSEWHERE))
            case 1:
                return self.clerk.seal(member, message, valid_until=max(0, self.clerk.height - self.rng.randint(0, 3)))
            case 2:
                far = self.clerk.height + limits.TX_VALIDITY_BLOCKS + self.rng.randint(0, 3)
                return self.clerk.seal(member, message, valid_until=far)
            case _:
                return self.rng.choice(self.seen) if self.seen else self.clerk.seal(member, message)

    def _foreign(self, view: View) -> bytes:
        """A message by a key that must not sign it, or of a type or form that nobody knows."""
        member, message = self._message(view)
        match self.rng.randrange(4):
            case 0:
                return self.clerk.seal(STRANGER.key(message.purpose), message)
            case 1:
                other = Purpose.HUMAN if message.purpose is Purpose.WORKLOAD else Purpose.WORKLOAD
                return self.clerk.seal(member.key(other), message)
            case 2:
                retired = member.key(Purpose.WORKLOAD, max(0, self.life.workers[member] - 1))
                return self.clerk.seal(retired, message)
            case _:
                tag = self.rng.choice(("money/transfer", message.tag, "", "rounds/open-round"))
                body: Any = self.rng.choice(({}, [], 7, {"task": "x" * 300}, {"task": -1}, None))
                return self.clerk.seal_plain(member, tag, body, message.purpose)

    def _wrong(self, view: View) -> bytes:
        """A message that is well formed and signed, and wrong."""
        member, message = self._message(view)
        return self.clerk.seal(self.life.signer(member, message), message)

    def _message(self, view: View) -> tuple[Member, Message]:
        terms = self.rng.choice(self.life.tasks)
        task = tasks.TASKS.get(view, terms.task)
        number = max(1, (task.rounds if task else 1) + self.rng.choice((-1, 0, 0, 0, 1)))
        nothing = Candidate(terms.task, number, 0, _SOME, b"\0", None)
        hospital, anybody = self.rng.choice(HOSPITALS), self.rng.choice(EVERYBODY)
        current = rounds.ROUNDS.get(view, (terms.task, number))
        stranger = STRANGER.worker
        choices: list[tuple[Member, Message]] = [
            (hospital, Reserve(terms.task, number, self.rng.choice((DATASET, "other")))),
            (hospital, Withdraw(terms.task, number)),
            (anybody, LeaveTask(terms.task)),
            (anybody, ReportStolenKey(self.rng.choice(EVERYBODY).worker.public, Place(self.clerk.height + 5, 0))),
            (anybody, RevokeKey(self.rng.choice(EVERYBODY).worker.public)),
            (anybody, AddKey(stranger.enrolment(origin.genesis_of(view), owner="somebody-else"))),
            (hospital, RegisterDataset(self.rng.choice((DATASET, "more")), DATA_CLASS, LIMIT * 2, DELTA_INVERSE)),
            (anybody, Vote(self.rng.randint(1, 5), approve=self.rng.random() < 0.5)),
            (anybody, Propose(RollBackModel(terms.model, self.rng.randint(0, 3), "because"))),
            (hospital, JoinTask(terms.task, DATASET, digest("other terms"))),
            (anybody, AdvanceRound(terms.task, number)),
            (self.rng.choice(EVERYBODY), Attest(terms.task, number, bitmap.of(self.rng.sample(range(9), 2)))),
            (self.rng.choice(VERIFIERS), Share(terms.task, number, hospital.name, cid("a copy"), 10**9)),
            (self.rng.choice(VERIFIERS), Seal(terms.task, number, _SOME, digest("sealed over nothing"))),
            (self.rng.choice(VERIFIERS), OpenBallot(terms.task, number, digest("salt"), nothing, 0)),
            (self.rng.choice((*LABS, hospital)), OpenRound(terms.task)),
            (self.rng.choice(VERIFIERS), RaiseAlarm(terms.model, self.rng.randint(0, 4), digest("e"), "no reason")),
        ]
        if current is not None:
            agreed = self.life.acts.commitment(terms, number, current)
            changes: tuple[dict[str, Any], ...] = (
                {"base": agreed.base + 1},
                {"size": 10**9},
                {"noise": NoiseSource.REPRODUCIBLE},
                {"mechanism": replace(agreed.mechanism, noise_milli=500)},
                {},
            )
            choices += [(hospital, replace(agreed, **change)) for change in changes]
        return self.rng.choice(choices)

    # --- one block ---

    def proposal(self, view: View, waiting: tuple[bytes, ...]) -> tuple[Ploy, tuple[bytes, ...]]:
        """A block made with one ploy, from what an honest proposer would have proposed."""
        ploy = self.rng.choice((*Ploy, Ploy.REFUSED, Ploy.REFUSED, Ploy.REPLAYS))
        return ploy, tuple(getattr(self, f"_{ploy.name.lower()}")(view, list(waiting)))

    def _garbage(self, _view: View, txs: list[bytes]) -> list[bytes]:
        txs.insert(self.rng.randint(0, len(txs)), self.rng.randbytes(self.rng.randint(0, 40)))
        return txs

    def _oversize(self, _view: View, txs: list[bytes]) -> list[bytes]:
        txs.insert(self.rng.randint(0, len(txs)), bytes(limits.TX_BYTES + 1))
        return txs

    def _wrong_lanes(self, _view: View, txs: list[bytes]) -> list[bytes]:
        return txs[::-1]

    def _over_quota(self, _view: View, _txs: list[bytes]) -> list[bytes]:
        one = self.clerk.seal(self.rng.choice((HOSPITALS[0], STRANGER)), Withdraw("none", 1))
        return [one] * (limits.BLOCK_TXS_PER_ORGANISATION + 1)

    def _over_size(self, _view: View, _txs: list[bytes]) -> list[bytes]:
        padding = bytes(limits.TX_BYTES - 1_000)
        padded = [self.clerk.seal_plain(who, "padding", padding, "workload") for who in (STRANGER, *HOSPITALS[:1])]
        return padded * (limits.BLOCK_BYTES // len(padded) // len(padding) + 1)

    def _false_lane(self, _view: View, _txs: list[bytes]) -> list[bytes]:
        revoke = RevokeKey(HOSPITALS[0].worker.public)
        false = (
            self.clerk.seal(STRANGER, revoke),
            self.clerk.seal(HOSPITALS[0].worker, revoke),  # A workload key revokes nothing.
            self.clerk.seal(AUDITOR, Reserve("none", 1, DATASET)),  # An auditor has no data.
            self.clerk.seal_plain(HOSPITALS[0], RevokeKey.tag, {"public": "no key"}, "human"),
        )
        vote = self.clerk.seal(HOSPITALS[0], Vote(1, approve=True))
        return [self.rng.choice(false), vote]

    def _replays(self, view: View, txs: list[bytes]) -> list[bytes]:
        return self._in_lanes(view, [*txs, *txs, *self._some(self.seen)])

    def _refused(self, view: View, txs: list[bytes]) -> list[bytes]:
        return self._in_lanes(view, [*txs, *self._some(self.refused)])

    def _shuffled(self, view: View, txs: list[bytes]) -> list[bytes]:
        self.rng.shuffle(txs)
        return self._in_lanes(view, txs)

    def _empty(self, _view: View, _txs: list[bytes]) -> list[bytes]:
        return []

    def _some(self, kept: list[bytes]) -> list[bytes]:
        recent = kept[-2 * VALID_BLOCKS :]
        return self.rng.sample(recent, min(len(recent), 6))

    def _in_lanes(self, view: View, txs: list[bytes]) -> list[bytes]:
        standings = Standings(RULES.newest, view, self.clerk.height + 1)
        lanes = {tx: lane_of(standings, tx) for tx in txs}
        return sorted((tx for tx in txs if lanes[tx] is not None), key=lambda tx: lanes[tx] or 0)


def lane_of(standings: Standings, raw: bytes) -> Lane | None:
    """The lane that a transaction counts for, or None for bytes that are no envelope."""
    try:
        return standings.of(Transaction(raw)).lane
    except Rejected:
        return None
