"""Model versions: proposals, votes by recomputation, and the canary gate."""

from dataclasses import replace
from typing import Any

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Chain
from campaigns.harness.consortium import (
    DATASET,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITAL_C,
    HOSPITAL_D,
    HOSPITALS,
    LAB,
    MODEL,
    PHASE_MS,
    STAND_BY,
    TASK,
    TERMS,
    candidate,
    current_version,
    deviation_of,
    digest,
    propose,
    round_of,
    status_of,
    version_of,
    vote,
)
from contracts import rounds
from contracts.governance import OpenTask, Propose
from contracts.kernel import limits
from contracts.lineage import MODELS, REGISTER, Judgement, Model, Register, VersionDecided, VersionStatus, passes_canary
from contracts.models import (
    AlreadyProposed,
    AlreadyVoted,
    JudgementsIncomplete,
    ModelExists,
    NoMoreVersions,
    NotAVerifier,
    NothingAccepted,
    NotYourTurn,
    OwnProposal,
    RoundNotClosed,
    Tainted,
    UnknownModel,
    UnknownVersion,
    VersionNotOpen,
    VersionProposed,
    VersionVoted,
    VoteVersion,
    quorum,
)
from contracts.reputation import CHANGES, Verdict
from contracts.rounds import OpenRound, RoundVoided
from tests.vectors_io import VectorWriter

ELSEWHERE = digest("what the verifiers arrive at")


def refused_proposal() -> Chain:
    """The lab proposed something that is not the aggregate, and two verifiers said so."""
    chain = consortium.proposed()
    for hospital in HOSPITALS[:2]:
        chain.submit(hospital, vote(chain, 1, digest=ELSEWHERE))
    return chain


# --- proposing ---


@pytest.mark.vectors
def test_the_first_aggregator_proposes_the_aggregate_of_a_closed_round(vector: VectorWriter) -> None:
    """A proposal holds all that follows from the committed payloads; votes are about its digest."""
    chain = consortium.closed()
    events = vector.accepted(chain, LAB, propose(chain))
    assert events == (VersionProposed(MODEL, 1, 1, "lab", version_of(chain, 1).digest),)
    assert (status_of(chain, 1), current_version(chain)) == (VersionStatus.PROPOSED, 0)


@pytest.mark.vectors
def test_a_proposal_before_its_turn(vector: VectorWriter) -> None:
    """The stand-by waits for its window: aggregators propose in the order of the terms."""
    chain = consortium.closed()
    assert vector.refused(chain, NotYourTurn, STAND_BY, propose(chain)) == {"place": 1, "turn": 0}


def test_only_an_aggregator_of_the_terms_proposes() -> None:
    chain = consortium.closed()
    chain.given(rounds.TERMS.put(TASK, replace(TERMS, aggregators=("lab",))))
    chain.refused(rounds.NotYourTask, STAND_BY, propose(chain))


def test_the_stand_by_s_turn_begins_exactly_when_the_first_window_ends() -> None:
    chain = consortium.closed()
    chain.advance(round_of(chain).closed_at + PHASE_MS - chain.next_block().time_ms - 1)
    chain.refused(NotYourTurn, STAND_BY, propose(chain))
    chain.submit(STAND_BY, propose(chain))


def test_nobody_proposes_once_every_turn_has_passed() -> None:
    chain = consortium.closed()
    chain.advance(2 * PHASE_MS)
    chain.refused(NotYourTurn, LAB, propose(chain))
    chain.refused(NotYourTurn, STAND_BY, propose(chain))


def test_the_first_aggregator_may_still_propose_in_the_stand_by_s_window() -> None:
    chain = consortium.closed()
    chain.advance(PHASE_MS)
    chain.submit(LAB, propose(chain))


@pytest.mark.vectors
def test_a_second_proposal_for_one_round(vector: VectorWriter) -> None:
    """One proposal each: an aggregator cannot try until something passes."""
    chain = consortium.proposed()
    second = propose(chain, artefact=consortium.artefact("something else"))
    assert vector.refused(chain, AlreadyProposed, LAB, second) == {"round": 1}


@pytest.mark.vectors
def test_a_proposal_for_a_round_that_is_not_closed(vector: VectorWriter) -> None:
    """As long as a seat may move, there is no aggregate."""
    chain = consortium.published()
    facts = vector.refused(chain, RoundNotClosed, LAB, propose(chain))
    assert facts == {"round": 1, "status": "open", "base": 0}


def test_a_proposal_on_another_parent_than_the_round_s_base_is_refused() -> None:
    chain = consortium.closed()
    chain.refused(RoundNotClosed, LAB, propose(chain, parent=1))


