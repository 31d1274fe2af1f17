"""The checks outside the ledger's rules, by the same measure: take one away, and the claim that holds it falls."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from client_sdk.payloads import confidential
from client_sdk.training import artefacts, participant, seat
from client_sdk.training.journal import Entry, Journal
from client_sdk.training.outcomes import PayloadLost, RoundCameToNothing
from client_sdk.training.participant import Participant
from client_sdk.training.seat import Seen, Step
from contracts import contributions
from contracts.kernel import InvariantBroken
from contracts.kernel.types import Seats
from contracts.rounds import Round
from contracts.terms import Phase
from learning import estimators, payload, robust
from services.rounds import gather
from services.rounds.gather import Gatherer
from services.verifier import verifier
from services.verifier.verifier import Verifier
from tests import local_task
from tests.client_sdk.training import test_participant as participant_claims
from tests.client_sdk.training import test_participant_restarts as restart_claims
from tests.local_task import World
from tests.services import test_attacks as attack_claims
from tests.services import test_programs as program_claims
from tests.services.rounds import test_gather as gather_claims
from tests.services.rounds import test_recompute as recompute_claims

Removal = Callable[[pytest.MonkeyPatch], None]


def falls(patch: pytest.MonkeyPatch, remove: Removal, claim: Callable[[], None]) -> None:
    """Without the check, the claim fails by an assertion or by nothing being refused."""
    with patch.context() as gone:
        remove(gone)
        with pytest.raises((AssertionError, pytest.fail.Exception, InvariantBroken)):  # No version where one was due.
            claim()


def any_owner(patch: pytest.MonkeyPatch) -> None:
    """Receivers take whatever name a payload has."""
    original = payload.Manifest.header

    def unnamed(self: payload.Manifest, layout: Any) -> Any:
        named = self if self.owner is None else payload.replace(self, owner=payload.Owner("anybody", "anything"))
        return original(named, layout)

    patch.setattr(payload.Manifest, "header", unnamed)


@pytest.mark.parametrize(
    ("remove", "claim"),
    [
        (
            lambda patch: patch.setattr(robust, "outliers", lambda *_: ()),
            recompute_claims.test_a_boosted_sign_flip_is_an_outlier_and_hardly_moves_the_median,
        ),
        (
            lambda patch: patch.setattr(
                robust, "_estimate", lambda _rule, rows, weights, _f: estimators.weighted_mean(rows, weights)
            ),
            recompute_claims.test_a_boosted_sign_flip_is_an_outlier_and_hardly_moves_the_median,
        ),
        (
            lambda patch: patch.setattr(robust, "krum_selection", lambda scores, _count: tuple(range(len(scores)))),
            recompute_claims.test_a_boosted_sign_flip_never_enters_a_krum_aggregate,
        ),
        (
            lambda patch: patch.setattr(artefacts, "max_norm_units", lambda _terms: 2**60),
            lambda: recompute_claims.test_a_payload_that_breaks_a_rule_gets_its_finding_and_the_round_goes_on(
                "over the norm"
            ),
        ),
        (any_owner, recompute_claims.test_a_copied_update_is_worth_nothing_to_who_copied_it),
    ],
    ids=["outliers are flagged", "the median is no mean", "krum selects", "the norm is bounded", "updates are named"],
)
def test_without_the_estimator_s_checks_an_attack_passes(
    monkeypatch: pytest.MonkeyPatch, remove: Removal, claim: Callable[[], None]
) -> None:
    falls(monkeypatch, remove, claim)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return local_task.opened(tmp_path)


@pytest.fixture
def open_world(world: World) -> World:
    world.open_round()
    return world


@pytest.fixture
def scene(open_world: World) -> gather_claims.Scene:
    for hospital in gather_claims.HOSPITALS:
        open_world.chain.submit(hospital, gather_claims.consortium.reserve())
    contents = local_task.prepared().data.values()
    store = gather_claims.MemoryPayloads({gather_claims.payload_cid(content): content for content in contents})
    return gather_claims.Scene(open_world, store)


# What a verifier proves -------------------------------------------------------------------------


async def believing(self: Gatherer, number: int, *, at_least: int = 0) -> Round:
    """A round by its node's word."""
    found = await self.client.peek(gather.rounds.ROUNDS, (self.task.name, number))
    assert found is not None, at_least
    return found


