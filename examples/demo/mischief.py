"""What the demo's participants and verifiers do wrong, each against one promise of the ledger.

All of it uses the SDK as anybody could. What comes of it is the ledger's doing, and the honest verifiers'.
"""

from contextlib import aclosing
from dataclasses import replace

from client_sdk.client import LedgerClient
from client_sdk.training.participant import Participant
from client_sdk.training.task import TaskView
from contracts import contributions, identity, rounds, tasks
from contracts.contributions import Commit, Commitment, NoiseSource
from contracts.kernel import View, bitmap
from contracts.kernel.types import Seats
from contracts.lineage import Candidate, Finding
from contracts.terms import Phase
from services.verifier.verifier import Forgery

SERVED = ("hospital-a", "lab-1")  # The verifiers that a selective participant encrypts to.


class Selective(Participant):
    """Serves its payload to two of the five verifiers: the others cannot decrypt it."""

    async def readers(self, number: int) -> tuple[str, ...]:
        """Only those of ``SERVED``, in every round."""
        return await self.client.ask(
            lambda view: tuple(identity.require_member(view, name).recipient for name in SERVED)
        )


async def commit_copied(client: LedgerClient, task: TaskView, number: int, organisation: str) -> str:
    """Commit to what somebody else has committed to, as soon as one has; whose it is."""
    async with aclosing(client.rpc.heads.latest()) as heights:
        async for _ in heights:
            current = await client.peek(rounds.ROUNDS, (task.name, number))
            if current is None or current.phase is not Phase.COMMITTING or not bitmap.count(current.committed):
                continue
            found = await client.ask(lambda view: _first_committed(view, task.name, number))
            if found is None:
                continue  # What was peeked at is not proved yet.
            owner, copied = found
            await client.submit(
                Commit(
                    task=task.name,
                    round=number,
                    cid=copied.cid,
                    digest=copied.digest,
                    size=copied.size,
                    base=current.base,
                    mechanism=task.terms.mechanism,
                    noise=NoiseSource.OS_ENTROPY,
                    code=copied.code,
                )
            )
            return f"{organisation} commits to what {owner} has committed to"
    raise AssertionError("heads never end")


def rushing(number: int) -> Forgery:
    """A verifier that attests nothing and says that nothing follows, without having looked at anything."""

    def attest(attested: int, held: Seats) -> Seats:
        return bitmap.NOTHING if attested == number else held

    def vote(candidate: Candidate, score: int) -> tuple[Candidate, int]:
        return (replace(candidate, artefact=None), 0) if candidate.round == number else (candidate, score)

    return Forgery(attest=attest, vote=vote)


def lying(number: int) -> Forgery:
    """A verifier that calls an honest contribution malformed."""

    def vote(candidate: Candidate, score: int) -> tuple[Candidate, int]:
        if candidate.round != number:
            return candidate, score
        slandered = bytes([Finding.MALFORMED]) + candidate.judgements[1:]
        return replace(candidate, judgements=slandered), score

    return Forgery(vote=vote)


def _first_committed(view: View, task: str, number: int) -> tuple[str, Commitment] | None:
    current = rounds.require_round(view, task, number)
    if not bitmap.count(current.committed):
        return None
    owner = tasks.organisations_of(view, task, current.committed)[0]
    made = contributions.require_seat(view, task, number, owner).commitment
    assert made is not None, "a seat of this set has committed"
    return owner, made
