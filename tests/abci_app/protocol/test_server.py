"""The server against clients that are fast, slow, rude or gone, and against handlers that fail."""

import asyncio
import contextlib
import signal
import socket
import stat
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from abci_app.protocol import messages as m
from abci_app.protocol import server as server_module
from abci_app.protocol.address import AddressInUse, AddressRefused
from abci_app.protocol.application import Halt
from abci_app.protocol.dispatch import Dispatcher
from abci_app.protocol.framing import frame
from abci_app.protocol.server import Limits, Server
from abci_app.store.memory_store import MemoryStore
from campaigns.harness.abci_client import AbciConnection, NodeHalted
from campaigns.harness.kvstore import KeyValueApplication
from contracts.kernel.varint import uvarint

ROOT = Path(__file__).resolve().parents[3]
CALLS = [field.name for field in m.Request.DESCRIPTOR.fields]


class Application(KeyValueApplication):
    """The key-value application in memory."""

    def __init__(self) -> None:
        super().__init__(MemoryStore())


@contextlib.asynccontextmanager
async def serving(tmp_path, application=None, limits=None):
    async with Server(application or Application(), f"unix://{tmp_path}/abci.sock", limits) as server:
        yield server


def check(tx: bytes) -> m.RequestCheckTx:
    return m.RequestCheckTx(tx=tx)


# ---- answers


async def test_echo_and_flush_are_answered_by_the_server_itself(tmp_path):
    application = Application()
    async with serving(tmp_path, application) as server:
        client = await AbciConnection.open(server.address)
        assert (await client.call("echo", m.RequestEcho(message="hello"))).message == "hello"
        await client.close()
    assert application.handled == []


@pytest.mark.parametrize("call", CALLS)
def test_every_answer_names_its_kind_even_when_it_is_empty(call):
    application = Application()
    application.finalize_block(m.RequestFinalizeBlock(height=1))
    request = m.Request()
    getattr(request, call).SetInParent()
    answered = Dispatcher(application).answer(request.SerializeToString())
    length = len(uvarint(len(answered) - 1)) if len(answered) <= 128 else 2
    response = m.Response.FromString(answered[length:])
    assert response.WhichOneof("value") == call
    assert frame(response.SerializeToString()) == answered  # Written by hand, as protobuf would.


async def test_ten_thousand_pipelined_requests_are_answered_in_order(tmp_path):
    async with serving(tmp_path) as server:
        client = await AbciConnection.open(server.address)
        answers = []
        for number in range(10_000):
            answers.append(client.send("echo", m.RequestEcho(message=str(number))))
            if number % 500 == 0:
                await client.drained()
        await client.flush()
        assert [answer.result().message for answer in answers] == [str(n) for n in range(10_000)]
        await client.close()


async def test_consensus_does_not_wait_behind_ten_thousand_queued_check_tx(tmp_path):
    application = Application()
    async with serving(tmp_path, application) as server:
        mempool = await AbciConnection.open(server.address, "mempool")
        consensus = await AbciConnection.open(server.address, "consensus")
        await consensus.call("init_chain", m.RequestInitChain())
        first, *others = [mempool.send("check_tx", check(b"k%d=" % n + bytes(300))) for n in range(10_000)]
        await first
        for height in range(1, 6):
            await consensus.call("finalize_block", m.RequestFinalizeBlock(height=height))
            await consensus.call("commit", m.RequestCommit())
        assert not others[-1].done(), "the flood was over before the blocks were"
        await mempool.flush()
        assert all(answer.result().code == 0 for answer in others)
        turns = [at for at, call in enumerate(application.handled) if call != "check_tx"]
        between = [later - earlier for earlier, later in pairwise(turns)]
        # An answer and the next request take the loop, shared with this test, a handful of turns.
        assert max(between) <= 10 * server.limits.slice_requests
        await mempool.close()
        await consensus.close()


async def test_a_slice_leaves_in_one_write_and_ends_at_its_limit(tmp_path):
    application = Application()
    async with serving(tmp_path, application, Limits(slice_requests=10, slice_seconds=60.0)) as server:
        reader, writer = await asyncio.open_unix_connection(server.address.removeprefix("unix://"))
        echo = m.Request(echo=m.RequestEcho(message="x" * 100)).SerializeToString()
        answer = len(frame(m.Response(echo=m.ResponseEcho(message="x" * 100)).SerializeToString()))
        writer.write(frame(echo) * 25)
        sizes: list[int] = []
        while sum(sizes) < 25 * answer:
            sizes.append(len(await reader.read(2**16)))
        written = [10 * answer, 20 * answer, 25 * answer]  # One write may be read together with the next.
        assert all(sum(sizes[: end + 1]) in written for end in range(len(sizes)))
        writer.close()


