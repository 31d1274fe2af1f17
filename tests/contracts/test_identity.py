"""Identity: members, their keys and their datasets."""

from dataclasses import replace

import pytest

from campaigns.harness import consortium, founding
from campaigns.harness.chain import Chain, Member
from campaigns.harness.consortium import (
    AUDITOR,
    DATA_CLASS,
    DELTA_INVERSE,
    HOSPITAL_A,
    HOSPITAL_B,
    LIMIT,
    MEMBERS,
    NEWCOMER,
    TERMS,
    as_member,
    join,
    pass_proposal,
    register_dataset,
)
from campaigns.harness.recipients import encoded, recipient_of
from contracts import identity
from contracts.governance import OpenTask, ProposalDecided, ProposalStatus, Propose, Vote
from contracts.identity import (
    DATASETS,
    KEYS,
    ORGANISATIONS,
    AddKey,
    ChangeRecipient,
    Dataset,
    DatasetExists,
    DatasetRegistered,
    EnrolmentCap,
    FirstKeyNotHuman,
    KeyAdded,
    KeyExists,
    KeyIsRevoked,
    KeyRevoked,
    LastHumanKey,
    LimitOverCap,
    NotYourKey,
    OrganisationEnrolled,
    OrganisationExists,
    RecipientChanged,
    RevocationMovesLater,
    RevokeKey,
    UnknownDataset,
    UnknownKey,
    UnknownOrganisation,
)
from contracts.kernel import Place, limits
from contracts.kernel.recipient import SMALL_ORDER
from contracts.kernel.speccheck import CASES
from contracts.kernel.types import Purpose, Role
from contracts.possession import NotInPossession, WeakKey
from contracts.promises import Promise, promised
from contracts.recipients import BadRecipient, RecipientTaken, SameRecipient
from contracts.transition import MissingRole
from tests.contracts.admissions import ADMISSION, asking
from tests.vectors_io import VectorWriter

SECOND_WORKER = HOSPITAL_A.key(Purpose.WORKLOAD, 1)
SECOND_HUMAN = HOSPITAL_A.key(Purpose.HUMAN, 1)


# --- organisations ---


@pytest.mark.vectors
def test_a_quorum_admits_an_organisation_with_its_human_key(vector: VectorWriter) -> None:
    """Admission takes more than two thirds of the members; the vote that settles it enrols the newcomer."""
    chain = consortium.founded()
    pass_proposal(chain, ADMISSION, MEMBERS[:4])
    events = vector.accepted(chain, MEMBERS[4], Vote(1, approve=True))
    assert OrganisationEnrolled("newcomer", (Role.DATA_OWNER,)) in events
    chain.submit(NEWCOMER, AddKey(NEWCOMER.worker.enrolment()))
    member = ORGANISATIONS.at(chain.view, "newcomer")
    assert (member.roles, len(member.keys), member.cap) == ((Role.DATA_OWNER,), 2, promised(LIMIT, DELTA_INVERSE, None))


@pytest.mark.vectors
def test_an_organisation_that_is_a_member_already(vector: VectorWriter) -> None:
    """A name belongs to one organisation for ever."""
    action = asking(organisation=HOSPITAL_B.name)
    facts = vector.refused(consortium.founded(), OrganisationExists, HOSPITAL_A, Propose(action))
    assert facts == {"organisation": "hospital-b"}


@pytest.mark.vectors
def test_terms_that_name_a_stranger(vector: VectorWriter) -> None:
    """Terms can only give a part to organisations that are members."""
    terms = replace(TERMS, recipients=(*TERMS.recipients, "stranger"))
    facts = vector.refused(consortium.equipped(), UnknownOrganisation, HOSPITAL_A, Propose(OpenTask(terms)))
    assert facts == {"organisation": "stranger"}


@pytest.mark.vectors
def test_an_organisation_whose_first_key_is_a_machine_s(vector: VectorWriter) -> None:
    """Without a human key nobody could consent, vote or revoke: such a member would only dilute the quorum."""
    action = asking(key=NEWCOMER.worker.enrolment())
    facts = vector.refused(consortium.founded(), FirstKeyNotHuman, HOSPITAL_A, Propose(action))
    assert facts == {"organisation": "newcomer", "purpose": "workload"}


def test_the_ledger_has_a_cap_on_organisations() -> None:
    crowd = tuple(Member(f"member-{i}") for i in range(limits.ORGANISATIONS))
    chain = Chain(founding.genesis(*(as_member(member, (Role.AUDITOR,)) for member in crowd)))
    facts = chain.refused(EnrolmentCap, crowd[0], Propose(ADMISSION))
    assert facts == {"what": "organisations", "limit": limits.ORGANISATIONS}


