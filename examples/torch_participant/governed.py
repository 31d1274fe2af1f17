"""An ordinary PyTorch script: a network for handwritten digits, trained on one hospital's records.

The records are a safetensors file with ``inputs`` (n, 64), pixels from 0 to 16, and ``targets`` (n,), digits. The last
fifth is held out.
"""

import sys
from typing import Any

import safetensors.numpy
import torch
from torch import nn

import fedledger as fl

Records = tuple[Any, Any]  # Inputs and targets.
record_loss = nn.functional.cross_entropy


def read(path: str) -> tuple[Records, Records]:
    """The records to train on and the held-out ones, as arrays."""
    records = safetensors.numpy.load_file(path)
    inputs, targets = records["inputs"], records["targets"]
    cut = len(targets) * 4 // 5
    return (inputs[:cut], targets[:cut]), (inputs[cut:], targets[cut:])


def tensors(records: Records) -> Records:
    """Arrays as tensors, the pixels centred and scaled."""
    inputs, targets = records
    return (torch.from_numpy(inputs).float() - 5.0) / 8.0, torch.from_numpy(targets)


def build() -> nn.Module:
    """8 x 8 pixels in, ten digits out."""
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def accuracy(model: nn.Module, records: Records) -> float:
    """The share of records whose digit the model finds."""
    inputs, targets = tensors(records)
    with torch.no_grad():
        return float((model(inputs).argmax(dim=1) == targets).float().mean())


def main() -> None:
    """Train, then show how good the model is on records it has not seen."""
    records, held_out = read(sys.argv[1])
    model = build()
    ledger = fl.connect(":devnet:", key="hospital-a/worker")
    task = ledger.task("digits")
    trainer = fl.Trainer(model, record_loss, records, inputs=task.inputs)
    for rnd in ledger.rounds(task, dataset="digits-a"):
        try:
            print(f"round {rnd.number}: ε = {rnd.contribute(trainer).spent / 1e9:.2f} spent so far")
        except fl.RoundCameToNothing as nothing:
            print(nothing)
    model = ledger.load(task.model, into=model)
    print(f"trained: accuracy {accuracy(model, held_out):.1%}")


if __name__ == "__main__":
    main()