async def test_a_twenty_megabyte_block_in_small_pieces_is_one_request(tmp_path):
    application = Application()
    async with serving(tmp_path, application) as server:
        client = await AbciConnection.open(server.address)
        txs = [b"k%03d=" % n + bytes(100_000) for n in range(200)]
        answer = await client.call("process_proposal", m.RequestProcessProposal(txs=txs))
        assert answer.status == m.ResponseProcessProposal.ACCEPT
        await client.close()


async def test_a_client_that_does_not_read_is_not_served_further(tmp_path):
    application = Application()
    application.store.commit(1, b"h", {b"big": bytes(60_000)}, app_version=1)
    async with serving(tmp_path, application) as server:
        _, writer = await asyncio.open_unix_connection(server.address.removeprefix("unix://"), limit=2**10)
        query = frame(m.Request(query=m.RequestQuery(data=b"big")).SerializeToString())
        writer.write(query * 1_000)
        other = await AbciConnection.open(server.address)
        for _ in range(100):
            await other.call("echo", m.RequestEcho())
        assert application.handled.count("query") < 500
        writer.close()
        await other.close()


async def test_requests_do_not_pile_up_beyond_the_backlog(tmp_path):
    limits = Limits(backlog_bytes=2**16, slice_requests=1)
    received_at_once = 2**18  # What asyncio reads in one go.
    most = 0

    class Watching(Application):
        def check_tx(self, request: m.RequestCheckTx) -> m.ResponseCheckTx:
            nonlocal most
            most = max(most, server.waiting_bytes)
            return m.ResponseCheckTx()

    async with serving(tmp_path, Watching(), limits) as server:
        client = await AbciConnection.open(server.address)
        for _ in range(1_000):
            client.send("check_tx", check(bytes(4_000)))
        await client.flush()
        await client.close()
    assert limits.backlog_bytes < most < limits.backlog_bytes + 2 * received_at_once


# ---- hostile bytes

HOSTILE = {
    "a huge length": (uvarint(2**34), "FrameTooLarge: a frame of 17179869184 bytes was announced"),
    "a length above the cap": (uvarint(2**26 + 1), "FrameTooLarge"),
    "a length of zero": (b"\x00", "FrameEmpty"),
    "an endless prefix": (b"\xff" * 10, "PrefixTooLong"),
    "garbage": (frame(b"\xff" * 20), "Undecodable: a frame of 20 bytes is not an ABCI request"),
    "a truncated message": (frame(bytes.fromhex("42050a0361")), "Undecodable"),
    "a field number of zero": (frame(b"\x00\x00"), "Undecodable"),
    "a wrong wire type": (frame(bytes.fromhex("4005")), "UnknownRequest"),
    "bad UTF-8 in a string": (frame(bytes.fromhex("0a040a02c328")), "Undecodable"),
    "a call of the future": (frame(bytes.fromhex("da0700")), "UnknownRequest: a request of 3 bytes"),
    "a retired call": (frame(bytes.fromhex("2200")), "UnknownRequest"),
    "an Info framed as Tendermint 0.34 did": (bytes.fromhex("08") + bytes.fromhex("1a020a00"), "Undecodable"),
    "an HTTP request": (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + bytes(80), "Undecodable"),
}


@pytest.mark.parametrize("case", HOSTILE)
async def test_hostile_bytes_end_their_connection_and_no_other(tmp_path, caplog, case):
    sent, logged = HOSTILE[case]
    async with serving(tmp_path) as server:
        other = await AbciConnection.open(server.address)
        reader, writer = await asyncio.open_unix_connection(server.address.removeprefix("unix://"))
        echo = m.Request(echo=m.RequestEcho(message="first")).SerializeToString()
        writer.write(frame(echo) + sent)
        if "0.34" in case:
            writer.write_eof()
        answer = await reader.read()
        assert answer == frame(m.Response(echo=m.ResponseEcho(message="first")).SerializeToString())
        assert logged in caplog.text or "0.34" in case
        assert (await other.call("echo", m.RequestEcho(message="still here"))).message == "still here"
        writer.close()
        await other.close()


async def test_a_client_gone_in_the_middle_of_a_frame_harms_nobody(tmp_path):
    async with serving(tmp_path) as server:
        _, writer = await asyncio.open_unix_connection(server.address.removeprefix("unix://"))
        writer.write(uvarint(1_000) + b"half of it")
        writer.close()
        client = await AbciConnection.open(server.address)
        assert (await client.call("echo", m.RequestEcho(message="x"))).message == "x"
        await client.close()


async def test_a_client_gone_before_its_answers_harms_nobody(tmp_path):
    application = Application()
    async with serving(tmp_path, application) as server:
        rude = socket.socket(socket.AF_UNIX)
        rude.connect(server.address.removeprefix("unix://"))
        rude.setblocking(False)
        request = frame(m.Request(check_tx=check(b"a=b" * 100)).SerializeToString())
        with contextlib.suppress(BlockingIOError):
            for _ in range(2_000):
                rude.send(request)
        rude.close()  # With unread answers on the way: a reset, not an end of file.
        client = await AbciConnection.open(server.address)
        assert (await client.call("check_tx", check(b"a=b"))).code == 0
        await client.close()


