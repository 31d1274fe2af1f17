"""A federation in one process: real records and real noise, aggregated as voters do it. No ledger.

Support for tests of whole runs; the ledger's own end-to-end run lives elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from learning import fixed
from learning.canary import Score, score
from learning.entropy import EntropySource, OsEntropy
from learning.local_training import local_update
from learning.mechanism import Mechanism
from learning.model import PerRecordModel
from learning.robust import Aggregate, Estimator, aggregate
from learning.tensors import Int32, Int64, Records, flatten, unflatten


@dataclass
class Federation:
    """Organisations with shards of the same records, and one of them hostile when `boost` is set.

    The hostile one (the first) sends its honest update times -boost.
    """

    model: PerRecordModel
    inputs: Records
    targets: Records
    shards: Sequence[Int64]
    mechanism: Mechanism
    estimator: Estimator
    boost: float = 0.0
    entropy: EntropySource = field(default_factory=OsEntropy)

    def __post_init__(self) -> None:
        self.version: Int32 = fixed.to_fixed(flatten(self.model.parameters(), self.model.layout))

    def round(self) -> Aggregate:
        """Train, aggregate with f = 1 and move to the next version."""
        updates = [self._contribution(i) for i in range(len(self.shards))]
        ids = [f"hospital-{i}" for i in range(len(self.shards))]
        f = 0 if self.estimator is Estimator.MEAN else 1
        outcome = aggregate(self.estimator, ids, np.array(updates), [1024] * len(ids), f)
        self.version = fixed.add(self.version, outcome.vector)
        self._load_version()
        return outcome

    def score(self, records: Int64) -> Score:
        """Score the current version on these records."""
        return score(self.model, self.inputs[records], self.targets[records])

    def _contribution(self, organisation: int) -> Int32:
        self._load_version()
        mine = self.shards[organisation]
        update = local_update(self.model, self.inputs[mine], self.targets[mine], self.mechanism, self.entropy)
        if organisation == 0 and self.boost:
            return fixed.to_fixed(-self.boost * fixed.to_float(update.units))
        return update.units

    def _load_version(self) -> None:
        self.model.load(unflatten(fixed.to_float(self.version), self.model.layout))
