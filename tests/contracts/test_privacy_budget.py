"""Privacy budgets: held before training, spent at the barrier, whole again when a round reveals nothing."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.harness import consortium
from campaigns.harness.chain import CHAIN_ID, Chain, Member
from campaigns.harness.consortium import (
    AUDITOR,
    DATASET,
    DELTA_INVERSE,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITAL_D,
    HOSPITALS,
    LAB,
    LIMIT,
    MECHANISM,
    MODEL,
    PHASE_BLOCKS,
    PHASE_MS,
    TASK,
    TERMS,
    VERIFIERS,
    commit,
    join,
    let_pass,
    pass_phase,
    pass_proposal,
    register_dataset,
    reserve,
    round_of,
    run_round,
    succeed,
)
from contracts import privacy_budget, rounds
from contracts.ballots import AdvanceRound
from contracts.contributions import Withdraw
from contracts.governance import OpenTask
from contracts.identity import DATASETS, ORGANISATIONS, AddKey
from contracts.kernel import Context, bitmap, limits, renyi
from contracts.kernel.state import Overlay
from contracts.kernel.types import Purpose, Role
from contracts.models import RaiseAlarm
from contracts.privacy_budget import (
    DATASET_ACCOUNTS,
    NOTHING,
    ORGANISATION_ACCOUNTS,
    Account,
    BudgetExceeded,
    BudgetHeld,
    Hold,
    Now,
    Standing,
    TooManyHolds,
)
from contracts.rounds import Bill, Charged, OpenRound, PhaseOver
from contracts.terms import Estimator, EstimatorKind, Phase, price_of
from tests.effort import examples
from tests.vectors_io import VectorWriter

PRICE = price_of(MECHANISM)
HELD, SPENT, FREE = Bill.HELD, Bill.SPENT, Bill.FREE


def epsilon(rounds_spent: int) -> int:
    """ε of this many rounds together: their curves add, their ε do not."""
    curve = NOTHING
    for _ in range(rounds_spent):
        curve = renyi.compose(curve, PRICE)
    return privacy_budget.epsilon_of(curve, DELTA_INVERSE)


def account_of(chain: Chain, member: Member = HOSPITAL_A, dataset: str = DATASET, now: Now | None = None) -> Account:
    """The account at a block: as of the last one, if none is named."""
    return privacy_budget.dataset_account(chain.view, member.name, dataset, now or chain)


def standing_of(chain: Chain, member: Member = HOSPITAL_A, dataset: str = DATASET, now: Now | None = None) -> Standing:
    registered = DATASETS.at(chain.view, (member.name, dataset))
    account = account_of(chain, member, dataset, now)
    return privacy_budget.standing(chain.view, account, registered.epsilon_limit, registered.delta_inverse)


def bill(chain: Chain, member: Member, number: int = 1, now: Now | None = None) -> Bill:
    """What one round means for a member that was charged for no other, read from its account."""
    narrow = account_of(chain, member, now=now)
    wide = privacy_budget.organisation_account(chain.view, member.name, now or chain)
    assert narrow == wide, "the dataset's account is not the organisation's"
    if narrow.holds:
        assert [(hold.task, hold.round) for hold in narrow.holds] == [(TASK, number)]
        return HELD
    return SPENT if narrow.spent == PRICE else FREE


def bills(chain: Chain, now: Now | None = None) -> tuple[Bill, ...]:
    """The bills of the four hospitals for round 1."""
    return tuple(bill(chain, hospital, now=now) for hospital in HOSPITALS)


def exhausted() -> Chain:
    """Three rounds are decided, a fourth is open: nobody's budget admits it."""
    chain = consortium.thrice_promoted()
    chain.submit(LAB, OpenRound(TASK))
    return chain


def five_invited() -> Chain:
    """Round 1 is open for one more than it needs: nothing is complete before its time, unless all five act."""
    chain = consortium.five_joined()
    chain.submit(LAB, OpenRound(TASK))
    return chain


# --- hold, spend, give back ---


