"""How founders make a genesis, which its proofs of possession cover, and what signatures are bound to then.

Left to others: who founds a ledger (``consortium``, ``simulation.members``).
"""

from collections.abc import Iterable
from dataclasses import replace

from contracts import transition
from contracts.admission import Admission
from contracts.kernel import crypto, limits
from contracts.kernel.envelope import LedgerId
from contracts.kernel.types import Role
from contracts.possession import NewKey
from contracts.registry import RULES
from contracts.transition import Genesis
from contracts.validators import NewValidator

from .chain import CHAIN_ID, Member, Validator

NO_GENESIS = bytes(32)  # What a proof covers until the genesis is known that it will stand in.


def genesis(
    *founders: Admission,
    operators: Iterable[Member] | None = None,
    chain_id: str = CHAIN_ID,
    rules: int = RULES.newest.version,
) -> Genesis:
    """A genesis with a validator for each operator; the first founder is made the only one if none is named."""
    if operators is None:
        first, *others = founders
        founders = (replace(first, roles=(Role.OPERATOR, *first.roles)), *others)
        operators = (Member(first.organisation),)
    seated = tuple(member.validator.admission(NO_GENESIS) for member in operators)
    return proved(Genesis(chain_id, rules, founders, seated))


def proved(stated: Genesis) -> Genesis:
    """The genesis with its founders' proofs of possession, and validators' where they are for ``NO_GENESIS``."""
    founding = transition.founding_digest(stated)

    def key_of(one: Admission) -> NewKey:
        signer = Member(one.organisation).human
        return signer.enrolment(founding) if one.key.public == signer.public else one.key

    def validator_of(one: NewValidator) -> NewValidator:
        known = (Validator(one.operator, number) for number in range(limits.VALIDATORS))
        key = next((each for each in known if each.public == one.public), None)
        return one if key is None or one != key.admission(NO_GENESIS) else key.admission(founding)

    return replace(
        stated,
        founders=tuple(replace(one, key=key_of(one)) for one in stated.founders),
        validators=tuple(map(validator_of, stated.validators)),
    )


def ledger_of(stated: Genesis) -> LedgerId:
    """What signatures are bound to on the ledger of a genesis."""
    return LedgerId(stated.chain_id, crypto.sha256(stated.encode()))
