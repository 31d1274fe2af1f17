"""``fedledger key``: an organisation's keys, in its keyring here and on the ledger."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import access, options
from ..access import Access
from ..commands import noun, verb
from ..errors import CliError
from ..output import Fields, Format, Line, Rows, emit

if TYPE_CHECKING:
    from client_sdk.secrets.keys import Key, Keyring

app = noun()
ENCRYPTION = "encryption"
PURPOSES = ("workload", "human", ENCRYPTION)
_Key = Annotated[
    str, typer.Argument(metavar="KEY", help="A did:key, a public key in hexadecimal, or a name in your keyring.")
]


@verb(app, "create", example="key create hospital-g")
def create(
    name: Annotated[str, typer.Argument(metavar="ORG[/KEY]", help="The organisation, or one key of it.")],
    purpose: Annotated[
        str, typer.Option("--purpose", metavar="|".join(PURPOSES), help="What a single key is for.")
    ] = "workload",
    keyring: Annotated[
        Path | None, typer.Option("--keyring", metavar="FILE", help="The file, if not the devnet's or the profile's.")
    ] = None,
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Make keys and keep them encrypted in the organisation's keyring.

    With ORG alone, a new keyring with three keys: 'human' consents, votes and revokes; 'worker' trains, aggregates
    and verifies; 'encryption' decrypts payloads. With ORG/KEY, one more key in a keyring. No ledger knows a new key
    until it is enrolled: `fedledger org enrol`, `fedledger key enrol`.
    """
    from client_sdk.secrets import keys

    if purpose not in PURPOSES:
        raise CliError("USAGE", f"--purpose: {purpose!r} is none of {', '.join(PURPOSES)}", "See --help.")
    organisation, _, key = name.partition("/")
    path = keyring or _keyring_path(ledger, organisation)
    made = _made(key, purpose) if key else _first_keys()
    passphrase = _passphrase(ledger, passphrase_file, path)
    ring = keys.add_keys(path, made, passphrase) if path.exists() else keys.create_keyring(path, made, passphrase)
    names = {key.name for key in made}
    _show(output, ring, [key for key in ring.keys if key.name in names])
    if output is Format.TXT:
        emit(output, None, Line(f"\nKept in {ring.path}. Without its passphrase nobody can use it: keep both."))


