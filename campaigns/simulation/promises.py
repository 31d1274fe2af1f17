"""What a round promises, held over committed state after every block; and the moment at which it is held.

The first line of each checker is the promise. The other half of them is held where a message is entered (``course``):
that nothing is accepted which would break one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from contracts import ballot_box, contributions, identity, lineage, privacy_budget, rounds, tasks
from contracts.kernel import bitmap
from contracts.lineage import VERDICTS, Finding
from contracts.promises import Promise
from contracts.reputation import Verdict
from contracts.rounds import Charged, Round
from contracts.terms import Phase

from ..harness.cometbft_blocks import Validator
from .agreement import Block, Violation
from .books import Books
from .course import Course
from .purse import Debt


@dataclass(frozen=True)
class Moment:
    """A height on one replica: what it held before and after, and what was answered for it."""

    block: Block
    codes: tuple[int, ...]
    before: dict[bytes, bytes]
    state: dict[bytes, bytes]
    hash_before: bytes
    app_hash: bytes
    books: Books
    told: tuple[Validator, ...]
    """The validators that CometBFT was told of, up to this block."""

    def entries(self, prefix: str) -> Iterator[tuple[bytes, bytes]]:
        """The entries under a path, in no order that matters."""
        start = prefix.encode() + b"/"
        return ((path, body) for path, body in self.state.items() if path.startswith(start))

    def rounds(self) -> Iterator[tuple[Course, Round]]:
        """Every round as it went by the books, and as it is stored."""
        for course in self.books.courses:
            yield course, rounds.ROUNDS.at(self.state, (course.terms.task, course.number))


def hold(condition: bool, why: str) -> None:
    """Raise Violation unless the condition holds; the checker's name is put to it by ``checkers.check``."""
    if not condition:
        raise Violation("", why)


def accounts(now: Moment) -> Iterator[tuple[str, Debt, privacy_budget.Account, Promise]]:
    """Every account with a name, as it is in the books and as it is stored, brought up to date; and its promise."""
    for (name, dataset), debt in now.books.purse.datasets.items():
        account = privacy_budget.dataset_account(now.state, name, dataset, now.block)
        yield f"{name}/{dataset}", debt, account, identity.DATASETS.at(now.state, (name, dataset)).promise
    for name, debt in now.books.purse.organisations.items():
        account = privacy_budget.organisation_account(now.state, name, now.block)
        yield name, debt, account, identity.ORGANISATIONS.at(now.state, name).cap


def an_organisation_has_one_voice(now: Moment) -> None:
    """It has one number in a task, for good; one seat in a round, and one dataset that pays for it."""
    for name, task in now.books.courses.tasks.items():
        roster = tasks.ROSTERS.at(now.state, name).organisations
        hold(list(roster) == list(task.roster), f"{name}: the roster is {roster}, should be {list(task.roster)}")
        for organisation, part in task.parts.items():
            stored = tasks.PARTICIPATIONS.at(now.state, (name, organisation))
            hold(stored.number == task.roster[organisation], f"{name}: {organisation} has the number {stored.number}")
            as_entered = (list(stored.datasets), stored.from_round, stored.left)
            hold(
                as_entered == (part.datasets, part.from_round, part.left),
                f"{name}: {organisation} takes part otherwise",
            )
        present = tasks.TASKS.at(now.state, name).participants
        hold(present == len(task.present), f"{name}: {present} take part, should be {task.present}")
    for course in now.books.courses:
        for organisation, dataset in course.seats.items():
            seat = contributions.SEATS.at(now.state, (course.terms.task, course.number, organisation))
            hold(seat.dataset == dataset, f"{course.name}: {seat.dataset} of {organisation} pays, not {dataset}")
            hold(seat.number == course.roster[organisation], f"{course.name}: {organisation} has seat {seat.number}")
            made = seat.commitment
            signed = None if made is None else (made.signer, made.place)
            hold(signed == course.commits.get(organisation), f"{course.name}: {organisation} committed otherwise")


def nobody_pays_for_a_round_that_revealed_nothing(now: Moment) -> None:
    """No account has spent more than its rounds beyond the barrier cost, and those it stayed away from in training."""
    for name, debt, account, _ in accounts(now):
        due = debt.spent_curve(now.block)
        charged = all(spent <= most for spent, most in zip(account.spent.costs(), due.costs(), strict=True))
        hold(charged, f"{name} has paid for a round that revealed nothing")


def payloads_are_served_only_when_nobody_can_commit(now: Moment) -> None:
    """Whoever serves when a verified header says that all prices are spent serves when no commitment can come."""
    for course, stored in now.rounds():
        served = rounds.charged_of(stored, now.block.time_ms, now.block.height) is Charged.ALL
        hold(not served or not course.may_commit(now.block), f"{course.name}: is served while it can be committed to")


