"""One step of an aggregator or a verifier by hand: the very recomputation that the services run, for ``model``."""

from typing import TYPE_CHECKING, Any

from .errors import CliError
from .output import Fields, Rows

if TYPE_CHECKING:
    from client_sdk.session import Session
    from contracts.lineage import Version
    from services.rounds.gather import Gatherer
    from services.rounds.recompute import Recomputed


async def closed_round(session: "Session", task: str) -> int:
    """The number of the last round, which waits for a proposal."""
    from contracts import rounds

    state = await session.client.get(rounds.TASKS, task)
    if state is None:
        raise rounds.UnknownTask(task=task)
    current = await session.client.get(rounds.ROUNDS, (task, state.rounds))  # Round 0 is none.
    if current is None or current.status is not rounds.RoundStatus.CLOSED:
        status = f"round {state.rounds} is {current.status}" if current else "no round was opened"
        hint = f"Wait until a round is closed: fedledger round watch {task}"
        raise CliError("NOTHING_TO_DO", f"{status}, so there is nothing to propose", hint)
    return state.rounds


async def proposed_version(session: "Session", name: str, number: int) -> tuple["Version", str]:
    """A proposed version and its task."""
    from contracts import lineage
    from contracts.models import UnknownModel, UnknownVersion

    record = await session.client.get(lineage.MODELS, name)
    if record is None:
        raise UnknownModel(model=name)
    version = await session.client.get(lineage.VERSIONS, (name, number))
    if version is None:
        raise UnknownVersion(model=name, version=number)
    return version, record.task


async def recomputed(gatherer: "Gatherer", number: int) -> "Recomputed":
    """A round's candidate, recomputed from its payloads. Raises CliError when there is none."""
    from services.rounds.recompute import NothingToPropose

    try:
        return await gatherer.recompute(number)
    except NothingToPropose as error:
        hint = "The round passes without a version; the next one starts anew."
        raise CliError("NOTHING_TO_PROPOSE", f"round {number}: {error}", hint) from error


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
