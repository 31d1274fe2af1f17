"""What must hold after every block, each as one function over committed state and the books.

These are the invariants of ``docs/protocol.md``, and those that the shell around the rules promises. A checker raises
Violation and names itself; ``CHECKERS`` lists them all. They see one replica: that replicas are equal is held where
they execute a block (``agreement``) and where their stores are compared (``cluster``).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from contracts import contributions, identity, lineage, privacy_budget, reputation, rounds, validators
from contracts.kernel.state_tree import StateTree
from contracts.rounds import Progress
from contracts.transition import STORES

from ..harness.cometbft_blocks import Validator
from .agreement import Block, Violation
from .books import Books
from .members import TERMS_OF
from .purse import Debt

ROOT_EVERY = 16  # Blocks: rebuilding the whole tree is the dearest check, and every restart does it too.


@dataclass(frozen=True)
class Moment:
    """A height on one replica: what it held before and after, and what was answered for it."""

    block: Block
    codes: tuple[int, ...]
    before: dict[bytes, bytes]
    state: dict[bytes, bytes]
    hash_before: bytes
    app_hash: bytes
    books: Books
    told: tuple[Validator, ...]
    """The validators that CometBFT was told of, up to this block."""

    def entries(self, prefix: str) -> Iterator[tuple[bytes, bytes]]:
        """The entries under a path, in no order that matters."""
        start = prefix.encode() + b"/"
        return ((path, body) for path, body in self.state.items() if path.startswith(start))


def debits_are_the_budget_minus_the_remainder(now: Moment) -> None:
    """Accounts hold exactly what accepted commitments cost and live reservations hold; no remainder is negative."""
    accounts: list[tuple[str, Debt, privacy_budget.Account, identity.Promise]] = [
        (
            f"{name}/{dataset}",
            debt,
            privacy_budget.dataset_account(now.state, name, dataset),
            identity.DATASETS.at(now.state, (name, dataset)).promise,
        )
        for (name, dataset), debt in now.books.purse.datasets.items()
    ]
    accounts += [
        (
            name,
            debt,
            privacy_budget.organisation_account(now.state, name),
            identity.ORGANISATIONS.at(now.state, name).cap,
        )
        for name, debt in now.books.purse.organisations.items()
    ]
    time = now.block.time_ms
    for name, debt, account, promise in accounts:
        _hold(account.spent == debt.spent_curve(), f"{name} has spent other than its commitments cost")
        standing = privacy_budget.standing(account, promise, time)
        _hold(
            (promise.epsilon, promise.delta_inverse, promise.order_milli)
            == (debt.limit, debt.delta_inverse, debt.order_milli),
            f"{name} promises other than was stated, or at another order",
        )
        _hold(standing.spent + standing.held == debt.epsilon(time), f"{name} holds back other than its reservations")
        _hold(standing.spent + standing.held <= debt.limit, f"{name} is over its limit {debt.limit}")


def nothing_counts_from_a_revoked_key(now: Moment) -> None:
    """Keys are revoked from exactly the height that was accepted, and commitments carry the key that signed them."""
    for public, enrolled in now.books.keys.items():
        key = identity.KEYS.at(now.state, public)
        _hold(key.revoked_from == enrolled.revoked_from, f"a key is revoked from {key.revoked_from}")
        _hold(key.organisation == enrolled.organisation, "a key changed hands")
    for path, (signer, height) in now.books.commitments.items():
        commitment = contributions.COMMITMENTS.read(now.state[path])
        _hold((commitment.signer, commitment.height) == (signer, height), f"{path!r} names another key or height")


def at_most_one_version_is_promoted(now: Moment) -> None:
    """A model has one promoted version: the current one, once promoted, never fallen."""
    for name, line in now.books.lines.items():
        model = lineage.MODELS.at(now.state, name)
        versions = [lineage.VERSIONS.at(now.state, (name, number)) for number in range(model.latest + 1)]
        promoted = [number for number, one in enumerate(versions) if one.status is lineage.VersionStatus.PROMOTED]
        _hold(promoted == [model.current], f"{name}: promoted are {promoted}, current is {model.current}")
        _hold(model.latest == line.versions, f"{name}: {model.latest} versions, {line.versions} were accepted")
        _hold(model.current == line.current, f"{name}: {model.current} is current, {line.current} was announced")
        _hold(model.current in line.once_promoted, f"{name}: {model.current} was never promoted")
        _hold(model.current not in line.fallen, f"{name}: {model.current} is current and quarantined or rolled back")


def every_object_has_an_accepted_transaction(now: Moment) -> None:
    """What is in state is what accepted transactions put there: nothing more, nothing less."""
    found = dict.fromkeys(path for path in now.state if not path.startswith(b"replay/"))
    missing = sorted(now.books.paths.keys() - found.keys())
    extra = sorted(found.keys() - now.books.paths.keys())
    _hold(not missing, f"{missing[:3]!r} were accepted and are not there")
    _hold(not extra, f"{extra[:3]!r} are there and nothing accepted put them there")


def replay_marks_are_those_of_decided_transactions(now: Moment) -> None:
    """Every authenticated transaction is remembered for as long as it could come again, and no other."""
    marks = dict.fromkeys(path for path in now.state if path.startswith(b"replay/"))
    _hold(marks.keys() == now.books.marks.keys(), f"{len(marks)} replay marks, expected {len(now.books.marks)}")


def refusals_and_empty_blocks_change_nothing(now: Moment) -> None:
    """A block in which nothing was accepted touches replay marks only; an empty one keeps the app hash."""
    if not now.codes:
        _hold(now.app_hash == now.hash_before, "an empty block changed the app hash")
    if 0 not in now.codes:
        kept, before = _without_marks(now.state), _without_marks(now.before)
        _hold(kept == before, "a block of refusals changed state")


def rounds_and_seats_agree_with_contributions(now: Moment) -> None:
    """Seats stand where the contributions are; the next round starts from the current version."""
    for name, number in now.books.rounds.items():
        task = rounds.TASKS.at(now.state, name)
        current = lineage.MODELS.at(now.state, TERMS_OF[name].model).current
        _hold(task.rounds == number, f"{name}: {task.rounds} rounds, {number} were opened")
        _hold(task.base == current, f"{name}: the next round starts from {task.base}, current is {current}")
        if number == 0:
            continue
        last = rounds.ROUNDS.at(now.state, (name, number))
        over = last.status in (rounds.RoundStatus.VOID, rounds.RoundStatus.DECIDED)
        _hold(over or last.base == current, f"{name}: a round is under way on version {last.base}")
        for seat in last.seats:
            key = (name, number, seat.organisation, seat.dataset)
            reserved = contributions.RESERVATIONS.get(now.state, key) is not None
            committed = contributions.COMMITMENTS.get(now.state, key) is not None
            step = (seat.progress is not Progress.INVITED, seat.progress in (Progress.COMMITTED, Progress.PUBLISHED))
            _hold((reserved, committed) == step, f"{name} {number}: the seat of {seat.organisation} disagrees")


def the_validators_are_those_that_cometbft_was_told_of(now: Moment) -> None:
    """The set in state is the one that was voted for, and CometBFT has it; nobody in it can stop the chain alone."""
    seated = validators.SET.at(now.state).validators
    operators = {one.public: one.operator for one in seated}
    _hold(operators == now.books.validators, f"{len(operators)} validators, voted for are {len(now.books.validators)}")
    told = {one.pub_key: one.power for one in now.told}
    _hold({one.public: one.power for one in seated} == told, f"CometBFT was told of {len(told)} validators")
    _hold(len(operators) == len(seated) > 0, "a key is in the set twice, or nobody is")
    held = validators.powers(seated)
    most = max(held.values())
    _hold(3 * most < sum(held.values()), f"an organisation holds {most} of {sum(held.values())}")


def reputation_stays_within_its_bounds(now: Moment) -> None:
    """A score never leaves its range, and a weight never its floor and cap."""
    for _, body in now.entries("reputation/scores"):
        score = reputation.SCORES.read(body)
        _hold(reputation.LOWEST <= score.deviation <= reputation.HIGHEST, "a score left its range")
        weight = reputation.weight(score)
        _hold(reputation.WEIGHT_FLOOR <= weight <= reputation.WEIGHT_CAP, "a weight left its range")


def the_app_hash_is_the_root_of_what_is_stored(now: Moment) -> None:
    """Built anew from the entries alone, the tree has the root that was answered."""
    if now.block.height % ROOT_EVERY == 0:
        root = StateTree(STORES, now.block.height, now.state.items()).root
        _hold(root == now.app_hash, f"what is stored hashes to {root.hex()}, answered was {now.app_hash.hex()}")


CHECKERS: tuple[Callable[[Moment], None], ...] = (
    every_object_has_an_accepted_transaction,
    replay_marks_are_those_of_decided_transactions,
    refusals_and_empty_blocks_change_nothing,
    debits_are_the_budget_minus_the_remainder,
    nothing_counts_from_a_revoked_key,
    at_most_one_version_is_promoted,
    rounds_and_seats_agree_with_contributions,
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


def _hold(condition: bool, why: str) -> None:
    if not condition:
        raise Violation("", why)


def _without_marks(state: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {path: body for path, body in state.items() if not path.startswith(b"replay/")}
