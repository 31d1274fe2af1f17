"""Ballots: attest, agree on a set, seal, open, decide; who pays for what, and who does not."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import Chain, Member
from campaigns.harness.consortium import (
    AUDITOR,
    CANARY_RECORDS,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITAL_C,
    HOSPITAL_D,
    HOSPITALS,
    LAB,
    MEMBERS,
    STAND_BY,
    TASK,
    VERIFIERS,
    artefact,
    candidate,
    commit,
    current_version,
    digest,
    open_ballot,
    reserve,
    round_of,
    seal,
    seat_of,
    status_of,
    succeed,
    version_of,
)
from contracts import identity, reputation, rounds
from contracts.ballot_box import BOXES, CANDIDATES
from contracts.ballots import (
    AdvanceRound,
    AlreadyOpened,
    AlreadySealed,
    AnotherSet,
    NotACandidate,
    NotSealed,
    Opened,
    RoundDecided,
    Sealed,
    WrongOpening,
)
from contracts.identity import AddKey
from contracts.kernel import bitmap
from contracts.kernel.types import Purpose
from contracts.lineage import Finding, VersionDecided, VersionStatus, candidate_digest
from contracts.models import NotAVerifier
from contracts.reputation import CHANGES, Verdict
from contracts.rounds import Charged, RoundVoided, Void, WrongPhase
from contracts.terms import Phase
from tests.contracts.box_scenes import (
    CONFIRMED,
    CONTRADICTED,
    UNOPENED,
    changes_of,
    five_committed,
    tainted,
    verified_by_four,
)
from tests.vectors_io import VectorWriter

# --- sealing and opening: votes are work, not echoes ---


@pytest.mark.vectors
def test_a_verifier_seals_what_it_arrived_at(vector: VectorWriter) -> None:
    """The seal says nothing: what is in it cannot be echoed."""
    chain = consortium.agreed()
    assert vector.accepted(chain, LAB, seal(LAB, candidate(chain))) == (Sealed(TASK, 1, "lab"),)
    assert BOXES.at(chain.view, (TASK, 1)).ballots[0].opened is None


@pytest.mark.vectors
def test_the_last_seal_begins_the_opening(vector: VectorWriter) -> None:
    """Ballots open when none can be sealed any more."""
    chain = consortium.agreed()
    consortium.seal_all(chain, by=VERIFIERS[:5])
    events = vector.accepted(chain, STAND_BY, seal(STAND_BY, candidate(chain)))
    assert (events[1].phase, round_of(chain).phase) == (Phase.OPENING, Phase.OPENING)  # type: ignore[attr-defined]


def test_no_ballot_opens_while_another_can_be_sealed() -> None:
    chain = consortium.agreed()
    consortium.seal_all(chain, by=VERIFIERS[:5])
    chain.refused(WrongPhase, HOSPITAL_A, open_ballot(HOSPITAL_A, candidate(chain)))


def test_no_ballot_is_sealed_once_one_may_open() -> None:
    chain = consortium.agreed()
    consortium.seal_all(chain, by=VERIFIERS[:5])
    consortium.let_pass(chain)
    chain.refused(WrongPhase, STAND_BY, seal(STAND_BY, candidate(chain)))
    chain.submit(HOSPITAL_A, open_ballot(HOSPITAL_A, candidate(chain)))


@pytest.mark.vectors
def test_a_second_ballot(vector: VectorWriter) -> None:
    """The first stands."""
    chain = consortium.agreed()
    chain.submit(LAB, seal(LAB, candidate(chain)))
    assert vector.refused(chain, AlreadySealed, LAB, seal(LAB, candidate(chain))) == {"organisation": "lab"}


@pytest.mark.vectors
def test_a_ballot_over_another_set(vector: VectorWriter) -> None:
    """It was made before a report took a seat out, and would never open: it is made anew."""
    chain = consortium.agreed()
    wrong = replace(seal(LAB, candidate(chain)), agreed=b"\x07")
    assert vector.refused(chain, AnotherSet, LAB, wrong) == {"round": 1}


def test_only_a_verifier_of_the_terms_has_a_ballot() -> None:
    chain = verified_by_four()
    consortium.attest_all(chain, by=VERIFIERS[:5])
    chain.refused(NotAVerifier, STAND_BY, seal(STAND_BY, candidate(chain)))


@pytest.mark.vectors
def test_a_ballot_opens_to_what_was_sealed(vector: VectorWriter) -> None:
    """An opening names the candidate and the score; a single one settles nothing."""
    chain = consortium.sealed()
    named = candidate(chain)
    events = vector.accepted(chain, HOSPITAL_A, open_ballot(HOSPITAL_A, named))
    assert events == (Opened(TASK, 1, "hospital-a", candidate_digest(named), 90),)
    assert (current_version(chain), round_of(chain).phase) == (0, Phase.OPENING)


@pytest.mark.parametrize("other", ["salt", "candidate", "score", "nothing", "owner"])
def test_every_part_of_a_ballot_is_sealed(other: str) -> None:
    chain = consortium.sealed()
    named = candidate(chain)
    message = open_ballot(HOSPITAL_A, named)
    wrong = {
        "salt": replace(message, salt=digest("another salt")),
        "candidate": replace(message, candidate=replace(named, artefact=artefact("another model"))),
        "score": replace(message, correct=91),
        "nothing": replace(message, candidate=replace(message.candidate, artefact=None)),
        "owner": open_ballot(HOSPITAL_B, named),
    }[other]
    chain.refused(WrongOpening, HOSPITAL_A, wrong)


@pytest.mark.vectors
def test_an_opening_that_was_not_sealed(vector: VectorWriter) -> None:
    """A verifier cannot look at the others' openings first."""
    chain = consortium.sealed()
    wrong = replace(open_ballot(HOSPITAL_A, candidate(chain)), correct=91)
    assert vector.refused(chain, WrongOpening, HOSPITAL_A, wrong) == {"organisation": "hospital-a"}


