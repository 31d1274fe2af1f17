"""What the demo is made of, without a network: the deal, the terms, the plan, and what people are told."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client_sdk.training import artefacts, terms_file
from client_sdk.training.trainer import Trainer
from contracts import privacy_budget
from contracts.kernel import bitmap
from contracts.lineage import Candidate, Finding
from contracts.privacy_budget import BudgetExceeded
from contracts.rounds import UnknownRound
from contracts.terms import price_of, require_consistent
from examples.demo import data
from examples.demo.data import DataMissing, Deal, deal
from examples.demo.hospital import boosted
from examples.demo.incidents import Plan, explained
from examples.demo.mischief import SERVED, lying, rushing
from examples.demo.pooled import pooled_accuracy
from examples.demo.run import _promise_of
from examples.demo.task import RECIPES, ROUNDS, Prepared, prepare
from examples.demo.view import Lines, RoundRow
from learning import fixed

HOSPITALS = 6
VERIFIERS = ("hospital-a", "hospital-b", "lab-1", "lab-2", "auditor")


@pytest.fixture(scope="module")
def dealt() -> Deal:
    return deal("breast-cancer", HOSPITALS, seed=1)


@pytest.fixture(scope="module")
def prepared(dealt: Deal) -> Prepared:
    return prepare("breast-cancer", dealt, initial_seed=1, verifiers=VERIFIERS)


def candidate(number: int) -> Candidate:
    """A candidate of a round, over two seats whose updates are good."""
    good = bytes([Finding.AGGREGATED] * 2)
    version = artefacts.describe(b"a version")
    return Candidate("breast-cancer", number, parent=0, agreed=bitmap.of((0, 1)), judgements=good, artefact=version)


def rows(*parts: tuple[np.ndarray, np.ndarray]) -> list[bytes]:
    """Records as bytes, to be told apart."""
    return [record.tobytes() for inputs, _ in parts for record in np.asarray(inputs)]


# The deal ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", ["breast-cancer", "digits"])
def test_no_record_is_dealt_twice_and_the_harness_s_parts_are_nobody_s(dataset: str) -> None:
    dealt = deal(dataset, HOSPITALS, seed=1)
    private, canary, test = set(rows(*dealt.shards)), set(rows(dealt.canary)), set(rows(dealt.test))
    assert not private & canary
    assert not private & test
    assert not canary & test
    assert len(rows(*dealt.shards)) - len(private) <= 2, "only a record that occurs twice may be dealt twice"


@pytest.mark.parametrize("dataset", ["breast-cancer", "digits"])
def test_every_hospital_has_enough_records_and_another_mix_of_classes(dataset: str) -> None:
    dealt = deal(dataset, HOSPITALS, seed=1)
    assert len(dealt.shards) == HOSPITALS
    assert min(len(targets) for _, targets in dealt.shards) >= data.SMALLEST_SHARD
    assert max(len(targets) for _, targets in dealt.shards) <= RECIPES[dataset].largest_shard
    shares = [np.bincount(targets, minlength=len(dealt.classes))[0] / len(targets) for _, targets in dealt.shards]
    assert max(shares) - min(shares) > 0.1


def test_a_seed_fixes_the_deal_and_nothing_but_the_deal() -> None:
    one, same, other = (deal("breast-cancer", HOSPITALS, seed) for seed in (1, 1, 2))
    assert rows(*one.shards) == rows(*same.shards)
    assert rows(*one.shards) != rows(*other.shards)
    assert sorted(rows(*one.shards)) == sorted(rows(*other.shards))
    assert rows(one.canary) == rows(other.canary)
    assert rows(one.test) == rows(other.test)
    assert one.transform == other.transform


def test_a_data_set_that_is_not_installed_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "FASHION_FOLDER", tmp_path)
    with pytest.raises(DataMissing, match="dataset-fashion-mnist"):
        deal("fashion-mnist", HOSPITALS, seed=1)


# The terms --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", ["breast-cancer", "digits"])
def test_the_terms_are_consistent_and_their_artefacts_fit_them(dataset: str, tmp_path: Path) -> None:
    made = prepare(dataset, deal(dataset, HOSPITALS, seed=1), initial_seed=1, verifiers=VERIFIERS)
    require_consistent(made.terms)
    terms_file._require_usable(tmp_path, made.terms, made.data)
    for name in terms_file.ARTEFACTS:
        assert getattr(made.terms, name) == artefacts.describe(made.data[name])


def test_an_honest_update_stays_under_the_norm_bound_and_a_boosted_one_may(dealt: Deal, prepared: Prepared) -> None:
    inputs = artefacts.decode_inputs(prepared.data["inputs"])
    base = np.zeros(inputs.layout.size, np.int32)
    bound = artefacts.max_norm_units(prepared.terms)
    for records in dealt.shards:
        update = Trainer(None, None, records, inputs).update(prepared.terms, base).units
        assert fixed.squared_norm(update) < bound**2


def test_a_run_fits_a_hospital_s_limit_and_the_exhausted_one_has_exactly_its_rounds(prepared: Prepared) -> None:
    price, rounds = price_of(prepared.terms.mechanism), Plan().exhausted[1]
    cap, spent = _promise_of(prepared.terms, rounds), privacy_budget.NOTHING
    for _ in range(rounds):
        spent = spent + price
    assert privacy_budget.fits(spent, cap)
    assert not privacy_budget.fits(spent + price, cap)
    assert Plan().last <= ROUNDS


def test_pooled_training_without_noise_is_the_upper_bound_that_it_is_called(dealt: Deal, prepared: Prepared) -> None:
    assert pooled_accuracy(dealt, prepared.terms, rounds=7) > 0.93


@pytest.mark.train
def test_the_demo_s_network_trains_under_its_terms() -> None:
    pytest.importorskip("torch")
    from examples.demo.network import build, record_loss

    dealt = deal("digits", HOSPITALS, seed=1)
    made = prepare("digits", dealt, initial_seed=1, verifiers=VERIFIERS)
    inputs = artefacts.decode_inputs(made.data["inputs"])
    base = artefacts.decode_model(
        made.data["initial"],
        artefacts.model_manifest("digits", 0, None, made.terms.update.scale_bits),
        inputs.layout,
    )
    terms = replace(made.terms, mechanism=replace(made.terms.mechanism, steps=2))
    update = Trainer(build(inputs.widths), record_loss, dealt.shards[0], inputs).update(terms, base).units
    assert update.any()


# What goes wrong, and what is told --------------------------------------------------------------


def test_a_boosted_update_is_turned_round_enlarged_and_cut_where_fixed_point_ends() -> None:
    update = np.array([0, 10, -10, fixed.LIMIT], np.int32)
    assert boosted(update).tolist() == [0, -40, 40, -fixed.LIMIT]
    assert boosted(update).dtype == np.int32


def test_the_plan_tells_each_hospital_its_own_part_only() -> None:
    plan = Plan()
    told = {f"hospital-{letter}": plan.flags(f"hospital-{letter}") for letter in "abcdef"}
    assert sum(bool(flags) for flags in told.values()) == 2
    assert told[plan.drops[0]] == ["--drop", str(plan.drops[1]), "--selective", str(plan.selective[1])]
    boosted_in = ",".join(map(str, plan.attacks[1]))
    assert told[plan.attacks[0]] == ["--boost", boosted_in, "--copy", str(plan.copies[1])]


def test_the_plan_tells_each_verifier_its_own_part_and_all_to_look_for_a_backdoor_only_where_one_is_planted() -> None:
    plan, planted = Plan(), Plan.for_dataset("digits")
    told = {name: plan.service_flags(name) for name in VERIFIERS}
    assert told.pop(plan.lies[0]) == ["--lie", str(plan.lies[1])]
    assert told.pop(plan.rushes[0]) == ["--rush", str(plan.rushes[1])]
    assert not any(told.values())
    assert all("--probe" in planted.service_flags(name) for name in VERIFIERS)


def test_a_selective_participant_encrypts_to_enough_verifiers_for_the_others_to_have_a_copy(prepared: Prepared) -> None:
    assert set(SERVED) < set(prepared.terms.verifiers)
    assert len(SERVED) == prepared.terms.verifier_faults + 1


def test_a_rushing_verifier_attests_and_says_nothing_in_its_round_and_is_honest_in_the_others() -> None:
    forgery, held = rushing(2), bitmap.of((0, 3))
    assert (forgery.attest(2, held), forgery.attest(3, held)) == (bitmap.NOTHING, held)
    assert forgery.vote(candidate(2), 40) == (replace(candidate(2), artefact=None), 0)
    assert forgery.vote(candidate(3), 40) == (candidate(3), 40)


def test_a_lying_verifier_calls_an_honest_update_malformed_in_its_round_and_is_honest_in_the_others() -> None:
    forgery = lying(2)
    told, score = forgery.vote(candidate(2), 40)
    assert (list(told.judgements), score) == ([Finding.MALFORMED, Finding.AGGREGATED], 40)
    assert replace(told, judgements=candidate(2).judgements) == candidate(2)
    assert forgery.vote(candidate(3), 40) == (candidate(3), 40)


def test_a_refusal_is_told_in_epsilon_and_not_in_billionths() -> None:
    told = explained(BudgetExceeded(account="dataset", spent=2_500_000_000, wanted=3_210_000_000, limit=3 * 10**9))
    assert told == ("BUDGET_EXCEEDED on the account of the dataset: spent ε = 2.50, with this round 3.21, limit 3.00")
    assert explained(UnknownRound(round=3)) == "UNKNOWN_ROUND(round=3)"


def test_lines_for_programs_are_one_object_each(capsys: pytest.CaptureFixture[str]) -> None:
    view = Lines(as_json=True)
    view.stage("training")
    view.tell("a key is refused", "good", code=102)
    view.row(RoundRow(1, outcome="committing"))
    view.row(RoundRow(1, contributed=["hospital-a"], outcome="promoted", canary=0.95, held_out=0.9))
    view.row(RoundRow(1, contributed=["hospital-a"], outcome="promoted", canary=0.95, held_out=0.9))
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["type"] for one in said] == ["stage", "event", "round"]
    assert (said[1]["code"], said[2]["held_out"]) == (102, 0.9)
