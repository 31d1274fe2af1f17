"""What each message costs as history grows: ``python -m benchmarks messages``.

Every message of the registry through ``transition.apply_tx`` over the store on disk, with 10² and 10⁴ entries of state
and on demand with 10⁶: processor time of the whole of it, its signature's verification included. Nothing that a member
can call may cost more the longer the ledger has existed, so the columns should be alike. What a message does at most is
measured beside the ordinary case: the vote, the alarm and the opening that decide.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Final

from abci_app.store.lmdb_store import LmdbStore
from benchmarks.load import history
from benchmarks.load.history import Ledger
from benchmarks.measuring import record
from campaigns.harness import consortium
from campaigns.harness.chain import Member
from campaigns.harness.consortium import (
    AUDITOR,
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITALS,
    LAB,
    MODEL,
    STAND_BY,
    TASK,
    VERIFIERS,
    cid,
    digest,
)
from campaigns.harness.recipients import recipient_of
from contracts import identity, lineage, tasks, thefts, transition
from contracts.ballots import AdvanceRound, Share
from contracts.contributions import Withdraw
from contracts.governance import COUNTER, Propose, RecoverKey, RollBackModel, Vote
from contracts.kernel import Message, Place, Write, crypto, limits
from contracts.kernel.types import Purpose
from contracts.membership import CancelRecovery, CompleteRecovery
from contracts.models import RaiseAlarm
from contracts.registry import RULES
from contracts.rounds import OpenRound
from contracts.tasks import LeaveTask
from contracts.transition import Result, Transaction

NAME = "messages"
SIZES = (10**2, 10**4)
REPEATS = 60
_FILL_WRITES = 100_000
Said = tuple[Member, Message]
Case = Callable[[Ledger], Said]


def main() -> int:
    """Measure at each size. Returns the exit status."""
    options = _parser().parse_args()
    rows: list[dict[str, Any]] = []
    for size in options.sizes:
        with tempfile.TemporaryDirectory(prefix="fedledger-bench-") as folder, filled(Path(folder), size) as ledger:
            rows.append({"entries": size, **measured(ledger, options.repeats)})
        record.save(options.output, {"at": record.now(), "revision": record.revision(), "sizes": rows})
        print(rows[-1], flush=True)
    return 0


@contextmanager
def filled(folder: Path, size: int) -> Iterator[Ledger]:
    """A ledger with at most so many entries of state on disk, made of whole rounds."""
    begun = history.begun()
    rounds_before = max(1, (size - len(begun.view.entries)) // history.EACH)
    before = (Write(path, body) for path, body in begun.view.entries.items())
    store = LmdbStore.open(folder)
    try:
        height = 0
        for source in (before, history.decided(begun, rounds_before)):
            while batch := dict(islice(source, _FILL_WRITES)):
                height += 1
                store.commit(height, b"h", batch, app_version=RULES.newest.version)
        with store.snapshot() as snapshot:
            yield Ledger(begun, snapshot)
    finally:
        store.close()


def measured(ledger: Ledger, repeats: int) -> dict[str, Any]:
    """The processor time of each case, and of one verification of a signature between them, in microseconds.

    All take turns, so that whatever else the machine does hits all of them.
    """
    prepared = {name: _prepared(name, ledger.fork()) for name in CASES}
    spent: dict[str, list[float]] = {name: [] for name in CASES}
    verifications: list[float] = []
    gc.collect()
    for _ in range(repeats):
        for name, (decide, verify) in prepared.items():
            spent[name].append(_timed(decide))
            verifications.append(_timed(verify))
    return {
        "verification_us": round(median(verifications) * 1e6, 1),
        "messages_us": {name: round(median(times) * 1e6, 1) for name, times in spent.items()},
    }


def _prepared(name: str, ledger: Ledger) -> tuple[Callable[[], Result], Callable[[], bool]]:
    """What decides a case's message, and what only verifies its signature. Raises ValueError where it is refused."""
    raw = ledger.seal(*CASES[name](ledger))
    view, block, signed = ledger.view, ledger.next_block(), Transaction(raw).envelope

    def decide() -> Result:
        return transition.apply_tx(RULES.newest, view, Transaction(raw), block)

    result = decide()
    if result.code:
        raise ValueError(f"{name} is refused with code {result.code}: {result.log}")
    return decide, lambda: crypto.verify(signed.key, signed.signed, signed.signature)


