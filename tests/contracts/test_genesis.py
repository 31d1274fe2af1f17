"""The genesis: who begins, and that what anybody signs is bound to how it began."""

from dataclasses import replace

import pytest

from campaigns.harness import consortium, founding
from campaigns.harness.chain import CHAIN_ID, Chain
from campaigns.harness.consortium import HOSPITAL_A, LIMIT, ROLES, as_member
from contracts import electorate, identity, transition
from contracts.identity import KEYS, AddKey
from contracts.kernel import Place
from contracts.kernel.codec import Malformed
from contracts.possession import NotInPossession
from contracts.registry import RULES
from contracts.transition import WrongChain

TERMS_ROLES = ROLES[HOSPITAL_A]


def test_genesis_makes_every_founder_a_member_with_its_human_key() -> None:
    chain = consortium.founded()
    assert electorate.MEMBERSHIP.at(chain.view).organisations == 7
    key = KEYS.at(chain.view, HOSPITAL_A.human.public)
    assert (key.organisation, key.purpose, key.revoked_from) == ("hospital-a", "human", None)
    assert (key.enrolled_at, key.enrolled_by) == (Place(0, 0), None)


def test_a_genesis_for_another_chain_does_not_begin() -> None:
    raw = founding.genesis(as_member(HOSPITAL_A, TERMS_ROLES)).encode()
    with pytest.raises(Malformed, match="chain_id"):
        transition.genesis(RULES.newest, raw, "another-chain")


def test_a_genesis_that_names_an_organisation_twice_does_not_begin() -> None:
    raw = founding.genesis(*(as_member(HOSPITAL_A, TERMS_ROLES),) * 2).encode()
    with pytest.raises(identity.OrganisationExists):
        transition.genesis(RULES.newest, raw, CHAIN_ID)


def test_a_genesis_with_a_stolen_name_under_a_key_does_not_begin() -> None:
    stated = founding.genesis(as_member(HOSPITAL_A, TERMS_ROLES))
    stolen = HOSPITAL_A.human.enrolment(transition.founding_digest(stated), owner="hospital-b")
    (entry,) = stated.founders
    with pytest.raises(NotInPossession):
        transition.genesis(RULES.newest, replace(stated, founders=(replace(entry, key=stolen),)).encode(), CHAIN_ID)


def test_two_ledgers_of_one_name_share_no_signature() -> None:
    """Neither a transaction nor a proof of possession, although the members and their keys are the same."""
    one = consortium.founded()
    other = Chain(
        founding.genesis(
            *(as_member(m, consortium.ROLES[m], LIMIT + 1) for m in consortium.MEMBERS), operators=consortium.OPERATORS
        )
    )
    assert (one.chain_id, one.height) == (other.chain_id, other.height)
    other.refused_raw(WrongChain, one.seal(HOSPITAL_A, AddKey(HOSPITAL_A.worker.enrolment())))
    other.refused(NotInPossession, HOSPITAL_A, AddKey(HOSPITAL_A.worker.enrolment(one.ledger.genesis)))
    other.submit(HOSPITAL_A, AddKey(HOSPITAL_A.worker.enrolment(other.ledger.genesis)))
    foreign = replace(consortium.founded_by(), founders=consortium.founded_by().founders[:-1])
    with pytest.raises(NotInPossession):
        transition.genesis(RULES.newest, foreign.encode(), foreign.chain_id)
