"""What a verified header proves: values of the state and gaps in it, its transactions, results of the block before.

A header carries the app hash and the results hash of the *previous* height: a value or a result of height H is proved
by header H+1, a transaction of H by header H itself. Every function that verifies returns nothing and raises
VerificationFailed. The stores that a proof leads through are those of the version that the header names: the block
before an upgrade has led the state over already.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.kernel import absence, merkle
from contracts.kernel.crypto import sha256
from contracts.kernel.merkle import ProofInvalid, ProofOp
from contracts.rulebook import Rulebook, Rules, UnknownRules

from .errors import NewerRules, VerificationFailed
from .headers import TxResult, root_of
from .verify import TrustedState


@dataclass(frozen=True, slots=True)
class Inclusion:
    """A leaf's place in a Merkle tree of a block: CometBFT's ``crypto.Proof`` without its redundant leaf hash."""

    total: int
    index: int
    aunts: tuple[bytes, ...]


def rules_of(state: TrustedState, book: Rulebook) -> Rules:
    """The rules of the state that a header proves, which are those that decide its own block. Raises NewerRules."""
    header = state.verified_header
    try:
        return book.of(header.version_app)
    except UnknownRules as unknown:
        raise NewerRules(f"header {header.height}", unknown.version, unknown.known) from unknown


def verify_value(
    state: TrustedState, stores: Sequence[str], path: bytes, body: bytes, operators: Sequence[ProofOp]
) -> None:
    """The record at a path was ``body`` at height ``state.height - 1``.

    ``stores`` are the names of the ledger's stores in their order (``rules_of``). Exactly three
    operators are accepted, at the places where the path belongs: see ``contracts.kernel.merkle``.
    """
    root = state.verified_header.app_hash
    try:
        merkle.verify(root, stores, path, body, merkle.Proof.decode(operators))
    except (ProofInvalid, ValueError) as error:
        raise VerificationFailed(f"value at {path!r}", str(error)) from error


def verify_absence(state: TrustedState, stores: Sequence[str], path: bytes, operators: Sequence[ProofOp]) -> None:
    """Nothing was at a path at height ``state.height - 1``: see ``contracts.kernel.absence``."""
    root = state.verified_header.app_hash
    try:
        absence.verify_absence(root, stores, path, absence.AbsenceProof.decode(operators))
    except (ProofInvalid, ValueError) as error:
        raise VerificationFailed(f"absence at {path!r}", str(error)) from error


def verify_transactions(state: TrustedState, transactions: Sequence[bytes]) -> None:
    """These are all transactions of the block at ``state.height``, in order."""
    if root_of(sha256(raw) for raw in transactions) != state.verified_header.data_hash:
        why = f"the {len(transactions)} given do not hash to what the header says"
        raise VerificationFailed(f"transactions of block {state.height}", why)


def verify_transaction(state: TrustedState, raw: bytes, place: Inclusion) -> None:
    """A transaction is in the block at ``state.height``, at this place."""
    _verify_leaf(f"transaction {sha256(raw).hex()}", state.verified_header.data_hash, sha256(raw), place)


def verify_results(state: TrustedState, results: Sequence[TxResult]) -> None:
    """These are all results of the block at ``state.height - 1``, in order; their logs are not covered."""
    if root_of(result.leaf for result in results) != state.verified_header.last_results_hash:
        why = f"the {len(results)} given do not hash to what the next header says"
        raise VerificationFailed(f"results of block {state.height - 1}", why)


def verify_result(state: TrustedState, result: TxResult, place: Inclusion) -> None:
    """A result is of the block at ``state.height - 1``, at this place. Its log is not covered."""
    what = f"result {place.index} of block {state.height - 1}"
    _verify_leaf(what, state.verified_header.last_results_hash, result.leaf, place)


def prove_result(results: Sequence[TxResult], index: int) -> Inclusion:
    """The place of one result, from all of its block: CometBFT gives none. Raises IndexError."""
    leaves = b"".join(sha256(b"\x00" + result.leaf) for result in results)
    return Inclusion(len(results), index, merkle.tree_aunts(leaves, index))


def _verify_leaf(what: str, root: bytes, leaf: bytes, place: Inclusion) -> None:
    try:
        digest = merkle.climb(place.total, place.index, sha256(b"\x00" + leaf), place.aunts)
    except ProofInvalid as error:
        raise VerificationFailed(what, str(error)) from error
    if digest != root:
        raise VerificationFailed(what, f"its proof leads to {digest.hex()}, the header says {root.hex()}")
