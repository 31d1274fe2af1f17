"""A file that remembers how far we have verified: a height and its block hash, as two people would compare them.

It is a root of trust, so it lies where only its owner may write (``private_files``). It belongs to the state that trust
began with: after another genesis it is ignored and replaced. Nothing else is kept; header and validators come from any
node and are checked against the hash.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from contracts.kernel.crypto import sha256
from contracts.kernel.merkle import DIGEST_BYTES

from ..documents.strict_json import INT64_MAX, AnswerMalformed, parse
from ..errors import Kind, SdkError
from ..light import TrustedState
from ..secrets.private_files import read_private, replace_private

_FILE_BYTES_MAX: Final = 4_096


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A block that was verified."""

    height: int
    header_hash: bytes
    time_ns: int


class CheckpointInvalid(SdkError):
    """The file is not one that this module wrote."""

    kind = Kind.ACCESS
    hint = "Delete the file to begin from the genesis again."


class CheckpointFile:
    """Where the newest verified block is kept between runs. Files are small and rarely written: methods block."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, root: TrustedState) -> Checkpoint | None:
        """What was saved for this root of trust, or None.

        Raises CheckpointInvalid, private_files.ExposedFile, OSError.
        """
        try:
            document = parse(read_private(self._path, bytes_max=_FILE_BYTES_MAX), "checkpoint")
            if document["root"].hexadecimal((DIGEST_BYTES,)) != _identity(root):
                return None
            return Checkpoint(
                height=document["height"].integer(1, INT64_MAX),
                header_hash=document["block_hash"].hexadecimal((DIGEST_BYTES,)),
                time_ns=document["time_ns"].integer(0, INT64_MAX),
            )
        except FileNotFoundError:
            return None
        except AnswerMalformed as error:
            raise CheckpointInvalid(f"{self._path}: {error}") from error

    def save(self, root: TrustedState, newest: TrustedState) -> None:
        """Remember a verified block. Raises private_files.ExposedFile, OSError."""
        document = {
            "root": _identity(root).hex(),
            "chain_id": newest.chain_id,
            "height": newest.height,
            "block_hash": newest.header_hash.hex(),
            "time_ns": newest.time_ns,
        }
        replace_private(self._path, (json.dumps(document, indent=2) + "\n").encode("ascii"))


def _identity(root: TrustedState) -> bytes:
    """What trust began with, as one digest: another genesis has another."""
    parts = (root.chain_id, root.height, root.time_ns, root.header_hash.hex(), root.validators.hash.hex())
    return sha256(json.dumps(parts).encode("ascii"))
