"""An ordinary PyTorch script: a network for handwritten digits, trained on one hospital's records.

The records are a safetensors file with ``inputs`` (n, 64), pixels from 0 to 16, and ``targets`` (n,), digits. The last
fifth is held out.
"""

import sys
from typing import Any

import safetensors.numpy
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

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
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = DataLoader(TensorDataset(*tensors(records)), batch_size=32, shuffle=True)
    for epoch in range(30):
        for inputs, targets in loader:
            optimiser.zero_grad()
            record_loss(model(inputs), targets).backward()
            optimiser.step()
        print(f"epoch {epoch + 1}: accuracy {accuracy(model, held_out):.1%}")
    print(f"trained: accuracy {accuracy(model, held_out):.1%}")


if __name__ == "__main__":
    main()
