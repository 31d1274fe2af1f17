"""Identity: which organisations are members, which keys speak for them, which datasets they hold.

Invariants: a key belongs to one organisation and one purpose for ever; revocation only moves earlier, never later;
an organisation holds at most KEYS_PER_ORGANISATION keys and DATASETS_PER_ORGANISATION datasets, revoked ones
included; a legal identity has one name for ever: so none of them can be used to start afresh.

Admission is decided by governance, through the effect builders here. What a revoked key had signed and what is pending
is judged where it is counted, by ``is_good``. A dataset's budget is kept by ``privacy_budget``.
"""

from dataclasses import replace
from typing import Annotated

from . import electorate, legal_identities, origin, recipients
from .admission import Admission, Roles
from .electorate import MEMBERSHIP, Standing
from .kernel import (
    Context,
    Contract,
    Event,
    Lane,
    Map,
    Message,
    Outcome,
    Place,
    Record,
    Rejected,
    View,
    Write,
    found,
    limits,
    require,
)
from .kernel.types import (
    AgeRecipient,
    Count,
    DataClass,
    DatasetId,
    DeltaInverse,
    Height,
    Items,
    Label,
    LegalId,
    NanoEpsilon,
    OrgId,
    PublicKey,
    Purpose,
    RenyiOrder,
    Role,
)
from .possession import NewKey, require_possession
from .promises import Promise, promised, require_room


class Organisation(Record):
    """A member: who it is in law, what it may do, how to encrypt to it, and the cap on its total privacy loss."""

    legal_id: LegalId
    roles: Roles
    recipient: AgeRecipient
    recipient_since: Height  # From when on rounds that are opened encrypt to it.
    recipient_signer: PublicKey  # Who named it, and where: one that a thief named is none.
    recipient_place: Place
    cap: Promise  # To every record of all its datasets together.
    enrolled_at: Height
    keys: Annotated[tuple[PublicKey, ...], Items(1, limits.KEYS_WITH_RECOVERIES)]  # In the order of their enrolment.
    datasets: Count
    standing: Standing
    votes_after: Height  # Of its admission or reinstatement: its vote counts from the next block on.


class Report(Record):
    """Which key said that a key was stolen, and where. A report by a key that was not good is none."""

    signer: PublicKey
    place: Place


class Key(Record):
    """A public key's owner and purpose. What it signs from ``revoked_from`` on counts for nothing: see ``is_good``."""

    organisation: OrgId
    purpose: Purpose
    label: Label
    enrolled_at: Place
    enrolled_by: PublicKey | None  # None for a member's first key, which the members enrolled.
    revoked_from: Place | None
    reported: Report | None  # As stolen, which can be done once.


class Dataset(Record):
    """A registered dataset. Its privacy unit is one record under add/remove neighbouring, fixed for ever."""

    data_class: DataClass
    promise: Promise
    registered_at: Height


ORGANISATIONS = Map("identity/organisations", Organisation, "organisation")
KEYS = Map("identity/keys", Key, "public key")
DATASETS = Map("identity/datasets", Dataset, "organisation", "dataset")


class AddKey(Message, purpose=Purpose.HUMAN, lane=Lane.GOVERNANCE):
    """Enrol another key of the sender's organisation."""

    key: NewKey


class RevokeKey(Message, purpose=Purpose.HUMAN, lane=Lane.SAFETY, while_suspended=True):
    """Revoke a key of the sender's organisation from this block on."""

    public: PublicKey


class ChangeRecipient(Message, purpose=Purpose.HUMAN, lane=Lane.GOVERNANCE):
    """Have payloads encrypted to another age recipient from now on: the identity before it was lost, or leaked."""

    recipient: AgeRecipient


class RegisterDataset(Message, purpose=Purpose.HUMAN, role=Role.DATA_OWNER, lane=Lane.GOVERNANCE):
    """Register a dataset, the privacy limit its records are promised, and δ = 1 / delta_inverse."""

    dataset: DatasetId
    data_class: DataClass
    epsilon_limit: NanoEpsilon
    delta_inverse: DeltaInverse
    order_milli: RenyiOrder | None = None  # At which the limit is held; null for the one that follows from it and δ.


class OrganisationEnrolled(Event):
    """An organisation became a member."""

    organisation: OrgId
    roles: Roles


class KeyAdded(Event):
    """A key was enrolled."""

    organisation: OrgId
    public: PublicKey
    purpose: Purpose


class KeyRevoked(Event):
    """A key counts for nothing from a place on."""

    organisation: OrgId
    public: PublicKey
    height: Height
    index: Count


