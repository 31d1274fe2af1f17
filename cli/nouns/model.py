"""``fedledger model``: versions, where they come from, what was found of their contributions, and their bytes."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import access, options, units
from ..access import Access
from ..commands import noun, verb
from ..errors import CliError
from ..files import require_free, write_whole
from ..output import Fields, Format, Line, Listing, Rows, emit, plain, whole
from ..rounds_told import finding_words
from ..serving import gatherer_of

if TYPE_CHECKING:
    from client_sdk.client import AcceptedTx, LedgerClient
    from client_sdk.secrets.keys import Keyring
    from client_sdk.session import Session
    from contracts.ballot_box import Ballot
    from contracts.kernel import View
    from contracts.kernel.types import OrgId
    from contracts.lineage import Finding, Model, Version, VersionStatus
    from contracts.terms import Terms
    from services.rounds.recompute import Answer

app = noun()
_Name = Annotated[str, typer.Argument(metavar="MODEL", help="The model.")]
_Version = Annotated[int, typer.Option("--version", metavar="N", min=-1, help="A version; else the promoted one.")]


@verb(app, "history", example="model history breast-cancer-model")
def history(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="A model; without it, all are listed.")] = "",
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """List the models, or the versions of one: parents, scores on the canary set, and where each stands now.

    A star marks the version that later ones are held to: the best of its line.
    """
    opened = Access(ledger, who, output=output)
    if not name:
        models = opened.ask(_models)
        listed = [(each["model"], each["task"], each["current"], each["latest"]) for each in models.entries]
        columns = ("model", "task", "promoted version", "newest")
        emit(output, models.entries, Rows(columns, listed, empty="There is no model yet."), listed=models)
        return
    model, terms, versions = opened.ask(lambda view: _history(view, name))
    best = dict(versions.entries)[model.current][0].best
    rows = [
        (f"{'→' if number == model.current else ' '} {number}{'*' if number == best else ''}", status, version.round,
         version.parent, _canary(version, terms), version.proposer, version.decided_at)
        for number, (version, status) in versions.entries
    ]  # fmt: skip
    emit(
        output,
        {
            "model": name,
            **plain(model),
            "canary_records": terms.canary_records,
            "versions": [
                {"version": number, **plain(version), "status": status}
                for number, (version, status) in versions.entries
            ],
        },
        Rows(("  version", "status", "round", "parent", "canary", "proposed by", "block"), rows),
    )


@verb(app, "show", example="model show breast-cancer-model --version 3")
def show(
    name: _Name,
    version: _Version = -1,
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """Show one version: its bytes' address, its lineage, where it stands now, every finding and every ballot."""
    seen = Access(ledger, who, output=output).ask(lambda view: _seen(view, name, version))
    number, one = seen.number, seen.version
    findings = [(organisation, finding_words(each)) for organisation, each in seen.findings.items()]
    ballots = [
        (each.organisation, _vote(each, one), None if each.opened is None else units.score(each.correct, seen.records))
        for each in seen.ballots
    ]
    emit(
        output,
        {
            "model": name,
            "version": number,
            **plain(one),
            "status": seen.status,
            "canary_records": seen.records,
            "findings": {organisation: each.name.lower() for organisation, each in seen.findings.items()},
            "ballots": seen.ballots,
        },
        Fields(
            {
                "model": name,
                "version": number,
                "status": seen.status,
                "from round": one.round if number else None,
                "parent": one.parent if number else None,
                "canary": units.score(one.canary_correct, seen.records) if number else "-",
                "best of its line": f"version {one.best}",
                "proposed by": f"{one.proposer} in block {one.decided_at}",
                "candidate digest": one.digest,
                "bytes": f"{one.artefact.cid} ({one.artefact.size:,} bytes, SHA-256 {one.artefact.digest.hex()})",
            }
        ),
        Rows(("contribution of", "finding"), findings, empty="No contributions: the initial model of the terms."),
        Rows(("verifier", "ballot", "score"), ballots, empty="No ballots."),
    )


