"""A siege of one application in this process: every attack through CheckTx, ProcessProposal and FinalizeBlock.

What CheckTx refuses comes in a block all the same, as from a Byzantine proposer. A block of nothing but attacks may
change nothing except replay marks. Between attacks the consortium goes on with its business, which must succeed.
"""

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from abci_app.app import LedgerApplication, _Committed
from abci_app.pool.proposals import Standings
from abci_app.protocol import messages as m
from abci_app.protocol.dispatch import Dispatcher
from abci_app.protocol.framing import FrameReader
from abci_app.store.memory_store import MemoryStore
from contracts import transition
from contracts.kernel import Message, replay
from contracts.registry import RULES
from contracts.transition import BlockContext, Transaction

from ..harness.chain import Member, Signer
from ..simulation.agreement import Agreement, Block
from ..simulation.hostile import REJECTED, Attacker, lane_of
from ..simulation.incidents import incident
from ..simulation.lifecycle import Lifecycle, choose_limits
from ..simulation.members import GENESIS_TIME_MS, PLAIN_TERMS, VALID_BLOCKS, Clerk, genesis, stream
from ..simulation.replica import fields_of
from .forger import Forger
from .kinds import Attack
from .siege import Tally

ATTACKS_PER_BLOCK = 50
PEACEFUL_BLOCKS = 40  # At first, so that there is something to attack.
BLOCK_MS = 400
HONEST_MAX = 14
DECIDED_MAX = 60
PATIENCE = 60  # Blocks for which honest transactions are valid.
ANSWER_BYTES_MAX = 1 << 26
_MARKS = replay.SEEN.prefix.encode() + b"/"


