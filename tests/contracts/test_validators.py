"""Validators: who decides blocks is decided by the members, and CometBFT is told exactly what changed."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.harness import cometbft_blocks, consortium, founding
from campaigns.harness.chain import CHAIN_ID, Chain, Member, Validator, admission_of
from campaigns.harness.consortium import (
    AUDITOR,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITAL_C,
    HOSPITAL_D,
    LAB,
    MEMBERS,
    OPERATORS,
    ROLES,
    STAND_BY,
    as_member,
    pass_proposal,
)
from campaigns.harness.founding import NO_GENESIS, proved
from contracts import identity, possession, transition, validators
from contracts.governance import Action, AdmitValidator, ProposalDecided, ProposalStatus, Propose, RemoveValidator, Vote
from contracts.identity import UnknownOrganisation
from contracts.kernel import Context, Rejected, crypto, limits
from contracts.kernel.state import Overlay
from contracts.possession import NotInPossession, WeakKey
from contracts.registry import RULES
from contracts.validators import (
    SET,
    LastValidator,
    NewValidator,
    NotAnOperator,
    PowerConcentrated,
    SigningKey,
    TooManyValidators,
    UnknownValidator,
    ValidatorAdmitted,
    ValidatorExists,
    ValidatorRemoved,
    ValidatorSet,
)
from tests.vectors_io import VectorWriter

POWER = limits.VALIDATOR_POWER
ADMISSION = AdmitValidator(HOSPITAL_C.validator.admission(), replaces=None)


def operators(chain: Chain) -> dict[bytes, str]:
    return {one.public: one.operator for one in SET.at(chain.view).validators}


def one_vote_short(action: Action) -> Chain:
    """Four of seven members approve."""
    chain = consortium.founded()
    chain.submit(MEMBERS[0], Propose(action))
    for member in MEMBERS[1:4]:
        chain.submit(member, Vote(1, approve=True))
    return chain


def five() -> Chain:
    """Hospital C's validator is the fifth."""
    chain = consortium.founded()
    pass_proposal(chain, ADMISSION)
    return chain


def with_set(chain: Chain, *names: str) -> Chain:
    """The same chain with another set: a validator for each name, however often it is there."""
    numbered = [Validator(name, names[:place].count(name)) for place, name in enumerate(names)]
    entries = sorted((validators.Validator(one.public, one.operator, POWER, 0) for one in numbered), key=_key)
    chain.given(SET.set(ValidatorSet(tuple(entries))))
    return chain


def full() -> Chain:
    """As many validators as there may be, each of an organisation of its own."""
    return with_set(consortium.founded(), *(f"member-{number}" for number in range(limits.VALIDATORS)))


def _key(one: validators.Validator) -> bytes:
    return one.public


# --- the course of things ---


@pytest.mark.vectors
def test_the_vote_that_completes_the_quorum_admits_a_validator(vector: VectorWriter) -> None:
    """A quorum of the members admits a validator; it has the power of every other, in the order of the keys."""
    chain = one_vote_short(ADMISSION)
    events = vector.accepted(chain, MEMBERS[4], Vote(1, approve=True))
    public = HOSPITAL_C.validator.public
    assert events[1:] == (ValidatorAdmitted(public, "hospital-c"), ProposalDecided(1, ProposalStatus.PASSED, 0))
    seated = SET.at(chain.view).validators
    assert [one.public for one in seated] == sorted(member.validator.public for member in (*OPERATORS, HOSPITAL_C))
    (admitted,) = (one for one in seated if one.public == public)
    assert (admitted.operator, admitted.power, admitted.since) == ("hospital-c", POWER, chain.height)


@pytest.mark.vectors
def test_the_vote_that_completes_the_quorum_removes_a_validator(vector: VectorWriter) -> None:
    """Five operators may become four: each then holds a quarter."""
    chain = five()
    chain.submit(MEMBERS[0], Propose(RemoveValidator(LAB.validator.public)))
    for member in MEMBERS[1:4]:
        chain.submit(member, Vote(2, approve=True))
    events = vector.accepted(chain, MEMBERS[4], Vote(2, approve=True))
    assert events[1] == ValidatorRemoved(LAB.validator.public, "lab")
    assert sorted(operators(chain).values()) == ["hospital-a", "hospital-b", "hospital-c", "stand-by-lab"]


