"""What an organisation becomes a member with: one record, stated in a genesis or in the vote that admits it.

Part of the contract ``identity``, which judges it and enrols the organisation.
"""

from typing import Annotated

from .kernel import Record
from .kernel.types import AgeRecipient, DeltaInverse, Items, LegalId, NanoEpsilon, OrgId, RenyiOrder, Role
from .possession import NewKey

Roles = Annotated[tuple[Role, ...], Items(1, len(Role))]


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
