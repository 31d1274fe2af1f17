"""The façade people import: ``import fedledger as fl``. Lazy, and without any logic of its own."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from client_sdk.session.blocking import Ledger, Quote, Round, connect
    from client_sdk.training.artefacts import TaskInputs
    from client_sdk.training.participant import Contribution
    from client_sdk.training.task import TaskView
    from client_sdk.training.trainer import Trainer
    from contracts.kernel import Rejected

_HOMES = {
    "Contribution": "client_sdk.training.participant",
    "Ledger": "client_sdk.session.blocking",
    "Quote": "client_sdk.session.blocking",
    "Rejected": "contracts.kernel",
    "Round": "client_sdk.session.blocking",
    "TaskInputs": "client_sdk.training.artefacts",
    "TaskView": "client_sdk.training.task",
    "Trainer": "client_sdk.training.trainer",
    "connect": "client_sdk.session.blocking",
}

__all__ = [
    "Contribution",
    "Ledger",
    "Quote",
    "Rejected",
    "Round",
    "TaskInputs",
    "TaskView",
    "Trainer",
    "connect",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"fedledger has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
