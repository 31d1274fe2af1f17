"""What other shells are told, also when nobody is left to tell it."""

import json
import os
from dataclasses import replace

import pytest

from devnet.errors import AlreadyRunning, StateUnreadable
from devnet.layout import Layout
from devnet.ownership import began_of, hold
from devnet.process import ProcessKind, ProcessStatus
from devnet.state import DevnetState, Phase, ProcessRecord, ValidatorRecord, living, read_state, stopped, write_state


@pytest.fixture
def path(tmp_path):
    tmp_path.chmod(0o700)
    return tmp_path / "state.json"


def state(**changes):
    running = ProcessRecord(
        "validator-1-node", ProcessKind.NODE, ProcessStatus.RUNNING, os.getpid(), began_of(os.getpid()), None, "a.log"
    )
    ended = ProcessRecord("kubo-1", ProcessKind.KUBO, ProcessStatus.ENDED, None, None, -9, "b.log")
    stated = DevnetState(
        phase=Phase.READY,
        chain_id="chain-1",
        genesis_sha256="ab" * 32,
        supervisor_pid=os.getpid(),
        supervisor_began=began_of(os.getpid()),
        control="/run/control.sock",
        processes=(running, ended),
        validators=(ValidatorRecord("validator-1", "lab-1", "http://127.0.0.1:1"),),
        kubo=("http://127.0.0.1:2",),
    )
    return replace(stated, **changes)


def test_a_state_that_was_written_reads_back_the_same(path):
    for stated in (state(), state(phase=Phase.FAILED, error="why", hint="what to do")):
        write_state(path, stated)
        assert read_state(path) == stated


def test_no_file_is_no_state(path):
    assert read_state(path) is None


@pytest.mark.parametrize("phase", [Phase.STARTING, Phase.READY, Phase.STOPPING])
def test_a_supervisor_that_is_gone_shows_as_lost_and_so_do_its_processes(path, phase):
    gone = ProcessRecord("x", ProcessKind.NODE, ProcessStatus.RUNNING, os.getpid(), "another boot/1", None, "c.log")
    write_state(path, state(phase=phase, supervisor_began="another boot/1", processes=(*state().processes, gone)))
    found = read_state(path)
    assert found.phase is Phase.LOST
    assert [record.status for record in found.processes] == ["running", "ended", "ended"]
    assert living(found) == [(os.getpid(), began_of(os.getpid()))]


def test_a_network_that_was_stopped_stays_stopped_without_a_supervisor(path):
    write_state(path, state(phase=Phase.STOPPED, supervisor_began=None))
    assert read_state(path).phase is Phase.STOPPED


def test_nothing_lives_in_a_stopped_state():
    assert living(stopped(state())) == []
    assert stopped(state()).phase is Phase.STOPPED


@pytest.mark.parametrize(
    "damage", [lambda d: d.pop("control"), lambda d: d.update(version=2), lambda d: d.update(phase="x")]
)
def test_a_damaged_state_is_refused_by_its_path(path, damage):
    write_state(path, state())
    document = json.loads(path.read_text())
    damage(document)
    path.write_text(json.dumps(document))
    with pytest.raises(StateUnreadable, match=str(path)):
        read_state(path)
    path.write_text("{")
    with pytest.raises(StateUnreadable, match=str(path)):
        read_state(path)


def test_one_supervisor_holds_a_home_until_it_lets_go(tmp_path):
    layout = Layout(tmp_path)
    held = hold(layout)
    with pytest.raises(AlreadyRunning, match=str(tmp_path)):
        hold(layout, 0.1)
    os.close(held)
    os.close(hold(layout, 0))
