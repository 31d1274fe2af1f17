"""Identity: which organisations are members, which keys speak for them, which datasets they hold.

Invariants: a key belongs to one organisation and one purpose for ever; revocation only moves earlier, never later;
an organisation holds at most KEYS_PER_ORGANISATION keys and DATASETS_PER_ORGANISATION datasets, revoked ones
included; a legal identity has one name for ever: so none of them can be used to start afresh.

Admission is decided by governance and a stolen key is reported to ``models`` (which knows what it signed); both act
through the effect builders here. A dataset's budget is kept by ``privacy_budget``.
"""

from dataclasses import replace
from typing import Annotated

from .kernel import (
    Context,
    Contract,
    Event,
    Item,
    Lane,
    Map,
    Message,
    Outcome,
    Record,
    Rejected,
    View,
    crypto,
    found,
    limits,
    renyi,
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
    Signature,
)

Roles = Annotated[tuple[Role, ...], Items(1, len(Role))]
POSSESSION_DOMAIN = "key-possession"


class Promise(Record):
    """What an account is held to: at most ε at δ = 1 / delta_inverse, counted at one Rényi order. Fixed for ever."""

    epsilon: NanoEpsilon
    delta_inverse: DeltaInverse
    order_milli: RenyiOrder


class Organisation(Record):
    """A member: who it is in law, what it may do, how to encrypt to it, and the cap on its total privacy loss."""

    legal_id: LegalId
    roles: Roles
    recipient: AgeRecipient
    cap: Promise  # To every record of all its datasets together.
    enrolled_at: Height
    keys: Count
    datasets: Count


class Key(Record):
    """A public key's owner and purpose. Signatures at or above ``revoked_from`` count for nothing."""

    organisation: OrgId
    purpose: Purpose
    label: Label
    added_at: Height
    revoked_from: Height | None


class Dataset(Record):
    """A registered dataset. Its privacy unit is one record under add/remove neighbouring, fixed for ever."""

    data_class: DataClass
    promise: Promise
    registered_at: Height


class LegalIdentity(Record):
    """The one name under which a legal identity is, or was, a member."""

    organisation: OrgId


class Membership(Record):
    """How many organisations are members."""

    organisations: Count


class NewKey(Record):
    """A key to enrol, with its holder's proof of possession."""

    public: PublicKey
    purpose: Purpose
    label: Label
    possession: Signature


class Admission(Record):
    """What an organisation becomes a member with, by genesis or by vote."""

    organisation: OrgId
    legal_id: LegalId  # Upper case and no spaces, so that nobody is two by spelling.
    roles: Roles
    recipient: AgeRecipient
    epsilon_cap: NanoEpsilon  # On the privacy loss of all its datasets together; 0 for who has none.
    delta_inverse: DeltaInverse  # Of the cap.
    order_milli: RenyiOrder | None  # At which the cap is held; null for the one that follows from cap and δ.
    key: NewKey  # Its first, a human one.


ORGANISATIONS = Map("identity/organisations", Organisation, "organisation")
KEYS = Map("identity/keys", Key, "public key")
DATASETS = Map("identity/datasets", Dataset, "organisation", "dataset")
LEGAL_IDENTITIES = Map("identity/legal", LegalIdentity, "SHA-256 of the legal id")
MEMBERSHIP = Item("identity/membership", Membership)


class AddKey(Message, purpose=Purpose.HUMAN, lane=Lane.GOVERNANCE):
    """Enrol another key of the sender's organisation."""

    key: NewKey


class RevokeKey(Message, purpose=Purpose.HUMAN, lane=Lane.SAFETY):
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
    """A key counts for nothing from a height on."""

    organisation: OrgId
    public: PublicKey
    revoked_from: Height


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
    """The signing key was revoked; nothing it signs from that height on is accepted."""


class UnknownOrganisation(Rejected, code=103, hint="Check the name: `fedledger org show` lists the members."):
    """No organisation of this name is a member."""


class OrganisationExists(Rejected, code=104, hint="Choose another name."):
    """An organisation of this name is a member already."""


class KeyExists(Rejected, code=105, hint="Create a new key: a key belongs to one organisation and purpose for ever."):
    """The key is enrolled already, or was."""


class WeakKey(Rejected, code=106, hint="Create a new key with `fedledger key create`."):
    """The key is not a canonical Ed25519 point of prime order."""


class NotInPossession(Rejected, code=107, hint="Sign the possession statement with the new key itself."):
    """The proof that the organisation holds the new key does not verify."""


class EnrolmentCap(Rejected, code=108, hint="The cap counts revoked keys and old datasets too; it does not refill."):
    """The organisation has enrolled as many keys or datasets as it may."""


class NotYourKey(Rejected, code=109, hint="Only the organisation that owns a key can revoke it."):
    """The key belongs to another organisation."""


