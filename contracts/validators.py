"""Validators: which consensus keys decide blocks, and which member answers for each.

The members admit and remove them through governance; ``abci_app`` tells CometBFT the difference (``updates``), which
acts on it two blocks later. The whole set is one record: one proof shows all of it, and what a block changed is the
difference of two records, however often a key came and went in between.

Invariants: the set is never empty; a key stands in it once; every validator has the same power; once four
organisations operate validators, none of them ever holds a third of the power. A set of fewer operators cannot keep
that, so there they hold equal power.
"""

from collections.abc import Mapping
from typing import Annotated

from . import identity
from .kernel import Context, Contract, Event, Item, Outcome, Record, Rejected, View, crypto, limits, require
from .kernel.types import Digest, Height, Items, OrgId, Positive, PublicKey, Role, Signature
from .possession import NotInPossession, WeakKey

POSSESSION_DOMAIN = "validator-possession"
FEWEST_OPERATORS = 4  # The fewest of which each can hold less than a third.


class NewValidator(Record):
    """A consensus key to admit, with its holder's proof of possession."""

    operator: OrgId
    public: PublicKey
    possession: Signature


class Validator(Record):
    """A validator: its consensus key, who operates it, its voting power, and the block that admitted it."""

    public: PublicKey
    operator: OrgId
    power: Positive
    since: Height  # It votes from two blocks later on.


class ValidatorSet(Record):
    """All validators, in the order of their keys."""

    validators: Annotated[tuple[Validator, ...], Items(1, limits.VALIDATORS)]


SET = Item("validators/set", ValidatorSet)


class ValidatorAdmitted(Event):
    """A validator was admitted."""

    public: PublicKey
    operator: OrgId


class ValidatorRemoved(Event):
    """A validator was removed."""

    public: PublicKey
    operator: OrgId


class UnknownValidator(Rejected, code=1001, hint="Check the key: `fedledger validator list`."):
    """No validator has this consensus key."""


class ValidatorExists(Rejected, code=1002, hint="Nothing to do: `fedledger validator list` shows it."):
    """A validator has this consensus key already."""


class NotAnOperator(Rejected, code=1003, hint="The members decide on roles: `fedledger org show`."):
    """The organisation was not admitted with the role to run a validator."""


class SigningKey(Rejected, code=1004, hint="Give the validator a key of its own: `cometbft gen-validator`."):
    """The key signs transactions for an organisation: a consensus key signs nothing but votes."""


class TooManyValidators(Rejected, code=1005, hint="Remove a validator first, or replace one."):
    """The set holds as many validators as it may."""


class LastValidator(Rejected, code=1006, hint="Admit its successor first, or replace it."):
    """Without this validator nobody would be left to decide blocks."""


class PowerConcentrated(
    Rejected, code=1007, hint="Admit validators of other organisations first, or replace one validator by another."
):
    """An organisation would hold a third of the power or more, or more than another where fewer than four operate."""


def admit(view: View, new: NewValidator, replaces: PublicKey | None, ctx: Context) -> Outcome:
    """Describe admitting a validator, in the place of another if one is named. For governance.

    Rejects: ValidatorExists, UnknownOrganisation, MemberInactive, NotAnOperator, SigningKey, WeakKey, NotInPossession,
    UnknownValidator, TooManyValidators, PowerConcentrated.
    """
    before = SET.at(view).validators
    admitted = _admitted(view, before, new, ctx.genesis, ctx.height)
    if replaces is None:
        return _changed(before, (*before, admitted), (ValidatorAdmitted(admitted.public, admitted.operator),))
    leaving = _named(before, replaces)
    return _changed(
        before,
        (*(one for one in before if one != leaving), admitted),
        (
            ValidatorRemoved(leaving.public, leaving.operator),
            ValidatorAdmitted(admitted.public, admitted.operator),
        ),
    )


def remove(view: View, public: PublicKey) -> Outcome:
    """Describe removing a validator. For governance. Rejects: UnknownValidator, LastValidator, PowerConcentrated."""
    before = SET.at(view).validators
    leaving = _named(before, public)
    require(len(before) > 1, lambda: LastValidator(key=public))
    after = tuple(one for one in before if one != leaving)
    return _changed(before, after, (ValidatorRemoved(leaving.public, leaving.operator),))


