"""A consortium that has existed for long: its records as thousands of decided rounds would have left them.

They are written as they stand, because a million transactions would take an hour. ``Ledger`` goes on from there with
real transactions; nothing is hashed into trees here, the rules do not read them.
"""

from collections.abc import Iterator
from dataclasses import replace

from campaigns.harness import consortium
from campaigns.harness.chain import BLOCK_MS, Chain, Who
from campaigns.harness.consortium import HOSPITALS, LAB, MODEL, TASK, VERIFIERS, artefact
from contracts import lineage, rounds, tasks, transition
from contracts.ballot_box import ATTESTATIONS, BOXES, Attestation, Attestations, Ballot, Box
from contracts.contributions import SEATS, Commitment, Seat
from contracts.governance import COUNTER, PROPOSALS, Counter, OpenTask, ProposalStatus, RollBackModel
from contracts.kernel import Message, Place, View, Write, bitmap, limits, replay
from contracts.kernel.state import Overlay
from contracts.lineage import Finding, Version, VersionStatus
from contracts.reputation import WEIGHT_ONE
from contracts.rounds import Charged, Round
from contracts.terms import Phase, needed_seats
from contracts.transition import Result, Transaction

TERMS = replace(consortium.TERMS, max_rounds=limits.ROUNDS_PER_TASK)
EACH = 10  # Entries that a round leaves, with a proposal and a replay mark of its time.
_EVERYBODY = bitmap.of(range(len(HOSPITALS)))


def begun() -> Chain:
    """The consortium of the tests with an open task that everybody has joined, before its first round."""
    chain = consortium.equipped()
    consortium.pass_proposal(chain, OpenTask(TERMS))
    consortium.succeed(chain, *((hospital, consortium.join(terms=TERMS)) for hospital in HOSPITALS))
    return chain


def decided(chain: Chain, count: int) -> Iterator[Write]:
    """What so many decided rounds, each with its promoted version, leave in the state of a begun chain."""
    jumps = [0]
    for number in range(1, count + 1):
        parent = number - 1
        further = jumps[parent]
        jumps.append(jumps[further] if parent - further == further - jumps[further] else parent)
        yield from _round(number, jumps[number])
        proposal = PROPOSALS.get(chain.view, 1)
        assert proposal is not None, "the task was opened by a vote"
        action = RollBackModel(MODEL, 0, "because")
        yield PROPOSALS.put(number + 1, replace(proposal, action=action, status=ProposalStatus.DEFEATED))
        yield replay.mark(limits.TX_VALIDITY_BLOCKS, consortium.digest(f"transaction {number}"), 1)
    yield COUNTER.set(Counter(count + 1))
    yield tasks.TASKS.put(TASK, replace(tasks.TASKS.at(chain.view, TASK), rounds=count, trained=count, base=count))
    model = lineage.MODELS.at(chain.view, MODEL)
    yield lineage.MODELS.put(MODEL, replace(model, current=count, latest=count))


def _round(number: int, jump: int) -> Iterator[Write]:
    """The records of one round. A version's depth is its number: the line has no branches."""
    digest, key = consortium.digest(f"version {number}"), (TASK, number)
    yield rounds.ROUNDS.put(
        key,
        Round(
            base=number - 1,
            phase=Phase.DECIDED,
            opened_at=1,
            began_at=0,
            until=0,
            until_height=0,
            invited=_EVERYBODY,
            needed=needed_seats(TERMS),
            reserved=_EVERYBODY,
            committed=_EVERYBODY,
            agreed=_EVERYBODY,
            charged=Charged.ALL,
            void=None,
        ),
    )
    payload = consortium.cid(f"payload {number}")
    for seat, hospital in enumerate(HOSPITALS):
        made = Commitment(hospital.worker.public, Place(1, 0), payload, digest, 1_000, digest)
        yield SEATS.put((*key, hospital.name), Seat(seat, consortium.DATASET, WEIGHT_ONE, made))
    yield ATTESTATIONS.put(
        key, Attestations(tuple(Attestation(one.name, _EVERYBODY, one.worker.public, Place(1, 0)) for one in VERIFIERS))
    )
    yield BOXES.put(
        key, Box(tuple(Ballot(one.name, digest, one.worker.public, Place(1, 0), digest, 90) for one in VERIFIERS))
    )
    yield lineage.VERSIONS.put(
        (MODEL, number),
        Version(
            artefact=artefact(f"version {number}"),
            round=number,
            parent=number - 1,
            depth=number,
            jump=jump,
            best=number,
            canary_correct=90,
            agreed=_EVERYBODY,
            judgements=bytes([Finding.AGGREGATED] * len(HOSPITALS)),
            digest=digest,
            proposer=LAB.name,
            decided_at=1,
            status=VersionStatus.PROMOTED,
        ),
    )


class Ledger(Chain):
    """A chain over state that is too large to copy: what happens is put on top of it, and forks are cheap."""

    def __init__(self, before: Chain, state: View) -> None:
        self.__dict__.update(before.__dict__)
        self.view: Overlay = Overlay(state)  # type: ignore[assignment]
        self._state = state

    def fork(self) -> "Ledger":
        """An independent chain at the same point."""
        twin = Ledger(self, self._state)
        twin.view.apply(tuple(Write(path, body) for path, body in self.view.writes.items()))
        return twin

    def block(self, *transactions: bytes | tuple[Who, Message]) -> tuple[Result, ...]:
        """Decide one block of transactions."""
        raw = [tx if isinstance(tx, bytes) else self.seal(*tx) for tx in transactions]
        context, results = self.next_block(), []
        for tx in raw:
            results.append(transition.apply_tx(self.rules, self.view, Transaction(tx), context))
            self.view.apply(results[-1].writes)
        self.height, self.time_ms, self._pending_ms = context.height, context.time_ms, BLOCK_MS
        return tuple(results)
