"""Where two nodes' states are read for comparison: a data folder, or a running node's RPC address.

Both answer the same questions: which heights they have, the recorded hashes of the contracts at a height, and the
entries of the two versions that are kept. What comes over RPC is the node's word.
"""

import base64
import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from contracts.kernel import codec
from contracts.kernel.codec import Malformed

from ..queries import SCAN_LIMIT
from ..store import lmdb_store, recovery
from ..store.history import roots_of
from ..store.interface import Snapshot
from .fsck import store_folder

_TIMEOUT_SECONDS: Final = 10
_ANSWER_BYTES_MAX: Final = 8 * 2**20


class SourceFailed(Exception):
    """A node cannot be read."""

    hint = "Look at it with 'fedledger node fsck', or ask another node."


class NotKept(Exception):
    """A node does not have the version of this height any more."""


class Roots(NamedTuple):
    """The hashes of all contracts after a block."""

    roots: dict[str, bytes]
    oldest: int
    """The oldest height whose hashes are known."""


class Source(Protocol):
    """One node. ``name`` is how the user called it."""

    name: str
    chain_id: str
    newest: int
    whole: bool
    """Whether reading every entry is cheap."""

    def roots(self, height: int) -> Roots:
        """The hashes at a height. Raises SourceFailed, NotKept."""

    def entries(self, height: int, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The entries under a prefix in a version, in byte order. Raises SourceFailed, NotKept."""

    def require_sound(self) -> None:
        """Hold the entries to the hashes, where they can be read. Raises recovery.Damaged."""


@contextmanager
def opened(name: str) -> Iterator[Source]:
    """A source by its name. Raises SourceFailed, StoreError, recovery.Damaged."""
    if name.startswith(("http://", "https://")):
        yield NodeSource(name)
        return
    with lmdb_store.read_only(store_folder(Path(name))) as snapshot:
        yield FolderSource(name, snapshot)


class FolderSource:
    """A data folder. Its node may be running: one version is read, which it leaves alone meanwhile."""

    whole = True

    def __init__(self, name: str, snapshot: Snapshot) -> None:
        block = recovery.last_block(snapshot)
        self.name, self._snapshot = name, snapshot
        self.chain_id, self.newest = (block.chain_id, block.height) if block else ("", 0)

    def roots(self, height: int) -> Roots:
        """The hashes at a height. Raises StoreDamaged, NotKept."""
        oldest, found = next(self._snapshot.history(), None), self._snapshot.recorded(height)
        if oldest is None or found is None:
            raise NotKept(f"{self.name} has not recorded height {height}")
        return Roots(roots_of(found), oldest.height)

    def entries(self, height: int, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The entries of a version. Raises NotKept."""
        if height == self.newest:
            return self._snapshot.scan(prefix)
        if height == self._snapshot.previous.height:
            return self._snapshot.scan_previous(prefix)
        raise NotKept(f"{self.name} keeps the heights {self._snapshot.previous.height} and {self.newest}")

    def require_sound(self) -> None:
        """As a node does when it starts. Raises recovery.Damaged."""
        recovery.rebuilt_tree(self._snapshot)


class NodeSource:
    """A running node, by the address of its CometBFT's RPC."""

    whole = False

    def __init__(self, name: str) -> None:
        self.name, self._address = name, urlsplit(name)
        self.chain_id = str(_field(self._call("status", {}), "node_info", "network"))
        self.newest = int(self._asked("/roots", {"height": 0}, 0)["height"])

    def roots(self, height: int) -> Roots:
        """The hashes at a height. Raises SourceFailed."""
        answer = self._asked("/roots", {"height": height}, 0)
        try:
            return Roots(dict(answer["roots"]), int(answer["oldest"]))
        except (KeyError, TypeError, ValueError) as error:
            raise SourceFailed(f"{self.name}: its answer has no hashes") from error

    def entries(self, height: int, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The entries of a version. Raises SourceFailed, also when the node has moved on meanwhile."""
        after: bytes | None = None
        while True:
            page = self._asked("/scan", {"prefix": prefix, "after": after, "limit": SCAN_LIMIT}, height)
            for path, body in page:
                if after is not None and path <= after:
                    raise SourceFailed(f"{self.name}: its entries are out of order")
                after = path
                yield path, body
            if not page:
                return

    def require_sound(self) -> None:
        """Nothing: a running node did when it started."""

    def _asked(self, path: str, data: dict[str, Any], height: int) -> Any:
        """The application's answer to a query, decoded."""
        params = {"path": path, "data": codec.encode_plain(data).hex(), "height": str(height), "prove": False}
        response = _field(self._call("abci_query", params), "response")
        if response.get("code", 0):
            raise SourceFailed(f"{self.name}: {str(response.get('log'))[:300]}")
        try:
            return codec.decode_plain(base64.b64decode(response["value"], validate=True), most=_ANSWER_BYTES_MAX)
        except (KeyError, TypeError, ValueError, Malformed) as error:
            raise SourceFailed(f"{self.name}: its answer to {path} cannot be read") from error

    def _call(self, method: str, params: dict[str, Any]) -> Any:
        """The result of one call of JSON-RPC."""
        kind = http.client.HTTPSConnection if self._address.scheme == "https" else http.client.HTTPConnection
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        try:
            connection = kind(self._address.hostname or "", self._address.port, timeout=_TIMEOUT_SECONDS)
            try:
                connection.request("POST", self._address.path or "/", body, {"Content-Type": "application/json"})
                answer = json.loads(connection.getresponse().read(_ANSWER_BYTES_MAX))
            finally:
                connection.close()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise SourceFailed(f"{self.name}: {type(error).__name__}: {error}") from error
        if not isinstance(answer, dict) or "result" not in answer:
            raise SourceFailed(f"{self.name}: {str(answer)[:300]}")
        return answer["result"]


def _field(answer: Any, *names: str) -> Any:
    for name in names:
        answer = answer.get(name) if isinstance(answer, dict) else None
    return {} if answer is None else answer
