"""The ledger's books, kept a second time: from nothing but the blocks and the results that were answered.

What a block changed is derived here from the messages that were accepted, by rules written apart from the handlers':
who is enrolled and revoked, what is held and spent, which objects exist, which versions stand. The checkers hold
committed state to these books after every block.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from abci_app.protocol import messages as m
from contracts import (
    contributions,
    governance,
    identity,
    lineage,
    models,
    privacy_budget,
    reputation,
    rounds,
    transition,
    validators,
)
from contracts.governance import AdmitOrganisation, AdmitValidator, OpenTask, ProposalDecided, RemoveValidator
from contracts.identity import Admission
from contracts.kernel import Event, Message, Rejected, codec, replay
from contracts.kernel.envelope import Envelope
from contracts.lineage import VersionDecided, VersionStatus
from contracts.reputation import ReputationChanged
from contracts.transition import Genesis

from .agreement import Block, Violation
from .members import TERMS_OF
from .purse import Purse

# Refusals of somebody whom nobody authenticated: they leave no mark.
_BEFORE_AUTHENTICATION = (3, 4, 5, 6, 7, identity.KeyIsRevoked.code)


@dataclass
class Enrolled:
    """A key: whose it is, and from which height it counts for nothing."""

    organisation: str
    revoked_from: int | None = None


@dataclass
class Line:
    """A model: the versions that were ever promoted, and those that fell."""

    once_promoted: list[int] = field(default_factory=list)
    fallen: list[int] = field(default_factory=list)
    versions: int = 0
    current: int = 0


class Books:
    """What the state must be, given what was accepted."""

    def __init__(self, genesis: Genesis) -> None:
        self.keys: dict[bytes, Enrolled] = {}
        self.paths: dict[bytes, None] = {}
        self.marks: dict[bytes, int] = {}  # Path of a replay mark → last height of validity.
        self.legal_ids: dict[str, str] = {}  # Legal identity → its one name.
        self.purse = Purse()
        self.lines: dict[str, Line] = {}
        self.rounds: dict[str, int] = {}
        self.commitments: dict[bytes, tuple[bytes, int]] = {}  # Path → signer, height.
        self.opened: dict[tuple[str, int], int] = {}  # (task, round) → the block time it was opened at.
        self.proposals: list[Any] = []
        self.accepted: dict[bytes, None] = {}  # Identities of transactions with a code-0 result.
        self.validators = {one.public: one.operator for one in genesis.validators}
        self._exist(identity.MEMBERSHIP.path(), validators.SET.path())
        for founder in genesis.founders:
            self._enrol(founder)

    def record(self, block: Block, results: Iterable[m.ExecTxResult]) -> None:
        """Enter one block. Raises Violation where a result contradicts the books."""
        if block.txs:
            self.marks = {path: last for path, last in self.marks.items() if last >= block.height}
        for raw, result in zip(block.txs, results, strict=True):
            if result.code == transition.INTERNAL_ERROR:
                raise Violation("no internal errors", f"height {block.height}: {result.log}")
            try:
                signed = transition.parse(raw)
            except Rejected:
                if result.code != transition.MalformedTransaction.code:
                    raise Violation("results", f"bytes that are no envelope got the code {result.code}") from None
                continue
            stranger = result.code == identity.UnknownKey.code and signed.key not in self.keys
            if result.code not in _BEFORE_AUTHENTICATION and not stranger:
                self._mark(signed, block)
            if result.code == privacy_budget.BudgetExceeded.code:
                self._refuse_for_budget(signed, block)
            if result.code == 0:
                self._accept(signed, block, _events(result.data))

    def _mark(self, signed: Envelope, block: Block) -> None:
        path = replay.SEEN.path((signed.valid_until, signed.identity))
        if path in self.marks:
            raise Violation("replay", f"height {block.height}: a transaction was decided twice")
        self.marks[path] = signed.valid_until

    def _accept(self, signed: Envelope, block: Block, events: list[Event]) -> None:
        key = self.keys.get(signed.key)
        if key is None:
            raise Violation("keys", f"height {block.height}: accepted from a key that was never enrolled")
        if key.revoked_from is not None:
            raise Violation("revocation", f"height {block.height}: accepted from a key revoked at {key.revoked_from}")
        if signed.identity in self.accepted or not block.height <= signed.valid_until:
            raise Violation("replay", f"height {block.height}: accepted twice, or after its last height")
        self.accepted[signed.identity] = None
        self._enter(transition.message_of(signed), signed.key, key.organisation, block)
        for event in events:
            self._announce(event)

    def _refuse_for_budget(self, signed: Envelope, block: Block) -> None:
        message = transition.message_of(signed)
        if not isinstance(message, contributions.Reserve):
            raise Violation("budget", f"height {block.height}: {message.tag} was refused for want of budget")
        owner = self.keys[signed.key].organisation
        place = (message.task, message.round)
        self.purse.must_not_afford(owner, message.dataset, place, self._lapse(*place), block.time_ms)

    def _enter(self, message: Message, signer: bytes, organisation: str, block: Block) -> None:
        """The effect of an accepted message that does not depend on anybody's vote."""
        match message:
            case identity.AddKey():
                self.keys[message.key.public] = Enrolled(organisation)
                self._exist(identity.KEYS.path(message.key.public))
            case identity.RevokeKey():
                self.keys[message.public].revoked_from = block.height
            case models.ReportStolenKey():
                self.keys[message.public].revoked_from = message.since
            case identity.RegisterDataset():
                stated = (message.epsilon_limit, message.delta_inverse, message.order_milli)
                self.purse.limit(organisation, message.dataset, *stated)
                self._exist(identity.DATASETS.path((organisation, message.dataset)))
            case governance.Propose():
                self.proposals.append(message.action)
                self._exist(governance.COUNTER.path(), governance.PROPOSALS.path(len(self.proposals)))
            case rounds.OpenRound():
                self.rounds[message.task] += 1
                self.opened[(message.task, self.rounds[message.task])] = block.time_ms
                self._exist(rounds.ROUNDS.path((message.task, self.rounds[message.task])))
            case contributions.Reserve() | contributions.Commit():
                self._contribute(message, signer, organisation, block)
            case models.ProposeVersion():
                line = self.lines[TERMS_OF[message.candidate.task].model]
                line.versions += 1
                self._exist(lineage.VERSIONS.path((TERMS_OF[message.candidate.task].model, line.versions)))
            case models.RaiseAlarm():
                self._exist(models.ALARMS.path((message.model, message.version)))

    def _contribute(
        self, message: contributions.Reserve | contributions.Commit, signer: bytes, organisation: str, block: Block
    ) -> None:
        place = (message.task, message.round)
        key = (*place, organisation, message.dataset)
        if isinstance(message, contributions.Reserve):
            self.purse.hold(organisation, message.dataset, place, self._lapse(*place), block.time_ms)
            self._exist(contributions.RESERVATIONS.path(key))
            self._exist(privacy_budget.DATASET_ACCOUNTS.path((organisation, message.dataset)))
            self._exist(privacy_budget.ORGANISATION_ACCOUNTS.path(organisation))
            return
        self.purse.spend(organisation, message.dataset, place, block.time_ms)
        path = contributions.COMMITMENTS.path(key)
        self._exist(path)
        self.commitments[path] = (signer, block.height)

    def _announce(self, event: Event) -> None:
        """The effect of what the members decided together."""
        match event:
            case ProposalDecided() if event.status is governance.ProposalStatus.PASSED:
                self._apply(self.proposals[event.proposal - 1])
            case VersionDecided():
                self._decide(event)
            case ReputationChanged():
                self._exist(reputation.SCORES.path(event.organisation))

    def _lapse(self, task: str, number: int) -> int:
        """The block time at which a hold of this round counts no more."""
        phases = TERMS_OF[task].deadlines
        return self.opened[(task, number)] + phases.reserve_ms + phases.commit_ms

    def _apply(self, action: Any) -> None:
        match action:
            case AdmitOrganisation():
                self._enrol(action.admission)
            case AdmitValidator():
                if action.replaces is not None:
                    del self.validators[action.replaces]
                self.validators[action.validator.public] = action.validator.operator
            case RemoveValidator():
                del self.validators[action.validator]
            case OpenTask():
                terms = action.terms
                self.rounds[terms.task] = 0
                self.lines.setdefault(terms.model, Line())
                self._exist(rounds.TERMS.path(terms.task), rounds.TASKS.path(terms.task))
                self._exist(lineage.MODELS.path(terms.model), lineage.VERSIONS.path((terms.model, 0)))
                self._exist(lineage.REGISTER.path())

    def _decide(self, event: VersionDecided) -> None:
        line = self.lines.setdefault(event.model, Line())
        if event.status is VersionStatus.PROMOTED:
            restored = event.reason == "restored"
            if restored and event.version not in line.once_promoted:
                raise Violation("rollback", f"{event.model} {event.version} is restored and was never promoted")
            if event.version in line.fallen:
                raise Violation("rollback", f"{event.model} {event.version} is promoted after it fell")
            line.once_promoted += [] if restored else [event.version]
            line.current = event.version
        elif event.status in (VersionStatus.QUARANTINED, VersionStatus.ROLLED_BACK):
            line.fallen.append(event.version)

    def _enrol(self, admitted: Admission) -> None:
        if admitted.legal_id in self.legal_ids:
            raise Violation("caps", f"{admitted.legal_id} is {self.legal_ids[admitted.legal_id]} already")
        self.legal_ids[admitted.legal_id] = admitted.organisation
        self.purse.cap(admitted.organisation, admitted.epsilon_cap, admitted.delta_inverse, admitted.order_milli)
        self.keys[admitted.key.public] = Enrolled(admitted.organisation)
        legal = hashlib.sha256(admitted.legal_id.encode()).digest()
        self._exist(identity.ORGANISATIONS.path(admitted.organisation), identity.KEYS.path(admitted.key.public))
        self._exist(identity.LEGAL_IDENTITIES.path(legal))

    def _exist(self, *paths: bytes) -> None:
        self.paths.update(dict.fromkeys(paths))


def _events(data: bytes) -> list[Event]:
    """The events of an accepted transaction, from the part of its result that headers cover."""
    pairs: list[list[Any]] = codec.decode_plain(data, most=100_000)
    return [codec.shape_of(Event.by_tag[tag]).unpack(fields, "") for tag, fields in pairs]
