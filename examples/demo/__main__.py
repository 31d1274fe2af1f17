"""The demo: ``make demo``, or ``python -m examples.demo --help``."""

import argparse
import asyncio
import io
import json
import re
import signal
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from client_sdk.payloads.store import StoreKind
from devnet.errors import DevnetError
from examples.demo.data import LOADERS, DataMissing
from examples.demo.run import Options, run, with_seed
from examples.demo.summary import Summary
from examples.demo.view import open_view, round_table

PICTURE_COLUMNS = 118


def main() -> int:
    """Run the demo for each seed that was asked for. Returns the exit status."""
    arguments = _parser().parse_args()
    # As Ctrl-C, so that everything that was started is stopped; a shell starts background jobs deaf to that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    options = Options(
        dataset=arguments.dataset,
        seed=arguments.seeds[0],
        store=StoreKind(arguments.store),
        keep=arguments.keep,
        home=arguments.home,
    )
    summaries: list[Summary] = []
    began = time.monotonic()
    try:
        for seed in arguments.seeds:
            with open_view(arguments.format) as view:
                summaries.append(asyncio.run(run(with_seed(options, seed), view)))
            show(summaries[-1], arguments.format, keep=options.keep)
            if arguments.picture:
                draw(arguments.picture, view.story, summaries[-1])
    except (DevnetError, DataMissing) as error:
        print(f"the demo cannot go on: {error}\n{getattr(error, 'hint', '')}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; every process that the demo started has ended", file=sys.stderr)
        return 130
    if len(summaries) > 1 and arguments.format != "jsonl":
        show_means(summaries)
    if arguments.format != "jsonl":
        print(f"took {time.monotonic() - began:.0f} s")
    return 0


def show(summary: Summary, form: str, *, keep: bool) -> None:
    """Print a run's summary: tables for people, one JSON object for programs."""
    if form == "jsonl":
        print(json.dumps({"type": "summary", **asdict(summary)}))
        return
    console = Console()
    _tables(console, summary)
    timing = summary.timing
    console.print(
        f"\nBlock interval p50 {timing.interval_p50 * 1000:.0f} ms, p95 {timing.interval_p95 * 1000:.0f} ms over "
        f"{timing.blocks} blocks; from signing to result p50 {timing.commit_p50 * 1000:.0f} ms, "
        f"p95 {timing.commit_p95 * 1000:.0f} ms over {timing.transactions} transactions of people. "
        f"One update: {summary.update_bytes} bytes, encrypted."
    )
    console.print(f"Held-out accuracy of pooled, unprotected training (computed by this harness): {summary.pooled:.1%}")
    heading = "Look further, as long as the network runs:" if keep else "With ARGS=--keep you can look further:"
    console.print(f"\n{heading}")
    for command in summary.commands:
        console.print(f"  {command}", highlight=False, soft_wrap=True)


def draw(path: Path, story: Sequence[Text], summary: Summary) -> None:
    """Save the last run's story and tables as an SVG, as a terminal shows them."""
    console = Console(record=True, width=PICTURE_COLUMNS, file=io.StringIO())
    for line in story:
        console.print(line)
    console.print()
    _tables(console, summary)
    drawn = console.export_svg(title="make demo", unique_id="fedledger-demo")
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL))  # No font from anybody's server.


def show_means(summaries: list[Summary]) -> None:
    """The mean over the seeds of the last promoted version's held-out accuracy, beside the pooled one."""
    held_out = [_final(summary) for summary in summaries]
    pooled = statistics.mean(summary.pooled for summary in summaries)
    each = ", ".join(f"{value:.1%}" for value in held_out)
    print(f"mean over {len(summaries)} seeds: held-out {statistics.mean(held_out):.1%} ({each}), pooled {pooled:.1%}")


def _tables(console: Console, summary: Summary) -> None:
    console.print(round_table(summary.rounds))
    console.print()
    console.print(_versions(summary))
    console.print()
    console.print(_privacy(summary))
    console.print()
    console.print(summary.promise, style="italic", highlight=False)


def _final(summary: Summary) -> float:
    promoted = [row.held_out for row in summary.rounds if row.outcome == "promoted" and row.held_out is not None]
    return promoted[-1] if promoted else 0.0


def _versions(summary: Summary) -> Table:
    table = Table(title="Versions", box=None, padding=(0, 2, 0, 0), title_justify="left")
    for name in ("version", "from", "round", "proposed by", "status", "canary"):
        table.add_column(name)
    for line in summary.versions:
        canary = f"{line.canary:.1%}" if line.version else ""
        proposer = line.proposer if line.version else "the terms"
        parent = f"v{line.parent}" if line.version else ""
        table.add_row(f"v{line.version}", parent, str(line.round or ""), proposer, line.status, canary)
    return table


def _privacy(summary: Summary) -> Table:
    title = "Privacy (per record, δ = 10⁻⁵), reputation"
    table = Table(title=title, box=None, padding=(0, 2, 0, 0), title_justify="left")
    for name in ("member", "ε spent", "ε limit", "reputation"):
        table.add_column(name)
    budgets = {line.hospital: line for line in summary.privacy}
    for name in sorted({*budgets, *summary.reputations}):
        line = budgets.get(name)
        table.add_row(
            name,
            f"{line.spent:.2f}" if line else "",
            f"{line.limit:.2f}" if line else "",
            f"{summary.reputations.get(name, 0.0):+.2f}",
        )
    return table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description="Six hospitals train under a ledger.")
    parser.add_argument("--dataset", choices=sorted(LOADERS), default="breast-cancer")
    parser.add_argument(
        "--seeds", type=_seeds, default=[1], help="split, initialisation and attack: 1 or 1,2,3; never the noise"
    )
    parser.add_argument("--store", choices=[kind.value for kind in StoreKind], default="kubo")
    parser.add_argument("--format", choices=("auto", "txt", "jsonl"), default="auto")
    parser.add_argument("--keep", action="store_true", help="leave the network running, to look at it with the CLI")
    parser.add_argument("--picture", type=Path, help="save the story and the tables as an SVG")
    parser.add_argument("--home", type=Path, help="where the network lives (default: a temporary folder)")
    return parser


def _seeds(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
