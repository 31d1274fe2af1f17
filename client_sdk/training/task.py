"""A task as its participants and verifiers use it: proved terms, opened artefacts, loadable versions."""

from dataclasses import dataclass
from functools import cached_property

from contracts import lineage, rounds, tasks
from contracts.kernel import View
from contracts.kernel.types import Digest
from contracts.lineage import Version, VersionStatus
from contracts.terms import Artefact, Terms
from learning.tensors import Int32

from ..client import LedgerClient
from ..errors import Kind, SdkError
from ..payloads.cid import Cid
from ..payloads.store import PayloadStore
from . import artefacts
from .artefacts import ArtefactRefused, CanarySet, TaskInputs


class VersionUnfit(SdkError):
    """The version may not be used: it was refused, quarantined or rolled back, or was never promoted."""

    kind = Kind.REFUSED
    hint = "`fedledger model history` shows which version is promoted."


@dataclass(frozen=True)
class TaskView:
    """A task's terms, proved, with the digest that consent is given to, and its opened public inputs."""

    terms: Terms
    inputs: TaskInputs

    @property
    def name(self) -> str:
        """The task's name."""
        return self.terms.task

    @property
    def model(self) -> str:
        """The name of the model that the task trains."""
        return self.terms.model

    @cached_property
    def digest(self) -> Digest:
        """What joining consents to."""
        return tasks.terms_digest(self.terms)


async def open_task(client: LedgerClient, store: PayloadStore, name: str) -> TaskView:
    """Read a task's terms from proved state and open its inputs. Raises UnknownTask, ArtefactRefused."""
    terms = await client.ask(lambda view: tasks.require_terms(view, name))
    data = await fetch(store, "inputs", terms.inputs)
    return TaskView(terms, artefacts.decode_inputs(data))


async def load_canary(store: PayloadStore, task: TaskView) -> CanarySet:
    """The canary set of a task, of as many records as the terms say. Raises ArtefactRefused."""
    canary = artefacts.decode_canary(await fetch(store, "canary", task.terms.canary), task.inputs)
    records, agreed = len(canary.targets), task.terms.canary_records
    if records != agreed:  # Scores are numbers of them: the ledger would refuse, or mistake, every one.
        raise ArtefactRefused("canary", f"it has {records} records, the terms say {agreed}")
    return canary


async def load_version(
    client: LedgerClient, store: PayloadStore, task: TaskView, number: int, *, fit_only: bool = True
) -> tuple[Version, Int32]:
    """A version's record, proved, and its units. Raises VersionUnfit, ArtefactRefused, PayloadRefused."""
    known = await client.ask(lambda view: _known(view, task.model, number))
    if known is None:
        raise VersionUnfit(f"model {task.model} has no version {number}")
    if fit_only and known.status not in (VersionStatus.PROMOTED, VersionStatus.SUPERSEDED):
        raise VersionUnfit(f"version {number} of {task.model} is {known.status}")
    data = await fetch(store, f"version {number}", known.version.artefact)
    manifest = artefacts.model_manifest(task.name, known.version.round, known.parent, task.terms.update.scale_bits)
    return known.version, artefacts.decode_model(data, manifest, task.inputs.layout)


async def recipients(client: LedgerClient, task: TaskView, number: int) -> tuple[str, ...]:
    """The age recipients of a round's payloads, from proved state: see ``contracts.rounds.recipients_of``."""
    return await client.ask(
        lambda view: rounds.recipients_of(view, task.terms, rounds.require_round(view, task.name, number))
    )


async def fetch(store: PayloadStore, name: str, artefact: Artefact) -> bytes:
    """An artefact's bytes, which are those the terms name. Raises ArtefactRefused or a payload error."""
    data = await store.get(Cid.parse(artefact.cid), artefact.size)
    return artefacts.require_as_named(name, data, artefact)


@dataclass(frozen=True)
class _Known:
    """A version, where it stands now, and the digest of the one it was made from; version 0 was made from none."""

    version: Version
    status: VersionStatus
    parent: Digest | None


def _known(view: View, model: str, number: int) -> _Known | None:
    version = lineage.VERSIONS.get(view, (model, number))
    if version is None:
        return None
    parent = lineage.VERSIONS.at(view, (model, version.parent)) if number else None
    status = lineage.status_of(view, model, number)
    return _Known(version, status, None if parent is None else parent.artefact.digest)


__all__ = [
    "ArtefactRefused",
    "TaskView",
    "VersionUnfit",
    "fetch",
    "load_canary",
    "load_version",
    "open_task",
    "recipients",
]