@pytest.mark.vectors
def test_a_contribution_that_is_left_out_of_the_judgements(vector: VectorWriter) -> None:
    """Every published contribution is judged, so nobody's update can be dropped in silence."""
    chain = consortium.closed()
    message = propose(chain, judgements=candidate(chain).judgements[:3])
    assert vector.refused(chain, JudgementsIncomplete, LAB, message) == {"judged": 3, "published": 4}


@pytest.mark.parametrize("change", ["another order", "one twice", "a stranger", "a verdict about votes"])
def test_judgements_are_exactly_those_of_the_seats(change: str) -> None:
    chain = consortium.closed()
    first, second, third, fourth = candidate(chain).judgements
    judgements = {
        "another order": (second, first, third, fourth),
        "one twice": (first, first, third, fourth),
        "a stranger": (first, second, third, replace(fourth, organisation="stranger")),
        "a verdict about votes": (first, second, third, replace(fourth, verdict=Verdict.CONFIRMED)),
    }[change]
    chain.refused(JudgementsIncomplete, LAB, propose(chain, judgements=judgements))


@pytest.mark.vectors
def test_a_withdrawal_of_a_contribution_whose_key_was_good(vector: VectorWriter) -> None:
    """The ledger itself knows which keys were good when they signed; a judgement cannot claim otherwise."""
    chain = consortium.closed()
    message = propose(chain, verdicts={HOSPITAL_D: Verdict.WITHDRAWN})
    facts = vector.refused(chain, Tainted, LAB, message)
    assert facts == {"organisation": "hospital-d", "dataset": DATASET}


@pytest.mark.vectors
def test_a_proposal_that_accepts_nobody(vector: VectorWriter) -> None:
    """With nothing accepted there is nothing to aggregate."""
    chain = consortium.closed()
    message = propose(chain, verdicts=dict.fromkeys(HOSPITALS, Verdict.FILTERED))
    assert vector.refused(chain, NothingAccepted, LAB, message) == {"round": 1}


@pytest.mark.vectors
def test_one_version_more_than_a_model_may_have(vector: VectorWriter) -> None:
    """The number of versions is bounded like everything else."""
    chain = consortium.closed()
    full = replace(MODELS.at(chain.view, MODEL), latest=limits.VERSIONS_PER_MODEL)
    last = replace(version_of(chain, 0), status=VersionStatus.REFUSED)
    chain.given(MODELS.put(MODEL, full), consortium.lineage.VERSIONS.put((MODEL, full.latest), last))
    assert vector.refused(chain, NoMoreVersions, LAB, propose(chain)) == {"limit": limits.VERSIONS_PER_MODEL}


def test_the_number_of_models_is_bounded_too() -> None:
    chain = consortium.equipped()
    chain.given(REGISTER.set(Register(tuple(f"model-{i}" for i in range(limits.MODELS)))))
    assert chain.refused(NoMoreVersions, HOSPITAL_A, Propose(OpenTask(TERMS))) == {"limit": limits.MODELS}


# --- voting ---


@pytest.mark.vectors
def test_the_vote_that_completes_the_quorum_promotes_the_version(vector: VectorWriter) -> None:
    """Four of the five verifiers that are not the proposer arrive at its digest: the version is promoted."""
    chain = consortium.proposed()
    consortium.vote_all(chain, 1, voters=HOSPITALS[:3])
    assert status_of(chain, 1) is VersionStatus.PROPOSED
    events = vector.accepted(chain, HOSPITAL_D, vote(chain, 1))
    assert VersionDecided(MODEL, 1, VersionStatus.PROMOTED, "confirmed by recomputation") in events
    assert (current_version(chain), status_of(chain, 0)) == (1, VersionStatus.SUPERSEDED)
    assert round_of(chain).status is rounds.RoundStatus.DECIDED


@pytest.mark.vectors
def test_a_vote_is_announced_with_the_digest_the_verifier_arrived_at(vector: VectorWriter) -> None:
    """A single vote settles nothing."""
    chain = consortium.proposed()
    events = vector.accepted(chain, HOSPITAL_A, vote(chain, 1))
    assert events == (VersionVoted(MODEL, 1, "hospital-a", version_of(chain, 1).digest),)


@pytest.mark.vectors
def test_a_proposal_that_the_votes_contradict_is_refused_and_its_proposer_pays(vector: VectorWriter) -> None:
    """Once the quorum is out of reach the proposal is refused, whatever the others would vote."""
    chain = consortium.proposed()
    chain.submit(HOSPITAL_A, vote(chain, 1, digest=ELSEWHERE))
    assert status_of(chain, 1) is VersionStatus.PROPOSED
    events = vector.accepted(chain, HOSPITAL_B, vote(chain, 1, digest=ELSEWHERE))
    assert VersionDecided(MODEL, 1, VersionStatus.REFUSED, "not the aggregate") in events
    assert deviation_of(chain, LAB) == CHANGES[Verdict.FALSE_PROPOSAL]
    assert (current_version(chain), round_of(chain).status) == (0, rounds.RoundStatus.CLOSED)


