"""Decoders of a validator: envelopes, records, proofs, queries and ABCI. What anybody can send arrives at these.

Each function takes any bytes, reads them as the product does, and asserts what reading promises: what was accepted is
written again as exactly the bytes that came, and nothing false is ever proved.
"""

from collections.abc import Callable, Iterable
from functools import cache

from google.protobuf.message import DecodeError

from abci_app.protocol import blocks as b
from abci_app.protocol import messages as m
from abci_app.protocol.application import Halt
from abci_app.protocol.dispatch import Dispatcher
from abci_app.protocol.framing import FrameReader, frame
from contracts import transition
from contracts.kernel import Rejected, absence, codec, envelope, merkle
from contracts.kernel.absence import AbsenceProof
from contracts.kernel.codec import Malformed
from contracts.kernel.merkle import Proof, ProofInvalid, ProofOp
from contracts.registry import RULES
from contracts.transition import Transaction

from ..harness.chain import CHAIN_ID
from ..harness.consortium import HOSPITAL_A
from . import corpus, ledger

_ANSWER_BYTES_MAX = 1 << 26
_RECORD_BYTES_MAX = 1 << 17


def read_envelope(raw: bytes) -> None:
    """An envelope, put together again from its parts."""
    said = envelope.parse(raw)
    parts = (said.protected, b"", said.payload, said.signature)
    protected, _, payload, signature = map(envelope._head, (2,) * 4, parts)
    assert b"\xd2\x84" + protected + b"\xa0" + payload + signature == raw
    content = {"body": said.body, "nonce": said.nonce, "type": said.tag, "valid_until": said.valid_until}
    assert codec.encode_plain(content) == said.payload
    assert said.protected == envelope._protected(said.key, said.ledger)


def read_transaction(raw: bytes) -> None:
    """A transaction up to its message, and whether it is authentic."""
    transaction = Transaction(raw)
    message = transaction.message(RULES.newest)
    assert message.encode() == codec.encode_plain(transaction.envelope.body)
    assert not transaction.is_authentic or raw in _originals(), "a changed transaction still verifies"


def read_plain(raw: bytes) -> None:
    """Any DAG-CBOR."""
    assert codec.encode_plain(codec.decode_plain(raw, most=_RECORD_BYTES_MAX)) == raw


def read_records(raw: bytes) -> None:
    """Every kind of record there is, from the same bytes. Refused by all of them: the last refusal is raised."""
    plain = codec.decode_plain(raw, most=_RECORD_BYTES_MAX)
    refusal: Malformed | None = None
    accepted = 0
    for kind in _kinds():
        try:
            record = codec.shape_of(kind).unpack(plain, "")
        except Malformed as error:
            refusal = error
        else:
            assert codec.encode(record) == raw
            accepted += 1
    if refusal is not None and not accepted:
        raise refusal


def read_genesis(raw: bytes) -> None:
    """A genesis, and the state that it founds."""
    transition.genesis(RULES.newest, raw, CHAIN_ID)


def answer_abci(raw: bytes) -> None:
    """A stream of frames to a whole application, in two pieces. Every answer must be one of ABCI's."""
    store, application = ledger.in_memory()
    dispatcher = Dispatcher(application)
    reader = FrameReader(limit=1 << 20)
    half, height = len(raw) // 2, store.height
    try:
        for piece in (raw[:half], raw[half:]):
            reader.feed(piece)
            while (request := reader.next()) is not None:
                answers = FrameReader(limit=_ANSWER_BYTES_MAX)
                answers.feed(dispatcher.answer(request))
                answer = answers.next()
                assert answer is not None
                m.Response.FromString(answer)
    except Halt as halt:
        # Only CometBFT itself can make these calls. What dispatch made of another failure would be a bug of ours.
        if not isinstance(halt.__cause__, None | Malformed | Rejected):
            raise AssertionError(str(halt)) from halt
        raise
    finally:
        assert not dispatcher.failures, f"a handler failed: {dict(dispatcher.failures)}"
        if application._pending is not None or application._genesis or store.height != height:
            ledger.in_memory.cache_clear()


def answer_query(raw: bytes) -> None:
    """A query, on a store in memory and on one in LMDB: both must answer, and the same."""
    try:
        request = m.RequestQuery.FromString(raw)
    except DecodeError as error:
        raise UndecodableQuery from error
    _, application = ledger.in_memory()
    answer = application.query(request)
    assert answer == ledger.in_lmdb().query(request), "two stores answer differently"
    assert answer.code == 0 or answer.log, "a refusal without a reason"


def read_proof(raw: bytes) -> None:
    """A proof that a value is there: read, written again, and never one for another value."""
    operators = _operators(raw)
    proof = Proof.decode(operators)
    assert list(proof.encode()) == operators
    path, body, gone = _witnesses()
    root = ledger.chain().root
    for claimed, value in ((path, body + b"\0"), (path, b"\x01"), (gone, body)):
        _must_fail(lambda claimed=claimed, value=value: merkle.verify(root, RULES.newest.stores, claimed, value, proof))
    merkle.verify(root, RULES.newest.stores, path, body, proof)


def read_absence(raw: bytes) -> None:
    """A proof that nothing is there: read, written again, and never one for what is there."""
    operators = _operators(raw)
    proof = AbsenceProof.decode(operators)
    assert list(proof.encode()) == operators
    path, _, gone = _witnesses()
    root = ledger.chain().root
    _must_fail(lambda: absence.verify_absence(root, RULES.newest.stores, path, proof))
    absence.verify_absence(root, RULES.newest.stores, gone, proof)