def test_roles_are_kept_in_one_order_however_they_were_stated() -> None:
    roles = (Role.VERIFIER, Role.DATA_OWNER, Role.VERIFIER)
    chain = Chain(founding.genesis(as_member(HOSPITAL_A, roles)))
    assert ORGANISATIONS.at(chain.view, "hospital-a").roles == (Role.OPERATOR, Role.DATA_OWNER, Role.VERIFIER)


# --- keys ---


@pytest.mark.vectors
def test_a_human_key_enrols_a_workload_key(vector: VectorWriter) -> None:
    """A new key comes with a signature by itself over chain, organisation and purpose."""
    chain = consortium.founded()
    events = vector.accepted(chain, HOSPITAL_A, AddKey(HOSPITAL_A.worker.enrolment()))
    assert events == (KeyAdded("hospital-a", HOSPITAL_A.worker.public, Purpose.WORKLOAD),)
    assert KEYS.at(chain.view, HOSPITAL_A.worker.public).enrolled_at == Place(chain.height, 0)
    assert ORGANISATIONS.at(chain.view, "hospital-a").keys == (HOSPITAL_A.human.public, HOSPITAL_A.worker.public)


@pytest.mark.vectors
def test_a_key_that_is_enrolled_already(vector: VectorWriter) -> None:
    """A key belongs to one organisation: another one cannot enrol it, even with its holder's proof."""
    stolen = HOSPITAL_B.worker.enrolment(owner="hospital-a")
    facts = vector.refused(consortium.equipped(), KeyExists, HOSPITAL_A, AddKey(stolen))
    assert facts == {"key": HOSPITAL_B.worker.public}


def test_a_revoked_key_can_never_be_enrolled_again() -> None:
    chain = consortium.equipped()
    chain.submit(HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public))
    chain.refused(KeyExists, HOSPITAL_A, AddKey(HOSPITAL_A.worker.enrolment()))


@pytest.mark.vectors
def test_a_key_of_small_order(vector: VectorWriter) -> None:
    """A point of small order makes signatures that hold for many messages: it is not enrolled."""
    key = replace(SECOND_WORKER.enrolment(), public=CASES[0].public)
    vector.refused(consortium.founded(), WeakKey, HOSPITAL_A, AddKey(key))


@pytest.mark.vectors
def test_a_key_that_its_organisation_does_not_hold(vector: VectorWriter) -> None:
    """A proof of possession made for another organisation does not count: nobody can enrol somebody else's key."""
    key = NEWCOMER.worker.enrolment()
    vector.refused(consortium.founded(), NotInPossession, HOSPITAL_A, AddKey(key))


@pytest.mark.parametrize(
    "proof",
    [
        SECOND_WORKER.enrolment(bytes(32)).possession,
        SECOND_HUMAN.enrolment().possession,
        HOSPITAL_A.key(Purpose.HUMAN, 1).enrolment().possession,
        bytes(64),
    ],
    ids=["for another chain", "of another purpose", "by another key", "of zeros"],
)
def test_a_proof_of_possession_holds_for_one_chain_owner_key_and_purpose(proof: bytes) -> None:
    key = replace(SECOND_WORKER.enrolment(), possession=proof)
    consortium.founded().refused(NotInPossession, HOSPITAL_A, AddKey(key))


@pytest.mark.vectors
def test_one_key_more_than_the_enrolment_cap(vector: VectorWriter) -> None:
    """The cap counts live and revoked keys together, so revoking one makes no room for another."""
    chain = consortium.founded()
    keys = [HOSPITAL_A.key(Purpose.WORKLOAD, i) for i in range(limits.KEYS_PER_ORGANISATION)]
    consortium.succeed(chain, *((HOSPITAL_A, AddKey(key.enrolment())) for key in keys[:-1]))
    chain.submit(HOSPITAL_A, RevokeKey(keys[0].public))
    facts = vector.refused(chain, EnrolmentCap, HOSPITAL_A, AddKey(keys[-1].enrolment()))
    assert facts == {"what": "keys", "limit": limits.KEYS_PER_ORGANISATION}


# --- revocation ---


@pytest.mark.vectors
def test_a_human_key_revokes_a_workload_key(vector: VectorWriter) -> None:
    """Revocation counts from the block that holds it."""
    chain = consortium.equipped()
    events = vector.accepted(chain, HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public))
    assert events == (KeyRevoked("hospital-a", HOSPITAL_A.worker.public, chain.height, 0),)


def test_nothing_is_accepted_from_a_revoked_key_ever_again() -> None:
    chain = consortium.reserved()
    chain.submit(HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public))
    chain.refused(KeyIsRevoked, HOSPITAL_A, consortium.commit())
    chain.submit(HOSPITAL_A, AddKey(SECOND_WORKER.enrolment()))
    chain.submit(SECOND_WORKER, consortium.commit())


