"""The grammar of ABCI 2.0, held over recorded calls: what CometBFT may ask of an application, and in which order.

The productions are those of CometBFT v0.39, ``spec/abci/abci++_comet_expected_behavior.md``, section "Valid method call
sequences". They are regular (``automaton``), and ``consensus-exec`` has no end, so every prefix counts. ``check`` also
holds what the grammar cannot say: which connection a call comes by, that InitChain is for an empty application only,
that heights follow one another, that a block comes again as it was, and that no answer about validators would stop
CometBFT or differs when its block comes again.

What the grammar leaves out may come at any time: CheckTx, Query, Echo, Flush, the read-only snapshot calls, and every
Info after the first of a run.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from abci_app.protocol.application import Application

from .abci_client import Call
from .automaton import Automaton, Part, either, many, maybe, seq, terminal
from .cometbft_blocks import UpdateRefused, Validator, changed, ordered

CONSENSUS = "consensus"
CONNECTION_OF = {
    **dict.fromkeys(("info", "query"), "query"),
    **dict.fromkeys(("list_snapshots", "offer_snapshot", "load_snapshot_chunk", "apply_snapshot_chunk"), "snapshot"),
    **dict.fromkeys(("check_tx", "insert_tx", "reap_txs"), "mempool"),
    **dict.fromkeys(
        (
            *("init_chain", "prepare_proposal", "process_proposal", "extend_vote", "verify_vote_extension"),
            *("finalize_block", "commit"),
        ),
        CONSENSUS,
    ),
}
ANY_TIME = ("check_tx", "query", "echo", "flush", "list_snapshots", "load_snapshot_chunk", "insert_tx", "reap_txs")


class IllegalCall(AssertionError):
    """A call that CometBFT would never make there. ``place`` is its number in the record, from 0."""

    def __init__(self, place: int, method: str, why: str) -> None:
        super().__init__(f"call {place}, {method}: {why}")
        self.place, self.method = place, method


# Productions --------------------------------------------------------------------------------------------------


def _got_votes() -> Part:
    return many(terminal("verify_vote_extension"))


def _extend() -> Part:
    return seq(_got_votes(), terminal("extend_vote"), _got_votes())


def _proposer() -> Part:
    proposal = seq(terminal("prepare_proposal"), maybe(terminal("process_proposal")))
    return seq(_got_votes(), maybe(proposal), maybe(_extend()))


def _non_proposer() -> Part:
    return seq(_got_votes(), maybe(terminal("process_proposal")), maybe(_extend()))


def _consensus_exec() -> Part:
    consensus_round = either(_proposer(), _non_proposer())
    return many(seq(many(consensus_round), terminal("finalize_block"), terminal("commit")))


def _state_sync() -> Part:
    attempt = seq(terminal("offer_snapshot"), many(terminal("apply_snapshot_chunk")))
    applied = seq(terminal("apply_snapshot_chunk"), many(terminal("apply_snapshot_chunk")))
    return seq(many(attempt), terminal("offer_snapshot"), applied, terminal("info"))


def _clean_start() -> Part:
    app_handshake = seq(terminal("info"), terminal("init_chain"))
    return seq(either(app_handshake, _state_sync()), _consensus_exec())


def _recovery() -> Part:
    return seq(terminal("info"), maybe(terminal("init_chain")), _consensus_exec())


CLEAN_START, RECOVERY = _clean_start().enter, _recovery().enter


# Records ------------------------------------------------------------------------------------------------------


def check(calls: Sequence[Call]) -> int:
    """Hold a whole record, of one run or of many, to the grammar. Returns the number of runs; raises IllegalCall.

    A run begins with ``connected``. Without such notes, the record is one run.
    """
    history = _History()
    runs = 0
    for run in _runs(calls):
        runs += 1
        _check_run(run, history)
    return runs


@dataclass
class _History:
    """What earlier runs left: the last commit that was answered, and blocks and validator sets by height."""

    committed: int = 0
    blocks: dict[int, tuple[bytes, tuple[bytes, ...], bytes]] = field(default_factory=dict)
    validators: dict[int, tuple[Validator, ...]] = field(default_factory=dict)


def _runs(calls: Sequence[Call]) -> Iterator[list[tuple[int, Call]]]:
    run: list[tuple[int, Call]] = []
    for place, call in enumerate(calls):
        begins = call.method == "connected" and (place == 0 or calls[place - 1].method != "connected")
        if begins and run:
            yield run
            run = []
        run.append((place, call))
    if run:
        yield run


def _check_run(run: list[tuple[int, Call]], history: _History) -> None:
    automaton = Automaton(RECOVERY) if history.committed else Automaton(CLEAN_START, RECOVERY)
    validators = _Validators(history)
    heights, mempool = _Heights(history), _Mempool(any(call.method == "flush" for _, call in run))
    handshaken = False
    for place, call in run:
        if call.method in ("connected", "disconnected"):
            continue
        try:
            _require_connection(call)
            mempool.take(call)
            if call.method in ANY_TIME or (call.method == "info" and handshaken and "info" not in automaton.expected):
                continue
            automaton.take(call.method)
            heights.take(call)
            validators.take(call)
        except (ValueError, UpdateRefused) as error:
            raise IllegalCall(place, call.method, str(error)) from error
        handshaken = handshaken or call.method == "info"


def _require_connection(call: Call) -> None:
    proper = CONNECTION_OF.get(call.method, call.connection)
    if call.connection and call.connection != proper:
        raise ValueError(f"came by the {call.connection} connection")


class _Mempool:
    """CometBFT locks the mempool and flushes its connection before Commit; only some records note flushes."""

    def __init__(self, noted: bool) -> None:
        self._noted = noted
        self._waiting = False

    def take(self, call: Call) -> None:
        """Follow one call. Raises ValueError."""
        if call.method == "check_tx":
            self._waiting = self._noted
        elif call.method == "flush" and call.connection == "mempool":
            self._waiting = False
        elif call.method == "commit" and self._waiting:
            raise ValueError("the mempool was not flushed before it")


class _Heights:
    """The heights of one run: proposals and blocks are for the one after the last commit."""

    def __init__(self, history: _History) -> None:
        self._history = history
        self._committed: int | None = None  # Unknown until the handshake.
        self._pending = 0

    def take(self, call: Call) -> None:
        """Follow one call. Raises ValueError."""
        match call.method:
            case "info" if call.answer is not None:
                self._handshake(call.answer.last_block_height)
            case "init_chain":
                if self._committed:
                    raise ValueError(f"the application answered that it is at height {self._committed}")
                self._committed = None  # The genesis says which height is the first.
            case "prepare_proposal" | "process_proposal":
                self._require_next(call.request.height)
            case "finalize_block":
                self._require_next(call.request.height)
                self._require_same_block(call)
                self._pending = call.request.height
            case "commit":
                if call.answer is not None:
                    self._history.committed = self._pending
                self._committed = self._pending

    def _handshake(self, height: int) -> None:
        if height < self._history.committed:
            raise ValueError(f"the application is at height {height}, it committed {self._history.committed}")
        self._committed = height

    def _require_next(self, height: int) -> None:
        if self._committed == 0:
            raise ValueError("the application is empty and was not initialised")
        if self._committed is not None and height != self._committed + 1:
            raise ValueError(f"height {height} does not follow the committed {self._committed}")

    def _require_same_block(self, call: Call) -> None:
        request = call.request
        block = (request.hash, tuple(request.txs), request.time.SerializeToString())
        if self._history.blocks.setdefault(request.height, block) != block:
            raise ValueError(f"height {request.height} comes again as another block")


class _Validators:
    """The set that CometBFT has been told of: known from InitChain on."""

    def __init__(self, history: _History) -> None:
        self._sets = history.validators

    def take(self, call: Call) -> None:
        """Follow one call. Raises ValueError, UpdateRefused."""
        if call.method == "init_chain" and call.answer is not None:
            stated = call.answer.validators or call.request.validators
            first = max(call.request.initial_height, 1) - 1
            self._note(first, ordered(Validator(one.pub_key.ed25519, one.power) for one in stated))
        elif call.method == "finalize_block" and call.answer is not None:
            before = self._sets.get(call.request.height - 1)
            if before:
                self._note(call.request.height, changed(before, call.answer.validator_updates))

    def _note(self, height: int, validators: tuple[Validator, ...]) -> None:
        if self._sets.setdefault(height, validators) != validators:
            raise ValueError(f"the validators after height {height} are others than the first time")


# Recording ----------------------------------------------------------------------------------------------------


class Recorded:
    """An application whose every call is recorded, for a real CometBFT to drive. Connections are not known here."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self.calls: list[Call] = []

    def connected(self) -> None:
        """Note that a node has been started: a run begins."""
        self.calls.append(Call("", "connected", None))

    def __getattr__(self, method: str) -> Callable[[Any], Any]:
        handler = getattr(self._application, method)

        def recording(request: Any) -> Any:
            call = Call("", method, request)
            self.calls.append(call)
            call.answer = handler(request)
            return call.answer

        return recording
