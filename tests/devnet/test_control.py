"""Requests to a supervisor over its real socket; the network behind it is a recorder."""

import asyncio
import signal
import socket

import pytest

from devnet import control
from devnet.errors import NotRunning, ProcessNotRunning, SupervisorFailed


class Recorder:
    """Remembers what it was asked, and runs no validator-9."""

    def __init__(self):
        self.asked = []

    async def kill(self, name, number):
        if name == "validator-9":
            raise ProcessNotRunning(name)
        self.asked.append(("kill", name, number))

    async def restart(self, name):
        self.asked.append(("restart", name))

    async def stop(self):
        self.asked.append(("stop",))


def steer(path, *requests):
    """Send requests to a served recorder from another thread, as another process would."""
    recorder = Recorder()

    async def run():
        server = await control.serve(path, recorder)
        try:
            for request in requests:
                await asyncio.to_thread(request)
        finally:
            server.close()

    asyncio.run(run())
    return recorder.asked


def test_requests_reach_the_network_and_are_done_when_the_answer_comes(tmp_path):
    path = tmp_path / "c.sock"
    asked = steer(
        path,
        lambda: control.ask(path, {"do": "kill", "name": "validator-1", "signal": 9}, 5),
        lambda: control.ask(path, {"do": "restart", "name": "kubo-1"}, 5),
        lambda: control.ask(path, {"do": "stop"}, 5),
    )
    assert asked == [("kill", "validator-1", signal.SIGKILL), ("restart", "kubo-1"), ("stop",)]


def test_a_refusal_comes_back_with_its_hint(tmp_path):
    path = tmp_path / "c.sock"
    with pytest.raises(SupervisorFailed, match="validator-9 does not run") as refusal:
        steer(path, lambda: control.ask(path, {"do": "kill", "name": "validator-9", "signal": 9}, 5))
    assert "restart validator-9" in refusal.value.hint


@pytest.mark.parametrize(
    "line",
    [b"\n", b"{\n", b"[]\n", b'{"do": "format"}\n', b'{"do": "kill"}\n', b'{"do": "kill", "name": "a", "signal": 99}\n',
     b"x" * 10_000 + b"\n"],
)  # fmt: skip
def test_a_bad_request_is_refused_and_the_supervisor_goes_on(tmp_path, line):
    path = tmp_path / "c.sock"
    answers = []

    def send():
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
            connection.sendall(line)
            answers.append(connection.makefile("rb").readline())

    asked = steer(path, send, lambda: control.ask(path, {"do": "stop"}, 5))
    assert b"bad request" in answers[0]
    assert asked == [("stop",)]


def test_nobody_at_the_socket_means_that_nothing_runs(tmp_path):
    with pytest.raises(NotRunning):
        control.ask(tmp_path / "none.sock", {"do": "stop"}, 1)


def test_a_socket_left_behind_is_replaced(tmp_path):
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert steer(path, lambda: control.ask(path, {"do": "stop"}, 5)) == [("stop",)]


def test_a_supervisor_that_is_silent_too_long_is_reported(tmp_path):
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(SupervisorFailed, match=r"0\.1 s"):
            control.ask(path, {"do": "stop"}, 0.1)
