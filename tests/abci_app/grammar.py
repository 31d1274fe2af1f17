"""The grammar of ABCI 2.0, held over recorded calls: what CometBFT may ask of an application, and in which order.

The productions are those of CometBFT v0.39, ``spec/abci/abci++_comet_expected_behavior.md``, section "Valid method call
sequences". They are regular, so they become a finite automaton here, and a recorded run is legal as long as some state
is left: ``consensus-exec`` has no end, so every prefix counts. ``check`` also holds what the grammar cannot say: which
connection a call comes by, that InitChain answers an empty application only, that heights follow one another, and that
a block comes again as it was.

What the grammar leaves out may come at any time: CheckTx, Query, Echo, Flush, the read-only snapshot calls, and every
Info after the first of a run.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from tests.abci_client import Call

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


# The automaton ------------------------------------------------------------------------------------------------


@dataclass
class _Node:
    """A state: where each terminal leads, and where one may go without any."""

    on: "list[tuple[str, _Node]]" = field(default_factory=list)
    free: "list[_Node]" = field(default_factory=list)


@dataclass(frozen=True)
class _Part:
    """A piece of grammar with one way in and one way out."""

    enter: _Node
    leave: _Node


def _call(method: str) -> _Part:
    enter, leave = _Node(), _Node()
    enter.on.append((method, leave))
    return _Part(enter, leave)


def _seq(*parts: _Part) -> _Part:
    for one, other in zip(parts, parts[1:], strict=False):
        one.leave.free.append(other.enter)
    return _Part(parts[0].enter, parts[-1].leave)


def _either(*parts: _Part) -> _Part:
    enter, leave = _Node(), _Node()
    enter.free += [part.enter for part in parts]
    for part in parts:
        part.leave.free.append(leave)
    return _Part(enter, leave)


def _many(part: _Part) -> _Part:
    """None or more: ``*x``."""
    enter, leave = _Node(), _Node()
    enter.free += [part.enter, leave]
    part.leave.free += [part.enter, leave]
    return _Part(enter, leave)


def _maybe(part: _Part) -> _Part:
    """None or one: ``[x]``."""
    part.enter.free.append(part.leave)
    return part


def _got_votes() -> _Part:
    return _many(_call("verify_vote_extension"))


def _extend() -> _Part:
    return _seq(_got_votes(), _call("extend_vote"), _got_votes())


def _proposer() -> _Part:
    proposal = _seq(_call("prepare_proposal"), _maybe(_call("process_proposal")))
    return _seq(_got_votes(), _maybe(proposal), _maybe(_extend()))


def _non_proposer() -> _Part:
    return _seq(_got_votes(), _maybe(_call("process_proposal")), _maybe(_extend()))


def _consensus_exec() -> _Part:
    consensus_round = _either(_proposer(), _non_proposer())
    return _many(_seq(_many(consensus_round), _call("finalize_block"), _call("commit")))


def _state_sync() -> _Part:
    attempt = _seq(_call("offer_snapshot"), _many(_call("apply_snapshot_chunk")))
    applied = _seq(_call("apply_snapshot_chunk"), _many(_call("apply_snapshot_chunk")))
    return _seq(_many(attempt), _call("offer_snapshot"), applied, _call("info"))


def _clean_start() -> _Part:
    app_handshake = _seq(_call("info"), _call("init_chain"))
    return _seq(_either(app_handshake, _state_sync()), _consensus_exec())


def _recovery() -> _Part:
    return _seq(_call("info"), _maybe(_call("init_chain")), _consensus_exec())


CLEAN_START, RECOVERY = _clean_start().enter, _recovery().enter


class Automaton:
    """Follows one run from a production on. ``take`` raises ValueError for a terminal that cannot come now."""

    def __init__(self, *starts: _Node) -> None:
        self._nodes = _closure(starts)

    @property
    def expected(self) -> tuple[str, ...]:
        """The terminals that may come now, in alphabetical order."""
        return tuple(sorted({method for node in self._nodes for method, _ in node.on}))

    def take(self, method: str) -> None:
        """Go on by one terminal."""
        after = [target for node in self._nodes for name, target in node.on if name == method]
        if not after:
            raise ValueError(f"expected one of {', '.join(self.expected)}")
        self._nodes = _closure(after)


def _closure(nodes: Iterable[_Node]) -> list[_Node]:
    found: dict[int, _Node] = {}
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if id(node) not in found:
            found[id(node)] = node
            waiting += node.free
    return list(found.values())


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
    """What earlier runs left: the last commit that was answered, and the blocks by height."""

    committed: int = 0
    blocks: dict[int, tuple[bytes, tuple[bytes, ...], bytes]] = field(default_factory=dict)


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
    heights = _Heights(history)
    handshaken = waiting = False
    for place, call in run:
        if call.method in ("connected", "disconnected"):
            continue
        if call.connection and call.method in CONNECTION_OF and call.connection != CONNECTION_OF[call.method]:
            raise IllegalCall(place, call.method, f"came by the {call.connection} connection")
        waiting = _mempool_busy(call, waiting)
        if call.method == "commit" and waiting:
            raise IllegalCall(place, "commit", "the mempool was not flushed before it")
        if call.method in ANY_TIME or (call.method == "info" and handshaken and "info" not in automaton.expected):
            continue
        try:
            automaton.take(call.method)
            heights.take(call)
        except ValueError as error:
            raise IllegalCall(place, call.method, str(error)) from error
        handshaken = handshaken or call.method == "info"


def _mempool_busy(call: Call, before: bool) -> bool:
    """Whether a CheckTx may still be under way, in a record that notes flushes."""
    if call.connection != "mempool":
        return before
    return call.method == "check_tx" and call.answer is None


class _Heights:
    """The heights of one run: proposals and blocks are for the one after the last commit."""

    def __init__(self, history: _History) -> None:
        self._history = history
        self._committed: int | None = None  # Unknown until the handshake.
        self._pending = 0

    def take(self, call: Call) -> None:
        """Follow one call. Raises ValueError."""
        match call.method:
            case "info":
                self._handshake(call)
            case "init_chain" if self._committed:
                raise ValueError(f"the application answered that it is at height {self._committed}")
            case "prepare_proposal" | "process_proposal":
                self._require_next(call)
            case "finalize_block":
                self._require_next(call)
                self._require_same_block(call)
                self._pending = call.request.height
            case "commit":
                if call.answer is not None:
                    self._history.committed = self._pending
                self._committed = self._pending

    def _handshake(self, call: Call) -> None:
        if call.answer is None:
            return
        height = call.answer.last_block_height
        if height < self._history.committed:
            raise ValueError(f"the application is at height {height}, it committed {self._history.committed}")
        self._committed = height

    def _require_next(self, call: Call) -> None:
        height = call.request.height
        if self._committed and height != self._committed + 1:
            raise ValueError(f"height {height} does not follow the committed {self._committed}")

    def _require_same_block(self, call: Call) -> None:
        request = call.request
        block = (request.hash, tuple(request.txs), request.time.SerializeToString())
        if self._history.blocks.setdefault(request.height, block) != block:
            raise ValueError(f"height {request.height} comes again as another block")
