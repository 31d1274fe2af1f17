"""What can go wrong with a devnet, each with ``hint``: what to do next, in one sentence."""

from pathlib import Path

from client_sdk.errors import Kind, SdkError


class DevnetError(SdkError):
    """Root of this package's refusals and failures."""

    kind = Kind.REFUSED
    hint = "Run 'fedledger doctor' to see the state of this machine."


class ManifestInvalid(DevnetError, ValueError):
    """A manifest that does not say, or says wrongly, what the network consists of."""

    kind = Kind.USAGE

    def __init__(self, source: str, field: str, why: str) -> None:
        hint = f"Correct '{field}' in {source}; chain_config/devnet.toml is an example of every setting."
        super().__init__(f"{source}: {field}: {why}", hint=hint)
        self.source = source
        self.field = field
        self.why = why


class BinaryMissing(DevnetError):
    """CometBFT or Kubo is not where it should be, or is not a program."""

    kind = Kind.ENVIRONMENT

    def __init__(self, program: str, variable: str, path: Path, why: str) -> None:
        hint = f"Run 'make setup', which builds it, or set {variable} to the full path of your own."
        super().__init__(f"no {program} at {path}: {why}", hint=hint)


class NotEnoughDisk(DevnetError):
    """Too little room for blocks, stores and logs."""

    kind = Kind.ENVIRONMENT
    hint = "Free some disk space, or choose a home on another disk."

    def __init__(self, folder: Path, free_bytes: int, needed_bytes: int) -> None:
        super().__init__(f"{folder}: {free_bytes >> 20} MiB are free, a devnet needs {needed_bytes >> 20} MiB")


class NoFreePorts(DevnetError):
    """The ports that a devnet chooses from are taken."""

    kind = Kind.ENVIRONMENT
    hint = "See what listens on this machine's loopback address, and stop what is left over from earlier runs."


class HomeOccupied(DevnetError):
    """The folder is no devnet, and not empty."""

    hint = "Choose another home; nothing in this one was touched."


class HomeDiffers(DevnetError):
    """The home holds a devnet of another manifest."""

    hint = "Start anew with 'fedledger devnet up --reset', or choose another home."


class NoDevnet(DevnetError):
    """There is no devnet in this home."""

    kind = Kind.ACCESS
    hint = (
        "Start one with 'fedledger devnet up', or name its home: --ledger HOME, and --home HOME for 'fedledger devnet'."
    )


class AlreadyRunning(DevnetError):
    """A supervisor runs this devnet already."""

    hint = "Use it ('fedledger devnet status'), or stop it first with 'fedledger devnet down'."


class NotRunning(DevnetError):
    """The devnet is here, but nobody runs it."""

    kind = Kind.ACCESS
    hint = "Start it with 'fedledger devnet up'."


class ProcessNotRunning(DevnetError):
    """The devnet runs, but not this process."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} does not run", hint=f"Start it with 'fedledger devnet restart {name}'.")


class UnknownProcess(DevnetError):
    """The devnet has no process, and no validator, of this name."""

    kind = Kind.USAGE

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"no process {name[:60]!r} in this devnet", hint=f"It has: {', '.join(known)}.")


class ProcessFailed(DevnetError):
    """A process ended while it was started, or gave no answer in time. The message ends with its log's tail."""

    kind = Kind.ENVIRONMENT

    def __init__(self, name: str, why: str, log: Path, tail: str) -> None:
        super().__init__(f"{name} {why}; its log {log} ends:\n{tail or '(empty)'}", hint=f"Read {log}.")
        self.name = name
        self.log = log


class StateUnreadable(DevnetError):
    """The file that says what runs where is damaged, or of another version."""

    kind = Kind.ENVIRONMENT
    hint = "Stop what is left with 'fedledger devnet down', then start anew with 'fedledger devnet up --reset'."


class SupervisorFailed(DevnetError):
    """The detached supervisor could not start the network, or do what it was asked."""

    kind = Kind.ENVIRONMENT

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
