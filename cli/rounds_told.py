"""How rounds, seats and ballots are told to people, and to programs by name instead of by seat number."""

from typing import TYPE_CHECKING, Any, Final

from . import units
from .output import Fields, Line, Rows, plain

if TYPE_CHECKING:
    from client_sdk.reads.round_states import Place, RoundState, Voter
    from contracts.kernel import Event
    from contracts.lineage import Finding
    from contracts.rounds import Round

_FINDINGS: Final = {
    "AGGREGATED": "counted",
    "LEFT_OUT": "good; the estimator counts others",
    "OUTLIER": "an outlier, by the estimator",
    "MALFORMED": "not an update of this task's form",
    "MISNAMED": "of another organisation, dataset, task, round or base",
    "OVER_NORM": "over the norm bound",
}
_CHARGED: Final = {
    "nobody": "nobody: nothing was revealed",
    "absent": "who reserved and did not commit",
    "all": "everybody who reserved",
}
_DONE: Final = {
    "reserving": "reserved",
    "committing": "committed",
    "attesting": "attested",
    "sealing": "sealed",
    "opening": "opened",
}


def finding_words(finding: "Finding") -> str:
    """What became of a contribution."""
    return _FINDINGS[finding.name]


def counts(current: "Round") -> dict[str, int]:
    """How many seats came how far."""
    from contracts.kernel import bitmap

    return {
        "reserved": bitmap.count(current.reserved),
        "committed": bitmap.count(current.committed),
        "agreed": bitmap.count(current.agreed),
    }


def data_of(state: "RoundState") -> dict[str, Any]:
    """A round for programs: its record with the end of its phase drawn, and who came how far by name."""
    return {
        "task": state.task,
        "round": state.number,
        **plain(state.current),
        "charged": plain(state.charged),
        "judged_at": plain(state.now),
        "blocks_left": state.blocks_left,
        "ms_left": state.ms_left,
        "to_be_written": [{"event": event.tag, **plain(event)} for event in state.due],
        "waiting_for": list(state.waiting),
        "seats": [_place(place) for place in state.places],
        "verifiers": [plain(voter) for voter in state.voters],
        "version": state.version,
        "why_void": state.why_void,
    }


def blocks_of(state: "RoundState") -> tuple[Fields | Rows | Line, ...]:
    """A round for people."""
    seats = [_seat_row(state, place) for place in state.places]
    voters = [_voter_row(state, voter) for voter in state.voters]
    return (
        Fields(_head(state)),
        Rows(("seat", "contribution", "weight", "came to", "held by", "finding", "price"), seats, empty="No seats."),
        Rows(("verifier", "holds seats", "sealed in block", "opened", "score"), voters),
    )


def phase_words(phase: str, *, unwritten: bool) -> str:
    """A phase; a star stands where the next act writes it down."""
    return f"{phase}*" if unwritten else phase


def _head(state: "RoundState") -> dict[str, object]:
    from contracts import rounds
    from contracts.kernel import bitmap
    from contracts.terms import needed_votes

    current, terms, many = state.current, state.terms, counts(state.current)
    head: dict[str, object] = {"round": f"{state.number} of {state.task}, from version {current.base}"}
    head["phase"] = str(current.phase)
    if state.why_void:
        head["why"] = state.why_void
    if state.version is not None:
        head["decided on"] = f"version {state.version}"
    if state.due:
        head["to be written"] = f"{_due(state.due)}: by the next act, or 'fedledger round advance {state.task}'"
    if current.phase not in rounds.OVER:
        head["until"] = (
            f"{units.time(current.until)} and block {current.until_height}: {units.duration(state.ms_left)} and "
            f"{state.blocks_left} more blocks, or until all have {_DONE[current.phase]}"
        )
        head["waiting for"] = state.waiting
    head["reserved"] = f"{many['reserved']} of {bitmap.count(current.invited)} invited; {current.needed} are needed"
    head["committed"] = f"{many['committed']}; {current.needed} are needed"
    if current.agreed:
        numbers = ", ".join(map(str, bitmap.numbers(current.agreed)))
        head["agreed set"] = f"seats {numbers}; {terms.estimator.minimum} are needed"
    head["ballots"] = (
        f"{sum(voter.sealed_at is not None for voter in state.voters)} sealed, "
        f"{sum(voter.opened is not None for voter in state.voters)} opened; {needed_votes(terms)} must agree"
    )
    head["pays"] = "open: prices are held back" if state.charged is None else _CHARGED[state.charged]
    head["opened"] = f"in block {current.opened_at}"
    head["judged at"] = f"block {state.now.height}, {units.time(state.now.time_ms)}"
    return head


def _due(due: "tuple[Event, ...]") -> str:
    return "; ".join(f"{event.tag.rpartition('/')[2]} ({units.event_facts(event)})" for event in due)


def _seat_row(state: "RoundState", place: "Place") -> tuple[object, ...]:
    made = place.seat.commitment
    return (
        place.seat.number,
        f"{place.organisation}/{place.seat.dataset}",
        units.weight(place.seat.weight),
        "reserved" if made is None else f"committed in block {made.place.height}",
        None if made is None else f"{place.holders} of {_others(state, place)}",
        _found(state, place),
        place.bill,
    )


def _others(state: "RoundState", place: "Place") -> int:
    """The verifiers whose word on a payload counts: all but its owner."""
    return sum(voter.organisation != place.organisation for voter in state.voters)


def _found(state: "RoundState", place: "Place") -> str:
    """What is known about a contribution so far."""
    if place.finding is not None:
        return finding_words(place.finding)
    attested = state.current.agreed or state.current.phase not in ("reserving", "committing", "attesting")
    if place.seat.commitment is None or not attested or state.charged != "all":
        return "-"
    if place.agreed:
        return "in the set"
    enough = state.terms.verifier_faults + 1
    return "left out: too few verifiers hold it" if place.holders < enough else "left out: its key was not good"


def _voter_row(state: "RoundState", voter: "Voter") -> tuple[object, ...]:
    held = None if voter.attested is None else ", ".join(map(str, voter.attested)) or "none"
    total = state.terms.canary_records
    return (
        voter.organisation,
        held,
        voter.sealed_at,
        _opened(voter),
        None if voter.correct is None else units.score(voter.correct, total),
    )


def _opened(voter: "Voter") -> str | None:
    return None if voter.opened is None else f"{voter.opened.hex()[:16]}…"


def _place(place: "Place") -> dict[str, Any]:
    return {
        "organisation": place.organisation,
        **plain(place.seat),
        "price": plain(place.bill),
        "holders": place.holders,
        "agreed": place.agreed,
        "finding": None if place.finding is None else place.finding.name.lower(),
    }
