"""What ``fedledger doctor`` looks at: this program, its tools, keys, nodes, the chain and the payload store.

Each check finds something and, unless it is well, says the one thing to do. None changes anything. ``errors`` supplies
the words for what raises.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .access import Access
from .errors import failure_of

if TYPE_CHECKING:
    from client_sdk.rpc import NodeStatus
    from client_sdk.session.profile import Profile

ADVANCE_SECONDS: Final = 8.0  # An idle chain makes a block every 2 s.
CLOCK_SECONDS: Final = 30.0
_ANSWER_SECONDS: Final = 3.0
_BUILD: Final = "Build it again with 'make setup'."


class Health(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"  # Something to know; what was asked for may work all the same.
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, what was found, and what to do unless it is well."""

    subject: str
    verdict: Health
    found: str
    remedy: str = ""


async def all_checks(access: Access) -> AsyncIterator[Check]:
    """Every check that makes sense, in order; what an earlier one rules out is left out."""
    # In a thread, because what asks the devnet brings an event loop of its own.
    for check in await asyncio.to_thread(lambda: [*_program(), *_tools(), *_devnet(access)]):
        yield check
    try:
        profile = access.profile()
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a profile is what we are here to say.
        yield _failed("profile", error)
        return
    yield Check("profile", Health.OK, f"{profile.organisation} on {profile.chain_id}")
    for check in (*_genesis(profile), *_secrets(profile)):
        yield check
    async for check in _nodes(profile):
        yield check
    async for check in _store(profile):
        yield check


def _program() -> Iterator[Check]:
    from .app import version

    yield Check("fedledger", Health.OK, f"{version()}, Python {sys.version.split()[0]}")
    if sys.flags.optimize:
        yield Check("python -O", Health.FAIL, "assertions are off", "Run without -O and PYTHONOPTIMIZE.")


def _tools() -> Iterator[Check]:
    """CometBFT and Kubo: whoever only uses somebody's ledger does without."""
    import subprocess

    from client_sdk.errors import in_words
    from devnet import binaries
    from devnet.errors import BinaryMissing

    for program in (binaries.COMETBFT, binaries.KUBO):
        try:
            path = binaries.find(program)
            shown = subprocess.run([path, "version"], capture_output=True, text=True, timeout=10, check=True).stdout
            yield Check(program.title, Health.OK, f"{shown.strip().splitlines()[0]} at {path}")
        except BinaryMissing as missing:
            yield Check(program.title, Health.WARN, str(missing), f"Only a devnet or a node needs it. {missing.hint}")
        except OSError as error:
            yield Check(program.title, Health.FAIL, f"does not run: {in_words(error)}", _BUILD)
        except (IndexError, subprocess.SubprocessError) as error:
            yield Check(program.title, Health.FAIL, f"does not say its version: {error}", _BUILD)


def _devnet(access: Access) -> Iterator[Check]:
    from devnet import lifecycle
    from devnet.process import ProcessStatus
    from devnet.state import Phase

    try:
        layout = access.layout()
        if layout is None:
            return
        state = lifecycle.status(layout.home)
    except Exception as error:  # noqa: BLE001 - as above.
        yield _failed("devnet", error)
        return
    if state.phase is not Phase.READY:
        remedy = state.hint or "Start it: fedledger devnet up"
        yield Check("devnet", Health.FAIL, f"it is {state.phase}{': ' + state.error if state.error else ''}", remedy)
        return
    ended = [process.name for process in state.processes if process.status is not ProcessStatus.RUNNING]
    for name in ended:
        yield Check("devnet", Health.FAIL, f"{name} does not run", f"fedledger devnet logs {name}, then restart it")
    if not ended:
        yield Check("devnet", Health.OK, f"{len(state.processes)} processes run in {layout.home}")


def _genesis(profile: "Profile") -> Iterator[Check]:
    from client_sdk.session import WrongGenesis
    from contracts.kernel import crypto

    try:
        found = crypto.sha256(profile.genesis.read_bytes()).hex()
    except OSError as error:
        yield _failed("genesis", error)
        return
    if found == profile.genesis_sha256:
        yield Check("genesis", Health.OK, f"SHA-256 {found}")
    else:
        yield Check("genesis", Health.FAIL, f"it has the SHA-256 {found}, not the trusted one", WrongGenesis.hint)


def _secrets(profile: "Profile") -> Iterator[Check]:
    """Whether only their owner can read keyring and passphrase. Nothing is opened."""
    from client_sdk.secrets.private_files import ExposedFile, refuse_exposed

    for subject, path in (("keyring", profile.keyring), ("passphrase", profile.passphrase)):
        try:
            refuse_exposed(path.parent, path.parent.stat(), "700")
            refuse_exposed(path, path.stat(), "600")
        except FileNotFoundError:
            make = f"To act: fedledger key create {profile.organisation}"
            remedy = make if subject == "keyring" else "You are asked for it."
            yield Check(subject, Health.WARN, f"there is none at {path}", remedy)
        except (ExposedFile, OSError) as error:
            yield _failed(subject, error)
        else:
            yield Check(subject, Health.OK, f"{path}, for its owner only")


