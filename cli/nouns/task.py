"""``fedledger task``: the terms of a training task, and consent to them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import access, options, units
from ..access import Access
from ..commands import noun, verb
from ..errors import CliError
from ..output import Fields, Format, Line, Listing, Rows, emit, note, plain, whole

if TYPE_CHECKING:
    from client_sdk.client import AcceptedTx, LedgerClient
    from client_sdk.secrets.keys import Keyring
    from client_sdk.session import Session
    from contracts.kernel import View
    from contracts.tasks import Participation, Task
    from contracts.terms import Terms

app = noun()
_Name = Annotated[str, typer.Argument(metavar="TASK", help="The task.")]


@verb(app, "create", example="task create breast-cancer.toml --as lab-1/human")
def create(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE.toml", exists=True, dir_okay=False, help="The terms; artefacts lie beside it."),
    ],
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Put a task's public artefacts into the store, and its terms to the vote of the members.

    When they pass, data owners join with `fedledger task join`, and an aggregator opens rounds.
    """
    from client_sdk.training import terms_file
    from contracts.governance import OpenTask, Propose

    from .proposal import announce

    terms, artefacts = terms_file.load(file)

    async def work(session: "Session") -> "AcceptedTx":
        for content in artefacts.values():
            await session.store.put(content)
        return await access.submit(session.client, Propose(OpenTask(terms)))

    accepted = Access(ledger, who, passphrase_file, output).session(access.HUMAN, work, "publishing the artefacts")
    announce(output, accepted, f"the task {terms.task}")