@pytest.mark.vectors
def test_a_key_of_another_organisation(vector: VectorWriter) -> None:
    """Only its owner can revoke a key."""
    facts = vector.refused(consortium.equipped(), NotYourKey, HOSPITAL_A, RevokeKey(HOSPITAL_B.worker.public))
    assert facts["owner"] == "hospital-b"


@pytest.mark.vectors
def test_the_key_that_signs_its_own_revocation(vector: VectorWriter) -> None:
    """A key cannot revoke itself, so an organisation always keeps a human key that can act."""
    vector.refused(consortium.equipped(), LastHumanKey, HOSPITAL_A, RevokeKey(HOSPITAL_A.human.public))


def test_two_human_keys_cannot_revoke_each_other_in_one_block() -> None:
    chain = consortium.equipped()
    chain.submit(HOSPITAL_A, AddKey(SECOND_HUMAN.enrolment()))
    codes = [
        result.code
        for result in chain.block(
            (HOSPITAL_A, RevokeKey(SECOND_HUMAN.public)), (SECOND_HUMAN, RevokeKey(HOSPITAL_A.human.public))
        )
    ]
    assert codes == [0, KeyIsRevoked.code]


@pytest.mark.vectors
def test_a_revocation_that_would_move_later(vector: VectorWriter) -> None:
    """A revocation height only moves to earlier blocks: what counted for nothing stays that way."""
    chain = consortium.equipped()
    chain.submit(HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public))
    facts = vector.refused(chain, RevocationMovesLater, HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public))
    assert facts == {"revoked_from": chain.height - 1, "wanted": chain.height}


def test_what_came_before_a_revocation_in_its_block_counts_and_what_came_after_is_refused() -> None:
    for order, codes in ((slice(None), [0, 0]), (slice(None, None, -1), [0, KeyIsRevoked.code])):
        chain = consortium.reserved()
        pair = [(HOSPITAL_A, consortium.commit()), (HOSPITAL_A, RevokeKey(HOSPITAL_A.worker.public))]
        assert [result.code for result in chain.block(*pair[order])] == codes
        key, revoked = KEYS.at(chain.view, HOSPITAL_A.worker.public), 1 if codes[1] == 0 else 0
        good = [identity.is_good(key, Place(chain.height, index)) for index in range(3)]
        assert good == [index < revoked for index in range(3)]


def test_a_key_nobody_enrolled_cannot_be_revoked() -> None:
    consortium.equipped().refused(UnknownKey, HOSPITAL_A, RevokeKey(NEWCOMER.worker.public))


# --- datasets ---


@pytest.mark.vectors
def test_a_human_key_changes_what_others_encrypt_to(vector: VectorWriter) -> None:
    """The identity that read payloads leaked: from here on they are encrypted to another."""
    chain = consortium.equipped()
    before, recipient = ORGANISATIONS.at(chain.view, HOSPITAL_A.name), recipient_of("another")
    events = vector.accepted(chain, HOSPITAL_A, ChangeRecipient(recipient))
    assert events == (RecipientChanged(HOSPITAL_A.name, recipient),)
    assert ORGANISATIONS.at(chain.view, HOSPITAL_A.name) == replace(
        before,
        recipient=recipient,
        recipient_since=chain.height,
        recipient_signer=HOSPITAL_A.human.public,
        recipient_place=Place(chain.height, 0),
    )


@pytest.mark.vectors
def test_a_recipient_that_is_the_organisation_s_already(vector: VectorWriter) -> None:
    """Whoever says so twice is told: the second time it was not a change."""
    facts = vector.refused(
        consortium.equipped(), SameRecipient, HOSPITAL_A, ChangeRecipient(recipient_of(HOSPITAL_A.name))
    )
    assert facts == {"organisation": HOSPITAL_A.name}


@pytest.mark.vectors
def test_a_recipient_whose_checksum_is_wrong(vector: VectorWriter) -> None:
    """A recipient that the library of a participant cannot read would be a veto on every round that names it."""
    wrong = recipient_of("another")[:-1] + "q"
    facts = vector.refused(consortium.equipped(), BadRecipient, HOSPITAL_A, ChangeRecipient(wrong))
    assert facts == {"recipient": wrong, "fault": "checksum"}


def test_a_recipient_of_small_order_is_refused_to_members_newcomers_and_founders() -> None:
    weak = encoded(SMALL_ORDER[2].to_bytes(32, "little"))
    chain = consortium.founded()
    for message in (ChangeRecipient(weak), Propose(asking(recipient=weak))):
        facts = chain.refused(BadRecipient, HOSPITAL_A, message)
        assert facts == {"recipient": weak, "fault": "small-order"}
    with pytest.raises(BadRecipient):
        Chain(founding.genesis(replace(as_member(HOSPITAL_A, (Role.AUDITOR,)), recipient=weak)))


