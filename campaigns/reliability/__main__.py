"""Kill a real network's processes under load, and judge it::

    python -m campaigns.reliability --kills 50 --seed 1 --report docs/data/kills.json

Exit status 1 when anything was lost, differed or did not come back.
"""

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

from devnet.manifest import Timeouts

from .audit import cometbft_version
from .business import KeyRotation, Training, motion
from .campaign import Campaign, Killed
from .load import Desk, Load
from .members import form
from .network import network
from .plan import Death, Phase, Victim, deaths
from .report import report
from .witness import Witness

KILLS, RATE = 50, 20.0
MOTIONS_AT_ONCE = 3
KEY_SECONDS = 2.0


def main(arguments: list[str] | None = None) -> int:
    """Run a campaign and print its report. Returns the exit status."""
    options = _parser().parse_args(arguments)
    logging.getLogger("client_sdk").setLevel(logging.ERROR)
    plan = deaths(options.kills, options.seed, victim=options.victim, phase=options.phase)
    result = asyncio.run(run(plan, options.seed, options.pace, options.rate, options.home))
    text = json.dumps(result, indent=1)
    print(text)
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        options.report.write_text(text + "\n", encoding="utf-8")
    return 0 if result["held"] else 1


async def run(
    plan: Iterable[Death], seed: int, pace: Timeouts, rate: float = RATE, home: Path | None = None
) -> dict[str, Any]:
    """A campaign on a network of its own; its report. The seed is the load's; a home that is given is kept."""
    async with network(pace, home) as net:
        members = await form(net.layout.home, net.manifest)
        addresses = {wired.name: wired.rpc for wired in net.validators}
        async with Witness(addresses) as witness:
            desk = Desk(members, witness, rate, Random(f"{seed} load"))
            campaign = Campaign(net, witness, _tell)
            async with Load(desk, ((motion,) * MOTIONS_AT_ONCE) + (Training(), KeyRotation(KEY_SECONDS))):
                for death in plan:
                    await campaign.kill(death)
            outcome = await campaign.conclude()
        version = await cometbft_version(net.validators[0].rpc)
    return report(outcome, seed=seed, pace=pace, rate=rate, counts=desk.counts, codes=witness.codes, cometbft=version)


def _tell(killed: Killed) -> None:
    death = killed.death
    verdict = "; ".join(killed.faults) or "held"
    sys.stderr.write(
        f"{death.number:3} {death.victim}, {death.phase}: height {killed.height}, back after {killed.seconds:.1f} s"
        f" ({killed.restart_seconds:.1f} s from its start), missed {killed.missed},"
        f" longest gap {killed.longest_gap:.1f} s{', CometBFT hung' * killed.hung}: {verdict}\n"
    )
    sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m campaigns.reliability", description=__doc__)
    parser.add_argument("--kills", type=int, default=KILLS, help="how many deaths (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which plan (default %(default)s)")
    parser.add_argument("--victim", type=Victim, choices=tuple(Victim), help="kill only this (default: all kinds)")
    parser.add_argument("--phase", type=Phase, choices=tuple(Phase), help="kill only in this phase (default: all)")
    parser.add_argument("--rate", type=float, default=RATE, help="transactions a second (default %(default)s)")
    parser.add_argument(
        "--pace", type=Timeouts, choices=tuple(Timeouts), default=Timeouts.CONSORTIUM, help="default %(default)s"
    )
    parser.add_argument("--home", type=Path, help="keep the network's files and logs in this folder")
    parser.add_argument("--report", type=Path, help="also write the report to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