@pytest.mark.vectors
def test_a_reservation_holds_the_price_back_before_any_training(vector: VectorWriter) -> None:
    """The price is held on the dataset's and on the organisation's account, in the name of the round and the seat."""
    chain = consortium.round_open()
    events = vector.accepted(chain, HOSPITAL_A, reserve())
    assert BudgetHeld("hospital-a", DATASET, epsilon(1)) in events
    assert standing_of(chain) == Standing(LIMIT, spent=0, held=epsilon(1))
    held = Account(NOTHING, (Hold(TASK, 1, consortium.seat_of(chain, HOSPITAL_A).number),))
    assert DATASET_ACCOUNTS.at(chain.view, ("hospital-a", DATASET)) == held
    assert ORGANISATION_ACCOUNTS.at(chain.view, "hospital-a") == held


@pytest.mark.vectors
def test_a_withdrawal_gives_the_hold_back(vector: VectorWriter) -> None:
    """Until training starts a seat is given back for nothing, on both accounts."""
    chain = consortium.round_open()
    chain.submit(HOSPITAL_A, reserve())
    vector.accepted(chain, HOSPITAL_A, Withdraw(TASK, 1))
    assert standing_of(chain) == Standing(LIMIT, spent=0, held=0)
    assert ORGANISATION_ACCOUNTS.at(chain.view, "hospital-a") == Account(NOTHING, ())


@pytest.mark.vectors
def test_the_last_commitment_turns_every_hold_into_spent_budget(vector: VectorWriter) -> None:
    """The barrier is the debit, for all seats at once: no account is written, each says so where it is next read."""
    chain = consortium.reserved()
    succeed(chain, *((hospital, commit()) for hospital in HOSPITALS[1:]))
    assert bills(chain) == (HELD,) * 4
    stored = dict(chain.view.scan(b"privacy_budget/"))
    vector.accepted(chain, HOSPITAL_A, commit())
    assert bills(chain) == (SPENT,) * 4
    assert dict(chain.view.scan(b"privacy_budget/")) == stored
    assert standing_of(chain) == Standing(LIMIT, spent=epsilon(1), held=0)


@pytest.mark.vectors
def test_what_became_of_a_hold_is_written_where_the_account_is_next_charged(vector: VectorWriter) -> None:
    """Nothing is swept: the next reservation writes what the last round has cost, and its own hold."""
    chain = consortium.promoted()
    chain.submit(LAB, OpenRound(TASK))
    vector.accepted(chain, HOSPITAL_A, reserve(2))
    charged = Account(PRICE, (Hold(TASK, 2, consortium.seat_of(chain, HOSPITAL_A, 2).number),))
    assert DATASET_ACCOUNTS.at(chain.view, ("hospital-a", DATASET)) == charged
    assert ORGANISATION_ACCOUNTS.at(chain.view, "hospital-a") == charged


# --- the bill, by the way a round takes ---


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
    chain.submit(HOSPITAL_D, rounds.LeaveTask(TASK))
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
    assert standing_of(chain) == Standing(LIMIT, spent=0, held=0)


def test_a_hospital_that_always_stays_away_after_training_started_pays_every_time() -> None:
    """Else its absence would tell something of its data for nothing, as often as it likes."""
    chain = consortium.five_joined()
    for number in range(1, 4):
        chain.submit(LAB, OpenRound(TASK))
        succeed(chain, *((member, reserve(number)) for member in (*HOSPITALS, LAB)))
        pass_phase(chain, number)
    assert standing_of(chain).spent == epsilon(3)


# --- the bill of a round whose base falls ---


def second_round() -> Chain:
    """Version 1 is promoted; round 2 is open on it, and nobody has paid for anything but round 1."""
    chain = consortium.promoted()
    chain.submit(LAB, OpenRound(TASK))
    return chain


def base_falls(chain: Chain) -> None:
    """A quorum of the verifiers finds version 1 unfit, in one block."""
    alarm = RaiseAlarm(MODEL, 1, consortium.digest("evidence"), "found unfit")
    succeed(chain, *((verifier, alarm) for verifier in VERIFIERS[:5]))
    assert round_of(chain, 2).phase is Phase.VOID


