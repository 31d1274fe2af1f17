"""Values as people read them."""

from cli import units
from contracts.privacy_budget import BudgetHeld


def test_an_event_is_told_by_its_declared_fields_each_with_its_unit():
    event = BudgetHeld("hospital-a", "records", epsilon=1_250_000_000, until=0)
    object.__setattr__(event, "_remembered", b"what an event may keep for itself")
    assert units.event_facts(event) == "organisation hospital-a, dataset records, epsilon 1.25, until -"