async def _nodes(profile: "Profile") -> AsyncIterator[Check]:
    """Every node of the profile; that some do not answer matters only when none does."""
    answers = dict(zip(profile.rpc, await asyncio.gather(*map(_status, profile.rpc)), strict=True))
    seen = {
        address: answer
        for address, answer in answers.items()
        if not isinstance(answer, Exception) and answer.chain_id == profile.chain_id
    }
    for address, answer in answers.items():
        yield _node(profile, address, answer, Health.WARN if seen else Health.FAIL)
    if not seen:
        remedy = "Start a node, or the devnet: fedledger devnet up"
        yield Check("chain", Health.FAIL, "no node of this ledger answers", remedy)
        return
    chain = await _advancing(next(iter(seen)), max(answer.height for answer in seen.values()))
    yield chain
    if chain.verdict is Health.OK:  # The clock is held against a chain that goes.
        yield _clock(max(answer.time_ns for answer in seen.values()))
    yield await _proofs(profile)


def _node(profile: "Profile", address: str, answer: "NodeStatus | Exception", down: Health) -> Check:
    if isinstance(answer, Exception):
        return Check("node", down, failure_of(answer).message, "Start it, or ask whoever runs it.")
    if answer.chain_id != profile.chain_id:
        found = f"{address} is on {answer.chain_id}, the profile on {profile.chain_id}"
        return Check("node", Health.FAIL, found, "Correct the address, or get a new profile.")
    found = f"{answer.moniker} at {address}: CometBFT {answer.version}, height {answer.height}"
    if answer.catching_up:
        return Check("node", Health.WARN, found, "It is catching up: wait.")
    return Check("node", Health.OK, found)


async def _status(address: str) -> "NodeStatus | Exception":
    from client_sdk.rpc import AnswerMalformed, RpcClient, RpcError

    async with RpcClient((address,), call_seconds=_ANSWER_SECONDS) as rpc:
        try:
            return await rpc.status()
        except (RpcError, AnswerMalformed) as error:
            return error


async def _advancing(address: str, height: int) -> Check:
    from client_sdk.rpc import RpcClient

    until = asyncio.get_running_loop().time() + ADVANCE_SECONDS
    async with RpcClient((address,)) as rpc:
        while await rpc.heads.beyond(height, until):
            if rpc.heads.height > height:
                return Check("chain", Health.OK, f"makes blocks: {height} → {rpc.heads.height}")
    remedy = "More than two thirds of the validators must run: see 'fedledger devnet status', or ask the operators."
    return Check("chain", Health.FAIL, f"no block after {height} within {ADVANCE_SECONDS:g} s", remedy)


def _clock(block_ns: int) -> Check:
    behind = time.time() - block_ns / 1e9
    if abs(behind) <= CLOCK_SECONDS:
        return Check("clock", Health.OK, f"{behind:.0f} s past the newest block")
    found = f"this machine is {behind:+.0f} s from the newest block"
    return Check("clock", Health.WARN, found, "Set this machine's clock (NTP): headers of the future are refused.")


async def _proofs(profile: "Profile") -> Check:
    """A proved read goes through everything: signatures of the validators, header, proof, our own decoder."""
    from client_sdk.session import open_client
    from contracts import electorate, upgrades
    from contracts.registry import RULES

    try:
        async with open_client(profile) as client:
            members = await client.get(electorate.MEMBERSHIP)
            now = await client.get(upgrades.IN_FORCE)
    except Exception as error:  # noqa: BLE001 - as above.
        return _failed("proofs", error)
    count = members.organisations if members else 0
    found = f"{count} members, proved by the validators' signatures; rules of version {now.version if now else '?'}"
    coming = now.next if now else None
    if coming is None:
        return Check("proofs", Health.OK, found)
    found = f"{found}, of version {coming.version} from block {coming.height} on"
    if coming.version in RULES.known:
        return Check("proofs", Health.OK, found)
    return Check("proofs", Health.WARN, found, f"Install a fedledger that knows version {coming.version} before that.")


async def _store(profile: "Profile") -> AsyncIterator[Check]:
    import os

    from client_sdk.payloads.store import StoreKind
    from client_sdk.session import open_store

    if profile.store is StoreKind.LOCAL:
        folder = Path(profile.store_address)
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
        writable = os.access(nearest, os.W_OK | os.X_OK)
        verdict = Health.OK if writable else Health.FAIL
        yield Check("store", verdict, f"block folder {folder}", "" if writable else f"You may not write to {nearest}.")
        return
    try:
        async with open_store(profile):
            yield Check("store", Health.OK, f"Kubo answers at {profile.store_address}")
    except Exception as error:  # noqa: BLE001 - as above.
        yield _failed("store", error)


def _failed(subject: str, error: BaseException) -> Check:
    failure = failure_of(error)
    return Check(subject, Health.FAIL, failure.message, failure.hint)