def spent_rounds(chain: Chain, member: Member) -> int:
    """For how many rounds a member has paid; nothing is held."""
    account = account_of(chain, member)
    assert account.holds == ()
    return next(count for count in range(5) if tuple(count * cost for cost in PRICE) == account.spent)


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


# --- the limit ---


@pytest.mark.vectors
def test_an_exhausted_budget_is_refused_before_training(vector: VectorWriter) -> None:
    """The fourth round does not fit: the reservation is refused with what was spent, the limit, and what was wanted."""
    chain = exhausted()
    facts = vector.refused(chain, BudgetExceeded, HOSPITAL_A, reserve(4))
    assert facts == {"account": "dataset", "spent": epsilon(3), "wanted": epsilon(4), "limit": LIMIT}
    assert epsilon(3) <= LIMIT < epsilon(4)


def test_a_second_key_does_not_refill_a_budget() -> None:
    chain = exhausted()
    second = HOSPITAL_A.key(Purpose.WORKLOAD, 1)
    chain.submit(HOSPITAL_A, AddKey(second.enrolment()))
    assert chain.refused(BudgetExceeded, second, reserve(4))["account"] == "dataset"


def test_a_second_dataset_name_does_not_refill_the_organisation_s_budget() -> None:
    chain = consortium.thrice_promoted()
    chain.submit(HOSPITAL_A, register_dataset("same-records-again"))
    chain.submit(HOSPITAL_A, join("same-records-again"))
    chain.submit(LAB, OpenRound(TASK))
    facts = chain.refused(BudgetExceeded, HOSPITAL_A, reserve(4, "same-records-again"))
    assert facts == {"account": "organisation", "spent": epsilon(3), "wanted": epsilon(4), "limit": LIMIT}


def test_the_limit_itself_is_allowed_and_one_nano_less_is_not() -> None:
    chain = consortium.round_open()
    limited(chain, epsilon(1) - 1)
    chain.refused(BudgetExceeded, HOSPITAL_A, reserve())
    limited(chain, epsilon(1))
    chain.submit(HOSPITAL_A, reserve())


def limited(chain: Chain, limit: int) -> None:
    """Give hospital A's dataset another limit, by hand."""
    dataset = DATASETS.at(chain.view, ("hospital-a", DATASET))
    chain.given(DATASETS.put(("hospital-a", DATASET), replace(dataset, epsilon_limit=limit)))


def another_task(chain: Chain, number: int) -> str:
    """Open and join a task that hospital A alone can fill, at its leisure, and open its first round."""
    name = f"task-{number}"
    lone = Estimator(EstimatorKind.MEAN, byzantine=0, minimum=1)
    leisurely = replace(TERMS.phases, reserve_ms=100 * PHASE_MS, commit_ms=100 * PHASE_MS)
    terms = replace(TERMS, task=name, model=name, estimator=lone, phases=leisurely)
    pass_proposal(chain, OpenTask(terms))
    chain.submit(HOSPITAL_A, join(terms=terms))
    chain.submit(LAB, OpenRound(name))
    return name


def test_an_open_reservation_counts_against_the_limit_until_its_round_is_void() -> None:
    """Held is not available: budget cannot be promised twice at the same time."""
    chain = consortium.round_open()
    limited(chain, epsilon(1))
    chain.submit(HOSPITAL_A, reserve())
    other = replace(reserve(), task=another_task(chain, 1))
    facts = chain.refused(BudgetExceeded, HOSPITAL_A, other)
    assert facts == {"account": "dataset", "spent": 0, "wanted": epsilon(2), "limit": epsilon(1)}
    let_pass(chain)
    chain.submit(HOSPITAL_A, other)


def test_one_hospital_s_spending_is_nobody_else_s() -> None:
    chain = consortium.round_open()
    chain.submit(HOSPITAL_A, reserve())
    assert standing_of(chain, HOSPITAL_B) == Standing(LIMIT, spent=0, held=0)


