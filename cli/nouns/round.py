"""``fedledger round``: the rounds of a task, and following them as they happen."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import options, units
from ..access import Access
from ..commands import noun, verb
from ..errors import leaving
from ..output import Format, Line, Listing, Rows, Stream, emit, plain, whole

if TYPE_CHECKING:
    from client_sdk.client import LedgerClient
    from contracts.kernel import Event, View
    from contracts.rounds import Round

app = noun()


@verb(app, "list", example="round list breast-cancer")
def list_rounds(
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task.")],
    number: Annotated[int, typer.Option("--round", metavar="N", min=0, help="One round, seat by seat.")] = 0,
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """List the rounds of a task: who took part, how far they came, what became of it."""
    opened = Access(ledger, who, output=output)
    listed = opened.ask(lambda view: _rounds(view, task, number))
    data = [{"round": place, **plain(one)} for place, one in listed.entries]
    if number:
        ((_, one),) = listed.entries
        _show_one(output, data[0], one)
        return
    rows = [
        (
            place,
            one.status,
            one.base,
            len(one.seats),
            *_progress(one),
            units.time(one.opened_at),
            units.time(one.closed_at),
        )
        for place, one in listed.entries
    ]
    columns = ("round", "status", "base", "seats", "reserved", "committed", "published", "opened", "closed")
    emit(output, data, Rows(columns, rows, empty="No round was opened yet."), listed=listed)


@verb(app, "watch", example="round watch breast-cancer --rounds 5 --format jsonl")
def watch(
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task.")],
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
    """Follow a task: every reservation, commitment, proposal, vote and decision, block by block.

    Ends by itself when the task has had all its rounds. No block is left out, also after a lost connection.
    """
    stream = Stream(output)
    with leaving("The rounds go on without you. Watch again with --since HEIGHT to see what you missed."):
        opened = Access(ledger, who, output=Format.JSONL)
        opened.read(lambda client: _follow(client, task, stream, after=since, rounds_wanted=rounds, seconds=timeout))
    stream.end()


def _rounds(view: "View", task: str, number: int) -> Listing[tuple[int, "Round"]]:
    from client_sdk.reads.view import every
    from contracts import rounds

    if number:
        return whole([(number, rounds.require_round(view, task, number))])
    numbers = range(1, rounds.require_task(view, task).rounds + 1)
    return whole(list(enumerate(every(rounds.ROUNDS, view, [(task, each) for each in numbers]), start=1)))


async def _follow(
    client: "LedgerClient", task: str, stream: Stream, *, after: int, rounds_wanted: int, seconds: float
) -> None:
    import asyncio
    from contextlib import aclosing

    from contracts import rounds

    terms = await client.ask(lambda view: rounds.require_terms(view, task))
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
    """How many rounds of the task are over."""
    from contracts import rounds

    state = await client.peek(rounds.TASKS, task)
    if state is None or state.rounds == 0:
        return 0
    last = await client.peek(rounds.ROUNDS, (task, state.rounds))
    is_over = last is not None and last.status in (rounds.RoundStatus.DECIDED, rounds.RoundStatus.VOID)
    return state.rounds if is_over else state.rounds - 1


def _concerns(event: "Event", task: str, model: str) -> bool:
    from contracts.reputation import ReputationChanged

    return (
        getattr(event, "task", None) == task
        or getattr(event, "model", None) == model
        or isinstance(event, ReputationChanged)
    )


def _progress(one: "Round") -> tuple[int, int, int]:
    """How many seats reserved, committed and published, each including those that went on."""
    from contracts.rounds import Progress

    order = list(Progress)
    reached = [order.index(seat.progress) for seat in one.seats]
    return (
        sum(each >= 1 for each in reached),
        sum(each >= 2 for each in reached),
        sum(each >= 3 for each in reached),
    )


def _show_one(output: Format, data: dict[str, Any], one: "Round") -> None:
    rows = [(f"{seat.organisation}/{seat.dataset}", seat.progress, f"{seat.weight / 1024:.2f}") for seat in one.seats]
    emit(
        output,
        data,
        Line(f"Round {data['round']} from version {one.base} is {one.status}."),
        Line(f"Opened {units.time(one.opened_at)}; reserve by {units.time(one.reserve_by)},"),
        Line(f"commit by {units.time(one.commit_by)}, publish by {units.time(one.publish_by)}."),
        Rows(("seat", "progress", "weight"), rows),
    )
