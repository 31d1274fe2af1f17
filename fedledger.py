"""The façade people import: ``import fedledger as fl``. Lazy, and without any logic of its own.

Here are what opens a ledger and trains on it, and every error that a program may want to catch: the client's own
(``SdkError``), the ledger's refusals (``Rejected``) and those of records and models (``LearningError``).
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

# Twice, because a type checker reads imports, and a program is to load only what it uses: a test compares them.
# What the ledger may refuse is written by `make docs`.
# fmt: off
if TYPE_CHECKING:
    from client_sdk.client.client import NoSigner as NoSigner, NotDecided as NotDecided
    from client_sdk.documents.strict_json import AnswerMalformed as AnswerMalformed
    from client_sdk.errors import Kind as Kind, SdkError as SdkError
    from client_sdk.light.errors import (
        CannotVerify as CannotVerify,
        LightClientError as LightClientError,
        NewerRules as NewerRules,
        OverlapTooSmall as OverlapTooSmall,
        TrustExpired as TrustExpired,
        VerificationFailed as VerificationFailed,
    )
    from client_sdk.payloads.car import MalformedCar as MalformedCar
    from client_sdk.payloads.confidential import (
        CiphertextCorrupt as CiphertextCorrupt,
        InvalidRecipient as InvalidRecipient,
        NotARecipient as NotARecipient,
        PlaintextTooLarge as PlaintextTooLarge,
    )
    from client_sdk.payloads.errors import (
        InvalidCid as InvalidCid,
        PayloadCorrupt as PayloadCorrupt,
        PayloadError as PayloadError,
        PayloadMalformed as PayloadMalformed,
        PayloadNotFound as PayloadNotFound,
        PayloadOverLimit as PayloadOverLimit,
        StoreAddressInvalid as StoreAddressInvalid,
        StoreUnavailable as StoreUnavailable,
    )
    from client_sdk.payloads.kubo_node import KuboNodeFailed as KuboNodeFailed
    from client_sdk.payloads.kubo_rpc import Disconnected as Disconnected, RpcRefused as RpcRefused
    from client_sdk.reads.checkpoints import CheckpointInvalid as CheckpointInvalid
    from client_sdk.reads.queries import NotKept as NotKept, NotYet as NotYet, QueryRefused as QueryRefused
    from client_sdk.reads.refusals import (
        LedgerBug as LedgerBug,
        PoolShareFull as PoolShareFull,
        ResultMalformed as ResultMalformed,
        UnknownRefusal as UnknownRefusal,
    )
    from client_sdk.receipts.errors import (
        NoReceipt as NoReceipt,
        ReceiptError as ReceiptError,
        ReceiptInvalid as ReceiptInvalid,
        ReceiptNotTrusted as ReceiptNotTrusted,
        ReceiptUnreadable as ReceiptUnreadable,
    )
    from client_sdk.rpc.errors import (
        HeightPruned as HeightPruned,
        HeightUnavailable as HeightUnavailable,
        NodeError as NodeError,
        NodeUnavailable as NodeUnavailable,
        RpcError as RpcError,
        TxInCache as TxInCache,
    )
    from client_sdk.rpc.transport import AddressInvalid as AddressInvalid
    from client_sdk.secrets.age_identity import NotAnIdentity as NotAnIdentity
    from client_sdk.secrets.keys import (
        InvalidKeyName as InvalidKeyName,
        KeyFileCorrupt as KeyFileCorrupt,
        KeyFileExists as KeyFileExists,
        KeyFilePermissions as KeyFilePermissions,
        KeyNotFound as KeyNotFound,
        KeyringError as KeyringError,
        WrongPassphrase as WrongPassphrase,
    )
    from client_sdk.secrets.passphrase import (
        InvalidPassphrase as InvalidPassphrase,
        NoPassphrase as NoPassphrase,
        PassphraseError as PassphraseError,
    )
    from client_sdk.secrets.private_files import (
        ExposedFile as ExposedFile,
        FileTooLarge as FileTooLarge,
        PrivateFileError as PrivateFileError,
    )
    from client_sdk.secrets.validator_keys import NoValidatorKey as NoValidatorKey
    from client_sdk.session.blocking import Ledger as Ledger, Quote as Quote, Round as Round, connect as connect
    from client_sdk.session.opening import WrongGenesis as WrongGenesis
    from client_sdk.session.profile import ProfileInvalid as ProfileInvalid
    from client_sdk.training.artefacts import ArtefactRefused as ArtefactRefused, TaskInputs as TaskInputs
    from client_sdk.training.journal import JournalDamaged as JournalDamaged
    from client_sdk.training.outcomes import (
        CommitMissed as CommitMissed,
        Contribution as Contribution,
        PayloadLost as PayloadLost,
        RoundCameToNothing as RoundCameToNothing,
        TrainingInterrupted as TrainingInterrupted,
        UpdateUnfit as UpdateUnfit,
    )
    from client_sdk.training.task import TaskView as TaskView, VersionUnfit as VersionUnfit
    from client_sdk.training.terms_file import TermsFileInvalid as TermsFileInvalid
    from client_sdk.training.trainer import ModelRefused as ModelRefused, Trainer as Trainer
    from contracts.kernel.codec import Malformed as Malformed
    from contracts.kernel.rules import Rejected as Rejected
    # Generated from the registry, the imports.
    from contracts.ballots import (
        AlreadyAttested as AlreadyAttested,
        AlreadyOpened as AlreadyOpened,
        AlreadySealed as AlreadySealed,
        AnotherSet as AnotherSet,
        NotACandidate as NotACandidate,
        NotCommittedTo as NotCommittedTo,
        NotHeld as NotHeld,
        NotSealed as NotSealed,
        WrongOpening as WrongOpening,
    )
    from contracts.contributions import (
        AlreadyCommitted as AlreadyCommitted,
        AlreadyReserved as AlreadyReserved,
        NotPrivate as NotPrivate,
        NotReserved as NotReserved,
        PayloadTooLarge as PayloadTooLarge,
        WrongBase as WrongBase,
        WrongMechanism as WrongMechanism,
    )
    from contracts.governance import (
        NotInElectorate as NotInElectorate,
        ProposalClosed as ProposalClosed,
        ProposalDisowned as ProposalDisowned,
        TooManyOpen as TooManyOpen,
        UnknownProposal as UnknownProposal,
        VotedAlready as VotedAlready,
    )
    from contracts.identity import (
        DatasetExists as DatasetExists,
        EnrolmentCap as EnrolmentCap,
        FirstKeyNotHuman as FirstKeyNotHuman,
        KeyExists as KeyExists,
        KeyIsRevoked as KeyIsRevoked,
        LastHumanKey as LastHumanKey,
        LimitOverCap as LimitOverCap,
        MemberInactive as MemberInactive,
        NotYourKey as NotYourKey,
        OrganisationExists as OrganisationExists,
        RevocationMovesLater as RevocationMovesLater,
        UnknownDataset as UnknownDataset,
        UnknownKey as UnknownKey,
        UnknownOrganisation as UnknownOrganisation,
    )
    from contracts.kernel.refusals import (
        BadSignature as BadSignature,
        Expired as Expired,
        MalformedTransaction as MalformedTransaction,
        MissingRole as MissingRole,
        Replayed as Replayed,
        UnknownMessage as UnknownMessage,
        ValidTooLong as ValidTooLong,
        WrongChain as WrongChain,
        WrongPurpose as WrongPurpose,
    )
    from contracts.legal_identities import (
        LegalIdentityKnown as LegalIdentityKnown,
    )
    from contracts.membership import (
        LastMember as LastMember,
        NoRecovery as NoRecovery,
        NotAHumanKey as NotAHumanKey,
        NotSuspended as NotSuspended,
        RecoveryNotDue as RecoveryNotDue,
    )
    from contracts.models import (
        AlreadyRaised as AlreadyRaised,
        ModelExists as ModelExists,
        NoMoreVersions as NoMoreVersions,
        NotAVerifier as NotAVerifier,
        UnknownModel as UnknownModel,
        UnknownVersion as UnknownVersion,
        VersionNotOpen as VersionNotOpen,
    )
    from contracts.possession import (
        NotInPossession as NotInPossession,
        WeakKey as WeakKey,
    )
    from contracts.privacy_budget import (
        BudgetExceeded as BudgetExceeded,
        TooManyHolds as TooManyHolds,
    )
    from contracts.promises import (
        NoRoom as NoRoom,
        UnknownOrder as UnknownOrder,
    )
    from contracts.recipients import (
        BadRecipient as BadRecipient,
        RecipientTaken as RecipientTaken,
        SameRecipient as SameRecipient,
    )
    from contracts.rounds import (
        JoinedTooLate as JoinedTooLate,
        PhaseNotOver as PhaseNotOver,
        PhaseOver as PhaseOver,
        RoundEnded as RoundEnded,
        RoundUnderway as RoundUnderway,
        TooFewParticipants as TooFewParticipants,
        TooFewVerifiers as TooFewVerifiers,
        UnknownRound as UnknownRound,
        WrongPhase as WrongPhase,
    )
    from contracts.tasks import (
        AlreadyJoined as AlreadyJoined,
        MissingMandate as MissingMandate,
        NoMoreRounds as NoMoreRounds,
        NotJoined as NotJoined,
        NotYourTask as NotYourTask,
        TaskExists as TaskExists,
        TermsDiffer as TermsDiffer,
        TooLittleReputation as TooLittleReputation,
        UnknownTask as UnknownTask,
        WrongDataClass as WrongDataClass,
    )
    from contracts.terms import (
        BreakdownPoint as BreakdownPoint,
        TermsInconsistent as TermsInconsistent,
    )
    from contracts.thefts import (
        ReportedAlready as ReportedAlready,
        SinceInFuture as SinceInFuture,
        TooFarBack as TooFarBack,
    )
    from contracts.upgrades import (
        NothingScheduled as NothingScheduled,
        UpgradePending as UpgradePending,
        UpgradeTooLate as UpgradeTooLate,
        UpgradeTooSoon as UpgradeTooSoon,
        VersionNotAhead as VersionNotAhead,
    )
    from contracts.validators import (
        LastValidator as LastValidator,
        NotAnOperator as NotAnOperator,
        PowerConcentrated as PowerConcentrated,
        SigningKey as SigningKey,
        TooManyValidators as TooManyValidators,
        UnknownValidator as UnknownValidator,
        ValidatorExists as ValidatorExists,
    )
    # End of what is generated.
    from learning.errors import LearningError as LearningError
    from learning.inputs import InvalidInputs as InvalidInputs

# Where each name lives.
_HOMES: Final = {
    "client_sdk.client.client": ("NoSigner", "NotDecided"),
    "client_sdk.documents.strict_json": ("AnswerMalformed",),
    "client_sdk.errors": ("Kind", "SdkError"),
    "client_sdk.light.errors": (
        "CannotVerify", "LightClientError", "NewerRules", "OverlapTooSmall", "TrustExpired", "VerificationFailed",
    ),
    "client_sdk.payloads.car": ("MalformedCar",),
    "client_sdk.payloads.confidential": ("CiphertextCorrupt", "InvalidRecipient", "NotARecipient", "PlaintextTooLarge"),
    "client_sdk.payloads.errors": (
        "InvalidCid", "PayloadCorrupt", "PayloadError", "PayloadMalformed", "PayloadNotFound", "PayloadOverLimit",
        "StoreAddressInvalid", "StoreUnavailable",
    ),
    "client_sdk.payloads.kubo_node": ("KuboNodeFailed",),
    "client_sdk.payloads.kubo_rpc": ("Disconnected", "RpcRefused"),
    "client_sdk.reads.checkpoints": ("CheckpointInvalid",),
    "client_sdk.reads.queries": ("NotKept", "NotYet", "QueryRefused"),
    "client_sdk.reads.refusals": ("LedgerBug", "PoolShareFull", "ResultMalformed", "UnknownRefusal"),
    "client_sdk.receipts.errors": (
        "NoReceipt", "ReceiptError", "ReceiptInvalid", "ReceiptNotTrusted", "ReceiptUnreadable",
    ),
    "client_sdk.rpc.errors": (
        "HeightPruned", "HeightUnavailable", "NodeError", "NodeUnavailable", "RpcError", "TxInCache",
    ),
    "client_sdk.rpc.transport": ("AddressInvalid",),
    "client_sdk.secrets.age_identity": ("NotAnIdentity",),
    "client_sdk.secrets.keys": (
        "InvalidKeyName", "KeyFileCorrupt", "KeyFileExists", "KeyFilePermissions", "KeyNotFound", "KeyringError",
        "WrongPassphrase",
    ),
    "client_sdk.secrets.passphrase": ("InvalidPassphrase", "NoPassphrase", "PassphraseError"),
    "client_sdk.secrets.private_files": ("ExposedFile", "FileTooLarge", "PrivateFileError"),
    "client_sdk.secrets.validator_keys": ("NoValidatorKey",),
    "client_sdk.session.blocking": ("Ledger", "Quote", "Round", "connect"),
    "client_sdk.session.opening": ("WrongGenesis",),
    "client_sdk.session.profile": ("ProfileInvalid",),
    "client_sdk.training.artefacts": ("ArtefactRefused", "TaskInputs"),
    "client_sdk.training.journal": ("JournalDamaged",),
    "client_sdk.training.outcomes": (
        "CommitMissed", "Contribution", "PayloadLost", "RoundCameToNothing", "TrainingInterrupted", "UpdateUnfit",
    ),
    "client_sdk.training.task": ("TaskView", "VersionUnfit"),
    "client_sdk.training.terms_file": ("TermsFileInvalid",),
    "client_sdk.training.trainer": ("ModelRefused", "Trainer"),
    "contracts.kernel.codec": ("Malformed",),
    "contracts.kernel.rules": ("Rejected",),
    # Generated from the registry, the homes.
    "contracts.ballots": (
        "AlreadyAttested", "AlreadyOpened", "AlreadySealed", "AnotherSet", "NotACandidate", "NotCommittedTo", "NotHeld",
        "NotSealed", "WrongOpening",
    ),
    "contracts.contributions": (
        "AlreadyCommitted", "AlreadyReserved", "NotPrivate", "NotReserved", "PayloadTooLarge", "WrongBase",
        "WrongMechanism",
    ),
    "contracts.governance": (
        "NotInElectorate", "ProposalClosed", "ProposalDisowned", "TooManyOpen", "UnknownProposal", "VotedAlready",
    ),
    "contracts.identity": (
        "DatasetExists", "EnrolmentCap", "FirstKeyNotHuman", "KeyExists", "KeyIsRevoked", "LastHumanKey",
        "LimitOverCap", "MemberInactive", "NotYourKey", "OrganisationExists", "RevocationMovesLater", "UnknownDataset",
        "UnknownKey", "UnknownOrganisation",
    ),
    "contracts.kernel.refusals": (
        "BadSignature", "Expired", "MalformedTransaction", "MissingRole", "Replayed", "UnknownMessage", "ValidTooLong",
        "WrongChain", "WrongPurpose",
    ),
    "contracts.legal_identities": (
        "LegalIdentityKnown",
    ),
    "contracts.membership": (
        "LastMember", "NoRecovery", "NotAHumanKey", "NotSuspended", "RecoveryNotDue",
    ),
    "contracts.models": (
        "AlreadyRaised", "ModelExists", "NoMoreVersions", "NotAVerifier", "UnknownModel", "UnknownVersion",
        "VersionNotOpen",
    ),
    "contracts.possession": (
        "NotInPossession", "WeakKey",
    ),
    "contracts.privacy_budget": (
        "BudgetExceeded", "TooManyHolds",
    ),
    "contracts.promises": (
        "NoRoom", "UnknownOrder",
    ),
    "contracts.recipients": (
        "BadRecipient", "RecipientTaken", "SameRecipient",
    ),
    "contracts.rounds": (
        "JoinedTooLate", "PhaseNotOver", "PhaseOver", "RoundEnded", "RoundUnderway", "TooFewParticipants",
        "TooFewVerifiers", "UnknownRound", "WrongPhase",
    ),
    "contracts.tasks": (
        "AlreadyJoined", "MissingMandate", "NoMoreRounds", "NotJoined", "NotYourTask", "TaskExists", "TermsDiffer",
        "TooLittleReputation", "UnknownTask", "WrongDataClass",
    ),
    "contracts.terms": (
        "BreakdownPoint", "TermsInconsistent",
    ),
    "contracts.thefts": (
        "ReportedAlready", "SinceInFuture", "TooFarBack",
    ),
    "contracts.upgrades": (
        "NothingScheduled", "UpgradePending", "UpgradeTooLate", "UpgradeTooSoon", "VersionNotAhead",
    ),
    "contracts.validators": (
        "LastValidator", "NotAnOperator", "PowerConcentrated", "SigningKey", "TooManyValidators", "UnknownValidator",
        "ValidatorExists",
    ),
    # End of what is generated.
    "learning.errors": ("LearningError",),
    "learning.inputs": ("InvalidInputs",),
}
# fmt: on
_MODULES: Final = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [*_MODULES]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _MODULES:  # With name and module, Python says what was meant.
        raise AttributeError(f"fedledger has no {name!r}", name=name, obj=sys.modules[__name__])
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__
