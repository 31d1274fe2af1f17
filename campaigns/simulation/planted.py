"""Bugs planted on purpose, so that a simulation which has stopped noticing is noticed itself.

Each is a patch of one function or two of the real code, put on for as long as ``installed`` is open, and says which
checker must notice it. Here are those of the shell around the rules, and the rules that are not about rounds; those of
rounds are in ``planted_rounds``. ``python -m campaigns.simulation --plant NAME`` shows one at work.
"""

import time
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from abci_app.app import LedgerApplication
from abci_app.pool import proposals
from abci_app.protocol import messages as m
from abci_app.protocol.blocks import PublicKey
from abci_app.store.interface import Version
from abci_app.store.memory_store import MemoryStore
from contracts import ballot_box, ballots, contributions, identity, models, rounds, validators
from contracts.contributions import Reserve
from contracts.kernel import Context, Lane, Outcome, View, renyi, replay
from contracts.kernel.state_tree import StateTree, StateVersion
from contracts.registry import RULES
from contracts.reputation import Judged
from contracts.rounds import OpenRound
from contracts.transition import Transaction

from .plant import ANOTHER_INTERPRETER, Patches, Plant
from .planted_rounds import ROUND_PLANTS


def _set_order() -> Patches:
    honest = ballot_box.earned

    def earned(*arguments: Any, **others: Any) -> tuple[Judged, ...]:
        by_name = {one.organisation: one for one in honest(*arguments, **others)}
        return tuple(by_name[name] for name in set(by_name))

    yield patch.object(ballots, "earned", earned)


def _wall_clock() -> Patches:
    def open_round(view: View, msg: OpenRound, ctx: Context) -> Outcome:
        return rounds.open_round(view, msg, replace(ctx, time_ms=time.time_ns() // 1_000))

    yield patch.dict(RULES.newest.handlers, {OpenRound: open_round})


def _forgotten_write() -> Patches:
    def reserve(view: View, msg: Reserve, ctx: Context) -> Outcome:
        outcome = contributions.reserve(view, msg, ctx)
        kept = (write for write in outcome.writes if not write.path.startswith(b"contributions/seats"))
        return Outcome(tuple(kept), outcome.events)

    yield patch.dict(RULES.newest.handlers, {Reserve: reserve})


def _forgotten_removal() -> Patches:
    honest = MemoryStore._write

    def write(self: MemoryStore, version: Version, writes: dict[bytes, bytes | None], *rest: Any) -> None:
        honest(self, version, {path: body for path, body in writes.items() if body is not None}, *rest)

    yield patch.object(MemoryStore, "_write", write)


def _proof_of_the_wrong_height() -> Patches:
    def newest(self: StateTree, _version: int) -> StateVersion:
        return self.latest

    yield patch.object(StateTree, "at", newest)


def _best_order_so_far() -> Patches:
    def within(limit: int, curve: renyi.Curve, _order: int, delta_inverse: int) -> bool:
        """Whatever order suits what was charged until now: no filter for prices that are chosen as one goes."""
        return renyi.least_epsilon(curve, delta_inverse)[0] <= limit

    yield patch.object(renyi, "within", within)


def _revocation_ignored() -> Patches:
    yield patch.object(identity, "is_good", lambda _key, _place: True)


def _marks_dropped_early() -> Patches:
    honest = replay.prune
    yield patch.object(replay, "prune", lambda view, height, most: honest(view, height + 4, most))


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
    def declared(_rules: object, transaction: Transaction, _signer: object) -> Lane:
        kind = RULES.messages.get(transaction.envelope.tag)
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


def _few_alarms() -> Patches:
    yield patch.object(models, "quorum", lambda voters: voters // 2)


PLANTS = {
    "set-order": Plant("verdicts in the order of a set of names", ANOTHER_INTERPRETER, _set_order),
    "wall-clock": Plant("a round that opens at the node's own time", "agreement", _wall_clock),
    "forgotten-write": Plant("a seat that is not stored", "every object has an accepted transaction", _forgotten_write),
    "forgotten-removal": Plant(
        "a store that removes nothing", "replay marks are those of decided transactions", _forgotten_removal
    ),
    "wrong-height": Plant("a proof from the newest version", "proof", _proof_of_the_wrong_height),
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
    "few-alarms": Plant("a quarantine by half of the verifiers", "alarms", _few_alarms),
    **ROUND_PLANTS,
}  # fmt: skip
