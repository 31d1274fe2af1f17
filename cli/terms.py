"""A task's terms as people read them before they consent: every number with its unit."""

from typing import TYPE_CHECKING

from . import units

if TYPE_CHECKING:
    from contracts.terms import Artefact, Terms


def described(terms: "Terms") -> dict[str, object]:
    """The terms, field by field."""
    mechanism, estimator, deadlines = terms.mechanism, terms.estimator, terms.deadlines
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
        "estimator": f"{estimator.kind}, withstands {estimator.byzantine} of at least {estimator.minimum} updates",
        "update": f"norm at most {terms.update.max_norm_milli / 1000:g}, {units.size(terms.update.max_bytes)} at most",
        "rounds": f"at most {terms.max_rounds}",
        "deadlines": (
            f"reserve {units.duration(deadlines.reserve_ms)}, commit {units.duration(deadlines.commit_ms)}, "
            f"publish {units.duration(deadlines.publish_ms)}, propose {units.duration(deadlines.propose_ms)}"
        ),
        "canary margin": f"{terms.canary_margin_ppm / 10_000:g} percentage points below the parent at most",
        "least reputation": units.millionths(terms.minimum_reputation),
        "aggregators": f"{', '.join(terms.aggregators)} (in order of succession)",
        "verifiers": terms.verifiers,
        "can read payloads": terms.recipients,
        "inputs": _artefact(terms.inputs),
        "initial model": _artefact(terms.initial),
        "canary set": _artefact(terms.canary),
    }


def _artefact(artefact: "Artefact") -> str:
    return f"{artefact.cid} ({units.size(artefact.size)})"
