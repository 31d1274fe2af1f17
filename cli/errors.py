"""What an exception means to whoever typed the command: a name, a hint, facts with units, an exit status.

This is the only place where exceptions become exit statuses:

===  =========================================================================
0    done
1    refused by the ledger, or failed
2    not connected or not let in: node down, wrong passphrase, exposed key file
3    no answer in time
4    wrong arguments, or a wrong file named by them
5    a bug
6    a receipt whose parts contradict each other: the message names the part
7    a file that is no receipt
8    a receipt that does not lead back to what is trusted
9    a node's store that is damaged
10   two nodes whose states differ
130  interrupted with Ctrl-C; the message says what was left
===  =========================================================================

Exceptions are told apart by the names of their classes, so that nothing is imported to print an error: an exception's
module is loaded by the time it is raised.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from . import units
from .output import SCHEMA_VERSION, plain, printable


class Exit(IntEnum):
    """The exit statuses."""

    OK = 0
    REFUSED = 1
    NO_ACCESS = 2
    TIMEOUT = 3
    USAGE = 4
    BUG = 5
    RECEIPT_INVALID = 6
    RECEIPT_UNREADABLE = 7
    RECEIPT_NOT_TRUSTED = 8
    STORE_DAMAGED = 9
    STATES_DIFFER = 10
    INTERRUPTED = 130


# The nearest class in an exception's line of descent decides.
STATUSES: Final[Mapping[str, Exit]] = {
    "abci_app.inspection.diff_state.NoCommonHeight": Exit.REFUSED,
    "abci_app.inspection.sources.SourceFailed": Exit.NO_ACCESS,
    "abci_app.store.recovery.Damaged": Exit.NO_ACCESS,
    "abci_app.store.interface.StoreError": Exit.NO_ACCESS,
    "cli.nouns.node.NodeExtraMissing": Exit.NO_ACCESS,
    "contracts.kernel.rules.Rejected": Exit.REFUSED,
    "contracts.kernel.codec.Malformed": Exit.USAGE,
    "client_sdk.reads.checkpoints.CheckpointInvalid": Exit.NO_ACCESS,
    "client_sdk.client.client.NoSigner": Exit.NO_ACCESS,
    "client_sdk.client.client.NotDecided": Exit.TIMEOUT,
    "devnet.errors.DevnetError": Exit.REFUSED,
    "devnet.errors.ManifestInvalid": Exit.USAGE,
    "devnet.errors.NoDevnet": Exit.NO_ACCESS,
    "devnet.errors.NotRunning": Exit.NO_ACCESS,
    "client_sdk.session.profile.ProfileInvalid": Exit.NO_ACCESS,
    "devnet.errors.UnknownProcess": Exit.USAGE,
    "client_sdk.secrets.keys.InvalidKeyName": Exit.USAGE,
    "client_sdk.secrets.keys.KeyringError": Exit.NO_ACCESS,
    "client_sdk.secrets.keys.KeyFileExists": Exit.REFUSED,
    "client_sdk.light.errors.LightClientError": Exit.REFUSED,
    "client_sdk.secrets.passphrase.PassphraseError": Exit.NO_ACCESS,
    "client_sdk.payloads.errors.InvalidCid": Exit.USAGE,
    "client_sdk.payloads.errors.PayloadError": Exit.REFUSED,
    "client_sdk.payloads.errors.StoreUnavailable": Exit.NO_ACCESS,
    "client_sdk.secrets.private_files.PrivateFileError": Exit.NO_ACCESS,
    "client_sdk.receipts.errors.NoReceipt": Exit.REFUSED,
    "client_sdk.receipts.errors.ReceiptInvalid": Exit.RECEIPT_INVALID,
    "client_sdk.receipts.errors.ReceiptNotTrusted": Exit.RECEIPT_NOT_TRUSTED,
    "client_sdk.receipts.errors.ReceiptUnreadable": Exit.RECEIPT_UNREADABLE,
    "client_sdk.reads.refusals.LedgerBug": Exit.BUG,
    "client_sdk.reads.refusals.ResultMalformed": Exit.REFUSED,
    "client_sdk.reads.refusals.UnknownRefusal": Exit.REFUSED,
    "client_sdk.rpc.errors.NodeUnavailable": Exit.NO_ACCESS,
    "client_sdk.rpc.errors.RpcError": Exit.REFUSED,
    "client_sdk.rpc.transport.AddressInvalid": Exit.USAGE,
    "client_sdk.session.opening.WrongGenesis": Exit.NO_ACCESS,
    "client_sdk.training.artefacts.ArtefactRefused": Exit.REFUSED,
    "client_sdk.training.journal.JournalDamaged": Exit.REFUSED,
    "client_sdk.training.participant.PayloadLost": Exit.REFUSED,
    "client_sdk.training.task.VersionUnfit": Exit.REFUSED,
    "client_sdk.training.terms_file.TermsFileInvalid": Exit.USAGE,
    "client_sdk.training.trainer.ModelRefused": Exit.USAGE,
    "client_sdk.documents.strict_json.AnswerMalformed": Exit.REFUSED,
    "learning.errors.LearningError": Exit.REFUSED,
    "learning.inputs.InvalidInputs": Exit.USAGE,
    "typer.exceptions.TyperException": Exit.USAGE,
    "builtins.KeyboardInterrupt": Exit.INTERRUPTED,
    "builtins.TimeoutError": Exit.TIMEOUT,
    "builtins.OSError": Exit.REFUSED,
}

# A class's own row wins over the hint it carries, which may name what this program has not; an ancestor's row serves
# those that carry none.
HINTS: Final[Mapping[str, str]] = {
    "contracts.kernel.codec.Malformed": "Correct the named field; a name has lower-case letters, digits and hyphens.",
    "client_sdk.client.client.NoSigner": "Say whose key acts: --as ORG/KEY, or FEDLEDGER_AS.",
    "client_sdk.secrets.passphrase.NoPassphrase": "Give --passphrase-file FILE (a pipe such as /dev/fd/3 is one too).",
    "client_sdk.rpc.errors.RpcError": "The message is the node's own: 'fedledger doctor' looks at all of them.",
    "client_sdk.training.artefacts.ArtefactRefused": "Ask whoever published it, or fetch it from another store.",
    "learning.errors.LearningError": "Compare your records and your model with 'fedledger task show'.",
    "learning.inputs.InvalidInputs": "Compare the records with what 'fedledger task show' says of the inputs.",
    "builtins.KeyboardInterrupt": "Nothing was left half done.",
    "builtins.TimeoutError": "Check that the chain makes blocks ('fedledger doctor'), then try again.",
    "builtins.OSError": "Check the file, its folder and the space on its disk.",
}
OTHER_HINT: Final = "'fedledger doctor' looks for what is wrong."
BUG_HINT: Final = "This is a bug in fedledger: run it again with --debug and report what it prints."


# Failures that only the command line knows: exit status and meaning.
OWN: Final[Mapping[str, tuple[Exit, str]]] = {
    "FILE_EXISTS": (Exit.USAGE, "A file of that name is there already, and nothing is overwritten unasked."),
    "GENESIS_UNREADABLE": (Exit.USAGE, "The file is no genesis document of CometBFT."),
    "INTERRUPTED": (Exit.INTERRUPTED, "Ctrl-C. The message says what was left behind."),
    "NOBODY_ACTS": (Exit.USAGE, "The command signs, and nobody was named to sign."),
    "NOTHING_TO_DO": (Exit.REFUSED, "The ledger is not at the step that the command would take."),
    "NOTHING_TO_PROPOSE": (Exit.REFUSED, "Too few contributions of the round are good enough to aggregate."),
    "NO_APPLICATION": (Exit.USAGE, "The file is no application for membership, or another organisation's."),
    "NO_TRUST_ROOT": (Exit.USAGE, "A receipt is checked against exactly one thing that is trusted."),
    "NO_CONSENT": (Exit.USAGE, "Nobody consented, so nothing was sent."),
    "NO_SUCH_MODEL": (Exit.USAGE, "The module or the function that was named cannot be imported."),
    "RECORDS_UNREADABLE": (Exit.USAGE, "The file holds no records of a form that is read."),
    "UNKNOWN_CODE": (Exit.USAGE, "No error has this code or name."),
    "UNKNOWN_MEMBER": (Exit.USAGE, "No organisation of this name keeps keys where --ledger points."),
    "UNKNOWN_TRANSACTION": (Exit.REFUSED, "No transaction of this hash was decided on this ledger."),
    "USAGE": (Exit.USAGE, "The command was typed in a way it does not understand."),
}


class CliError(Exception):
    """A failure that only the command line knows. ``name`` is its error code, one of OWN."""

    def __init__(self, name: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.name, self.hint = name, hint
        self.status, _ = OWN[name]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what it left behind."""

    def __init__(self, left: str) -> None:
        super().__init__(left)
        self.hint = left