def dismiss(view: View, operator: OrgId) -> Outcome:
    """Describe removing all validators of an operator, if it has any. For the removal of a member.

    Rejects: LastValidator, PowerConcentrated.
    """
    before = SET.at(view).validators
    leaving = tuple(one for one in before if one.operator == operator)
    if not leaving:
        return Outcome()
    after = tuple(one for one in before if one.operator != operator)
    require(bool(after), lambda: LastValidator(key=leaving[0].public))
    return _changed(before, after, tuple(ValidatorRemoved(one.public, one.operator) for one in leaving))


def establish(view: View, founding: tuple[NewValidator, ...], genesis: Digest) -> Outcome:
    """Describe the set of the first block. For genesis. Rejects: as ``admit``."""
    entries: tuple[Validator, ...] = ()
    for new in founding:
        entries += (_admitted(view, entries, new, genesis, height=0),)
    return _changed((), entries, tuple(ValidatorAdmitted(one.public, one.operator) for one in entries))


def powers(validators: tuple[Validator, ...]) -> dict[OrgId, int]:
    """The power of each operator, the first in the set first."""
    held: dict[OrgId, int] = {}
    for one in validators:
        held[one.operator] = held.get(one.operator, 0) + one.power
    return held


def updates(before: View, writes: Mapping[bytes, bytes | None]) -> tuple[tuple[PublicKey, int], ...]:
    """What a block changed: the key and the new power of each validator whose power is another, by key; 0 removes it.

    ``before`` is committed state before the block, ``writes`` the block's. CometBFT stops for a key that is named
    twice and for the removal of one it does not know, so this compares the two ends and never counts the steps.
    """
    body = writes.get(SET.path())
    if body is None:
        return ()
    old = {one.public: one.power for one in SET.at(before).validators}
    new = {one.public: one.power for one in SET.read(body).validators}
    changed = sorted(public for public in {**old, **new} if old.get(public) != new.get(public))
    return tuple((public, new.get(public, 0)) for public in changed)


def possession_statement(genesis: Digest, operator: OrgId, public: PublicKey) -> bytes:
    """What a validator's key signs to show that its operator holds it, on the ledger that began with this genesis.

    Its first bytes are text; a vote's are a protobuf's, so neither can be taken for the other.
    """
    return crypto.tagged(POSSESSION_DOMAIN, f"{genesis.hex()}\0{operator}\0{public.hex()}".encode("ascii"))


def _admitted(
    view: View, validators: tuple[Validator, ...], new: NewValidator, genesis: Digest, height: Height
) -> Validator:
    public, operator = new.public, new.operator
    require(all(one.public != public for one in validators), lambda: ValidatorExists(key=public))
    roles = identity.require_active(view, operator).roles
    require(Role.OPERATOR in roles, lambda: NotAnOperator(organisation=operator))
    require(identity.KEYS.get(view, public) is None, lambda: SigningKey(key=public))
    require(crypto.is_enrollable(public), lambda: WeakKey(key=public))
    statement = possession_statement(genesis, operator, public)
    require(crypto.verify(public, statement, new.possession), lambda: NotInPossession(key=public))
    return Validator(public, operator, limits.VALIDATOR_POWER, height)


def _named(validators: tuple[Validator, ...], public: PublicKey) -> Validator:
    named = next((one for one in validators if one.public == public), None)
    if named is None:
        raise UnknownValidator(key=public)
    return named


def _changed(before: tuple[Validator, ...], after: tuple[Validator, ...], events: tuple[Event, ...]) -> Outcome:
    """Describe a new set. Rejects: TooManyValidators, PowerConcentrated."""
    require(len(after) <= limits.VALIDATORS, lambda: TooManyValidators(limit=limits.VALIDATORS))
    held = powers(after)
    total, most = sum(held.values()), max(held, key=lambda name: (held[name], name))
    small = len(powers(before)) < FEWEST_OPERATORS
    equal = all(power == held[most] for power in held.values())
    require(
        3 * held[most] < total or (small and equal),
        lambda: PowerConcentrated(organisation=most, power=held[most], total=total),
    )
    ordered = tuple(sorted(after, key=lambda one: one.public))
    return Outcome((SET.set(ValidatorSet(ordered)),), events)


CONTRACT = Contract(name="validators", number=10, state=(SET,), handlers={}, modules=(__name__,))