@pytest.mark.vectors
def test_one_reservation_more_than_an_account_can_hold(vector: VectorWriter) -> None:
    """An account holds back for HOLDS_PER_ACCOUNT tasks at a time at most, however much budget is left."""
    chain = consortium.equipped()
    member, dataset = ORGANISATIONS.at(chain.view, "hospital-a"), DATASETS.at(chain.view, ("hospital-a", DATASET))
    chain.given(
        ORGANISATIONS.put("hospital-a", replace(member, epsilon_cap=limits.EPSILON_NANO_MAX)),
        DATASETS.put(("hospital-a", DATASET), replace(dataset, epsilon_limit=limits.EPSILON_NANO_MAX)),
    )
    names = [another_task(chain, number) for number in range(limits.HOLDS_PER_ACCOUNT + 1)]
    for name in names[:-1]:
        chain.submit(HOSPITAL_A, replace(reserve(), task=name))
    facts = vector.refused(chain, TooManyHolds, HOSPITAL_A, replace(reserve(), task=names[-1]))
    assert facts == {"limit": limits.HOLDS_PER_ACCOUNT}
    quote = privacy_budget.quote(chain.view, "hospital-a", DATASET, PRICE, chain)
    assert quote.after < quote.limit
    assert not quote.affordable


# --- how loss is counted ---


def test_the_price_of_a_round_is_computed_once_and_stored_with_the_task() -> None:
    chain = consortium.task_open()
    assert rounds.TASKS.at(chain.view, TASK).price == PRICE


def test_the_epsilons_of_rounds_do_not_add_but_their_curves_do() -> None:
    chain = consortium.thrice_promoted()
    spent = account_of(chain).spent
    assert spent == tuple(3 * cost for cost in PRICE)
    assert standing_of(chain).spent == epsilon(3) < 3 * epsilon(1)


def test_every_debit_is_on_the_organisation_s_account_too() -> None:
    chain = consortium.joined()
    succeed(chain, (HOSPITAL_A, register_dataset("second")), (HOSPITAL_A, join("second")))
    chain.submit(LAB, OpenRound(TASK))
    succeed(chain, *((hospital, reserve()) for hospital in HOSPITALS))
    succeed(chain, *((hospital, commit()) for hospital in HOSPITALS))
    pass_phase(chain)
    chain.submit(LAB, OpenRound(TASK))
    chain.submit(HOSPITAL_A, reserve(2, "second"))
    assert account_of(chain) == Account(PRICE, ())
    assert account_of(chain, dataset="second") == Account(NOTHING, (Hold(TASK, 2, 0),))
    assert privacy_budget.organisation_account(chain.view, "hospital-a", chain) == Account(PRICE, (Hold(TASK, 2, 0),))


def test_an_untouched_account_has_lost_nothing() -> None:
    chain = consortium.equipped()
    assert standing_of(chain) == Standing(LIMIT, spent=0, held=0)
    assert privacy_budget.organisation_account(chain.view, "hospital-a", chain) == Account(NOTHING, ())


def test_a_hopeless_price_is_shown_as_the_largest_epsilon_there_is() -> None:
    """Curves saturate; what is announced stays within the bounds of its field."""
    assert privacy_budget.epsilon_of((limits.RENYI_NANO_MAX,) * len(NOTHING), DELTA_INVERSE) == limits.EPSILON_NANO_MAX


# --- quotes ---