class LastHumanKey(Rejected, code=110, hint="Add another human key first."):
    """Revoking the key that signs this would leave nobody to act for the organisation."""


class DatasetExists(Rejected, code=111, hint="Use the registered dataset; its limit cannot be changed."):
    """The organisation has registered a dataset of this name already."""


class LimitOverCap(Rejected, code=112, hint="Ask for at most the organisation's cap: `fedledger org show`."):
    """The dataset's limit exceeds the organisation's cap on total privacy loss."""


class UnknownDataset(Rejected, code=113, hint="Register it: `fedledger dataset register`."):
    """The organisation has registered no dataset of this name."""


class RevocationMovesLater(Rejected, code=114, hint="A revocation height can only move to an earlier block."):
    """The key is revoked from an earlier height already."""


class SameRecipient(Rejected, code=116, hint="Nothing to do, or name the new recipient."):
    """Payloads are encrypted to this recipient already."""


class LegalIdentityKnown(
    Rejected, code=117, hint="Act under that name: a second one would refill the cap on its privacy loss."
):
    """This legal identity is, or was, a member under another name."""


class UnknownOrder(Rejected, code=118, hint="Leave it out, or take one of the orders in docs/protocol.md."):
    """The Rényi order is not one of the table's."""


class NoRoom(Rejected, code=119, hint="State a larger limit or delta, or another order: see what is taken."):
    """The limit admits no loss at all: converting to (ε, δ) at its order takes all of it."""


class FirstKeyNotHuman(Rejected, code=115, hint="Enrol a human key first; it then adds the workload keys."):
    """An organisation's first key must be a human one, or nobody could ever act for it."""


def add_key(view: View, msg: AddKey, ctx: Context) -> Outcome:
    """Enrol a key. Rejects: KeyExists, WeakKey, NotInPossession, EnrolmentCap."""
    organisation = ORGANISATIONS.at(view, ctx.organisation)
    require(
        organisation.keys < limits.KEYS_PER_ORGANISATION,
        lambda: EnrolmentCap(what="keys", limit=limits.KEYS_PER_ORGANISATION),
    )
    enrolled = enrol_key(view, ctx.organisation, msg.key, ctx)
    counted = ORGANISATIONS.put(ctx.organisation, replace(organisation, keys=organisation.keys + 1))
    return enrolled + Outcome((counted,))


def revoke_key(view: View, msg: RevokeKey, ctx: Context) -> Outcome:
    """Revoke a key from this block on. Rejects: UnknownKey, NotYourKey, RevocationMovesLater, LastHumanKey."""
    require(msg.public != ctx.sender, lambda: LastHumanKey(key=msg.public))
    return revoke(view, msg.public, since=ctx.height, ctx=ctx)