def _timed(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


# Each message where it is accepted --------------------------------------------------------------


def _number(ledger: Ledger) -> int:
    """Of the newest round."""
    return tasks.TASKS.at(ledger.view, TASK).rounds


def _opened(ledger: Ledger) -> int:
    ledger.submit(LAB, OpenRound(TASK))
    return _number(ledger)


def _reserved(ledger: Ledger) -> int:
    number = _opened(ledger)
    consortium.succeed(ledger, *((hospital, consortium.reserve(number)) for hospital in HOSPITALS))
    return number


def _committed(ledger: Ledger, short_of: int = 0) -> int:
    """All have committed, or all but so many."""
    number = _reserved(ledger)
    base = consortium.round_of(ledger, number).base
    members = HOSPITALS[: len(HOSPITALS) - short_of]
    consortium.succeed(ledger, *((hospital, consortium.commit(number, base=base)) for hospital in members))
    return number


def _agreed(ledger: Ledger) -> int:
    number = _committed(ledger)
    consortium.attest_all(ledger, number)
    return number


def _sealed(ledger: Ledger) -> int:
    number = _agreed(ledger)
    consortium.seal_all(ledger, number)
    return number


def _join(ledger: Ledger) -> Said:
    ledger.submit(LAB, consortium.register_dataset())
    return LAB, consortium.join(terms=history.TERMS)


def _reserve(ledger: Ledger) -> Said:
    return HOSPITAL_A, consortium.reserve(_opened(ledger))


def _withdraw(ledger: Ledger) -> Said:
    number = _opened(ledger)
    ledger.submit(HOSPITAL_A, consortium.reserve(number))
    return HOSPITAL_A, Withdraw(TASK, number)


def _commit(ledger: Ledger) -> Said:
    number = _reserved(ledger)
    return HOSPITAL_A, consortium.commit(number, base=number - 1)


def _last_commit(ledger: Ledger) -> Said:
    number = _committed(ledger, short_of=1)
    return HOSPITALS[-1], consortium.commit(number, base=number - 1)


def _attest(ledger: Ledger) -> Said:
    return HOSPITAL_A, consortium.attest(_committed(ledger))


def _last_attest(ledger: Ledger) -> Said:
    number = _committed(ledger)
    consortium.attest_all(ledger, number, by=VERIFIERS[:-1])
    return VERIFIERS[-1], consortium.attest(number)


def _share(ledger: Ledger) -> Said:
    number = _committed(ledger)
    ledger.submit(HOSPITAL_B, consortium.attest(number))
    return HOSPITAL_B, Share(TASK, number, HOSPITAL_A.name, cid("copy"), 1_000)


def _seal(ledger: Ledger) -> Said:
    number = _agreed(ledger)
    return HOSPITAL_A, consortium.seal(HOSPITAL_A, consortium.candidate(ledger, number), number)


def _open_ballot(ledger: Ledger) -> Said:
    number = _sealed(ledger)
    return HOSPITAL_A, consortium.open_ballot(HOSPITAL_A, consortium.candidate(ledger, number), number)


def _last_open_ballot(ledger: Ledger) -> Said:
    number = _sealed(ledger)
    named = consortium.candidate(ledger, number)
    consortium.open_all(ledger, number, by=VERIFIERS[:-1])
    return VERIFIERS[-1], consortium.open_ballot(VERIFIERS[-1], named, number)


def _advance(ledger: Ledger) -> Said:
    number = _sealed(ledger)
    consortium.open_all(ledger, number, by=VERIFIERS[:-1])
    consortium.let_pass(ledger, number)
    return AUDITOR, AdvanceRound(TASK, number)


def _middle(ledger: Ledger) -> int:
    """A promoted version far down the line: what falls with it is half of all."""
    return max(1, lineage.MODELS.at(ledger.view, MODEL).current // 2)


def _alarm(ledger: Ledger) -> Said:
    return HOSPITAL_A, RaiseAlarm(MODEL, _middle(ledger), digest("evidence"), "unfit")


def _last_alarm(ledger: Ledger) -> Said:
    alarm = RaiseAlarm(MODEL, _middle(ledger), digest("evidence"), "unfit")
    consortium.succeed(ledger, *((verifier, alarm) for verifier in VERIFIERS[:4]))
    return VERIFIERS[4], alarm


def _roll_back(ledger: Ledger) -> Propose:
    return Propose(RollBackModel(MODEL, _middle(ledger) - 1, "because"))


def _vote(ledger: Ledger) -> Said:
    ledger.submit(LAB, _roll_back(ledger))
    return STAND_BY, Vote(COUNTER.at(ledger.view).proposals, approve=True)


def _last_vote(ledger: Ledger) -> Said:
    ledger.submit(LAB, _roll_back(ledger))
    vote = Vote(COUNTER.at(ledger.view).proposals, approve=True)
    consortium.succeed(ledger, *((member, vote) for member in HOSPITALS[:3]))
    return HOSPITALS[3], vote


def _recovering(ledger: Ledger) -> None:
    """The members have voted a human key in for one that lost its own; the delay runs."""
    ledger.submit(LAB, Propose(RecoverKey(HOSPITAL_B.name, HOSPITAL_B.key(Purpose.HUMAN, 1).enrolment())))
    vote = Vote(COUNTER.at(ledger.view).proposals, approve=True)
    consortium.succeed(ledger, *((member, vote) for member in HOSPITALS))


def _cancel_recovery(ledger: Ledger) -> Said:
    _recovering(ledger)
    return HOSPITAL_B, CancelRecovery()


def _complete_recovery(ledger: Ledger) -> Said:
    _recovering(ledger)
    ledger.advance(limits.RECOVERY_DELAY_MS)
    return AUDITOR, CompleteRecovery(HOSPITAL_B.name)


CASES: Final[dict[str, Case]] = {
    "identity/add-key": lambda _: (
        AUDITOR,
        identity.AddKey(AUDITOR.key(Purpose.WORKLOAD, 1).enrolment()),
    ),
    "identity/revoke-key": lambda _: (AUDITOR, identity.RevokeKey(AUDITOR.worker.public)),
    "thefts/report-stolen-key": lambda ledger: (
        AUDITOR,
        thefts.ReportStolenKey(AUDITOR.worker.public, Place(ledger.height, 0)),
    ),
    "identity/change-recipient": lambda _: (AUDITOR, identity.ChangeRecipient(recipient_of("another"))),
    "identity/register-dataset": lambda _: (LAB, consortium.register_dataset()),
    "tasks/join-task": _join,
    "tasks/leave-task": lambda _: (HOSPITAL_A, LeaveTask(TASK)),
    "rounds/open-round": lambda _: (LAB, OpenRound(TASK)),
    "contributions/reserve": _reserve,
    "contributions/withdraw": _withdraw,
    "contributions/commit": _commit,
    "contributions/commit, the barrier": _last_commit,
    "ballots/attest": _attest,
    "ballots/attest, the last": _last_attest,
    "ballots/share": _share,
    "ballots/seal": _seal,
    "ballots/open-ballot": _open_ballot,
    "ballots/open-ballot, deciding": _last_open_ballot,
    "ballots/advance-round, deciding": _advance,
    "models/raise-alarm": _alarm,
    "models/raise-alarm, deciding": _last_alarm,
    "governance/propose, a rollback": lambda ledger: (LAB, _roll_back(ledger)),
    "governance/vote": _vote,
    "governance/vote, deciding": _last_vote,
    "membership/cancel-recovery": _cancel_recovery,
    "membership/complete-recovery": _complete_recovery,
}
"""How each message is accepted, by its tag and, after a comma, in which case."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks messages", description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=lambda text: [int(part) for part in text.split(",")], default=list(SIZES))
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of each case, of which the median is kept")
    parser.add_argument("--output", type=Path, default=record.path_of(NAME))
    return parser


if __name__ == "__main__":
    sys.exit(main())
