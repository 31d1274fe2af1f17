"""Who holds which records, and which records decide what.

`split_four_ways` assigns each record by a hash of its bytes, so the split needs no index file, does not
change when records are reordered or added, and puts exact duplicates on the same side. The parts:

    train       what organisations hold
    reference   public; input transforms are computed from it
    canary      what gates a promotion; voters have it
    test        what is reported; no decision ever reads it

`dirichlet_shards` makes the non-IID case of experiments: for each class, shares drawn from a Dirichlet
distribution (Hsu, Qi, Brown, "Measuring the effects of non-identical data distribution", 2019).
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .errors import LearningError
from .tensors import Int64, Records

PART_NAMES = ("train", "reference", "canary", "test")
DEFAULT_PARTS_PERCENT = (60, 10, 15, 15)

_RECORD_DOMAIN = b"fedledger/learning/record/1\n"


class PartitionRefused(LearningError):
    """Records that cannot be cut as asked."""

    reason: ClassVar[str] = "partition"


@dataclass(frozen=True)
class Split:
    """Positions of the records of each part, ascending."""

    train: Int64
    reference: Int64
    canary: Int64
    test: Int64


def record_bytes(inputs: Records, targets: Records) -> Iterable[bytes]:
    """The canonical bytes of each record: its inputs as little-endian float64, then its target as int64."""
    flat = inputs.reshape(len(inputs), -1).astype("<f8")
    for row, target in zip(flat, targets.astype("<i8"), strict=True):
        yield row.tobytes() + target.tobytes()


def split_four_ways(
    records: Iterable[bytes], salt: bytes, percent: tuple[int, int, int, int] = DEFAULT_PARTS_PERCENT
) -> Split:
    """Assign each record by SHA-256 of the salt and its canonical bytes.

    `percent` are the expected shares of train, reference, canary and test, in per cent, summing to 100.
    The salt (a task's name, a seed) makes splits of different tasks independent; at most 255 bytes.
    """
    if sum(percent) != 100 or min(percent) < 0 or len(salt) > 255:
        raise TypeError(f"shares {percent} must sum to 100, and a salt has at most 255 bytes")
    prefix = _RECORD_DOMAIN + bytes([len(salt)]) + salt
    points = [int.from_bytes(hashlib.sha256(prefix + record).digest()[:8], "big") * 100 >> 64 for record in records]
    parts = np.searchsorted(np.cumsum(percent), np.array(points, dtype=np.int64), side="right")
    return Split(*(np.flatnonzero(parts == part) for part in range(len(PART_NAMES))))


def dirichlet_shards(targets: Records, organisations: int, alpha: float, seed: int, minimum: int) -> tuple[Int64, ...]:
    """Positions of each organisation's records: disjoint, together all of them, ascending.

    Small alpha is far from IID: below 0.3 most organisations see few classes. Shards below `minimum`
    records are topped up from the largest, one record at a time. Raises PartitionRefused when there are
    too few records for that. The same seed gives the same shards under the same NumPy version.
    """
    if organisations < 1 or alpha <= 0 or minimum < 0:
        raise TypeError("organisations at least 1, alpha positive, minimum not negative")
    if len(targets) < organisations * minimum:
        raise PartitionRefused(
            f"{len(targets)} records cannot give {organisations} organisations {minimum} each",
            records=len(targets),
            needed=organisations * minimum,
        )
    generator = np.random.Generator(np.random.PCG64(seed))
    shards: list[list[int]] = [[] for _ in range(organisations)]
    for target in np.unique(targets):
        positions = generator.permutation(np.flatnonzero(targets == target))
        shares = generator.dirichlet([alpha] * organisations)
        cuts = np.rint(np.cumsum(shares)[:-1] * len(positions)).astype(np.int64)
        for shard, piece in zip(shards, np.split(positions, cuts), strict=True):
            shard.extend(piece.tolist())
    for shard in shards:
        while len(shard) < minimum:
            shard.append(max(shards, key=len).pop())
    return tuple(np.array(sorted(shard), dtype=np.int64) for shard in shards)
