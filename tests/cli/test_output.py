"""What reaches standard output: one envelope, lines as they happen, tables that are never cut."""

import io
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import output, wants_json
from cli.output import Fields, Format, Line, Rows, Stream, emit, plain, printable


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    digest: bytes


@dataclass(frozen=True)
class Outer:
    name: str
    inner: tuple[Inner, ...]
    colour: Colour
    missing: None
    path: Path


def test_records_become_plain_json_with_bytes_in_hexadecimal():
    record = Outer("x", (Inner(b"\x01\xff"),), Colour.RED, None, Path("a/b"))
    expected = {"name": "x", "inner": [{"digest": "01ff"}], "colour": "red", "missing": None, "path": "a/b"}
    assert plain(record) == expected
    assert json.loads(json.dumps(plain({"k": [record]}))) == {"k": [expected]}


def test_json_is_exactly_one_envelope(capsys):
    emit(Format.JSON, {"a": b"\x00"}, Line("for people"))
    assert json.loads(capsys.readouterr().out) == {"schema_version": 1, "status": "ok", "data": {"a": "00"}}


def test_jsonl_has_one_line_for_each_item_and_one_for_a_single_thing(capsys):
    emit(Format.JSONL, [{"n": 1}, {"n": 2}])
    emit(Format.JSONL, {"n": 3})
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_a_table_in_a_pipe_is_neither_cut_nor_wrapped_nor_padded(capsys):
    long = "did:key:" + "z" * 300
    emit(Format.TXT, None, Rows(("key", "state"), [(long, "good"), ("short", None)]))
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["key", "state"]
    assert first.split() == [long, "good"]
    assert second.split() == ["short", "-"]
    assert not any(line.endswith(" ") for line in (head, first, second))


def test_an_empty_table_says_so(capsys):
    emit(Format.TXT, None, Rows(("a",), [], empty="Nobody has joined."))
    assert capsys.readouterr().out == "Nobody has joined.\n"


def test_text_in_brackets_is_not_taken_for_markup(capsys):
    emit(Format.TXT, None, Fields({"reason": "[bold]x[/bold] :smile:"}), Line("[red]y"))
    assert capsys.readouterr().out == "reason  [bold]x[/bold] :smile:\n[red]y\n"


def test_a_terminal_gets_colours_unless_no_color_is_set(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def drawn():
        monkeypatch.setattr("sys.stdout", Terminal())
        emit(Format.TXT, None, Rows(("name",), [("x",)]))
        return output.sys.stdout.getvalue()

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1m" in drawn()
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in drawn()  # No colour; bold is not one.


@given(st.text())
def test_nothing_printable_steers_a_terminal(text):
    shown = printable(text)
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert all(char in shown for char in text if char.isprintable())


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (Format.TXT, ["one", "two"]),
        (Format.JSONL, [{"n": 1}, {"n": 2}]),
        (Format.JSON, [{"schema_version": 1, "status": "ok", "data": [{"n": 1}, {"n": 2}]}]),
    ],
)
def test_a_stream_is_lines_or_one_envelope(form, expected, capsys):
    stream = Stream(form)
    stream.item({"n": 1}, "one")
    early = capsys.readouterr().out
    stream.item({"n": 2}, "two")
    stream.end()
    lines = (early + capsys.readouterr().out).splitlines()
    assert [line if form is Format.TXT else json.loads(line) for line in lines] == expected
    assert bool(early) is (form is not Format.JSON), "an item is printed when it happens"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["org", "show", "--format", "json"], True),
        (["org", "show", "--format=jsonl"], True),
        (["org", "show", "--format", "txt"], False),
        (["org", "show", "--format"], False),
        (["org", "show", "json"], False),
    ],
)
def test_the_format_is_known_even_when_arguments_do_not_parse(arguments, expected):
    assert wants_json(arguments) is expected
