"""The bill of a round: who pays, by the way it takes, before anybody wrote that a phase is over and afterwards."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.harness import consortium, founding
from campaigns.harness.chain import Chain, Member
from campaigns.harness.consortium import (
    AUDITOR,
    HOSPITAL_A,
    HOSPITAL_D,
    HOSPITALS,
    LAB,
    PHASE_BLOCKS,
    PHASE_MS,
    TASK,
    TERMS,
    commit,
    join,
    let_pass,
    pass_phase,
    register_dataset,
    reserve,
    round_of,
    run_round,
    succeed,
)
from contracts import rounds, tasks
from contracts.ballots import AdvanceRound
from contracts.contributions import Withdraw
from contracts.identity import AddKey
from contracts.kernel import Context, bitmap, limits
from contracts.kernel.renyi import Curve
from contracts.kernel.types import Role
from contracts.privacy_budget import (
    Now,
)
from contracts.rounds import Bill, Charged, OpenRound, PhaseOver
from contracts.terms import Phase
from tests.contracts.accounts import PRICE, account_of, bill, bills, epsilon, standing, standing_of
from tests.contracts.box_scenes import base_falls
from tests.effort import examples

HELD, SPENT, FREE = Bill.HELD, Bill.SPENT, Bill.FREE


def five_invited() -> Chain:
    """Round 1 is open for one more than it needs: nothing is complete before its time, unless all five act."""
    chain = consortium.five_joined()
    chain.submit(LAB, OpenRound(TASK))
    return chain


# --- by the way a round takes ---


def reserving_too_few(chain: Chain) -> None:
    succeed(chain, *((hospital, reserve()) for hospital in HOSPITALS[:3]))


def reserving_enough(chain: Chain) -> None:
    succeed(chain, *((hospital, reserve()) for hospital in HOSPITALS))


def committing(chain: Chain, committed: Iterable[Member]) -> None:
    """All hospitals have reserved, the lab has not: some commit."""
    reserving_enough(chain)
    pass_phase(chain)
    succeed(chain, *((hospital, commit()) for hospital in committed))


def committing_one_short(chain: Chain) -> None:
    committing(chain, HOSPITALS[:3])


def committing_nobody(chain: Chain) -> None:
    committing(chain, ())


def one_absent_of_five(chain: Chain) -> None:
    """The minimum and f commit, hospital D does not."""
    succeed(chain, (LAB, reserve()), *((hospital, reserve()) for hospital in HOSPITALS))
    succeed(chain, (LAB, commit()), *((hospital, commit()) for hospital in HOSPITALS[:3]))


COURSES: list[tuple[Callable[[Chain], None], tuple[Bill, ...]]] = [
    (reserving_too_few, (FREE,) * 4),
    (reserving_enough, (HELD,) * 4),
    (committing_one_short, (FREE, FREE, FREE, SPENT)),
    (committing_nobody, (SPENT,) * 4),
    (one_absent_of_five, (SPENT,) * 4),
]


@pytest.mark.parametrize(("course", "expected"), COURSES, ids=lambda part: getattr(part, "__name__", ""))
def test_a_phase_that_is_over_says_who_pays_before_anybody_has_written_it_and_afterwards(
    course: Callable[[Chain], None], expected: tuple[Bill, ...]
) -> None:
    chain = five_invited()
    course(chain)
    let_pass(chain)
    phase, until, until_height = round_of(chain).phase, round_of(chain).until, round_of(chain).until_height
    at_the_end = replace(chain.next_block(), time_ms=until, height=until_height)
    assert bills(chain, at_the_end) == bills(chain, chain.next_block()) == expected
    chain.submit(AUDITOR, AdvanceRound(TASK, 1))
    assert round_of(chain).phase is not phase
    assert bills(chain) == expected


@pytest.mark.parametrize("course", [course for course, _ in COURSES], ids=lambda course: course.__name__)
def test_a_price_is_held_until_the_millisecond_and_the_block_at_which_its_phase_ends(
    course: Callable[[Chain], None],
) -> None:
    chain = five_invited()
    course(chain)
    current = round_of(chain)
    reserved = tuple(HELD if bitmap.has(current.reserved, seat) else FREE for seat in range(4))
    early = replace(chain.next_block(), time_ms=current.until - 1, height=current.until_height + 100)
    few_blocks = replace(chain.next_block(), time_ms=current.until + 100 * PHASE_MS, height=current.until_height - 1)
    assert bills(chain, early) == bills(chain, few_blocks) == reserved


def test_who_withdrew_pays_in_no_case() -> None:
    chain = five_invited()
    reserving_enough(chain)
    chain.submit(LAB, reserve())  # Training starts with this one,
    early = five_invited()  # and here before it.
    reserving_enough(early)
    succeed(early, (HOSPITAL_D, Withdraw(TASK, 1)), (LAB, reserve()))
    pass_phase(early)
    for each, expected in ((chain, SPENT), (early, FREE)):
        pass_phase(each)
        assert round_of(each).charged is Charged.ABSENT
        assert bill(each, HOSPITAL_D) is expected


def test_who_left_the_task_after_reserving_pays_like_everybody() -> None:
    chain = consortium.reserved()
    chain.submit(HOSPITAL_D, tasks.LeaveTask(TASK))
    pass_phase(chain)
    assert bill(chain, HOSPITAL_D) is SPENT


def test_a_void_after_the_barrier_gives_nothing_back() -> None:
    chain = consortium.committed()
    consortium.attest_all(chain, held=())
    assert round_of(chain).phase is Phase.VOID
    assert bills(chain) == (SPENT,) * 4


def test_a_seat_that_is_over_cannot_be_committed_or_given_back() -> None:
    chain = consortium.reserved()
    let_pass(chain)
    late = chain.fork()
    late.refused(rounds.WrongPhase, HOSPITAL_A, commit())
    early = five_invited()
    early.submit(HOSPITAL_A, reserve())
    let_pass(early)
    early.refused(PhaseOver, HOSPITAL_A, Withdraw(TASK, 1))
    assert bill(early, HOSPITAL_A) is FREE


def test_a_hospital_whose_rounds_never_come_together_keeps_its_whole_budget() -> None:
    chain = consortium.joined()
    for number in range(1, 7):
        chain.submit(LAB, OpenRound(TASK))
        chain.submit(HOSPITAL_A, reserve(number))
        let_pass(chain, number)
    chain.block()
    assert standing_of(chain) == standing(spent=0, held=0, least=0)


def test_a_hospital_that_always_stays_away_after_training_started_pays_every_time() -> None:
    """Else its absence would tell something of its data for nothing, as often as it likes."""
    chain = consortium.five_joined()
    for number in range(1, 4):
        chain.submit(LAB, OpenRound(TASK))
        succeed(chain, *((member, reserve(number)) for member in (*HOSPITALS, LAB)))
        pass_phase(chain, number)
    assert standing_of(chain).spent == epsilon(3)


# --- when its base falls ---


def second_round() -> Chain:
    """Version 1 is promoted; round 2 is open on it, and nobody has paid for anything but round 1."""
    chain = consortium.promoted()
    chain.submit(LAB, OpenRound(TASK))
    return chain


def spent_rounds(chain: Chain, member: Member) -> int:
    """For how many rounds a member has paid; nothing is held."""
    account = account_of(chain, member)
    assert account.holds == ()
    return next(count for count in range(5) if Curve.of(count * cost for cost in PRICE.costs()) == account.spent)


def in_reserving(chain: Chain) -> None:
    succeed(chain, *((hospital, reserve(2)) for hospital in HOSPITALS[:3]))


def in_committing(chain: Chain) -> None:
    succeed(chain, *((hospital, reserve(2)) for hospital in HOSPITALS))
    succeed(chain, *((hospital, commit(2, base=1)) for hospital in HOSPITALS[:3]))


def in_attesting(chain: Chain) -> None:
    succeed(chain, *((hospital, reserve(2)) for hospital in HOSPITALS))
    succeed(chain, *((hospital, commit(2, base=1)) for hospital in HOSPITALS))


def after_reserving_ran_out(chain: Chain) -> None:
    in_reserving(chain)
    let_pass(chain, 2)


def after_committing_ran_out(chain: Chain) -> None:
    in_committing(chain)
    let_pass(chain, 2)


@pytest.mark.parametrize(
    ("course", "paid"),
    [
        (in_reserving, (1, 1, 1, 1)),
        (in_committing, (1, 1, 1, 1)),
        (in_attesting, (2, 2, 2, 2)),
        (after_reserving_ran_out, (1, 1, 1, 1)),
        (after_committing_ran_out, (1, 1, 1, 2)),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_a_round_whose_base_falls_costs_what_it_had_cost_when_it_fell(
    course: Callable[[Chain], None], paid: tuple[int, ...]
) -> None:
    """Nothing before the barrier; and what a phase that was over had said already stays."""
    chain = second_round()
    course(chain)
    base_falls(chain)
    assert tuple(spent_rounds(chain, hospital) for hospital in HOSPITALS) == paid


def test_a_base_that_falls_when_nobody_has_written_yet_that_the_barrier_was_reached_spends_every_price() -> None:
    chain = consortium.five_joined()
    run_round(chain, (*HOSPITALS, LAB))
    chain.submit(LAB, OpenRound(TASK))
    succeed(chain, *((member, reserve(2)) for member in (*HOSPITALS, LAB)))
    succeed(chain, *((member, commit(2, base=1)) for member in (*HOSPITALS[:3], LAB)))
    let_pass(chain, 2)
    assert round_of(chain, 2).phase is Phase.COMMITTING
    base_falls(chain)
    assert [spent_rounds(chain, member) for member in (*HOSPITALS, LAB)] == [2] * 5


# --- the same at every moment, whoever has written what ---

FIVE = (*HOSPITALS, LAB)


@dataclass
class Book:
    """What a round costs each of its seats, kept by hand: by whoever reads the promise and not the code."""

    reserved: set[Member]
    committed: set[Member]
    phase: str = "reserving"

    def over(self) -> None:
        """The phase's time and blocks have passed."""
        if self.phase == "reserving":
            self.phase = "committing" if len(self.reserved) >= 4 else "void, free"
        elif self.phase == "committing":
            self.phase = "barrier" if len(self.committed) >= 4 else "void, who stayed away pays"

    def complete(self) -> None:
        """Everybody who can act has acted."""
        if self.phase == "reserving" and len(self.reserved) == len(FIVE):
            self.phase = "committing"
        elif self.phase == "committing" and self.committed == self.reserved:
            self.over()

    def bill(self, member: Member) -> Bill:
        if member not in self.reserved or self.phase == "void, free":
            return FREE
        if self.phase == "barrier":
            return SPENT
        if self.phase == "void, who stayed away pays":
            return FREE if member in self.committed else SPENT
        return HELD


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "commit", "withdraw", "advance", "wait"]),
        st.sampled_from(FIVE),
        st.sampled_from([0, 0, 0, PHASE_MS // 2, PHASE_MS]),
        st.integers(0, PHASE_BLOCKS),
    ),
    max_size=8,
)