def test_a_node_could_make_verifiers_open_early_if_the_end_of_sealing_were_not_proved(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    falls(
        monkeypatch,
        lambda patch: patch.setattr(Gatherer, "round", believing),
        lambda: attack_claims.test_a_node_that_says_ballots_are_opened_does_not_make_a_verifier_open_its_own(world),
    )


def test_a_node_could_make_verifiers_attest_early_if_the_time_were_not_proved(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def always(_self: Gatherer, _number: int) -> bool:
        return True

    with monkeypatch.context() as inner:
        falls(
            monkeypatch,
            lambda patch: patch.setattr(Gatherer, "is_time_to_attest", always),
            lambda: attack_claims.test_a_node_that_tells_the_wrong_time_makes_no_verifier_attest_before_it_is_due(
                world, inner
            ),
        )


def test_bytes_that_nobody_committed_to_would_be_held_if_their_digest_were_not_checked(
    scene: gather_claims.Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Anything(bytes):
        def __ne__(self, _other: object) -> bool:
            return False

    falls(
        monkeypatch,
        lambda patch: patch.setattr(gather, "crypto", SimpleNamespace(sha256=lambda _data: Anything())),
        lambda: gather_claims.test_what_does_not_match_the_digest_is_not_held_and_everything_else_is(
            scene, "another plaintext than committed"
        ),
    )


def test_a_restarted_verifier_would_pay_if_it_had_no_journal_of_ballots(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forgetful(_self: Any, _task: str, _number: int, _agreed: Seats) -> None:
        return None

    def claim() -> None:
        program_claims.test_verifiers_killed_after_every_block_open_what_they_sealed_and_nobody_pays(world)

    falls(monkeypatch, lambda patch: patch.setattr(verifier.BallotJournal, "find", forgetful), claim)


def test_what_two_can_read_would_be_lost_to_the_others_if_nobody_shared(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def idle(_self: Verifier, _seen: Any) -> None:
        return None

    with monkeypatch.context() as inner:
        falls(
            monkeypatch,
            lambda patch: patch.setattr(Verifier, "share", idle),
            lambda: attack_claims.test_a_participant_that_encrypts_to_two_of_five_is_read_by_all_and_nobody_is_false(
                world, inner
            ),
        )


def test_what_two_were_served_would_be_lost_to_the_others_if_nobody_kept_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def idle(_self: Gatherer, _ciphertext: bytes) -> None:
        return None

    falls(
        monkeypatch,
        lambda patch: patch.setattr(Gatherer, "_keep", idle),
        lambda: attack_claims.test_a_participant_that_serves_two_of_five_is_served_to_all_by_those_two(world),
    )


# What a participant proves and keeps ------------------------------------------------------------


@pytest.mark.parametrize("death", ["after journalling", "after the commitment is in a block"])
def test_a_restart_would_train_twice_without_the_journal(
    open_world: World, monkeypatch: pytest.MonkeyPatch, death: str
) -> None:
    claim = restart_claims.test_a_participant_killed_at_any_step_goes_on_without_training_or_spending_twice
    memories: dict[Journal, dict[tuple[str, int, str], Entry]] = {}

    def keep(self: Journal, entry: Entry) -> None:
        memories.setdefault(self, {})[entry.task, entry.round, entry.dataset] = entry

    def find(self: Journal, *key: Any) -> Entry | None:
        return memories.get(self, {}).get(key)

    with monkeypatch.context() as gone:  # What is kept dies with its process.
        gone.setattr(Journal, "keep", keep)
        gone.setattr(Journal, "find", find)
        with pytest.raises((AssertionError, PayloadLost)):
            claim(open_world, monkeypatch, death)


def test_an_interrupted_training_would_be_repeated_if_its_start_were_not_journalled(
    open_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = Journal.keep

    def forgetful(self: Journal, entry: Entry) -> None:
        if entry.is_trained:
            keep(self, entry)

    with monkeypatch.context() as gone:
        gone.setattr(Journal, "keep", forgetful)
        with pytest.raises(RoundCameToNothing):  # It was trained and committed to: only the others did not come.
            restart_claims.test_a_training_that_was_interrupted_is_not_started_again(open_world, monkeypatch)


def test_payloads_would_be_served_before_the_barrier_if_the_phase_were_a_node_s_word(
    open_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def believed(self: Participant, number: int, *, at_least: int = 0) -> Seen:
        async with self.client.at(at_least) as view:
            seen = await view.run(lambda state: self._seen(state, number, view.now))
        told = await self.client.peek(gather.rounds.ROUNDS, (self.task.name, number))
        return local_task.replace(seen, current=told) if seen.has_committed else seen

    def claim() -> None:
        participant_claims.test_a_node_that_only_claims_the_barrier_gets_no_payload_served(open_world, monkeypatch)

    falls(monkeypatch, lambda patch: patch.setattr(Participant, "look", believed), claim)


def test_training_would_start_too_early_if_the_phase_were_not_waited_for(
    open_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = seat.next_step

    def hasty(seen: Seen, entry: Entry | None) -> Step:
        step = original(seen, entry)
        return Step.TRAIN if step is Step.WAIT and seen.current.phase is Phase.RESERVING and entry is None else step

    falls(
        monkeypatch,
        lambda patch: patch.setattr(participant, "next_step", hasty),
        lambda: participant_claims.test_nothing_is_trained_before_enough_have_reserved_and_nobody_can_withdraw(
            open_world
        ),
    )


def test_an_exhausted_hospital_would_train_if_it_did_not_reserve_first(
    open_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def not_seated(_self: Participant, _number: int) -> int:
        return 0

    trainer = open_world.trainer(participant_claims.HOSPITAL_A)
    with monkeypatch.context() as gone:
        gone.setattr(Participant, "_seated", not_seated)
        with pytest.raises(contributions.NotReserved):
            open_world.run(open_world.participant(participant_claims.HOSPITAL_A).contribute(1, trainer))
    assert trainer.trained == 0


def test_one_broken_recipient_would_block_everybody_if_its_panic_were_not_contained(
    open_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trusting(text: str) -> Any:
        return confidential.x25519.Recipient.from_str(text)

    with monkeypatch.context() as gone:
        gone.setattr(confidential, "_usable", trusting)
        with pytest.raises(BaseException, match="all-zero"):
            participant_claims.test_a_recipient_that_breaks_its_key_blocks_nobody_and_reads_nothing(open_world)
