"""Decoders of a client: what nodes answer, what participants publish, what members hand to each other as files.

As in ``ledger_targets``: any bytes in, the product's own reading, and an assertion of what reading promises.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache

import numpy as np

from client_sdk import light
from client_sdk.documents import strict_json as wire
from client_sdk.documents.strict_json import Answer, AnswerMalformed
from client_sdk.light.documents import read_genesis, read_signed_header, read_validators_page
from client_sdk.payloads import car, confidential, dag_pb
from client_sdk.payloads.cid import Cid, Codec
from client_sdk.payloads.errors import PayloadNotFound
from client_sdk.payloads.unixfs import Layout as BlockLayout
from client_sdk.payloads.unixfs import build, read_payload
from client_sdk.reads import refusals
from client_sdk.receipts import GenesisTrust
from client_sdk.receipts import decode as decode_receipt
from client_sdk.receipts import encode as encode_receipt
from client_sdk.receipts import verify as verify_receipt
from client_sdk.rpc import answers
from client_sdk.secrets import age_passphrase
from client_sdk.training import artefacts, terms_file
from contracts.kernel import codec
from contracts.terms import Artefact
from devnet import manifest
from learning import fixed
from learning.inputs import Standardisation
from learning.payload import Expectation, Manifest, Owner, PayloadKind, decode_payload, encode_payload, encoded_size
from learning.tensors import Layout

from ..harness.answered import receipts as real_receipts
from . import corpus

_READERS: tuple[Callable[[Answer], object], ...] = (
    answers.read_status,
    answers.read_block,
    answers.read_block_results,
    answers.read_checked,
    answers.read_tx,
    answers.read_query,
    answers.read_abci_info,
    answers.read_consensus_params,
    answers.read_net_info,
    read_validators_page,
)
_HEIGHT = 3
_SMALL = BlockLayout(leaf_bytes=8, links_max=3)
_CUT = Layout.from_shapes({"bias": (2,), "weight": (2, 3)})
_OWNER = Owner("hospital-a", "wdbc")
_UPDATE = Manifest(PayloadKind.UPDATE, "breast-cancer", 3, "ab" * 32, owner=_OWNER)
_FLOATS = Manifest(PayloadKind.MODEL, "breast-cancer", 3, "ab" * 32, scale_bits=None)
_CAR_BYTES_MAX = 1 << 17
_PLAINTEXT_BYTES_MAX = 1 << 16
_COST_MAX = 12  # Of scrypt: what a passphrase file asks for beyond this is work that it may rightly ask for.
_PASSPHRASE = "x" * 43


# What nodes answer ------------------------------------------------------------------------------


def read_answers(raw: bytes) -> None:
    """A node's answer, read as the answer to every call. Refused by all of them: the last refusal is raised."""
    answer = wire.parse(raw, "answer")
    refusal: AnswerMalformed | None = None
    accepted = 0
    for read in _READERS:
        try:
            read(answer)
            accepted += 1
        except AnswerMalformed as error:
            refusal = error
    if refusal is not None and not accepted:
        raise refusal


def read_genesis_document(raw: bytes) -> None:
    """A genesis document, as trust begins with it."""
    document = wire.parse(raw, "genesis").members()
    read_genesis(document)
    light.trust_genesis(document)


def verify_header(raw: bytes) -> None:
    """A signed header under the trust of an earlier block. Whatever was changed, only real headers are accepted."""
    signed = read_signed_header(wire.parse(raw, "commit")["signed_header"])
    state, validators, real = _trusted()
    latest = light.verify_header(state, signed, validators, now_ns=signed.header.time_ns)
    assert latest.header_hash in real, "a header that nobody signed is trusted"


def read_result(raw: bytes) -> None:
    """A result's data, as events and as every refusal."""
    refusals.refusal_of(401, raw)
    refusals.refusal_of(100_001, raw)
    events = refusals.events_of(raw)
    assert codec.encode_plain([[one.tag, codec.shape_of(type(one)).pack(one, "")] for one in events]) == raw


def read_receipt(raw: bytes) -> None:
    """A receipt. Only those that were issued are ever valid."""
    receipt = decode_receipt(raw)
    assert encode_receipt(receipt) == raw
    verify_receipt(receipt, _trust())
    assert raw in receipts(), "a changed receipt is valid"


# What participants publish ----------------------------------------------------------------------


