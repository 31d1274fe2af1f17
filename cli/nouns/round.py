"""``fedledger round``: the rounds of a task, following them as they happen, and writing down that a phase is over."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import access, options, units
from ..access import Access
from ..commands import noun, verb
from ..errors import CliError, leaving
from ..output import Format, Line, Listing, Rows, Stream, emit, plain, whole
from ..rounds_told import blocks_of, counts, data_of, phase_words

if TYPE_CHECKING:
    from client_sdk.client import AcceptedTx, LedgerClient
    from client_sdk.reads.queries import Moment
    from client_sdk.reads.round_states import RoundState
    from client_sdk.secrets.keys import Keyring
    from contracts.kernel import Event, View
    from contracts.rounds import Round

app = noun()
_Task = Annotated[str, typer.Argument(metavar="TASK", help="The task.")]
_Round = Annotated[int, typer.Option("--round", metavar="N", min=0, help="A round; else the last one.")]


@verb(app, "list", example="round list breast-cancer")
def list_rounds(
    task: _Task,
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """List the rounds of a task: how many came how far, what became of it, and who pays.

    A star marks a phase that began by time and blocks, and that the next act writes down.
    """
    from contracts.kernel import bitmap

    listed = Access(ledger, who, output=output).judge(lambda view, now: _rounds(view, task, now))
    rows = [
        (
            each["round"],
            phase_words(each["phase"], unwritten=each["to_be_written"]),
            one.base,
            bitmap.count(one.invited),
            *counts(one).values(),
            each["charged"] or "open",
            one.opened_at,
        )
        for each, one in listed.entries
    ]
    columns = ("round", "phase", "base", "invited", "reserved", "committed", "agreed", "pays", "block")
    data = [each for each, _ in listed.entries]
    emit(output, data, Rows(columns, rows, empty="No round was opened yet."), listed=listed)


@verb(app, "show", example="round show breast-cancer")
def show(
    task: _Task,
    number: _Round = 0,
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """Show one round, seat by seat: its phase and until when, who acted, the agreed set, ballots, findings, prices.

    It is judged at a block whose header is verified: a phase that is over by time and blocks is shown as over, also
    while nobody has written it down.
    """
    state = Access(ledger, who, output=output).judge(lambda view, now: _state(view, task, number, now))
    emit(output, data_of(state), *blocks_of(state))


@verb(app, "advance", example="round advance breast-cancer --as hospital-a/worker")
def advance(
    task: _Task,
    number: _Round = 0,
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Write down that a round's phase is over, so that the next one begins: for any member's workload key.

    Aggregators do this by themselves; so does whoever acts next. It is refused while the phase is not over.
    """
    from contracts.ballots import AdvanceRound

    async def work(client: "LedgerClient", ring: "Keyring") -> tuple[int, "AcceptedTx"]:
        wanted = await client.ask(lambda view: _number(view, task, number))
        return wanted, await access.submit(client, AdvanceRound(task, wanted))

    wanted, accepted = Access(ledger, who, passphrase_file, output).act(access.WORKER, work)
    happened = [{"event": event.tag, **plain(event)} for event in accepted.events]
    data = {
        "task": task,
        "round": wanted,
        "height": accepted.height,
        "transaction": accepted.hash,
        "events": happened,
    }
    rows = [(event.tag, units.event_facts(event)) for event in accepted.events]
    emit(
        output,
        data,
        Line(f"Round {wanted} of {task} went on in block {accepted.height}."),
        Rows(("event", "facts"), rows),
    )


