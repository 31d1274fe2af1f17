"""Fetching what a closed round's candidate is computed from: payloads, the base version, the canary set.

Every payload is fetched by the CID of its commitment, decrypted with this organisation's identity and held to the
committed digest and size. What cannot be had or is not what was committed becomes a verdict, never an exception: one
bad contribution must not stop a round. A store that does not answer is no verdict: it says nothing about anybody.
"""

import asyncio
from dataclasses import dataclass, field

from client_sdk.client import LedgerClient
from client_sdk.payloads import confidential
from client_sdk.payloads.cid import Cid
from client_sdk.payloads.confidential import CiphertextCorrupt, NotARecipient
from client_sdk.payloads.errors import InvalidCid, PayloadCorrupt, PayloadMalformed, PayloadNotFound, PayloadOverLimit
from client_sdk.payloads.store import PayloadStore
from client_sdk.training import artefacts
from client_sdk.training.artefacts import CanarySet
from client_sdk.training.task import TaskView, load_canary, load_version
from contracts import contributions, identity, lineage, models, rounds
from contracts.contributions import Commitment
from contracts.identity import Key
from contracts.kernel import Place, View, crypto
from contracts.reputation import Verdict
from contracts.rounds import Progress, Round, RoundStatus

from . import recompute
from .recompute import Base, Fetched, Finding, NothingToPropose, Recomputed, SeatKey

_ATTEMPTS = 3


@dataclass
class Gatherer:
    """Recomputes candidates of one task for one organisation, with its own reads, payloads and identities."""

    client: LedgerClient
    store: PayloadStore
    task: TaskView
    identities: tuple[str, ...]  # This organisation's age identities.
    _canary: CanarySet | None = field(default=None, init=False)

    async def recompute(self, number: int, *, at_least: int = 0) -> Recomputed:
        """The candidate that follows from a closed round.

        The round is read with its proof, no older than now: its seats and weights decide the aggregate, and a node
        that could choose them could make verifiers confirm another one. Raises NothingToPropose, the
        ledger's UnknownRound and RoundNotClosed; StoreUnavailable and what ``load_version`` and proved reads raise.
        """
        now = max(at_least, (await self.client.rpc.status()).height)
        current, published = await self.client.ask(lambda view: self._published(view, number), at_least=now)
        got = await asyncio.gather(*(self._fetch(number, *each) for each in published.values()))
        keys: list[SeatKey] = list(published)
        version, units = await load_version(self.client, self.store, self.task, current.base)
        base = Base(current.base, version.artefact.digest, units)
        fetched = dict(zip(keys, got, strict=True))
        canary = await self.canary()
        return await asyncio.to_thread(
            recompute.candidate, self.task.terms, number, current, fetched, base, self.task.inputs, canary
        )

    async def verify(self, version: int) -> Finding:
        """What to vote with on a proposed version.

        Its round is proved, and read no older than the proposal: a node that said another, or held back a state in
        which seats were missing, could make this vote contradict an honest proposer. Raises UnknownVersion, and what
        ``recompute`` does but NothingToPropose.
        """
        now = (await self.client.rpc.status()).height
        proposed = await self.client.ask(
            lambda view: models.require_version(view, self.task.model, version), at_least=now
        )
        try:
            made = await self.recompute(proposed.round, at_least=proposed.proposed_at)
        except NothingToPropose as error:
            return Finding(lineage.NO_CANDIDATE, None, str(error))
        return Finding(lineage.candidate_digest(made.candidate), made)

    async def canary(self) -> CanarySet:
        """The task's canary set, fetched once."""
        if self._canary is None:
            self._canary = await load_canary(self.store, self.task)
        return self._canary

    def _published(self, view: View, number: int) -> tuple[Round, dict[SeatKey, tuple[Commitment | None, Key | None]]]:
        """A round, and what each seat that says it has published committed to and signed with: all of one state."""
        current = rounds.require_round(view, self.task.name, number)
        if current.status is RoundStatus.OPEN:  # A state from before it was closed: not every seat is known.
            raise models.RoundNotClosed(round=number, status=current.status)
        found: dict[SeatKey, tuple[Commitment | None, Key | None]] = {}
        for seat in current.seats:
            if seat.progress is Progress.PUBLISHED:
                key = (self.task.name, number, seat.organisation, seat.dataset)
                commitment = contributions.COMMITMENTS.get(view, key)
                signer = None if commitment is None else identity.KEYS.get(view, commitment.signer)
                found[seat.organisation, seat.dataset] = commitment, signer
        return current, found

    async def _fetch(self, number: int, commitment: Commitment | None, signer: Key | None) -> Fetched:
        if commitment is None:
            return Fetched(None, Verdict.MISSING, "no commitment")
        if signer is None or not identity.is_good(signer, Place(commitment.height, 0)):
            return Fetched(None, Verdict.WITHDRAWN, "signed with a stolen key")
        return await self._payload(number, commitment)

    async def _payload(self, number: int, commitment: Commitment) -> Fetched:
        for attempt in range(_ATTEMPTS):
            if attempt:
                await asyncio.sleep(self.client.rpc.patience.payload)
            try:
                ciphertext = await self.store.get(Cid.parse(commitment.cid), commitment.size)
            except (InvalidCid, PayloadMalformed, PayloadOverLimit):
                return Fetched(None, Verdict.REFUSED, "not what was committed")
            except (PayloadNotFound, PayloadCorrupt):
                continue
            return self._opened(number, commitment, ciphertext)
        return Fetched(None, Verdict.MISSING, "not to be found")

    def _opened(self, number: int, commitment: Commitment, ciphertext: bytes) -> Fetched:
        if len(ciphertext) != commitment.size:
            return Fetched(None, Verdict.REFUSED, "another size than committed")
        terms, layout = self.task.terms, self.task.inputs.layout
        most = artefacts.update_size(terms.task, number, terms.update.scale_bits, layout)
        try:
            plaintext = confidential.decrypt(ciphertext, *self.identities, max_bytes=most)
        except NotARecipient:
            return Fetched(None, Verdict.REFUSED, "not encrypted to the recipients")
        except (CiphertextCorrupt, PayloadOverLimit):
            return Fetched(None, Verdict.REFUSED, "not a payload")
        if crypto.sha256(plaintext) != commitment.digest:
            return Fetched(None, Verdict.REFUSED, "another digest than committed")
        return Fetched(plaintext, Verdict.ACCEPTED, "")
