"""Whoever uses a node's other connections while blocks are decided: readers, watchers, senders.

Between any two consensus calls they ask for values with and without proof, for runs of paths, for Info, and offer
transactions. What they are answered is held to what consensus agreed on: a value or an absence proved for a height must
verify under the app hash that the *next* header carries.
"""

from collections.abc import Callable
from random import Random

from abci_app.protocol import messages as m
from contracts.kernel import codec, merkle
from contracts.kernel.absence import AbsenceProof, verify_absence
from contracts.registry import RULES

from .agreement import Agreement, Violation
from .replica import Replica

SCAN_LIMIT = 500
PREFIXES = (b"identity/", b"contributions/", b"replay/", b"privacy_budget/datasets/", b"ballots/", b"")


class Bystanders:
    """Readers who remember the last two states that were agreed on."""

    def __init__(self, rng: Random, agreement: Agreement) -> None:
        self._rng, self._agreement = rng, agreement
        self._states: dict[int, dict[bytes, bytes]] = {}

    def learned(self, height: int, state: dict[bytes, bytes]) -> None:
        """The state after an agreed block."""
        self._states = {known: kept for known, kept in self._states.items() if known >= height - 1}
        self._states[height] = state

    def visit(self, replica: Replica) -> None:
        """One question to one replica. Raises Violation for a wrong answer."""
        questions: tuple[Callable[[Replica], object], ...] = (
            Replica.info,
            self._value,
            self._value,
            self._scan,
            self._offer_again,
        )
        self._rng.choice(questions)(replica)

    def _value(self, replica: Replica) -> None:
        prove = self._rng.random() < 0.7
        path = self._path(replica.store.height)
        store, key = merkle.split_path(path)
        newest = replica.store.height
        height = newest - 1 if prove else newest
        query = m.RequestQuery(path=f"/store/{store}/key", data=key, prove=prove)
        answer: m.ResponseQuery = replica.ask("query", query)
        if prove and newest < 2:
            if answer.code == 0:
                raise Violation("query", f"{path!r} is proved at height {height}, of which no header carries the hash")
            return
        if answer.code or answer.key != key or answer.height != height:
            raise Violation("query", f"{path!r}: code {answer.code} at height {answer.height}: {answer.log}")
        if height not in self._states:
            return  # A replica that catches up, or the genesis: nothing to hold the answer to.
        expected = self._states[height].get(path)
        if answer.value != (b"" if expected is None else merkle.commit_value(path, expected)):
            raise Violation("query", f"{path!r} at height {height} is answered as {answer.value!r}")
        if prove:
            self._verify(path, expected, height, answer)

    def _verify(self, path: bytes, body: bytes | None, height: int, answer: m.ResponseQuery) -> None:
        operators = [merkle.ProofOp(op.type, op.key, op.data) for op in answer.proof_ops.ops]
        root = self._agreement.app_hashes[height]
        try:
            if body is None:
                verify_absence(root, RULES.newest.stores, path, AbsenceProof.decode(operators))
            else:
                merkle.verify(root, RULES.newest.stores, path, body, merkle.Proof.decode(operators))
        except merkle.ProofInvalid as error:
            raise Violation("proof", f"{path!r} at height {height}: {error}") from error

    def _scan(self, replica: Replica) -> None:
        prefix = self._rng.choice(
            (b"identity/", b"contributions/", b"replay/", b"privacy_budget/datasets/", b"ballots/", b"")
        )
        wanted = codec.encode_plain({"prefix": prefix, "after": None, "limit": SCAN_LIMIT})
        answer = replica.ask("query", m.RequestQuery(path="/scan", data=wanted))
        state = self._states.get(replica.store.height)
        if answer.code or state is None:
            return
        found = [tuple(entry) for entry in codec.decode_plain(answer.value, most=2**20)]
        expected = [(path, body) for path, body in sorted(state.items()) if path.startswith(prefix)]
        if found != expected[: len(found)] or (expected and not found):
            raise Violation("query", f"a scan of {prefix!r} gave {len(found)} of {len(expected)} entries")

    def _offer_again(self, replica: Replica) -> None:
        """What was accepted in a committed block is refused from then on, also while the next one is executed."""
        height = replica.store.height
        if height == 0:
            return
        block = self._agreement.at(height)
        for raw, result in zip(block.txs, self._agreement.results[height - 1], strict=True):
            if result.code == 0 and replica.ask("check_tx", m.RequestCheckTx(tx=raw)).code == 0:
                raise Violation("check-tx", f"a transaction accepted at height {height} would be accepted again")

    def _path(self, height: int) -> bytes:
        """A path that is there, was there, or never was."""
        known = self._states.get(height) or self._states.get(height - 1)
        if known and self._rng.random() < 0.85:
            return self._rng.choice(sorted(known))
        return b"identity/organisations/nobody"
