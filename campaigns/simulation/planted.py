"""Bugs planted on purpose, so that a simulation which has stopped noticing is noticed itself.

Each is a patch of one function or two of the real code, put on for as long as ``installed`` is open, and says which
checker must notice it. ``python -m campaigns.simulation --plant NAME`` shows one at work.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeAlias
from unittest.mock import patch

from abci_app.app import LedgerApplication
from abci_app.pool import proposals
from abci_app.protocol import messages as m
from abci_app.protocol.blocks import PublicKey
from abci_app.store.interface import Version
from abci_app.store.memory_store import MemoryStore
from contracts import contributions, identity, privacy_budget, rounds, validators
from contracts.contributions import Commit, Publish
from contracts.kernel import Context, Lane, Message, Outcome, View, renyi, replay
from contracts.kernel.state_tree import StateTree, StateVersion
from contracts.privacy_budget import Account
from contracts.registry import HANDLERS
from contracts.rounds import OpenRound, Seat
from contracts.terms import Terms
from contracts.transition import Transaction

Patches: TypeAlias = Iterator[Any]
ANOTHER_INTERPRETER = "another interpreter"


@dataclass(frozen=True)
class Plant:
    """A bug: what is wrong, who must notice, and its patches."""

    what: str
    noticed_by: str
    patches: Callable[[], Patches]

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Put the bug in for a while."""
        with ExitStack() as stack:
            for one in self.patches():
                stack.enter_context(one)
            yield


def _set_order() -> Patches:
    honest = rounds._eligible_seats

    def seats(view: View, task: rounds.Task, terms: Terms, now: int) -> tuple[Seat, ...]:
        by_name = {seat.organisation: seat for seat in honest(view, task, terms, now)}
        return tuple(by_name[name] for name in set(by_name))

    yield patch.object(rounds, "_eligible_seats", seats)