def the_agreed_set_is_what_enough_others_attested(now: Moment) -> None:
    """A seat is in the set when f_v + 1 verifiers besides its own organisation hold its bytes, and only then."""
    for course, stored in now.rounds():
        agreed = _names(course, stored.agreed)
        hold(agreed == list(course.agreed), f"{course.name}: agreed is {agreed}, should be {list(course.agreed)}")
        rows = ballot_box.ATTESTATIONS.get(now.state, (course.terms.task, course.number))
        held = {row.organisation: tuple(_names(course, row.held)) for row in rows.rows} if rows else {}
        hold(held == course.held, f"{course.name}: attested is {held}, should be {course.held}")


def ballots_are_sealed_until_none_can_come(now: Moment) -> None:
    """The box holds the ballots that were sealed, and says of each only what its owner opened."""
    for course, stored in now.rounds():
        box = ballot_box.BOXES.get(now.state, (course.terms.task, course.number))
        found = {one.organisation: one for one in box.ballots} if box else {}
        hold(list(found) == list(course.box), f"{course.name}: sealed are {list(found)}, not {list(course.box)}")
        opened = [one.opened is not None for one in found.values()]
        early = stored.phase in (Phase.RESERVING, Phase.COMMITTING, Phase.ATTESTING, Phase.SEALING)
        hold(not early or not any(opened), f"{course.name}: a ballot is open in {stored.phase}")
        if stored.phase is Phase.DECIDED:
            continue  # The last opening is in the version.
        for name, mine in course.box.items():
            one = found[name]
            as_entered = (one.seal, one.signer, one.place, one.opened, one.correct)
            hold(
                as_entered == (mine.seal, mine.signer, mine.place, mine.digest, mine.correct), f"{name} said otherwise"
            )


def a_version_is_what_the_ballots_said(now: Moment) -> None:
    """Its score is the median of the quorum's, at most the total; enough of its contributions were usable."""
    for name, line in now.books.lines.items():
        for number, entry in enumerate(line.versions):
            version = lineage.VERSIONS.at(now.state, (name, number))
            found = (version.parent, version.canary_correct, version.digest)
            hold(found == (entry.parent, entry.correct, entry.digest), f"{name} {number} is other than was opened")
            verdicts = [VERDICTS[Finding(byte)] for byte in version.judgements]
            usable = sum(verdict is not Verdict.REFUSED for verdict in verdicts)
            enough = number == 0 or usable >= line.terms.estimator.minimum
            hold(enough and version.canary_correct <= line.terms.canary_records, f"{name} {number} cannot be")


def no_round_outlives_the_version_it_starts_from(now: Moment) -> None:
    """When a version falls, the round under way from it is void; the next one starts from what was restored."""
    for course, stored in now.rounds():
        hold(not course.fallen or stored.phase is Phase.VOID, f"{course.name}: goes on from {stored.base}, which fell")
    for name, task in now.books.courses.tasks.items():
        base, current = tasks.TASKS.at(now.state, name).base, now.books.lines[task.terms.model].current
        hold(base == current, f"{name}: the next round starts from {base}, current is {current}")


def a_round_is_where_its_messages_took_it(now: Moment) -> None:
    """Phases, their ends, the seats, who is charged."""
    for course, stored in now.rounds():
        found = (stored.phase, stored.until, stored.until_height, stored.base, stored.needed)
        expected = (course.phase, course.until, course.until_height, course.base, course.needed)
        hold(found == expected, f"{course.name}: is at {found}, should be at {expected}")
        hold(set(_names(course, stored.invited)) == course.invited, f"{course.name}: others are invited")
        hold(set(_names(course, stored.reserved)) == set(course.seats), f"{course.name}: other seats")
        hold(set(_names(course, stored.committed)) == set(course.commits), f"{course.name}: other commitments")
        hold(stored.charged is _charged(course), f"{course.name}: charged are {stored.charged}")
    for name, task in now.books.courses.tasks.items():
        stored = tasks.TASKS.at(now.state, name)
        trained = sum(course.trained for course in task.rounds)
        found = (stored.rounds, stored.trained)
        hold(found == (len(task.rounds), trained), f"{name}: {found} rounds, {len(task.rounds)} were opened")
        hold(trained <= task.terms.max_rounds, f"{name}: {trained} rounds of {task.terms.max_rounds} trained")


def _names(course: Course, seats: bytes) -> list[str]:
    """The organisations of a set of seats, by number."""
    known = {number: name for name, number in course.roster.items()}
    return [known[number] for number in bitmap.numbers(seats)]


def _charged(course: Course) -> Charged:
    if course.revealed:
        return Charged.ALL
    absent = course.phase is Phase.VOID and course.trained and not course.stopped
    return Charged.ABSENT if absent else Charged.NOBODY


CHECKERS: tuple[Callable[[Moment], None], ...] = (
    an_organisation_has_one_voice,
    payloads_are_served_only_when_nobody_can_commit,
    nobody_pays_for_a_round_that_revealed_nothing,
    the_agreed_set_is_what_enough_others_attested,
    ballots_are_sealed_until_none_can_come,
    a_version_is_what_the_ballots_said,
    no_round_outlives_the_version_it_starts_from,
    a_round_is_where_its_messages_took_it,
)