def test_after_a_refused_proposal_the_stand_by_proposes_in_its_turn_and_is_promoted() -> None:
    chain = refused_proposal()
    chain.refused(NotYourTurn, STAND_BY, propose(chain))
    chain.refused(AlreadyProposed, LAB, propose(chain))
    chain.advance(PHASE_MS)
    chain.submit(STAND_BY, propose(chain))
    consortium.vote_all(chain, 2)
    assert (status_of(chain, 1), status_of(chain, 2)) == (VersionStatus.REFUSED, VersionStatus.PROMOTED)
    assert current_version(chain) == 2
    assert deviation_of(chain, STAND_BY) == 0
    assert deviation_of(chain, LAB) < 0


def test_when_nobody_proposes_the_truth_the_round_is_void_and_the_next_one_opens() -> None:
    chain = refused_proposal()
    chain.advance(2 * PHASE_MS)
    events = chain.submit(LAB, OpenRound(TASK))
    assert events[0] == RoundVoided(TASK, 1, "nobody proposed in time")


def test_of_two_open_proposals_the_first_to_reach_the_quorum_decides_the_round() -> None:
    chain = consortium.proposed()
    chain.advance(PHASE_MS)
    chain.submit(STAND_BY, propose(chain))
    chain.submit(HOSPITAL_A, vote(chain, 1))
    consortium.vote_all(chain, 2)
    chain.refused(VersionNotOpen, HOSPITAL_B, vote(chain, 1))
    assert (status_of(chain, 1), current_version(chain)) == (VersionStatus.PROPOSED, 2)


@pytest.mark.vectors
def test_an_organisation_that_votes_on_its_own_proposal(vector: VectorWriter) -> None:
    """The lab verifies the stand-by's proposals, never its own."""
    chain = consortium.proposed()
    assert vector.refused(chain, OwnProposal, LAB, vote(chain, 1)) == {"version": 1}


@pytest.mark.vectors
def test_a_vote_by_an_organisation_that_the_terms_do_not_name(vector: VectorWriter) -> None:
    """The role alone is not enough: the terms name who verifies this task."""
    chain = consortium.equipped()
    names = tuple(name for name in TERMS.verifiers if name != "hospital-d")
    consortium.pass_proposal(chain, OpenTask(replace(TERMS, verifiers=names)))
    message = VoteVersion(MODEL, 0, ELSEWHERE)
    facts = vector.refused(chain, NotAVerifier, HOSPITAL_D, message)
    assert facts == {"task": TASK, "organisation": "hospital-d"}


@pytest.mark.vectors
def test_a_second_vote_on_one_version(vector: VectorWriter) -> None:
    """The first vote stands: nobody votes both ways, or twice."""
    chain = consortium.proposed()
    chain.submit(HOSPITAL_A, vote(chain, 1))
    message = vote(chain, 1, digest=ELSEWHERE)
    assert vector.refused(chain, AlreadyVoted, HOSPITAL_A, message) == {"organisation": "hospital-a"}


@pytest.mark.vectors
def test_a_vote_on_a_version_that_is_decided(vector: VectorWriter) -> None:
    """A decided version takes no more votes."""
    chain = consortium.promoted()
    facts = vector.refused(chain, VersionNotOpen, STAND_BY, vote(chain, 1))
    assert facts == {"version": 1, "status": "promoted"}


def test_the_initial_version_takes_no_vote() -> None:
    """Version 0 belongs to no round; it is promoted by the vote on the terms."""
    chain = consortium.round_open()
    facts = chain.refused(VersionNotOpen, HOSPITAL_A, VoteVersion(MODEL, 0, ELSEWHERE))
    assert facts == {"version": 0, "status": "promoted"}


@pytest.mark.vectors
def test_a_model_nobody_trains(vector: VectorWriter) -> None:
    """A model exists from the vote that opened its task."""
    message = VoteVersion("another", 1, ELSEWHERE)
    assert vector.refused(consortium.proposed(), UnknownModel, HOSPITAL_A, message) == {"model": "another"}


@pytest.mark.vectors
def test_a_version_nobody_proposed(vector: VectorWriter) -> None:
    """Versions are numbered in the order of their proposals."""
    message = VoteVersion(MODEL, 2, ELSEWHERE)
    facts = vector.refused(consortium.proposed(), UnknownVersion, HOSPITAL_A, message)
    assert facts == {"model": MODEL, "version": 2}


