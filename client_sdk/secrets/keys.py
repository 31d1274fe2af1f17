"""An organisation's secret keys, and the encrypted file that keeps them: the keyring.

A keyring holds named keys: Ed25519 signing keys, each for one purpose (human or workload), and age X25519
identities that payloads are encrypted to. It is one age file under a passphrase (scrypt), so that opening
costs one derivation, about 0.3 s, however many keys it holds; Debian's ``age -d`` opens it too. A
single key is a keyring of one.

On disk: ``<folder>/<organisation>.age``, mode 0600 in a folder of mode 0700, both enforced. Inside: the
canonical DAG-CBOR of ``Contents``, read back strictly. A key is written as ``organisation/name``, as in
``hospital-a/worker``.

Left to others: where passphrases come from (``passphrase``), what a key may sign (the ledger's rules).
"""

import fcntl
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final

from contracts.kernel import codec, crypto
from contracts.kernel.types import Items, Length, Purpose, Range, Slug, Text
from contracts.possession import NewKey, possession_statement

from ..errors import Kind, SdkError
from . import age_identity, age_passphrase
from .passphrase import check_passphrase
from .private_files import (
    ExposedFile,
    FileTooLarge,
    create_private,
    make_private_directory,
    read_private,
    replace_private,
)

KEYS_MAX: Final = 16
_FILE_BYTES_MAX: Final = 16_384
_CONTENTS_BYTES_MAX: Final = 8_192
_IDENTITY: Final = re.compile(r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}", re.ASCII)
_SUFFIX: Final = ".age"


class KeyringError(SdkError):
    """Root of this module's refusals."""

    kind = Kind.ACCESS


class WrongPassphrase(KeyringError):
    """The keyring does not open with this passphrase."""

    hint = "Check the passphrase and that this is the right keyring. There is no way to recover a forgotten one."


class KeyFileExists(KeyringError):
    """A keyring is already there, or a key of that name is in it. Keys are never overwritten."""

    kind = Kind.REFUSED
    hint = "Choose another name, or move the old file away if you are sure that no ledger knows its keys."


class KeyFilePermissions(KeyringError):
    """Others could read or replace the keyring."""


class KeyFileCorrupt(KeyringError):
    """Not a keyring, or a damaged one."""

    hint = "Restore the file from a backup."


class KeyNotFound(KeyringError):
    """No such keyring, or no such key in it."""

    hint = "List the keys with 'fedledger key show', or make one with 'fedledger key create'."


class InvalidKeyName(KeyringError, ValueError):
    """Not ``organisation/name``, or a name with more than lower-case letters, digits and hyphens."""

    kind = Kind.USAGE
    hint = "Write a key as 'organisation/name', for example 'hospital-a/worker'."


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key (RFC 8032) for one purpose. The seed never appears in its repr."""

    name: Slug
    purpose: Purpose
    seed: Annotated[bytes, Length(32, 32)] = field(repr=False)

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return crypto.public_key(self.seed)

    @property
    def did(self) -> str:
        """The key's identifier on the ledger, ``did:key:z6Mk…``."""
        return crypto.did_key(self.public)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over a message, which must begin with its domain tag."""
        return crypto.sign(self.seed, message)

    def enrolment(self, genesis: bytes, organisation: str) -> NewKey:
        """The key as a ledger enrols it for an organisation, with the proof that whoever asks holds it."""
        statement = possession_statement(genesis, organisation, self.public, self.purpose)
        return NewKey(self.public, self.purpose, self.name, self.sign(statement))


@dataclass(frozen=True, slots=True)
class EncryptionKey:
    """An age X25519 identity: reads what was encrypted to its recipient. It never appears in its repr."""

    name: Slug
    identity: Annotated[str, Text(74, _IDENTITY)] = field(repr=False)

    @property
    def recipient(self) -> str:
        """What others encrypt to, ``age1…``."""
        return age_identity.recipient_of(self.identity)


Key = SigningKey | EncryptionKey


@dataclass(frozen=True, slots=True)
class Contents:
    """What the encrypted file holds."""

    version: Annotated[int, Range(1, 1)]
    keys: Annotated[tuple[SigningKey | EncryptionKey, ...], Items(1, KEYS_MAX)]


@dataclass(frozen=True, slots=True)
class Keyring:
    """An opened keyring. Names are unique in it."""

    path: Path
    keys: tuple[Key, ...]

    def signing(self, name: str) -> SigningKey:
        """The signing key of that name. Raises KeyNotFound."""
        key = self.named(name)
        if not isinstance(key, SigningKey):
            raise KeyNotFound(f"{name!r} in {self.path} decrypts payloads, it does not sign")
        return key

    def encryption(self, name: str) -> EncryptionKey:
        """The encryption key of that name. Raises KeyNotFound."""
        key = self.named(name)
        if not isinstance(key, EncryptionKey):
            raise KeyNotFound(f"{name!r} in {self.path} signs, it does not decrypt payloads")
        return key

    @property
    def identities(self) -> tuple[str, ...]:
        """Every age identity in the keyring: payloads of a running round may be encrypted to the one before."""
        return tuple(key.identity for key in self.keys if isinstance(key, EncryptionKey))

    def named(self, name: str) -> Key:
        """The key of that name, whatever it is for. Raises KeyNotFound."""
        for key in self.keys:
            if key.name == name:
                return key
        names = ", ".join(key.name for key in self.keys)
        raise KeyNotFound(f"no key {name!r} in {self.path}", hint=f"It holds: {names}.")


def new_signing_key(name: str, purpose: Purpose) -> SigningKey:
    """A fresh signing key from the operating system's entropy. Raises InvalidKeyName."""
    return SigningKey(_checked_name(name), purpose, secrets.token_bytes(32))


