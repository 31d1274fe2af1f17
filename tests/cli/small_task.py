"""A small task as files: terms in TOML, their artefacts beside them, and records for its participants."""

from pathlib import Path

import numpy as np
import tomli_w

from client_sdk.training import artefacts
from learning import fixed
from learning.inputs import Standardisation

TASK, MODEL, DATA_CLASS = "two-blobs", "blobs-model", "blobs"
FEATURES, SCALE_BITS = 3, 16
CLASSES = ("benign", "malignant")


def write_task(
    folder: Path, *, aggregators: tuple[str, ...], verifiers: tuple[str, ...], rounds: int = 2, minimum: int = 1
) -> Path:
    """Write ``task.toml`` and what it names; the path of the former."""
    folder.mkdir(parents=True, exist_ok=True)
    transform = Standardisation.uniform(FEATURES, 0.0, 1.0)
    inputs = artefacts.encode_inputs((FEATURES, len(CLASSES)), CLASSES, transform)
    layout = artefacts.decode_inputs(inputs).layout
    units = fixed.to_fixed(np.zeros(layout.size, np.float32), SCALE_BITS)
    manifest = artefacts.model_manifest(TASK, 0, None, SCALE_BITS)
    raw, targets = blobs(200, seed=1)
    (folder / "inputs.cbor").write_bytes(inputs)
    (folder / "initial.safetensors").write_bytes(artefacts.encode_model(units, manifest, layout))
    (folder / "canary.safetensors").write_bytes(artefacts.encode_canary(raw, targets))
    document = _terms(aggregators, verifiers, rounds, minimum)
    path = folder / "task.toml"
    path.write_text(tomli_w.dumps(document), "utf-8")
    return path


def write_csv(path: Path, count: int, seed: int) -> Path:
    """Records of one participant, with the classes by name."""
    raw, targets = blobs(count, seed)
    lines = ["radius,texture,target,area"]
    lines += [f"{a:.6f},{b:.6f},{CLASSES[c]},{d:.6f}" for (a, b, d), c in zip(raw, targets, strict=True)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def blobs(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two clouds that a straight line tells apart."""
    generator = np.random.Generator(np.random.PCG64(seed))
    targets = generator.integers(0, 2, count)
    raw = generator.normal(0.0, 0.6, (count, FEATURES)) + np.where(targets[:, None] == 1, 1.0, -1.0)
    return raw.astype(np.float32), targets.astype(np.int64)


def _terms(aggregators: tuple[str, ...], verifiers: tuple[str, ...], rounds: int, minimum: int) -> dict[str, object]:
    voting = tuple(dict.fromkeys((*aggregators, *verifiers)))
    return {
        "task": TASK,
        "model": MODEL,
        "data_class": DATA_CLASS,
        "learning_rate_micro": 500_000,
        "inputs": "inputs.cbor",
        "initial": "initial.safetensors",
        "canary": "canary.safetensors",
        "canary_margin_ppm": 500_000,
        "minimum_reputation": -900_000,
        "aggregators": list(aggregators),
        "verifiers": list(voting),
        "recipients": list(voting),
        "max_rounds": rounds,
        "mechanism": {
            "kind": "poisson-gaussian",
            "relation": "add-remove",
            "clip_milli": 1000,
            "noise_milli": 2000,
            "sampling_num": 1,
            "sampling_den": 4,
            "steps": 3,
            "normaliser": 20,
        },
        "estimator": {"kind": "mean", "byzantine": 0, "minimum": minimum},
        "update": {"scale_bits": SCALE_BITS, "max_norm_milli": 20_000, "max_bytes": 20_000},
        "phases": {
            **dict.fromkeys(("reserve_ms", "commit_ms", "attest_ms", "seal_ms", "open_ms"), 600_000),
            "commits": "when-ready",
        },
    }
