"""Reading a process's log, of a devnet that is only written down."""

import pytest

from devnet import lifecycle
from devnet.errors import NoDevnet, UnknownProcess
from devnet.layout import Layout
from devnet.process import ProcessKind, ProcessStatus
from devnet.state import DevnetState, Phase, ProcessRecord, write_state


@pytest.fixture
def layout(tmp_path):
    made = Layout(tmp_path / "net")
    node = ProcessRecord("validator-1-node", ProcessKind.NODE, ProcessStatus.STOPPED, None, None, 0, "")
    write_state(made.state, DevnetState(Phase.STOPPED, "c", "ab", 1, None, "/run/c.sock", (node,), (), ()))
    made.logs.mkdir()
    return made


def test_the_last_lines_are_given_and_no_more(layout):
    layout.log("validator-1-node").write_text("".join(f"line {number}\n" for number in range(1000)))
    assert list(lifecycle.logs(layout.home, "validator-1-node", lines=2)) == ["line 998", "line 999"]
    assert list(lifecycle.logs(layout.home, "validator-1-node", lines=0)) == []


def test_a_log_is_followed_as_it_grows_and_a_line_comes_whole(layout):
    log = layout.log("supervisor")
    log.write_text("before\n")
    followed = lifecycle.logs(layout.home, "supervisor", lines=5, follow=True)
    assert next(followed) == "before"
    with log.open("a") as file:
        file.write("half a line")
        file.flush()
        file.write(", and the rest\n")
    assert next(followed) == "half a line, and the rest"


def test_a_process_that_never_ran_has_no_lines(layout):
    assert list(lifecycle.logs(layout.home, "validator-1-node")) == []


def test_only_logs_can_be_read_this_way(layout, tmp_path):
    with pytest.raises(UnknownProcess) as refusal:
        lifecycle.logs(layout.home, "../../passphrase")
    assert "supervisor, validator-1-node" in refusal.value.hint
    with pytest.raises(NoDevnet):
        lifecycle.logs(tmp_path / "nowhere", "supervisor")