def _wall_clock() -> Patches:
    def open_round(view: View, msg: OpenRound, ctx: Context) -> Outcome:
        return rounds.open_round(view, msg, replace(ctx, time_ms=time.time_ns() // 1_000))

    yield patch.dict(HANDLERS, {OpenRound: open_round})


def _forgotten_write() -> Patches:
    def commit(view: View, msg: Commit, ctx: Context) -> Outcome:
        outcome = contributions.commit(view, msg, ctx)
        kept = (write for write in outcome.writes if not write.path.startswith(b"contributions/commitments"))
        return Outcome(tuple(kept), outcome.events)

    yield patch.dict(HANDLERS, {Commit: commit})


def _forgotten_removal() -> Patches:
    honest = MemoryStore._write

    def write(self: MemoryStore, version: Version, writes: dict[bytes, bytes | None], *rest: Any) -> None:
        honest(self, version, {path: body for path, body in writes.items() if body is not None}, *rest)

    yield patch.object(MemoryStore, "_write", write)


def _debit_after_the_effect() -> Patches:
    debit = privacy_budget.spend

    def commit(view: View, msg: Commit, ctx: Context) -> Outcome:
        with patch.object(privacy_budget, "spend", lambda *_, **__: Outcome()):
            return contributions.commit(view, msg, ctx)

    def publish(view: View, msg: Publish, ctx: Context) -> Outcome:
        outcome = contributions.publish(view, msg, ctx)
        held = contributions.reservation_id(msg.task, msg.round, ctx.organisation, msg.dataset)
        return debit(view, ctx.organisation, msg.dataset, reservation=held, ctx=ctx) + outcome

    yield patch.dict(HANDLERS, {Commit: commit, Publish: publish})


def _proof_of_the_wrong_height() -> Patches:
    def newest(self: StateTree, _version: int) -> StateVersion:
        return self.latest

    yield patch.object(StateTree, "at", newest)


def _lapsed_reservation_counted_twice() -> Patches:
    honest = privacy_budget._live

    def live(account: Account, now: int) -> Account:
        """What was held and has lapsed is charged as if it had been spent."""
        spent = account.spent
        for entry in account.holds:
            spent = spent if now < entry.until else spent + entry.price
        return replace(honest(account, now), spent=spent)

    yield patch.object(privacy_budget, "_live", live)


def _best_order_so_far() -> Patches:
    def within(limit: int, curve: renyi.Curve, _order: int, delta_inverse: int) -> bool:
        """Whatever order suits what was charged until now: no filter for prices that are chosen as one goes."""
        return renyi.least_epsilon(curve, delta_inverse)[0] <= limit

    yield patch.object(renyi, "within", within)


def _revocation_ignored() -> Patches:
    yield patch.object(identity, "is_live", lambda _key, _height: True)


def _marks_dropped_early() -> Patches:
    honest = replay.prune
    yield patch.object(replay, "prune", lambda view, height: honest(view, height + 4))


def _verdict_from_the_mempool() -> Patches:
    honest = LedgerApplication.process_proposal

    def process(self: LedgerApplication, request: m.RequestProcessProposal) -> m.ResponseProcessProposal:
        """Rejects what this node has not seen itself: no function of the block and the state."""
        seen = self.__dict__.setdefault("_seen", {})
        if all(tx in seen for tx in request.txs):
            return honest(self, request)
        return m.ResponseProcessProposal(status=m.ResponseProcessProposal.REJECT)

    checked = LedgerApplication.check_tx

    def check_tx(self: LedgerApplication, request: m.RequestCheckTx) -> m.ResponseCheckTx:
        self.__dict__.setdefault("_seen", {})[bytes(request.tx)] = None
        return checked(self, request)

    yield patch.object(LedgerApplication, "process_proposal", process)
    yield patch.object(LedgerApplication, "check_tx", check_tx)


def _lanes_unsorted() -> Patches:
    honest = proposals.choose
    yield patch.object(proposals, "choose", lambda *arguments: honest(*arguments)[::-1])


def _lanes_for_the_asking() -> Patches:
    def declared(transaction: Transaction, _signer: object) -> Lane:
        kind = Message.by_tag.get(transaction.envelope.tag)
        return max(Lane) if kind is None else kind.lane

    yield patch.object(proposals, "_lane", declared)


def _validators_told_step_by_step() -> Patches:
    honest = LedgerApplication.finalize_block

    def finalize(self: LedgerApplication, request: m.RequestFinalizeBlock) -> m.ResponseFinalizeBlock:
        """An update for every admission and removal, in their order."""
        response = honest(self, request)
        del response.validator_updates[:]
        for event in (event for result in response.tx_results for event in result.events):
            power = {"validators/validator-admitted": 10, "validators/validator-removed": 0}.get(event.type)
            if power is not None:
                key = next(bytes.fromhex(one.value) for one in event.attributes if one.key == "public")
                response.validator_updates.add(pub_key=PublicKey(ed25519=key), power=power)
        return response

    yield patch.object(LedgerApplication, "finalize_block", finalize)


def _removals_not_told() -> Patches:
    honest = validators.updates
    yield patch.object(validators, "updates", lambda *arguments: tuple(one for one in honest(*arguments) if one[1]))


PLANTS = {
    "set-order": Plant("seats in the order of a set of names", ANOTHER_INTERPRETER, _set_order),
    "wall-clock": Plant("a round that opens at the node's own time", "agreement", _wall_clock),
    "forgotten-write": Plant(
        "a commitment that is not stored", "every object has an accepted transaction", _forgotten_write
    ),
    "forgotten-removal": Plant(
        "a store that removes nothing", "replay marks are those of decided transactions", _forgotten_removal
    ),
    "debit-after-the-effect": Plant(
        "a debit at the publication", "debits are the budget minus the remainder", _debit_after_the_effect
    ),
    "wrong-height": Plant("a proof from the newest version", "proof", _proof_of_the_wrong_height),
    "lapsed-twice": Plant(
        "a lapsed reservation that is charged", "debits are the budget minus the remainder",
        _lapsed_reservation_counted_twice,
    ),
    "best-order-so-far": Plant("a limit held at whichever order suits", "budget", _best_order_so_far),
    "revocation-ignored": Plant("keys that are never revoked", "revocation", _revocation_ignored),
    "marks-dropped-early": Plant(
        "replay marks pruned too early", "replay marks are those of decided transactions", _marks_dropped_early
    ),
    "mempool-verdict": Plant("a verdict from what the node has seen", "requirement 5", _verdict_from_the_mempool),
    "validators-step-by-step": Plant(
        "validator updates for every step instead of the difference", "validator updates",
        _validators_told_step_by_step,
    ),
    "removals-not-told": Plant(
        "a removed validator that CometBFT keeps", "the validators are those that cometbft was told of",
        _removals_not_told,
    ),
    "lanes-for-the-asking": Plant(
        "a lane for whoever names it", "process-proposal", _lanes_for_the_asking
    ),
    "lanes-unsorted": Plant("a proposal in the wrong order", "requirement 3", _lanes_unsorted),
}  # fmt: skip