def read_update(raw: bytes) -> None:
    """A payload of fixed-point numbers. It is its owner's own, and all are of one size, whatever the salt."""
    payload = decode_payload(raw, Expectation(_UPDATE, _CUT, max_bytes=4_096, max_norm=10**9))
    owner = payload.manifest.owner
    assert owner is not None
    assert (owner.organisation, owner.dataset) == (_OWNER.organisation, _OWNER.dataset), "somebody else's is accepted"
    assert len(raw) == encoded_size(_UPDATE, _CUT)
    assert encode_payload(payload.units(), payload.manifest, _CUT) == raw
    payload.tensors()


def read_model(raw: bytes) -> None:
    """A payload of floats, with the conversion that a verifier makes."""
    payload = decode_payload(raw, Expectation(_FLOATS, _CUT, max_bytes=4_096, max_norm=None))
    assert encode_payload(np.asarray(payload.vector, np.float32), _FLOATS, _CUT) == raw
    payload.tensors()
    with suppress(fixed.Saturated):
        payload.units()


def read_canary(raw: bytes) -> None:
    """A canary set: a safetensors file by another program."""
    artefacts.decode_canary(raw, _inputs())


def read_inputs(raw: bytes) -> None:
    """A task's inputs."""
    assert artefacts.decode_inputs(raw).encode() == raw


def read_car(raw: bytes) -> None:
    """An archive, whole and in pieces."""
    root, blocks = car.read(raw, bytes_max=_CAR_BYTES_MAX)
    assert b"".join(car.write(root, blocks)) == raw
    reader, found = car.CarReader(bytes_max=_CAR_BYTES_MAX), []
    for start in range(0, len(raw), 37):
        found += reader.feed(raw[start : start + 37])
    assert (reader.finish(), found) == (root, blocks)


def read_dag_pb(raw: bytes) -> None:
    """An inner node."""
    assert dag_pb.encode(dag_pb.decode(raw, links_max=1_024)) == raw


def read_tree(raw: bytes) -> None:
    """An inner node as the root of a payload whose other blocks are at hand."""
    root = Cid.of(Codec.DAG_PB, raw)
    payload = read_payload(root, lambda cid: raw if cid == root else _block(cid), max_bytes=512, layout=_SMALL)
    assert build(payload, _SMALL).root == root, "one payload has two names"


def read_cid(raw: bytes) -> None:
    """A name, as bytes and as text."""
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        assert bytes(Cid.from_bytes(raw)) == raw
    else:
        assert str(Cid.parse(name)) == name


def read_ciphertext(raw: bytes) -> None:
    """An age file, to a recipient's own identity."""
    plain = confidential.decrypt(raw, _identity(), max_bytes=_PLAINTEXT_BYTES_MAX)
    assert len(plain) == confidential.plaintext_bytes(raw) <= _PLAINTEXT_BYTES_MAX


def read_sealed(raw: bytes) -> None:
    """An age file under a passphrase, of those that cost little to open."""
    stated = age_passphrase._STANZA.match(raw)
    if stated is None or int(stated[1]) <= _COST_MAX:
        age_passphrase.open_sealed(raw, _PASSPHRASE)


# What members hand to each other ----------------------------------------------------------------


def read_terms(raw: bytes) -> None:
    """A file of terms, with artefacts that are described elsewhere."""
    document = terms_file.parse(raw, "terms.toml")
    described = {name: Artefact("b" + "a" * 58, b"d" * 32, 1) for name in terms_file.ARTEFACTS}
    terms_file.build({"canary_records": 100, **document}, described, source="terms.toml")


def read_manifest(raw: bytes) -> None:
    """A devnet's manifest."""
    read = manifest.parse_manifest(raw, "devnet.toml")
    assert manifest.parse_manifest(manifest.manifest_text(read), "again") == read


# Samples ----------------------------------------------------------------------------------------


def headers() -> tuple[bytes, ...]:
    """The real signed header of a height, and those around it."""
    commits = corpus.recorded()["commit"]
    return tuple(json.dumps(commits[str(height)]).encode() for height in (_HEIGHT, _HEIGHT, _HEIGHT - 1, _HEIGHT + 1))


@cache
def receipts() -> tuple[bytes, ...]:
    """A transaction's receipt and a record's."""
    _, *issued = real_receipts()
    return tuple(map(encode_receipt, issued))