@verb(app, "fetch", example="model fetch breast-cancer-model --out model.safetensors")
def fetch(
    name: _Name,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write it, as safetensors.")],
    version: _Version = -1,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """Fetch a promoted version and write its parameters as float32, verified from the ledger to the bytes.

    A version that failed its canary, was quarantined or rolled back is not served.
    """
    require_free(out, force=force)

    async def work(session: "Session") -> tuple[int, "Version", bytes]:
        return await _fetched(session, name, version)

    number, one, data = Access(ledger, who, output=output).session(None, work, "fetching the model")
    write_whole(out, data)
    emit(
        output,
        {"model": name, "version": number, "file": out, "bytes": len(data), "cid": one.artefact.cid},
        Line(f"Version {number} of {name} is in {out} ({len(data):,} bytes)."),
    )


@verb(app, "recompute", example="model recompute breast-cancer-model --version 3 --as hospital-a/worker")
def recompute(
    name: _Name,
    version: _Version = -1,
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Recompute a version from the payloads of its round, and say whether the same comes out: for any recipient.

    It fetches what the agreed set names, as a verifier does, and changes nothing. Exit status 1 when something else
    comes out. Once recipients may have dropped the payloads, they may not be there any more.
    """

    async def work(session: "Session") -> tuple[_Seen, "Answer"]:
        seen = await session.client.ask(lambda view: _seen(view, name, version))
        if seen.number == 0:
            raise CliError("NOTHING_TO_DO", "version 0 was computed from nothing", "It is the terms' initial model.")
        gatherer = await gatherer_of(session, seen.task)
        _require_recipient(gatherer.task.terms, session.organisation)
        return seen, await gatherer.verify(seen.number)

    opened = Access(ledger, who, passphrase_file, output)
    seen, found = opened.session(access.WORKER, work, "recomputing the version")
    agrees = found.digest == seen.version.digest
    emit(
        output,
        {
            "model": name,
            "version": seen.number,
            "digest": found.digest,
            "agrees": agrees,
            "canary_correct": found.correct,
            "candidate": found.candidate,
        },
        *_recomputed(seen, found),
        Line(f"It is version {seen.number}." if agrees else f"IT IS NOT version {seen.number}."),
    )
    if not agrees:
        raise typer.Exit(1)


@verb(app, "rollback", example="model rollback breast-cancer-model --to 2 --reason 'drift' --as hospital-a/human")
def rollback(
    name: _Name,
    to: Annotated[int, typer.Option("--to", metavar="N", min=0, help="A version that was once promoted.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, in at most 40 characters; it goes to the ledger.")],
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Propose to the members to go back to an earlier promoted version; they vote on it."""
    from contracts.governance import Propose, RollBackModel

    from .proposal import announce

    message = Propose(RollBackModel(name, to, reason))

    async def work(client: "LedgerClient", ring: "Keyring") -> "AcceptedTx":
        return await access.submit(client, message)

    accepted = Access(ledger, who, passphrase_file, output).act(access.HUMAN, work)
    announce(output, accepted, f"to roll {name} back to version {to}")


def _models(view: "View") -> Listing[dict[str, Any]]:
    from client_sdk.reads.view import every
    from contracts import lineage

    register = lineage.REGISTER.get(view)
    names = register.models if register is not None else ()
    found = every(lineage.MODELS, view, names)
    return whole([{"model": name, **plain(model)} for name, model in zip(names, found, strict=True)])


def _history(view: "View", name: str) -> "tuple[Model, Terms, Listing[tuple[int, tuple[Version, VersionStatus]]]]":
    """A model with its versions as the ledger numbers them, from the initial one on, and where each stands now."""
    from client_sdk.reads.view import every
    from contracts import lineage, models, tasks

    model = models.require_model(view, name)
    numbers = range(model.latest + 1)
    versions = every(lineage.VERSIONS, view, [(name, number) for number in numbers])  # All of them, in one go.
    stand = [lineage.status_of(view, name, number) for number in numbers]
    return model, tasks.require_terms(view, model.task), whole(list(enumerate(zip(versions, stand, strict=True))))


@dataclass(frozen=True)
class _Seen:
    """A version, and what is known of it beside its record."""

    task: str
    number: int
    version: "Version"
    status: "VersionStatus"
    records: int  # Of the canary set.
    findings: "dict[OrgId, Finding]"
    ballots: "tuple[Ballot, ...]"


def _seen(view: "View", name: str, number: int) -> _Seen:
    from client_sdk.reads.round_states import findings_of
    from contracts import ballot_box, lineage, models, tasks

    number, version = _version(view, name, number)
    task = models.require_model(view, name).task
    box = ballot_box.BOXES.get(view, (task, version.round))
    return _Seen(
        task=task,
        number=number,
        version=version,
        status=lineage.status_of(view, name, number),
        records=tasks.require_terms(view, task).canary_records,
        findings=findings_of(view, task, version),
        ballots=box.ballots if box is not None else (),
    )


def _require_recipient(terms: "Terms", organisation: str) -> None:
    """The terms name the organisation among those who can open the payloads. Raises CliError."""
    if organisation not in terms.recipients:
        hint = f"The terms name as recipients: {', '.join(terms.recipients)}."
        raise CliError("NOTHING_TO_DO", f"payloads of {terms.task} are not encrypted to {organisation}", hint)


def _recomputed(seen: _Seen, found: "Answer") -> tuple[Fields | Rows | Line, ...]:
    """What came out, and of each contribution what this organisation finds, for people."""
    from contracts.lineage import Finding

    made = found.candidate
    fields: dict[str, object] = {"round": made.round, "parent": made.parent}
    if made.artefact is None:
        fields["version"] = f"none follows from the agreed set: {found.why_none}"
    else:
        fields["canary"] = units.score(found.correct, seen.records)
        fields["bytes"] = f"{made.artefact.cid} ({made.artefact.size:,} bytes)"
    fields |= {
        "digest": found.digest,
        "digest on the ledger": seen.version.digest,
    }
    mine = zip(seen.findings.items(), map(Finding, made.judgements), strict=True)
    rows = [(organisation, finding_words(one), finding_words(theirs)) for (organisation, theirs), one in mine]
    return Fields(fields), Rows(("contribution of", "your finding", "the ledger's"), rows)


def _vote(ballot: "Ballot", version: "Version") -> str:
    if ballot.opened is None:
        return "never opened"
    return "confirms" if ballot.opened == version.digest else f"contradicts: {ballot.opened.hex()}"


def _version(view: "View", name: str, number: int) -> tuple[int, "Version"]:
    from contracts import models

    wanted = number if number >= 0 else models.require_model(view, name).current
    return wanted, models.require_version(view, name, wanted)


def _named(view: "View", name: str, number: int) -> tuple[int, str]:
    """The version that is meant, and the model's task."""
    from contracts import models

    return _version(view, name, number)[0], models.require_model(view, name).task


async def _fetched(session: "Session", name: str, number: int) -> tuple[int, "Version", bytes]:
    import safetensors.numpy

    from client_sdk.training.task import load_version, open_task
    from learning import fixed
    from learning.tensors import unflatten

    wanted, named = await session.client.ask(lambda view: _named(view, name, number))
    task = await open_task(session.client, session.store, named)
    version, units = await load_version(session.client, session.store, task, wanted)
    tensors = unflatten(fixed.to_float(units, task.terms.update.scale_bits), task.inputs.layout)
    return wanted, version, safetensors.numpy.save(tensors, {"model": name, "version": str(wanted)})


def _canary(version: "Version", terms: "Terms") -> str:
    return units.score(version.canary_correct, terms.canary_records) if version.round else "-"