@dataclass(frozen=True)
class Failure:
    """An exception as it is shown. ``code`` is the ledger's number of a refusal, None for everything else."""

    error_code: str
    message: str
    hint: str
    status: Exit
    code: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def envelope(self) -> dict[str, Any]:
        """The JSON document of a failure."""
        return {
            "schema_version": SCHEMA_VERSION,
            "status": "error",
            "error_code": self.error_code,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "facts": plain(self.facts),
        }

    def text(self) -> str:
        """The lines for people."""
        label = self.error_code if self.code is None else f"{self.error_code} ({self.code})"
        lines = [f"{label}: {self.message}"]
        lines += [f"  {name}: {units.fact(self.error_code, name, value)}" for name, value in self.facts.items()]
        if self.hint:
            lines.append(f"What to do: {self.hint}")
        return printable("\n".join(lines))


def failure_of(error: BaseException) -> Failure:
    """What an exception means."""
    if isinstance(error, CliError):
        return Failure(error.name, str(error), error.hint, error.status)
    lineage = tuple(_qualified(kind) for kind in type(error).__mro__)
    if "contracts.kernel.rules.Rejected" in lineage:
        return _refusal(error)
    status = next((STATUSES[name] for name in lineage if name in STATUSES), Exit.BUG)
    hint = _hint(error, lineage)
    if status is Exit.USAGE and "typer.exceptions.TyperException" in lineage:
        return Failure("USAGE", _usage_message(error), _usage_hint(error), status)
    if status is Exit.INTERRUPTED:
        return Failure("INTERRUPTED", "interrupted", hint, status)
    shown = hint or (BUG_HINT if status is Exit.BUG else OTHER_HINT)
    return Failure(error_code(type(error)), _message(error), shown, status, facts=getattr(error, "facts", {}))


@contextmanager
def leaving(left: str) -> Iterator[None]:
    """Say what Ctrl-C leaves behind, should it come within. Works around awaiting code too."""
    from asyncio import CancelledError

    try:
        yield
    except Interrupted:
        raise
    except (KeyboardInterrupt, CancelledError):
        raise Interrupted(left) from None


def error_code(kind: type[BaseException]) -> str:
    """``NodeUnavailable`` → ``NODE_UNAVAILABLE``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind.__name__).upper()


def _refusal(error: Any) -> Failure:
    return Failure(error.name, error.meaning(), error.hint, Exit.REFUSED, error.code, error.facts)


def _hint(error: BaseException, lineage: tuple[str, ...]) -> str:
    """The row of the class itself, else the exception's own hint, else an ancestor's row."""
    own = HINTS.get(lineage[0]) or getattr(error, "hint", "")
    return own or next((HINTS[name] for name in lineage if name in HINTS), "")


def _qualified(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _message(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _usage_message(error: Any) -> str:
    message: str = error.format_message()
    return message


def _usage_hint(error: Any) -> str:
    ctx = getattr(error, "ctx", None)
    return f"See '{ctx.command_path} --help'." if ctx is not None else "See 'fedledger --help'."