async def test_more_clients_than_allowed_are_turned_away(tmp_path):
    async with serving(tmp_path, limits=Limits(connections=2)) as server:
        first, second = [await AbciConnection.open(server.address) for _ in range(2)]
        await first.call("echo", m.RequestEcho())
        await second.call("echo", m.RequestEcho())
        third = await AbciConnection.open(server.address)
        await third.ended()
        await first.close()
        await second.call("echo", m.RequestEcho())
        fourth = await AbciConnection.open(server.address)
        await fourth.call("echo", m.RequestEcho())
        for client in (second, third, fourth):
            await client.close()


# ---- handlers that fail

SAFE = {
    "query": lambda answer: answer.code == 1,
    "check_tx": lambda answer: answer.code == 1,
    "prepare_proposal": lambda answer: not answer.txs,
    "process_proposal": lambda answer: answer.status == m.ResponseProcessProposal.REJECT,
    "list_snapshots": lambda answer: not answer.snapshots,
}
REQUESTS = {
    "query": m.RequestQuery(),
    "check_tx": m.RequestCheckTx(),
    "prepare_proposal": m.RequestPrepareProposal(),
    "process_proposal": m.RequestProcessProposal(),
    "list_snapshots": m.RequestListSnapshots(),
}


@pytest.mark.parametrize("call", SAFE)
async def test_a_failing_handler_gives_the_answer_that_is_always_right(tmp_path, caplog, call):
    application = Application()
    application.failing.add(call)
    async with serving(tmp_path, application) as server:
        client = await AbciConnection.open(server.address)
        assert SAFE[call](await client.call(call, REQUESTS[call]))
        assert server.dispatcher.failures == {call: 1}
        assert f"RuntimeError: {call} was told to fail" in caplog.text
        application.failing.clear()
        assert not SAFE[call](await client.call(call, REQUESTS[call])) or call in {
            "prepare_proposal",
            "list_snapshots",
            "check_tx",
        }
        await client.close()


async def test_a_panic_that_is_no_exception_is_answered_too(tmp_path):
    class Panic(BaseException):
        """As pyo3 raises for a panic in Rust."""

    class Panicking(Application):
        def check_tx(self, request: m.RequestCheckTx) -> m.ResponseCheckTx:
            raise Panic

    async with serving(tmp_path, Panicking()) as server:
        client = await AbciConnection.open(server.address)
        answer = await client.call("check_tx", check(b"a=b"))
        assert (answer.code, answer.codespace) == (1, "abci")
        await client.close()


async def test_an_answer_of_the_wrong_type_counts_as_a_failure(tmp_path, caplog):
    class Confused(Application):
        def check_tx(self, request):
            return m.ResponseQuery()

    async with serving(tmp_path, Confused()) as server:
        client = await AbciConnection.open(server.address)
        assert (await client.call("check_tx", check(b"a=b"))).code == 1
        assert "check_tx answered ResponseQuery, not ResponseCheckTx" in caplog.text
        await client.close()


async def test_a_flood_of_failures_is_counted_in_full_and_logged_seldom(tmp_path, caplog):
    application = Application()
    application.failing.add("check_tx")
    async with serving(tmp_path, application) as server:
        client = await AbciConnection.open(server.address)
        for _ in range(1_000):
            client.send("check_tx", check(b"a=b"))
        await client.flush()
        assert server.dispatcher.failures["check_tx"] == 1_000
        assert caplog.text.count("Traceback") == 10
        await client.close()


CONSENSUS = {
    "info": m.RequestInfo(),
    "init_chain": m.RequestInitChain(),
    "finalize_block": m.RequestFinalizeBlock(height=1),
    "commit": m.RequestCommit(),
}


@pytest.mark.parametrize("call", CONSENSUS)
async def test_a_failing_consensus_call_halts_without_an_answer(tmp_path, caplog, call):
    application = Application()
    application.failing.add(call)
    async with serving(tmp_path, application) as server:
        client, other = [await AbciConnection.open(server.address) for _ in range(2)]
        await other.call("echo", m.RequestEcho())
        with pytest.raises(NodeHalted, match=r"closed by the application|broke"):
            await client.call(call, CONSENSUS[call])
        with pytest.raises(Halt, match=f"{call} failed: RuntimeError: {call} was told to fail"):
            await server.wait()
        await other.ended()
        assert "HALT" in caplog.text
        await client.close()
        await other.close()


