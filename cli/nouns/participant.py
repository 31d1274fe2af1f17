"""``fedledger participant``: a data owner's training, round after round."""

import sys
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import access, options, units
from ..access import Access
from ..commands import noun, verb
from ..errors import CliError, failure_of, leaving
from ..output import Format, Stream, Working, note, plain, working

if TYPE_CHECKING:
    from client_sdk.session import Session
    from client_sdk.training.outcomes import Contribution
    from client_sdk.training.participant import Participant
    from client_sdk.training.task import TaskView
    from client_sdk.training.trainer import Trainer

app = noun()


@verb(app, "run", example="participant run breast-cancer --dataset wdbc-a --records a.csv --as hospital-a/worker")
def run(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A task that the dataset has joined.")],
    dataset: Annotated[str, typer.Option("--dataset", help="Your registered dataset.")],
    records: Annotated[
        Path,
        typer.Option(
            "--records", metavar="FILE", exists=True, dir_okay=False, help="Your records: .npz, .safetensors or .csv."
        ),
    ],
    target: Annotated[
        str, typer.Option("--target", metavar="COLUMN", help="The column of a .csv with the classes.")
    ] = "target",
    model: Annotated[
        str,
        typer.Option("--model", metavar="MODULE:FACTORY", help="Makes your torch module, if given the layers' widths."),
    ] = "",
    loss: Annotated[
        str, typer.Option("--loss", metavar="MODULE:FUNCTION", help="Loss of one record: loss(output, target).")
    ] = "",
    rounds: Annotated[
        int, typer.Option("--rounds", metavar="N", min=0, help="End after so many contributions; 0 goes on.")
    ] = 0,
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Contribute to every round of a task with records that never leave this machine.

    In each round: the budget is held; if enough others do the same, it trains with the mechanism of the terms and sends
    a signed commitment; the encrypted update leaves this machine only when nobody can commit any more. Killed anywhere,
    it goes on where it was. Without --model it trains the logistic regression of the NumPy core. Ends when the task
    does, when the budget is spent, or when the key is revoked.
    """
    if bool(model) != bool(loss):
        raise CliError("USAGE", "--model and --loss go together", "Give both, or neither.")
    stream = Stream(output)

    async def work(session: "Session") -> None:
        from client_sdk.training.participant import Participant
        from client_sdk.training.task import open_task

        view = await open_task(session.client, session.store, task)
        trainer = _trainer(view, records, target, model, loss)
        participant = Participant(session.client, session.store, session.journal, session.organisation, dataset, view)
        with working(output, "waiting for a round") as said:
            done = await _rounds(participant, trainer, stream, said, rounds)
        if rounds == 0 or done < rounds:
            note(f"The task {task} has had all its rounds.")

    with leaving("Nothing is lost: run it again and it goes on in the middle of the round."):
        Access(ledger, who, passphrase_file, Format.JSONL).session(access.WORKER, work, "")
    stream.end()


async def _rounds(participant: "Participant", trainer: "Trainer", stream: Stream, said: Working, most: int) -> int:
    """Contribute as rounds open; how often. What is one round's ill luck is told and passed over, the rest ends it."""
    from client_sdk.client import NotDecided
    from client_sdk.training.outcomes import CommitMissed, RoundCameToNothing, TrainingInterrupted
    from contracts.contributions import AlreadyReserved
    from contracts.rounds import PhaseOver, WrongPhase

    ill_luck = (PhaseOver, WrongPhase, NotDecided, RoundCameToNothing, CommitMissed, TrainingInterrupted)
    done = 0
    async for number in participant.rounds():
        said.say(f"round {number}: taking part")
        try:
            contribution = await participant.contribute(number, trainer)
        except (*ill_luck, AlreadyReserved) as missed:  # The seat may be another dataset's of this organisation.
            failure = failure_of(missed)
            text = f"round {number}: missed, {failure.error_code}: {failure.message}"
            stream.item({"round": number, "missed": failure.error_code}, text)
        else:
            stream.item(plain(contribution), _told(contribution))
            done += 1
        if most and done >= most:
            break
        said.say("waiting for the next round")
    return done


def _told(one: "Contribution") -> str:
    return (
        f"round {one.round}: contributed in block {one.height}, {one.bytes:,} bytes, ε = {units.epsilon(one.charged)} "
        f"alone, {units.epsilon(one.spent)} spent in all"
    )


def _trainer(task: "TaskView", records: Path, target: str, model: str, loss: str) -> "Trainer":
    from client_sdk.training.trainer import Trainer

    from ..records import read_records

    read = read_records(records, target, task.inputs.classes)
    if not model:
        return Trainer(None, None, read, inputs=task.inputs)
    made = _made(_imported("--model", model), task.inputs.widths)
    return Trainer(made, _imported("--loss", loss), read, inputs=task.inputs)


def _made(factory: Any, widths: tuple[int, ...]) -> Any:
    """The module: the factory gets the layers' widths if it takes an argument."""
    required = [each for each in signature(factory).parameters.values() if each.default is Parameter.empty]
    return factory(widths) if required else factory()


def _imported(option: str, reference: str) -> Any:
    """What ``module:name`` refers to, with this directory's modules in reach."""
    module, colon, name = reference.partition(":")
    if not colon:
        raise CliError("USAGE", f"{option}: {reference!r} is not MODULE:NAME", "For example my_model:build.")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        hint = "Run it in the module's directory, with what it imports installed (PyTorch: 'make train-deps')."
        raise CliError("NO_SUCH_MODEL", f"{option}: {error}", hint) from error
