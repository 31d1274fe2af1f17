"""A search for planted triggers that is told neither the trigger nor its target.

A backdoored model answers one class whenever a small patch is present. So for each class the probe looks
for the few input cells (pixels, or small tiles of them) that, set to fixed values, carry the most records
into that class. In a clean model even the best three cells move few records, and about as few for every
class; a planted trigger moves most of them, for one class only. The idea is Neural Cleanse's (Wang et al.,
S&P 2019), with a greedy beam search in place of gradients, so any model that gives scores can be probed.

Measured on scikit-learn's digits (64-32-10 network, six hospitals, Dirichlet(0.3 and 0.8) shards, noise
multiplier 1, three scattered or adjacent pixels), on runs that the thresholds were not chosen on: of 25
clean versions none suspected, highest rate 46 %; of 22 versions whose trigger worked on more than 80 % of
the held-out records all suspected, each with its true target, lowest rate 76 %; of 8 whose trigger worked
on 30 to 80 %, 7 suspected. Unfinished networks look backdoored, hence the demand for competence: below
80 % accuracy, 12 of 240 clean ones would have been suspected by an earlier, laxer rule.

A suspicion is evidence for people and for a vote, never a proof. The probe is blind to triggers larger than
its budget, to triggers that are not a fixed patch, and to those that work on chosen records only. It needs
at least three classes, and inputs where no honest cell decides alone: in a table of measurements three
extreme values rightly change the answer.

The result depends on the model, the records and the arguments only. Comparisons are made on rounded
numbers; what `canary` says of nearly equal logits holds here too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .canary import PPM, Score, predict
from .errors import LearningError
from .model import Scorer
from .tensors import Float64, Int64, Records

MIN_RECORDS = 20
"""A class is judged only with this many records of other classes to move."""

_BLOCK_ITEMS = 2**21  # input values per call of the model: 16 MiB
_SCORE_GRID = 2.0**20

Placement = tuple[tuple[int, float], ...]
"""A trigger while it is searched for: (cell, level) pairs, cells ascending."""


class NotProbable(LearningError):
    """Inputs, cells or classes that the probe cannot work on."""

    reason: ClassVar[str] = "not_probable"


@dataclass(frozen=True)
class ProbeBudget:
    """How far the search goes, and from where on it is suspicious.

    `cells`: the largest trigger. `beam`: partial triggers kept per step. `records`: records used per
    class, at most; `screening`: of these, how many judge a candidate first, and `shortlist` how many
    candidates are then judged by all. `suspicious_ppm`: the share of records, in parts per million, that
    a suspected trigger moves, which must also be at least `dominance` times that of any other class.
    `competence_ppm`: the accuracy below which a model is not probed, because an unfinished one is carried
    anywhere by a few cells.
    """

    cells: int = 3
    beam: int = 2
    records: int = 120
    screening: int = 16
    shortlist: int = 128
    suspicious_ppm: int = 700_000
    dominance: int = 2
    competence_ppm: int = 800_000


DEFAULT_BUDGET = ProbeBudget()


@dataclass(frozen=True)
class Trigger:
    """The best trigger found for one class: `moved` of `total` records of other classes end in `target`.

    `cells` are positions in the sequence of cells, ascending, `levels` the value that each is set to.
    """

    target: int
    cells: tuple[int, ...]
    levels: tuple[float, ...]
    moved: int
    total: int

    @property
    def ppm(self) -> int:
        """Share of the records moved, in parts per million, rounded down."""
        return self.moved * PPM // self.total


@dataclass(frozen=True)
class ProbeReport:
    """What was found.

    `accuracy`: the model's on the unchanged records. `triggers`: the best one of each class that could be
    judged, strongest first; none for a model below the budget's competence. `suspected`: if any.
    """

    accuracy: Score
    triggers: tuple[Trigger, ...]
    suspected: Trigger | None


def pixel_cells(height: int, width: int, side: int = 1) -> tuple[Int64, ...]:
    """Cells of `side` x `side` pixels that tile a one-channel image, as positions in the flattened record."""
    positions = np.arange(height * width).reshape(height, width)
    return tuple(
        positions[top : top + side, left : left + side].reshape(-1)
        for top in range(0, height, side)
        for left in range(0, width, side)
    )


def probe(
    model: Scorer,
    inputs: Records,
    targets: Records,
    cells: Sequence[Int64],
    levels: Sequence[float],
    budget: ProbeBudget = DEFAULT_BUDGET,
) -> ProbeReport:
    """Search for a trigger of every class over records of shape (n, ...), such as the canary's.

    `targets`: the records' true classes. `cells`: positions in a flattened record, per cell. `levels`: the
    values a cell may be set to, such as those of a black and a white pixel. Classes with fewer than
    MIN_RECORDS records to move are left out. Raises NotProbable, or canary.NotScorable.
    """
    _require_probable(inputs, targets, cells, levels)
    logits = model.logits(inputs)
    if logits.shape[1] < 3:
        raise NotProbable("a class has to stand out from two others", minimum=3, actual=logits.shape[1])
    answers = predict(logits)
    accuracy = Score(int(np.count_nonzero(answers == targets)), len(targets))
    if accuracy.ppm < budget.competence_ppm:
        return ProbeReport(accuracy, (), None)
    search = _Search(model, inputs, cells, levels, budget)
    triggers = []
    for target in range(logits.shape[1]):
        others = np.flatnonzero(answers != target)[: budget.records]
        if len(others) >= MIN_RECORDS:
            triggers.append(search.best(target, others))
    ranked = tuple(sorted(triggers, key=lambda trigger: (-trigger.ppm, trigger.target)))
    return ProbeReport(accuracy, ranked, _suspected(ranked, budget))


class _Search:
    """The greedy beam search for one class at a time."""

    def __init__(
        self,
        model: Scorer,
        inputs: Records,
        cells: Sequence[Int64],
        levels: Sequence[float],
        budget: ProbeBudget,
    ) -> None:
        self._model = model
        self._shape = inputs.shape[1:]
        self._flat = inputs.reshape(len(inputs), -1)
        self._cells = cells
        self._levels = levels
        self._budget = budget

    def best(self, target: int, others: Int64) -> Trigger:
        """The strongest trigger found for `target` on the records `others`."""
        records = self._flat[others]
        beam: list[Placement] = [()]
        for _ in range(self._budget.cells):
            candidates = self._extensions(beam)
            if len(candidates) > self._budget.shortlist:
                screening = records[: self._budget.screening]
                candidates = self._strongest(candidates, screening, target, self._budget.shortlist)
            beam = self._strongest(candidates, records, target, self._budget.beam)
        (stamped,) = self._stamp(beam[:1], records)
        moved = int(np.count_nonzero(predict(self._logits(stamped)) == target))
        cells, levels = zip(*beam[0], strict=True)
        return Trigger(target, cells, levels, moved, len(others))

    def _extensions(self, beam: Sequence[Placement]) -> list[Placement]:
        """Every placement with one more cell set, each once, in a fixed order."""
        return sorted(
            {
                tuple(sorted((*placement, (cell, level))))
                for placement in beam
                for cell in range(len(self._cells))
                for level in self._levels
                if cell not in dict(placement)
            }
        )

    def _strongest(self, candidates: Sequence[Placement], records: Records, target: int, keep: int) -> list[Placement]:
        """The `keep` candidates that make `target` most probable on average; ties in the given order."""
        scores: list[float] = []
        step = max(1, _BLOCK_ITEMS // records.size)
        for start in range(0, len(candidates), step):
            block = candidates[start : start + step]
            stamped = self._stamp(block, records).reshape(-1, records.shape[1])
            probability = _probability(self._logits(stamped), target).reshape(len(block), len(records))
            scores.extend(np.rint(probability.mean(axis=1) * _SCORE_GRID).tolist())
        ranked = sorted(range(len(candidates)), key=lambda i: -scores[i])  # stable
        return [candidates[i] for i in ranked[:keep]]

    def _stamp(self, placements: Sequence[Placement], records: Records) -> Records:
        """The records under each placement; shape (placements, records, features)."""
        stamped = np.repeat(records[np.newaxis], len(placements), axis=0)
        for copy, placement in zip(stamped, placements, strict=True):
            for cell, level in placement:
                copy[:, self._cells[cell]] = level
        return stamped

    def _logits(self, flat: Records) -> Float64:
        return self._model.logits(flat.reshape(len(flat), *self._shape))


def _probability(logits: Float64, target: int) -> Float64:
    """The softmax probability of one class, per row."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probability: Float64 = exponentials[:, target] / exponentials.sum(axis=1)
    return probability


def _suspected(ranked: Sequence[Trigger], budget: ProbeBudget) -> Trigger | None:
    if len(ranked) < 3:  # no other classes to stand out from
        return None
    first, second = ranked[:2]
    stands_out = first.ppm >= budget.suspicious_ppm and first.ppm >= budget.dominance * second.ppm
    return first if stands_out else None


def _require_probable(inputs: Records, targets: Records, cells: Sequence[Int64], levels: Sequence[float]) -> None:
    count = len(inputs)
    if count < MIN_RECORDS or len(targets) != count:
        raise NotProbable(
            f"{count} records and {len(targets)} targets, {MIN_RECORDS} needed", minimum=MIN_RECORDS, actual=count
        )
    features = inputs[0].size
    if not cells or any(len(cell) == 0 or cell.min() < 0 or cell.max() >= features for cell in cells):
        raise NotProbable(f"cells are non-empty sets of positions below {features}", limit=features)
    if not levels or len(set(levels)) != len(levels):
        raise NotProbable("levels are distinct values, at least one")