# Of one shape or another, and from nothing to far over any limit.
CURVES = st.builds(
    lambda scale, flat: tuple(scale * (one + flat) // 100 for one in PRICE), st.integers(0, 60), st.integers(0, 10**7)
)
# A round in any phase, its seat 0 reserved, and committed or not.
ROUNDS = st.builds(
    lambda phase, charged, others, committed, until, until_height: rounds.Round(
        base=0,
        phase=phase,
        opened_at=1,
        began_at=0,
        until=until,
        until_height=until_height,
        invited=5,
        needed=4,
        reserved=bitmap.of(range(others + 1)),
        committed=bitmap.of(range(0 if committed else 1, others + 1)),
        agreed=bitmap.NOTHING,
        charged=charged,
    ),
    st.sampled_from(Phase),
    st.sampled_from(Charged),
    st.integers(0, 4),
    st.booleans(),
    st.integers(0, 20),
    st.integers(0, 20),
)
OTHER_TASKS = st.lists(st.tuples(CURVES, ROUNDS), max_size=limits.HOLDS_PER_ACCOUNT)
MOMENTS = st.builds(lambda time, height: Context(CHAIN_ID, height, time, b"", "", ()), *(st.integers(0, 20),) * 2)


@settings(max_examples=examples(300))
@given(
    narrow=CURVES,
    wide=CURVES,
    price=CURVES,
    others=OTHER_TASKS,
    narrower=st.integers(0, limits.HOLDS_PER_ACCOUNT),
    moment=MOMENTS,
    limit=st.integers(10**9, 10**11),
    cap=st.integers(10**9, 10**11),
)
def test_a_quote_says_affordable_exactly_when_a_hold_is_accepted(
    narrow: tuple[int, ...],
    wide: tuple[int, ...],
    price: tuple[int, ...],
    others: list[tuple[tuple[int, ...], rounds.Round]],
    narrower: int,
    moment: Context,
    limit: int,
    cap: int,
) -> None:
    """Whatever was held for other tasks, whether or not anybody has written what became of it."""
    view = consortium.round_open().view
    dataset, member = DATASETS.at(view, (HOSPITAL_A.name, DATASET)), ORGANISATIONS.at(view, HOSPITAL_A.name)
    task, overlay = rounds.TASKS.at(view, TASK), Overlay(view)
    holds = tuple(Hold(f"task-{n}", 1, 0) for n in range(len(others)))
    overlay.apply(
        (
            DATASETS.put((HOSPITAL_A.name, DATASET), replace(dataset, epsilon_limit=limit)),
            ORGANISATIONS.put(HOSPITAL_A.name, replace(member, epsilon_cap=cap)),
            DATASET_ACCOUNTS.put((HOSPITAL_A.name, DATASET), Account(narrow, holds[:narrower])),
            ORGANISATION_ACCOUNTS.put(HOSPITAL_A.name, Account(wide, holds)),
            rounds.TASKS.put(TASK, replace(task, price=price)),
            *(rounds.TASKS.put(f"task-{n}", replace(task, price=other)) for n, (other, _) in enumerate(others)),
            *(rounds.ROUNDS.put((f"task-{n}", 1), current) for n, (_, current) in enumerate(others)),
        )
    )
    quote = privacy_budget.quote(overlay, HOSPITAL_A.name, DATASET, price, moment)
    try:
        held = privacy_budget.hold(overlay, HOSPITAL_A.name, DATASET, Hold(TASK, 1, 0), moment)
    except (BudgetExceeded, TooManyHolds):
        assert not quote.affordable
    else:
        assert quote.affordable
        assert quote.after == held.events[0].epsilon
        overlay.apply(held.writes)
        account = privacy_budget.dataset_account(overlay, HOSPITAL_A.name, DATASET, moment)
        standing = privacy_budget.standing(overlay, account, limit, dataset.delta_inverse)
        assert (quote.spent, quote.after) == (standing.spent, standing.spent + standing.held)


# --- as many seats as there can be ---


def test_a_round_of_256_seats_charges_each_and_its_record_hardly_grows() -> None:
    crowd = tuple(Member(f"member-{number}") for number in range(limits.SEATS_PER_ROUND))
    roles = (Role.DATA_OWNER, Role.AGGREGATOR, Role.VERIFIER)
    chain = Chain(consortium.genesis(*(consortium.founder(member, roles) for member in crowd)))
    voters = tuple(member.name for member in crowd[:5])
    terms = replace(TERMS, aggregators=voters[:1], verifiers=voters, recipients=voters)
    chain.given(*rounds.open_task(chain.view, terms, Context(CHAIN_ID, 1, 0, b"", "", ())).writes)
    succeed(chain, *((member, AddKey(member.worker.enrolment())) for member in crowd))
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
