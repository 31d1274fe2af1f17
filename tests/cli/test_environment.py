"""What the machine did is told as that: the file or the peer, and what to do; never as a bug of ours."""

import errno
import os
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from cli import environment
from cli.errors import BUG_HINT, Exit, failure_of
from cli.nouns import explain

ROOT = Path(__file__).parents[2]


def system(number: int, *names: object) -> OSError:
    return OSError(number, os.strerror(number), *names)


def encoding(text: str) -> UnicodeEncodeError:
    with pytest.raises(UnicodeEncodeError) as caught:
        text.encode("ascii")
    return caught.value


def wrapped(cause: ImportError) -> RuntimeError:
    error = RuntimeError("the package lmdb is not installed")
    error.__cause__ = cause
    return error


def closed() -> ValueError:
    with Path(os.devnull).open(encoding="utf-8") as file:
        pass
    with pytest.raises(ValueError, match="closed file") as caught:
        file.read()
    return caught.value


@pytest.mark.parametrize(
    ("error", "said", "advice"),
    [
        (system(errno.ENOSPC, "/data/blocks"), "/data/blocks: No space left", "Free some space"),
        (system(errno.EDQUOT, "/data/blocks"), "/data/blocks", "Free some space"),
        (system(errno.EACCES, "/etc/shadow"), "/etc/shadow: Permission denied", "access"),
        (system(errno.EROFS, "/mnt/x"), "/mnt/x: Read-only", "read-only"),
        (system(errno.ENOENT, "a", None, "b"), "a and b: No such file", "Check its name"),
        (system(errno.EMFILE), "Too many open files", "ulimit"),
        (system(errno.EADDRINUSE), "in use", "another address"),
        (system(errno.EIO, "/data/blocks"), "/data/blocks", "Check the file"),
        (OSError("a disk"), "a disk", "Check the file"),
        (system(errno.ECONNREFUSED), "nothing listens there", "runs"),
        (system(errno.ECONNRESET), "closed the connection", "runs"),
        (socket.gaierror(-2, "Name or service not known"), "does not resolve: Name or service not known", "DNS"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "TLS failed", "clock"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "torch", "[train]"),
        (ModuleNotFoundError("No module named 'google.protobuf'", name="google.protobuf"), "google", "[node]"),
        (ImportError("libgomp.so.1: cannot open shared object file", name="numpy._core"), "libgomp.so.1", "Install"),
        (wrapped(ModuleNotFoundError("No module named 'lmdb'", name="lmdb")), "lmdb is not installed", "[node]"),
        (encoding("h\u00f4pital"), "'\\xf4' cannot be written as ascii", "UTF-8 locale"),
        (closed(), "a stream was closed", "standard input"),
        (MemoryError(), "too little memory", "memory"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_the_machine_is_named_with_what_to_do(error, said, advice):
    failure = failure_of(error)
    assert failure.status is Exit.NO_ACCESS
    assert said in failure.message
    assert advice in failure.hint
    assert failure.hint != BUG_HINT
    assert "Errno" not in failure.message


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'client_sdk.gone'", name="client_sdk.gone"),
        ImportError("cannot import name 'x' from 'contracts'", name="contracts"),
        ValueError("not a closed matter"),
        KeyError("x"),
        RecursionError("x"),
    ],
    ids=repr,
)
def test_our_own_mistakes_are_not_blamed_on_the_machine(error):
    assert environment.cause_of(error) is None
    assert failure_of(error).status is Exit.BUG
    assert failure_of(error).hint == BUG_HINT


def test_the_extras_that_are_named_exist():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(environment._EXTRAS.values()) <= extras.keys()


@pytest.mark.parametrize("command", ["explain 401", "explain 401 --format json", "explain 401 --format jsonl"])
@pytest.mark.parametrize(
    ("redirect", "said"),
    [
        (">&-", "standard output: Bad file descriptor"),
        (">/dev/full", "standard output: No space left on device"),
    ],
)
def test_an_output_that_takes_nothing_is_a_failure_and_no_bug(command, redirect, said):
    line = f'"{sys.executable}" -m cli {command} {redirect}'
    ran = subprocess.run(["/bin/sh", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == Exit.NO_ACCESS
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_closed_standard_error_costs_the_remarks_only():
    line = f'"{sys.executable}" -m cli explain 401 2>&-'
    ran = subprocess.run(["/bin/sh", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, "BUDGET_EXCEEDED" in ran.stdout) == (0, True)


def test_a_program_reads_it_in_the_envelope(run, monkeypatch):
    def refuse(*_: object) -> None:
        raise system(errno.ENOSPC, "/data/blocks")

    monkeypatch.setattr(explain, "_near", refuse)
    envelope = run("explain", "nonsense", "--format", "json").envelope
    assert (envelope["error_code"], envelope["message"]) == ("OS_ERROR", "/data/blocks: No space left on device")
