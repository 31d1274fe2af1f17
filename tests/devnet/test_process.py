"""Child processes, their tether and their readiness, with real processes."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devnet import tether
from devnet.ownership import began_of, end_leftovers, is_same_process
from devnet.process import Child, Command, ProcessKind, ProcessStatus, exit_text, log_tail
from devnet.readiness import until_ready

PATIENCE_SECONDS = 240.0  # It catches a process that hangs, nothing else.
SLEEPS = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


def command(tmp_path, *argv):
    return Command("worker", ProcessKind.NODE, tuple(map(str, argv)), dict(os.environ), tmp_path / "worker.log")


def python(tmp_path, code):
    return command(tmp_path, sys.executable, "-c", code)


async def said_up(child):
    async def probe():
        return "up" in log_tail(child.command.log)

    await until_ready(child, probe, PATIENCE_SECONDS)


def until(condition):
    """Look again until it holds; what hangs is for the limit on the whole test."""
    while not condition():
        time.sleep(0.02)


def test_a_process_goes_through_its_statuses_and_can_be_started_again(tmp_path):
    async def run():
        seen = []
        child = Child(python(tmp_path, SLEEPS), lambda: seen.append(child.status))
        for _ in range(2):
            await child.start()
            await said_up(child)
            pid = child.pid
            assert began_of(pid) is not None
            await child.stop()
            assert child.pid is None
            assert child.exit_code == -signal.SIGTERM
            assert began_of(pid) is None
        assert seen == [ProcessStatus.STARTING, ProcessStatus.RUNNING, ProcessStatus.STOPPED] * 2

    asyncio.run(run())


def test_a_process_that_ignores_the_request_to_stop_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("devnet.process.STOP_SECONDS", 0.2)

    async def run():
        child = Child(python(tmp_path, STUBBORN), lambda: None)
        await child.start()
        await said_up(child)
        await child.stop()
        assert (child.status, child.exit_code) == (ProcessStatus.STOPPED, -signal.SIGKILL)

    asyncio.run(run())


def test_a_process_that_dies_unasked_is_told_from_one_that_was_stopped(tmp_path):
    async def run():
        child = Child(python(tmp_path, SLEEPS), lambda: None)
        await child.start()
        child.send(signal.SIGKILL)
        assert await child.ended_within(PATIENCE_SECONDS)
        assert (child.status, child.exit_code) == (ProcessStatus.ENDED, -signal.SIGKILL)

    asyncio.run(run())


def test_a_process_that_dies_at_the_start_is_reported_with_the_end_of_its_log(tmp_path):
    async def run():
        child = Child(python(tmp_path, "import sys; print('x' * 5000); sys.exit('the ledger is full')"), lambda: None)
        await child.start()
        await said_up(child)

    with pytest.raises(Exception, match="worker ended with exit code 1 while it was started") as failure:
        asyncio.run(run())
    assert type(failure.value).__name__ == "ProcessFailed"
    assert str(failure.value).endswith("the ledger is full")
    assert len(str(failure.value)) < 2_500
    assert failure.value.log == tmp_path / "worker.log"


def test_a_process_that_never_answers_is_reported(tmp_path):
    async def run():
        child = Child(python(tmp_path, "import time; time.sleep(600)"), lambda: None)
        await child.start()
        try:
            await until_ready(child, lambda: asyncio.sleep(0, False), 0.2)
        finally:
            await child.stop()

    with pytest.raises(Exception, match=r"worker was not ready within 0\.2 s"):
        asyncio.run(run())


def test_a_program_that_cannot_be_run_says_which(tmp_path):
    async def run():
        child = Child(command(tmp_path, tmp_path / "nothing"), lambda: None)
        await child.start()
        assert await child.ended_within(PATIENCE_SECONDS)
        assert child.exit_code == 126

    asyncio.run(run())
    assert log_tail(tmp_path / "worker.log") == f"cannot run {tmp_path / 'nothing'}: No such file or directory"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tether a process to its parent")
def test_a_tethered_process_dies_with_its_parent_however_the_parent_dies(tmp_path):
    pid_file = tmp_path / "pid"
    sleeper = f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    parent = (
        "import os, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-I', '-S', {str(Path(tether.__file__))!r}, str(os.getpid()), "
        f"sys.executable, '-c', {sleeper!r}])\n"
        "time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", parent])
    try:
        until(lambda: pid_file.exists() and pid_file.read_text())
        pid = int(pid_file.read_text())
        assert began_of(pid) is not None
    finally:
        process.kill()
        process.wait()
    until(lambda: began_of(pid) is None)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tether a process to its parent")
def test_a_process_whose_parent_died_before_the_tether_held_does_not_run(tmp_path):
    witness = tmp_path / "witness"
    argv = [sys.executable, "-I", "-S", str(tether.__file__), "1", "/usr/bin/env", "touch", str(witness)]
    assert subprocess.run(argv, check=False).returncode == 0
    assert not witness.exists()


def test_a_leftover_is_ended_and_a_process_that_took_over_its_id_is_not():
    with subprocess.Popen([sys.executable, "-c", SLEEPS], stdout=subprocess.PIPE) as process:
        began = began_of(process.pid)
        assert is_same_process(process.pid, began)
        end_leftovers([(process.pid, "an earlier boot/1"), (process.pid, None)])
        assert process.poll() is None
        end_leftovers([(process.pid, began)])
        assert process.wait() == -signal.SIGTERM
    assert not is_same_process(process.pid, began)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="a zombie is seen in /proc")
def test_a_zombie_counts_as_gone():
    process = subprocess.Popen([sys.executable, "-c", ""])
    until(lambda: began_of(process.pid) is None)
    assert process.wait() == 0


def test_exit_codes_are_put_in_words():
    assert exit_text(3) == "ended with exit code 3"
    assert exit_text(-9) == "was ended by SIGKILL"
    assert exit_text(-200) == "was ended by signal 200"


def test_the_tail_of_a_log_that_is_not_there_is_empty(tmp_path):
    assert log_tail(tmp_path / "none.log") == ""