def change_recipient(view: View, msg: ChangeRecipient, ctx: Context) -> Outcome:
    """Replace the recipient that payloads are encrypted to. What was encrypted before stays as it is.

    Rejects: SameRecipient.
    """
    organisation = ORGANISATIONS.at(view, ctx.organisation)
    require(msg.recipient != organisation.recipient, lambda: SameRecipient(organisation=ctx.organisation))
    changed = replace(organisation, recipient=msg.recipient)
    return Outcome(
        (ORGANISATIONS.put(ctx.organisation, changed),), (RecipientChanged(ctx.organisation, msg.recipient),)
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
    _require_room("epsilon_limit", promise)
    dataset = Dataset(msg.data_class, promise, ctx.height)
    counted = replace(organisation, datasets=organisation.datasets + 1)
    return Outcome(
        (DATASETS.put(key, dataset), ORGANISATIONS.put(ctx.organisation, counted)),
        (DatasetRegistered(ctx.organisation, msg.dataset, msg.data_class),),
    )


def enrol(view: View, admission: Admission, ctx: Context) -> Outcome:
    """Make an organisation a member with its first human key. For governance and genesis.

    Rejects: OrganisationExists, LegalIdentityKnown, EnrolmentCap, FirstKeyNotHuman, UnknownOrder, NoRoom, KeyExists,
    WeakKey, NotInPossession.
    """
    name, first = admission.organisation, admission.key
    legal = crypto.sha256(admission.legal_id.encode("ascii"))
    members = (MEMBERSHIP.get(view) or Membership(0)).organisations
    require(ORGANISATIONS.get(view, name) is None, lambda: OrganisationExists(organisation=name))
    known = LEGAL_IDENTITIES.get(view, legal)
    if known is not None:
        raise LegalIdentityKnown(legal_id=admission.legal_id, organisation=known.organisation)
    require(members < limits.ORGANISATIONS, lambda: EnrolmentCap(what="organisations", limit=limits.ORGANISATIONS))
    require(first.purpose is Purpose.HUMAN, lambda: FirstKeyNotHuman(organisation=name, purpose=first.purpose))
    cap = promised(admission.epsilon_cap, admission.delta_inverse, admission.order_milli)
    if cap.epsilon > 0:  # With a cap of 0 it registers no dataset, so nothing is ever held against its order.
        _require_room("epsilon_cap", cap)
    member = Organisation(
        legal_id=admission.legal_id,
        roles=tuple(role for role in Role if role in admission.roles),
        recipient=admission.recipient,
        cap=cap,
        enrolled_at=ctx.height,
        keys=1,
        datasets=0,
    )
    enrolled = (
        ORGANISATIONS.put(name, member),
        LEGAL_IDENTITIES.put(legal, LegalIdentity(name)),
        MEMBERSHIP.set(Membership(members + 1)),
    )
    return enrol_key(view, name, first, ctx) + Outcome(
        enrolled,
        (OrganisationEnrolled(name, member.roles),),
    )


def enrol_key(view: View, organisation: OrgId, key: NewKey, ctx: Context) -> Outcome:
    """Describe enrolling one key. Rejects: KeyExists, WeakKey, NotInPossession."""
    require(KEYS.get(view, key.public) is None, lambda: KeyExists(key=key.public))
    require(crypto.is_enrollable(key.public), lambda: WeakKey(key=key.public))
    statement = possession_statement(ctx.chain_id, organisation, key.public, key.purpose)
    require(crypto.verify(key.public, statement, key.possession), lambda: NotInPossession(key=key.public))
    record = Key(organisation, key.purpose, key.label, ctx.height, None)
    return Outcome((KEYS.put(key.public, record),), (KeyAdded(organisation, key.public, key.purpose),))


def revoke(view: View, public: PublicKey, since: Height, ctx: Context) -> Outcome:
    """Describe revoking a key of the sender's organisation as of a height, which may lie in the past.

    Rejects: UnknownKey, NotYourKey, RevocationMovesLater.
    """
    key = found(KEYS, view, public, lambda: UnknownKey(key=public))
    require(key.organisation == ctx.organisation, lambda: NotYourKey(key=public, owner=key.organisation))
    before = key.revoked_from
    require(before is None or since < before, lambda: RevocationMovesLater(revoked_from=before or 0, wanted=since))
    return Outcome(
        (KEYS.put(public, replace(key, revoked_from=since)),),
        (KeyRevoked(key.organisation, public, since),),
    )


def promised(epsilon: NanoEpsilon, delta_inverse: DeltaInverse, order_milli: RenyiOrder | None) -> Promise:
    """The promise with the order that was chosen, or the one that follows from the public limit and δ.

    Rejects: UnknownOrder.
    """
    order = renyi.best_order(epsilon, delta_inverse) if order_milli is None else order_milli
    require(order in renyi.ORDERS, lambda: UnknownOrder(field="order_milli", order_milli=order))
    return Promise(epsilon, delta_inverse, order)


def _require_room(field: str, promise: Promise) -> None:
    taken = renyi.offset_at(promise.order_milli, promise.delta_inverse)
    require(
        promise.epsilon > taken,
        lambda: NoRoom(field=field, limit=promise.epsilon, taken=taken, order_milli=promise.order_milli),
    )


def require_member(view: View, name: OrgId) -> Organisation:
    """The organisation of this name. Rejects: UnknownOrganisation."""
    return found(ORGANISATIONS, view, name, lambda: UnknownOrganisation(organisation=name))


def require_dataset(view: View, organisation: OrgId, dataset: DatasetId) -> Dataset:
    """The organisation's dataset. Rejects: UnknownDataset."""
    return found(
        DATASETS, view, (organisation, dataset), lambda: UnknownDataset(organisation=organisation, dataset=dataset)
    )


def require_live_key(view: View, public: PublicKey, height: Height) -> Key:
    """The key that signed at this height. Rejects: UnknownKey, KeyIsRevoked."""
    key = found(KEYS, view, public, lambda: UnknownKey(key=public))
    require(is_live(key, height), lambda: KeyIsRevoked(key=public, revoked_from=key.revoked_from or 0))
    return key


def is_live(key: Key, height: Height) -> bool:
    """Whether what the key signed at this height counts."""
    return key.revoked_from is None or height < key.revoked_from


def possession_statement(chain_id: str, organisation: OrgId, public: PublicKey, purpose: Purpose) -> bytes:
    """What a new key signs to show that its organisation holds it."""
    return crypto.tagged(POSSESSION_DOMAIN, f"{chain_id}\0{organisation}\0{public.hex()}\0{purpose}".encode("ascii"))


CONTRACT = Contract(
    name="identity",
    number=1,
    state=(ORGANISATIONS, KEYS, DATASETS, LEGAL_IDENTITIES, MEMBERSHIP),
    handlers={
        AddKey: add_key,
        RevokeKey: revoke_key,
        ChangeRecipient: change_recipient,
        RegisterDataset: register_dataset,
    },
    modules=(__name__,),
)
