"""Reputation: what an organisation's past conduct says about the weight of its next update.

A score is a signed deviation from neutral, in millionths, that halves every HALF_LIFE_MS of block time, merit and
fault alike. It is evaluated where it is read; nothing decays in an empty block.

What bytes prove costs in full (missing, malformed, over the norm, a ballot against the quorum's or never opened). A
statistical flag costs little, and only once FLAGS_THAT_COUNT of the last FLAG_WINDOW verdicts were flags: under non-IID
data the odd one out is often honest. The weight never leaves [WEIGHT_FLOOR, WEIGHT_CAP] / WEIGHT_ONE, so reputation
cannot silence anybody, nor let anybody dominate.

What earned merit remembers its key and place: who disowns an act, because its key was stolen, keeps nothing of what it
earned. Of faults nothing is taken back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

from .kernel import Context, Contract, Event, Map, Outcome, Place, Record, View
from .kernel.fixed_point import half_life_decay
from .kernel.types import Items, OrgId, PublicKey, Range, TimeMs

NEUTRAL, LOWEST, HIGHEST = 0, -1_000_000, 1_000_000
HALF_LIFE_MS = 7 * 24 * 3600 * 1000
FLAG_WINDOW = 5
FLAGS_THAT_COUNT = 2
MERITS_KEPT = 32  # More than fill the scale, if they are of contributions.
WEIGHT_ONE, WEIGHT_FLOOR, WEIGHT_CAP = 1024, 512, 1536

Deviation = Annotated[int, Range(LOWEST, HIGHEST)]
Flags = Annotated[int, Range(0, 2**FLAG_WINDOW - 1)]


class Verdict(StrEnum):
    """What a decided round, or a decided proposal, says about one organisation."""

    ACCEPTED = "accepted"  # The estimator counted its update.
    FILTERED = "filtered"  # The estimator saw its update and flagged it as an outlier.
    REFUSED = "refused"  # Its payload is malformed, over the norm, or names something else.
    MISSING = "missing"  # It committed, and a quorum of verifiers says that too few of them could have the payload.
    CONFIRMED = "confirmed"  # It opened the ballot that a quorum opened.
    CONTRADICTED = "contradicted"  # It opened another one than a quorum did.
    UNOPENED = "unopened"  # It sealed a ballot and did not open it.


CHANGES: dict[Verdict, int] = {
    Verdict.ACCEPTED: 50_000,
    Verdict.FILTERED: -100_000,
    Verdict.REFUSED: -400_000,
    Verdict.MISSING: -200_000,
    Verdict.CONFIRMED: 10_000,
    Verdict.CONTRADICTED: -500_000,
    Verdict.UNOPENED: -200_000,
}


class Score(Record):
    """A deviation as of a block time, and the last verdicts as bits: 1 for a flag, newest lowest."""

    deviation: Deviation
    updated_at: TimeMs
    flags: Flags


class Merit(Record):
    """What one act earned, and when."""

    signer: PublicKey
    place: Place
    gain: Annotated[int, Range(1, HIGHEST)]
    at: TimeMs


class Merits(Record):
    """The last acts of an organisation that earned something, oldest first."""

    rows: Annotated[tuple[Merit, ...], Items(0, MERITS_KEPT)]


SCORES = Map("reputation/scores", Score, "organisation")
MERITS = Map("reputation/merits", Merits, "organisation")


class ReputationChanged(Event):
    """A verdict moved, or did not move, a score."""

    organisation: OrgId
    verdict: Verdict
    deviation: Deviation


class MeritDisowned(Event):
    """A stolen key's acts earned nothing after all."""

    organisation: OrgId
    deviation: Deviation


@dataclass(frozen=True)
class Act:
    """A signed act that a verdict is about: its key, and where it stands."""

    signer: PublicKey
    place: Place


