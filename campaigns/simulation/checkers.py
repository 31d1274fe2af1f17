"""What must hold after every block, each as one function over committed state and the books.

These are the invariants of ``docs/protocol.md``, and those that the shell around the rules promises. A checker raises
Violation and names itself; ``CHECKERS`` lists them all, those of a round (``promises``) included. They see one replica:
that replicas are equal is held where they execute a block (``agreement``) and where their stores are compared
(``cluster``). What no acceptance may do is held where it is entered (``books``, ``course``).
"""

from collections.abc import Callable

from contracts import identity, lineage, privacy_budget, reputation, validators
from contracts.kernel.state_tree import StateTree
from contracts.registry import RULES

from . import promises
from .agreement import Violation
from .promises import Moment, accounts, hold

ROOT_EVERY = 16  # Blocks: rebuilding the whole tree is the dearest check, and every restart does it too.


def debits_are_the_budget_minus_the_remainder(now: Moment) -> None:
    """Accounts hold exactly what the rounds cost that must be paid, and what may still have to be; within the limit."""
    for name, debt, account, promise in accounts(now):
        stated = (debt.limit, debt.delta_inverse, debt.order_milli)
        kept = (promise.epsilon, promise.delta_inverse, promise.order_milli)
        hold(kept == stated, f"{name} promises other than was stated, or at another order")
        hold(account.spent == debt.spent_curve(now.block), f"{name} has spent other than its rounds cost")
        standing = privacy_budget.standing(now.state, account, promise)
        whole = standing.spent + standing.held
        hold(whole == debt.epsilon(now.block), f"{name} holds back other than its reservations")
        hold(whole <= debt.limit, f"{name} is over its limit {debt.limit}")


def nothing_counts_from_a_revoked_key(now: Moment) -> None:
    """Keys are revoked from exactly the height that was accepted, and stay whose they were."""
    for public, enrolled in now.books.keys.items():
        key = identity.KEYS.at(now.state, public)
        hold(key.revoked_from == enrolled.revoked_from, f"a key is revoked from {key.revoked_from}")
        hold(key.organisation == enrolled.organisation, "a key changed hands")


def at_most_one_version_is_promoted(now: Moment) -> None:
    """A model has one promoted version: the current one, once promoted, never fallen; and every other has its place."""
    for name, line in now.books.lines.items():
        model = lineage.MODELS.at(now.state, name)
        stands = [lineage.status_of(now.state, name, number) for number in range(model.latest + 1)]
        promoted = [number for number, status in enumerate(stands) if status is lineage.VersionStatus.PROMOTED]
        hold(promoted == [model.current], f"{name}: promoted are {promoted}, current is {model.current}")
        hold(model.current == line.current, f"{name}: {model.current} is current, should be {line.current}")
        hold(model.latest == len(line.versions) - 1, f"{name}: {model.latest} versions, not {len(line.versions) - 1}")
        expected = [line.status(number) for number in range(len(line.versions))]
        hold(stands == expected, f"{name}: versions stand at {stands}, should at {expected}")


def every_object_has_an_accepted_transaction(now: Moment) -> None:
    """What is in state is what accepted transactions put there: nothing more, nothing less."""
    found = dict.fromkeys(path for path in now.state if not path.startswith(b"replay/"))
    expected = now.books.objects()
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    hold(not missing, f"{missing[:3]!r} were accepted and are not there")
    hold(not extra, f"{extra[:3]!r} are there and nothing accepted put them there")


def replay_marks_are_those_of_decided_transactions(now: Moment) -> None:
    """Every authenticated transaction is remembered for as long as it could come again, and no other."""
    marks = dict.fromkeys(path for path in now.state if path.startswith(b"replay/"))
    hold(marks.keys() == now.books.marks.keys(), f"{len(marks)} replay marks, expected {len(now.books.marks)}")


def refusals_and_empty_blocks_change_nothing(now: Moment) -> None:
    """A block in which nothing was accepted touches replay marks only; an empty one keeps the app hash."""
    if not now.codes:
        hold(now.app_hash == now.hash_before, "an empty block changed the app hash")
    if 0 not in now.codes:
        kept, before = _without_marks(now.state), _without_marks(now.before)
        hold(kept == before, "a block of refusals changed state")


def the_validators_are_those_that_cometbft_was_told_of(now: Moment) -> None:
    """The set in state is the one that was voted for, and CometBFT has it; nobody in it can stop the chain alone."""
    seated = validators.SET.at(now.state).validators
    operators = {one.public: one.operator for one in seated}
    hold(operators == now.books.validators, f"{len(operators)} validators, voted for are {len(now.books.validators)}")
    told = {one.pub_key: one.power for one in now.told}
    hold({one.public: one.power for one in seated} == told, f"CometBFT was told of {len(told)} validators")
    hold(len(operators) == len(seated) > 0, "a key is in the set twice, or nobody is")
    held = validators.powers(seated)
    most = max(held.values())
    hold(3 * most < sum(held.values()), f"an organisation holds {most} of {sum(held.values())}")


def reputation_stays_within_its_bounds(now: Moment) -> None:
    """A score never leaves its range, and a weight never its floor and cap."""
    for _, body in now.entries("reputation/scores"):
        score = reputation.SCORES.read(body)
        hold(reputation.LOWEST <= score.deviation <= reputation.HIGHEST, "a score left its range")
        weight = reputation.weight(score)
        hold(reputation.WEIGHT_FLOOR <= weight <= reputation.WEIGHT_CAP, "a weight left its range")


def the_app_hash_is_the_root_of_what_is_stored(now: Moment) -> None:
    """Built anew from the entries alone, the tree has the root that was answered."""
    if now.block.height % ROOT_EVERY == 0:
        root = StateTree(RULES.newest.stores, now.block.height, now.state.items()).root
        hold(root == now.app_hash, f"what is stored hashes to {root.hex()}, answered was {now.app_hash.hex()}")


CHECKERS: tuple[Callable[[Moment], None], ...] = (
    every_object_has_an_accepted_transaction,
    replay_marks_are_those_of_decided_transactions,
    refusals_and_empty_blocks_change_nothing,
    *promises.CHECKERS,
    debits_are_the_budget_minus_the_remainder,
    nothing_counts_from_a_revoked_key,
    at_most_one_version_is_promoted,
    the_validators_are_those_that_cometbft_was_told_of,
    reputation_stays_within_its_bounds,
    the_app_hash_is_the_root_of_what_is_stored,
)
"""In this order: those that others build on come first."""


def check(now: Moment) -> int:
    """Run every checker. Returns how many there are; raises Violation naming the one that failed."""
    for checker in CHECKERS:
        try:
            checker(now)
        except Violation as broken:
            name = checker.__name__.replace("_", " ")
            raise Violation(name, f"height {now.block.height}: {broken.why}") from None
    return len(CHECKERS)


def _without_marks(state: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {path: body for path, body in state.items() if not path.startswith(b"replay/")}
