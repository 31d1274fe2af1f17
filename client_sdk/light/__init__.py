"""A light client of CometBFT: from a genesis or a checkpoint to headers, values and results that one can trust.

Pure: no sockets, no files, no clock. ``errors`` names what can be wrong, ``headers`` what is signed, ``encoding`` its
bytes, ``documents`` its JSON, ``verify`` who must have signed, ``proofs`` what a signed header proves.
``client_sdk.reads.verified`` fetches.
"""

from .errors import CannotVerify, LightClientError, NewerRules, OverlapTooSmall, TrustExpired, VerificationFailed
from .headers import Commit, CommitSignature, Flag, Genesis, Header, SignedHeader, TxResult, Validator, ValidatorSet
from .proofs import (
    Inclusion,
    prove_result,
    rules_of,
    verify_absence,
    verify_result,
    verify_results,
    verify_transaction,
    verify_transactions,
    verify_value,
)
from .verify import (
    CLOCK_DRIFT_NS,
    TRUSTING_PERIOD_NS,
    TrustedState,
    trust_checkpoint,
    trust_genesis,
    verify_header,
    verify_previous,
)

__all__ = [
    "CLOCK_DRIFT_NS",
    "TRUSTING_PERIOD_NS",
    "CannotVerify",
    "Commit",
    "CommitSignature",
    "Flag",
    "Genesis",
    "Header",
    "Inclusion",
    "LightClientError",
    "NewerRules",
    "OverlapTooSmall",
    "SignedHeader",
    "TrustExpired",
    "TrustedState",
    "TxResult",
    "Validator",
    "ValidatorSet",
    "VerificationFailed",
    "prove_result",
    "rules_of",
    "trust_checkpoint",
    "trust_genesis",
    "verify_absence",
    "verify_header",
    "verify_previous",
    "verify_result",
    "verify_results",
    "verify_transaction",
    "verify_transactions",
    "verify_value",
]
