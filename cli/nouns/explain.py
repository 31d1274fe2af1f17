"""``fedledger explain``: what an error means, and what to do."""

from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from inspect import getdoc
from pkgutil import walk_packages
from typing import Annotated, Any, Final

import typer

from ..commands import solo
from ..errors import OWN, STATUSES, CliError, Exit, error_code, status_of
from ..options import Output
from ..output import Fields, Format, Rows, emit

_HERE: Final = "this command line"
_SLOW: Final = "learning.torch_model"  # It imports torch, which takes seconds, for one class that says it all itself.
_INTERRUPTED: Final = "Ctrl-C. The message says what was left behind."


def explain(
    code: Annotated[
        str, typer.Argument(metavar="CODE|NAME", help="401, BUDGET_EXCEEDED; without it, all are listed.")
    ] = "",
    output: Output = Format.TXT,
) -> None:
    """Say what an error code means and what to do about it.

    Numbers are the ledger's refusals: the same everywhere, never used for anything else. Other names are failures of
    programs on this side.
    """
    known = catalogue()
    if not code:
        rows = [(each["code"], each["name"], each["meaning"]) for each in known]
        emit(output, known, Rows(("code", "name", "meaning"), rows))
        return
    found = [each for each in known if code.upper() in (str(each["code"]), each["name"])]
    if not found:
        raise CliError("UNKNOWN_CODE", f"no error has the code or name {code[:60]!r}", _near(code, known))
    emit(output, found if len(found) > 1 else found[0], *map(_fields, found))


app = solo(explain, example="explain BUDGET_EXCEEDED")


def _fields(error: dict[str, Any]) -> Fields:
    return Fields(
        {
            "name": error["name"],
            "code": error["code"] if error["code"] is not None else "(not a refusal of the ledger)",
            "meaning": error["meaning"],
            "what to do": error["hint"] or "The message says it.",
            "where": error["contract"],
            "exit status": error["exit_status"],
        }
    )


def catalogue() -> list[dict[str, Any]]:
    """Every error that has a name: the ledger's refusals by code, then what can fail on this side."""
    return [*_refusals(), *_failures()]


def _refusals() -> list[dict[str, Any]]:
    from client_sdk.reads import refusals
    from contracts import registry
    from contracts.transition import INTERNAL_ERROR

    owners = {
        refusal.code: contract.name for contract in registry.RULES.newest.contracts for refusal in contract.refusals()
    }
    listed = []
    for code in sorted({INTERNAL_ERROR, *(code for code, kind in registry.RULES.refusals.items() if _ships(kind))}):
        name, meaning, hint = refusals.explain(code)
        status = Exit.BUG if code == INTERNAL_ERROR else Exit.REFUSED
        listed.append(
            _row(
                code, name, meaning, hint, f"contract {owners[code]}" if code in owners else "every transaction", status
            )
        )
    # What a node says for itself is waited out: what is left of it is a transaction that ran out of time.
    own = [_row(code, *refusals.explain(code), "a node's pool", Exit.TIMEOUT) for code in refusals.NODE_REFUSALS]
    return [*listed, *own]


def _ships(kind: type) -> bool:
    return kind.__module__.startswith("contracts.")


def _failures() -> list[dict[str, Any]]:
    """What can fail on this side: what this command line names itself, and every class that states its kind."""
    listed = [_row(None, name, meaning, "", _HERE, STATUSES[kind]) for name, (kind, meaning) in OWN.items()]
    listed.append(_row(None, "INTERRUPTED", _INTERRUPTED, "", _HERE, Exit.INTERRUPTED))
    listed += [_described(kind, status) for kind in _kinds() if (status := status_of(kind)) is not None]
    return sorted(listed, key=lambda row: (str(row["name"]), str(row["contract"])))


def _kinds() -> list[type[BaseException]]:
    """The public classes of errors of client, services, devnet, learning and encoding, each once."""
    from client_sdk.errors import SdkError
    from client_sdk.reads.refusals import NODE_REFUSALS
    from contracts.kernel.codec import Malformed
    from learning.errors import LearningError

    for package in ("client_sdk", "services", "devnet", "learning"):
        _load(package)
    leaves: list[type[BaseException]] = [*_leaves(SdkError), Malformed, LearningError, *_leaves(LearningError)]
    elsewhere: tuple[type[BaseException], ...] = (*NODE_REFUSALS.values(), CliError)
    return [kind for kind in dict.fromkeys(leaves) if not issubclass(kind, elsewhere)]


def _load(package: str) -> None:
    """Import the modules of a package, so that their classes are there. One whose library is missing is left out."""
    for module in walk_packages(import_module(package).__path__, f"{package}."):
        if module.name != _SLOW and not module.name.endswith("__main__"):
            with suppress(ImportError):
                import_module(module.name)


def _leaves(kind: type[BaseException]) -> list[type[BaseException]]:
    """A class, or instead of a root the classes below it."""
    below = [each for each in kind.__subclasses__() if not each.__name__.startswith("_")]
    is_root = below and (getdoc(kind) or "").startswith("Root ")
    return [*([] if is_root else [kind]), *(leaf for each in below for leaf in _leaves(each))]


def _described(kind: type[BaseException], status: Exit) -> dict[str, Any]:
    meaning = (getdoc(kind) or "").splitlines()[0].replace("``", "")
    return _row(None, error_code(kind), meaning, getattr(kind, "hint", ""), kind.__module__, status)


def _row(code: int | None, name: str, meaning: str, hint: str, contract: str, status: Exit) -> dict[str, Any]:
    return {
        "code": code,
        "name": name,
        "meaning": meaning,
        "hint": hint,
        "contract": contract,
        "exit_status": int(status),
    }


def _near(code: str, known: list[dict[str, Any]]) -> str:
    names = get_close_matches(code.upper(), [str(each["name"]) for each in known], n=3)
    return f"Did you mean {' or '.join(names)}?" if names else "'fedledger explain' lists them all."