@pytest.mark.vectors
def test_an_opening_by_who_abstained(vector: VectorWriter) -> None:
    """Who sealed nothing opens nothing."""
    chain = consortium.agreed()
    consortium.seal_all(chain, by=VERIFIERS[:5])
    consortium.pass_phase(chain)
    facts = vector.refused(chain, NotSealed, STAND_BY, open_ballot(STAND_BY, candidate(chain)))
    assert facts == {"organisation": "stand-by-lab"}


@pytest.mark.vectors
def test_a_ballot_opened_twice(vector: VectorWriter) -> None:
    """An open ballot is open."""
    chain = consortium.sealed()
    message = open_ballot(HOSPITAL_A, candidate(chain))
    chain.submit(HOSPITAL_A, message)
    assert vector.refused(chain, AlreadyOpened, HOSPITAL_A, message) == {"organisation": "hospital-a"}


# --- what the ledger checks itself ---

IMPOSSIBLE = {
    "candidate.parent": {"parent": 1},
    "candidate.agreed": {"agreed": b"\x07"},
    "candidate.judgements": {"judgements": bytes(3)},
    "candidate.round": {"round": 2},
}


@pytest.mark.parametrize("field", IMPOSSIBLE)
def test_a_candidate_is_about_this_round_its_base_and_exactly_the_agreed_set(field: str) -> None:
    chain = consortium.agreed()
    wrong = candidate(chain, **IMPOSSIBLE[field])
    chain.submit(HOSPITAL_A, replace(seal(HOSPITAL_A, wrong), agreed=round_of(chain).agreed))
    consortium.seal_all(chain, by=VERIFIERS[1:])
    assert chain.refused(NotACandidate, HOSPITAL_A, open_ballot(HOSPITAL_A, wrong))["field"] == field


@pytest.mark.vectors
def test_a_candidate_with_fewer_usable_updates_than_the_minimum(vector: VectorWriter) -> None:
    """Below its breakdown point an estimator protects nobody, whatever a quorum of verifiers says."""
    chain = consortium.agreed()
    wrong = candidate(chain, findings={HOSPITAL_A: Finding.MALFORMED, HOSPITAL_B: Finding.OVER_NORM})
    consortium.seal_all(chain, named=wrong)
    facts = vector.refused(chain, NotACandidate, HOSPITAL_A, open_ballot(HOSPITAL_A, wrong))
    assert facts == {"field": "candidate.judgements", "usable": 2, "minimum": 3}


def test_a_finding_is_one_of_those_that_are_defined() -> None:
    chain = consortium.agreed()
    wrong = candidate(chain, judgements=bytes([0, 0, 0, max(Finding) + 1]))
    consortium.seal_all(chain, named=wrong)
    chain.refused(NotACandidate, HOSPITAL_A, open_ballot(HOSPITAL_A, wrong))


@pytest.mark.parametrize("correct", [CANARY_RECORDS + 1, 2**60])
def test_a_score_is_at_most_the_number_of_canary_records(correct: int) -> None:
    chain = consortium.agreed()
    consortium.seal_all(chain, correct=correct)
    facts = chain.refused(NotACandidate, HOSPITAL_A, open_ballot(HOSPITAL_A, candidate(chain), correct=correct))
    assert facts == {"field": "correct", "limit": CANARY_RECORDS}


