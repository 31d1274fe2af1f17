"""What this package adds to the command line: ``aggregator run``, ``verifier run``, ``model propose``, ``model vote``.

Mounted through the entry-point group ``fedledger.cli``, because ``client_sdk`` may not import services. ``propose`` and
``vote`` take one step by hand, with the very recomputation that the services run.
"""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from client_sdk.cli import access, options
from client_sdk.cli.access import Access
from client_sdk.cli.commands import noun, verb
from client_sdk.cli.errors import CliError, leaving
from client_sdk.cli.output import Fields, Format, Line, Rows, Stream, emit

if TYPE_CHECKING:
    from client_sdk.client import Receipt
    from client_sdk.session import Session
    from contracts.lineage import Version

    from .gather import Gatherer
    from .recompute import Recomputed

aggregator, verifier, model = noun(), noun(), noun()
_Task = Annotated[str, typer.Argument(metavar="TASK", help="A task whose terms name your organisation for this.")]


@verb(aggregator, "run", example="aggregator run breast-cancer --as lab-1/worker")
def run_aggregator(
    task: _Task,
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Open and close the rounds of a task, aggregate, and propose versions, until the task is finished.

    It keeps no state: killed and started again, it looks at the ledger and goes on. A stand-by runs the same command.
    """
    from .aggregator import Aggregator

    def service(gatherer: "Gatherer", organisation: str, say: Callable[[str], None]) -> Awaitable[None]:
        return Aggregator(gatherer, organisation, say=say).run()

    _serve(Access(ledger, who, passphrase_file, output), task, service)


@verb(verifier, "run", example="verifier run breast-cancer --as hospital-a/worker")
def run_verifier(
    task: _Task,
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Recompute every proposed version and vote with the digest that comes out, until it is stopped."""
    from .verifier import Verifier

    def service(gatherer: "Gatherer", organisation: str, say: Callable[[str], None]) -> Awaitable[None]:
        return Verifier(gatherer, organisation, say=say).run()

    _serve(Access(ledger, who, passphrase_file, output), task, service)


@verb(model, "propose", example="model propose breast-cancer --as lab-1/worker")
def propose(
    task: _Task,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only recompute and show: for auditors and operators.")
    ] = False,
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Recompute the candidate of the task's last closed round from its payloads, and propose it."""
    from contracts.lineage import candidate_digest
    from contracts.models import ProposeVersion, VersionProposed

    async def work(session: "Session") -> tuple["Recomputed", "Receipt | None"]:
        gatherer = await _gatherer(session, task)
        number = await _closed_round(session, task)
        made = await _recomputed(gatherer, number)
        if dry_run:
            return made, None
        await session.store.put(made.model)
        return made, await access.submit(session.client, ProposeVersion(made.candidate))

    opened = Access(ledger, who, passphrase_file, output)
    made, receipt = opened.session(access.WORKER, work, "recomputing the candidate")
    proposed = receipt.event(VersionProposed) if receipt else None
    data = {
        "candidate": made.candidate,
        "digest": candidate_digest(made.candidate),
        "version": proposed and proposed.version,
    }
    said = f"Proposed as version {proposed.version} of {proposed.model}." if proposed else "Nothing was proposed."
    emit(output, data, *_blocks(made, candidate_digest(made.candidate)), Line(said))


@verb(model, "vote", example="model vote breast-cancer-model --version 3 --as hospital-a/worker")
def vote(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="The model.")],
    version: Annotated[int, typer.Option("--version", metavar="N", min=1, help="The proposed version.")],
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Recompute a proposed version yourself, and vote with the digest you arrive at, whether it agrees or not."""
    from contracts.lineage import VersionDecided, candidate_digest
    from contracts.models import VoteVersion

    async def work(session: "Session") -> tuple["Version", "Recomputed", "Receipt"]:
        proposed, task = await _proposed(session, name, version)
        made = await _recomputed(await _gatherer(session, task), proposed.round)
        await session.store.put(made.model)  # A version has as many sources as it has verifiers.
        digest = candidate_digest(made.candidate)
        return proposed, made, await access.submit(session.client, VoteVersion(name, version, digest))

    opened = Access(ledger, who, passphrase_file, output)
    proposed, made, receipt = opened.session(access.WORKER, work, "recomputing the candidate")
    mine = candidate_digest(made.candidate)
    agrees = mine == proposed.digest
    decided = [event for event in receipt.events if isinstance(event, VersionDecided)]
    verdict = "confirms" if agrees else f"contradicts {proposed.proposer}'s {proposed.digest.hex()} of"
    emit(
        output,
        {
            "model": name,
            "version": version,
            "digest": mine,
            "agrees": agrees,
            "decided": decided,
            "height": receipt.height,
        },
        *_blocks(made, mine),
        Line(f"This {verdict} version {version}."),
        *(Line(f"Version {event.version} is now {event.status}: {event.reason}.") for event in decided),
    )


def _serve(
    opened: Access, task: str, service: "Callable[[Gatherer, str, Callable[[str], None]], Awaitable[None]]"
) -> None:
    """Run a service until it ends, Ctrl-C or SIGTERM; what it did is the result, its log goes to standard error."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stream = Stream(opened.output)

    async def work(session: "Session") -> None:
        gatherer = await _gatherer(session, task)
        running = asyncio.ensure_future(
            service(gatherer, session.organisation, lambda text: stream.item({"did": text}, text))
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        logging.getLogger(__name__).info("%s serves the task %s", session.organisation, task)
        await asyncio.wait((running,))
        if not running.cancelled():
            running.result()

    with leaving("Nothing is lost: it keeps no state, and goes on when it is started again."):
        quiet = Access(opened.ledger, opened.who, opened.passphrase_file, Format.JSONL)
        quiet.session(access.WORKER, work, "")
    stream.end()


async def _gatherer(session: "Session", name: str) -> "Gatherer":
    from client_sdk.training.task import open_task

    from .gather import Gatherer

    task = await open_task(session.client, session.store, name)
    return Gatherer(session.client, session.store, task, session.identities)


async def _closed_round(session: "Session", task: str) -> int:
    """The number of the last round, which waits for a proposal."""
    from contracts import rounds

    state = await session.client.get(rounds.TASKS, task)
    if state is None:
        raise rounds.UnknownTask(task=task)
    current = await session.client.get(rounds.ROUNDS, (task, state.rounds))  # Round 0 is none.
    if current is None or current.status is not rounds.Status.CLOSED:
        status = f"round {state.rounds} is {current.status}" if current else "no round was opened"
        hint = f"Wait until a round is closed: fedledger round watch {task}"
        raise CliError("NOTHING_TO_DO", f"{status}, so there is nothing to propose", hint)
    return state.rounds


async def _proposed(session: "Session", name: str, number: int) -> tuple["Version", str]:
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


async def _recomputed(gatherer: "Gatherer", number: int) -> "Recomputed":
    from .recompute import NothingToPropose

    try:
        return await gatherer.recompute(number)
    except NothingToPropose as error:
        hint = "The round passes without a version; the next one starts anew."
        raise CliError("NOTHING_TO_PROPOSE", f"round {number}: {error}", hint) from error


def _blocks(made: "Recomputed", digest: bytes) -> tuple[Fields, Rows]:
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
