"""What a devnet's home is made of once and keeps over restarts: members' keys, validators' keys, genesis.

A home appears whole or not at all: it is made beside its place and moved there.
"""

import hashlib
import json
import secrets
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from client_sdk.secrets import age_passphrase, keys
from client_sdk.secrets.private_files import create_private, make_private_directory
from client_sdk.session.opening import WrongGenesis, ledger_of
from contracts import transition
from contracts.admission import Admission
from contracts.kernel import codec, limits
from contracts.kernel.envelope import LedgerId
from contracts.kernel.types import Purpose
from contracts.registry import RULES

from . import cometbft_home
from .errors import HomeDiffers, HomeOccupied, NoDevnet, NotEnoughDisk, StateUnreadable
from .layout import Layout
from .manifest import Manifest, Organisation, load_manifest, manifest_text

HUMAN: Final = "human"  # Names of the three keys in every member's keyring.
WORKER: Final = "worker"
ENCRYPTION: Final = "encryption"
NO_GENESIS: Final = bytes(32)  # What a proof covers until the genesis is known that it will stand in.
DISK_BYTES_MIN: Final = 1 << 30  # A day of the standard devnet, idle, takes about 300 MB.


def prepare(layout: Layout, manifest: Manifest) -> None:
    """Make the devnet's home, or see that it was made from this very manifest.

    Raises HomeDiffers, HomeOccupied, NotEnoughDisk, OSError.
    """
    if layout.manifest.is_file():
        if load_manifest(layout.manifest) != manifest:
            raise HomeDiffers(f"{layout.home} holds a devnet of another manifest")
        return
    if layout.home.exists() and (not layout.home.is_dir() or any(layout.home.iterdir())):
        raise HomeOccupied(f"{layout.home} is no devnet, and not empty")
    layout.home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_disk(layout.home.parent)
    unfinished = Layout(layout.home.with_name(f"{layout.home.name}.unfinished-{secrets.token_hex(4)}"))
    try:
        make_private_directory(unfinished.home)
        _make(unfinished, manifest)
        unfinished.home.rename(layout.home)  # An empty folder in its place is replaced.
    except BaseException:
        shutil.rmtree(unfinished.home, ignore_errors=True)
        raise


def require_disk(folder: Path) -> None:
    """Refuse to begin what the disk cannot hold. Raises NotEnoughDisk."""
    free = shutil.disk_usage(folder).free
    if free < DISK_BYTES_MIN:
        raise NotEnoughDisk(folder, free, DISK_BYTES_MIN)


def erase(layout: Layout) -> None:
    """Delete a devnet, and nothing that is not one. Nobody may run it. Raises NoDevnet, OSError."""
    if not layout.manifest.is_file():
        raise NoDevnet(f"{layout.home} holds no devnet; nothing was deleted")
    shutil.rmtree(layout.home)


def genesis_facts(layout: Layout) -> tuple[str, str]:
    """Chain id, and SHA-256 of the genesis document. Raises StateUnreadable."""
    try:
        raw = layout.genesis.read_bytes()
        document: dict[str, Any] = json.loads(raw)
        return str(document["chain_id"]), hashlib.sha256(raw).hexdigest()
    except OSError as error:
        raise StateUnreadable(f"{layout.genesis}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise StateUnreadable(f"{layout.genesis} is damaged: {error!r}") from error


def ledger_id(layout: Layout) -> LedgerId:
    """What signatures are bound to on a devnet's ledger. Raises StateUnreadable."""
    try:
        return ledger_of(json.loads(layout.genesis.read_bytes()))
    except OSError as error:
        raise StateUnreadable(f"{layout.genesis}: {error.strerror}") from error
    except (ValueError, WrongGenesis) as error:
        raise StateUnreadable(f"{layout.genesis} is damaged: {error!r}") from error


def _make(layout: Layout, manifest: Manifest) -> None:
    chain_id = f"{manifest.chain_name}-{secrets.token_hex(4)}"
    for folder in ("logs", "nodes", "kubo", "members"):
        make_private_directory(layout.home / folder)
    passphrase = age_passphrase.new_passphrase()
    create_private(layout.passphrase, f"{passphrase}\n".encode("ascii"))
    rings = {member.name: _create_member(layout, member, passphrase) for member in manifest.organisations}
    validators = [cometbft_home.new_validator_keys(name) for name in manifest.validators]
    operator_of = dict(zip(manifest.validators, manifest.operators, strict=True))
    seated = [one for one in validators if operator_of[one.name] not in manifest.stand_by]
    stated = transition.Genesis(
        chain_id,
        RULES.newest.version,
        tuple(_founder(member, rings[member.name], NO_GENESIS) for member in manifest.founders),
        tuple(one.admission(NO_GENESIS, operator_of[one.name]) for one in seated),
    )
    founding = transition.founding_digest(stated)  # Whatever the proofs are: it does not cover them.
    application_genesis = codec.encode(
        replace(
            stated,
            founders=tuple(_founder(member, rings[member.name], founding) for member in manifest.founders),
            validators=tuple(one.admission(founding, operator_of[one.name]) for one in seated),
        )
    )
    transition.genesis(RULES.newest, application_genesis, chain_id)  # Better refused here than by four halting nodes.
    document = cometbft_home.genesis_document(chain_id, datetime.now(UTC), seated, application_genesis)
    create_private(layout.genesis, document)
    for validator in validators:
        cometbft_home.create_home(layout.node(validator.name), validator, document)
    create_private(layout.manifest, manifest_text(manifest).encode("utf-8"))


def _create_member(layout: Layout, member: Organisation, passphrase: str) -> keys.Keyring:
    """Make an organisation's keyring: a person's key, a worker's key, and an identity to decrypt with."""
    path = keys.keyring_path(layout.member(member.name), member.name)
    made = (
        keys.new_signing_key(HUMAN, Purpose.HUMAN),
        keys.new_signing_key(WORKER, Purpose.WORKLOAD),
        keys.new_encryption_key(ENCRYPTION),
    )
    return keys.create_keyring(path, made, passphrase, is_random=True)


def _founder(member: Organisation, ring: keys.Keyring, founding: bytes) -> Admission:
    human = ring.signing(HUMAN)
    key = human.enrolment(founding, member.name)
    return Admission(
        organisation=member.name,
        legal_id=member.legal_id,
        roles=member.roles,
        recipient=ring.encryption(ENCRYPTION).recipient,
        epsilon_cap=member.epsilon_cap_nano,
        delta_inverse=limits.DELTA_INVERSE_MIN,
        order_milli=None,
        key=key,
    )
