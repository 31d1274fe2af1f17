"""Where a passphrase may come from, and where never."""

import os
import sys

import pytest

from client_sdk.secrets.passphrase import BYTES_MAX, FILE_VARIABLE, InvalidPassphrase, NoPassphrase, read_passphrase
from client_sdk.secrets.private_files import ExposedFile


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "passphrase"
    path.write_bytes(b"correct horse\n")
    path.chmod(0o600)
    return path


def test_a_file_gives_its_text_without_the_line_break(file):
    assert read_passphrase(file=file, environment={}) == "correct horse"


@pytest.mark.parametrize(
    ("raw", "expected"), [(b"a b ", "a b "), (b"a\r\n", "a"), (b"a\n\n", "a\n"), (b"\xc3\xa9", "é")]
)
def test_only_one_trailing_line_break_is_dropped(file, raw, expected):
    file.write_bytes(raw)
    assert read_passphrase(file=file, environment={}) == expected


def test_the_environment_names_a_file_and_never_holds_the_passphrase(file):
    assert read_passphrase(environment={FILE_VARIABLE: str(file)}) == "correct horse"
    with pytest.raises(FileNotFoundError):
        read_passphrase(environment={FILE_VARIABLE: "correct horse"})


def test_a_descriptor_is_read_and_left_open():
    reading, writing = os.pipe()
    os.write(writing, b"from a pipe\n")
    os.close(writing)
    assert read_passphrase(descriptor=reading, environment={}) == "from a pipe"
    os.close(reading)


def test_a_file_given_by_name_wins_over_the_environment(file, tmp_path):
    other = tmp_path / "other"
    other.write_text("another one")
    other.chmod(0o600)
    assert read_passphrase(file=file, environment={FILE_VARIABLE: str(other)}) == "correct horse"


def test_a_passphrase_file_that_others_may_read_is_refused(file):
    file.chmod(0o644)
    with pytest.raises(ExposedFile) as refused:
        read_passphrase(file=file, environment={})
    assert "chmod 600" in refused.value.hint


def test_without_source_and_terminal_the_hint_names_the_sources(monkeypatch):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    with pytest.raises(NoPassphrase) as refused:
        read_passphrase(prompt="Passphrase", environment={})
    assert FILE_VARIABLE in refused.value.hint


@pytest.mark.parametrize(
    ("raw", "sin"), [(b"", "empty"), (b"\n", "empty"), (b"\xff", "UTF-8"), (b"x" * (BYTES_MAX + 9), "more than")]
)
def test_what_is_no_passphrase_is_refused(file, raw, sin):
    file.write_bytes(raw)
    with pytest.raises(InvalidPassphrase, match=sin):
        read_passphrase(file=file, environment={})


def test_a_new_passphrase_must_have_eight_characters_an_old_one_need_not(file):
    file.write_bytes(b"1234567")
    assert read_passphrase(file=file, environment={}) == "1234567"
    with pytest.raises(InvalidPassphrase, match="fewer than 8"):
        read_passphrase(file=file, is_new=True, environment={})


@pytest.mark.parametrize(("answers", "is_new"), [(["typed twice", "typed twice"], True), (["typed once"], False)])
def test_a_person_is_asked_twice_only_for_a_new_passphrase(monkeypatch, answers, is_new):
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda _prompt: answers.pop(0))
    assert read_passphrase(prompt="Passphrase", is_new=is_new, environment={}).startswith("typed")
    assert not answers


def test_two_different_answers_are_refused(monkeypatch):
    answers = ["typed once", "typed twice"]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda _prompt: answers.pop(0))
    with pytest.raises(InvalidPassphrase, match="differ"):
        read_passphrase(prompt="Passphrase", is_new=True, environment={})
