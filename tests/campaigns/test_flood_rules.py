"""What the flood sends is what the rules accept: its tasks go from phase to phase for as long as it likes."""

from campaigns import flood
from campaigns.flood import FLOODER, OPERATORS
from campaigns.harness import consortium, founding
from campaigns.harness.chain import Chain, Member
from contracts import rounds, tasks
from contracts.governance import OpenTask, Propose
from contracts.identity import AddKey
from contracts.kernel import limits
from contracts.kernel.types import Role
from contracts.tasks import JoinTask
from contracts.terms import Phase

FLOODING, ROLES = Member(FLOODER), (Role.DATA_OWNER, Role.AGGREGATOR, Role.VERIFIER)


def test_what_is_due_takes_every_round_to_its_end_and_proposals_are_accepted_at_any_time() -> None:
    operators = [Member(name) for name in OPERATORS]
    founders = [consortium.as_member(one, (Role.OPERATOR, Role.VERIFIER)) for one in operators]
    chain = Chain(founding.genesis(*founders, consortium.as_member(FLOODING, ROLES), operators=operators))
    terms = flood.terms(0)
    chain.submit(FLOODING, AddKey(FLOODING.worker.enrolment(chain.ledger.genesis)))
    chain.submit(FLOODING, consortium.register_dataset())
    consortium.pass_proposal(chain, OpenTask(terms), (FLOODING, *operators))
    chain.submit(FLOODING, JoinTask(terms.task, consortium.DATASET, tasks.terms_digest(terms)))
    met = []
    for turn in range(9):
        last = tasks.TASKS.at(chain.view, terms.task).rounds
        current = rounds.ROUNDS.at(chain.view, (terms.task, last)) if last else None
        if current is not None and current.phase is Phase.ATTESTING:
            chain.advance(flood.AFTER_MS)
        chain.submit(FLOODING, flood.due(0, last, current))
        if turn < limits.OPEN_PROPOSALS_PER_MEMBER:
            chain.submit(FLOODING, Propose(OpenTask(flood.terms(9_999))))
        last = tasks.TASKS.at(chain.view, terms.task).rounds
        met.append((last, rounds.ROUNDS.at(chain.view, (terms.task, last)).phase))
    course = (Phase.RESERVING, Phase.COMMITTING, Phase.ATTESTING, Phase.VOID)
    assert met == [(number, phase) for number in (1, 2, 3) for phase in course][:9]
