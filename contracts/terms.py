"""The terms of a task: everything a data owner agrees to before anything is reserved.

Terms name the mechanism and its public constants, never an ε: the price follows from them (``price_of``), so nobody
can declare a smaller one. Numbers are integers in stated units; artefacts are named by CID and digest.

Part of the contract ``rounds``, which stores terms and opens tasks.
"""

from enum import StrEnum
from typing import Annotated, assert_never

from .kernel import InvariantBroken, Record, Rejected, limits, renyi, require
from .kernel.renyi import Curve
from .kernel.types import Cid, DataClass, Digest, DurationMs, Items, ModelId, OrgId, Positive, Ppm, Range, TaskId
from .reputation import HIGHEST, LOWEST


class MechanismKind(StrEnum):
    """The noise mechanisms the ledger can price."""

    GAUSSIAN = "gaussian"  # Every record in every step.
    POISSON_GAUSSIAN = "poisson-gaussian"  # Each record with the sampling rate, secretly, in every step.


class Relation(StrEnum):
    """What "neighbouring datasets" means. A mechanism under another relation cannot draw on the same account."""

    ADD_REMOVE = "add-remove"


class EstimatorKind(StrEnum):
    """Robust estimators with a breakdown point (paper section 3.3)."""

    MEAN = "mean"
    MEDIAN = "median"
    TRIMMED_MEAN = "trimmed-mean"
    MULTI_KRUM = "multi-krum"


class Mechanism(Record):
    """Record-level DP-SGD (Abadi et al. 2016): what a participant runs in one round, and what the ledger charges."""

    kind: MechanismKind
    relation: Relation
    clip_milli: Annotated[int, Range(1, 10**9)]  # Bound C on one record's gradient (L2), in thousandths.
    noise_milli: Annotated[int, Range(300, 100_000)]  # Noise multiplier σ, in thousandths.
    sampling_num: Annotated[int, Range(1, 10**6)]  # Sampling rate q = num / den.
    sampling_den: Annotated[int, Range(1, 10**6)]
    steps: Annotated[int, Range(1, 100_000)]  # Noisy steps in one round.
    normaliser: Annotated[int, Range(1, 10**9)]  # Public constant L that divides every noised sum, in records.


class Estimator(Record):
    """How updates become an aggregate: the rule, the f it withstands, and how few updates void a round."""

    kind: EstimatorKind
    byzantine: Annotated[int, Range(0, limits.SEATS_PER_ROUND)]
    minimum: Annotated[int, Range(1, limits.SEATS_PER_ROUND)]


class Artefact(Record):
    """Public bytes by content: where they are, what they hash to, how many there are."""

    cid: Cid
    digest: Digest
    size: Annotated[int, Range(1, limits.PAYLOAD_BYTES)]


class Phase(StrEnum):
    """Where a round stands. The first five end when all have acted, or by time and blocks."""

    RESERVING = "reserving"
    COMMITTING = "committing"  # Training starts, and only now.
    ATTESTING = "attesting"  # Every price is spent, payloads are served.
    SEALING = "sealing"  # The set of contributions is fixed.
    OPENING = "opening"
    DECIDED = "decided"
    VOID = "void"


class CommitTiming(StrEnum):
    """When a commitment leaves its house: what its timing says about the training."""

    AT_INSTANT = "at-instant"  # In the middle of the phase, whenever training ended: an instant fixed before it began.
    WHEN_READY = "when-ready"  # Faster; how long training took is then visible to everybody.


class Phases(Record):
    """How long each phase of a round lasts at most, in block time, and in how many blocks at least."""

    reserve_ms: DurationMs
    commit_ms: DurationMs  # Training included.
    attest_ms: DurationMs  # Serving and fetching included.
    seal_ms: DurationMs  # Recomputing included.
    open_ms: DurationMs
    blocks: Annotated[int, Range(1, limits.PHASE_BLOCKS)]  # So that neither a halt nor one proposer ends a phase.
    commits: CommitTiming


class Update(Record):
    """The form of an update: fixed point, bounded norm, bounded size."""

    scale_bits: Annotated[int, Range(1, 24)]  # One unit is 2^-scale_bits.
    max_norm_milli: Annotated[int, Range(1, 10**12)]  # L2 norm of an update, in thousandths.
    max_bytes: Annotated[int, Range(1, limits.PAYLOAD_BYTES)]  # As published, encrypted.


