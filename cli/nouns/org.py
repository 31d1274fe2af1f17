"""``fedledger org``: who is a member, with which keys; and how another organisation becomes one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import access, options, units
from ..access import Access
from ..commands import noun, verb
from ..errors import CliError
from ..files import write_whole
from ..output import Fields, Format, Line, Listing, Rows, emit, plain
from ..reading import Name, listing, present
from .dataset import promised

if TYPE_CHECKING:
    from client_sdk.client import LedgerClient
    from client_sdk.reads.queries import Moment
    from client_sdk.secrets.keys import Keyring
    from contracts.admission import Admission
    from contracts.kernel import View
    from contracts.kernel.types import Role

app = noun()
_APPLICATION_BYTES_MAX = 4096


@verb(
    app,
    "enrol",
    example="org enrol hospital-g --legal-id HRB-4711 --roles data-owner --epsilon-cap 10 --as hospital-a/human",
)
def enrol(
    name: Annotated[str, typer.Argument(metavar="ORG", help="The organisation that wants to become a member.")],
    roles: Annotated[
        str, typer.Option("--roles", metavar="ROLE,…", help="Of operator, data-owner, aggregator, verifier, auditor.")
    ] = "",
    epsilon_cap: Annotated[
        float, typer.Option("--epsilon-cap", min=0, max=100, help="Most ε that all its datasets together may spend.")
    ] = 0.0,
    delta: options.Delta = 1e-5,
    order: options.Order = None,
    legal_id: Annotated[
        str, typer.Option("--legal-id", metavar="ID", help="Who it is in law: its LEI, or register and number.")
    ] = "",
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="FILE", help="Only write the application, for a member to propose."),
    ] = None,
    application: Annotated[
        Path | None, typer.Option("--application", metavar="FILE", help="Propose the application in this file.")
    ] = None,
    key: Annotated[str, typer.Option("--key", help="The newcomer's human key, in its keyring.")] = access.HUMAN,
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Prove that an organisation holds its first key, and propose to the members that they admit it.

    In a devnet one command does both. Elsewhere the newcomer runs it with --write FILE, and a member with
    --application FILE --as MEMBER/human. The members then vote: `fedledger proposal vote`.
    """
    opened = Access(ledger, who, passphrase_file, output)
    if application is not None:
        admission = _read_application(application, name)
    else:
        cap = (round(epsilon_cap * units.NANO), *options.delta_and_order(delta, order))
        newcomer = Access(ledger, name, passphrase_file)
        admission = _application(newcomer, name, key, _roles(roles), legal_id, cap)
    if write is not None:
        _write_application(write, admission, output)
        return
    _propose(opened, admission, output)