# --- deciding ---


@pytest.mark.vectors
def test_the_last_opening_decides_the_round_and_promotes_the_version(vector: VectorWriter) -> None:
    """Everybody agrees: the version is promoted in this block, without anybody's proposal."""
    chain = consortium.sealed()
    named = candidate(chain)
    consortium.open_all(chain, by=VERIFIERS[:5])
    events = vector.accepted(chain, STAND_BY, open_ballot(STAND_BY, named))
    assert RoundDecided(TASK, 1, candidate_digest(named), 6, 90) in events
    assert VersionDecided("classifier", 1, VersionStatus.PROMOTED, "confirmed by recomputation") in events
    assert (current_version(chain), round_of(chain).phase) == (1, Phase.DECIDED)
    assert version_of(chain, 1).proposer == "lab"


def test_a_decision_leaves_no_candidate_behind() -> None:
    chain = consortium.promoted()
    assert not list(chain.view.scan(CANDIDATES.prefix.encode()))


def test_all_but_f_suffice_and_who_says_otherwise_pays() -> None:
    chain = consortium.agreed()
    before, truth = chain.fork(), candidate(chain)
    lie = replace(truth, artefact=artefact("something else"))
    succeed(chain, *((member, seal(member, truth)) for member in VERIFIERS[:5]), (STAND_BY, seal(STAND_BY, lie)))
    succeed(chain, (STAND_BY, open_ballot(STAND_BY, lie)))
    consortium.open_all(chain, named=truth, by=VERIFIERS[:5])
    assert version_of(chain, 1).artefact == truth.artefact
    moved = changes_of(chain, before, (STAND_BY, LAB))
    assert moved == {"stand-by-lab": CONTRADICTED, "lab": CONFIRMED}


def test_a_lying_aggregator_fails_no_round_and_pays_like_anybody() -> None:
    chain = consortium.agreed()
    before, truth = chain.fork(), candidate(chain)
    lie = replace(truth, artefact=artefact("something else"))
    honest = tuple(member for member in VERIFIERS if member != LAB)
    succeed(chain, (LAB, seal(LAB, lie)), *((member, seal(member, truth)) for member in honest))
    succeed(chain, (LAB, open_ballot(LAB, lie)))
    consortium.open_all(chain, named=truth, by=honest)
    assert (current_version(chain), version_of(chain, 1).proposer) == (1, "stand-by-lab")
    assert changes_of(chain, before, (LAB,)) == {"lab": CONTRADICTED}


def split() -> tuple[Chain, Chain]:
    """Four verifiers say one thing, two another; before and after."""
    chain = consortium.agreed()
    before, truth = chain.fork(), candidate(chain)
    lie = replace(truth, artefact=artefact("something else"))
    said = {member: truth if place < 4 else lie for place, member in enumerate(VERIFIERS)}
    succeed(chain, *((member, seal(member, named)) for member, named in said.items()))
    succeed(chain, *((member, open_ballot(member, named)) for member, named in said.items()))
    return before, chain


def test_without_a_quorum_the_round_is_void_and_nobody_pays_for_what_it_said() -> None:
    before, chain = split()
    assert (round_of(chain).phase, current_version(chain)) == (Phase.VOID, 0)
    assert not changes_of(chain, before)


def test_an_unopened_ballot_pays_whether_there_is_a_quorum_or_not() -> None:
    chain = consortium.sealed()
    before = chain.fork()
    few = chain.fork()
    consortium.open_all(chain, by=VERIFIERS[:5])
    consortium.pass_phase(chain)
    assert current_version(chain) == 1
    assert changes_of(chain, before, (STAND_BY, LAB)) == {"stand-by-lab": UNOPENED, "lab": CONFIRMED}
    consortium.open_all(few, by=VERIFIERS[:4])
    consortium.pass_phase(few)
    assert round_of(few).phase is Phase.VOID
    assert changes_of(few, before) == {"lab": UNOPENED, "stand-by-lab": UNOPENED}


def test_who_abstains_pays_nothing() -> None:
    chain = consortium.agreed()
    before = chain.fork()
    consortium.seal_all(chain, by=VERIFIERS[:5])
    consortium.pass_phase(chain)
    consortium.open_all(chain, by=VERIFIERS[:5])
    assert current_version(chain) == 1
    assert not changes_of(chain, before, (STAND_BY,))


