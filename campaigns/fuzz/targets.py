"""The table of targets: what is fuzzed, by which function, which refusals are right, and from what samples.

A target's function returns when it accepts, and raises one of ``refusals`` when it does not. Anything else that it
raises is a finding: a bug of the decoder, or of the promise that the function states.
"""

from collections.abc import Callable
from dataclasses import dataclass

from abci_app.protocol.application import Halt
from abci_app.protocol.framing import ProtocolError
from client_sdk.documents.strict_json import AnswerMalformed
from client_sdk.light import LightClientError
from client_sdk.payloads.cid import InvalidCid
from client_sdk.payloads.dag_pb import MalformedNode
from client_sdk.payloads.errors import PayloadError
from client_sdk.reads.refusals import ResultMalformed
from client_sdk.receipts import ReceiptError
from client_sdk.secrets.age_passphrase import CannotOpen
from client_sdk.training.artefacts import ArtefactRefused
from client_sdk.training.terms_file import TermsFileInvalid
from contracts.kernel import Rejected
from contracts.kernel.codec import Malformed
from contracts.kernel.merkle import ProofInvalid
from devnet.errors import ManifestInvalid
from learning.refusals import PayloadRefused

from . import client_targets as client
from . import corpus
from . import ledger_targets as ledger
from .dialects import Dialect, cbor, json_, protobuf, safetensors, text
from .mutator import Mutator


@dataclass(frozen=True)
class Target:
    """One decoder. ``samples`` are read when they are first needed."""

    name: str
    run: Callable[[bytes], None]
    refusals: tuple[type[Exception], ...]
    samples: Callable[[], tuple[bytes, ...]]
    dialects: tuple[Dialect, ...] = ()

    def mutator(self) -> Mutator:
        """The source of its cases."""
        return Mutator(self.samples(), self.dialects)


def _records() -> tuple[bytes, ...]:
    return tuple(raw for _, raw in corpus.records())


def _plain() -> tuple[bytes, ...]:
    return (*_records(), *corpus.results(), corpus.genesis())


def _files(*paths: str) -> Callable[[], tuple[bytes, ...]]:
    return lambda: tuple(corpus.shipped(path) for path in paths)


def _genesis_document() -> tuple[bytes, ...]:
    return corpus.answers()[1:2]


_TARGETS = (
    # What anybody can send to a validator.
    Target("envelope", ledger.read_envelope, (Malformed,), corpus.transactions, (cbor,)),
    Target("transaction", ledger.read_transaction, (Rejected,), corpus.transactions, (cbor,)),
    Target("cbor", ledger.read_plain, (Malformed,), _plain, (cbor,)),
    Target("records", ledger.read_records, (Malformed,), _records, (cbor,)),
    Target("abci", ledger.answer_abci, (ProtocolError, Halt), ledger.requests, (protobuf, cbor)),
    Target("query", ledger.answer_query, (ledger.UndecodableQuery,), ledger.query_requests, (protobuf,)),
    Target("genesis", ledger.read_genesis, (Malformed, Rejected), lambda: (corpus.genesis(),), (cbor,)),
    # What a node, or somebody who poses as one, answers to a client.
    Target("answers", client.read_answers, (AnswerMalformed,), corpus.answers, (json_,)),
    Target(
        "genesis-document",
        client.read_genesis_document,
        (AnswerMalformed, LightClientError),
        _genesis_document,
        (json_,),
    ),
    Target("header", client.verify_header, (AnswerMalformed, LightClientError), client.headers, (json_,)),
    Target("result", client.read_result, (ResultMalformed,), corpus.results, (cbor,)),
    Target("proof", ledger.read_proof, (ProofInvalid, ValueError), ledger.proofs, (protobuf,)),
    Target("absence", ledger.read_absence, (ProofInvalid, ValueError), ledger.absences, (protobuf,)),
    Target("receipt", client.read_receipt, (ReceiptError,), client.receipts, (cbor,)),
    # What a participant publishes.
    Target("update", client.read_update, (PayloadRefused,), client.updates, (safetensors,)),
    Target("model", client.read_model, (PayloadRefused,), client.models, (safetensors,)),
    Target("canary", client.read_canary, (ArtefactRefused,), client.canaries, (safetensors,)),
    Target("inputs", client.read_inputs, (ArtefactRefused,), client.inputs, (cbor,)),
    Target("car", client.read_car, (PayloadError,), client.archives),
    Target("dag-pb", client.read_dag_pb, (MalformedNode,), client.nodes, (protobuf,)),
    Target("payload-tree", client.read_tree, (PayloadError,), client.nodes, (protobuf,)),
    Target("cid", client.read_cid, (InvalidCid,), client.names, (text,)),
    Target("ciphertext", client.read_ciphertext, (PayloadError,), client.ciphertexts, (text,)),
    # What members hand to each other, or keep.
    Target("sealed", client.read_sealed, (CannotOpen,), client.sealed, (text,)),
    Target("terms", client.read_terms, (TermsFileInvalid,), _files("tasks/breast-cancer.toml"), (text,)),
    Target("manifest", client.read_manifest, (ManifestInvalid,), _files("devnet.toml"), (text,)),
)
TARGETS = {target.name: target for target in _TARGETS}
