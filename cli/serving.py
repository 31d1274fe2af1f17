"""Running a service from the command line: what it did goes to standard output, its log to standard error."""

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from . import access
from .access import Access
from .errors import leaving
from .output import Format, Stream

if TYPE_CHECKING:
    from client_sdk.session import Session
    from services.rounds.gather import Gatherer


def serve(
    opened: Access, task: str, service: "Callable[[Session, Gatherer, Callable[[str], None]], Awaitable[None]]"
) -> None:
    """Run a service until it ends, Ctrl-C or SIGTERM; what it did is the result, its log goes to standard error."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    stream = Stream(opened.output)

    async def work(session: "Session") -> None:
        gatherer = await gatherer_of(session, task)
        running = asyncio.ensure_future(service(session, gatherer, lambda text: stream.item({"did": text}, text)))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        logging.getLogger(__name__).info("%s serves the task %s", session.organisation, task)
        try:
            await asyncio.wait((running,))
        finally:  # Also on Ctrl-C: what it works with is closed when this returns.
            running.cancel()
            await asyncio.wait((running,))
        if not running.cancelled():
            running.result()

    with leaving("Nothing is lost: it goes on when it is started again."):
        quiet = Access(opened.ledger, opened.who, opened.passphrase_file, Format.JSONL)
        quiet.session(access.WORKER, work, "")
    stream.end()


async def gatherer_of(session: "Session", name: str) -> "Gatherer":
    """What fetches and recomputes the rounds of a task for this session. Raises UnknownTask."""
    from client_sdk.training.task import open_task
    from services.rounds.gather import Gatherer

    task = await open_task(session.client, session.store, name)
    return Gatherer(session.client, session.store, task, session.identities)