class RecipientChanged(Event):
    """An organisation reads payloads with another identity."""

    organisation: OrgId
    recipient: AgeRecipient


class DatasetRegistered(Event):
    """A dataset was registered."""

    organisation: OrgId
    dataset: DatasetId
    data_class: DataClass


class UnknownKey(
    Rejected, code=101, hint="Enrol it (`fedledger key enrol`); `fedledger org show ORG` lists the enrolled keys."
):
    """The signing key is not enrolled."""


class KeyIsRevoked(Rejected, code=102, hint="Enrol a new key with a human key of the organisation."):
    """The signing key was revoked; nothing it signs from that place on is accepted."""


class UnknownOrganisation(Rejected, code=103, hint="Check the name: `fedledger org show` lists the members."):
    """No organisation of this name is a member."""


class OrganisationExists(Rejected, code=104, hint="Choose another name."):
    """An organisation of this name is a member already."""


class KeyExists(Rejected, code=105, hint="Create a new key: a key belongs to one organisation and purpose for ever."):
    """The key is enrolled already, or was."""


class EnrolmentCap(Rejected, code=108, hint="The cap counts revoked keys and old datasets too; it does not refill."):
    """The organisation has enrolled as many keys or datasets as it may."""


class NotYourKey(Rejected, code=109, hint="Only the organisation that owns a key can revoke it."):
    """The key belongs to another organisation."""


class LastHumanKey(Rejected, code=110, hint="Sign with another human key, one that would stay; add it first."):
    """Revoking the key that signs this could leave nobody to act for the organisation."""


class DatasetExists(Rejected, code=111, hint="Use the registered dataset; its limit cannot be changed."):
    """The organisation has registered a dataset of this name already."""


class LimitOverCap(Rejected, code=112, hint="Ask for at most the organisation's cap: `fedledger org show`."):
    """The dataset's limit exceeds the organisation's cap on total privacy loss."""


class UnknownDataset(Rejected, code=113, hint="Register it: `fedledger dataset register`."):
    """The organisation has registered no dataset of this name."""


class RevocationMovesLater(Rejected, code=114, hint="A revocation can only move to an earlier place."):
    """The key is revoked from this place or an earlier one already."""


class FirstKeyNotHuman(Rejected, code=115, hint="Enrol a human key first; it then adds the workload keys."):
    """An organisation's first key must be a human one, or nobody could ever act for it."""


class MemberInactive(Rejected, code=119, hint="The members decide on it by vote: `fedledger org show`."):
    """The organisation is suspended or removed: its keys may not act, but to revoke and report keys while suspended."""


def add_key(view: View, msg: AddKey, ctx: Context) -> Outcome:
    """Enrol a key. Rejects: KeyExists, WeakKey, NotInPossession, EnrolmentCap."""
    organisation = ORGANISATIONS.at(view, ctx.organisation)
    good = sum(_was_good(view, public) for public in organisation.keys)
    room = good < limits.KEYS_PER_ORGANISATION and len(organisation.keys) < limits.KEYS_LISTED
    require(room, lambda: EnrolmentCap(what="keys", limit=limits.KEYS_PER_ORGANISATION))
    enrolled = enrol_key(view, ctx.organisation, msg.key, ctx, by=ctx.sender)
    listed = replace(organisation, keys=(*organisation.keys, msg.key.public))
    return enrolled + Outcome((ORGANISATIONS.put(ctx.organisation, listed),))


def revoke_key(view: View, msg: RevokeKey, ctx: Context) -> Outcome:
    """Revoke a key from here on. Rejects: UnknownKey, NotYourKey, RevocationMovesLater, LastHumanKey."""
    require(msg.public != ctx.sender, lambda: LastHumanKey(key=msg.public))
    key = require_own(view, msg.public, ctx)
    require_earlier(key, ctx.place)
    return revoked(msg.public, key, ctx.place)


def change_recipient(view: View, msg: ChangeRecipient, ctx: Context) -> Outcome:
    """Replace the recipient that payloads are encrypted to. What was encrypted before stays as it is.

    The same one may be named again once the key that had named it is reported as stolen: until then it reads nothing.
    Rejects: SameRecipient, BadRecipient, RecipientTaken.
    """
    organisation = ORGANISATIONS.at(view, ctx.organisation)
    before = organisation.recipient
    moved: tuple[Write, ...] = ()
    if msg.recipient == before:
        require(not has_recipient(view, organisation), lambda: recipients.SameRecipient(organisation=ctx.organisation))
    else:
        taken = recipients.taken(view, msg.recipient, by=ctx.organisation)
        moved = (recipients.RECIPIENTS.remove(before), taken)
    changed = replace(
        organisation,
        recipient=msg.recipient,
        recipient_since=ctx.height,
        recipient_signer=ctx.sender,
        recipient_place=ctx.place,
    )
    return Outcome(
        (ORGANISATIONS.put(ctx.organisation, changed), *moved),
        (RecipientChanged(ctx.organisation, msg.recipient),),
    )


