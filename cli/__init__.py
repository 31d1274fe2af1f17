"""The command line, ``fedledger NOUN VERB``: what a person or a script does with a ledger.

``app`` holds the tree of commands, one module a noun; ``output`` prints results, ``errors`` maps exceptions to hints
and exit statuses, ``access`` opens the ledger. The rule for every module here: import at the top only what is cheap;
whatever opens sockets or computes is imported inside the command. This file imports neither Typer nor Rich: they come
with the extra ``[cli]``, and who has only the client is told so.
"""

import errno
import io
import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Final

__all__ = ["main"]

_NEEDED: Final = ("typer", "rich")
_NO_ACCESS: Final = 2  # As `errors.Exit` has it for a missing extra; that module is not loaded for this.


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. Entry point of the console script: 2 when the extra is missing."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        sys.stderr.write(f"fedledger: {missing[0]} is not installed: the command line needs the extra fedledger[cli]\n")
        return _NO_ACCESS
    debug, believe = _take_debug(given), _take(given, "--trust-node", "FEDLEDGER_TRUST_NODE")
    from .app import PROGRAM, app, command
    from .trust import chosen

    if f"_{PROGRAM.upper()}_COMPLETE" in os.environ:
        app(prog_name=PROGRAM)  # The shell asks for completions; Typer answers and exits.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # An ASCII terminal shows ε as \u03b5.
    try:
        with chosen(believe):
            return _run(command(), PROGRAM, given, debug=debug)
    except BrokenPipeError:
        # Whoever read us has seen enough (`| head`). Nothing may be written any more, also not at exit.
        _leave_output()
        return 141


def _run(command: Any, program: str, arguments: list[str], *, debug: bool) -> int:
    import typer

    try:
        _require_output()
        with command.make_context(program, arguments) as ctx:
            command.invoke(ctx)
    except typer.Exit as end:
        return end.exit_code
    except BrokenPipeError:
        raise
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the one place where errors end.
        return _failed(error, arguments, debug=debug)
    return 0


def _require_output() -> None:
    """Python has no stream where the caller closed it. A result that nobody gets is a failure; a remark is not."""
    if sys.stderr is None:
        sys.stderr = io.StringIO()
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")


def _take_debug(arguments: list[str]) -> bool:
    """Take ``--debug`` out of the arguments, wherever it stands, and begin to log."""
    if not _take(arguments, "--debug", "FEDLEDGER_DEBUG"):
        return False
    import logging

    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, format="%(asctime)s %(name)s: %(message)s")
    return True


def _take(arguments: list[str], option: str, variable: str) -> bool:
    """Take a flag out of the arguments, wherever it stands; whether it was there, or is set in the environment."""
    asked = option in arguments[: arguments.index("--") if "--" in arguments else None]
    if asked:
        arguments.remove(option)
    return asked or bool(os.environ.get(variable))


def _failed(error: BaseException, arguments: list[str], *, debug: bool) -> int:
    """Tell what went wrong, in the format that was asked for. Tracebacks only with --debug."""
    from .errors import failure_of
    from .output import write_json

    failure = failure_of(error)
    if debug:
        import traceback

        traceback.print_exception(error, file=sys.stderr)
    try:
        if wants_json(arguments) and sys.stdout is not None:
            write_json(failure.envelope())
            return int(failure.status)
    except BrokenPipeError:
        raise
    except OSError:  # A full disk, perhaps the very failure: then for whoever reads standard error.
        _leave_output()
    sys.stderr.write(f"{failure.text()}\n")
    return int(failure.status)


def _leave_output() -> None:
    """Let nothing more be written to standard output, also not at exit: it can take nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the output is for a program, as far as can be told from arguments that may not even parse."""
    formats = ("json", "jsonl")
    return any(
        argument in {f"--format={name}" for name in formats} or (argument == "--format" and following in formats)
        for argument, following in zip(arguments, [*arguments[1:], ""], strict=True)
    )
