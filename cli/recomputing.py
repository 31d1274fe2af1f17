"""One step of an aggregator or a verifier by hand: the very recomputation that the services run, for ``model``."""

from typing import TYPE_CHECKING, Any

from .errors import CliError
from .output import Fields, Line, Rows

if TYPE_CHECKING:
    from client_sdk.session import Session
    from contracts.kernel import View
    from contracts.lineage import Version
    from contracts.rounds import Round
    from services.rounds.gather import Gatherer
    from services.rounds.recompute import Finding, Recomputed


async def closed_round(session: "Session", task: str) -> int:
    """The number of the last round, which waits for a proposal."""
    from contracts.rounds import RoundStatus

    number, current = await session.client.ask(lambda view: _last_round(view, task))
    if current is None or current.status is not RoundStatus.CLOSED:
        status = f"round {number} is {current.status}" if current else "no round was opened"
        hint = f"Wait until a round is closed: fedledger round watch {task}"
        raise CliError("NOTHING_TO_DO", f"{status}, so there is nothing to propose", hint)
    return number


def _last_round(view: "View", task: str) -> tuple[int, "Round | None"]:
    from contracts import rounds

    number = rounds.require_task(view, task).rounds
    return number, rounds.ROUNDS.get(view, (task, number))  # Round 0 is none.


def proposed_version(view: "View", name: str, number: int) -> tuple["Version", str]:
    """A proposed version and its task. Rejects: UnknownModel, UnknownVersion."""
    from contracts import models

    return models.require_version(view, name, number), models.require_model(view, name).task


def require_recipient(gatherer: "Gatherer", organisation: str) -> None:
    """The terms name the organisation among those who can open the payloads. Raises CliError."""
    terms = gatherer.task.terms
    if organisation not in terms.recipients:
        hint = f"The terms name as recipients: {', '.join(terms.recipients)}."
        raise CliError("NOTHING_TO_DO", f"payloads of {terms.task} are not encrypted to {organisation}", hint)


async def recomputed(gatherer: "Gatherer", number: int) -> "Recomputed":
    """A round's candidate, recomputed from its payloads. Raises CliError when there is none."""
    from services.rounds.recompute import NothingToPropose

    try:
        return await gatherer.recompute(number)
    except NothingToPropose as error:
        raise CliError("NOTHING_TO_PROPOSE", f"round {number}: {error}", error.hint) from error


def finding_blocks(found: "Finding") -> tuple[Fields | Rows | Line, ...]:
    """What a verifier arrived at, for people: its candidate, or why there is none."""
    if found.made is None:
        return (Line(f"No version follows from the payloads as you got them: {found.why_none}."),)
    return blocks_of(found.made, found.digest)


def blocks_of(made: "Recomputed", digest: bytes) -> tuple[Fields, Rows]:
    """A recomputed candidate for people, and what became of each contribution."""
    one = made.candidate
    fields: dict[str, Any] = {
        "task": one.task,
        "round": one.round,
        "parent": one.parent,
        "canary": f"{one.canary_correct}/{one.canary_total}",
        "bytes": f"{one.artefact.cid} ({one.artefact.size:,} bytes)",
        "digest": digest,
    }
    rows = [(f"{each.organisation}/{each.dataset}", each.verdict, each.reason) for each in one.judgements]
    return Fields(fields), Rows(("contribution", "verdict", "why"), rows)
