"""``fedledger devnet``: a network of real processes on this machine. ``devnet`` does the work."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import options
from ..commands import noun, verb
from ..errors import CliError, leaving
from ..output import Fields, Format, Line, Rows, Stream, emit, plain, working

if TYPE_CHECKING:
    from devnet.lifecycle import DevnetStatus
    from devnet.manifest import Manifest
    from devnet.state import DevnetState

app = noun()
_Name = Annotated[str, typer.Argument(metavar="NAME", help="A process or a validator, as `devnet status` names it.")]


@verb(app, "up", example="devnet up --store local")
def up(
    store: Annotated[
        str, typer.Option("--store", metavar="kubo|local", help="Where payloads are kept: IPFS nodes, or a folder.")
    ] = "",
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", metavar="FILE", help="What the network consists of, instead of the standard one."),
    ] = None,
    timeouts: Annotated[
        str,
        typer.Option("--timeouts", metavar="consortium|fast", help="A block in about 300 ms, or as fast as it goes."),
    ] = "",
    reset: Annotated[bool, typer.Option("--reset", help="Delete what is there and begin another chain.")] = False,
    home: options.Home = None,
    output: options.Output = Format.TXT,
) -> None:
    """Start four validators and the payload store, and leave them running.

    Goes on with the devnet that is in its home, if there is one. Everything listens on this machine only.
    """
    from devnet import lifecycle

    place = _home(home)
    with (
        working(output, "starting the devnet") as said,
        leaving("The devnet is stopped again: nothing is left running."),
    ):
        wanted = _manifest(place, manifest, store, timeouts)
        status = lifecycle.up(place, wanted, reset=reset, changed=lambda state: said.say(_starting(state)))
    _show(output, status)
    if output is Format.TXT:
        emit(output, None, Line("\nNext: fedledger org show; fedledger doctor; fedledger devnet down"))


@verb(app, "status", example="devnet status --format json")
def status(home: options.Home = None, output: options.Output = Format.TXT) -> None:
    """Show the validators, their heights, and every process."""
    from devnet import lifecycle

    _show(output, lifecycle.status(_home(home)))


@verb(app, "logs", example="devnet logs validator-1-node --follow")
def logs(
    name: _Name,
    lines: Annotated[
        int, typer.Option("--lines", metavar="N", min=0, max=10_000, help="How many of the last lines.")
    ] = 50,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with what is added, until Ctrl-C.")] = False,
    home: options.Home = None,
    output: options.Output = Format.TXT,
) -> None:
    """Print the log of a process, or of the `supervisor`."""
    from devnet import lifecycle

    if follow and output is Format.JSON:
        raise CliError("USAGE", "a log that is followed has no end", "Use --format jsonl.")
    stream = Stream(output)
    with leaving("The devnet goes on."):
        for line in lifecycle.logs(_home(home), name, lines=lines, follow=follow):
            stream.item({"line": line}, line)
    stream.end()


@verb(app, "kill", example="devnet kill validator-2")
def kill(
    name: _Name,
    signal: Annotated[
        str, typer.Option("--signal", metavar="NAME", help="Which signal: KILL, TERM, STOP, CONT, …")
    ] = "KILL",
    home: options.Home = None,
    output: options.Output = Format.TXT,
) -> None:
    """Send a signal to a process, or to both of a validator, to see that the rest goes on."""
    from devnet import lifecycle

    status = lifecycle.kill(_home(home), name, _signal(signal))
    _show(output, status)


@verb(app, "restart", example="devnet restart validator-2")
def restart(name: _Name, home: options.Home = None, output: options.Output = Format.TXT) -> None:
    """Restart a process or a validator, and wait until it answers."""
    from devnet import lifecycle

    with working(output, f"restarting {name}"):
        status = lifecycle.restart(_home(home), name)
    _show(output, status)


@verb(app, "down", example="devnet down")
def down(
    delete: Annotated[bool, typer.Option("--delete", help="Also delete its home, with all keys and blocks.")] = False,
    home: options.Home = None,
    output: options.Output = Format.TXT,
) -> None:
    """Stop every process of the devnet. What it holds stays, unless --delete."""
    from devnet import lifecycle

    place = _home(home)
    with working(output, "stopping the devnet"):
        stopped = lifecycle.down(place, delete=delete)
    data = {"home": place, "phase": stopped.phase, "deleted": delete}
    kept = "its home is deleted" if delete else "its home is kept, and 'fedledger devnet up' goes on with it"
    emit(output, data, Line(f"The devnet is stopped; {kept}."))


def _home(given: Path | None) -> Path:
    from client_sdk.session.homes import default_home

    return given.absolute() if given is not None else default_home()


def _manifest(home: Path, given: Path | None, store: str, timeouts: str) -> "Manifest | None":
    """The manifest asked for; None when the home, or the standard one, decides alone. Raises ManifestInvalid."""
    from client_sdk.payloads.store import StoreKind
    from devnet.layout import Layout, shipped_manifest
    from devnet.manifest import Timeouts, load_manifest

    if given is None and not store and not timeouts:
        return None
    kept = Layout(home).manifest
    base = load_manifest(given or (kept if kept.is_file() else shipped_manifest()))
    return base.varied(
        store=_choice(StoreKind, "--store", store) if store else None,
        timeouts=_choice(Timeouts, "--timeouts", timeouts) if timeouts else None,
    )


def _choice(kind: Any, option: str, value: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(map(str, kind))
        raise CliError("USAGE", f"{option}: {value!r} is none of {known}", "See --help.") from None


def _signal(name: str) -> Any:
    import signal

    try:
        return signal.Signals[f"SIG{name.upper().removeprefix('SIG')}"]
    except KeyError:
        raise CliError("USAGE", f"--signal: there is no signal {name!r}", "Try KILL or TERM.") from None


def _starting(state: "DevnetState") -> str:
    waiting = [process.name for process in state.processes if process.status == "starting"]
    return f"starting the devnet: waiting for {', '.join(waiting)}" if waiting else f"the devnet is {state.phase}"


def _show(output: Format, status: "DevnetStatus") -> None:
    fields = {"devnet": status.home, "state": status.phase, "chain": status.chain_id}
    if status.error:
        fields["error"] = status.error
    if status.hint:
        fields["what to do"] = status.hint
    rows = [
        (
            validator.record.name,
            validator.record.operator,
            validator.record.rpc,
            validator.health.height if validator.health else "no answer",
            validator.health.peers if validator.health else None,
            ("yes" if validator.health.catching_up else "no") if validator.health else None,
        )
        for validator in status.validators
    ]
    processes = [(process.name, process.status, process.pid, process.exit_code) for process in status.processes]
    emit(
        output,
        {"healthy": all(validator.health for validator in status.validators), **plain(status)},
        Fields(fields),
        Rows(("validator", "run by", "RPC", "height", "peers", "catching up"), rows),
        Rows(("process", "state", "pid", "exit code"), processes),
    )
