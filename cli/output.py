"""What a command prints: tables and fields for people, one JSON envelope or a stream of JSON lines for programs.

Standard output holds the result and nothing else; progress, warnings and refusals for people go to standard error. The
envelope is ``{"schema_version": 1, "status": "ok", "data": …}``; a failure's is in ``errors``. What was read on a
node's word (``trust``) has ``"verified": false`` there, or on each line. A list has ``"listed": {"shown": …,
"counted": …}``: how many the ledger counts, null where it keeps no count; beside JSON lines, standard error says what
may be missing. Records appear in JSON as they are on the ledger: bytes in hexadecimal, ε in 10⁻⁹, times in
milliseconds (``docs/protocol.md``).

Rich is loaded only when something is drawn.
"""

import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, StrEnum
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Generic, TextIO, TypeVar

from .trust import unverified

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

T = TypeVar("T")
SCHEMA_VERSION = 1
_PIPE_COLUMNS = 10_000  # A table in a pipe is never cut or wrapped.


class Format(StrEnum):
    """How a result is printed."""

    TXT = "txt"  # For people.
    JSON = "json"  # One envelope.
    JSONL = "jsonl"  # One line for each item, as it happens.


@dataclass(frozen=True)
class Fields:
    """Names and values, one a line."""

    values: Mapping[str, object]


@dataclass(frozen=True)
class Rows:
    """A table. An empty one says ``empty`` instead."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    empty: str = "(none)"


@dataclass(frozen=True)
class Line:
    """A sentence."""

    text: str


Block = Fields | Rows | Line


@dataclass(frozen=True)
class Listing(Generic[T]):
    """What was found, and how many the ledger counts: None where its rules keep no count."""

    entries: tuple[T, ...]
    counted: int | None

    @property
    def mark(self) -> dict[str, int | None]:
        """For programs."""
        return {"shown": len(self.entries), "counted": self.counted}

    def lines(self) -> tuple[Line, ...]:
        """For people: nothing where nothing can be missing."""
        if self.counted is None:
            return (Line("The ledger keeps no count of these: the node that was asked may have left some out."),)
        short = self.counted - len(self.entries)
        if short:
            return (
                Line(f"INCOMPLETE: the ledger counts {self.counted}, the node left out {short}. Ask another node."),
            )
        return ()


def whole(entries: Iterable[T]) -> Listing[T]:
    """A list of what the rules number or list themselves."""
    found = tuple(entries)
    return Listing(found, len(found))


def emit(output: Format, data: Any, *blocks: Block, listed: Listing[Any] | None = None) -> None:
    """Print a command's whole result. In jsonl a list has one line for each item. ``listed``: how whole a list is."""
    if output is Format.TXT:
        _print((*blocks, *(listed.lines() if listed is not None else ())))
    elif output is Format.JSON:
        write_json(
            {"schema_version": SCHEMA_VERSION, "status": "ok", **_mark(), **_whole(listed), "data": plain(data)},
        )
    else:
        for item in data if isinstance(data, (list, tuple)) else (data,):
            _write_line(item)
        for line in listed.lines() if listed is not None else ():
            note(line.text)  # No line of the list could say it.


def write(text: str) -> None:
    """Put a result on standard output, now.

    Raises OSError, which names it; BrokenPipeError when nobody reads any more.
    """
    with _standard_output() as output:
        output.write(text)


@contextmanager
def _standard_output() -> Iterator[TextIO]:
    """Standard output, flushed at the end; what fails says that it was this."""
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


class Stream:
    """Items as they happen: lines of text, lines of JSON, or one envelope at the end."""

    def __init__(self, output: Format) -> None:
        self._output = output
        self._items: list[Any] = []

    def item(self, data: Any, text: str) -> None:
        """One more item, and how it reads."""
        if self._output is Format.TXT:
            write(f"{printable(text)}\n")
        elif self._output is Format.JSONL:
            _write_line(data)
        else:
            self._items.append(data)

    def end(self) -> None:
        """Nothing more will come."""
        if self._output is Format.JSON:
            emit(self._output, self._items)


class Working:
    """What is being done, to say while a person waits."""

    def __init__(self, status: Any) -> None:
        self._status = status

    def say(self, text: str) -> None:
        """Replace the text."""
        if self._status is not None:
            self._status.update(printable(text))


@contextmanager
def working(output: Format, text: str) -> Iterator[Working]:
    """Say on the terminal what is going on until it is done; say nothing when nobody watches."""
    if output is not Format.TXT or not sys.stderr.isatty():
        yield Working(None)
        return
    with console(sys.stderr).status(text) as status:
        yield Working(status)


def note(text: str) -> None:
    """A remark beside the result, on standard error."""
    sys.stderr.write(f"{printable(text)}\n")


def console(file: TextIO) -> "Console":
    """Where to draw. It knows NO_COLOR, and draws nothing that a pipe could not take."""
    from rich.console import Console

    width = None if file.isatty() else _PIPE_COLUMNS
    return Console(file=file, width=width, highlight=False, markup=False, emoji=False, soft_wrap=width is not None)


def plain(value: Any) -> Any:
    """A record, or anything that holds records, as JSON knows it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, PurePath) else value


def write_json(document: Any) -> None:
    """One line of JSON. Raises as ``write``."""
    write(json.dumps(document, ensure_ascii=False) + "\n")


def _write_line(item: Any) -> None:
    shown = plain(item)
    write_json({**_mark(), **shown} if isinstance(shown, dict) else shown)


def _mark() -> dict[str, bool]:
    return {"verified": False} if unverified() else {}


def _whole(listed: Listing[Any] | None) -> dict[str, Any]:
    return {} if listed is None else {"listed": listed.mark}


def printable(text: object) -> str:
    """Text with what could steer a terminal made visible: it may come from another organisation or a log."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in str(text))


def _print(blocks: Sequence[Block]) -> None:
    with _standard_output() as output:
        target = console(output)
        with target.capture() as drawn:  # Which writes, too, if only nothing.
            for number, block in enumerate(blocks):
                if number and not isinstance(block, Line):
                    target.print()
                target.print(_drawn(block))
        lines = drawn.get().splitlines()
        output.write("\n".join(lines if target.is_terminal else map(str.rstrip, lines)) + "\n")


def _drawn(block: Block) -> "RenderableType":
    from rich.table import Table
    from rich.text import Text

    if isinstance(block, Line):
        return Text(printable(block.text))
    if isinstance(block, Fields):
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in block.values.items():
            grid.add_row(Text(name), Text(_cell(value)))
        return grid
    if not block.rows:
        return Text(block.empty)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for number, column in enumerate(block.columns):
        table.add_column(Text(column), overflow="fold", no_wrap=number == 0)
    for row in block.rows:
        table.add_row(*(Text(_cell(value)) for value in row))
    return table


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_cell, value)) or "-"
    return printable(value.hex() if isinstance(value, bytes) else value)