def register_dataset(view: View, msg: RegisterDataset, ctx: Context) -> Outcome:
    """Register a dataset. Rejects: DatasetExists, EnrolmentCap, LimitOverCap, UnknownOrder, NoRoom."""
    organisation = ORGANISATIONS.at(view, ctx.organisation)
    key = (ctx.organisation, msg.dataset)
    require(DATASETS.get(view, key) is None, lambda: DatasetExists(dataset=msg.dataset))
    require(
        organisation.datasets < limits.DATASETS_PER_ORGANISATION,
        lambda: EnrolmentCap(what="datasets", limit=limits.DATASETS_PER_ORGANISATION),
    )
    require(
        msg.epsilon_limit <= organisation.cap.epsilon,
        lambda: LimitOverCap(wanted=msg.epsilon_limit, cap=organisation.cap.epsilon),
    )
    promise = promised(msg.epsilon_limit, msg.delta_inverse, msg.order_milli)
    require_room("epsilon_limit", promise)
    dataset = Dataset(msg.data_class, promise, ctx.height)
    counted = replace(organisation, datasets=organisation.datasets + 1)
    return Outcome(
        (DATASETS.put(key, dataset), ORGANISATIONS.put(ctx.organisation, counted)),
        (DatasetRegistered(ctx.organisation, msg.dataset, msg.data_class),),
    )


def enrol(view: View, admission: Admission, ctx: Context) -> Outcome:
    """Make an organisation a member with its first human key. For governance and genesis.

    Rejects: OrganisationExists, LegalIdentityKnown, EnrolmentCap, FirstKeyNotHuman, UnknownOrder, NoRoom, BadRecipient,
    RecipientTaken, KeyExists, WeakKey, NotInPossession.
    """
    name, first = admission.organisation, admission.key
    members = MEMBERSHIP.get(view) or electorate.NOBODY
    full = members.organisations >= limits.ORGANISATIONS
    require(ORGANISATIONS.get(view, name) is None, lambda: OrganisationExists(organisation=name))
    legal = legal_identities.taken(view, admission.legal_id, by=name)
    require(not full, lambda: EnrolmentCap(what="organisations", limit=limits.ORGANISATIONS))
    require(first.purpose is Purpose.HUMAN, lambda: FirstKeyNotHuman(organisation=name, purpose=first.purpose))
    cap = promised(admission.epsilon_cap, admission.delta_inverse, admission.order_milli)
    if cap.epsilon > 0:  # With a cap of 0 it registers no dataset, so nothing is ever held against its order.
        require_room("epsilon_cap", cap)
    member = Organisation(
        legal_id=admission.legal_id,
        roles=tuple(role for role in Role if role in admission.roles),
        recipient=admission.recipient,
        recipient_since=ctx.height,
        recipient_signer=first.public,
        recipient_place=ctx.place,
        cap=cap,
        enrolled_at=ctx.height,
        keys=(first.public,),
        datasets=0,
        standing=Standing.ACTIVE,
        votes_after=ctx.height,
    )
    counted = replace(electorate.activated(members, ctx.height), organisations=members.organisations + 1)
    return enrol_key(view, name, first, ctx, by=None) + Outcome(
        (
            ORGANISATIONS.put(name, member),
            legal,
            recipients.taken(view, admission.recipient, by=name),
            MEMBERSHIP.set(counted),
        ),
        (OrganisationEnrolled(name, member.roles),),
    )


def enrol_key(view: View, organisation: OrgId, key: NewKey, ctx: Context, *, by: PublicKey | None) -> Outcome:
    """Describe enrolling one key, by another or by the members. Rejects: KeyExists, WeakKey, NotInPossession."""
    require(KEYS.get(view, key.public) is None, lambda: KeyExists(key=key.public))
    require_possession(ctx.genesis, organisation, key)
    record = Key(organisation, key.purpose, key.label, ctx.place, by, revoked_from=None, reported=None)
    return Outcome((KEYS.put(key.public, record),), (KeyAdded(organisation, key.public, key.purpose),))


def require_member(view: View, name: OrgId) -> Organisation:
    """The organisation of this name. Rejects: UnknownOrganisation."""
    return found(ORGANISATIONS, view, name, lambda: UnknownOrganisation(organisation=name))


