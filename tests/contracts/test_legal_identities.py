"""Legal identities: one name for each, for ever."""

from dataclasses import replace

import pytest

from campaigns.harness import consortium, founding
from campaigns.harness.chain import Chain, Member
from campaigns.harness.consortium import HOSPITAL_A, HOSPITAL_B, MEMBERS, as_member, pass_proposal
from contracts.governance import AdmitOrganisation, ProposalDecided, ProposalStatus, Propose, Vote
from contracts.identity import ORGANISATIONS
from contracts.kernel.codec import Malformed
from contracts.kernel.types import Role
from contracts.legal_identities import LegalIdentityKnown
from tests.contracts.admissions import ADMISSION, asking
from tests.vectors_io import VectorWriter


@pytest.mark.vectors
def test_a_legal_identity_that_is_a_member_under_another_name(vector: VectorWriter) -> None:
    """Caps follow the legal identity: a second name for it would refill what its records were promised."""
    action = asking(legal_id=consortium.legal_id(HOSPITAL_B.name))
    facts = vector.refused(consortium.founded(), LegalIdentityKnown, HOSPITAL_A, Propose(action))
    assert facts == {"legal_id": "REGISTER:HOSPITAL-B", "organisation": "hospital-b"}


def test_a_second_name_for_a_newcomer_fails_when_it_is_settled_after_the_first() -> None:
    chain = consortium.founded()
    second = as_member(Member("second-name"), (Role.DATA_OWNER,))
    again = AdmitOrganisation(replace(second, legal_id=ADMISSION.admission.legal_id))
    chain.submit(HOSPITAL_A, Propose(again))
    pass_proposal(chain, ADMISSION)
    for member in MEMBERS[1:6]:  # Once the first is admitted, six of eight decide.
        events = chain.submit(member, Vote(1, approve=True))
    assert events[-1] == ProposalDecided(1, ProposalStatus.FAILED, LegalIdentityKnown.code)
    assert ORGANISATIONS.get(chain.view, "second-name") is None


def test_a_genesis_that_names_one_legal_identity_twice_begins_no_ledger() -> None:
    first, second = (as_member(member, (Role.AUDITOR,)) for member in (HOSPITAL_A, HOSPITAL_B))
    with pytest.raises(LegalIdentityKnown):
        Chain(founding.genesis(first, replace(second, legal_id=first.legal_id)))


@pytest.mark.parametrize("legal_id", ["", "529900abc", "HRB 4711", "HRB-4711 ", "-1", "\u00c4-1", "1" * 65])
def test_a_legal_identity_has_one_spelling(legal_id: str) -> None:
    with pytest.raises(Malformed, match="legal_id"):
        asking(legal_id=legal_id).encode()