class Terms(Record):
    """What everybody who joins a task has agreed to."""

    task: TaskId
    model: ModelId
    data_class: DataClass
    mechanism: Mechanism
    learning_rate_micro: Positive  # Step size, in millionths.
    estimator: Estimator
    update: Update
    inputs: Artefact  # Layout of the model, input transforms from the public reference set, classes.
    initial: Artefact  # Version 0.
    canary: Artefact  # The held-out records that gate promotion.
    canary_records: Positive  # How many there are: a score is a number of them.
    canary_margin_ppm: Ppm  # How far a version may fall below the best promoted one on the canary split.
    minimum_reputation: Annotated[int, Range(LOWEST, HIGHEST)]  # To reserve a seat, and to open a round.
    aggregators: Annotated[tuple[OrgId, ...], Items(1, limits.AGGREGATORS_PER_TASK)]  # In order of succession.
    verifiers: Annotated[tuple[OrgId, ...], Items(3, limits.VERIFIERS_PER_TASK)]  # Who attest and vote.
    verifier_faults: Annotated[int, Range(0, limits.VERIFIERS_PER_TASK)]  # f_v: how many of them may be Byzantine.
    recipients: Annotated[tuple[OrgId, ...], Items(1, limits.RECIPIENTS_PER_TASK)]  # Who can decrypt payloads.
    retention_ms: DurationMs  # How long recipients keep payloads after a round was decided.
    phases: Phases
    max_rounds: Annotated[int, Range(1, limits.ROUNDS_PER_TASK)]


class BreakdownPoint(
    Rejected, code=601, hint="Raise the minimum: 2f+1 for median and trimmed mean, 2f+3 for multi-Krum."
):
    """The estimator cannot withstand f Byzantine updates among so few contributions."""


class TermsInconsistent(Rejected, code=602, hint="Change the named field and propose the terms again."):
    """Two fields of the terms contradict each other."""


def require_consistent(terms: Terms) -> None:
    """Check what the types cannot say. Rejects: BreakdownPoint, TermsInconsistent."""
    estimator, mechanism = terms.estimator, terms.mechanism
    least = breakdown_minimum(estimator)
    require(
        estimator.minimum >= least,
        lambda: BreakdownPoint(byzantine=estimator.byzantine, minimum=estimator.minimum, least=least),
    )
    _require(mechanism.sampling_num <= mechanism.sampling_den, "mechanism.sampling_num", "the rate is at most 1")
    exhaustive = mechanism.sampling_num == mechanism.sampling_den
    _require(exhaustive or mechanism.kind is MechanismKind.POISSON_GAUSSIAN, "mechanism.kind", "samples no records")
    for field in ("aggregators", "verifiers", "recipients"):
        names: tuple[OrgId, ...] = getattr(terms, field)
        _require(all(name not in names[:i] for i, name in enumerate(names)), field, "names an organisation twice")
    _require(all(name in terms.recipients for name in terms.verifiers), "recipients", "leaves out a verifier")
    _require(all(name in terms.verifiers for name in terms.aggregators), "aggregators", "names one that does not vote")
    needed = needed_seats(terms)
    _require(needed <= limits.SEATS_PER_ROUND, "estimator.minimum", "minimum + byzantine is more than the seats")
    others, faults = len(terms.verifiers) - 1, terms.verifier_faults
    _require(others >= max(2, 3 * faults + 1), "verifier_faults", "needs 3f+1 voters besides any aggregator")


def breakdown_minimum(estimator: Estimator) -> int:
    """The fewest contributions among which f Byzantine ones cannot break the estimator.

    2f+1 for the coordinate median and the trimmed mean (Yin et al. 2018), 2f+3 for the Krum family (Blanchard et al.
    2017); a mean withstands none.
    """
    f = estimator.byzantine
    match estimator.kind:
        case EstimatorKind.MULTI_KRUM:
            return 2 * f + 3
        case EstimatorKind.MEAN:
            return 1 if f == 0 else limits.SEATS_PER_ROUND + 1
        case EstimatorKind.MEDIAN | EstimatorKind.TRIMMED_MEAN:
            return 2 * f + 1
        case _:
            assert_never(estimator.kind)


def needed_seats(terms: Terms) -> int:
    """How many must reserve, and commit, so that f Byzantine ones leave the estimator its minimum."""
    return terms.estimator.minimum + terms.estimator.byzantine


def needed_votes(terms: Terms) -> int:
    """How many verifiers must agree: all but the f_v that may be Byzantine."""
    return len(terms.verifiers) - terms.verifier_faults


def phase_ms(terms: Terms, phase: Phase) -> DurationMs:
    """The longest a phase lasts, in block time. Raises InvariantBroken for a phase that is no phase of time."""
    durations = {
        Phase.RESERVING: terms.phases.reserve_ms,
        Phase.COMMITTING: terms.phases.commit_ms,
        Phase.ATTESTING: terms.phases.attest_ms,
        Phase.SEALING: terms.phases.seal_ms,
        Phase.OPENING: terms.phases.open_ms,
    }
    if phase not in durations:
        raise InvariantBroken(f"the phase {phase} does not end by time")
    return durations[phase]


def price_of(mechanism: Mechanism) -> Curve:
    """The Rényi curve of one round under a mechanism: an upper bound, from integers alone."""
    match mechanism.kind:
        case MechanismKind.GAUSSIAN:
            return renyi.gaussian_curve(mechanism.noise_milli, mechanism.steps)
        case MechanismKind.POISSON_GAUSSIAN:
            return renyi.subsampled_gaussian_curve(
                mechanism.sampling_num, mechanism.sampling_den, mechanism.noise_milli, mechanism.steps
            )
        case _:
            assert_never(mechanism.kind)


def _require(condition: bool, field: str, why: str) -> None:
    require(condition, lambda: TermsInconsistent(field=field, why=why))
