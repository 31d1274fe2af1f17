"""One organisation's services: an aggregator if the terms name it as one, and a verifier.

Run by the demo: ``python -m examples.demo.lab --help``. ``--lie`` makes the verifier seal, in the named round, what
is not the aggregate, ``--rush`` that nothing follows; ``--hold FILE`` keeps the aggregator from opening rounds
while the file exists.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import sys
from pathlib import Path
from typing import Any

from client_sdk.session import open_session
from client_sdk.session.profile import find_profile
from client_sdk.training.artefacts import CanarySet, TaskInputs
from client_sdk.training.task import open_task
from examples.demo.mischief import lying, rushing
from examples.demo.probing import probe
from learning.feed_forward import FeedForward
from services.aggregator.aggregator import Aggregator
from services.rounds.ballot_journal import BallotJournal
from services.rounds.gather import Gatherer
from services.verifier.verifier import Forgery, Probe, Verifier


async def main() -> int:
    """Serve until a signal."""
    options = _parser().parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s: %(message)s")
    profile = find_profile(options.home, options.organisation)
    async with open_session(profile, "worker") as session:
        task = await open_task(session.client, session.store, options.task)
        gatherer = Gatherer(session.client, session.store, task, session.identities)
        name = session.organisation
        searching = _probe(task.inputs) if options.probe else None
        ballots = BallotJournal(profile.keyring.parent / "ballots")
        forge = _forgery(options)
        verifier = Verifier(gatherer, name, ballots, say=_said("verifier"), probe=searching, forge=forge)
        jobs = [verifier.run()]
        if name in task.terms.aggregators:
            held = options.hold.exists if options.hold else lambda: False
            jobs.append(Aggregator(gatherer, name, say=_said("aggregator"), pause=held).run())
        say("ready")
        await _until_signal(asyncio.gather(*jobs))
    return 0


def say(event: str, **facts: Any) -> None:
    """One line for whoever started this process."""
    print(json.dumps({"event": event, **facts}), flush=True)


def _said(part: str) -> Any:
    return lambda text: say("did", part=part, text=text)


def _forgery(options: argparse.Namespace) -> Forgery | None:
    if options.lie:
        return lying(options.lie)
    return rushing(options.rush) if options.rush else None


def _probe(inputs: TaskInputs) -> Probe:
    def run(network: FeedForward, canary: CanarySet) -> tuple[str, bytes] | None:
        return probe(network, canary, inputs)

    return run


async def _until_signal(work: "asyncio.Future[Any]") -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await work


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", required=True, help="the devnet's home")
    parser.add_argument("--organisation", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--lie", type=int, default=0, help="the round in which to seal a lie")
    parser.add_argument("--rush", type=int, default=0, help="the round in which to seal without any work")
    parser.add_argument("--hold", type=Path, help="while this file exists, open no round")
    parser.add_argument("--probe", action="store_true", help="probe promoted versions for backdoors")
    return parser


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
