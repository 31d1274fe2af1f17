"""The detached supervisor: ``python -m devnet.daemon --home HOME``. Started by ``lifecycle.up``.

Prints its process id, leaves the terminal and its parent, and runs the prepared devnet of that home until it is told to
stop. Why it could not start stands in ``state.json``, and in full in ``logs/supervisor.log``.
"""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from client_sdk.errors import in_words
from client_sdk.payloads.errors import PayloadError

from .errors import DevnetError
from .layout import Layout
from .manifest import load_manifest
from .supervisor import Devnet

LOG_NAME = "supervisor"


def main(arguments: list[str] | None = None) -> int:
    """Detach and run. Returns the exit status: 0 after an orderly stop, 1 if the network could not be started."""
    parser = argparse.ArgumentParser(prog="python -m devnet.daemon")
    parser.add_argument("--home", type=Path, required=True, help="home of a devnet that was prepared")
    layout = Layout(parser.parse_args(arguments).home.absolute())
    _detach(layout)
    try:
        asyncio.run(_run(layout))
    except (DevnetError, PayloadError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"{in_words(error)}\n")
        return 1
    return 0


def _detach(layout: Layout) -> None:
    """Become a child of nobody, with the log as output. The caller made us the leader of a session."""
    process = os.fork()  # No thread runs yet.
    if process:
        sys.stdout.write(f"{process}\n")
        sys.stdout.flush()
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    log = os.open(layout.log(LOG_NAME), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


async def _run(layout: Layout) -> None:
    network = Devnet(load_manifest(layout.manifest), layout.home)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    begun = asyncio.create_task(network.start())
    interrupted = asyncio.create_task(told.wait())
    await asyncio.wait((begun, interrupted), return_when=asyncio.FIRST_COMPLETED)
    if not begun.done():
        begun.cancel()
        await asyncio.wait((begun,))
        return
    begun.result()
    closed = asyncio.create_task(network.closed.wait())
    await asyncio.wait((closed, interrupted), return_when=asyncio.FIRST_COMPLETED)
    await network.stop()


if __name__ == "__main__":
    sys.exit(main())