@verb(app, "show", example="task show breast-cancer")
def show(
    name: Annotated[str, typer.Argument(metavar="TASK", help="A task; without it, all are listed.")] = "",
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """Show the tasks, or all the terms of one with their digest, price and participants."""
    opened = Access(ledger, who, output=output)
    if name:
        terms, task, parts = opened.ask(lambda view: _whole(view, name))
        _show_one(output, terms, task, parts, _form(opened, terms))
    else:
        _show_all(output, opened.ask(_tasks))


@verb(app, "join", example="task join breast-cancer --dataset wdbc-a --as hospital-a/human")
def join(
    name: _Name,
    dataset: Annotated[str, typer.Option("--dataset", help="Your registered dataset that is to take part.")],
    digest: Annotated[
        str, typer.Option("--digest", metavar="HEX", help="The terms' digest that you consent to; else you are asked.")
    ] = "",
    yes: options.Yes = False,
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Consent, with a human key, to exactly these terms for one dataset.

    Read them first: `fedledger task show TASK`. Consent names their digest; other terms need another consent.
    """
    from contracts.tasks import JoinTask, terms_digest

    opened = Access(ledger, who, passphrase_file, output)
    terms, _ = opened.ask(lambda view: _task(view, name))
    agreed = _digest(digest) if digest else terms_digest(terms)
    if not digest and not yes:
        _ask(terms, dataset, agreed)

    async def work(client: "LedgerClient", ring: "Keyring") -> "AcceptedTx":
        return await access.submit(client, JoinTask(name, dataset, agreed))

    accepted = opened.act(access.HUMAN, work)
    emit(
        output,
        {
            "task": name,
            "dataset": dataset,
            "terms_digest": agreed,
            "height": accepted.height,
            "transaction": accepted.hash,
        },
        Line(f"{dataset} takes part in {name}, under the terms {agreed.hex()}, from the next round on."),
    )


@verb(app, "leave", example="task leave breast-cancer --as hospital-a/human")
def leave(
    name: _Name,
    yes: options.Yes = False,
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Withdraw, with a human key, your organisation's consent for all its datasets: it reserves no more.

    A seat that it has reserved keeps its course: what it holds back is spent or free as for everybody. It may join
    again, under the same seat number.
    """
    from contracts.tasks import LeaveTask

    if not yes and not _agreed(f"Does your organisation leave {name}?"):
        raise CliError("NO_CONSENT", "not left", "Nothing was sent. Say --yes where nobody is there to ask.")

    async def work(client: "LedgerClient", ring: "Keyring") -> "AcceptedTx":
        return await access.submit(client, LeaveTask(name))

    accepted = Access(ledger, who, passphrase_file, output).act(access.HUMAN, work)
    emit(
        output,
        {"task": name, "height": accepted.height, "transaction": accepted.hash},
        Line(f"Left {name} in block {accepted.height}: no seat is reserved from now on."),
    )


def _agreed(question: str) -> bool:
    return sys.stdin.isatty() and typer.confirm(question, err=True)


def _tasks(view: "View") -> Listing[tuple[str, "Terms", "Task"]]:
    """Every task: each trains one model, and the ledger keeps a register of those."""
    from client_sdk.reads.view import every
    from contracts import lineage, tasks

    register = lineage.REGISTER.get(view)
    names = [model.task for model in every(lineage.MODELS, view, register.models if register is not None else ())]
    terms, found = every(tasks.TERMS, view, names), every(tasks.TASKS, view, names)
    return whole(list(zip(names, terms, found, strict=True)))


def _task(view: "View", name: str) -> tuple["Terms", "Task"]:
    from contracts import tasks

    return tasks.require_terms(view, name), tasks.require_task(view, name)


def _whole(view: "View", name: str) -> tuple["Terms", "Task", list[tuple[str, "Participation"]]]:
    """A task, and who ever joined it, by seat number."""
    from client_sdk.reads.view import every
    from contracts import tasks

    terms, task = _task(view, name)
    names = tasks.ROSTERS.at(view, name).organisations
    parts = every(tasks.PARTICIPATIONS, view, [(name, organisation) for organisation in names])
    return terms, task, list(zip(names, parts, strict=True))


def _form(opened: Access, terms: "Terms") -> str:
    """The model that a participant brings, from the task's public inputs; a store that is down hides only this."""
    import asyncio

    from client_sdk.payloads.errors import PayloadError
    from client_sdk.session import open_store
    from client_sdk.training import artefacts
    from client_sdk.training.task import fetch

    async def inputs() -> bytes:
        async with open_store(opened.profile()) as store:
            return await fetch(store, "inputs", terms.inputs)

    try:
        form = artefacts.decode_inputs(asyncio.run(inputs()))
    except (PayloadError, artefacts.ArtefactRefused) as error:
        return f"(not to be had now: {error})"
    tensors = ", ".join(f"{each.name} {'×'.join(map(str, each.shape))}" for each in form.layout.tensors)
    return f"{form.widths[0]} inputs, classes {', '.join(form.classes)}; tensors {tensors}"


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise CliError("USAGE", "--digest: not hexadecimal", "Copy it from 'fedledger task show'.") from None


def _ask(terms: "Terms", dataset: str, digest: bytes) -> None:
    """Let a person consent; a script must name the digest or say --yes."""
    if not sys.stdin.isatty():
        hint = f"Read the terms ('fedledger task show {terms.task}'), then add --digest {digest.hex()} or --yes."
        raise CliError("NO_CONSENT", "nobody is here to consent", hint)
    price, steps = _price(terms), terms.mechanism.steps
    note(f"Every round of {terms.task} trains {steps} private steps on {dataset} and costs it about ε = {price}")
    note(f"(at most {terms.max_rounds} rounds, which compose; never past its limit), once enough have committed.")
    note("Who reserves and does not commit after training has started pays, too.")
    note(f"{', '.join(terms.recipients)} can read its updates, and keep them")
    note(f"for {units.duration(terms.retention_ms)} after the round. Digest of the terms: {digest.hex()}")
    if not typer.confirm(f"Does {dataset} take part under these terms?", err=True):
        raise CliError("NO_CONSENT", "not joined", "Nothing was sent.")


def _price(terms: "Terms") -> str:
    from contracts import privacy_budget
    from contracts.kernel import limits
    from contracts.terms import price_of

    return units.epsilon(privacy_budget.least_epsilon_of(price_of(terms.mechanism), limits.DELTA_INVERSE_MIN))


def _show_all(output: Format, tasks: Listing[tuple[str, "Terms", "Task"]]) -> None:
    rows = [
        (name, terms.model, terms.data_class, task.participants, f"{task.trained} of {terms.max_rounds}", task.base)
        for name, terms, task in tasks.entries
    ]
    data = [{"task": name, "terms": terms, **plain(task)} for name, terms, task in tasks.entries]
    columns = ("task", "model", "data class", "participants", "rounds", "base version")
    emit(output, data, Rows(columns, rows, empty="No task was opened."), listed=tasks)


def _show_one(
    output: Format, terms: "Terms", task: "Task", parts: "list[tuple[str, Participation]]", form: str
) -> None:
    from contracts.terms import needed_seats

    from ..terms import described

    joined = [
        (part.number, name, part.datasets, part.from_round, "has left" if part.left else "takes part")
        for name, part in parts
    ]
    emit(
        output,
        {"terms": terms, **plain(task), "joined": [{"organisation": name, **plain(part)} for name, part in parts]},
        Fields(
            {
                **described(terms),
                "model form": form,
                "price": f"ε = {_price(terms)} for one round at δ = 1e-05; rounds compose, their ε do not add",
                "participants": f"{task.participants}; a round needs {needed_seats(terms)}",
                "rounds so far": f"{task.rounds}; training started in {task.trained} of at most {terms.max_rounds}",
                "base version": task.base,
                "terms digest": task.terms_digest,
            }
        ),
        Line(units.EPSILON_MEANS),
        Rows(("seat", "organisation", "datasets", "from round", "state"), joined, empty="Nobody has joined."),
    )