@verb(app, "show", example="org show hospital-a")
def show(
    name: Annotated[str, typer.Argument(metavar="ORG", help="A member; without it, all are listed.")] = "",
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """Show the members of the consortium, or one with its keys, datasets and reputation."""
    opened = Access(ledger, who, output=output)
    if name:
        _show_one(output, name, opened.read(lambda client: _member(client, name)))
    else:
        _show_all(output, opened.read(_members))


def _roles(text: str) -> tuple["Role", ...]:
    from contracts.kernel.types import Role

    given = [part.strip() for part in text.split(",") if part.strip()]
    unknown = [part for part in given if part not in tuple(Role)]
    if not given or unknown:
        wrong = f"{unknown[0]!r} is no role" if unknown else "name at least one role"
        raise CliError("USAGE", f"--roles: {wrong}", f"Roles are: {', '.join(Role)}.")
    return tuple(role for role in Role if role in given)


def _application(
    newcomer: Access,
    name: str,
    key: str,
    roles: tuple["Role", ...],
    legal_id: str,
    cap: tuple[int, int, int | None],
) -> "Admission":
    """What the members vote on, signed by the newcomer's own key."""
    from client_sdk.session import ENCRYPTION, unlock
    from client_sdk.session.opening import ledger_id
    from contracts.admission import Admission

    if not legal_id:
        raise CliError("USAGE", "--legal-id: name the legal identity", "Its LEI, or its register and number.")
    profile = newcomer.profile(name)
    ring = unlock(profile, newcomer.passphrase_file)
    first = ring.signing(key).enrolment(ledger_id(profile).genesis, name)
    recipient = ring.encryption(ENCRYPTION).recipient
    return Admission(name, legal_id, roles, recipient, *cap, first)


def _write_application(path: Path, admission: "Admission", output: Format) -> None:
    write_whole(path, admission.encode())
    name = admission.organisation
    steps = f"A member proposes it: fedledger org enrol {name} --application {path.name} --as MEMBER/human"
    emit(output, {"application": path, "organisation": name}, Line(f"Written to {path}. {steps}"))


def _read_application(path: Path, name: str) -> "Admission":
    from contracts.admission import Admission
    from contracts.kernel import codec

    hint = "Ask the newcomer for the file that 'fedledger org enrol --write' wrote."
    try:
        with path.open("rb") as file:
            admission = codec.decode(Admission, file.read(_APPLICATION_BYTES_MAX + 1), most=_APPLICATION_BYTES_MAX)
    except codec.Malformed as error:
        raise CliError("NO_APPLICATION", f"{path} is no application: {error}", hint) from error
    if admission.organisation != name:
        raise CliError("NO_APPLICATION", f"{path} is for {admission.organisation}, not {name}", hint)
    return admission


def _propose(opened: Access, admission: "Admission", output: Format) -> None:
    from contracts.governance import AdmitOrganisation, Propose

    from .proposal import announce

    async def work(client: "LedgerClient", ring: "Keyring") -> Any:
        return await access.submit(client, Propose(AdmitOrganisation(admission)))

    announce(output, opened.act(access.HUMAN, work), f"to admit {admission.organisation}")


async def _members(client: "LedgerClient") -> Listing[dict[str, Any]]:
    from contracts import electorate, identity

    def members(view: "View", names: Sequence[Name], now: "Moment") -> tuple[list[dict[str, Any]], int | None]:
        found = present(identity.ORGANISATIONS, view, names)
        count = electorate.MEMBERSHIP.at(view).organisations
        return [{"organisation": name, **_described(view, name, now)} for (name,), _ in found], count

    return await listing(client, identity.ORGANISATIONS, members)


async def _member(client: "LedgerClient", name: str) -> dict[str, Any]:
    from contracts import identity

    datasets = [dataset for dataset, _ in await client.scan(identity.DATASETS, f"{name}/")]
    async with client.at() as view:
        return await view.run(lambda state: _whole(state, name, datasets, view.now))


def _whole(view: "View", name: str, datasets: Sequence[Name], now: "Moment") -> dict[str, Any]:
    from client_sdk.reads.view import every
    from contracts import identity
    from contracts.kernel import crypto

    described = _described(view, name, now)
    listed = identity.require_member(view, name).keys  # So no node can hide one.
    enrolled = zip(listed, every(identity.KEYS, view, listed), strict=True)
    registered = present(identity.DATASETS, view, datasets)
    return {
        "organisation": name,
        **described,
        "enrolled_keys": [{"did": crypto.did_key(key), **plain(record)} for key, record in enrolled],
        "registered_datasets": [{"dataset": each, **plain(record)} for (_, each), record in registered],
    }


def _described(view: "View", name: str, now: "Moment") -> dict[str, Any]:
    from contracts import identity, reputation

    member, current = identity.require_member(view, name), reputation.at(view, name, now.time_ms)
    return {**plain(member), "reputation": current.deviation, "weight": reputation.weight(current)}


def _show_all(output: Format, members: Listing[dict[str, Any]]) -> None:
    rows = [
        (m["organisation"], m["roles"], units.epsilon(m["cap"]["epsilon"]), len(m["keys"]), m["datasets"],
         units.millionths(m["reputation"]))
        for m in members.entries
    ]  # fmt: skip
    columns = ("organisation", "roles", "ε cap", "keys", "datasets", "reputation")
    emit(output, members.entries, Rows(columns, rows), listed=members)


def _show_one(output: Format, name: str, member: dict[str, Any]) -> None:
    keys = [
        (key["did"], key["purpose"], key["label"], key["enrolled_at"]["height"], _validity(key["revoked_from"]))
        for key in member["enrolled_keys"]
    ]
    datasets = [
        (each["dataset"], each["data_class"], *promised(each["promise"])) for each in member["registered_datasets"]
    ]
    cap = units.promise(*member["cap"].values())
    emit(
        output,
        member,
        Fields(
            {
                "organisation": name,
                "legal identity": member["legal_id"],
                "roles": member["roles"],
                "ε cap": f"{cap}, over all its datasets together",
                "reputation": f"{units.millionths(member['reputation'])} (weight {units.weight(member['weight'])})",
                "encrypts to": member["recipient"],
                "member since": f"block {member['enrolled_at']}",
                "standing": member["standing"],
            }
        ),
        Rows(("key", "purpose", "label", "since block", "state"), keys),
        Rows(("dataset", "class", "ε limit", "δ", "order"), datasets, empty="No datasets are registered."),
        *Listing(tuple(datasets), member["datasets"]).lines(),
    )


def _validity(revoked_from: dict[str, int] | None) -> str:
    return "good" if revoked_from is None else f"revoked from block {revoked_from['height']}"