@pytest.mark.vectors
def test_a_recipient_that_another_member_reads_with(vector: VectorWriter) -> None:
    """Who encrypts to all members must not name one recipient twice: each is one organisation's."""
    taken = recipient_of(HOSPITAL_B.name)
    facts = vector.refused(consortium.equipped(), RecipientTaken, HOSPITAL_A, ChangeRecipient(taken))
    assert facts == {"recipient": taken}


def test_a_recipient_is_free_again_once_its_organisation_reads_with_another() -> None:
    chain = consortium.founded()
    taken = recipient_of(HOSPITAL_B.name)
    chain.refused(RecipientTaken, HOSPITAL_A, Propose(asking(recipient=taken)))
    chain.submit(HOSPITAL_B, ChangeRecipient(recipient_of("another")))
    chain.submit(HOSPITAL_A, ChangeRecipient(taken))
    chain.refused(RecipientTaken, HOSPITAL_B, ChangeRecipient(taken))


def test_two_founders_never_share_a_recipient() -> None:
    twin = replace(as_member(HOSPITAL_B, (Role.AUDITOR,)), recipient=recipient_of(HOSPITAL_A.name))
    with pytest.raises(RecipientTaken):
        Chain(founding.genesis(as_member(HOSPITAL_A, (Role.AUDITOR,)), twin))


@pytest.mark.vectors
def test_a_dataset_is_registered_with_its_limit(vector: VectorWriter) -> None:
    """The privacy promise to a dataset's records is fixed when it is registered."""
    chain = consortium.equipped()
    events = vector.accepted(chain, HOSPITAL_A, register_dataset("second"))
    assert events == (DatasetRegistered("hospital-a", "second", DATA_CLASS),)
    assert DATASETS.at(chain.view, ("hospital-a", "second")) == Dataset(
        DATA_CLASS, Promise(LIMIT, 100_000, 5_500), chain.height
    )


@pytest.mark.vectors
def test_a_dataset_registered_twice(vector: VectorWriter) -> None:
    """A dataset's limit cannot be renewed by registering it again."""
    facts = vector.refused(consortium.equipped(), DatasetExists, HOSPITAL_A, register_dataset())
    assert facts == {"dataset": "wdbc"}


def test_two_organisations_may_use_one_dataset_name() -> None:
    chain = consortium.equipped()
    names = [path.split(b"/")[2:] for path, _ in chain.view.scan(b"identity/datasets/")]
    assert [b"hospital-a", b"wdbc"] in names
    assert [b"hospital-b", b"wdbc"] in names


@pytest.mark.vectors
def test_a_dataset_limit_over_the_organisation_s_cap(vector: VectorWriter) -> None:
    """No dataset may be promised less than its organisation as a whole."""
    facts = vector.refused(consortium.equipped(), LimitOverCap, HOSPITAL_A, register_dataset("second", LIMIT + 1))
    assert facts == {"wanted": LIMIT + 1, "cap": LIMIT}


def test_one_dataset_more_than_the_cap() -> None:
    chain = consortium.equipped()
    names = [f"dataset-{i}" for i in range(limits.DATASETS_PER_ORGANISATION - 1)]
    consortium.succeed(chain, *((HOSPITAL_A, register_dataset(name)) for name in names))
    facts = chain.refused(EnrolmentCap, HOSPITAL_A, register_dataset("one-more"))
    assert facts == {"what": "datasets", "limit": limits.DATASETS_PER_ORGANISATION}


@pytest.mark.vectors
def test_a_dataset_nobody_registered(vector: VectorWriter) -> None:
    """Consent is to the use of a registered dataset; another name is refused."""
    facts = vector.refused(consortium.task_open(), UnknownDataset, HOSPITAL_A, join("another"))
    assert facts == {"organisation": "hospital-a", "dataset": "another"}


def test_only_a_data_owner_registers_datasets() -> None:
    consortium.equipped().refused(MissingRole, AUDITOR, register_dataset())


def test_an_admission_that_became_impossible_fails_by_name_when_it_is_settled() -> None:
    """Two proposals for one name: both are valid when made, the second can no longer be applied."""
    chain = consortium.founded()
    other = asking(key=NEWCOMER.key(Purpose.HUMAN, 1).enrolment())
    chain.submit(HOSPITAL_A, Propose(ADMISSION))
    chain.submit(HOSPITAL_A, Propose(other))
    for number, voters in ((1, MEMBERS[1:5]), (2, MEMBERS[1:6])):  # Once the first is admitted, six of eight decide.
        for member in voters:
            events = chain.submit(member, Vote(number, approve=True))
    assert events[-1] == ProposalDecided(2, ProposalStatus.FAILED, OrganisationExists.code)