@verb(app, "show", example="key show --as hospital-a")
def show(
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Show the keys in your keyring: names, purposes and public parts. Secrets are never shown."""
    from client_sdk.session import unlock

    opened = Access(ledger, who, passphrase_file, output)
    organisation, _ = opened.actor(access.HUMAN)
    ring = unlock(opened.profile(organisation), passphrase_file)
    _show(output, ring, list(ring.keys))


@verb(app, "enrol", example="key enrol worker-2 --as hospital-a/human")
def enrol(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A key in your keyring.")],
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Enrol another key of your organisation, signed by a human key.

    An encryption key takes the place of the one before: from then on others encrypt payloads to it. Keep the old one
    in the keyring for what is under way.
    """
    from client_sdk.client import AcceptedTx, LedgerClient
    from client_sdk.secrets.keys import SigningKey
    from contracts.identity import AddKey, ChangeRecipient

    opened = Access(ledger, who, passphrase_file, output)
    organisation, _ = opened.actor(access.HUMAN)

    async def work(client: LedgerClient, ring: "Keyring") -> tuple["Key", AcceptedTx]:
        key = ring.named(name)
        if isinstance(key, SigningKey):
            return key, await access.submit(client, AddKey(key.enrolment(client.ledger.genesis, organisation)))
        return key, await access.submit(client, ChangeRecipient(key.recipient))

    key, accepted = opened.act(access.HUMAN, work)
    if isinstance(key, SigningKey):
        public, purpose, said = key.did, str(key.purpose), f"is enrolled as a {key.purpose} key,"
    else:
        public, purpose, said = key.recipient, ENCRYPTION, "is what others encrypt payloads to,"
    emit(
        output,
        {"key": public, "name": key.name, "purpose": purpose, "height": accepted.height, "transaction": accepted.hash},
        Line(f"{organisation}/{key.name} ({public}) {said} from block {accepted.height} on."),
    )


@verb(app, "revoke", example="key revoke worker --as hospital-a/human")
def revoke(
    key: _Key,
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Revoke a key of your organisation from now on: what it signs later is refused.

    For a key that somebody else may have used, `fedledger key report-stolen` also takes back what is pending of it.
    """
    from client_sdk.client import AcceptedTx, LedgerClient
    from contracts.identity import RevokeKey

    async def work(client: LedgerClient, ring: "Keyring") -> AcceptedTx:
        return await access.submit(client, RevokeKey(_public(key, ring)))

    accepted = Access(ledger, who, passphrase_file, output).act(access.HUMAN, work)
    data = {"height": accepted.height, "transaction": accepted.hash}
    emit(output, data, Line(f"The key is revoked from block {accepted.height} on."))


@verb(app, "report-stolen", example="key report-stolen worker --since 1200 --as hospital-a/human")
def report_stolen(
    key: _Key,
    since: Annotated[
        int, typer.Option("--since", metavar="HEIGHT", min=1, help="First block at which the key was not yours alone.")
    ],
    who: options.Who = "",
    ledger: options.Ledger = options.DEVNET,
    passphrase_file: options.PassphraseFile = None,
    output: options.Output = Format.TXT,
) -> None:
    """Revoke a key as of a past block, with the keys that it enrolled from there on, once.

    What they signed since and what still waits for others counts for nothing: contributions, ballots, approvals. A
    promoted version stays; verifiers who find it unfit raise an alarm.
    """
    from client_sdk.client import AcceptedTx, LedgerClient
    from contracts.identity import KeyRevoked
    from contracts.kernel import Place, crypto
    from contracts.thefts import ReportStolenKey

    async def work(client: LedgerClient, ring: "Keyring") -> AcceptedTx:
        return await access.submit(client, ReportStolenKey(_public(key, ring), Place(since, 0)))

    accepted = Access(ledger, who, passphrase_file, output).act(access.HUMAN, work)
    revoked = [event for event in accepted.events if isinstance(event, KeyRevoked)]
    emit(
        output,
        {"height": accepted.height, "transaction": accepted.hash, "revoked_from": since, "keys": revoked},
        Line(f"The key counts for nothing from block {since} on (decided in block {accepted.height})."),
        Rows(
            ("key", "counts for nothing from block"),
            [(crypto.did_key(event.public), event.height) for event in revoked],
        ),
    )


def public_key(text: str) -> bytes:
    """The public key in a did:key or in hexadecimal. Raises ValueError."""
    from contracts.kernel import crypto

    if text.startswith("did:"):
        return crypto.public_key_of(text)
    raw = bytes.fromhex(text)
    if len(raw) != crypto.PUBLIC_KEY_BYTES:
        raise ValueError(f"{len(raw)} bytes, a public key has {crypto.PUBLIC_KEY_BYTES}")
    return raw


def _public(text: str, ring: "Keyring") -> bytes:
    try:
        return public_key(text)
    except ValueError as error:
        if text.startswith("did:"):
            hint = "Copy it whole from 'fedledger org show'."
            raise CliError("USAGE", f"{text!r} is no did:key: {error}", hint) from None
        return ring.signing(text.rpartition("/")[2]).public


def _first_keys() -> list["Key"]:
    from client_sdk.secrets import keys
    from contracts.kernel.types import Purpose

    return [
        keys.new_signing_key(access.HUMAN, Purpose.HUMAN),
        keys.new_signing_key(access.WORKER, Purpose.WORKLOAD),
        keys.new_encryption_key(ENCRYPTION),
    ]


def _made(name: str, purpose: str) -> list["Key"]:
    from client_sdk.secrets import keys
    from contracts.kernel.types import Purpose

    if purpose == ENCRYPTION:
        return [keys.new_encryption_key(name)]
    return [keys.new_signing_key(name, Purpose(purpose))]


def _keyring_path(ledger: str, organisation: str) -> Path:
    from client_sdk.secrets.keys import keyring_path

    opened = Access(ledger)
    layout = opened.layout()
    if layout is None:
        return opened.profile(organisation).keyring
    return keyring_path(layout.member(organisation), organisation)


def _passphrase(ledger: str, given: Path | None, keyring: Path) -> str:
    """The passphrase for a keyring, from where ``session.unlock`` will look for it; a new one is asked for twice."""
    from client_sdk.secrets.passphrase import read_passphrase

    kept = _kept_passphrase(ledger, keyring)
    file = given or (kept if kept is not None and kept.is_file() else None)
    return read_passphrase(file=file, prompt=f"Passphrase of {keyring}", is_new=not keyring.exists())


def _kept_passphrase(ledger: str, keyring: Path) -> Path | None:
    """The file that a profile names, or the one that the keyrings of a devnet share."""
    from devnet.errors import NoDevnet

    opened = Access(ledger)
    try:
        layout = opened.layout()
    except NoDevnet:
        return None  # A keyring needs no ledger.
    if layout is None:
        profile = opened.profile()
        return profile.passphrase if keyring == profile.keyring else None
    return layout.passphrase if keyring.is_relative_to(layout.home) else None


def _show(output: Format, ring: "Keyring", shown: list["Key"]) -> None:
    from client_sdk.secrets.keys import SigningKey

    described = [
        {"name": key.name, "purpose": str(key.purpose), "public": key.did}
        if isinstance(key, SigningKey)
        else {"name": key.name, "purpose": ENCRYPTION, "public": key.recipient}
        for key in shown
    ]
    rows = [tuple(key.values()) for key in described]
    emit(
        output,
        {"keyring": ring.path, "keys": described},
        Fields({"keyring": ring.path}),
        Rows(("key", "purpose", "public part"), rows),
    )
