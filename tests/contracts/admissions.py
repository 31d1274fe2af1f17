"""The admission that tests put to the vote: the newcomer's, as it is or with something else in it."""

from dataclasses import replace
from typing import Any

from campaigns.harness.consortium import NEWCOMER, as_member
from contracts.governance import AdmitOrganisation
from contracts.kernel.types import Role

ADMISSION = AdmitOrganisation(as_member(NEWCOMER, (Role.DATA_OWNER,)))


def asking(**changes: Any) -> AdmitOrganisation:
    """The newcomer's admission with something else in it."""
    return AdmitOrganisation(replace(ADMISSION.admission, **changes))
