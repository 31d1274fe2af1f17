"""Values as people read them."""

from cli import units
from contracts.privacy_budget import BudgetHeld
from contracts.rounds import PhaseBegan
from contracts.terms import Phase


def test_an_event_is_told_by_its_declared_fields_each_with_its_unit():
    began = PhaseBegan("wdbc", 3, Phase.SEALING, until=1_700_000_000_000, until_height=12)
    assert units.event_facts(began).endswith("phase sealing, until 2023-11-14 22:13:20 UTC, until_height 12")
    event = BudgetHeld("hospital-a", "records", epsilon=1_250_000_000)
    object.__setattr__(event, "_remembered", b"what an event may keep for itself")
    assert units.event_facts(event) == "organisation hospital-a, dataset records, epsilon 1.25"