@pytest.mark.vectors
def test_a_second_task_for_one_model(vector: VectorWriter) -> None:
    """A model has one task, so one line of versions."""
    terms = replace(TERMS, task="another-task")
    assert vector.refused(consortium.task_open(), ModelExists, HOSPITAL_A, Propose(OpenTask(terms))) == {"model": MODEL}


@pytest.mark.parametrize(("voters", "needed"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (9, 7)])
def test_a_quorum_is_more_than_two_thirds(voters: int, needed: int) -> None:
    assert quorum(voters) == needed
    assert 3 * needed > 2 * voters >= 3 * (needed - 1)


# --- the canary gate ---


@pytest.mark.vectors
def test_a_confirmed_version_below_the_canary_margin_is_not_promoted(vector: VectorWriter) -> None:
    """The aggregate was honest and still worse than its parent: it is recorded, judged, and not promoted."""
    chain = consortium.second_closed()
    chain.submit(LAB, propose(chain, 2, canary_correct=87))
    consortium.vote_all(chain, 2, voters=HOSPITALS[:3])
    events = vector.accepted(chain, HOSPITAL_D, vote(chain, 2))
    assert VersionDecided(MODEL, 2, VersionStatus.FAILED_CANARY, "below its parent on the canary") in events
    assert (current_version(chain), status_of(chain, 1)) == (1, VersionStatus.PROMOTED)
    assert deviation_of(chain, LAB) == 0


def test_a_version_exactly_at_the_canary_margin_is_promoted() -> None:
    chain = consortium.promoted()
    assert status_of(chain, consortium.run_round(chain, canary_correct=88)) is VersionStatus.PROMOTED


@pytest.mark.parametrize(
    ("score", "parent", "passes"),
    [
        ((90, 100), (90, 100), True),
        ((88, 100), (90, 100), True),
        ((87, 100), (90, 100), False),
        ((879_999, 1_000_000), (9, 10), False),
        ((880_000, 1_000_000), (9, 10), True),
        ((0, 1), (0, 1), True),
        ((0, 10**18), (2, 100), True),
        ((2, 3), (2**61, 2**61), False),
    ],
)
def test_the_canary_margin_is_exact_between_different_totals(
    score: tuple[int, int], parent: tuple[int, int], passes: bool
) -> None:
    chain = consortium.promoted()
    version = version_of(chain, 1)
    one = replace(version, canary_correct=score[0], canary_total=score[1])
    other = replace(version, canary_correct=parent[0], canary_total=parent[1])
    assert passes_canary(one, other, TERMS.canary_margin_ppm) is passes


# --- judgements ---


def test_a_confirmed_round_settles_every_judgement_once() -> None:
    chain = consortium.closed()
    verdicts: dict[Any, Verdict] = {
        HOSPITAL_A: Verdict.ACCEPTED,
        HOSPITAL_B: Verdict.FILTERED,
        HOSPITAL_C: Verdict.REFUSED,
        HOSPITAL_D: Verdict.MISSING,
    }
    chain.submit(LAB, propose(chain, verdicts=verdicts))
    consortium.vote_all(chain, 1)
    confirmed = CHANGES[Verdict.CONFIRMED]
    assert [deviation_of(chain, hospital) for hospital in HOSPITALS] == [
        CHANGES[Verdict.ACCEPTED] + confirmed,
        confirmed,
        CHANGES[Verdict.REFUSED] + confirmed,
        CHANGES[Verdict.MISSING] + confirmed,
    ]


def test_a_verifier_that_disagrees_with_a_confirmed_version_earns_nothing() -> None:
    chain = consortium.proposed()
    chain.submit(STAND_BY, vote(chain, 1, digest=ELSEWHERE))
    consortium.vote_all(chain, 1)
    assert (status_of(chain, 1), deviation_of(chain, STAND_BY)) == (VersionStatus.PROMOTED, 0)


def test_the_digest_of_a_candidate_covers_all_of_it() -> None:
    chain = consortium.closed()
    plain = candidate(chain)
    reason = (*plain.judgements[:3], Judgement("hospital-d", DATASET, Verdict.ACCEPTED, "a reason"))
    others = [
        replace(plain, artefact=consortium.artefact("other")),
        replace(plain, canary_correct=89),
        replace(plain, judgements=reason),
    ]
    digests = [consortium.lineage.candidate_digest(one) for one in (plain, *others)]
    assert len({*digests}) == 4


def test_a_model_begins_with_the_terms_initial_version() -> None:
    chain = consortium.task_open()
    assert MODELS.at(chain.view, MODEL) == Model(TASK, current=0, latest=0)
    initial = version_of(chain, 0)
    assert (initial.artefact, initial.status, initial.round) == (TERMS.initial, VersionStatus.PROMOTED, 0)
