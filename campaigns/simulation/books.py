"""The ledger's books, kept a second time: from nothing but the blocks and the results that were answered.

What a block changed is derived here from the messages that were accepted, by rules written apart from the handlers':
who is enrolled and revoked, which objects exist, who proposed and voted what. What has rules of its own has a book of
its own: rounds (``courses``), budgets (``purse``), versions (``lines``), reputation (``esteem``). The checkers hold
committed state to these books after every block.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

from abci_app.protocol import messages as m
from contracts import (
    ballot_box,
    ballots,
    contributions,
    electorate,
    governance,
    identity,
    legal_identities,
    lineage,
    models,
    origin,
    privacy_budget,
    recipients,
    reputation,
    rounds,
    tasks,
    thefts,
    transition,
    upgrades,
    validators,
)
from contracts.admission import Admission
from contracts.governance import AdmitOrganisation, AdmitValidator, OpenTask, ProposalDecided, RemoveValidator
from contracts.kernel import Event, Message, Place, Rejected, codec, replay
from contracts.kernel.envelope import Envelope
from contracts.lineage import VersionDecided, VersionStatus
from contracts.registry import RULES
from contracts.reputation import MeritDisowned, ReputationChanged
from contracts.transition import Genesis

from .agreement import Block, Violation
from .course import Course, RoundMessage, Said, Signed
from .courses import Courses, Enterprise
from .enrolled import Enrolled, unreadable
from .esteem import Esteem
from .lines import Line
from .members import TERMS_OF, ledger
from .purse import Purse

# Refusals of somebody whom nobody authenticated: they leave no mark.
_BEFORE_AUTHENTICATION = (3, 4, 5, 6, 7, identity.KeyIsRevoked.code)


class Books:
    """What the state must be, given what was accepted."""

    def __init__(self, genesis: Genesis) -> None:
        self.keys: dict[bytes, Enrolled] = {}
        self.paths: dict[bytes, None] = {}
        self.marks: dict[bytes, int] = {}  # Path of a replay mark → last height of validity.
        self.legal_ids: dict[str, str] = {}  # Legal identity → its one name.
        self.courses = Courses(self.is_live)
        self.purse = Purse(self.courses.bill)
        self.esteem = Esteem()
        self.lines: dict[str, Line] = {}
        self.proposals: list[Any] = []
        self.accepted: dict[bytes, None] = {}  # Identities of transactions with a code-0 result.
        self.validators = {one.public: one.operator for one in genesis.validators}
        self._exist(electorate.MEMBERSHIP.path(), origin.ORIGIN.path(), validators.SET.path(), upgrades.IN_FORCE.path())
        for founder in genesis.founders:
            self._enrol(founder, Place(0, 0))

    def record(self, block: Block, results: Iterable[m.ExecTxResult]) -> None:
        """Enter one block. Raises Violation where a result contradicts the books."""
        if block.txs:
            self.marks = {path: last for path, last in self.marks.items() if last >= block.height}
        for index, (raw, result) in enumerate(zip(block.txs, results, strict=True)):
            if result.code == transition.INTERNAL_ERROR:
                raise Violation("no internal errors", f"height {block.height}: {result.log}")
            try:
                signed = transition.parse(raw)
            except Rejected:
                if result.code != unreadable(raw, ledger(), self.keys).code:
                    raise Violation("results", f"bytes that are no envelope got the code {result.code}") from None
                continue
            stranger = result.code == identity.UnknownKey.code and signed.key not in self.keys
            if result.code not in _BEFORE_AUTHENTICATION and not stranger:
                self._mark(signed, block)
            if result.code == 0:
                self._accept(signed, block, Place(block.height, index), _events(result.data))
            elif signed.key in self.keys:
                self._refuse(result.code, signed, block)

    def is_live(self, public: bytes, place: Place) -> bool:
        """Whether what a key signed at a place counts, by all that is known now."""
        revoked_from = self.keys[public].revoked_from
        return revoked_from is None or place.precedes(revoked_from)

    def objects(self) -> dict[bytes, None]:
        """The paths of everything that must be in state, replay marks aside."""
        opened = (
            ballot_box.CANDIDATES.path((course.terms.task, course.number, digest))
            for course in self.courses
            for digest in course.candidates
        )
        return {**self.paths, **dict.fromkeys(opened)}

    def _mark(self, signed: Envelope, block: Block) -> None:
        path = replay.SEEN.path((signed.valid_until, signed.identity))
        if path in self.marks:
            raise Violation("replay", f"height {block.height}: a transaction was decided twice")
        self.marks[path] = signed.valid_until

    def _accept(self, signed: Envelope, block: Block, place: Place, events: list[Event]) -> None:
        key = self.keys.get(signed.key)
        if key is None:
            raise Violation("keys", f"height {block.height}: accepted from a key that was never enrolled")
        if key.revoked_from is not None:
            raise Violation("revocation", f"height {block.height}: accepted from a key revoked at {key.revoked_from}")
        if signed.identity in self.accepted or not block.height <= signed.valid_until:
            raise Violation("replay", f"height {block.height}: accepted twice, or after its last height")
        self.accepted[signed.identity] = None
        message = transition.message_of(RULES.newest, signed)
        self._enter(message, signed.key, key.organisation, block, place)
        course = self.courses.of(message.task, message.round) if isinstance(message, RoundMessage) else None
        due = [] if course is None else list(course.verdicts)
        for event in events:
            due += self._announce(event, block, place)
        if course is not None:
            self._compare(course, events)
        self._judge(message, due, events, block)
        if isinstance(message, thefts.ReportStolenKey):
            said = [event.deviation for event in events if isinstance(event, MeritDisowned)]
            self.esteem.disown(key.organisation, self.is_live, said, block)

    def _refuse(self, code: int, signed: Envelope, block: Block) -> None:
        """A refusal whose reason can be looked up here. Raises Violation where it is not true."""
        owner = self.keys[signed.key].organisation
        if code == privacy_budget.BudgetExceeded.code:
            message = transition.message_of(RULES.newest, signed)
            if not isinstance(message, contributions.Reserve):
                raise Violation("budget", f"height {block.height}: {message.tag} was refused for want of budget")
            self.purse.must_not_afford(owner, message.dataset, (message.task, message.round), block)
        elif code == tasks.TooLittleReputation.code:
            task: str = transition.message_of(RULES.newest, signed).task  # type: ignore[attr-defined]
            self.esteem.require_distrusted(owner, TERMS_OF[task].minimum_reputation, block)
        elif code in (rounds.WrongPhase.code, rounds.PhaseOver.code, rounds.PhaseNotOver.code, rounds.RoundEnded.code):
            message = transition.message_of(RULES.newest, signed)
            assert isinstance(message, RoundMessage)
            if self.courses.would_accept(message, block):
                raise Violation("phases", f"height {block.height}: {message.tag} is refused with {code} in its phase")

    def _enter(self, message: Message, signer: bytes, organisation: str, block: Block, place: Place) -> None:
        """The effect of an accepted message that does not depend on anybody's vote."""
        match message:
            case identity.AddKey():
                self.keys[message.key.public] = Enrolled(organisation, place, signer)
                self._exist(identity.KEYS.path(message.key.public))
            case identity.RevokeKey():
                self.keys[message.public].revoked_from = place
            case thefts.ReportStolenKey():
                self._stolen(message.public, message.since)
                self.courses.disown(organisation, block)
            case identity.RegisterDataset():
                stated = (message.epsilon_limit, message.delta_inverse, message.order_milli)
                self.purse.limit(organisation, message.dataset, *stated)
                self._exist(identity.DATASETS.path((organisation, message.dataset)))
            case governance.Propose():
                self.proposals.append(message.action)
                self._exist(governance.COUNTER.path(), governance.OPEN.path(organisation))
                self._exist(governance.PROPOSALS.path(len(self.proposals)))
            case tasks.JoinTask():
                self.courses.join(message, organisation)
                self._exist(tasks.PARTICIPATIONS.path((message.task, organisation)))
            case tasks.LeaveTask():
                self.courses.leave(message, organisation)
            case rounds.OpenRound():
                self.esteem.require_trusted(organisation, TERMS_OF[message.task].minimum_reputation, block)
                base = self.lines[TERMS_OF[message.task].model].current
                self._exist(rounds.ROUNDS.path((message.task, self.courses.open(message, base, block).number)))
            case models.RaiseAlarm():
                self.lines[message.model].alarm(message, organisation, (signer, place))
                self._exist(models.ALARMS.path((message.model, message.version)))
            case _ if isinstance(message, RoundMessage):
                self._advance(message, (signer, place), organisation, block)

    def _stolen(self, public: bytes, since: Place) -> None:
        """The key counts for nothing from there on, nor ever what it enrolled from there on, and what that enrolled."""
        self.keys[public].revoked_from = since
        for other, key in self.keys.items():
            since_then = key.enrolled_by == public and not key.enrolled_at.precedes(since)
            if since_then and (key.revoked_from is None or key.enrolled_at.precedes(key.revoked_from)):
                self._stolen(other, key.enrolled_at)

    def _advance(self, message: RoundMessage, signed: Signed, organisation: str, block: Block) -> None:
        """An accepted message about a round."""
        place = (message.task, message.round)
        seat = contributions.SEATS.path((*place, organisation))
        paid = self.courses.of(*place).seats.get(organisation)
        course = self.courses.enter(message, organisation, signed, block)
        match message:
            case contributions.Reserve():
                self.esteem.require_trusted(organisation, course.terms.minimum_reputation, block)
                self.purse.hold(organisation, message.dataset, place, block)
                account = (organisation, message.dataset)
                self._exist(seat, privacy_budget.DATASET_ACCOUNTS.path(account))
                self._exist(privacy_budget.ORGANISATION_ACCOUNTS.path(organisation))
            case contributions.Withdraw() if paid is not None:
                self.purse.release(organisation, paid, place)
                del self.paths[seat]
            case ballots.Attest():
                self._exist(ballot_box.ATTESTATIONS.path(place))
            case ballots.Share():
                self._exist(ballot_box.SHARES.path((*place, message.organisation)))
            case ballots.Seal():
                self._exist(ballot_box.BOXES.path(place))

    def _compare(self, course: Course, events: list[Event]) -> None:
        """Hold what was announced about a round to its course. Raises Violation."""
        fixed = [one.seats for one in events if isinstance(one, ballots.SetAgreed)]
        if fixed != ([] if course.fixed is None else [course.fixed]):
            raise Violation("agreed set", f"{course.name}: {fixed} seats are agreed, should be {course.fixed}")
        made = [(one.version, one.status) for one in events if isinstance(one, VersionDecided)]
        if (course.decision is None) != (not made):
            raise Violation("the quorum", f"{course.name}: decided are {made}, should be {course.decision}")
        if course.decision is None:
            return
        line = self.lines[course.terms.model]
        expected = line.decide(course, course.decision)
        self._exist(lineage.VERSIONS.path((course.terms.model, expected[0])))
        if made != [expected]:
            raise Violation("the gate", f"{course.name}: {made} at {course.decision.correct}, should be {expected}")

    def _judge(self, message: Message, due: list[Said], events: list[Event], block: Block) -> None:
        """Hold what was announced about anybody's conduct to what is due. Raises Violation."""
        announced = [event for event in events if isinstance(event, ReputationChanged)]
        said = sorted((one.organisation, one.verdict) for one in announced)
        if said != sorted((one.organisation, one.verdict) for one in due):
            raise Violation("who pays", f"height {block.height}: {message.tag} led to {said}, should have to {due}")
        acts = {(one.organisation, one.verdict): one.act for one in due}
        for event in announced:
            act = acts[event.organisation, event.verdict]
            self._exist(reputation.SCORES.path(event.organisation))
            if self.esteem.judge(event.organisation, event.verdict, act, event.deviation, block):
                self._exist(reputation.MERITS.path(event.organisation))

    def _announce(self, event: Event, block: Block, place: Place) -> list[Said]:
        """The effect of what members decided together, outside of rounds; and what is said of whom for it."""
        match event:
            case ProposalDecided() if event.status is governance.ProposalStatus.PASSED:
                self._apply(self.proposals[event.proposal - 1], place)
            case VersionDecided() if event.status in (VersionStatus.QUARANTINED, VersionStatus.ROLLED_BACK):
                line = self.lines[event.model]
                line.fall(event, self.is_live)
                return self.courses.fall(line.terms.task, block)
            case VersionDecided() if event.reason == "restored":
                self.lines[event.model].restore(event)
        return []

    def _apply(self, action: Any, place: Place) -> None:
        match action:
            case AdmitOrganisation():
                self._enrol(action.admission, place)
            case AdmitValidator():
                if action.replaces is not None:
                    del self.validators[action.replaces]
                self.validators[action.validator.public] = action.validator.operator
            case RemoveValidator():
                del self.validators[action.validator]
            case OpenTask():
                terms = action.terms
                self.courses.tasks[terms.task] = Enterprise(terms)
                self.lines[terms.model] = Line(terms)
                self._exist(tasks.TERMS.path(terms.task), tasks.TASKS.path(terms.task))
                self._exist(tasks.ROSTERS.path(terms.task), lineage.REGISTER.path())
                self._exist(lineage.MODELS.path(terms.model), lineage.VERSIONS.path((terms.model, 0)))

    def _enrol(self, admitted: Admission, place: Place) -> None:
        name, public = admitted.organisation, admitted.key.public
        if admitted.legal_id in self.legal_ids:
            raise Violation("caps", f"{admitted.legal_id} is {self.legal_ids[admitted.legal_id]} already")
        self.legal_ids[admitted.legal_id] = name
        self.purse.cap(name, admitted.epsilon_cap, admitted.delta_inverse, admitted.order_milli)
        self.keys[public] = Enrolled(name, place)
        legal = hashlib.sha256(admitted.legal_id.encode()).digest()
        self._exist(recipients.RECIPIENTS.path(admitted.recipient), legal_identities.LEGAL_IDENTITIES.path(legal))
        self._exist(identity.ORGANISATIONS.path(name), identity.KEYS.path(public))

    def _exist(self, *paths: bytes) -> None:
        self.paths.update(dict.fromkeys(paths))


def _events(data: bytes) -> list[Event]:
    """The events of an accepted transaction, from the part of its result that headers cover."""
    pairs: list[list[Any]] = codec.decode_plain(data, most=100_000)
    return [codec.shape_of(RULES.events[tag]).unpack(fields, "") for tag, fields in pairs]
