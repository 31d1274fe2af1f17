"""``fedledger model``: versions, where they come from, their bytes, and recomputing them by hand."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import access, options
from ..access import Access
from ..commands import noun, verb
from ..files import require_free, write_whole
from ..output import Fields, Format, Line, Listing, Rows, emit, plain, whole
from ..recomputing import blocks_of, closed_round, finding_blocks, proposed_version, recomputed, require_recipient
from ..serving import gatherer_of

if TYPE_CHECKING:
    from client_sdk.client import AcceptedTx, LedgerClient
    from client_sdk.secrets.keys import Keyring
    from client_sdk.session import Session
    from contracts.kernel import View
    from contracts.lineage import Model, Version
    from services.rounds.recompute import Finding, Recomputed

app = noun()
_Task = Annotated[str, typer.Argument(metavar="TASK", help="A task whose terms name your organisation for this.")]
_Name = Annotated[str, typer.Argument(metavar="MODEL", help="The model.")]
_Version = Annotated[int, typer.Option("--version", metavar="N", min=-1, help="A version; else the promoted one.")]


@verb(app, "history", example="model history breast-cancer-model")
def history(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="A model; without it, all are listed.")] = "",
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """List the models, or the versions of one: parents, canary scores, proposers, votes, outcomes."""
    opened = Access(ledger, who, output=output)
    if not name:
        models = opened.ask(_models)
        listed = [(each["model"], each["task"], each["current"], each["latest"]) for each in models.entries]
        columns = ("model", "task", "promoted version", "newest")
        emit(output, models.entries, Rows(columns, listed, empty="There is no model yet."), listed=models)
        return
    model, versions = opened.ask(lambda view: _history(view, name))
    rows = [
        (f"{'→' if number == model.current else ' '} {number}", version.status, version.round, version.parent,
         _canary(version), version.proposer, len(version.ballots), version.proposed_at)
        for number, version in versions.entries
    ]  # fmt: skip
    emit(
        output,
        {
            "model": name,
            **plain(model),
            "versions": [{"version": number, **plain(each)} for number, each in versions.entries],
        },
        Rows(("  version", "status", "round", "parent", "canary", "proposed by", "votes", "block"), rows),
    )


@verb(app, "show", example="model show breast-cancer-model --version 3")
def show(
    name: _Name,
    version: _Version = -1,
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """Show one version: its bytes' address, its lineage, every judgement and every vote."""
    from contracts.lineage import NO_CANDIDATE

    number, one = Access(ledger, who, output=output).ask(lambda view: _version(view, name, version))
    judged = [(f"{j.organisation}/{j.dataset}", j.verdict, j.reason) for j in one.judgements]
    votes = {one.digest: "confirms", NO_CANDIDATE: "found no candidate"}
    ballots = [(each.organisation, votes.get(each.digest, "contradicts"), each.digest) for each in one.ballots]
    emit(
        output,
        {"model": name, "version": number, **plain(one)},
        Fields(
            {
                "model": name,
                "version": number,
                "status": one.status,
                "from round": one.round,
                "parent": one.parent if number else None,
                "canary": _canary(one),
                "proposed by": f"{one.proposer} in block {one.proposed_at}",
                "candidate digest": one.digest,
                "bytes": f"{one.artefact.cid} ({one.artefact.size:,} bytes, SHA-256 {one.artefact.digest.hex()})",
            }
        ),
        Rows(("contribution", "verdict", "why"), judged, empty="No contributions: the initial model of the terms."),
        Rows(("verifier", "vote", "digest it arrived at"), ballots, empty="No votes."),
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

    A version that was refused, quarantined or rolled back is not served.
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


@verb(app, "propose", example="model propose breast-cancer --as lab-1/worker")
def propose(
    task: _Task,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only recompute and show: for any recipient of the payloads.")
    ] = False,
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Recompute the candidate of the task's last closed round from its payloads, and propose it.

    Only an organisation that the terms name among the recipients can open the payloads.
    """
    from contracts.lineage import candidate_digest
    from contracts.models import ProposeVersion, VersionProposed

    async def work(session: "Session") -> tuple["Recomputed", "AcceptedTx | None"]:
        gatherer = await gatherer_of(session, task)
        require_recipient(gatherer, session.organisation)
        number = await closed_round(session, task)
        made = await recomputed(gatherer, number)
        if dry_run:
            return made, None
        await session.store.put(made.model)
        return made, await access.submit(session.client, ProposeVersion(made.candidate))

    opened = Access(ledger, who, passphrase_file, output)
    made, accepted = opened.session(access.WORKER, work, "recomputing the candidate")
    proposed = accepted.event(VersionProposed) if accepted else None
    data = {
        "candidate": made.candidate,
        "digest": candidate_digest(made.candidate),
        "version": proposed and proposed.version,
    }
    said = f"Proposed as version {proposed.version} of {proposed.model}." if proposed else "Nothing was proposed."
    emit(output, data, *blocks_of(made, candidate_digest(made.candidate)), Line(said))


@verb(app, "vote", example="model vote breast-cancer-model --version 3 --as hospital-a/worker")
def vote(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="The model.")],
    version: Annotated[int, typer.Option("--version", metavar="N", min=1, help="The proposed version.")],
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Recompute a proposed version yourself, and vote with the digest you arrive at, whether it agrees or not.

    When no version follows from the payloads, the vote says so, with the one digest that stands for it.
    """
    from contracts.lineage import VersionDecided
    from contracts.models import VoteVersion

    async def work(session: "Session") -> tuple["Version", "Finding", "AcceptedTx"]:
        proposed, task = await session.client.ask(lambda view: proposed_version(view, name, version))
        mine = await (await gatherer_of(session, task)).verify(version)
        if mine.made is not None:
            await session.store.put(mine.made.model)  # A version has as many sources as it has verifiers.
        return proposed, mine, await access.submit(session.client, VoteVersion(name, version, mine.digest))

    opened = Access(ledger, who, passphrase_file, output)
    proposed, mine, accepted = opened.session(access.WORKER, work, "recomputing the candidate")
    agrees = mine.digest == proposed.digest
    decided = [event for event in accepted.events if isinstance(event, VersionDecided)]
    verdict = "confirms" if agrees else f"contradicts {proposed.proposer}'s {proposed.digest.hex()} of"
    emit(
        output,
        {
            "model": name,
            "version": version,
            "digest": mine.digest,
            "agrees": agrees,
            "decided": decided,
            "height": accepted.height,
        },
        *finding_blocks(mine),
        Line(f"This {verdict} version {version}."),
        *(Line(f"Version {event.version} is now {event.status}: {event.reason}.") for event in decided),
    )


def _models(view: "View") -> Listing[dict[str, Any]]:
    from client_sdk.reads.view import every
    from contracts import lineage

    register = lineage.REGISTER.get(view)
    names = register.models if register is not None else ()
    found = every(lineage.MODELS, view, names)
    return whole([{"model": name, **plain(model)} for name, model in zip(names, found, strict=True)])


def _history(view: "View", name: str) -> tuple["Model", Listing[tuple[int, "Version"]]]:
    from client_sdk.reads.view import every
    from contracts import lineage, models

    model = models.require_model(view, name)
    numbers = range(model.latest + 1)  # As the ledger gives them, from the initial version on.
    return model, whole(list(enumerate(every(lineage.VERSIONS, view, [(name, number) for number in numbers]))))


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


def _canary(version: "Version") -> str:
    if not version.judgements:
        return "-"
    share = version.canary_correct / version.canary_total
    return f"{share:.1%} ({version.canary_correct}/{version.canary_total})"