@settings(max_examples=examples(60))
@given(
    reserving=st.sampled_from([FIVE, FIVE, FIVE[:4], FIVE[1:], FIVE[:3], ()]),
    meanwhile=ACTS,
    committing=st.sampled_from([FIVE, FIVE[:4], FIVE[1:], FIVE[:3], ()]),
    afterwards=ACTS,
)
def test_a_lazily_read_account_is_the_one_after_it_was_written_down_and_the_one_kept_by_hand(
    reserving: tuple[Member, ...],
    meanwhile: list[tuple[str, Member, int, int]],
    committing: tuple[Member, ...],
    afterwards: list[tuple[str, Member, int, int]],
) -> None:
    """At every block: read from a round that nobody has touched, read after AdvanceRound, and counted apart."""
    chain, book = five_invited(), Book(set(), set())
    some = [("reserve", member, 0, 0) for member in reserving]
    others = [("commit", member, 0, 0) for member in committing]
    for act, member, wait, blocks in (*some, *meanwhile, *others, *afterwards):
        chain.advance(wait)
        for _ in range(blocks):
            chain.block()
            before(chain, book)
        before(chain, book, chain.next_block())
        message = {"reserve": reserve(), "commit": commit(), "withdraw": Withdraw(TASK, 1)}.get(act)
        if act == "advance":
            chain.block((AUDITOR, AdvanceRound(TASK, 1)))
        elif message is None:
            chain.block()
        elif chain.block((member, message))[0].code == 0:
            noted = book.committed if act == "commit" else book.reserved
            (noted.discard if act == "withdraw" else noted.add)(member)
            book.complete()
        same_everywhere(chain, book)
    let_pass(chain)
    before(chain, book, chain.next_block())
    at_the_end = chain.next_block()
    assert [bill(chain, member, now=at_the_end) for member in FIVE] == [book.bill(member) for member in FIVE]
    chain.block((AUDITOR, AdvanceRound(TASK, 1)))
    same_everywhere(chain, book)