async def test_a_halt_raised_in_a_query_halts_too(tmp_path):
    class Damaged(Application):
        def query(self, request: m.RequestQuery) -> m.ResponseQuery:
            raise Halt("the store is not what it was")

    async with serving(tmp_path, Damaged()) as server:
        client = await AbciConnection.open(server.address)
        with pytest.raises(NodeHalted):
            await client.call("query", m.RequestQuery())
        with pytest.raises(Halt, match="the store is not what it was"):
            await server.wait()
        await client.close()


# ---- the process


@contextlib.contextmanager
def process(tmp_path):
    address = f"unix://{tmp_path}/abci.sock"
    command = [sys.executable, "-m", "campaigns.harness.kvstore", address, str(tmp_path / "store")]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as child:
        try:
            for line in child.stderr:
                if "serving ABCI" in line:
                    break
            yield child, address
        finally:
            child.kill()


async def test_a_halt_ends_the_process_with_status_70(tmp_path):
    with process(tmp_path) as (child, address):
        client = await AbciConnection.open(address)
        await client.call("init_chain", m.RequestInitChain())
        await client.call("finalize_block", m.RequestFinalizeBlock(height=1, txs=[b"fail:commit=1"]))
        with pytest.raises(NodeHalted):
            await client.call("commit", m.RequestCommit())
        assert child.wait() == server_module.EXIT_HALTED == 70
        assert "HALT: commit failed" in child.stderr.read()
        await client.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_with_status_0_and_removes_its_socket(tmp_path, number):
    with process(tmp_path) as (child, address):
        client = await AbciConnection.open(address)
        await client.call("echo", m.RequestEcho())
        child.send_signal(number)
        await client.ended()
        assert child.wait() == 0
        assert not (tmp_path / "abci.sock").exists()
        await client.close()


async def test_a_server_takes_the_place_of_one_that_was_killed(tmp_path):
    for _ in range(2):
        with process(tmp_path) as (child, address):
            client = await AbciConnection.open(address)
            await client.call("echo", m.RequestEcho())
            child.kill()
            child.wait()
            assert (tmp_path / "abci.sock").exists()
            await client.close()


# ---- addresses


async def test_a_live_server_keeps_its_address(tmp_path):
    async with serving(tmp_path) as server:
        with pytest.raises(AddressInUse, match="another process listens there"):
            await Server(Application(), server.address).start()
        client = await AbciConnection.open(server.address)
        await client.call("echo", m.RequestEcho())
        await client.close()


async def test_a_socket_is_for_its_owner_alone(tmp_path):
    async with serving(tmp_path):
        mode = (tmp_path / "abci.sock").stat().st_mode
        assert stat.S_IMODE(mode) == 0o600


async def test_closing_leaves_the_socket_of_a_successor_alone(tmp_path):
    async with serving(tmp_path):
        (tmp_path / "abci.sock").unlink()
        async with serving(tmp_path):
            pass
        # The first one ends here, after the second: what it finds is not its own.
        (tmp_path / "abci.sock").touch()
    assert (tmp_path / "abci.sock").exists()


async def test_tcp_is_served_on_loopback(tmp_path):
    async with Server(Application(), "tcp://127.0.0.1:0") as server:
        assert server.address.startswith("tcp://127.0.0.1:")
        client = await AbciConnection.open(server.address)
        assert (await client.call("echo", m.RequestEcho(message="x"))).message == "x"
        await client.close()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("tcp://0.0.0.0:26658", "listens on loopback only"),
        ("tcp://192.0.2.1:26658", "listens on loopback only"),
        ("tcp://example.org:26658", "is no loopback address"),
        ("tcp://127.0.0.1", "no loopback address"),
        ("tcp://127.0.0.1:99999", "is no port"),
        ("tcp://127.0.0.1:http", "is no port"),
        ("unix://relative.sock", "absolute"),
        ("unix:///" + "x" * 108, "a path of 109 bytes, the most is 107"),
        ("unix:///nowhere/at/all.sock", "No such file"),
        ("grpc://127.0.0.1:1", "want unix:///path or tcp://127.0.0.1:port"),
        ("/run/abci.sock", "want unix:///path"),
    ],
)
async def test_an_address_that_must_not_be_served_is_refused(address, reason):
    with pytest.raises(AddressRefused, match=reason):
        await Server(Application(), address).start()


async def test_a_file_that_is_no_socket_is_left_alone(tmp_path):
    precious = tmp_path / "abci.sock"
    precious.write_text("precious")
    with pytest.raises(AddressRefused, match="it is no socket"):
        await Server(Application(), f"unix://{precious}").start()
    assert precious.read_text() == "precious"


def test_an_address_that_is_taken_is_the_exit_status_78(tmp_path, caplog):
    assert server_module.run(Application(), "tcp://0.0.0.0:1") == server_module.EXIT_REFUSED == 78
    assert "listens on loopback only" in caplog.text