def require_active(view: View, name: OrgId) -> Organisation:
    """The organisation of this name, which may act. Rejects: UnknownOrganisation, MemberInactive."""
    organisation = require_member(view, name)
    _require_standing(name, organisation)
    return organisation


def require_acting(key: Key, organisation: Organisation, kind: type[Message] | None) -> None:
    """Hold a signer to its member's standing; ``kind`` is its message's, if it is one. Rejects: MemberInactive."""
    rescuing = kind is not None and kind.while_suspended and key.purpose is kind.purpose
    if not (rescuing and organisation.standing is Standing.SUSPENDED):
        _require_standing(key.organisation, organisation)


def has_recipient(view: View, organisation: Organisation) -> bool:
    """Whether it named its recipient itself, by all that is known now; if not, it has none until it names one."""
    return is_good(KEYS.at(view, organisation.recipient_signer), organisation.recipient_place)


def is_active(view: View, name: OrgId) -> bool:
    """Whether the organisation is a member that may act: neither suspended nor removed."""
    organisation = ORGANISATIONS.get(view, name)
    return organisation is not None and organisation.standing is Standing.ACTIVE


def has_vote(organisation: Organisation, height: Height) -> bool:
    """Whether the member's vote counts in a block: it is active, and was so before."""
    return organisation.standing is Standing.ACTIVE and organisation.votes_after < height


def require_dataset(view: View, organisation: OrgId, dataset: DatasetId) -> Dataset:
    """The organisation's dataset. Rejects: UnknownDataset."""
    return found(
        DATASETS, view, (organisation, dataset), lambda: UnknownDataset(organisation=organisation, dataset=dataset)
    )


def require_good_key(view: View, public: PublicKey, place: Place) -> Key:
    """The key that signs at this place. Rejects: UnknownKey, KeyIsRevoked."""
    key = found(KEYS, view, public, lambda: UnknownKey(key=public))
    if key.revoked_from is not None and not is_good(key, place):
        raise KeyIsRevoked(key=public, revoked_from=key.revoked_from.height, index=key.revoked_from.index)
    return key


def is_good(key: Key, place: Place) -> bool:
    """Whether what the key signed at this place counts, by all that is known now.

    Whatever waits for others (a contribution, a ballot, an approval, a proposal) records its signer and its place, and
    asks this where it is counted, not where it is made: a revocation that came later may reach back before it. What
    was decided stays decided. Two transactions of one block are told apart, so what came before a revocation counts
    and what came after does not, whichever block they share.
    """
    return key.revoked_from is None or place.precedes(key.revoked_from)


def _was_good(view: View, public: PublicKey) -> bool:
    """Whether a key was good when it was enrolled, by all that is known now."""
    key = KEYS.at(view, public)
    return is_good(key, key.enrolled_at)


def _require_standing(name: OrgId, organisation: Organisation) -> None:
    """Rejects: MemberInactive."""
    active = organisation.standing is Standing.ACTIVE
    require(active, lambda: MemberInactive(organisation=name, standing=str(organisation.standing)))


def require_own(view: View, public: PublicKey, ctx: Context) -> Key:
    """The key, which is the sender's organisation's. Rejects: UnknownKey, NotYourKey."""
    key = found(KEYS, view, public, lambda: UnknownKey(key=public))
    require(key.organisation == ctx.organisation, lambda: NotYourKey(key=public, owner=key.organisation))
    return key


def require_earlier(key: Key, since: Place) -> None:
    """Rejects: RevocationMovesLater."""
    before = key.revoked_from
    if before is not None and not since.precedes(before):
        raise RevocationMovesLater(revoked_from=before.height, wanted=since.height)


def revoked(public: PublicKey, key: Key, since: Place) -> Outcome:
    """Describe a key that counts for nothing from a place on."""
    return Outcome(
        (KEYS.put(public, replace(key, revoked_from=since)),),
        (KeyRevoked(key.organisation, public, since.height, since.index),),
    )


CONTRACT = Contract(
    name="identity",
    number=1,
    state=(
        ORGANISATIONS,
        KEYS,
        DATASETS,
        legal_identities.LEGAL_IDENTITIES,
        MEMBERSHIP,
        recipients.RECIPIENTS,
        origin.ORIGIN,
    ),
    handlers={
        AddKey: add_key,
        RevokeKey: revoke_key,
        ChangeRecipient: change_recipient,
        RegisterDataset: register_dataset,
    },
    modules=(
        "contracts.electorate",
        "contracts.legal_identities",
        "contracts.origin",
        "contracts.possession",
        "contracts.admission",
        "contracts.promises",
        "contracts.recipients",
        __name__,
    ),
)
