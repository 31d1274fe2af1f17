"""The smallest application that can be wrong in every way: ``key=value`` transactions over a real store.

    value empty                removes the key
    validator:<hex key>=<n>    gives a validator the power n
    fail:<call>=1              makes that handler raise, now and until the process ends

``python -m campaigns.harness.kvstore unix:///path folder`` serves it as a process of its own.
"""

import hashlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from abci_app.protocol import blocks as b
from abci_app.protocol import messages as m
from abci_app.protocol import server
from abci_app.protocol.application import BaseApplication
from abci_app.store.interface import Store
from abci_app.store.lmdb_store import LmdbStore

VERSION = 7


class KeyValueApplication(BaseApplication):
    """``handled`` lists the calls in the order in which they were handled."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.handled: list[str] = []
        self.failing: set[str] = set()
        self._pending: tuple[int, bytes, dict[bytes, bytes | None]] | None = None

    def _handle(self, call: str) -> None:
        self.handled.append(call)
        if call in self.failing:
            raise RuntimeError(f"{call} was told to fail")

    def info(self, request: m.RequestInfo) -> m.ResponseInfo:
        self._handle("info")
        return m.ResponseInfo(
            data="kvstore",
            app_version=VERSION,
            last_block_height=self.store.height,
            last_block_app_hash=self.store.app_hash,
        )

    def init_chain(self, request: m.RequestInitChain) -> m.ResponseInitChain:
        self._handle("init_chain")
        return m.ResponseInitChain(app_hash=_root({}))

    def query(self, request: m.RequestQuery) -> m.ResponseQuery:
        self._handle("query")
        value = self.store.get(request.data)
        return m.ResponseQuery(key=request.data, value=value or b"", height=self.store.height)

    def check_tx(self, request: m.RequestCheckTx) -> m.ResponseCheckTx:
        self._handle("recheck_tx" if request.type == m.CheckTxType.RECHECK else "check_tx")
        return m.ResponseCheckTx(code=0 if b"=" in request.tx else 2)

    def prepare_proposal(self, request: m.RequestPrepareProposal) -> m.ResponsePrepareProposal:
        self._handle("prepare_proposal")
        return super().prepare_proposal(request)

    def process_proposal(self, request: m.RequestProcessProposal) -> m.ResponseProcessProposal:
        self._handle("process_proposal")
        status = m.ResponseProcessProposal
        return status(status=status.ACCEPT if all(b"=" in tx for tx in request.txs) else status.REJECT)

    def list_snapshots(self, request: m.RequestListSnapshots) -> m.ResponseListSnapshots:
        self._handle("list_snapshots")
        return super().list_snapshots(request)

    def finalize_block(self, request: m.RequestFinalizeBlock) -> m.ResponseFinalizeBlock:
        self._handle("finalize_block")
        writes: dict[bytes, bytes | None] = {}
        answer = m.ResponseFinalizeBlock()
        for tx in request.txs:
            key, _, value = tx.partition(b"=")
            answer.tx_results.add(code=0, data=key)
            writes[key] = value or None
            if key.startswith(b"fail:"):
                self.failing.add(key.removeprefix(b"fail:").decode())
            if key.startswith(b"validator:"):
                public = bytes.fromhex(key.removeprefix(b"validator:").decode())
                answer.validator_updates.add(pub_key=b.PublicKey(ed25519=public), power=int(value))
        state = dict(self.store.scan(b"")) | writes
        answer.app_hash = _root(state)
        self._pending = (request.height, answer.app_hash, writes)
        return answer

    def commit(self, request: m.RequestCommit) -> m.ResponseCommit:
        self._handle("commit")
        assert self._pending is not None
        height, app_hash, writes = self._pending
        self.store.commit(height, app_hash, writes, app_version=VERSION)
        self._pending = None
        return m.ResponseCommit()


def _root(state: dict[bytes, bytes | None]) -> bytes:
    def parts() -> Iterator[bytes]:
        for key, value in sorted(state.items()):
            if value is not None:
                yield len(key).to_bytes(4, "big") + key + len(value).to_bytes(4, "big") + value

    return hashlib.sha256(b"".join(parts())).digest()


def main(address: str, folder: str) -> int:
    """Serve from a folder until a signal or a Halt; the exit status."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    store = LmdbStore.open(Path(folder), map_bytes=2**24)
    try:
        return server.run(KeyValueApplication(store), address)
    finally:
        store.close()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