def updates() -> tuple[bytes, ...]:
    """Payloads of fixed-point numbers: ordinary, empty of content, at the limits; and a copy under another name."""
    vectors = ([1, -2, 3, -4, 5, -6, 7, -8], [0] * 8, [fixed.LIMIT] * 8)
    owners = (replace(_OWNER, salt="5a" * 32), replace(_OWNER, salt="0123456789abcdef" * 4), _OWNER)
    copied = (np.array(vectors[0], np.int32), Owner("hospital-b", "wdbc", "5a" * 32))
    made = (*((np.array(vector, np.int32), owner) for vector, owner in zip(vectors, owners, strict=True)), copied)
    return tuple(encode_payload(vector, replace(_UPDATE, owner=owner), _CUT) for vector, owner in made)


def models() -> tuple[bytes, ...]:
    """Payloads of floats."""
    vectors = ([0.5, -1, 2, 1e-30, -1e30, 0, -0.0, 7], [0] * 8)
    return tuple(encode_payload(np.array(vector, np.float32), _FLOATS, _CUT) for vector in vectors)


def canaries() -> tuple[bytes, ...]:
    """A canary set."""
    return (artefacts.encode_canary(np.arange(12, dtype=np.float32).reshape(4, 3), np.array([0, 1, 1, 0])),)


def inputs() -> tuple[bytes, ...]:
    """A task's inputs."""
    return (artefacts.encode_inputs((3, 4, 2), ("no", "yes"), Standardisation((1, 2, 3), (4, 5, 6))),)


def archives() -> tuple[bytes, ...]:
    """Archives of payloads of some sizes."""
    return tuple(car.archive(build(_payload(size), _SMALL)) for size in (0, 1, 8, 9, 80, 500))


def nodes() -> tuple[bytes, ...]:
    """Inner nodes of payloads of some sizes."""
    return tuple(raw for cid, raw in sorted(_blocks().items(), key=str) if cid.codec is Codec.DAG_PB)


def names() -> tuple[bytes, ...]:
    """CIDs as text and as bytes."""
    cids = [Cid.of(kind, b"block %d" % number) for kind in Codec for number in range(8)]
    return tuple(str(cid).encode() for cid in cids) + tuple(map(bytes, cids))


def ciphertexts() -> tuple[bytes, ...]:
    """age files to one recipient, to several, to somebody else, and of nothing."""
    names = ("one-recipient", "three-recipients", "stranger", "empty")
    return tuple(corpus.sample(f"{name}.age") for name in names)


def sealed() -> tuple[bytes, ...]:
    """An age file under a passphrase."""
    return (corpus.sample("passphrase.age"),)


def _payload(size: int) -> bytes:
    return bytes(number % 251 for number in range(size))


@cache
def _blocks() -> dict[Cid, bytes]:
    trees = (build(_payload(size), _SMALL) for size in (0, 1, 8, 9, 24, 25, 80, 200, 216, 217, 500))
    return {block.cid: block.data for tree in trees for block in tree.blocks}


def _block(cid: Cid) -> bytes:
    found = _blocks().get(cid)
    if found is None:
        raise PayloadNotFound(cid, "it is not at hand")
    return found


@cache
def _inputs() -> artefacts.TaskInputs:
    return artefacts.decode_inputs(inputs()[0])


@cache
def _identity() -> str:
    return corpus.sample("nobody.identity").decode("ascii").strip()


@cache
def _trust() -> GenesisTrust:
    return GenesisTrust(real_receipts()[0].trust)


@cache
def _trusted() -> tuple[light.TrustedState, light.ValidatorSet, frozenset[bytes]]:
    """What is known before the height, who decides it, and the hashes of all real headers."""
    real = corpus.recorded()
    state = light.trust_genesis(real["genesis"])
    signed = {int(height): _signed(answer) for height, answer in real["commit"].items()}
    for height in range(1, _HEIGHT):
        state = light.verify_header(state, signed[height], _deciding(height), now_ns=signed[height].header.time_ns)
    return state, _deciding(_HEIGHT), frozenset(one.header.hash for one in signed.values())


def _signed(answer: dict[str, object]) -> light.SignedHeader:
    return read_signed_header(Answer(answer["signed_header"], "commit"))


def _deciding(height: int) -> light.ValidatorSet:
    page = read_validators_page(Answer(corpus.recorded()["validators"][str(height)], "validators"))
    return light.ValidatorSet(page.members)
