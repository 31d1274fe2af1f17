"""A ledger with some history, for the targets that need more than bytes: in memory, and in LMDB."""

import atexit
import base64
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

from abci_app.app import LedgerApplication
from abci_app.protocol import blocks as b
from abci_app.protocol import messages as m
from abci_app.store.interface import Store
from abci_app.store.lmdb_store import LmdbStore
from abci_app.store.memory_store import MemoryStore
from contracts.kernel import limits

from ..harness import consortium
from ..harness.chain import CHAIN_ID, GENESIS_MS, BlockStep, Chain
from ..harness.consortium import SETUPS

NANOSECONDS = 1_000_000  # In a millisecond.


@cache
def chain() -> Chain:
    """What happened: a round from its opening to the version that its ballots promoted."""
    return consortium.promoted()


def replayed(store: Store) -> LedgerApplication:
    """An application that has decided all of it."""
    setups = [SETUPS[chain().setup]]
    while setups[0].extends:
        setups.insert(0, SETUPS[setups[0].extends])
    application = LedgerApplication(store)
    application.init_chain(_init_chain(setups[0].genesis))
    for setup in setups:
        for step in setup.steps:
            assert isinstance(step, BlockStep)
            application.finalize_block(
                m.RequestFinalizeBlock(txs=step.txs, height=step.height, time=timestamp(step.time_ms))
            )
            application.commit(m.RequestCommit())
    assert store.app_hash == chain().root
    return application


@cache
def in_memory() -> tuple[MemoryStore, LedgerApplication]:
    """An application on a store in memory. Clear the cache when a case got it to change."""
    store = MemoryStore()
    store.version, store._current = _history().version, _history()._current
    return store, LedgerApplication(store)


@cache
def in_lmdb() -> LedgerApplication:
    """The same on a store in LMDB, in a folder that is deleted at the end."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return replayed(LmdbStore.open(folder))


def timestamp(time_ms: int) -> b.Timestamp:
    """A block time as protobuf carries it."""
    return b.Timestamp(seconds=time_ms // 1000, nanos=time_ms % 1000 * NANOSECONDS)


@cache
def _history() -> MemoryStore:
    store = MemoryStore()
    replayed(store)
    return store


def _init_chain(genesis: bytes) -> m.RequestInitChain:
    updates = [
        m.ValidatorUpdate(pub_key=b.PublicKey(ed25519=member.validator.public), power=limits.VALIDATOR_POWER)
        for member in consortium.OPERATORS
    ]
    return m.RequestInitChain(
        time=timestamp(GENESIS_MS),
        chain_id=CHAIN_ID,
        validators=updates,
        app_state_bytes=json.dumps({"fedledger": base64.b64encode(genesis).decode("ascii")}).encode(),
        initial_height=1,
    )
