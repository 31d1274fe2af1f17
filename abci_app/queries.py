"""Reading the ledger: one value with its proof, or a run of paths without.

``/store/<contract>/key`` with the rest of the path as data answers the value as the tree commits to it
(``contracts.kernel.merkle.commit_value``). With ``prove`` it answers the version *before* the newest,
because only the next header carries a version's app hash: the answer for height H verifies under header H +
1.

``/scan`` takes DAG-CBOR ``{"prefix": bytes, "after": bytes or null, "limit": int}`` and answers ``[[path,
body], …]``. A scan finds names; what it finds is only as good as this node until each value is read with its
proof.

Absence is an empty value with code 0: CometBFT's light proxy takes any other code for an error.
"""

from typing import Any, NamedTuple

from contracts.kernel import codec, merkle
from contracts.kernel.codec import Malformed
from contracts.kernel.state_tree import PathAbsent, StateTree, VersionNotKept

from .protocol import messages as m
from .store import Store

SCAN_LIMIT = 500
SCAN_BYTES = 512 * 1024
BAD_QUERY = 1
TOO_EARLY = 2  # Ask again after the next block.
_STORE, _KEY = "/store/", "/key"


class _Refused(Exception):
    """A query that cannot be answered: the log says why."""

    code = BAD_QUERY


class _TooEarly(_Refused):
    """A query that the next block will answer."""

    code = TOO_EARLY


class _Range(NamedTuple):
    prefix: bytes
    after: bytes | None
    limit: int


def answer(request: m.RequestQuery, store: Store, tree: StateTree) -> m.ResponseQuery:
    """Answer one query. Never raises for what a client sent."""
    try:
        if request.path == "/scan":
            return _scan(request, store)
        if request.path.startswith(_STORE) and request.path.endswith(_KEY):
            return _value(request, store, tree)
        raise _Refused(f"unknown path {request.path[:100]!r}: /store/<contract>/key and /scan are known")
    except _Refused as refusal:
        return m.ResponseQuery(code=refusal.code, codespace="fedledger", log=str(refusal), height=store.height)


def _value(request: m.RequestQuery, store: Store, tree: StateTree) -> m.ResponseQuery:
    contract = request.path[len(_STORE) : -len(_KEY)]
    path = contract.encode("ascii", "replace") + b"/" + request.data
    if contract not in tree.latest.stores:
        raise _Refused(f"unknown contract {contract[:40]!r}; there are {', '.join(tree.latest.stores)}")
    newest = store.height
    height = request.height or (newest - 1 if request.prove else newest)
    if request.prove and height < 1:
        raise _TooEarly("nothing can be proved before block 2: a proof needs the header after the value's block")
    with store.snapshot() as snapshot:
        if height == newest:
            body = snapshot.get(path)
        elif height == newest - 1:
            body = snapshot.get_previous(path)
        else:
            raise _Refused(f"height {height} is not kept; {max(0, newest - 1)} and {newest} are")
    response = m.ResponseQuery(key=request.data, height=height)
    if body is None:
        response.log = "absent"
        return response
    response.value = merkle.commit_value(path, body)
    if request.prove:
        _prove(response, tree, path, height)
    return response


def _prove(response: m.ResponseQuery, tree: StateTree, path: bytes, height: int) -> None:
    try:
        proof = tree.prove(path, height)
    except (PathAbsent, VersionNotKept) as error:
        raise _Refused(f"no proof at height {height}: {error}") from error
    for operator in proof.encode():
        response.proof_ops.ops.add(type=operator.type, key=operator.key, data=operator.data)


def _scan(request: m.RequestQuery, store: Store) -> m.ResponseQuery:
    wanted = _range(request.data)
    found: list[Any] = []
    size = 0
    for path, body in store.scan(wanted.prefix, wanted.after, wanted.limit):
        size += len(path) + len(body)
        if found and size > SCAN_BYTES:
            break  # The client goes on after the last path it got.
        found.append([path, body])
    return m.ResponseQuery(value=codec.encode_plain(found), height=store.height)


def _range(data: bytes) -> _Range:
    try:
        plain = codec.decode_plain(data, most=1024)
    except Malformed as error:
        raise _Refused(f"scan: {error}") from error
    if not isinstance(plain, dict) or plain.keys() != {"prefix", "after", "limit"}:
        raise _Refused("scan: data must be a map of prefix, after and limit")
    prefix, after, limit = plain["prefix"], plain["after"], plain["limit"]
    if type(prefix) is not bytes or not (after is None or type(after) is bytes):
        raise _Refused("scan: prefix must be bytes, after bytes or null")
    if type(limit) is not int or not 1 <= limit <= SCAN_LIMIT:
        raise _Refused(f"scan: limit must be 1 to {SCAN_LIMIT}")
    return _Range(prefix, after, limit)
