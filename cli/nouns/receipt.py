"""``fedledger receipt``: a file that proves what the ledger accepted or holds, and its check without any network."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .. import options, units
from ..access import Access
from ..commands import noun, verb
from ..errors import CliError
from ..files import require_free, write_whole
from ..output import Fields, Format, Line, Rows, emit, plain
from .tx import event_rows, flat

if TYPE_CHECKING:
    from client_sdk.client import LedgerClient
    from client_sdk.receipts import Proven, Receipt, Trust
    from client_sdk.receipts.parts import Holding
    from client_sdk.receipts.verify import Accepted
    from contracts.kernel import Record

app = noun()
_GENESIS_BYTES_MAX: Final = 16 << 20


class Subject(StrEnum):
    """What there are receipts for."""

    TX = "tx"
    CONTRIBUTION = "contribution"
    BUDGET = "budget"
    VERSION = "version"


# What names each kind, and how many of them there may be.
_NAMED: Final = {
    Subject.TX: ("HASH", 1, 1),
    Subject.CONTRIBUTION: ("TASK ROUND ORG", 3, 3),
    Subject.BUDGET: ("ORG [DATASET]", 1, 2),
    Subject.VERSION: ("MODEL NUMBER", 2, 2),
}


@verb(app, "export", example="receipt export contribution breast-cancer 3 hospital-a --out contribution.cose")
def export(
    what: Annotated[Subject, typer.Argument(metavar="tx|contribution|budget|version", help="What it is for.")],
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME",
            help="tx: HASH. contribution: TASK ROUND ORG. budget: ORG [DATASET]. version: MODEL NUMBER.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write it.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the file if there is one.")] = False,
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """Write a receipt that anybody with the ledger's genesis document can check offline.

    A transaction and a contribution are proved as accepted, once and for all; a budget and a version as they were last
    written: what a budget holds back is spent once its round is past the barrier, and a version may have fallen with
    one that it descends from. 'budget show' and 'model show' follow both.
    """
    require_free(out, force=force)
    named, least, most = _NAMED[what]
    if not least <= len(names) <= most:
        raise CliError("USAGE", f"{what} is named by {named}, given are {len(names)}", "See the example of --help.")
    receipt = Access(ledger, who, output=output).read(lambda client: _exported(client, what, names))
    from client_sdk.receipts import encode

    raw = encode(receipt)
    write_whole(out, raw)
    emit(
        output,
        {"file": out, "bytes": len(raw), "kind": what, "ledger": receipt.issuer, "subject": receipt.subject,
         "height": receipt.height, "blocks": len(receipt.blocks)},
        Line(f"The receipt is in {out} ({len(raw):,} bytes): {_about(receipt)}."),
        Line(f"Check it with: fedledger receipt verify {out} --genesis GENESIS"),
    )  # fmt: skip


@verb(app, "verify", example="receipt verify contribution.cose --genesis genesis.json")
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The receipt.")],
    genesis: Annotated[
        Path | None,
        typer.Option("--genesis", metavar="FILE", help="Trust the ledger's genesis document, from a member you trust."),
    ] = None,
    checkpoint: Annotated[
        str,
        typer.Option("--checkpoint", metavar="HEIGHT:HASH", help="Trust a block that the receipt holds, by its hash."),
    ] = "",
    validators_hash: Annotated[
        str, typer.Option("--validators-hash", metavar="HASH", help="Trust a set of validators, by its hash.")
    ] = "",
    ledger: Annotated[
        str,
        typer.Option(
            "--ledger", metavar=":devnet:|PATH", help="Trust the genesis of a devnet or of a member's profile."
        ),
    ] = "",
    output: options.Output = Format.TXT,
) -> None:
    """Check a receipt offline, and say what it proves.

    Name exactly one thing that you trust. Exit status 6: a part was changed or is false, and is named; 7: the file is
    no receipt; 8: it does not lead back to what you trust.
    """
    from client_sdk.receipts import decode
    from client_sdk.receipts import verify as check
    from client_sdk.receipts.form import RECEIPT_BYTES_MAX

    given = sum(map(bool, (genesis, checkpoint, validators_hash, ledger)))
    if given != 1:
        hint = "Give one of --genesis, --checkpoint, --validators-hash, --ledger; the first is the usual one."
        raise CliError("NO_TRUST_ROOT", f"exactly one thing must be named that you trust, given are {given}", hint)
    trust = _trust(genesis, checkpoint, validators_hash, ledger)
    with file.open("rb") as opened:
        raw = opened.read(RECEIPT_BYTES_MAX + 1)
    proven = check(decode(raw), trust)
    described, blocks = _described(proven)
    emit(output, described, *blocks)


# What is asked for ------------------------------------------------------------------------------


async def _exported(client: "LedgerClient", what: Subject, names: list[str]) -> "Receipt":
    from client_sdk.receipts import export

    from .tx import digest_of

    if what is Subject.TX:
        return await export.transaction(client, digest_of(names[0]))
    if what is Subject.CONTRIBUTION:
        task, number, organisation = names
        return await export.contribution(client, _name(task), _number(number), _name(organisation))
    if what is Subject.BUDGET:
        return await export.budget(client, *map(_name, names))
    return await export.version(client, _name(names[0]), _number(names[1]))


def _name(text: str) -> str:
    """A name as the ledger has them. Raises codec.Malformed."""
    from contracts.kernel import codec
    from contracts.kernel.types import OrgId

    return str(codec.shape_of(OrgId).pack(text, "name"))


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise CliError("USAGE", f"{text[:40]!r} is no number", "Rounds and versions are counted from 1, and from 0.")
    return int(text)


def _about(receipt: "Receipt") -> str:
    from client_sdk.receipts import Acceptance

    if isinstance(receipt.proof, Acceptance):
        return f"transaction {receipt.subject} was accepted in block {receipt.height}"
    return f"{receipt.subject} as it was after block {receipt.height}"


# What is trusted --------------------------------------------------------------------------------


def _trust(genesis: Path | None, checkpoint: str, validators_hash: str, ledger: str) -> "Trust":
    from client_sdk.light import trust_genesis
    from client_sdk.receipts import CheckpointTrust, GenesisTrust, ValidatorsTrust
    from client_sdk.session import genesis_document

    if genesis is not None:
        return GenesisTrust(_genesis(genesis))
    if ledger:
        return GenesisTrust(trust_genesis(genesis_document(Access(ledger).profile())))
    if validators_hash:
        return ValidatorsTrust(_hash(validators_hash, "--validators-hash"))
    height, _, block_hash = checkpoint.partition(":")
    return CheckpointTrust(_number(height), _hash(block_hash, "--checkpoint"))


def _genesis(path: Path) -> Any:
    from client_sdk.documents.strict_json import AnswerMalformed, parse
    from client_sdk.light import trust_genesis

    with path.open("rb") as opened:
        raw = opened.read(_GENESIS_BYTES_MAX + 1)
    try:
        if len(raw) > _GENESIS_BYTES_MAX:
            raise AnswerMalformed("genesis", f"it has more than {_GENESIS_BYTES_MAX} bytes")
        return trust_genesis(parse(raw, "genesis").members())
    except AnswerMalformed as error:
        hint = "It is CometBFT's genesis.json, as a member of the ledger keeps it."
        raise CliError("GENESIS_UNREADABLE", f"{path}: {error}", hint) from error


def _hash(text: str, option: str) -> bytes:
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        hint = "--checkpoint is HEIGHT:HASH; a hash has 64 hexadecimal digits."
        raise CliError("USAGE", f"{option}: {text[:80]!r} is no hash", hint)
    return digest


# What it proves ---------------------------------------------------------------------------------


def _described(proven: "Proven") -> tuple[dict[str, Any], list[Any]]:
    power, whole = proven.signed
    newer = proven.block.header
    described = {
        "ledger": proven.chain_id,
        "height": proven.height,
        "time_ms": proven.time_ns // 1_000_000,
        "signed_block": {"height": newer.height, "hash": newer.hash, "power": power, "of": whole},
        "trusted": proven.trust,
    }
    foot = {
        "signed": f"block {newer.height} by {power} of {whole} voting power",
        "trusted": proven.trust,
    }
    if proven.accepted is not None:
        return _transaction(proven, proven.accepted, described, foot)
    assert proven.held is not None
    return _record(proven, proven.held, described, foot)


def _transaction(
    proven: "Proven", accepted: "Accepted", described: dict[str, Any], foot: dict[str, Any]
) -> tuple[dict[str, Any], list[Any]]:
    from client_sdk.reads.refusals import events_of
    from contracts.kernel import crypto
    from contracts.registry import RULES
    from contracts.transition import past_message_of

    signer, asked = crypto.did_key(accepted.envelope.key), plain(past_message_of(RULES, accepted.envelope))
    events = events_of(accepted.result.data)
    described |= {
        "proves": "accepted",
        "hash": accepted.hash,
        "signer": signer,
        "message": accepted.envelope.tag,
        "fields": asked,
        "events": [{"event": event.tag, **plain(event)} for event in events],
    }
    head = {
        "proves": "that the ledger accepted this transaction",
        "ledger": proven.chain_id,
        "transaction": accepted.hash,
        "in block": f"{proven.height}, of {units.time(proven.time_ns // 1_000_000)}",
        "signed by": signer,
        "asked": accepted.envelope.tag,
        **{f"  {name}": value for name, value in flat(asked)},
        **foot,
    }
    return described, [Fields(head), Rows(("event", "facts"), event_rows(events), empty="Nothing happened.")]


def _read(version: int, held: "Holding") -> "Record | None":
    """The record, where the rules of a version know one at its path."""
    from contracts.kernel import InvariantBroken
    from contracts.registry import RULES

    item = RULES.of(version).map_of(held.path)
    if item is None:
        return None
    try:
        read: Record = item.read(held.body)
    except InvariantBroken:
        return None
    return read


def _record(
    proven: "Proven", held: "Holding", described: dict[str, Any], foot: dict[str, Any]
) -> tuple[dict[str, Any], list[Any]]:
    from contracts.kernel import limits
    from contracts.privacy_budget import Account, least_epsilon_of

    record = _read(proven.block.header.version_app, held)
    fields = {"bytes": held.body.hex()} if record is None else plain(record)
    shown = dict(flat(fields))
    if isinstance(record, Account):
        spent = least_epsilon_of(record.spent, limits.DELTA_INVERSE_MIN)
        described["epsilon_least"] = spent
        at = f"at δ = {units.delta(limits.DELTA_INVERSE_MIN)}, valid only for prices fixed beforehand"
        shown = {"ε spent, least": f"{units.epsilon(spent)} over all orders {at}", **shown}
    kind = None if record is None else type(record).__name__
    described |= {"proves": "held", "path": held.subject, "record": kind, "fields": fields}
    head = {
        "proves": "that the ledger held this record",
        "ledger": proven.chain_id,
        "record": held.subject,
        "after block": f"{proven.height}; the next one is of {units.time(proven.time_ns // 1_000_000)}",
        **{f"  {name}": value for name, value in shown.items()},
        **foot,
    }
    return described, [Fields(head)]
