"""Upgrades: the members schedule a version, the block before leads the state over, and nothing before it changes."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import BLOCK_MS, Chain, at_height, facts_of
from campaigns.harness.consortium import HOSPITAL_A, HOSPITAL_B, MEMBERS, pass_proposal, register_dataset
from contracts import governance, identity, transition, upgrades
from contracts.governance import CancelUpgrade, ProposalDecided, ProposalStatus, Propose, ScheduleUpgrade, Vote
from contracts.kernel import InvariantBroken, ScanView, Write, limits
from contracts.registry import CONTRACTS, RULES
from contracts.rulebook import Rulebook, UnknownRules
from contracts.transition import MalformedTransaction, Transaction, UnknownMessage
from contracts.upgrades import (
    IN_FORCE,
    InForce,
    NothingScheduled,
    Scheduled,
    UpgradeCancelled,
    UpgradePending,
    UpgradeScheduled,
    UpgradeTooLate,
    UpgradeTooSoon,
    VersionNotAhead,
)
from tests import licences
from tests.licences import BOOK, LICENCES, UNSTATED, VERSION_2, Grant, Licence, LicensedDataset
from tests.vectors_io import VectorWriter

NOTICE = limits.UPGRADE_NOTICE_BLOCKS


@pytest.fixture
def changed_record() -> Iterator[None]:
    with licences.in_the_code():
        yield


def scheduled(chain: Chain, version: int = 2) -> int:
    """The members decide on a version with the least notice; the height."""
    height = chain.height + len(MEMBERS) + NOTICE  # The vote that settles it comes some blocks after the proposal.
    pass_proposal(chain, ScheduleUpgrade(version, height))
    return height


def upgradable() -> Chain:
    """A ledger whose program knows version 2, with a dataset from before."""
    chain = consortium.founded()
    chain.book = BOOK
    chain.submit(HOSPITAL_A, register_dataset())
    return chain


def crossed() -> Chain:
    """The same once version 2 decides its blocks."""
    chain = upgradable()
    at_height(chain, scheduled(chain))
    return chain


# Scheduling -------------------------------------------------------------------------------------


def test_a_ledger_begins_under_the_rules_that_its_genesis_names() -> None:
    assert IN_FORCE.at(consortium.founded().view) == InForce(1, 1, None, None)


@pytest.mark.vectors
def test_the_members_schedule_a_version_for_a_height(vector: VectorWriter) -> None:
    """The vote that settles it writes version and height; the rules stay until then."""
    chain = consortium.founded()
    height = chain.height + 6 + NOTICE
    chain.submit(MEMBERS[0], Propose(ScheduleUpgrade(2, height)))
    for member in MEMBERS[1:4]:
        chain.submit(member, Vote(1, approve=True))
    events = vector.accepted(chain, MEMBERS[4], Vote(1, approve=True))
    assert UpgradeScheduled(2, height) in events
    assert IN_FORCE.at(chain.view) == InForce(1, 1, Scheduled(2, height), None)


@pytest.mark.vectors
def test_a_version_that_is_in_force_is_not_ahead(vector: VectorWriter) -> None:
    """Nobody goes back to earlier rules, nor to the same ones."""
    chain = consortium.founded()
    facts = vector.refused(chain, VersionNotAhead, HOSPITAL_A, Propose(ScheduleUpgrade(1, 10_000)))
    assert facts == {"version": 1, "in_force": 1}


@pytest.mark.vectors
def test_an_upgrade_without_notice_is_too_soon(vector: VectorWriter) -> None:
    """The notice counts from the block of the vote that settles it: here, of the proposal that is tried."""
    chain = consortium.founded()
    soonest = chain.height + 1 + NOTICE
    facts = vector.refused(chain, UpgradeTooSoon, HOSPITAL_A, Propose(ScheduleUpgrade(2, soonest - 1)))
    assert facts == {"height": soonest - 1, "soonest": soonest}


def test_the_least_notice_is_enough_when_one_vote_decides() -> None:
    chain = consortium.founded()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(governance, "quorum", lambda _: 1)
        soonest = chain.height + 1 + NOTICE
        chain.submit(HOSPITAL_A, Propose(ScheduleUpgrade(2, soonest)))
    assert IN_FORCE.at(chain.view).next == Scheduled(2, soonest)


def test_a_vote_that_takes_too_long_leaves_too_little_notice_and_fails_by_code() -> None:
    chain = consortium.founded()
    chain.submit(MEMBERS[0], Propose(ScheduleUpgrade(2, chain.height + 1 + NOTICE)))
    for member in MEMBERS[1:4]:
        chain.submit(member, Vote(1, approve=True))
    events = chain.submit(MEMBERS[4], Vote(1, approve=True))
    assert ProposalDecided(1, ProposalStatus.FAILED, UpgradeTooSoon.code) in events
    assert IN_FORCE.at(chain.view).next is None


@pytest.mark.vectors
def test_a_second_upgrade_waits_for_the_first(vector: VectorWriter) -> None:
    """At most one is scheduled: to change it is to cancel it, and to decide anew."""
    chain = consortium.founded()
    height = scheduled(chain)
    facts = vector.refused(chain, UpgradePending, HOSPITAL_A, Propose(ScheduleUpgrade(3, height + 1_000)))
    assert facts == {"version": 2, "height": height}


# Cancelling -------------------------------------------------------------------------------------


@pytest.mark.vectors
def test_what_is_scheduled_can_be_cancelled_and_another_version_decided_on(vector: VectorWriter) -> None:
    """By the vote that settles it, the rules stay, and nothing is scheduled any more."""
    chain = consortium.founded()
    scheduled(chain)
    chain.submit(MEMBERS[0], Propose(CancelUpgrade(2)))
    for member in MEMBERS[1:4]:
        chain.submit(member, Vote(2, approve=True))
    assert UpgradeCancelled(2) in vector.accepted(chain, MEMBERS[4], Vote(2, approve=True))
    assert IN_FORCE.at(chain.view) == InForce(1, 1, None, None)
    height = scheduled(chain, version=3)
    assert IN_FORCE.at(chain.view).next == Scheduled(3, height)


@pytest.mark.vectors
def test_what_is_not_scheduled_cannot_be_cancelled(vector: VectorWriter) -> None:
    """A cancellation names its version, so it cannot hit another one that was scheduled meanwhile."""
    chain = consortium.founded()
    scheduled(chain)
    assert vector.refused(chain, NothingScheduled, HOSPITAL_A, Propose(CancelUpgrade(3))) == {"version": 3}


def test_a_cancellation_in_the_block_that_leads_over_is_too_late() -> None:
    """A program without the new rules has stopped before this block, and no vote in it could call it back."""
    chain = consortium.founded()
    height = scheduled(chain)
    at_height(chain, height - 2)
    chain.fork().submit(HOSPITAL_A, Propose(CancelUpgrade(2)))
    chain.block()
    chain.book = BOOK  # Whoever decides this block knows the new rules.
    assert chain.next_block().height == height - 1
    with licences.in_the_code():
        assert chain.refused(UpgradeTooLate, HOSPITAL_A, Propose(CancelUpgrade(2)))["last"] == height - 2


@pytest.mark.vectors
def test_a_cancellation_from_the_height_of_its_upgrade_on_is_too_late(vector: VectorWriter) -> None:
    """Put in by hand, because to get there takes the new rules: whoever knows version 1 alone can decide this block."""
    chain = consortium.founded()
    height = chain.next_block().height
    chain.given(IN_FORCE.set(InForce(1, 1, Scheduled(2, height), None)))
    facts = vector.refused(chain, UpgradeTooLate, HOSPITAL_A, Propose(CancelUpgrade(2)))
    assert facts == {"version": 2, "last": height - 2}


# Crossing ---------------------------------------------------------------------------------------


def test_the_block_before_the_height_leads_the_state_over_and_the_next_is_decided_by_the_new_rules(
    changed_record: None,
) -> None:
    chain = upgradable()
    height = scheduled(chain)
    at_height(chain, height - 1)
    assert (chain.rules.version, chain.tree.stores) == (1, RULES.of(1).stores)
    chain.refused(UnknownMessage, HOSPITAL_A, Grant("wdbc", "cc0"))  # The last block under the old rules.
    assert chain.height == height - 1
    assert chain.rules is VERSION_2
    assert chain.tree.stores == (*RULES.of(1).stores, "licences")
    assert IN_FORCE.at(chain.view) == InForce(2, height, None, None)
    chain.submit(HOSPITAL_A, Grant("wdbc", "cc0"))


def test_the_migration_changes_old_records_and_fills_the_new_store(changed_record: None) -> None:
    chain = upgradable()
    body = chain.view.get(identity.DATASETS.path((HOSPITAL_A.name, "wdbc")))
    assert body is not None
    assert b"licence" not in body
    at_height(chain, scheduled(chain))
    changed = identity.DATASETS.at(chain.view, (HOSPITAL_A.name, "wdbc"))
    assert isinstance(changed, LicensedDataset)
    assert changed.licence == UNSTATED
    assert replace(changed, licence="").encode() == body
    assert LICENCES.at(chain.view, (HOSPITAL_A.name, "wdbc")) == Licence(UNSTATED)


def test_what_is_registered_under_the_new_rules_has_the_bytes_that_it_had_before(changed_record: None) -> None:
    chain = crossed()
    chain.submit(HOSPITAL_B, register_dataset())
    body = chain.view.get(identity.DATASETS.path((HOSPITAL_B.name, "wdbc")))
    assert body is not None
    assert b"licence" not in body
    stored = identity.DATASETS.at(chain.view, (HOSPITAL_B.name, "wdbc"))
    assert isinstance(stored, LicensedDataset)
    assert stored.licence == ""


def test_the_bounds_of_a_block_turn_with_the_rules(changed_record: None) -> None:
    assert crossed().rules.limits.block_txs_per_organisation == 3
    assert RULES.of(1).limits.block_txs_per_organisation == limits.BLOCK_TXS_PER_ORGANISATION


def test_a_field_of_later_rules_does_not_exist_for_a_sender(changed_record: None) -> None:
    """A program that knows later rules must refuse under these what a program without them refuses."""
    chain = crossed()
    facts = chain.refused(MalformedTransaction, HOSPITAL_A, Grant("wdbc", "cc0", note="since 3"))
    assert facts["field"] == "*"
    chain.submit(HOSPITAL_A, Grant("wdbc", "cc0"))


def test_an_upgrade_happens_once_also_over_empty_blocks(changed_record: None) -> None:
    chain = crossed()
    root = chain.root
    chain.block()
    chain.block()
    assert chain.root == root


def test_a_program_that_does_not_know_the_version_does_not_go_past_the_block_that_leads_over() -> None:
    chain = consortium.founded()
    height = scheduled(chain)
    at_height(chain, height - 1)
    before = (chain.height, chain.root)
    with pytest.raises(UnknownRules, match="install a fedledger that knows version 2"):
        chain.block()
    assert (chain.height, chain.root) == before


def test_a_replay_from_the_first_block_leads_to_the_same_roots_under_both_rules(changed_record: None) -> None:
    """By whoever knows both, from the bytes alone."""
    chain = crossed()
    chain.submit(HOSPITAL_A, Grant("wdbc", "cc0"))
    again = Chain(consortium.founded_by(), BOOK)
    for step in chain.steps:
        again.advance(step.time_ms - again.time_ms - BLOCK_MS)  # type: ignore[union-attr]
        again.block(*step.txs)  # type: ignore[union-attr]
    assert (again.height, again.root, again.rules) == (chain.height, chain.root, chain.rules)


def test_a_transaction_that_a_node_has_read_under_the_old_rules_is_read_anew(changed_record: None) -> None:
    chain = upgradable()
    known = Transaction(chain.seal(HOSPITAL_A, Grant("wdbc", "cc0"), valid_until=chain.height + 500))
    with pytest.raises(UnknownMessage):
        known.message(chain.rules)
    at_height(chain, scheduled(chain))
    assert transition.apply_tx(chain.rules, chain.view, known, chain.next_block()).code == 0


# Failing ----------------------------------------------------------------------------------------

STATED = Licence("cc0").encode()


def failing(view: ScanView) -> Iterator[Write]:
    yield Write(b"licences/granted/x/y", STATED)
    raise InvariantBroken("a record is not what the migration expects")


def too_much(view: ScanView) -> Iterator[Write]:
    for number in range(limits.MIGRATION_WRITES + 1):
        yield Write(b"licences/granted/x/%d" % number, STATED)


def writing(path: bytes, body: object = STATED) -> Callable[[ScanView], Iterator[Write]]:
    """A migration of one write, which need not be one that a typed path can make."""
    return lambda _view: iter((Write(path, body),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("migration", "why"),
    [
        (failing, "InvariantBroken"),
        (too_much, "more than 10000 writes"),
        (writing(b"nowhere/x"), "is in no store"),
        (writing(b"licences/x:y"), "begins with 'x:'"),
        (writing(b"licences/x:y", None), "begins with 'x:'"),
        (writing(b"licences"), "is not <store>/<key>"),
        (writing(b"licences/granted/" + b"x" * limits.PATH_BYTES), "a path has"),
        (writing(b"licences/refused/x/y"), "nobody reads"),
        (writing(b"licences/granted/x/y", b""), "not canonical"),
        (writing(b"licences/granted/x/y", b"\xa0"), "licence: is missing"),
        (writing(b"licences/granted/x/y", bytes(limits.VALUE_BYTES + 1)), "bytes, at most"),
        (writing(b"licences/granted/x/y", "cc0"), "TypeError"),
    ],
)
def test_an_upgrade_whose_migration_fails_is_called_off_and_the_chain_goes_on(migration: object, why: str) -> None:
    broken = RULES.of(1).then(2, (*CONTRACTS, licences.CONTRACT), migrations=(migration,))  # type: ignore[arg-type]
    chain = upgradable()
    chain.book = Rulebook(RULES.of(1), broken)
    at_height(chain, scheduled(chain) - 1)
    turn = transition.turn(chain.book, chain.rules, chain.view, {}, chain.next_block())
    assert why in turn.failure
    chain.block()
    assert chain.rules.version == 1
    assert IN_FORCE.at(chain.view) == InForce(1, 1, None, 2)
    assert not [path for path in chain.view.entries if path.startswith(b"licences/")]
    chain.submit(HOSPITAL_B, register_dataset())
    assert scheduled(chain, version=3)


def test_as_much_as_the_bound_is_led_over() -> None:
    def just_enough(_view: ScanView) -> Iterator[Write]:
        for number in range(limits.MIGRATION_WRITES):
            yield Write(b"licences/granted/x/%d" % number, STATED)

    rules = RULES.of(1).then(2, (*CONTRACTS, licences.CONTRACT), migrations=(just_enough,))
    chain = upgradable()
    chain.book = Rulebook(RULES.of(1), rules)
    at_height(chain, scheduled(chain))
    assert chain.rules is rules


def test_steps_between_are_taken_in_order() -> None:
    """From 1 to 3 where both lie between: what 2 wrote, 3 sees."""

    def second(_view: ScanView) -> Iterator[Write]:
        yield Write(b"licences/granted/x/y", STATED)

    def third(view: ScanView) -> Iterator[Write]:
        found = [body for _, body in view.scan(b"licences/")]
        yield Write(b"licences/granted/x/z", found[0])

    two = RULES.of(1).then(2, (*CONTRACTS, licences.CONTRACT), migrations=(second,))
    three = two.then(3, (*CONTRACTS, licences.CONTRACT), migrations=(third,))
    chain = upgradable()
    chain.book = Rulebook(RULES.of(1), two, three)
    at_height(chain, scheduled(chain, version=3))
    assert chain.rules is three
    assert chain.view.get(b"licences/granted/x/z") == STATED


def test_only_the_block_before_the_height_is_due() -> None:
    chain = consortium.founded()
    height = scheduled(chain)
    assert upgrades.due(chain.view, height - 1) == Scheduled(2, height)
    assert [upgrades.due(chain.view, other) for other in (height - 2, height, height + 1)] == [None, None, None]


def test_a_genesis_for_rules_that_are_not_known_or_not_given_is_refused() -> None:
    stated = consortium.founded_by(rules=2)
    with pytest.raises(UnknownRules):
        transition.genesis_rules(RULES, stated.encode())
    with pytest.raises(transition.Malformed, match="rules: the genesis is for version 2"):
        transition.genesis(RULES.of(1), stated.encode(), stated.chain_id)


def test_a_ledger_may_begin_under_later_rules(changed_record: None) -> None:
    chain = Chain(consortium.founded_by(rules=2), BOOK)
    chain.submit(HOSPITAL_A, register_dataset())
    chain.submit(HOSPITAL_A, Grant("wdbc", "cc0"))
    assert IN_FORCE.at(chain.view).version == 2
    assert "licences" in chain.tree.stores


def test_facts_of_a_refusal_under_new_rules_are_read_by_who_knows_them(changed_record: None) -> None:
    chain = crossed()
    (result,) = chain.block((HOSPITAL_A, Grant("wdbc", UNSTATED)))
    assert BOOK.refusals[result.code] is licences.SameLicence
    assert facts_of(result) == {"dataset": "wdbc"}