def new_encryption_key(name: str) -> EncryptionKey:
    """A fresh age identity from the operating system's entropy. Raises InvalidKeyName."""
    return EncryptionKey(_checked_name(name), age_identity.new_identity())


def split_reference(reference: str) -> tuple[str, str]:
    """``hospital-a/worker`` as (organisation, key name). Raises InvalidKeyName."""
    organisation, slash, name = reference.partition("/")
    if not slash:
        raise InvalidKeyName(f"{reference[:80]!r} names no key of an organisation")
    return _checked_name(organisation), _checked_name(name)


def keyring_path(folder: Path, organisation: str) -> Path:
    """Where an organisation's keyring lives. Raises InvalidKeyName, so no name leads out of the folder."""
    return folder / f"{_checked_name(organisation)}{_SUFFIX}"


def create_keyring(path: Path, keys: Sequence[Key], passphrase: str, *, is_random: bool = False) -> Keyring:
    """Write a new keyring. ``is_random``: as ``age_passphrase.seal`` says.

    Raises KeyFileExists, KeyFilePermissions, InvalidKeyName, InvalidPassphrase.
    """
    check_passphrase(passphrase, is_new=True)
    contents = _contents(keys)
    if path.exists():  # Before the third of a second that sealing takes; the write itself decides.
        raise KeyFileExists(f"{path} is already there")
    try:
        create_private(path, _sealed(contents, passphrase, is_random=is_random))
    except FileExistsError as error:
        raise KeyFileExists(f"{path} is already there") from error
    except ExposedFile as error:
        raise KeyFilePermissions(str(error), hint=error.hint) from error
    return Keyring(path, contents.keys)


def open_keyring(path: Path, passphrase: str) -> Keyring:
    """Decrypt a keyring. Raises KeyNotFound, KeyFilePermissions, WrongPassphrase, KeyFileCorrupt."""
    check_passphrase(passphrase, is_new=False)
    try:
        sealed = read_private(path, bytes_max=_FILE_BYTES_MAX)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise KeyNotFound(f"no keyring at {path}") from error
    except ExposedFile as error:
        raise KeyFilePermissions(str(error), hint=error.hint) from error
    except FileTooLarge as error:
        raise KeyFileCorrupt(f"{path} is no keyring: {error}") from error
    return Keyring(path, _opened(path, sealed, passphrase).keys)


def add_keys(path: Path, keys: Sequence[Key], passphrase: str) -> Keyring:
    """Add keys to a keyring, all or none.

    Raises KeyFileExists when a name is taken, and what ``open_keyring`` raises.

    Two processes may add at once: one waits for the other.
    """
    with _locked(path):
        old = open_keyring(path, passphrase)
        taken = {key.name for key in old.keys} & {key.name for key in keys}
        if taken:
            raise KeyFileExists(f"{path} already holds {', '.join(sorted(taken))}")
        contents = _contents((*old.keys, *keys))
        replace_private(path, _sealed(contents, passphrase))
    return Keyring(path, contents.keys)


def _contents(keys: Sequence[Key]) -> Contents:
    if not 1 <= len(keys) <= KEYS_MAX:
        raise InvalidKeyName(f"{len(keys)} keys, a keyring holds 1 to {KEYS_MAX}")
    names = [_checked_name(key.name) for key in keys]
    if len(set(names)) != len(names):
        raise InvalidKeyName(f"two keys of one name among {', '.join(names)}")
    return Contents(1, tuple(keys))


def _sealed(contents: Contents, passphrase: str, *, is_random: bool = False) -> bytes:
    return age_passphrase.seal(codec.encode(contents), passphrase, is_random=is_random)


def _opened(path: Path, sealed: bytes, passphrase: str) -> Contents:
    try:
        plain = age_passphrase.open_sealed(sealed, passphrase)
    except age_passphrase.WrongPassphrase:
        raise WrongPassphrase(f"{path} does not open with this passphrase") from None
    except age_passphrase.Damaged as error:
        raise KeyFileCorrupt(f"{path} is no keyring or a damaged one: {error}") from error
    return _read_contents(path, plain)


def _read_contents(path: Path, plain: bytes) -> Contents:
    try:
        contents = codec.decode(Contents, plain, most=_CONTENTS_BYTES_MAX)
        return _contents(contents.keys)
    except (codec.Malformed, InvalidKeyName) as error:
        raise KeyFileCorrupt(f"{path} holds no keys of this version: {error}") from error


def _checked_name(name: str) -> str:
    try:
        codec.shape_of(Slug).pack(name, "name")
    except codec.Malformed as error:
        raise InvalidKeyName(f"{name[:80]!r}: {error.why}") from error
    return name


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the keyring for one writer. The lock is a file beside it: the keyring itself is replaced."""
    try:
        make_private_directory(path.parent)
    except ExposedFile as error:
        raise KeyFilePermissions(str(error), hint=error.hint) from error
    descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
