"""A member's profile: how its programs reach the ledger, the payload store and its keys.

One TOML file; paths in it are relative to its own folder, so that a home can be moved.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomli_w

from ..documents import strict_toml
from ..errors import Kind, SdkError
from ..payloads.store import StoreKind
from ..secrets.private_files import replace_private
from .homes import default_home, profile_path

DEVNET: Final = ":devnet:"


class ProfileInvalid(SdkError, ValueError):
    """A member's profile that cannot be read."""

    kind = Kind.ACCESS
    hint = "Profiles are written when a devnet starts: start it again with 'fedledger devnet up'."


@dataclass(frozen=True, slots=True)
class Profile:
    """What a program of this organisation needs to know. Paths are absolute."""

    organisation: str
    chain_id: str
    genesis: Path
    """CometBFT's genesis document: the validators to trust at height 1."""
    genesis_sha256: str
    """Of that file's bytes, hexadecimal."""
    rpc: tuple[str, ...]
    """CometBFT RPC addresses, ``http://HOST:PORT``: the organisation's own node first, if it runs one."""
    store: StoreKind
    store_address: str
    """A Kubo RPC's address, ``http://HOST:PORT``, or the path of the embedded block folder."""
    keyring: Path
    passphrase: Path


def find_profile(target: str, organisation: str) -> Profile:
    """The profile of an organisation at a target: ``:devnet:``, a home, or a profile file.

    Raises ProfileInvalid, also for a file that is another organisation's: nobody acts for it by mistake.
    """
    path = Path(target)
    if target == DEVNET:
        path = profile_path(default_home(), organisation)
    elif path.is_dir():
        path = profile_path(path.absolute(), organisation)
    profile = load_profile(path)
    if profile.organisation != organisation:
        raise ProfileInvalid(f"{path} is the profile of {profile.organisation}, not of {organisation}")
    return profile


def write_profile(path: Path, profile: Profile, comment: str = "") -> None:
    """Write a profile, in place of an older one; ``comment`` goes on top. Raises ExposedFile, OSError."""

    def relative(target: Path) -> str:
        return os.path.relpath(target, path.parent)

    is_folder = profile.store is StoreKind.LOCAL
    address = relative(Path(profile.store_address)) if is_folder else profile.store_address
    document = {
        "organisation": profile.organisation,
        "ledger": {
            "chain_id": profile.chain_id,
            "genesis": relative(profile.genesis),
            "genesis_sha256": profile.genesis_sha256,
            "rpc": list(profile.rpc),
        },
        "store": {"kind": profile.store.value, "address": address},
        "keys": {"keyring": relative(profile.keyring), "passphrase_file": relative(profile.passphrase)},
    }
    head = "".join(f"# {line}\n" for line in (*comment.splitlines(), "Paths are relative to this folder."))
    replace_private(path, (head + tomli_w.dumps(document)).encode("utf-8"))


def load_profile(path: Path) -> Profile:
    """Read a profile. Raises ProfileInvalid, also when there is none."""
    try:
        with path.open("rb") as file:
            raw = file.read(strict_toml.BYTES_MAX + 1)
        return _profile(path.parent.absolute(), strict_toml.parse(raw))
    except OSError as error:
        raise ProfileInvalid(f"{path} cannot be read: {error.strerror}") from error
    except KeyError as error:
        raise ProfileInvalid(f"{path}: {error.args[0]} is missing") from error
    except (ValueError, TypeError) as error:
        raise ProfileInvalid(f"{path}: {error}") from error


def _profile(folder: Path, document: dict[str, Any]) -> Profile:
    ledger, store, keys = (_table(document, name) for name in ("ledger", "store", "keys"))
    kind, address = StoreKind(_text(store, "kind")), _text(store, "address")
    rpc = ledger["rpc"]
    if not isinstance(rpc, list) or not rpc or not all(isinstance(address, str) for address in rpc):
        raise TypeError("ledger.rpc must be a list of addresses")
    return Profile(
        organisation=_text(document, "organisation"),
        chain_id=_text(ledger, "chain_id"),
        genesis=_path(folder, _text(ledger, "genesis")),
        genesis_sha256=_text(ledger, "genesis_sha256"),
        rpc=tuple(rpc),
        store=kind,
        store_address=str(_path(folder, address)) if kind is StoreKind.LOCAL else address,
        keyring=_path(folder, _text(keys, "keyring")),
        passphrase=_path(folder, _text(keys, "passphrase_file")),
    )


def _path(folder: Path, relative: str) -> Path:
    return Path(os.path.normpath(folder / relative))


def _table(document: dict[str, Any], name: str) -> dict[str, Any]:
    table = document[name]
    if not isinstance(table, dict):
        raise TypeError(f"{name} must be a table")
    return table


def _text(table: dict[str, Any], name: str) -> str:
    value = table[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text")
    return value
