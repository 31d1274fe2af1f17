"""``fedledger validator``: whose nodes decide blocks, and how the members admit and remove them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import access, options
from ..access import Access
from ..commands import noun, verb
from ..errors import CliError
from ..output import Fields, Format, Line, Rows, emit, plain

if TYPE_CHECKING:
    from client_sdk.client import LedgerClient
    from client_sdk.secrets.keys import Keyring
    from contracts.governance import Action
    from contracts.validators import NewValidator, Validator

app = noun()
_Operator = Annotated[str, typer.Option("--operator", metavar="ORG", help="The organisation that runs the validator.")]
_KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", metavar="FILE", help="The node's priv_validator_key.json, where it is at hand."),
]
_EITHER = "Give --key-file, or the --public and --proof that 'fedledger validator prove' printed."


@verb(app, "list", example="validator list")
def list_(
    ledger: options.Ledger = options.DEVNET,
    who: options.Who = "",
    output: options.Output = Format.TXT,
) -> None:
    """Show the validators: key, operator, power. The whole set is proved at once."""
    seated = Access(ledger, who, output=output).read(_seated)
    data = [{"address": _address(one), **plain(one)} for one in seated]
    rows = [(one.public.hex(), one.operator, one.power, f"block {one.since}", _address(one)) for one in seated]
    emit(output, data, Rows(("key", "operator", "power", "admitted in", "address in blocks"), rows))


@verb(app, "prove", example="validator prove --operator hospital-c --key-file config/priv_validator_key.json")
def prove(
    operator: _Operator,
    key_file: _KeyFile = None,
    ledger: options.Ledger = options.DEVNET,
    output: options.Output = Format.TXT,
) -> None:
    """Prove on the node's own machine that its operator holds its key, so that a member can propose it.

    The key stays where it is. What is printed is public, and good for this operator on this chain only.
    """
    if key_file is None:
        raise CliError("USAGE", "--key-file is missing", "Name the node's priv_validator_key.json.")
    made = _proved(Access(ledger), operator, key_file)
    steps = (
        f"fedledger validator admit --operator {operator} --public {made.public.hex()} --proof {made.possession.hex()}"
    )
    emit(
        output,
        plain(made),
        Fields({"operator": operator, "public": made.public.hex(), "proof": made.possession.hex()}),
        Line(f"A member proposes it: {steps} --as MEMBER/human"),
    )


@verb(app, "admit", example="validator admit --operator hospital-c --key-file priv_validator_key.json --as lab-1/human")
def admit(
    operator: _Operator,
    key_file: _KeyFile = None,
    public: Annotated[str, typer.Option("--public", metavar="HEX", help="The validator's public key.")] = "",
    proof: Annotated[str, typer.Option("--proof", metavar="HEX", help="Its proof of possession.")] = "",
    replaces: Annotated[
        str, typer.Option("--replaces", metavar="KEY", help="A validator that leaves as this one comes.")
    ] = "",
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Propose to the members that an organisation's node becomes a validator.

    They vote with `fedledger proposal vote`. No organisation may come to hold a third of the power. Start the node
    first and let it catch up: from two blocks after the deciding vote on, the others wait for its votes too.
    """
    from contracts.governance import AdmitValidator

    opened = Access(ledger, who, passphrase_file, output)
    new = _proved(opened, operator, key_file) if key_file is not None else _stated(operator, public, proof)

    async def action(client: "LedgerClient") -> "Action":
        return AdmitValidator(new, await _named(client, replaces) if replaces else None)

    _propose(opened, action, f"to admit a validator of {operator}", output)


@verb(app, "remove", example="validator remove 2F4B…  --as lab-1/human")
def remove(
    key: Annotated[str, typer.Argument(metavar="KEY", help="A validator's public key or address, as 'list' shows it.")],
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Propose to the members that a validator's votes count no more.

    Of four operators none can be removed: admit a fifth first, or its successor with `validator admit --replaces`.
    """
    from contracts.governance import RemoveValidator

    async def action(client: "LedgerClient") -> "Action":
        return RemoveValidator(await _named(client, key))

    _propose(Access(ledger, who, passphrase_file, output), action, f"to remove the validator {key}", output)


def _propose(opened: Access, action: Any, what: str, output: Format) -> None:
    from contracts.governance import Propose

    from .proposal import announce

    async def work(client: "LedgerClient", ring: "Keyring") -> Any:
        return await access.submit(client, Propose(await action(client)))

    announce(output, opened.act(access.HUMAN, work), what)


async def _seated(client: "LedgerClient") -> tuple["Validator", ...]:
    from contracts import validators

    found = await client.get(validators.SET)
    return found.validators if found is not None else ()


async def _named(client: "LedgerClient", key: str) -> bytes:
    """The key of a validator in the set, named by it or by its address. Raises UnknownValidator."""
    from contracts.validators import UnknownValidator

    seated = await _seated(client)
    public = next((one.public for one in seated if key.lower() in (one.public.hex(), _address(one).lower())), None)
    if public is None:
        raise UnknownValidator(key=key[:64])
    return public


def _proved(opened: Access, operator: str, key_file: Path) -> "NewValidator":
    from client_sdk.secrets.validator_keys import admission, read_validator_key
    from client_sdk.session.opening import ledger_id

    return admission(read_validator_key(key_file), operator, ledger_id(opened.profile()).genesis)


def _stated(operator: str, public: str, proof: str) -> "NewValidator":
    from contracts.validators import NewValidator

    try:
        key, possession = bytes.fromhex(public), bytes.fromhex(proof)
    except ValueError as error:
        raise CliError("USAGE", "--public and --proof are hexadecimal", _EITHER) from error
    if (len(key), len(possession)) != (32, 64):
        raise CliError("USAGE", "a public key has 32 bytes and a proof 64", _EITHER)
    return NewValidator(operator, key, possession)


def _address(one: "Validator") -> str:
    from client_sdk.secrets.validator_keys import address_of

    return address_of(one.public)
