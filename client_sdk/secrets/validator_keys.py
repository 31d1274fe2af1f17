"""A validator's consensus key: CometBFT's ``priv_validator_key.json``, and the proof that its operator holds it.

The key signs votes and this one statement; nothing here keeps it.
"""

import base64
import json
from pathlib import Path
from typing import Any, Final

from contracts.kernel import crypto
from contracts.validators import NewValidator, possession_statement

from ..errors import Kind, SdkError

PRIVATE_TYPE: Final = "tendermint/PrivKeyEd25519"
PUBLIC_TYPE: Final = "tendermint/PubKeyEd25519"
_FILE_BYTES_MAX: Final = 4096
_SEED_BYTES: Final = 32


class NoValidatorKey(SdkError, ValueError):
    """The file holds no Ed25519 consensus key."""

    kind = Kind.USAGE
    hint = "Give CometBFT's priv_validator_key.json; a key in a signer of its own proves itself there."


def read_validator_key(path: Path) -> bytes:
    """The 32-byte seed in a ``priv_validator_key.json``. Raises NoValidatorKey, OSError."""
    with path.open("rb") as file:
        raw = file.read(_FILE_BYTES_MAX + 1)
    if len(raw) > _FILE_BYTES_MAX:
        raise NoValidatorKey(f"{path} has more than {_FILE_BYTES_MAX} bytes")
    try:
        document: dict[str, Any] = json.loads(raw)
        secret = _typed(document["priv_key"], PRIVATE_TYPE)
        stated = _typed(document["pub_key"], PUBLIC_TYPE)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NoValidatorKey(f"{path}: {type(error).__name__}: {error}") from None
    seed, public = secret[:_SEED_BYTES], secret[_SEED_BYTES:]
    if len(seed) != _SEED_BYTES or public != stated or crypto.public_key(seed) != public:
        raise NoValidatorKey(f"{path}: its private and public key do not belong together")
    return seed


def admission(seed: bytes, operator: str, genesis: bytes) -> NewValidator:
    """A validator as the members admit it: its key, with the proof that this operator holds it, for one ledger."""
    public = crypto.public_key(seed)
    return NewValidator(operator, public, crypto.sign(seed, possession_statement(genesis, operator, public)))


def address_of(public: bytes) -> str:
    """A validator's address as CometBFT's blocks name it: 40 hexadecimal digits, upper case."""
    return crypto.sha256(public)[:20].hex().upper()


def _typed(entry: dict[str, str], kind: str) -> bytes:
    if entry["type"] != kind:
        raise NoValidatorKey(f"a key of the type {str(entry['type'])[:60]!r}, {kind!r} is needed")
    return base64.b64decode(entry["value"], validate=True)
