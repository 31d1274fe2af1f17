"""Bugs planted in the rules of a round: for each of its promises, the rule that keeps it is taken out.

The numbers are those of the promises in ``docs/architecture.md``. Promise 8 is kept by clients, and promise 10 by
measurement, so neither has a bug here.
"""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from contracts import ballot_box, ballots, contributions, models, privacy_budget, reputation, rounds, tasks
from contracts.ballot_box import Attestation, Ballot, Statement
from contracts.ballots import OpenBallot
from contracts.contributions import Commit, Reserve
from contracts.kernel import Context, Outcome, View, bitmap
from contracts.lineage import MODELS, VERSIONS, Candidate, Version
from contracts.models import Decision
from contracts.registry import RULES
from contracts.reputation import Judged, Score, Verdict
from contracts.rounds import Moved, Round
from contracts.tasks import JoinTask, Participation
from contracts.terms import Phase, Terms, needed_votes

from .course import OUTLIVES
from .plant import Patches, Plant

NOBODY_PAYS = "nobody pays for a round that revealed nothing"


# 1. One organisation, one voice.


def _two_seats() -> Patches:
    blind = SimpleNamespace(**{**vars(bitmap), "has": lambda *_: False})

    def reserve(view: View, msg: Reserve, ctx: Context) -> Outcome:
        with patch.object(contributions, "bitmap", blind):
            return contributions.reserve(view, msg, ctx)

    yield patch.dict(RULES.newest.handlers, {Reserve: reserve})