@pytest.mark.vectors
def test_a_validator_takes_the_place_of_another(vector: VectorWriter) -> None:
    """Four operators cannot become three, but a key can be exchanged: its successor comes as it leaves."""
    successor = Validator("lab", 1)
    chain = one_vote_short(AdmitValidator(successor.admission(), replaces=LAB.validator.public))
    events = vector.accepted(chain, MEMBERS[4], Vote(1, approve=True))
    assert events[1:3] == (ValidatorRemoved(LAB.validator.public, "lab"), ValidatorAdmitted(successor.public, "lab"))
    assert operators(chain).get(successor.public) == "lab"
    assert LAB.validator.public not in operators(chain)


def test_an_admission_that_became_impossible_changes_nothing() -> None:
    chain = consortium.founded()
    chain.submit(HOSPITAL_A, Propose(ADMISSION))
    pass_proposal(chain, ADMISSION)
    before = SET.at(chain.view)
    for member in MEMBERS[1:5]:
        events = chain.submit(member, Vote(1, approve=True))
    assert events[-1] == ProposalDecided(1, ProposalStatus.FAILED, ValidatorExists.code)
    assert SET.at(chain.view) == before


def test_a_removed_validator_may_come_back_with_its_key() -> None:
    chain = five()
    pass_proposal(chain, RemoveValidator(HOSPITAL_C.validator.public))
    events = pass_proposal(chain, ADMISSION)
    assert events[-1] == ProposalDecided(3, ProposalStatus.PASSED, 0)


# --- refusals ---


def refused(vector: VectorWriter, chain: Chain, refusal: type[Rejected], action: Action) -> dict[str, object]:
    return dict(vector.refused(chain, refusal, HOSPITAL_A, Propose(action)))


@pytest.mark.vectors
def test_a_removal_of_a_key_that_is_no_validator(vector: VectorWriter) -> None:
    """CometBFT would stop for it."""
    stranger = HOSPITAL_C.validator.public
    assert refused(vector, consortium.founded(), UnknownValidator, RemoveValidator(stranger)) == {"key": stranger}


def test_a_replacement_of_a_key_that_is_no_validator() -> None:
    action = replace(ADMISSION, replaces=HOSPITAL_D.validator.public)
    facts = consortium.founded().refused(UnknownValidator, HOSPITAL_A, Propose(action))
    assert facts == {"key": HOSPITAL_D.validator.public}


@pytest.mark.vectors
def test_a_validator_that_is_one_already(vector: VectorWriter) -> None:
    """A key stands in the set once; CometBFT would stop for a second entry."""
    facts = refused(vector, consortium.founded(), ValidatorExists, AdmitValidator(LAB.validator.admission(), None))
    assert facts == {"key": LAB.validator.public}


@pytest.mark.vectors
def test_an_operator_without_the_role(vector: VectorWriter) -> None:
    """The members decide who may run a validator when they admit an organisation."""
    facts = refused(vector, consortium.founded(), NotAnOperator, AdmitValidator(AUDITOR.validator.admission(), None))
    assert facts == {"organisation": "auditor"}


def test_an_operator_that_is_no_member() -> None:
    action = AdmitValidator(Validator("stranger").admission(), None)
    consortium.founded().refused(UnknownOrganisation, HOSPITAL_A, Propose(action))


@pytest.mark.vectors
def test_a_validator_with_a_key_that_signs_transactions(vector: VectorWriter) -> None:
    """What decides blocks stands on a machine in a network; what signs for an organisation does not."""
    signing = HOSPITAL_C.human
    action = AdmitValidator(admission_of(signing.seed, "hospital-c"), None)
    assert refused(vector, consortium.founded(), SigningKey, action) == {"key": signing.public}


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(HOSPITAL_C.validator.admission(operator="hospital-d"), id="for another operator"),
        pytest.param(HOSPITAL_C.validator.admission(bytes(32)), id="for another chain"),
        pytest.param(HOSPITAL_D.validator.admission(operator="hospital-c"), id="by another key"),
    ],
)
def test_a_validator_whose_operator_does_not_hold_its_key(changed: NewValidator) -> None:
    action = AdmitValidator(replace(ADMISSION.validator, possession=changed.possession), None)
    consortium.founded().refused(NotInPossession, HOSPITAL_A, Propose(action))


def test_a_proof_for_a_signing_key_proves_no_validator_and_the_other_way_round() -> None:
    key = HOSPITAL_C.validator
    for purpose in identity.Purpose:
        genesis = consortium.ledger().genesis
        statement = possession.possession_statement(genesis, "hospital-c", key.public, purpose)
        as_signing = crypto.sign(key.seed, statement)
        action = AdmitValidator(replace(ADMISSION.validator, possession=as_signing), None)
        consortium.founded().refused(NotInPossession, HOSPITAL_A, Propose(action))


