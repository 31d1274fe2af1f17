"""What an exception means to whoever typed the command: a name, a hint, facts with units, an exit status.

This is the only place where exceptions become exit statuses:

===  ================================================================================
0    done
1    refused by the ledger, or failed
2    not connected or not let in (node down, wrong passphrase, exposed key file), or this
     machine cannot (full disk, no permission, a library that is missing)
3    no answer in time
4    wrong arguments, or a wrong file named by them
5    a bug
6    a receipt whose parts contradict each other: the message names the part
7    a file that is no receipt
8    a receipt that does not lead back to what is trusted
9    a node's store that is damaged
10   two nodes whose states differ
130  interrupted with Ctrl-C; the message says what was left
===  ================================================================================

Each class of errors states its kind and its hint itself (``client_sdk.errors``); ``environment`` knows those of Python
that are the machine's doing. Everything else is a bug.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from typer.exceptions import TyperException

from client_sdk.errors import Kind, SdkError

from . import environment, units
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


# An error states its kind itself, and now and then an exit status of its own; the kind's is the rule.
STATUSES: Final[Mapping[Kind, Exit]] = {
    Kind.REFUSED: Exit.REFUSED,
    Kind.ACCESS: Exit.NO_ACCESS,
    Kind.TIMEOUT: Exit.TIMEOUT,
    Kind.USAGE: Exit.USAGE,
    Kind.ENVIRONMENT: Exit.NO_ACCESS,
    Kind.BUG: Exit.BUG,
}

OTHER_HINT: Final = "'fedledger doctor' looks for what is wrong."
_LATE_HINT: Final = "Check that the chain makes blocks ('fedledger doctor'), then try again."
_INTERRUPTED_HINT: Final = "Nothing was left half done."
BUG_HINT: Final = "This is a bug in fedledger: run it again with --debug and report what it prints."

# Failures that only the command line knows: kind and meaning.
OWN: Final[Mapping[str, tuple[Kind, str]]] = {
    "FILE_EXISTS": (Kind.USAGE, "A file of that name is there already, and nothing is overwritten unasked."),
    "GENESIS_UNREADABLE": (Kind.USAGE, "The file is no genesis document of CometBFT."),
    "NOBODY_ACTS": (Kind.USAGE, "The command signs, and nobody was named to sign."),
    "NOTHING_TO_DO": (Kind.REFUSED, "The ledger is not at the step that the command would take."),
    "NO_APPLICATION": (Kind.USAGE, "The file is no application for membership, or another organisation's."),
    "NO_TRUST_ROOT": (Kind.USAGE, "A receipt is checked against exactly one thing that is trusted."),
    "NO_CONSENT": (Kind.USAGE, "Nobody consented, so nothing was sent."),
    "NO_SUCH_MODEL": (Kind.USAGE, "The module or the function that was named cannot be imported."),
    "RECORDS_UNREADABLE": (Kind.USAGE, "The file holds no records of a form that is read."),
    "UNKNOWN_CODE": (Kind.USAGE, "No error has this code or name."),
    "UNKNOWN_MEMBER": (Kind.USAGE, "No organisation of this name keeps keys where --ledger points."),
    "UNKNOWN_TRANSACTION": (Kind.REFUSED, "No transaction of this hash was decided on this ledger."),
    "USAGE": (Kind.USAGE, "The command was typed in a way it does not understand."),
}


class CliError(SdkError):
    """A failure that only the command line knows. ``name`` is its error code, one of OWN, which says its kind."""

    kind = Kind.USAGE

    def __init__(self, name: str, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.name = name


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
        kind, _ = OWN[error.name]
        return Failure(error.name, str(error), error.hint, STATUSES[kind])
    if isinstance(error, KeyboardInterrupt):
        return Failure("INTERRUPTED", "interrupted", getattr(error, "hint", _INTERRUPTED_HINT), Exit.INTERRUPTED)
    if isinstance(error, TyperException):
        return Failure("USAGE", error.format_message(), _usage_hint(error), Exit.USAGE)
    status, name = status_of(type(error)), error_code(type(error))
    if status is None:
        return _of_python(error, name)
    hint = getattr(error, "hint", "") or (BUG_HINT if status is Exit.BUG else OTHER_HINT)
    facts = getattr(error, "facts", {})
    if hasattr(error, "meaning"):  # A refusal of the ledger, told without importing the ledger's rules.
        return Failure(getattr(error, "name", name), error.meaning(), hint, status, getattr(error, "code", None), facts)
    return Failure(name, str(error) or type(error).__name__, hint, status, facts=facts)


def status_of(kind: type[BaseException]) -> Exit | None:
    """The exit status that a class of errors states, as its own or by its kind; None for a class that states none."""
    own, stated = getattr(kind, "exit_status", None), getattr(kind, "kind", None)
    if stated not in tuple(Kind):  # Of another package, whose word ``kind`` means something else.
        return None
    return STATUSES[Kind(stated)] if own is None else Exit(own)


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


def _of_python(error: BaseException, name: str) -> Failure:
    """An exception that states no kind: of Python, or of a package that we use."""
    if isinstance(error, TimeoutError):
        return Failure(name, str(error) or "no answer in time", _LATE_HINT, Exit.TIMEOUT)
    cause = environment.cause_of(error)
    if cause is not None:
        return Failure(name, cause.message, cause.hint, STATUSES[Kind.ENVIRONMENT])
    return Failure(name, str(error) or type(error).__name__, BUG_HINT, Exit.BUG)


def _usage_hint(error: Any) -> str:
    ctx = getattr(error, "ctx", None)
    return f"See '{ctx.command_path} --help'." if ctx is not None else "See 'fedledger --help'."