def before(chain: Chain, book: Book, now: Now | None = None) -> None:
    """Keep the book up to a block: the phase that was stored is over, or is not."""
    now, current = now or chain, round_of(chain)
    written = {"reserving": Phase.RESERVING, "committing": Phase.COMMITTING}.get(book.phase)
    if current.phase is written and now.time_ms >= current.until and now.height >= current.until_height:
        book.over()


def same_everywhere(chain: Chain, book: Book) -> None:
    before(chain, book)
    expected = [book.bill(member) for member in FIVE]
    assert [bill(chain, member) for member in FIVE] == expected
    later = chain.fork()
    lazily = [account_of(later, member, now=later.next_block()) for member in FIVE]
    later.block((AUDITOR, AdvanceRound(TASK, 1)))
    assert [account_of(later, member) for member in FIVE] == lazily


# --- as many seats as there can be ---


def test_a_round_of_256_seats_charges_each_and_its_record_hardly_grows() -> None:
    crowd = tuple(Member(f"member-{number}") for number in range(limits.SEATS_PER_ROUND))
    roles = (Role.DATA_OWNER, Role.AGGREGATOR, Role.VERIFIER)
    chain = Chain(founding.genesis(*(consortium.as_member(member, roles) for member in crowd)))
    voters = tuple(member.name for member in crowd[:5])
    terms = replace(TERMS, aggregators=voters[:1], verifiers=voters, recipients=voters)
    chain.given(*tasks.open_task(chain.view, terms, Context(chain.ledger.genesis, 1, 0, 0, b"", "", ())).writes)
    succeed(chain, *((member, AddKey(member.worker.enrolment(chain.ledger.genesis))) for member in crowd))
    succeed(chain, *((member, register_dataset()) for member in crowd))
    succeed(chain, *((member, join(terms=terms)) for member in crowd))
    chain.submit(crowd[0], OpenRound(TASK))
    empty = round_of(chain)
    succeed(chain, *((member, reserve()) for member in crowd))
    assert round_of(chain).phase is Phase.COMMITTING
    assert {bill(chain, member) for member in crowd} == {HELD}
    succeed(chain, *((member, commit()) for member in crowd))
    current = round_of(chain)
    assert (current.phase, current.charged) == (Phase.ATTESTING, Charged.ALL)
    assert {bill(chain, member) for member in crowd} == {SPENT}
    assert bitmap.numbers(current.committed) == tuple(range(limits.SEATS_PER_ROUND))
    assert len(current.encode()) <= len(empty.encode()) + 3 * limits.SEATS_PER_ROUND // 8 + 16
