"""Real data for the demo: loaded, split four ways by the hash of each record, and dealt to six hospitals.

The reference part gives the input transforms, the canary part gates promotion, the test part is read by nothing but
the harness that prints the last column. A seed fixes the deal; it never touches noise or sampling.
"""

import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from learning.inputs import Standardisation
from learning.partition import dirichlet_shards, record_bytes, split_four_ways
from learning.tensors import Int64, Records

FASHION_FOLDER = Path(os.environ.get("FEDLEDGER_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
ALPHA = 0.8
SMALLEST_SHARD = 20


class DataMissing(RuntimeError):
    """The data set, or what it takes to train on it, is not on this machine."""


@dataclass(frozen=True)
class Source:
    """A data set: raw inputs (n, features), integer targets (n,), class names, hidden widths."""

    inputs: Records
    targets: Int64
    classes: tuple[str, ...]
    hidden: tuple[int, ...]
    transform: Standardisation | None  # None: fitted on the public reference part.


@dataclass(frozen=True)
class Deal:
    """Everything a run needs, by who may see it."""

    classes: tuple[str, ...]
    widths: tuple[int, ...]
    transform: Standardisation
    shards: tuple[tuple[Records, Int64], ...]  # One per hospital; private to it.
    canary: tuple[Records, Int64]
    test: tuple[Records, Int64]


def deal(dataset: str, hospitals: int, seed: int) -> Deal:
    """Load a data set and deal it. Raises DataMissing for one that is not installed."""
    source = LOADERS[dataset]()
    parts = split_four_ways(record_bytes(source.inputs, source.targets), salt=dataset.encode())
    shards = dirichlet_shards(source.targets[parts.train], hospitals, ALPHA, seed, SMALLEST_SHARD)
    transform = source.transform or Standardisation.from_reference(source.inputs[parts.reference])

    def rows(positions: Int64) -> tuple[Records, Int64]:
        return source.inputs[positions], source.targets[positions]

    return Deal(
        classes=source.classes,
        widths=(source.inputs.shape[1], *source.hidden, len(source.classes)),
        transform=transform,
        shards=tuple(rows(parts.train[shard]) for shard in shards),
        canary=rows(parts.canary),
        test=rows(parts.test),
    )


def _breast_cancer() -> Source:
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    return Source(data.data, data.target.astype(np.int64), tuple(map(str, data.target_names)), (), None)


def _digits() -> Source:
    from sklearn.datasets import load_digits

    data = load_digits()
    transform = Standardisation.uniform(64, 5.0, 8.0)  # Grey levels 0 to 16, five on average: about centred.
    return Source(data.data, data.target.astype(np.int64), tuple(map(str, range(10))), (32,), transform)


def _fashion_mnist() -> Source:
    names = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")
    inputs = np.concatenate([_idx(f"{part}-images-idx3-ubyte.gz", 16) for part in ("train", "t10k")])
    targets = np.concatenate([_idx(f"{part}-labels-idx1-ubyte.gz", 8) for part in ("train", "t10k")])
    transform = Standardisation.uniform(784, 73.0, 90.0)  # Grey levels 0 to 255: their published mean and spread.
    return Source(inputs.reshape(-1, 784), targets.astype(np.int64), names, (64,), transform)


def _idx(name: str, header: int) -> Records:
    path = FASHION_FOLDER / name
    if not path.is_file():
        raise DataMissing(
            f"{path} is missing: install Debian's dataset-fashion-mnist (apt-get install dataset-fashion-mnist), "
            "or set FEDLEDGER_FASHION_MNIST to the folder of its four .gz files"
        )
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


LOADERS = {"breast-cancer": _breast_cancer, "digits": _digits, "fashion-mnist": _fashion_mnist}
