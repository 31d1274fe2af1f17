"""The kernel: what every contract is written in. It knows no contract."""

from .rules import (
    Context,
    Contract,
    Event,
    Lane,
    Message,
    Outcome,
    Place,
    Record,
    Rejected,
    found,
    require,
)
from .state import InvariantBroken, Item, Map, ScanView, View, Write

__all__ = [
    "Context",
    "Contract",
    "Event",
    "InvariantBroken",
    "Item",
    "Lane",
    "Map",
    "Message",
    "Outcome",
    "Place",
    "Record",
    "Rejected",
    "ScanView",
    "View",
    "Write",
    "found",
    "require",
]