@dataclass(frozen=True)
class Judged:
    """A verdict on an organisation; with the act that earns it something, where one can."""

    organisation: OrgId
    verdict: Verdict
    act: Act | None = None


def settle(view: View, verdicts: tuple[Judged, ...], ctx: Context) -> Outcome:
    """Apply the verdicts of one decision, in order; an organisation may have several."""
    scores: dict[OrgId, Score] = {}
    merits: dict[OrgId, tuple[Merit, ...]] = {}
    events: list[Event] = []
    for one in verdicts:
        name = one.organisation
        before = scores.get(name) or at(view, name, ctx.time_ms)
        after = scores[name] = _judged(before, one.verdict)
        events.append(ReputationChanged(name, one.verdict, after.deviation))
        gain = after.deviation - before.deviation
        if one.act is not None and gain > 0:
            merit = Merit(one.act.signer, one.act.place, gain, ctx.time_ms)
            merits[name] = (*(merits.get(name) or merits_of(view, name)), merit)[-MERITS_KEPT:]
    kept = tuple(MERITS.put(name, Merits(rows)) for name, rows in merits.items())
    return Outcome((*(SCORES.put(name, score) for name, score in scores.items()), *kept), tuple(events))


def disowned(view: View, organisation: OrgId, since: Mapping[PublicKey, Place], ctx: Context) -> Outcome:
    """Take back what these keys earned by acts from these places on, as far as it has not faded. For identity."""
    rows = merits_of(view, organisation)
    taken = tuple(one for one in rows if one.signer in since and not one.place.precedes(since[one.signer]))
    if not taken:
        return Outcome()
    kept = tuple(one for one in rows if one not in taken)
    score = at(view, organisation, ctx.time_ms)
    owed = sum(half_life_decay(one.gain, max(0, ctx.time_ms - one.at), HALF_LIFE_MS) for one in taken)
    after = replace(score, deviation=max(LOWEST, score.deviation - owed))
    return Outcome(
        (SCORES.put(organisation, after), MERITS.put(organisation, Merits(kept))),
        (MeritDisowned(organisation, after.deviation),),
    )


def merits_of(view: View, organisation: OrgId) -> tuple[Merit, ...]:
    """The last acts of an organisation that earned something, oldest first."""
    record = MERITS.get(view, organisation)
    return record.rows if record else ()


def at(view: View, organisation: OrgId, now: TimeMs) -> Score:
    """The score decayed to a block time; a newcomer is neutral."""
    score = SCORES.get(view, organisation)
    if score is None:
        return Score(NEUTRAL, now, 0)
    return decayed(score, now)


def decayed(score: Score, now: TimeMs) -> Score:
    """A stored score as of a later block time."""
    elapsed = max(0, now - score.updated_at)
    return Score(half_life_decay(score.deviation, elapsed, HALF_LIFE_MS), max(now, score.updated_at), score.flags)


def weight(score: Score) -> int:
    """The weight of an update in units of 1 / WEIGHT_ONE: neutral is 1, and the cap and the floor are never left."""
    swing = (WEIGHT_CAP - WEIGHT_ONE) * score.deviation // HIGHEST  # Floor: a fault never rounds to less.
    return min(WEIGHT_CAP, max(WEIGHT_FLOOR, WEIGHT_ONE + swing))


def _judged(score: Score, verdict: Verdict) -> Score:
    flags = score.flags
    if verdict in (Verdict.ACCEPTED, Verdict.FILTERED):
        flags = (flags << 1 | (verdict is Verdict.FILTERED)) & (2**FLAG_WINDOW - 1)
    counts = verdict is not Verdict.FILTERED or flags.bit_count() >= FLAGS_THAT_COUNT
    change = CHANGES[verdict] if counts else 0
    return Score(min(HIGHEST, max(LOWEST, score.deviation + change)), score.updated_at, flags)


CONTRACT = Contract(name="reputation", number=5, state=(SCORES, MERITS), handlers={}, modules=(__name__,))