def test_a_validator_with_a_key_of_small_order() -> None:
    action = AdmitValidator(NewValidator("hospital-c", bytes([1]) + bytes(31), bytes(64)), None)
    consortium.founded().refused(WeakKey, HOSPITAL_A, Propose(action))


@pytest.mark.vectors
def test_one_validator_more_than_the_set_may_hold(vector: VectorWriter) -> None:
    """The set is one record of bounded size."""
    facts = refused(vector, full(), TooManyValidators, ADMISSION)
    assert facts == {"limit": limits.VALIDATORS}


def test_a_full_set_still_lets_a_validator_be_replaced() -> None:
    chain = full()
    leaving = SET.at(chain.view).validators[7].public
    chain.submit(HOSPITAL_A, Propose(replace(ADMISSION, replaces=leaving)))


@pytest.mark.vectors
def test_the_last_validator_cannot_be_removed(vector: VectorWriter) -> None:
    """A chain without validators can decide nothing any more, and CometBFT stops for an empty set."""
    chain = with_set(consortium.founded(), "lab")
    facts = refused(vector, chain, LastValidator, RemoveValidator(LAB.validator.public))
    assert facts == {"key": LAB.validator.public}


@pytest.mark.vectors
def test_a_removal_that_leaves_each_of_three_operators_a_third(vector: VectorWriter) -> None:
    """With a third of the power an organisation alone stops the chain, so four operators never become three."""
    facts = refused(vector, consortium.founded(), PowerConcentrated, RemoveValidator(LAB.validator.public))
    assert facts == {"organisation": "stand-by-lab", "power": POWER, "total": 3 * POWER}


# --- nobody holds a third ---


@pytest.mark.parametrize(
    ("before", "operator", "passes"),
    [
        (("hospital-a", "hospital-b", "lab", "stand-by-lab"), "hospital-a", False),  # 2/5
        (("hospital-a", "hospital-b", "lab", "stand-by-lab", "hospital-d"), "hospital-a", False),  # 2/6, just a third
        (("hospital-a", "hospital-b", "lab", "stand-by-lab", "hospital-d", "hospital-c"), "hospital-a", True),  # 2/7
        (("hospital-a", "hospital-b", "lab"), "hospital-c", True),  # The fourth operator.
        (("hospital-a", "hospital-b", "lab"), "lab", False),  # Three hold a third each, and none may hold more.
        (("hospital-a", "hospital-b"), "lab", True),
        (("hospital-a", "hospital-b"), "hospital-b", False),
        (("hospital-a",), "hospital-a", True),  # One organisation with a network of its own.
        (("hospital-a", "hospital-a"), "hospital-b", False),
    ],
)
def test_an_admission_lets_nobody_come_to_a_third_of_the_power(
    before: tuple[str, ...], operator: str, passes: bool
) -> None:
    chain = with_set(consortium.founded(), *before)
    action = AdmitValidator(Validator(operator, before.count(operator)).admission(), None)
    if passes:
        chain.submit(HOSPITAL_A, Propose(action))
    else:
        facts = chain.refused(PowerConcentrated, HOSPITAL_A, Propose(action))
        assert facts["organisation"] == operator or len({*before}) < validators.FEWEST_OPERATORS


def test_fewer_than_four_operators_may_become_fewer_as_long_as_they_are_equal() -> None:
    chain = with_set(consortium.founded(), "hospital-a", "hospital-b", "lab")
    chain.submit(HOSPITAL_A, Propose(RemoveValidator(LAB.validator.public)))
    unequal = with_set(consortium.founded(), "hospital-a", "hospital-a", "hospital-b", "hospital-b")
    unequal.refused(PowerConcentrated, HOSPITAL_A, Propose(RemoveValidator(HOSPITAL_A.validator.public)))


NAMES = tuple(member.name for member in (HOSPITAL_A, HOSPITAL_B, HOSPITAL_C, HOSPITAL_D, LAB, STAND_BY))
KEYS = tuple(Validator(name, number) for name in NAMES for number in range(3))
STEP = st.tuples(st.sampled_from(KEYS), st.none() | st.sampled_from(KEYS), st.booleans())


