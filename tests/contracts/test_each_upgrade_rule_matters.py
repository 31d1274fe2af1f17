"""Every rule about changing the rules is held by a claim: take the rule away, and the claim falls."""

import contextlib
from collections.abc import Callable

import pytest

from campaigns.harness import consortium
from campaigns.harness.chain import at_height
from campaigns.harness.consortium import HOSPITAL_A
from contracts import upgrades
from contracts.governance import CancelUpgrade, Propose, ScheduleUpgrade
from contracts.kernel import codec, limits
from contracts.rulebook import Rules, UnknownRules
from tests import licences
from tests.contracts import test_upgrades as claims
from tests.contracts.removals import Claim, Rule, always, instead, refusing, require_falls, without


def no_cancellation_in_the_block_that_leads_over() -> None:
    chain = consortium.founded()
    height = claims.scheduled(chain)
    at_height(chain, height - 1)
    chain.book = licences.BOOK
    with licences.in_the_code():
        chain.refused(upgrades.UpgradeTooLate, HOSPITAL_A, Propose(CancelUpgrade(2)))


def only_one_upgrade_is_scheduled() -> None:
    chain = consortium.founded()
    height = claims.scheduled(chain)
    chain.refused(upgrades.UpgradePending, HOSPITAL_A, Propose(ScheduleUpgrade(3, height + 1_000)))


def only_what_is_named_is_cancelled() -> None:
    chain = consortium.founded()
    claims.scheduled(chain)
    chain.refused(upgrades.NothingScheduled, HOSPITAL_A, Propose(CancelUpgrade(3)))


def nobody_goes_on_under_rules_that_it_does_not_know() -> None:
    chain = consortium.founded()
    height = claims.scheduled(chain)
    with contextlib.suppress(UnknownRules):
        at_height(chain, height + 1)
    assert chain.height == height - 2


def crossing(claim: Callable[..., None]) -> Claim:
    """A claim about version 2, in a program that knows it."""

    def known() -> None:
        with licences.in_the_code():
            claim(None)

    return known


def every_field_exists_for_a_sender(patch: pytest.MonkeyPatch) -> None:
    honest = codec.shape_of
    patch.setattr(codec, "shape_of", lambda kind, _version=0: honest(kind))


def the_state_turns_one_block_later(patch: pytest.MonkeyPatch) -> None:
    honest = upgrades.due
    patch.setattr(upgrades, "due", lambda view, height: honest(view, height - 1))


RULES = (
    # When the rules change.
    Rule(
        "rules are not taken back",
        without(upgrades.VersionNotAhead, upgrades),
        refusing(upgrades.VersionNotAhead, ScheduleUpgrade(1, 10_000)),
    ),
    Rule(
        "operators have notice",
        without(upgrades.UpgradeTooSoon, upgrades),
        refusing(upgrades.UpgradeTooSoon, ScheduleUpgrade(2, limits.UPGRADE_NOTICE_BLOCKS)),
    ),
    Rule("one upgrade at a time", without(upgrades.UpgradePending, upgrades), only_one_upgrade_is_scheduled),
    Rule(
        "a cancellation hits what it names",
        without(upgrades.NothingScheduled, upgrades),
        only_what_is_named_is_cancelled,
    ),
    Rule(
        "who has stopped is not called back",
        without(upgrades.UpgradeTooLate, upgrades),
        no_cancellation_in_the_block_that_leads_over,
    ),
    Rule(
        "who does not know the rules stops",
        instead(upgrades, "due", always(None)),
        nobody_goes_on_under_rules_that_it_does_not_know,
    ),
    Rule(
        "the state turns in the block before",
        the_state_turns_one_block_later,
        crossing(claims.test_the_block_before_the_height_leads_the_state_over_and_the_next_is_decided_by_the_new_rules),
    ),
    Rule(
        "the state is led over",
        instead(Rules, "migrated", always(())),
        crossing(claims.test_the_migration_changes_old_records_and_fills_the_new_store),
    ),
    Rule(
        "a later field does not exist before",
        every_field_exists_for_a_sender,
        crossing(claims.test_a_field_of_later_rules_does_not_exist_for_a_sender),
    ),
    Rule(
        "a migration is bounded",
        instead(limits, "MIGRATION_WRITES", 10**6),
        lambda: claims.test_an_upgrade_whose_migration_fails_is_called_off_and_the_chain_goes_on(
            claims.too_much, "more than 10000 writes"
        ),
    ),
    Rule(
        "a migration writes what the tree commits and the rules read",
        instead(Rules, "_require_kept", always(None)),
        lambda: claims.test_an_upgrade_whose_migration_fails_is_called_off_and_the_chain_goes_on(
            claims.writing(b"licences/granted/x/y", b""), "not canonical"
        ),
    ),
)


@pytest.fixture(autouse=True, scope="module")
def stages() -> None:
    """Stages are built once and kept: all of them while every rule is in force."""
    consortium.founded()


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_without_the_rule_its_claim_falls(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    require_falls(rule, monkeypatch)
