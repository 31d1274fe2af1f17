"""Every decoder under mutated bytes: only typed refusals, in bounded work and memory, and no two spellings accepted.

The cases are the same in every run. `make fuzz` runs other ones, for longer.
"""

import json
import logging
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from campaigns.fuzz import __main__ as command
from campaigns.fuzz import corpus, dialects, engine, with_atheris
from campaigns.fuzz.mutator import Mutator
from campaigns.fuzz.targets import TARGETS, Target
from client_sdk.documents.strict_json import Answer
from client_sdk.payloads import dag_pb
from contracts.kernel import codec, merkle, replay
from contracts.registry import CONTRACTS, RULES
from tests import effort

CASES = effort.examples(2_000)
MEASURED_CASES = effort.examples(300)
SEED = 1
ATHERIS_SECONDS = 3


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="abci_app")


@pytest.mark.parametrize("name", TARGETS)
def test_a_decoder_answers_anything_with_a_value_or_a_typed_refusal(name: str) -> None:
    report = engine.run(TARGETS[name], SEED, cases=CASES)
    assert not report.findings, "\n\n".join(map(str, report.findings))
    assert report.outcomes.total() == CASES
    assert report.outcomes.total() > report.outcomes[engine.ACCEPTED], "no case was refused"


@pytest.mark.parametrize("name", TARGETS)
def test_no_case_makes_a_decoder_take_much_memory_or_run_many_lines(name: str) -> None:
    report = engine.run(TARGETS[name], SEED, cases=MEASURED_CASES, measured=True)
    assert not report.findings, "\n\n".join(map(str, report.findings))
    assert 0 < report.most_memory <= engine.MEMORY_MAX
    assert 0 < report.most_lines <= engine.LINES_MAX


@pytest.mark.parametrize("name", TARGETS)
def test_the_samples_reach_beyond_the_first_check(name: str) -> None:
    """A corpus of which everything is refused would test the first line of a decoder only."""
    target = TARGETS[name]
    verdicts = [engine.verdict(target, raw) for raw in target.samples()]
    assert engine.ACCEPTED in verdicts


def test_the_corpus_has_every_message_every_event_and_every_record_of_state() -> None:
    kinds = {kind for kind, _ in corpus.records()}
    kept = {each.record for contract in CONTRACTS for each in contract.state} | {replay.SEEN.record}
    assert {*RULES.messages.values(), *RULES.events.values(), *kept} <= kinds


# The engine finds what it is there to find ------------------------------------------------------


def _lenient_step(operator: merkle.ProofOp) -> merkle.Step:
    """``merkle._decode_step`` without its last check."""
    fields = {tag: content for tag, content, _ in merkle._fields(operator.data)}
    inner = merkle._fields(fields.get(0x12, b""))
    numbers = {tag: number for tag, _, number in inner}
    contents = {tag: content for tag, content, _ in inner}
    aunts = tuple(content for tag, content, _ in inner if tag == 0x22)
    return merkle.Step(operator.key, numbers.get(8, 0), numbers.get(0x10, 0), contents.get(0x1A, b""), aunts)


def _lenient_end(self: Any, field: str) -> None:
    """``dag_pb._Cursor.end`` that does not care what follows."""


def _loose_integer(self: Answer, least: int, most: int) -> int:
    """``Answer.integer`` that believes the sender's type."""
    return int(self._value)  # type: ignore[call-overload, no-any-return]


def _unguarded(raw: bytes, *, most: int) -> Any:
    """``codec.decode_plain`` that lets the library's own exceptions through."""
    assert len(raw) <= most
    return codec.cbrrr.decode_dag_cbor(raw)


@pytest.mark.parametrize(
    ("name", "place", "attribute", "planted"),
    [
        ("proof", merkle.Step, "decode", staticmethod(_lenient_step)),
        ("dag-pb", dag_pb._Cursor, "end", _lenient_end),
        ("answers", Answer, "integer", _loose_integer),
        ("cbor", codec, "decode_plain", _unguarded),
    ],
    ids=["another-spelling", "trailing-bytes", "wrong-type", "untyped-error"],
)
def test_a_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch, name: str, place: Any, attribute: str, planted: Callable[..., Any]
) -> None:
    target = TARGETS[name]
    assert target.samples()
    monkeypatch.setattr(place, attribute, planted)
    assert engine.run(target, SEED, cases=CASES).findings


