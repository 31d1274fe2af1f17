"""What a person sees: a round table and a story on a terminal, plain lines or JSON lines elsewhere."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

STORY_LINES = 14
STYLES = {"good": "green", "bad": "red", "odd": "yellow", "plain": ""}
UNFINISHED = ("reserving", "committing", "attesting", "sealing", "opening")
MARKS = {"good": "+", "bad": "!", "odd": "~", "plain": " "}


@dataclass
class RoundRow:
    """One line of the round table."""

    round: int
    contributed: list[str] = field(default_factory=list)
    filtered: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    version: int | None = None
    outcome: str = "reserving"
    canary: float | None = None
    held_out: float | None = None
    epsilon: dict[str, float] = field(default_factory=dict)


class View(Protocol):
    """Where the run shows itself. ``story`` is what it has told so far."""

    story: list[Text]

    def stage(self, text: str) -> None:
        """A new part of the run begins."""
        ...

    def tell(self, text: str, tone: str = "plain", **facts: Any) -> None:
        """Something happened: good, bad (an attack, a fault), odd (handled) or plain."""
        ...

    def row(self, row: RoundRow) -> None:
        """A round's line changed."""
        ...


class Lines:
    """Plain lines, or one JSON object a line."""

    def __init__(self, as_json: bool) -> None:
        self.story: list[Text] = []
        self._as_json = as_json
        self._shown: dict[int, str] = {}

    def stage(self, text: str) -> None:
        """Begin a part."""
        self.story.append(_headline(text))
        self._write({"type": "stage", "text": text}, f"== {text}")

    def tell(self, text: str, tone: str = "plain", **facts: Any) -> None:
        """Say what happened."""
        self.story.append(_line(text, tone))
        self._write({"type": "event", "text": text, "tone": tone, **facts}, f"{MARKS[tone]} {text}")

    def row(self, row: RoundRow) -> None:
        """Say how a round ended; its steps were told before."""
        if row.outcome in UNFINISHED or self._shown.get(row.round) == row.outcome:
            return
        self._shown[row.round] = row.outcome
        accuracy = "" if row.canary is None else f", canary {row.canary:.1%}, held-out {row.held_out or 0:.1%}"
        names = ", ".join(sorted(row.contributed)) or "nobody"
        text = f"round {row.round}: {row.outcome}; contributed {names}{accuracy}"
        self._write({"type": "round", **asdict(row)}, f"  {text}")

    def _write(self, document: dict[str, Any], text: str) -> None:
        try:
            print(json.dumps(document) if self._as_json else text, flush=True)
        except BrokenPipeError:  # Nobody reads any more: as if whoever did had pressed Ctrl-C, so that all is stopped.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            signal.raise_signal(signal.SIGINT)


class Screen:
    """A live round table over the newest lines of the story; the whole of it once that is over."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage = ""
        self.story: list[Text] = []
        self._rows: dict[int, RoundRow] = {}
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    @contextmanager
    def shown(self) -> Iterator["Screen"]:
        """Show it as long as the context is open."""
        try:
            with self._live:
                yield self
        finally:
            for line in self.story:
                self._console.print(line, highlight=False)
            self._console.print()

    def stage(self, text: str) -> None:
        """Begin a part."""
        self._stage = text
        self.story.append(_headline(text))
        self._refresh()

    def tell(self, text: str, tone: str = "plain", **_facts: Any) -> None:
        """Add a line to the story."""
        self.story.append(_line(text, tone))
        self._refresh()

    def row(self, row: RoundRow) -> None:
        """Show a round's line."""
        self._rows[row.round] = row
        self._refresh()

    def _refresh(self) -> None:
        table = round_table(list(self._rows.values()))
        room = self._console.height - len(self._console.render_lines(table)) - 3  # The panel's frame, and the cursor.
        most = max(1, min(STORY_LINES, room))
        wrapped = [part for line in self.story[-most:] for part in line.wrap(self._console, self._console.width - 4)]
        self._live.update(Group(table, Panel(Text("\n").join(wrapped[-most:]), title=self._stage, height=most + 2)))


def round_table(rows: list[RoundRow]) -> Table:
    """The rounds so far: who, what came of it, how good it is, and the largest cumulative ε."""
    table = Table(title="Rounds (hospitals by letter)", box=None, padding=(0, 2, 0, 0), title_justify="left")
    for name in ("round", "took part", "filtered", "left", "outcome", "canary", "held-out", "max ε"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(
            str(row.round),
            _letters(row.contributed),
            _letters(row.filtered),
            _letters(row.missing),
            row.outcome if row.version is None else f"v{row.version} {row.outcome}",
            "" if row.canary is None else f"{row.canary:.1%}",
            "" if row.held_out is None else f"{row.held_out:.1%}",
            f"{max(row.epsilon.values()):.2f}" if row.epsilon else "",
        )
    return table


def _line(text: str, tone: str) -> Text:
    return Text(f"{MARKS[tone]} {text}", style=STYLES[tone])


def _headline(text: str) -> Text:
    return Text(f"== {text}", style="bold")


def _letters(hospitals: list[str]) -> str:
    return "".join(sorted(name.removeprefix("hospital-") for name in hospitals))


@contextmanager
def open_view(form: str) -> Iterator[View]:
    """The view for an output format: ``auto`` is a live screen on a terminal and lines elsewhere."""
    if form == "auto" and sys.stdout.isatty():
        with Screen(Console()).shown() as screen:
            yield screen
    else:
        yield Lines(as_json=form == "jsonl")