@verb(app, "watch", example="round watch breast-cancer --rounds 5 --format jsonl")
def watch(
    task: _Task,
    since: Annotated[
        int, typer.Option("--since", metavar="HEIGHT", min=-1, help="Begin after this block; else with the next one.")
    ] = -1,
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", min=0, help="End after so many more rounds; 0 goes on.")
    ] = 0,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0, help="Give up after so long; 0 never.")
    ] = 0,
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """Follow a task: every phase, reservation, commitment, attestation, ballot and decision, block by block.

    Ends by itself when the task has had all its rounds. No block is left out, also after a lost connection.
    """
    stream = Stream(output)
    with leaving("The rounds go on without you. Watch again with --since HEIGHT to see what you missed."):
        opened = Access(ledger, who, output=Format.JSONL)
        opened.read(lambda client: _follow(client, task, stream, after=since, rounds_wanted=rounds, seconds=timeout))
    stream.end()


def _rounds(view: "View", task: str, now: "Moment") -> Listing[tuple[dict[str, Any], "Round"]]:
    """Every round. Only the last one can have a phase that is over and not written."""
    from client_sdk.reads.round_states import state_of
    from client_sdk.reads.view import every
    from contracts import rounds, tasks

    last = tasks.require_task(view, task).rounds
    found = every(rounds.ROUNDS, view, [(task, number) for number in range(1, last + 1)])
    listed = [
        ({"round": number, **plain(one), "to_be_written": False}, one) for number, one in enumerate(found, start=1)
    ]
    if found and found[-1].phase not in rounds.OVER:
        state = state_of(view, task, last, now)
        now_known = {"charged": plain(state.charged), "to_be_written": bool(state.due)}
        listed[-1] = ({"round": last, **plain(state.current), **now_known}, state.current)
    return whole(listed)


def _state(view: "View", task: str, number: int, now: "Moment") -> "RoundState":
    from client_sdk.reads.round_states import state_of

    return state_of(view, task, _number(view, task, number), now)


def _number(view: "View", task: str, number: int) -> int:
    """The round that is meant. Raises CliError where there is none yet."""
    from contracts import tasks

    wanted = number or tasks.require_task(view, task).rounds
    if wanted == 0:
        hint = "An aggregator opens one when enough organisations have joined."
        raise CliError("NOTHING_TO_DO", f"{task} has had no round yet", hint)
    return wanted


async def _follow(
    client: "LedgerClient", task: str, stream: Stream, *, after: int, rounds_wanted: int, seconds: float
) -> None:
    import asyncio
    from contextlib import aclosing

    from contracts import tasks

    terms = await client.ask(lambda view: tasks.require_terms(view, task))
    newest, before, most = (await client.rpc.status()).height, await _over(client, task), terms.max_rounds
    start = min(after, newest) if after >= 0 else newest
    if start == newest and before >= most:
        return
    end_at: int | None = None
    async with asyncio.timeout(seconds or None), aclosing(client.events(start)) as blocks:
        async for height, events in blocks:
            mine = [event for event in events if _concerns(event, task, terms.model)]
            for event in mine:
                stream.item({"height": height, "event": event.tag, **plain(event)}, _line(height, event))
            if end_at is None and (mine or height == newest):
                over = await _over(client, task)
                if over >= most or (rounds_wanted and over - before >= rounds_wanted):
                    end_at = (await client.rpc.status()).height  # State runs ahead of the block that is told.
            if end_at is not None and height >= end_at:
                return


def _line(height: int, event: "Event") -> str:
    return f"{height:>8}  {event.tag:<29} {units.event_facts(event)}"


async def _over(client: "LedgerClient", task: str) -> int:
    """How many rounds of the task are over: of which that was told."""
    from contracts import rounds, tasks

    state = await client.peek(tasks.TASKS, task)
    if state is None or state.rounds == 0:
        return 0
    last = await client.peek(rounds.ROUNDS, (task, state.rounds))
    return state.rounds if last is not None and last.phase in rounds.OVER else state.rounds - 1


def _concerns(event: "Event", task: str, model: str) -> bool:
    from contracts.reputation import ReputationChanged

    return (
        getattr(event, "task", None) == task
        or getattr(event, "model", None) == model
        or isinstance(event, ReputationChanged)
    )