def _number_of_another() -> Patches:
    def join(view: View, msg: JoinTask, ctx: Context) -> Outcome:
        outcome = tasks.join_task(view, msg, ctx)
        path = tasks.PARTICIPATIONS.path((msg.task, ctx.organisation))
        part: Participation = tasks.PARTICIPATIONS.read(next(w.body for w in outcome.writes if w.path == path) or b"")
        shifted = tasks.PARTICIPATIONS.put((msg.task, ctx.organisation), replace(part, number=part.number // 2))
        return Outcome(tuple(shifted if write.path == path else write for write in outcome.writes), outcome.events)

    yield patch.dict(RULES.newest.handlers, {JoinTask: join})


# 2. Nothing is charged for a round that reveals nothing.


def _training_with_too_few() -> Patches:
    honest = rounds.after_reserving

    def after(view: View, task: str, number: int, current: Round, terms: Terms, ctx: Context) -> Moved:
        moved = honest(view, task, number, replace(current, needed=1), terms, ctx)
        return Moved(replace(moved.round, needed=current.needed), moved.outcome)

    yield patch.object(rounds, "after_reserving", after)


def _barrier_without_f() -> Patches:
    honest = rounds.after_committing

    def after(task: str, number: int, current: Round, terms: Terms, ctx: Context) -> Moved:
        moved = honest(task, number, replace(current, needed=terms.estimator.minimum), terms, ctx)
        return Moved(replace(moved.round, needed=current.needed), moved.outcome)

    yield patch.object(rounds, "after_committing", after)


def _charged_below_the_barrier() -> Patches:
    honest = rounds.charged_of

    def charged_of(current: Round, now: int, height: int) -> rounds.Charged | None:
        charged = honest(current, now, height)
        return rounds.Charged.ALL if charged is rounds.Charged.ABSENT else charged

    yield patch.object(rounds, "charged_of", charged_of)


def _lapsed_is_charged() -> Patches:
    honest = rounds.bill_of

    def bill_of(current: Round, seat: int, now: int, height: int) -> rounds.Bill:
        bill = honest(current, seat, now, height)
        return rounds.Bill.SPENT if bill is rounds.Bill.FREE and current.committed == b"" else bill

    yield patch.object(rounds, "bill_of", bill_of)


def _absence_is_free() -> Patches:
    honest = rounds.bill_of

    def bill_of(current: Round, seat: int, now: int, height: int) -> rounds.Bill:
        absent = rounds.charged_of(current, now, height) is rounds.Charged.ABSENT
        return rounds.Bill.FREE if absent else honest(current, seat, now, height)

    yield patch.object(rounds, "bill_of", bill_of)


def _charged_at_the_decision() -> Patches:
    honest = rounds.bill_of

    def bill_of(current: Round, seat: int, now: int, height: int) -> rounds.Bill:
        return honest(current, seat, now, height) if current.phase in rounds.OVER else rounds.Bill.HELD

    yield patch.object(rounds, "bill_of", bill_of)


def _limits_ignored() -> Patches:
    yield patch.object(privacy_budget, "_require_within", lambda *_: None)


# 3. Nobody moves last.


def _late_commit() -> Patches:
    drawn, over = rounds.as_of_now, rounds.is_over

    def as_of_now(view: View, task: str, number: int, current: Round, terms: Terms, ctx: Context) -> Moved:
        if current.phase is Phase.COMMITTING:
            return Moved(current)
        with patch.object(rounds, "is_over", over):
            return drawn(view, task, number, current, terms, ctx)

    def commit(view: View, msg: Commit, ctx: Context) -> Outcome:
        with patch.object(rounds, "as_of_now", as_of_now), patch.object(rounds, "is_over", lambda *_: False):
            return contributions.commit(view, msg, ctx)

    yield patch.dict(RULES.newest.handlers, {Commit: commit})


def _served_early() -> Patches:
    honest = rounds.charged_of

    def charged_of(current: Round, now: int, height: int) -> rounds.Charged | None:
        enough = bitmap.count(current.committed) >= current.needed
        early = current.phase is Phase.COMMITTING and enough
        return rounds.Charged.ALL if early else honest(current, now, height)

    yield patch.object(rounds, "charged_of", charged_of)


# 4. What was available is agreed.


def _own_attestation_counts() -> Patches:
    honest = ballots._after_attesting

    def after(
        view: View, terms: Terms, number: int, current: Round, rows: tuple[Attestation, ...], ctx: Context
    ) -> Moved:
        nameless = tuple(replace(row, organisation="") for row in rows)
        return honest(view, terms, number, current, nameless, ctx)

    yield patch.object(ballots, "_after_attesting", after)


def _blamed_without_a_quorum() -> Patches:
    honest = ballots._after_attesting

    def after(*arguments: Any) -> Moved:
        with patch.object(ballot_box, "needed_votes", lambda _: 0):
            return honest(*arguments)

    yield patch.object(ballots, "_after_attesting", after)


# 5. Votes are work, not echoes.


def _opened_early() -> Patches:
    def open_ballot(view: View, msg: OpenBallot, ctx: Context) -> Outcome:
        honest = rounds.require_phase

        def require_phase(current: Round, wanted: Phase, ctx: Context) -> None:
            if current.phase is not Phase.SEALING:
                honest(current, wanted, ctx)

        with patch.object(rounds, "require_phase", require_phase):
            return ballots.open_ballot(view, msg, ctx)

    yield patch.dict(RULES.newest.handlers, {OpenBallot: open_ballot})


class _AnySeal:
    """Equal to whatever was sealed."""

    def __eq__(self, _other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def _openings_unchecked() -> Patches:
    def seal_of(_said: Statement) -> Any:
        return _AnySeal()

    yield patch.object(ballots, "seal_of", seal_of)


def _impossible_ballots() -> Patches:
    yield patch.object(ballots, "_require_possible", lambda *_: None)


def _unopened_is_free() -> Patches:
    honest = ballot_box.earned

    def earned(*arguments: Any, **others: Any) -> tuple[Judged, ...]:
        return tuple(one for one in honest(*arguments, **others) if one.verdict is not Verdict.UNOPENED)

    yield patch.object(ballots, "earned", earned)


def _decided_by_fewer() -> Patches:
    honest, tainted, fewer = ballot_box.agreeing, ballot_box.tainted_of, False

    def quorum(view: View, terms: Terms, box: tuple[Ballot, ...]) -> tuple[Ballot, ...]:
        nonlocal fewer
        found = honest(view, terms, box)
        fewer = not found
        with patch.object(ballot_box, "needed_votes", lambda terms: needed_votes(terms) - 1):
            return found or honest(view, terms, box)

    def untainted(*arguments: Any) -> tuple[int, ...]:
        return () if fewer else tainted(*arguments)  # Else it is the agreed set in which it shows.

    yield patch.object(ballots, "agreeing", quorum)
    yield patch.object(ballots, "tainted_of", untainted)


def _best_score_counts() -> Patches:
    def highest(scores: Any) -> list[int]:
        known = list(scores)
        return [max(known)] * len(known)

    yield patch.object(ballots, "sorted", highest, create=True)


# 6. The gate does not slide.


def _sliding_gate() -> Patches:
    honest = models.decided

    def decided(view: View, terms: Terms, decision: Decision, ctx: Context) -> Outcome:
        """A promoted version counts as the best of its line, whatever came before."""
        outcome = honest(view, terms, decision, ctx)
        number = MODELS.at(view, terms.model).latest + 1
        path = VERSIONS.path((terms.model, number))
        made: Version = VERSIONS.read(next(write.body for write in outcome.writes if write.path == path) or b"")
        slid = VERSIONS.put((terms.model, number), replace(made, best=number))
        return Outcome(tuple(slid if write.path == path else write for write in outcome.writes), outcome.events)

    yield patch.object(models, "decided", decided)


def _round_outlives_its_base() -> Patches:
    def rebased(view: View, name: str, base: int, _ctx: Context) -> Outcome:
        return Outcome((tasks.TASKS.put(name, replace(tasks.TASKS.at(view, name), base=base)),))

    yield patch.object(rounds, "rebased", rebased)


def _debts_fall_with_the_base() -> Patches:
    yield patch.object(ballot_box, "abandoned", lambda *_: Outcome())


# 9. Conduct counts for everyone.


def _leavers_reserve() -> Patches:
    honest = tasks.PARTICIPATIONS.at

    def require_participation(view: View, task: str, organisation: str) -> Participation:
        part: Participation = honest(view, (task, organisation))
        return part

    def reserve(view: View, msg: Reserve, ctx: Context) -> Outcome:
        with patch.object(tasks, "require_participation", require_participation):
            return contributions.reserve(view, msg, ctx)

    yield patch.dict(RULES.newest.handlers, {Reserve: reserve})


def _reputation_ignored() -> Patches:
    def require_reputation(view: View, _terms: Terms, organisation: str, now: int) -> Score:
        return reputation.at(view, organisation, now)

    yield patch.object(tasks, "require_reputation", require_reputation)


def _disowned_merit_stays() -> Patches:
    yield patch.object(reputation, "disowned", lambda *_: Outcome())


def _stolen_commitments_count() -> Patches:
    yield patch.object(contributions, "disowned", lambda *_: Outcome())


def _no_use_is_free_where_nothing_follows() -> Patches:
    honest = ballot_box.judged

    def judged(view: View, number: int, candidate: Candidate, *rest: Any, **others: Any) -> tuple[Judged, ...]:
        return () if candidate.artefact is None else honest(view, number, candidate, *rest, **others)

    yield patch.object(ballots, "judged", judged)


_PLANTS = {
    "two-seats": Plant("a second seat for a second dataset", "one voice", _two_seats),
    "number-of-another": Plant(
        "two organisations with one seat number", "an organisation has one voice", _number_of_another
    ),
    "training-with-too-few": Plant(
        "training that starts when one has reserved", "training", _training_with_too_few
    ),
    "barrier-without-f": Plant("a barrier at the minimum, without f", NOBODY_PAYS, _barrier_without_f),
    "charged-below-the-barrier": Plant(
        "commitments that are charged below the barrier", NOBODY_PAYS, _charged_below_the_barrier
    ),
    "lapsed-is-charged": Plant("reservations that are charged when they lapse", NOBODY_PAYS, _lapsed_is_charged),
    "absence-is-free": Plant(
        "an absence after training that costs nothing", "debits are the budget minus the remainder", _absence_is_free
    ),
    "charged-at-the-decision": Plant(
        "a debit after the barrier", "debits are the budget minus the remainder", _charged_at_the_decision
    ),
    "limits-ignored": Plant("a budget that refuses nothing", "budget", _limits_ignored),
    "stolen-commitments-count": Plant(
        "a barrier that counts what was reported stolen", "an organisation has one voice",
        _stolen_commitments_count,
    ),
    "late-commit": Plant("a commitment after the barrier", "the barrier", _late_commit),
    "served-early": Plant(
        "payloads that are served when enough have committed", "payloads are served only when nobody can commit",
        _served_early,
    ),
    "own-attestation-counts": Plant(
        "an attestation of one's own payload that counts", "agreed set", _own_attestation_counts
    ),
    "blamed-without-a-quorum": Plant("missing by a few attestations", "who pays", _blamed_without_a_quorum),
    "opened-early": Plant("an opening while others can seal", "sealed ballots", _opened_early),
    "openings-unchecked": Plant("an opening that is not held to its seal", "sealed ballots", _openings_unchecked),
    "impossible-ballots": Plant("a score above the total", "possible ballots", _impossible_ballots),
    "no-use-is-free": Plant(
        "payloads of no use that cost nothing where nothing follows", "who pays", _no_use_is_free_where_nothing_follows
    ),
    "unopened-is-free": Plant("a ballot that need not be opened", "who pays", _unopened_is_free),
    "decided-by-fewer": Plant("a quorum with one too few", "the quorum", _decided_by_fewer),
    "best-score-counts": Plant(
        "the highest score instead of the median", "a version is what the ballots said", _best_score_counts
    ),
    "sliding-gate": Plant("a gate that compares with the parent", "the gate", _sliding_gate),
    "round-outlives-its-base": Plant(
        "a round that goes on from a fallen version", OUTLIVES, _round_outlives_its_base
    ),
    "debts-fall-with-the-base": Plant(
        "ballots whose debts and candidates are forgotten once their base falls",
        "every object has an accepted transaction",
        _debts_fall_with_the_base,
    ),
    "leavers-reserve": Plant("a seat for one that has left the task", "conduct", _leavers_reserve),
    "reputation-ignored": Plant("a reputation that keeps nobody out", "conduct", _reputation_ignored),
    "disowned-merit-stays": Plant("merit of acts that are disowned", "disowned merit", _disowned_merit_stays),
}  # fmt: skip
ROUND_PLANTS = {name: replace(plant, replicas=1) for name, plant in _PLANTS.items()}