def test_too_few_ballots_for_a_quorum_are_never_opened() -> None:
    chain = consortium.agreed()
    before = chain.fork()
    consortium.seal_all(chain, by=VERIFIERS[:4])
    (voided,) = consortium.pass_phase(chain)
    assert voided == RoundVoided(TASK, 1, Void.TOO_FEW_BALLOTS, Charged.ALL)
    assert not changes_of(chain, before)


def test_that_nothing_follows_from_the_set_is_a_finding_too() -> None:
    chain = consortium.agreed()
    before = chain.fork()
    nothing = candidate(chain, artefact=None)
    events = consortium.vote_all(chain, named=nothing, correct=0)
    assert events[-1] == RoundVoided(TASK, 1, Void.NO_CANDIDATE, Charged.ALL)
    assert changes_of(chain, before, (LAB, STAND_BY)) == {"lab": CONFIRMED, "stand-by-lab": CONFIRMED}
    assert changes_of(chain, before, (HOSPITAL_A,)) == {"hospital-a": CONFIRMED}, "what it sent earned nothing"


def test_who_sent_what_is_no_use_pays_also_where_nothing_follows_from_the_set() -> None:
    """More than f of them: the estimator cannot do without them, and the round is void for all who paid."""
    chain = consortium.agreed()
    before = chain.fork()
    useless = {HOSPITAL_C: Finding.MALFORMED, HOSPITAL_D: Finding.OVER_NORM}
    events = consortium.vote_all(chain, named=candidate(chain, findings=useless, artefact=None), correct=0)
    assert events[-1] == RoundVoided(TASK, 1, Void.NO_CANDIDATE, Charged.ALL)
    assert changes_of(chain, before, (HOSPITAL_C, HOSPITAL_D)).keys() == {"hospital-c", "hospital-d"}


def test_what_follows_from_nothing_scores_nothing() -> None:
    chain = consortium.agreed()
    nothing = candidate(chain, artefact=None)
    succeed(chain, *((member, seal(member, nothing, correct=1)) for member in VERIFIERS))
    facts = chain.refused(NotACandidate, LAB, open_ballot(LAB, nothing, correct=1))
    assert facts == {"field": "correct", "limit": 0}


def test_the_gate_takes_the_median_of_the_scores_that_agree() -> None:
    """One verifier scores with another framework, one lies about its score: neither moves the median far."""
    chain = consortium.agreed()
    named = candidate(chain)
    scores = (90, 91, 89, 90, 0, 100)
    said = dict(zip(VERIFIERS, scores, strict=True))
    succeed(chain, *((member, seal(member, named, correct=score)) for member, score in said.items()))
    succeed(chain, *((member, open_ballot(member, named, correct=score)) for member, score in said.items()))
    assert version_of(chain, 1).canary_correct == 90


def test_a_confirmed_round_settles_every_finding_once() -> None:
    chain = five_committed()
    consortium.attest_all(chain)
    before = chain.fork()
    consortium.vote_all(chain, named=candidate(chain, findings={HOSPITAL_D: Finding.OVER_NORM}))
    moved = changes_of(chain, before, (HOSPITAL_A, HOSPITAL_D))
    accepted, refused = CHANGES[Verdict.ACCEPTED], CHANGES[Verdict.REFUSED]
    assert moved == {"hospital-a": accepted + CONFIRMED, "hospital-d": refused + CONFIRMED}


# --- a stolen key ---


def test_a_seat_whose_key_was_stolen_is_not_in_the_set() -> None:
    chain = five_committed()
    before = chain.fork()
    tainted(chain, HOSPITAL_D)
    consortium.attest_all(chain, by=(HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, LAB, STAND_BY))
    consortium.pass_phase(chain)
    assert bitmap.numbers(round_of(chain).agreed) == (0, 1, 2, 4)
    assert not changes_of(chain, before)


def test_a_seat_of_the_set_whose_key_was_stolen_sends_the_round_back_to_sealing_without_it() -> None:
    chain = five_committed()
    consortium.attest_all(chain)
    consortium.seal_all(chain)
    tainted(chain, HOSPITAL_D)
    honest = (HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, LAB, STAND_BY)
    consortium.open_all(chain, by=honest)
    consortium.pass_phase(chain)
    assert (round_of(chain).phase, bitmap.numbers(round_of(chain).agreed)) == (Phase.SEALING, (0, 1, 2, 4))
    consortium.seal_all(chain, by=honest)
    consortium.pass_phase(chain)
    consortium.open_all(chain, by=honest)
    assert (current_version(chain), version_of(chain, 1).agreed) == (1, b"\x17")


