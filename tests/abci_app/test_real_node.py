"""The server, the store and the mock's block rules against a real CometBFT of one validator."""

import asyncio
import base64
import calendar
import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pytest
from nacl.signing import VerifyKey

from abci_app.protocol import blocks as b
from abci_app.protocol import messages as m
from abci_app.protocol.framing import frame
from abci_app.protocol.server import Server
from abci_app.store.memory_store import MemoryStore
from campaigns.harness import cometbft_blocks as rules
from campaigns.harness.kvstore import KeyValueApplication

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("COMETBFT_BIN") or ROOT / ".toolchain" / "bin" / "cometbft")
PATIENCE_SECONDS = 240.0  # It catches a node that hangs, nothing else.
ALONE_SECONDS = 10.0  # For CometBFT to end by itself when its application is gone.


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Comet:
    """A node's home, and its RPC while it runs."""

    def __init__(self, home: Path, application: str) -> None:
        if not BINARY.exists():
            pytest.skip(f"no CometBFT at {BINARY}: run `make setup`, or set COMETBFT_BIN")
        self.home, self.application, self.rpc_port = home, application, free_port()
        subprocess.run([BINARY, "init", "--home", home], check=True, capture_output=True)
        config = home / "config" / "config.toml"
        text = config.read_text()
        for name, value in (("timeout_commit", "10ms"), ("peer_gossip_sleep_duration", "5ms")):
            text = re.sub(rf"^{name} = .*$", f'{name} = "{value}"', text, flags=re.MULTILINE)
        config.write_text(text)

    @contextlib.asynccontextmanager
    async def running(self):
        command = [
            *(BINARY, "start", "--home", self.home, "--proxy_app", self.application),
            *("--rpc.laddr", f"tcp://127.0.0.1:{self.rpc_port}", "--p2p.laddr", f"tcp://127.0.0.1:{free_port()}"),
            *("--p2p.pex=false", "--consensus.create_empty_blocks=false", "--log_level", "error"),
        ]
        with (self.home / "log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        try:
            async with aiohttp.ClientSession() as self.session:
                await self.ready()
                yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()  # Not asked to end: it may hang in that, when its consensus has failed.
            await process.wait()

    async def ready(self) -> None:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await self.ask("status")
            except (aiohttp.ClientError, OSError):
                assert time.monotonic() < give_up, (self.home / "log").read_text()
                await asyncio.sleep(0.05)

    async def ask(self, method: str, **parameters):
        params = {name: f'"{v}"' if isinstance(v, str) else str(v) for name, v in parameters.items()}
        address = f"http://127.0.0.1:{self.rpc_port}/{method}"
        async with self.session.get(address, params=params) as response:
            body = await response.json(content_type=None)
        assert "result" in body, body
        return body["result"]

    async def committed(self, tx: str) -> int:
        result = await self.ask("broadcast_tx_commit", tx=tx)
        assert result["tx_result"]["code"] == 0, result
        return int(result["height"])


@contextlib.asynccontextmanager
async def node_of(tmp_path, application):
    async with Server(application, f"unix://{tmp_path}/abci.sock") as server:
        comet = Comet(tmp_path / "home", server.address)
        async with comet.running() as process:
            yield comet, process


def from_hex(text: str) -> bytes:
    return bytes.fromhex(text)


def time_of(text: str) -> b.Timestamp:
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    return b.Timestamp(
        seconds=calendar.timegm(time.strptime(seconds, "%Y-%m-%dT%H:%M:%S")), nanos=int(fraction.ljust(9, "0") or 0)
    )


def id_of(block_id: dict) -> b.BlockID:
    parts = block_id["parts"]
    made = b.BlockID(hash=from_hex(block_id["hash"]))
    made.part_set_header.CopyFrom(b.PartSetHeader(total=parts["total"], hash=from_hex(parts["hash"])))
    return made


def header_of(header: dict) -> b.Header:
    hashes = {name: from_hex(value) for name, value in header.items() if name.endswith(("_hash", "_address"))}
    return b.Header(
        version=b.Consensus(block=int(header["version"]["block"]), app=int(header["version"].get("app", 0))),
        chain_id=header["chain_id"],
        height=int(header["height"]),
        time=time_of(header["time"]),
        last_block_id=id_of(header["last_block_id"]),
        **hashes,
    )


def commit_of(commit: dict) -> b.Commit:
    return b.Commit(
        height=int(commit["height"]),
        round=commit["round"],
        block_id=id_of(commit["block_id"]),
        signatures=[
            b.CommitSig(
                block_id_flag=one["block_id_flag"],
                validator_address=from_hex(one["validator_address"]),
                timestamp=time_of(one["timestamp"]),
                signature=base64.b64decode(one["signature"] or ""),
            )
            for one in commit["signatures"]
        ],
    )


async def test_a_real_node_commits_transactions_through_our_server(tmp_path):
    application = KeyValueApplication(MemoryStore())
    async with node_of(tmp_path, application) as (comet, _):
        height = await comet.committed("a=1")
        answer = await comet.ask("abci_query", path="/key", data="a")
        assert base64.b64decode(answer["response"]["value"]) == b"1"
        assert application.handled[:2] == ["info", "init_chain"]
        after_check = application.handled[application.handled.index("check_tx") :]
        after_finalize = after_check[after_check.index("finalize_block") :]
        assert "commit" in after_finalize
        assert application.store.height >= height


async def test_handlers_that_fail_do_not_stop_a_real_node(tmp_path):
    application = KeyValueApplication(MemoryStore())
    async with node_of(tmp_path, application) as (comet, process):
        application.failing |= {"query", "check_tx", "list_snapshots"}
        assert (await comet.ask("broadcast_tx_sync", tx="a=1"))["code"] == 1
        assert (await comet.ask("abci_query", path="/key", data="a"))["response"]["code"] == 1
        application.failing.clear()
        await comet.committed("a=2")
        proposed = application.handled.count("prepare_proposal")
        application.failing |= {"prepare_proposal", "process_proposal"}
        assert (await comet.ask("broadcast_tx_sync", tx="a=3"))["code"] == 0
        for _ in range(500):
            if application.handled.count("prepare_proposal") > proposed:
                break
            await asyncio.sleep(0.02)
        application.failing.clear()
        await comet.committed("a=4")
        assert process.returncode is None


async def test_the_mocks_rules_for_hashes_and_signatures_are_cometbfts(tmp_path):
    async with node_of(tmp_path, KeyValueApplication(MemoryStore())) as (comet, _):
        for number in range(4):
            height = await comet.committed(f"k{number}={number}")
        validators = (await comet.ask("validators", height=height))["validators"]
        members = [
            rules.Validator(base64.b64decode(one["pub_key"]["value"]), int(one["voting_power"])) for one in validators
        ]
        parameters = (await comet.ask("consensus_params", height=height))["consensus_params"]["block"]
        for at in (1, height - 1, height):
            whole = await comet.ask("block", height=at)
            header, block_id = header_of(whole["block"]["header"]), id_of(whole["block_id"])
            last = whole["block"]["last_commit"]
            txs = tuple(base64.b64decode(tx) for tx in whole["block"]["data"]["txs"])
            commit = commit_of(last) if at > 1 else b.Commit()
            block = rules.Block(header, txs, commit)
            assert block.hash == block_id.hash
            assert block.id == block_id
            assert header.data_hash == rules.data_hash(txs)
            assert header.last_commit_hash == rules.commit_hash(commit)
            assert header.validators_hash == rules.validators_hash(members)
            params = b.ConsensusParams(
                block=b.BlockParams(max_bytes=int(parameters["max_bytes"]), max_gas=int(parameters["max_gas"]))
            )
            assert header.consensus_hash == rules.params_hash(params)
            if at > 1:
                results = (await comet.ask("block_results", height=at - 1))["txs_results"] or []
                made = [m.ExecTxResult(code=r["code"], data=base64.b64decode(r["data"] or "")) for r in results]
                assert header.last_results_hash == rules.results_hash(made)
        signed = (await comet.ask("commit", height=height - 1))["signed_header"]
        verify_commit(commit_of(signed["commit"]), signed["header"]["chain_id"], members)


def verify_commit(commit: b.Commit, chain_id: str, members: list[rules.Validator]) -> None:
    """By the same statement that the mock's validators sign."""
    for one, vote in zip(members, commit.signatures, strict=True):
        statement = b.CanonicalVote(
            type=b.SignedMsgType.SIGNED_MSG_TYPE_PRECOMMIT,
            height=commit.height,
            round=commit.round,
            block_id=b.CanonicalBlockID.FromString(commit.block_id.SerializeToString()),
            timestamp=vote.timestamp,
            chain_id=chain_id,
        )
        VerifyKey(one.pub_key).verify(frame(statement.SerializeToString()), vote.signature)


@contextlib.asynccontextmanager
async def application_process(tmp_path):
    command = [
        sys.executable,
        "-m",
        "campaigns.harness.kvstore",
        f"unix://{tmp_path}/abci.sock",
        str(tmp_path / "store"),
    ]
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stderr=asyncio.subprocess.PIPE)
    while b"serving ABCI" not in (line := await process.stderr.readline()):
        assert line, "the application did not start"
    drain = asyncio.create_task(process.stderr.read())
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await drain


async def test_a_node_whose_application_was_killed_starts_again_where_it_was(tmp_path):
    comet = Comet(tmp_path / "home", f"unix://{tmp_path}/abci.sock")
    async with application_process(tmp_path) as application, comet.running() as node:
        for number in range(3):
            height = await comet.committed(f"k={number}")
        application.kill()
        with contextlib.suppress(TimeoutError):  # CometBFT is to stop itself. Now and then it hangs, SIGTERM or not:
            async with asyncio.timeout(ALONE_SECONDS):  # then it is killed, as a supervisor would.
                await node.wait()
    async with application_process(tmp_path), comet.running():
        info = (await comet.ask("abci_info"))["response"]
        assert int(info["last_block_height"]) >= height
        answer = await comet.ask("abci_query", path="/key", data="k")
        assert base64.b64decode(answer["response"]["value"]) == b"2"
        assert await comet.committed("k=3") > height