def test_a_case_that_hangs_or_takes_too_much_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MEMORY_MAX", 1 << 20)
    monkeypatch.setattr(engine, "LINES_MAX", 10_000)

    def heavy(raw: bytes) -> None:
        assert bytes(1 << 21)

    def busy(raw: bytes) -> None:
        for _ in range(10_000):
            assert raw is not None

    def found(run: Callable[[bytes], None]) -> list[str]:
        planted = Target("planted", run, (), lambda: (b"x",))
        return [finding.what for finding in engine.run(planted, SEED, cases=2, measured=True).findings]

    assert ["MiB" in what for what in found(heavy)] == [True, True]
    assert ["more than 10,000 lines of Python" in what for what in found(busy)] == [True, True]
    monkeypatch.setattr(engine, "LINES_MAX", 100_000)
    assert found(busy) == []
    monkeypatch.setattr(engine, "HANG_SECONDS", -1.0)
    assert ["it hung" in what for what in found(busy)] == [True, True]


def test_a_measured_finding_is_found_again_by_its_number_and_by_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "LINES_MAX", 50)
    target = TARGETS["envelope"]
    first = engine.run(target, SEED, cases=20, measured=True).findings[0]
    (again,) = engine.replay(target, SEED, first.case).findings
    assert (again.raw, again.what) == (first.raw, first.what)
    assert [finding.what for finding in engine.judge(target, first.raw).findings] == [first.what]


# The mutator ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["envelope", "answers", "abci", "terms"])
def test_a_case_is_the_same_whatever_came_before_it(name: str) -> None:
    first, second = TARGETS[name].mutator(), TARGETS[name].mutator()
    cases = [first.case(name, number) for number in range(50)]
    assert [second.case(name, number) for number in reversed(range(50))] == cases[::-1]
    assert len({*cases}) > 40
    assert cases != [first.case("another", number) for number in range(50)]


def test_an_empty_corpus_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Mutator(())


def test_what_is_of_another_format_is_left_to_the_changes_of_bytes() -> None:
    for dialect in (dialects.cbor, dialects.json_, dialects.protobuf, dialects.safetensors, dialects.text):
        with pytest.raises(dialects.Unreadable):
            dialect(Random(1), b"\xff\xff\xff")
    assert Mutator([b"\xff\xff\xff"], [dialects.json_]).case("x", 1) != Mutator([b"\xff\xff\xff"]).case("y", 1)


# The command ------------------------------------------------------------------------------------


def test_the_command_reports_cases_and_findings_and_repeats_one(tmp_path, monkeypatch, capsys) -> None:
    report = tmp_path / "report.json"
    assert command.main(["--target", "cid", "--cases", "50", "--report", str(report)]) == 0
    summary = json.loads(report.read_text())
    assert (summary["cases"], summary["targets"]["cid"]["findings"]) == (50, [])
    planted = Target("cid", lambda raw: 1 // 0, (), lambda: (b"x",))  # type: ignore[arg-type, return-value]
    monkeypatch.setitem(TARGETS, "cid", planted)
    assert command.main(["--target", "cid", "--cases", "50", "--seed", "3"]) == 1
    assert "--target cid --seed 3 --case 0" in capsys.readouterr().err
    assert command.main(["--target", "cid", "--seed", "3", "--case", "0"]) == 1
    assert command.main(["--target", "cid", "--input", str(report)]) == 1
    assert command.main(["--target", "car", "--input", str(report)]) == 0


@pytest.mark.skipif(not with_atheris.is_installed(), reason="atheris is not installed: `make fuzz` does it")
@pytest.mark.parametrize("name", ["envelope", "answers"])
def test_atheris_runs_the_same_targets(name: str, tmp_path) -> None:
    ran = with_atheris.run(name, SEED, ATHERIS_SECONDS, tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert with_atheris.executed(ran.stderr) > 0
