"""Everything a member's program holds open: a verified client, its payload store, its keys, its journal.

Made from a profile and a key's name.
"""

import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.kernel import crypto
from contracts.kernel.envelope import LedgerId

from ..client import LedgerClient, Signer
from ..errors import Kind, SdkError
from ..light.verify import trust_genesis
from ..payloads.block_folder import BlockFolder
from ..payloads.store import PayloadStore, StoreKind
from ..reads.checkpoints import CheckpointFile
from ..reads.trusting import TrustingReader
from ..reads.verified import VerifiedReader
from ..rpc import RpcClient
from ..secrets import keys
from ..secrets.keys import Keyring
from ..secrets.passphrase import read_passphrase
from ..training.journal import Journal
from .profile import Profile

ENCRYPTION = "encryption"


class WrongGenesis(SdkError):
    """The genesis document is not the one the profile trusts, or it is not there."""

    kind = Kind.ACCESS
    hint = "Get the genesis document from a member you trust, and compare its SHA-256."


@dataclass(frozen=True)
class Session:
    """An organisation's open connection. ``keyring`` is None for a session that only reads."""

    profile: Profile
    client: LedgerClient
    store: PayloadStore
    keyring: Keyring | None
    journal: Journal

    @property
    def organisation(self) -> str:
        """Who this session acts for."""
        return self.profile.organisation

    @property
    def identities(self) -> tuple[str, ...]:
        """The organisation's age identities, which decrypt payloads. Raises keys.KeyNotFound."""
        if self.keyring is None:
            raise keys.KeyNotFound("this session was opened without keys")
        return self.keyring.identities


@asynccontextmanager
async def open_session(
    profile: Profile, key: str | None, passphrase_file: Path | None = None, *, trust_node: bool = False
) -> AsyncIterator[Session]:
    """Open a session with one of the organisation's keys, or with none to read only. ``trust_node`` as ``open_client``.

    Raises keys.KeyringError, passphrase.PassphraseError, WrongGenesis, rpc.NodeUnavailable.
    """
    keyring = None if key is None else unlock(profile, passphrase_file)
    signer = keyring.signing(key) if keyring is not None and key is not None else None
    journal = Journal(profile.keyring.parent / "journal")
    async with open_store(profile) as store, open_client(profile, signer, trust_node=trust_node) as client:
        yield Session(profile, client, store, keyring, journal)


@asynccontextmanager
async def open_client(
    profile: Profile, signer: Signer | None = None, *, trust_node: bool = False
) -> AsyncIterator[LedgerClient]:
    """Open only the ledger: what reads, votes and consents needs no payload store. Raises WrongGenesis.

    ``trust_node`` believes whatever the node says, without headers, signatures and proofs.
    """
    document = genesis_document(profile)
    trusted, ledger = trust_genesis(document), ledger_of(document)
    checkpoints = CheckpointFile(profile.keyring.parent / "checkpoint.json")
    rpc = RpcClient(profile.rpc)
    reader = TrustingReader(rpc, trusted) if trust_node else VerifiedReader(rpc, trusted, checkpoints=checkpoints)
    client = LedgerClient(rpc, reader, ledger, signer)
    try:
        yield client
    finally:
        await client.close()


def open_store(profile: Profile) -> PayloadStore:
    """The payload store that the profile names, to be entered. Entering raises payloads.errors.StoreUnavailable.

    Raises payloads.errors.StoreAddressInvalid.
    """
    if profile.store is StoreKind.LOCAL:
        return BlockFolder(Path(profile.store_address))
    from ..payloads.kubo import KuboStore  # Only who uses Kubo loads the HTTP library now.

    return KuboStore(profile.store_address)


def unlock(profile: Profile, passphrase_file: Path | None = None) -> Keyring:
    """Open the organisation's keyring: by the file given, else the profile's, else a person is asked.

    Raises keys.KeyringError, passphrase.PassphraseError, private_files.ExposedFile.
    """
    kept = profile.passphrase if profile.passphrase.is_file() else None
    passphrase = read_passphrase(file=passphrase_file or kept, prompt=f"Passphrase of {profile.keyring}")
    return keys.open_keyring(profile.keyring, passphrase)


def genesis_document(profile: Profile) -> dict[str, object]:
    """The genesis document that a profile trusts. Raises WrongGenesis."""
    try:
        raw = profile.genesis.read_bytes()
    except OSError as error:
        raise WrongGenesis(f"{profile.genesis} cannot be read: {error.strerror}") from error
    if crypto.sha256(raw).hex() != profile.genesis_sha256:
        raise WrongGenesis(f"{profile.genesis} has the SHA-256 {crypto.sha256(raw).hex()}")
    document: dict[str, object] = json.loads(raw)
    return document


def ledger_id(profile: Profile) -> LedgerId:
    """What signatures are bound to on the ledger of a profile. Raises WrongGenesis."""
    return ledger_of(genesis_document(profile))


def ledger_of(document: Mapping[str, object]) -> LedgerId:
    """What signatures are bound to on the ledger that begins with CometBFT's genesis document. Raises WrongGenesis."""
    try:
        state: Any = document["app_state"]
        body = base64.b64decode(state["fedledger"], validate=True)
        return LedgerId(str(document["chain_id"]), crypto.sha256(body))
    except (KeyError, TypeError, ValueError) as error:
        raise WrongGenesis("the genesis document holds no ledger's genesis in its app_state") from error