@pytest.mark.parametrize("first", ["an old ballot", "no standing ballot"])
def test_the_first_who_seals_anew_may_be_the_one_that_finds_opening_over(first: str) -> None:
    """Nobody has to write down first that the round went back: the act itself finds it, and an empty box."""
    chain = five_committed()
    consortium.attest_all(chain)
    consortium.seal_all(chain)
    tainted(chain, HOSPITAL_D)
    honest = (HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, LAB, STAND_BY)
    consortium.open_all(chain, by=honest)
    good = HOSPITAL_D.key(Purpose.WORKLOAD, 5)
    chain.submit(HOSPITAL_D, AddKey(good.enrolment()))
    consortium.let_pass(chain)
    who, signer = (HOSPITAL_A, HOSPITAL_A) if first == "an old ballot" else (HOSPITAL_D, good)
    named = candidate(chain, agreed=bitmap.of((0, 1, 2, 4)))
    (result,) = chain.block((signer, seal(who, named)))
    assert result.code == 0, result.log
    assert (round_of(chain).phase, round_of(chain).agreed) == (Phase.SEALING, named.agreed)
    assert [ballot.organisation for ballot in BOXES.at(chain.view, (TASK, 1)).ballots] == [who.name]


def test_a_report_pays_no_debt() -> None:
    """Hospital D's ballot stays unopened: that its key was stolen does not undo what it owes."""
    chain = consortium.sealed()
    before = chain.fork()
    tainted(chain, HOSPITAL_D)
    consortium.open_all(chain, by=(HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, LAB, STAND_BY))
    consortium.pass_phase(chain)
    assert changes_of(chain, before, (HOSPITAL_D,)) == {"hospital-d": UNOPENED}


def test_a_ballot_of_a_stolen_key_counts_for_nothing() -> None:
    chain = verified_by_four()
    consortium.attest_all(chain, by=VERIFIERS[:5])
    named = candidate(chain)
    consortium.seal_all(chain, by=VERIFIERS[:5])
    for member in VERIFIERS[:4]:
        chain.submit(member, open_ballot(member, named))
    tainted(chain, LAB)
    consortium.pass_phase(chain)
    assert current_version(chain) == 1  # Four of five are all but f.
    short = verified_by_four()
    consortium.attest_all(short, by=VERIFIERS[:5])
    consortium.seal_all(short, by=VERIFIERS[:5])
    for member in VERIFIERS[:4]:
        short.submit(member, open_ballot(member, named))
    key = identity.KEYS.at(short.view, HOSPITAL_A.worker.public)
    sealed_at = BOXES.at(short.view, (TASK, 1)).ballots[0].place
    short.given(identity.KEYS.put(HOSPITAL_A.worker.public, replace(key, revoked_from=sealed_at)))
    consortium.pass_phase(short)
    assert (current_version(short), round_of(short).phase) == (0, Phase.VOID)


# --- nobody is needed ---


def test_a_round_reaches_its_decision_without_any_aggregator() -> None:
    """From its opening on, whoever acts or writes down that a phase is over takes the round further."""
    chain = consortium.round_open()
    others = HOSPITALS
    succeed(chain, *((hospital, reserve()) for hospital in HOSPITALS))
    succeed(chain, *((hospital, commit()) for hospital in HOSPITALS))
    consortium.attest_all(chain, by=others)
    consortium.pass_phase(chain)
    assert round_of(chain).phase is Phase.SEALING
    (voided,) = _seal_and_pass(chain, others)
    assert voided == RoundVoided(TASK, 1, Void.TOO_FEW_BALLOTS, Charged.ALL)  # Two of six are silent, f_v is 1.


def _seal_and_pass(chain: Chain, members: Iterable[Member]) -> tuple[object, ...]:
    consortium.seal_all(chain, by=members)
    return consortium.pass_phase(chain)


def test_every_member_may_advance_a_round_and_nobody_before_its_time() -> None:
    for member in MEMBERS:
        chain = consortium.committed()
        chain.refused(rounds.PhaseNotOver, member, AdvanceRound(TASK, 1))
        consortium.attest_all(chain, by=VERIFIERS[:5])
        consortium.let_pass(chain)
        chain.submit(member, AdvanceRound(TASK, 1))
    assert AUDITOR in MEMBERS


def test_a_verdict_never_takes_a_score_out_of_its_range() -> None:
    assert sum(abs(change) for change in CHANGES.values()) > -reputation.LOWEST
    assert set(CHANGES) == set(Verdict)


def test_a_weight_is_that_of_the_reservation() -> None:
    chain = consortium.promoted()
    consortium.run_round(chain)
    assert seat_of(chain, HOSPITAL_A, 2).weight > seat_of(chain, HOSPITAL_A, 1).weight
    assert status_of(chain, 2) is VersionStatus.PROMOTED
