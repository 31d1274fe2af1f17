"""Reading the ledger: one value with its proof, or a run of paths without.

``/store/<contract>/key`` with the rest of the path as data answers the value as the tree commits to it
(``contracts.kernel.merkle.commit_value``). With ``prove`` it answers the version *before* the newest,
because only the next header carries a version's app hash: the answer for height H verifies under header H +
1.

``/scan`` takes DAG-CBOR ``{"prefix": bytes, "after": bytes or null, "limit": int}`` and answers ``[[path,
body], …]``, of the newest version or of the height asked for. A scan finds names; what it finds is only as good as
this node until each value is read with its proof.

``/roots`` takes DAG-CBOR ``{"height": int}``, 0 for the newest, and answers ``{"height": …, "since": …, "oldest":
…, "roots": [[contract, hash], …]}``: the hash of every contract after that block, the height since which all of them
hold, and the oldest height that can be asked for. ``merkle.root_of_stores`` of them is the next header's application
hash.

A height that is not there yet, or not kept any more, has a code of its own: two versions are kept, so whoever reads
many paths at one height has the time of one block for it, and begins again at a newer one.

Absence is an empty value with code 0, and with ``prove`` a proof of its own (``contracts.kernel.absence``).
CometBFT's light proxy takes any other code for an error, and cannot verify absence at all.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from contracts.kernel import codec, merkle
from contracts.kernel.codec import Malformed
from contracts.kernel.merkle import ProofOp
from contracts.kernel.state_tree import PathAbsent, PathPresent, StateTree, VersionNotKept
from contracts.rulebook import Rulebook

from .protocol import messages as m
from .store import history
from .store.interface import HEIGHT_MAX, Store, StoreDamaged

SCAN_LIMIT = 500
SCAN_BYTES = 512 * 1024
BAD_QUERY = 1
TOO_EARLY = 2  # Ask again after the next block.
NOT_KEPT = 3  # Ask for a newer height.
_STORE, _KEY = "/store/", "/key"


class _Refused(Exception):
    """A query that cannot be answered: the log says why."""

    code = BAD_QUERY


class _TooEarly(_Refused):
    """A query that the next block will answer."""

    code = TOO_EARLY


class _NotKept(_Refused):
    """A query for a version that is gone."""

    code = NOT_KEPT


class _Range(NamedTuple):
    prefix: bytes
    after: bytes | None
    limit: int


def answer(request: m.RequestQuery, book: Rulebook, store: Store, tree: StateTree) -> m.ResponseQuery:
    """Answer one query. Never raises for what a client sent."""
    try:
        if request.path == "/scan":
            return _scan(request, store)
        if request.path == "/roots":
            return _roots(request, book, store)
        if request.path.startswith(_STORE) and request.path.endswith(_KEY):
            return _value(request, store, tree)
        raise _Refused(f"unknown path {request.path[:100]!r}: /store/<contract>/key, /scan and /roots are known")
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
            body_of = snapshot.get
        elif height == newest - 1:
            body_of = snapshot.get_previous
        elif height > newest:
            raise _TooEarly(f"height {height} is not there yet; {newest} is the newest")
        else:
            raise _NotKept(f"height {height} is not kept; {max(0, newest - 1)} and {newest} are")
        body = body_of(path)
        operators = _operators(tree, path, height, body, body_of) if request.prove else ()
    response = m.ResponseQuery(key=request.data, height=height)
    if body is None:
        response.log = "absent"
    else:
        response.value = merkle.commit_value(path, body)
    for operator in operators:
        response.proof_ops.ops.add(type=operator.type, key=operator.key, data=operator.data)
    return response


def _operators(
    tree: StateTree, path: bytes, height: int, body: bytes | None, body_of: Callable[[bytes], bytes | None]
) -> tuple[ProofOp, ...]:
    """The proof of a body, or of its absence."""
    try:
        version = tree.at(height)
        return (version.prove(path) if body is not None else version.prove_absence(path, body_of)).encode()
    except VersionNotKept as error:
        raise _NotKept(f"no proof at height {height}: {error}") from error
    except (PathAbsent, PathPresent, ValueError) as error:
        raise _Refused(f"no proof at height {height}: {error}") from error


def _scan(request: m.RequestQuery, store: Store) -> m.ResponseQuery:
    wanted = _range(request.data)
    found: list[Any] = []
    size = 0
    with store.snapshot() as snapshot:
        height = request.height or snapshot.version.height
        if height not in (snapshot.version.height, snapshot.version.height - 1):
            kind = _TooEarly if height > snapshot.version.height else _NotKept
            raise kind(f"height {height} is not kept, {snapshot.version.height} and the one before are")
        scan = snapshot.scan if height == snapshot.version.height else snapshot.scan_previous
        for path, body in scan(wanted.prefix, wanted.after, wanted.limit):
            size += len(path) + len(body)
            if found and size > SCAN_BYTES:
                break  # The client goes on after the last path it got.
            found.append([path, body])
    return m.ResponseQuery(value=codec.encode_plain(found), height=height)


def _roots(request: m.RequestQuery, book: Rulebook, store: Store) -> m.ResponseQuery:
    asked = _height(request.data)
    with store.snapshot() as snapshot:
        newest, oldest = snapshot.version.height, next(snapshot.history(), None)
        height = asked or newest
        recorded = snapshot.recorded(height) if height <= newest else None
    if recorded is None or oldest is None:
        kept = "none are" if oldest is None else f"{oldest.height} to {newest} are"
        raise _Refused(f"roots: height {height} is not recorded, {kept}")
    try:
        roots = [[name, root] for name, root in history.roots_of(book, recorded).items()]
    except StoreDamaged as error:
        raise _Refused(f"roots: {error}") from error
    answered = {"height": height, "since": recorded.height, "oldest": oldest.height, "roots": roots}
    return m.ResponseQuery(value=codec.encode_plain(answered), height=height)


def _height(data: bytes) -> int:
    try:
        plain = codec.decode_plain(data, most=64)
    except Malformed as error:
        raise _Refused(f"roots: {error}") from error
    if not isinstance(plain, dict) or plain.keys() != {"height"}:
        raise _Refused("roots: data must be a map of height")
    height = plain["height"]
    if type(height) is not int or not 0 <= height <= HEIGHT_MAX:
        raise _Refused(f"roots: height must be 0 to {HEIGHT_MAX}")
    return height


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
