"""The checks outside the ledger's rules, by the same measure: take one away, and the claim that holds it falls."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client_sdk.training.journal import Journal
from client_sdk.training.participant import Participant
from contracts import identity
from learning import estimators, robust
from services.rounds import recompute
from services.verifier.verifier import Verifier
from tests.client_sdk.training import test_participant as participant_claims
from tests.services import test_aggregator_and_verifier as program_claims
from tests.services.rounds import test_gather as gather_claims
from tests.services.rounds import test_recompute as recompute_claims

Removal = Callable[[pytest.MonkeyPatch], None]


def falls(patch: pytest.MonkeyPatch, remove: Removal, claim: Callable[[], None]) -> None:
    """Without the check, the claim fails by an assertion or by nothing being refused."""
    with patch.context() as gone:
        remove(gone)
        with pytest.raises((AssertionError, pytest.fail.Exception)):
            claim()


@pytest.mark.parametrize(
    ("remove", "claim"),
    [
        (
            lambda patch: patch.setattr(robust, "outliers", lambda *_: ()),
            recompute_claims.test_a_boosted_sign_flip_is_filtered_and_hardly_moves_the_median,
        ),
        (
            lambda patch: patch.setattr(
                robust, "_estimate", lambda _rule, rows, weights, _f: estimators.weighted_mean(rows, weights)
            ),
            recompute_claims.test_a_boosted_sign_flip_is_filtered_and_hardly_moves_the_median,
        ),
        (
            lambda patch: patch.setattr(robust, "krum_selection", lambda scores, _count: tuple(range(len(scores)))),
            recompute_claims.test_a_boosted_sign_flip_never_enters_a_krum_aggregate,
        ),
        (
            lambda patch: patch.setattr(recompute, "max_norm_units", lambda _terms: 2**60),
            lambda: recompute_claims.test_a_payload_that_breaks_a_rule_is_refused_with_the_reason_and_the_round_goes_on(
                recompute_claims.encoded(recompute_claims.TOO_LONG), "over_norm"
            ),
        ),
    ],
    ids=["outliers are flagged", "the median is no mean", "krum selects", "the norm is bounded"],
)
def test_without_the_estimator_s_checks_an_attack_passes(
    monkeypatch: pytest.MonkeyPatch, remove: Removal, claim: Callable[[], None]
) -> None:
    falls(monkeypatch, remove, claim)


def scene_in(folder: Path, patch: pytest.MonkeyPatch) -> gather_claims.Scene:
    world = gather_claims.local_task.opened(folder)
    contents = gather_claims.local_task.prepared().data.values()
    store = gather_claims.MemoryPayloads({gather_claims.payload_cid(content): content for content in contents})
    return gather_claims.Scene(world, store, world.open_round())


def test_a_stolen_key_s_contribution_would_count_if_nobody_looked_at_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scene_in(tmp_path, monkeypatch)
    falls(
        monkeypatch,
        lambda patch: patch.setattr(identity, "is_good", lambda *_: True),
        lambda: gather_claims.test_what_a_stolen_key_signed_is_withdrawn_without_being_fetched(scene),
    )


def test_a_lie_would_pass_if_verifiers_voted_with_the_proposer_s_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def trusting(self: Verifier, number: int, seen: Any) -> None:
        vote = program_claims.consortium.VoteVersion(self._task.model, number, seen.versions[number].digest)
        await self._client.submit(vote)

    world = program_claims.local_task.opened(tmp_path)
    falls(
        monkeypatch,
        lambda patch: patch.setattr(Verifier, "vote", trusting),
        lambda: program_claims.test_a_lie_is_contradicted_the_stand_by_proposes_the_truth_and_the_first_one_pays(world),
    )


@pytest.mark.parametrize("death", ["after journalling", "after the commitment is in a block"])
def test_a_restart_would_train_twice_without_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, death: str
) -> None:
    world = participant_claims.local_task.opened(tmp_path)
    world.open_round()
    claim = participant_claims.test_a_participant_killed_at_any_step_goes_on_without_training_or_spending_twice
    with monkeypatch.context() as gone:
        gone.setattr(Journal, "find", lambda *_: None)
        with pytest.raises((AssertionError, participant_claims.PayloadLost)):
            claim(world, monkeypatch, death)


def test_an_exhausted_hospital_would_train_if_it_did_not_reserve_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_reserving(_self: Participant, _number: int) -> None:
        return None

    world = participant_claims.local_task.opened(tmp_path)
    world.open_round()
    with monkeypatch.context() as gone:
        gone.setattr(Participant, "reserve", not_reserving)
        trainer = world.trainer(participant_claims.HOSPITAL_A)
        with pytest.raises(participant_claims.contributions.NotReserved):
            participant_claims.contribute(world, trainer)
    assert trainer.trained == 1, "the ledger refuses the commitment, but the training is done"