class UndecodableQuery(ValueError):
    """Bytes that are no ``RequestQuery``: CometBFT would not pass them on."""


# Samples ----------------------------------------------------------------------------------------


def requests() -> tuple[bytes, ...]:
    """Frames of every ABCI call that a client or a proposer can shape, alone and one after the other."""
    txs = corpus.transactions()
    asked = [
        m.Request(info=m.RequestInfo(version="0.39.4", abci_version="2.0.0")),
        m.Request(echo=m.RequestEcho(message="hello")),
        m.Request(flush=m.RequestFlush()),
        m.Request(query=m.RequestQuery(path="/store/identity/key", data=b"membership", prove=True)),
        *(m.Request(check_tx=m.RequestCheckTx(tx=tx, type=kind)) for tx in txs[::5] for kind in (0, 1)),
        m.Request(prepare_proposal=m.RequestPrepareProposal(max_tx_bytes=1 << 20, txs=txs[:20], height=9)),
        m.Request(process_proposal=m.RequestProcessProposal(txs=txs[:20], height=9, hash=b"h" * 32)),
        m.Request(finalize_block=m.RequestFinalizeBlock(txs=txs[:9], height=9, hash=b"h" * 32, time=b.Timestamp())),
        m.Request(commit=m.RequestCommit()),
        m.Request(extend_vote=m.RequestExtendVote(hash=b"h" * 32, height=9)),
        m.Request(verify_vote_extension=m.RequestVerifyVoteExtension(hash=b"h", height=9, vote_extension=b"x")),
        m.Request(list_snapshots=m.RequestListSnapshots()),
        m.Request(offer_snapshot=m.RequestOfferSnapshot(app_hash=b"h")),
        m.Request(load_snapshot_chunk=m.RequestLoadSnapshotChunk(height=1)),
        m.Request(apply_snapshot_chunk=m.RequestApplySnapshotChunk(chunk=b"x")),
    ]
    frames = [frame(one.SerializeToString()) for one in asked]
    return (*frames, b"".join(frames[:6]))


def query_requests() -> tuple[bytes, ...]:
    """Queries of every kind, as protobuf."""
    path, _, gone = _witnesses()
    store, key = merkle.split_path(path)
    _, missing = merkle.split_path(gone)
    scan = {"prefix": b"identity/", "after": None, "limit": 5}
    asked = [
        m.RequestQuery(path=f"/store/{store}/key", data=data, prove=prove, height=height)
        for data in (key, missing)
        for prove in (False, True)
        for height in (0, ledger.chain().height, ledger.chain().height - 1)
    ]
    asked += [
        m.RequestQuery(path="/scan", data=codec.encode_plain(scan)),
        m.RequestQuery(
            path="/scan", data=codec.encode_plain({**scan, "after": path}), height=ledger.chain().height - 1
        ),
        m.RequestQuery(path="/roots", data=codec.encode_plain({"height": 0})),
        m.RequestQuery(path="/roots", data=codec.encode_plain({"height": 2})),
        m.RequestQuery(path=f"/store/{store}/key", data=b"k" * 600),
        m.RequestQuery(path="/scan", data=codec.encode_plain({**scan, "prefix": b"p" * 600})),
    ]
    return tuple(one.SerializeToString() for one in asked)


def proofs() -> tuple[bytes, ...]:
    """Operators of real proofs of values, as protobuf."""
    tree, (path, _, _) = ledger.chain().tree, _witnesses()
    paths = (path, *sorted(ledger.chain().view.entries)[::20])
    return tuple(_written(tree.prove(one).encode()) for one in paths)


def absences() -> tuple[bytes, ...]:
    """Operators of real proofs that nothing is there, as protobuf."""
    reached, (_, _, gone) = ledger.chain(), _witnesses()
    missing = (gone, *(b"identity/organisations/nobody-%d" % number for number in range(4)))
    own = tuple(_written(reached.tree.prove_absence(one, reached.view.get).encode()) for one in missing)
    return (*own, *map(_written, corpus.absences()))


def _operators(raw: bytes) -> list[ProofOp]:
    try:
        answer = m.ResponseQuery.FromString(raw)
    except DecodeError as error:
        raise ProofInvalid("operators", "not protobuf") from error
    return [ProofOp(one.type, one.key, one.data) for one in answer.proof_ops.ops]


def _written(operators: Iterable[ProofOp]) -> bytes:
    answer = m.ResponseQuery()
    for one in operators:
        answer.proof_ops.ops.add(type=one.type, key=one.key, data=one.data)
    return answer.SerializeToString()


def _must_fail(verify: Callable[[], None]) -> None:
    try:
        verify()
    except (ProofInvalid, ValueError):
        return
    raise AssertionError("something false was proved")


def _witnesses() -> tuple[bytes, bytes, bytes]:
    """A path, what is there, and a path where nothing is."""
    path = b"identity/organisations/" + HOSPITAL_A.name.encode()
    return path, ledger.chain().view.entries[path], path + b"-annex"


@cache
def _originals() -> frozenset[bytes]:
    return frozenset(corpus.transactions())


@cache
def _kinds() -> tuple[type, ...]:
    return tuple(dict.fromkeys(kind for kind, _ in corpus.records()))