@dataclass
class Besieged:
    """An application under siege, and the consortium that uses it."""

    seed: int
    tally: Tally = field(default_factory=Tally)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.rng = stream(self.seed, "siege")
        self._store = MemoryStore()
        self._application = LedgerApplication(self._store)
        self._dispatcher = Dispatcher(self._application)
        self._clerk = Clerk(self.seed)
        self._life = Lifecycle(stream(self.seed, "life"), (PLAIN_TERMS,), choose_limits(stream(self.seed, "limits")))
        self._attacker = Attacker(stream(self.seed, "attacker"), self._clerk, self._life)
        self._time_ms = GENESIS_TIME_MS
        self._decided: list[bytes] = []
        self._ask("init_chain", Agreement(genesis(), GENESIS_TIME_MS).init_chain())
        for _ in range(PEACEFUL_BLOCKS):
            self.peace()

    @property
    def _view(self) -> _Committed:
        return _Committed(self._store, self._application._genesis)

    @property
    def _height(self) -> int:
        return self._store.height

    def run(self, attacks: int) -> None:
        """This many attacks, with an honest block after every ten hostile ones."""
        while self.tally.attacks < attacks:
            self.assault(min(ATTACKS_PER_BLOCK, attacks - self.tally.attacks))
            if self.counts["hostile blocks"] % 10 == 0:
                self.peace()
                self.propose()

    def assault(self, number: int) -> None:
        """A block of attacks, each tried at the door first."""
        forger = Forger(self.rng, self._view, self._height, VALID_BLOCKS, self._decided)
        attacks = [forger.attack() for _ in range(number)]
        for attack in attacks:
            answer = self._ask("check_tx", m.RequestCheckTx(tx=attack.raw))
            self.tally.refused(attack, answer.code, answer.data, answer.log)
        if self.counts["hostile blocks"] % 2:
            attacks = self._in_lanes(attacks)
        block = self._block(tuple(attack.raw for attack in attacks))
        readable = all(self._lane(attack.raw) is not None for attack in attacks)
        verdict = self._ask("process_proposal", m.RequestProcessProposal(**fields_of(block)))
        if (verdict.status == verdict.ACCEPT) is not (readable and attacks == self._in_lanes(attacks)):
            self.tally.fault(f"height {block.height}: a proposal is judged {verdict.status}")
        self.counts[f"hostile proposals {'accepted' if verdict.status == verdict.ACCEPT else 'rejected'}"] += 1
        roots = self._roots()
        results = self._ask("finalize_block", m.RequestFinalizeBlock(**fields_of(block))).tx_results
        for attack, result in zip(attacks, results, strict=True):
            if not attack.is_right(result.code):
                self.tally.fault(f"{attack.kind}: code {result.code} in a block: {attack.raw.hex()[:400]}")
        pending = self._application._pending
        assert pending is not None
        touched = [path for path in pending.writes if not path.startswith(_MARKS)]
        if touched:
            self.tally.fault(f"height {block.height}: attacks wrote {touched[:5]}")
        self._commit(block)
        after = self._roots()
        changed = [name for name in after if name != "replay" and after[name] != roots[name]]
        if changed:
            self.tally.fault(f"height {block.height}: attacks changed the hash of {changed}")
        self.counts["hostile blocks"] += 1
        self.counts["replay marks of attacks"] += len(pending.writes)

    def peace(self) -> None:
        """An honest block: what the rules say they accept must be accepted."""
        view, height = self._view, self._height
        self._clerk.height = height
        due = list(self._life.due(view, height, self._time_ms))[:HONEST_MAX]
        due += incident(self.rng, self._life, view, height)
        offered = [self._sealed(who, message) for who, message in due]
        following = BlockContext(genesis().chain_id, height + 1, self._time_ms)
        good = [
            raw for raw in offered if transition.apply_tx(RULES.newest, view, Transaction(raw), following).code == 0
        ]
        for raw in good:
            answer = self._ask("check_tx", m.RequestCheckTx(tx=raw))
            if answer.code:
                self.tally.fault(f"height {height}: an honest transaction is refused with {answer.code} {answer.log}")
        block = self._block(tuple(good))
        request = m.RequestPrepareProposal(txs=good, max_tx_bytes=1 << 20, height=block.height)
        chosen = tuple(self._ask("prepare_proposal", request).txs)
        if len(chosen) != len(good):
            self.tally.fault(f"height {height}: a proposer dropped {len(good) - len(chosen)} honest transactions")
        block = self._block(chosen)
        verdict = self._ask("process_proposal", m.RequestProcessProposal(**fields_of(block)))
        if verdict.status != verdict.ACCEPT:
            self.tally.fault(f"height {height}: an honest proposal is rejected")
        results = self._ask("finalize_block", m.RequestFinalizeBlock(**fields_of(block))).tx_results
        self._commit(block)
        accepted = [raw for raw, result in zip(chosen, results, strict=True) if result.code == 0]
        self.counts["honest transactions accepted"] += len(accepted)
        self._decided = [*self._decided, *accepted][-DECIDED_MAX:]
        for raw in chosen:
            self._attacker.saw(raw, refused=False)

    def propose(self) -> None:
        """What a Byzantine proposer of the simulation makes up."""
        ploy, txs = self._attacker.proposal(self._view, ())
        block = self._block(txs)
        verdict = self._ask("process_proposal", m.RequestProcessProposal(**fields_of(block)))
        self.counts["ploys of a proposer"] += 1
        if ploy in REJECTED and verdict.status == verdict.ACCEPT:
            self.tally.fault(f"height {block.height}: a proposal with {ploy} is accepted")

    def finish(self) -> None:
        """What must be true in the end."""
        if self._dispatcher.failures:
            self.tally.fault(f"handlers failed: {dict(self._dispatcher.failures)}")
        again = LedgerApplication(self._store)
        if again.info(m.RequestInfo()).last_block_app_hash != self._application._tree.root:
            self.tally.fault("a restart does not lead to the same state")
        self.counts["blocks"] = self._height

    def _lane(self, raw: bytes) -> int | None:
        return lane_of(Standings(RULES.newest, self._view, self._height + 1), raw)

    def _in_lanes(self, attacks: list[Attack]) -> list[Attack]:
        """What a proposal may hold of them: those that can be read, each in its lane."""
        lanes = [(self._lane(attack.raw), attack) for attack in attacks]
        return [attack for lane, attack in sorted((one for one in lanes if one[0] is not None), key=lambda one: one[0])]

    def _block(self, txs: tuple[bytes, ...]) -> Block:
        return Block(self._height + 1, self._time_ms + BLOCK_MS, 0, txs)

    def _sealed(self, who: Member | Signer, message: Message) -> bytes:
        """In time for long, so that a replay is one."""
        return self._clerk.seal(self._life.signer(who, message), message, valid_until=self._height + PATIENCE)

    def _commit(self, block: Block) -> None:
        self._ask("commit", m.RequestCommit())
        self._time_ms = block.time_ms

    def _roots(self) -> dict[str, bytes]:
        return dict(self._application._tree.latest.store_roots())

    def _ask(self, call: str, request: Any) -> Any:
        """One call as a socket would carry it. Raises Halt when the node would stop."""
        raw = m.Request(**{call: request}).SerializeToString()
        frames = FrameReader(limit=ANSWER_BYTES_MAX)
        frames.feed(self._dispatcher.answer(raw))
        framed = frames.next()
        assert framed is not None
        return getattr(m.Response.FromString(framed), call)


def besiege(seed: int, attacks: int) -> tuple[Tally, Counter[str]]:
    """A siege from its seed. Raises Halt when an attack would stop a node."""
    logger = logging.getLogger("abci_app")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        besieged = Besieged(seed)
        besieged.run(attacks)
        besieged.finish()
    finally:
        logger.setLevel(before)
    return besieged.tally, besieged.counts
