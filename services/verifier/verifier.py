"""The verifier: recomputes every proposal and votes with the digest it arrives at; probes what was promoted.

It trusts neither the aggregator nor its node: reads that matter are proved, payloads are fetched and decrypted here,
and the vote names a digest, so a verifier that sees other bytes than the proposer says so by voting.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress

from client_sdk.client import NotDecided
from client_sdk.training.artefacts import CanarySet
from client_sdk.training.task import load_version
from contracts import lineage
from contracts.kernel import Rejected
from contracts.lineage import VersionStatus
from contracts.models import RaiseAlarm, VoteVersion
from learning.feed_forward import FeedForward

from ..rounds import recompute
from ..rounds.gather import Gatherer
from ..rounds.observe import PASSING, on_blocks
from ..rounds.round import Observation, to_vote_on

_log = logging.getLogger(__name__)
Say = Callable[[str], None]
# What a probe finds in a promoted network, or None: a reason for the ledger (at most 40 characters) and evidence.
Probe = Callable[[FeedForward, CanarySet], tuple[str, bytes] | None]


class Verifier:
    """Votes on one task's proposals for one organisation, until it is cancelled."""

    def __init__(
        self, gatherer: Gatherer, organisation: str, *, say: Say = _log.info, probe: Probe | None = None
    ) -> None:
        self._gatherer = gatherer
        self._client = gatherer.client
        self._task = gatherer.task
        self._organisation = organisation
        self._say = say
        self._probe = probe
        self._probed: set[int] = set()

    async def run(self) -> None:
        """Vote on what is proposed and probe what is promoted, block by block."""
        async for seen in on_blocks(self._client, self._task, self._organisation):
            try:
                for number in to_vote_on(seen):
                    await self.vote(number, seen)
                if self._probe is not None:
                    await self.probe_promoted()
            except (Rejected, NotDecided) as refusal:
                _log.info("refused: %s", refusal)  # Decided without us, or voted by an earlier life of this process.
            except PASSING as error:
                _log.warning("cannot verify for now, trying again: %s", error)

    async def vote(self, number: int, seen: Observation) -> None:
        """Recompute a proposal's round and vote with that digest. Raises the ledger's refusals."""
        proposed = seen.versions[number]
        if seen.last is None:
            return
        found = await self._gatherer.verify(number)
        if found.made is not None:
            await self._gatherer.store.put(found.made.model)  # A version has as many sources as it has verifiers.
        await self._client.submit(VoteVersion(self._task.model, number, found.digest))
        verdict = "confirmed" if found.digest == proposed.digest else "contradicted"
        self._say(f"{verdict} version {number} proposed by {proposed.proposer}")

    async def probe_promoted(self) -> None:
        """Probe the promoted version once, and raise the alarm when the probe finds something."""
        model = await self._client.peek(lineage.MODELS, self._task.model)
        if model is None or self._probe is None or model.current in self._probed or model.current == 0:
            return
        version, units = await load_version(self._client, self._gatherer.store, self._task, model.current)
        if version.status is not VersionStatus.PROMOTED:
            return
        network = recompute.network(self._task.inputs, units, self._task.terms.update.scale_bits)
        found = await asyncio.to_thread(self._probe, network, await self._gatherer.canary())
        if found is not None:
            reason, evidence = found
            alarm = RaiseAlarm(self._task.model, model.current, hashlib.sha256(evidence).digest(), reason)
            with suppress(Rejected):  # Raised by an earlier life of this process, or out of service already.
                await self._client.submit(alarm)
                self._say(f"raised an alarm on version {model.current}: {reason}")
        self._probed.add(model.current)  # Only now: an alarm that did not get through is raised again.
