"""``state.json``: what runs where, written by the supervisor whenever that changes, read by any shell."""

import dataclasses
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from client_sdk.secrets.private_files import replace_private

from .errors import StateUnreadable
from .ownership import began_of, is_same_process
from .process import Child, ProcessKind, ProcessStatus

_VERSION: Final = 1
_STATE_BYTES_MAX: Final = 1 << 20


class Phase(StrEnum):
    """Where a devnet is in its life."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"  # It could not be started: ``error`` says why.
    LOST = "lost"  # Its supervisor died without stopping it. Never written: it shows when the file is read.


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One process. ``began`` tells it from a later one with the same id; None unless it lives."""

    name: str
    kind: ProcessKind
    status: ProcessStatus
    pid: int | None
    began: str | None
    exit_code: int | None
    log: str


@dataclass(frozen=True, slots=True)
class ValidatorRecord:
    """One validator: who runs it and where its RPC answers."""

    name: str
    operator: str
    rpc: str


@dataclass(frozen=True, slots=True)
class DevnetState:
    """All that other shells need to know. ``control`` is the path of the supervisor's socket."""

    phase: Phase
    chain_id: str
    genesis_sha256: str
    supervisor_pid: int
    supervisor_began: str | None
    control: str
    processes: tuple[ProcessRecord, ...]
    validators: tuple[ValidatorRecord, ...]
    kubo: tuple[str, ...]
    """The RPC addresses of the Kubo nodes."""
    error: str | None = None
    hint: str | None = None


def record_of(child: Child) -> ProcessRecord:
    """What there is to say of a process now."""
    return ProcessRecord(
        name=child.command.name,
        kind=child.command.kind,
        status=child.status,
        pid=child.pid,
        began=None if child.pid is None else began_of(child.pid),
        exit_code=child.exit_code,
        log=str(child.command.log),
    )


def write_state(path: Path, state: DevnetState) -> None:
    """Write the state in place of the last one. Raises ExposedFile, OSError."""
    document = {"version": _VERSION, **dataclasses.asdict(state)}
    replace_private(path, (json.dumps(document, indent=2) + "\n").encode("utf-8"))


def read_state(path: Path) -> DevnetState | None:
    """The last state written; None when there is none. A supervisor that died shows as Phase.LOST.

    Raises StateUnreadable.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_STATE_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateUnreadable(f"{path}: {error.strerror}") from error
    try:
        if len(raw) > _STATE_BYTES_MAX:
            raise ValueError(f"more than {_STATE_BYTES_MAX} bytes")
        state = _state(json.loads(raw))
    except (ValueError, KeyError, TypeError) as error:
        raise StateUnreadable(f"{path} is damaged or of another version: {error!r}") from error
    is_held = state.phase in {Phase.STARTING, Phase.READY, Phase.STOPPING}
    if is_held and not is_same_process(state.supervisor_pid, state.supervisor_began):
        return dataclasses.replace(state, phase=Phase.LOST, processes=tuple(map(_as_found, state.processes)))
    return state


def stopped(state: DevnetState) -> DevnetState:
    """The state once nothing runs any more."""
    processes = tuple(
        dataclasses.replace(record, status=ProcessStatus.STOPPED, pid=None, began=None) for record in state.processes
    )
    return dataclasses.replace(state, phase=Phase.STOPPED, processes=processes)


def living(state: DevnetState) -> list[tuple[int, str | None]]:
    """The processes that lived when the state was written, as (id, began)."""
    return [(record.pid, record.began) for record in state.processes if record.pid is not None]


def _as_found(record: ProcessRecord) -> ProcessRecord:
    """A process of a supervisor that died: what was written is no longer kept up."""
    if record.pid is None or is_same_process(record.pid, record.began):
        return record
    return dataclasses.replace(record, status=ProcessStatus.ENDED, pid=None, began=None)


def _state(document: dict[str, Any]) -> DevnetState:
    if document["version"] != _VERSION:
        raise ValueError(f"version {document['version']}, this program reads {_VERSION}")
    return DevnetState(
        phase=Phase(document["phase"]),
        chain_id=str(document["chain_id"]),
        genesis_sha256=str(document["genesis_sha256"]),
        supervisor_pid=int(document["supervisor_pid"]),
        supervisor_began=document["supervisor_began"],
        control=str(document["control"]),
        processes=tuple(_process(record) for record in document["processes"]),
        validators=tuple(ValidatorRecord(**record) for record in document["validators"]),
        kubo=tuple(map(str, document["kubo"])),
        error=document["error"],
        hint=document["hint"],
    )


def _process(record: dict[str, Any]) -> ProcessRecord:
    return ProcessRecord(**record | {"kind": ProcessKind(record["kind"]), "status": ProcessStatus(record["status"])})