@settings(max_examples=60)
@given(blocks=st.lists(st.lists(STEP, max_size=6), max_size=8))
def test_cometbft_has_the_ledgers_set_whatever_the_members_decide(
    blocks: list[list[tuple[Validator, Validator | None, bool]]],
) -> None:
    """Its rules are fatal; no order of admissions and removals in one block or in several breaks one."""
    state = dict(consortium.founded().view.entries)
    told = cometbft_blocks.ordered(cometbft_blocks.Validator(one.public, one.power) for one in SET.at(state).validators)
    for height, steps in enumerate(blocks, start=1):
        overlay = Overlay(state)
        ctx = Context(consortium.ledger().genesis, height, 0, 0, b"", "", ())
        for subject, other, removing in steps:
            try:
                if removing:
                    outcome = validators.remove(overlay, subject.public)
                else:
                    outcome = validators.admit(overlay, _admission(subject), other and other.public, ctx)
            except Rejected:
                continue
            overlay.apply(outcome.writes)
        named = validators.updates(state, overlay.writes)
        assert list(named) == sorted(named)
        told = cometbft_blocks.changed(told, (cometbft_blocks.Validator(*one).update() for one in named))
        state |= {path: body for path, body in overlay.writes.items() if body is not None}
        seated = SET.at(state).validators
        assert {one.public: one.power for one in seated} == {one.pub_key: one.power for one in told}
        held = validators.powers(seated)
        assert len(held) >= validators.FEWEST_OPERATORS
        assert 3 * max(held.values()) < sum(held.values())


_PROOFS = {one: one.admission() for one in KEYS}


def _admission(one: Validator) -> NewValidator:
    return _PROOFS[one]


# --- what CometBFT is told ---


def test_what_comes_and_goes_in_one_block_is_not_told() -> None:
    state = consortium.founded().view.entries
    overlay = Overlay(state)
    ctx = Context(consortium.ledger().genesis, 1, 0, 0, b"", "", ())
    overlay.apply(validators.admit(overlay, ADMISSION.validator, None, ctx).writes)
    assert validators.updates(state, overlay.writes) == ((HOSPITAL_C.validator.public, POWER),)
    overlay.apply(validators.remove(overlay, HOSPITAL_C.validator.public).writes)
    assert SET.path() in overlay.writes
    assert validators.updates(state, overlay.writes) == ()


def test_a_validator_that_leaves_and_returns_in_one_block_is_not_told() -> None:
    state = five().view.entries
    overlay = Overlay(state)
    overlay.apply(validators.remove(overlay, HOSPITAL_C.validator.public).writes)
    assert validators.updates(state, overlay.writes) == ((HOSPITAL_C.validator.public, 0),)
    ctx = Context(consortium.ledger().genesis, 99, 0, 0, b"", "", ())
    overlay.apply(validators.admit(overlay, ADMISSION.validator, None, ctx).writes)
    assert SET.at(overlay) != SET.at(state)  # It is there since another block.
    assert validators.updates(state, overlay.writes) == ()


def test_a_block_that_does_not_touch_the_set_tells_nothing() -> None:
    assert validators.updates(consortium.founded().view.entries, {b"identity/membership": b"\xa0"}) == ()


# --- genesis ---


def test_genesis_makes_the_validators_it_names() -> None:
    assert operators(consortium.founded()) == {member.validator.public: member.name for member in OPERATORS}


@pytest.mark.parametrize(
    ("entries", "refusal"),
    [
        pytest.param((AUDITOR.validator.admission(NO_GENESIS),), NotAnOperator, id="an operator without the role"),
        pytest.param((Validator("stranger").admission(NO_GENESIS),), UnknownOrganisation, id="no member"),
        pytest.param((LAB.validator.admission(NO_GENESIS),) * 2, ValidatorExists, id="a key twice"),
        pytest.param((admission_of(LAB.human.seed, "lab", NO_GENESIS),), SigningKey, id="a signing key"),
        pytest.param((LAB.validator.admission(bytes(31) + b"1"),), NotInPossession, id="a proof for another chain"),
        pytest.param(
            (
                LAB.validator.admission(NO_GENESIS),
                Validator("lab", 1).admission(NO_GENESIS),
                HOSPITAL_A.validator.admission(NO_GENESIS),
            ),
            PowerConcentrated,
            id="one with more than the other",
        ),
    ],
)
def test_a_genesis_with_validators_that_could_not_be_admitted_does_not_begin(
    entries: tuple[NewValidator, ...], refusal: type[Rejected]
) -> None:
    stated = proved(replace(consortium.founded_by(), validators=entries))
    with pytest.raises(refusal):
        transition.genesis(RULES.newest, stated.encode(), CHAIN_ID)


def test_a_genesis_may_give_an_organisation_two_of_seven_validators() -> None:
    founders = tuple(as_member(Member(name), ROLES[LAB]) for name in NAMES)
    entries = (Validator(NAMES[0], 1), *(Validator(name) for name in NAMES))
    stated = replace(founding.genesis(*founders), validators=tuple(one.admission(NO_GENESIS) for one in entries))
    stated = proved(stated)
    assert transition.genesis(RULES.newest, stated.encode(), CHAIN_ID)
