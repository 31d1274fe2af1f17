"""A task's terms as people read them before they consent: every number with its unit."""

from typing import TYPE_CHECKING, Final

from . import units

if TYPE_CHECKING:
    from contracts.terms import Artefact, Terms

_TIMINGS: Final = {
    "at-instant": "at an instant fixed before training, in the middle of the phase",
    "when-ready": "as soon as training has ended: how long it took is visible to everybody",
}


def described(terms: "Terms") -> dict[str, object]:
    """The terms, field by field."""
    from contracts.terms import needed_seats, needed_votes

    mechanism, estimator, voters = terms.mechanism, terms.estimator, len(terms.verifiers)
    return {
        "task": terms.task,
        "model": terms.model,
        "data class": terms.data_class,
        "mechanism": f"{mechanism.kind}, one record, {mechanism.relation} neighbours",
        "  clip": f"{mechanism.clip_milli / 1000:g} (L2 norm of one record's gradient)",
        "  noise multiplier": f"{mechanism.noise_milli / 1000:g}",
        "  sampling rate": f"{mechanism.sampling_num}/{mechanism.sampling_den}, secret, in every step",
        "  steps": f"{mechanism.steps} in a round",
        "  normaliser": f"{mechanism.normaliser} records, a public constant",
        "learning rate": f"{terms.learning_rate_micro / units.MILLION:g}",
        "estimator": f"{estimator.kind}, withstands {estimator.byzantine} of at least {estimator.minimum} updates; "
        f"so {needed_seats(terms)} must reserve, and commit",
        "update": f"norm at most {terms.update.max_norm_milli / 1000:g}, {units.size(terms.update.max_bytes)} at most",
        "rounds": f"at most {terms.max_rounds}",
        "phases": _phases(terms),
        "commitments leave": _TIMINGS[terms.phases.commits],
        "canary margin": f"{terms.canary_margin_ppm / 10_000:g} percentage points below the best promoted version "
        f"at most, of {terms.canary_records} records",
        "least reputation": f"{units.millionths(terms.minimum_reputation)} to reserve a seat, and to open a round",
        "aggregators": f"{', '.join(terms.aggregators)} (in order of succession)",
        "verifiers": f"{', '.join(terms.verifiers)}; {needed_votes(terms)} of {voters} must agree, "
        f"{terms.verifier_faults} may be Byzantine",
        "can read payloads": f"{', '.join(terms.recipients)}; kept for {units.duration(terms.retention_ms)} after a "
        "round",
        "inputs": _artefact(terms.inputs),
        "initial model": _artefact(terms.initial),
        "canary set": _artefact(terms.canary),
    }


def _phases(terms: "Terms") -> str:
    from contracts.terms import Phase, phase_ms

    timed = (Phase.RESERVING, Phase.COMMITTING, Phase.ATTESTING, Phase.SEALING, Phase.OPENING)
    lasting = ", ".join(f"{phase} {units.duration(phase_ms(terms, phase))}" for phase in timed)
    return f"at most {lasting}; at least {terms.phases.blocks} blocks each, unless all have acted"


def _artefact(artefact: "Artefact") -> str:
    return f"{artefact.cid} ({units.size(artefact.size)})"
