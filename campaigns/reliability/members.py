"""The consortium that keeps the network busy: the devnet's own members, their keys, and the task they train.

They are admitted, equipped and bound to a task through the public SDK, by the steps of the demo.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from client_sdk.secrets.keys import SigningKey
from contracts import tasks
from contracts.kernel import limits
from contracts.kernel.envelope import LedgerId
from contracts.promises import promised
from contracts.terms import CommitTiming, Estimator, EstimatorKind, Phases, Terms
from devnet.manifest import Manifest
from examples.demo import consortium as forming
from examples.demo.consortium import HUMAN, WORKER, Consortium

from ..harness import consortium

TASK, MODEL, DATASET, DATA_CLASS = "endless", "endless-model", "endless-records", "endless"
_PHASE_MS = 15_000  # Far longer than a step takes, so that only an outage makes anybody late.
_PHASE_BLOCKS = 2

# So much noise that thousands of rounds cost each hospital less than the ε it registers.
_MECHANISM = replace(consortium.MECHANISM, noise_milli=100_000)
_PROMISE = promised(9 * 10**9, forming.DELTA_INVERSE, None)


@dataclass(frozen=True)
class Keys:
    """What an organisation signs with."""

    human: SigningKey
    worker: SigningKey


@dataclass(frozen=True)
class Members:
    """Everybody's keys, and who plays which part in the task."""

    ledger: LedgerId
    keys: dict[str, Keys]
    hospitals: tuple[str, ...]
    """In the order in which they joined the task, which is that of the seats."""
    terms: Terms

    def __getitem__(self, organisation: str) -> Keys:
        return self.keys[organisation]

    @property
    def names(self) -> tuple[str, ...]:
        """Every member, in the manifest's order."""
        return tuple(self.keys)


async def form(home: Path, manifest: Manifest) -> Members:
    """Admit everybody, enrol workers, register datasets, open the task and join it."""
    names = [member.name for member in manifest.organisations]
    hospitals = forming.hospitals(manifest)
    datasets = dict.fromkeys(hospitals, DATASET)
    async with forming.sessions(home, names) as opened:
        club = Consortium(home, opened)
        await forming.admit(club, manifest, {})
        await forming.register(club, datasets, DATA_CLASS, dict.fromkeys(hospitals, _PROMISE))
        terms = _terms(forming.verifiers(manifest), len(hospitals))
        await forming.open_task(club, manifest, terms, datasets)
        roster = await opened[names[0]].client.ask(lambda view: tasks.ROSTERS.at(view, TASK))
        rings = {name: session.keyring for name, session in opened.items()}
        ledger = opened[names[0]].client.ledger
    keys = {name: Keys(ring.signing(HUMAN), ring.signing(WORKER)) for name, ring in rings.items() if ring is not None}
    return Members(ledger, keys, roster.organisations, terms)


def _terms(verifiers: tuple[str, ...], hospitals: int) -> Terms:
    return replace(
        consortium.TERMS,
        task=TASK,
        model=MODEL,
        data_class=DATA_CLASS,
        mechanism=_MECHANISM,
        estimator=Estimator(EstimatorKind.MEDIAN, byzantine=1, minimum=min(3, hospitals)),
        minimum_reputation=-1_000_000,
        aggregators=("lab-1", "lab-2"),
        verifiers=verifiers,
        verifier_faults=(len(verifiers) - 2) // 3,
        recipients=verifiers,
        phases=Phases(*[_PHASE_MS] * 5, blocks=_PHASE_BLOCKS, commits=CommitTiming.WHEN_READY),
        max_rounds=limits.ROUNDS_PER_TASK,
    )
