"""``fedledger tx``: one transaction, what it said, and what the ledger decided."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import options, units
from ..access import Access
from ..commands import noun, verb
from ..errors import CliError, failure_of
from ..output import Fields, Format, Line, Rows, emit, plain
from ..trust import unverified

if TYPE_CHECKING:
    from client_sdk.client import LedgerClient
    from client_sdk.reads.queries import DecidedTx
    from contracts.kernel import Event

app = noun()


@verb(app, "show", example="tx show 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
def show(
    digest: Annotated[str, typer.Argument(metavar="HASH", help="The transaction's hash, 64 hexadecimal digits.")],
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """Show a transaction: who signed it, what it asked for, and what became of it.

    Both are proved: that it is in its block, and its result, by headers that the validators signed.
    """
    described, blocks = Access(ledger, who, output=output).read(lambda client: _described(client, digest_of(digest)))
    emit(output, described, *blocks)


async def _described(client: "LedgerClient", digest: bytes) -> tuple[dict[str, Any], list[Any]]:
    from client_sdk.reads.refusals import events_of, refusal_of
    from contracts.kernel import crypto
    from contracts.registry import RULES
    from contracts.transition import parse, past_message_of

    found = await _found(client, digest)
    result = found.result
    envelope = parse(found.raw)
    message = past_message_of(RULES, envelope)
    signer = await _signer(client, envelope.key)
    described = {
        "hash": digest,
        "height": found.height,
        "index": found.index,
        "signer": crypto.did_key(envelope.key),
        "organisation": signer,
        "message": envelope.tag,
        "fields": plain(message),
        "code": result.code,
    }
    head = Fields(
        {
            "transaction": digest,
            "in block": f"{found.height}, number {found.index}{'' if unverified() else ' (proved)'}",
            "signed by": f"{crypto.did_key(envelope.key)} of {signer or 'nobody known'}",
            "asked": envelope.tag,
            **{f"  {name}": value for name, value in flat(plain(message))},
            "was": "accepted" if result.code == 0 else f"refused with code {result.code}",
        }
    )
    if result.code == 0:
        events = events_of(result.data)
        described["events"] = [{"event": event.tag, **plain(event)} for event in events]
        return described, [head, Rows(("event", "facts"), event_rows(events), empty="Nothing happened.")]
    failure = failure_of(refusal_of(result.code, result.data, result.log))
    described["refusal"] = failure.envelope()
    return described, [head, Line(f"\n{failure.text()}")]


async def _found(client: "LedgerClient", digest: bytes) -> "DecidedTx":
    found = await client.reader.transaction(digest)
    if found is None:
        hint = (
            "It may still be waiting: try again in a few seconds. Else check the hash, and the ledger it was sent to."
        )
        raise CliError("UNKNOWN_TRANSACTION", f"no transaction {digest.hex()} was decided here", hint)
    return found


async def _signer(client: "LedgerClient", public: bytes) -> str | None:
    from contracts import identity

    key = await client.get(identity.KEYS, public)
    return None if key is None else key.organisation


def digest_of(text: str) -> bytes:
    """A transaction's hash as it is typed. Raises CliError."""
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        hint = "Receipts and 'fedledger round watch' name transactions by 64 hexadecimal digits."
        raise CliError("USAGE", f"{text[:80]!r} is no transaction's hash", hint)
    return digest


def event_rows(events: "Iterable[Event]") -> list[tuple[str, str]]:
    """Each event, and its facts in their units."""
    return [(event.tag, units.event_facts(event)) for event in events]


def flat(fields: dict[str, Any], within: str = "") -> list[tuple[str, str]]:
    """Nested fields under dotted names, each cut to a line."""
    listed: list[tuple[str, str]] = []
    for name, value in fields.items():
        if isinstance(value, dict):
            listed += flat(value, f"{within}{name}.")
        else:
            listed.append((f"{within}{name}", _short(value)))
    return listed


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}…"
