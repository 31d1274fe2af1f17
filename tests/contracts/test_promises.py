"""Promises: the order at which a limit is held, and that it admits anything."""

from dataclasses import replace

import pytest

from campaigns.harness import consortium
from campaigns.harness.consortium import DELTA_INVERSE, HOSPITAL_A, LIMIT, NEWCOMER, pass_proposal, register_dataset
from contracts.governance import Propose
from contracts.identity import DATASETS, ORGANISATIONS, LimitOverCap
from contracts.kernel import renyi
from contracts.promises import NoRoom, Promise, UnknownOrder
from tests.contracts.admissions import asking
from tests.vectors_io import VectorWriter


@pytest.mark.vectors
def test_an_owner_chooses_the_order_at_which_a_limit_is_held(vector: VectorWriter) -> None:
    """Who knows what the dataset will be used for may do better than the rule."""
    chain = consortium.equipped()
    vector.accepted(chain, HOSPITAL_A, replace(register_dataset("second"), order_milli=9_000))
    assert DATASETS.at(chain.view, ("hospital-a", "second")).promise == Promise(LIMIT, DELTA_INVERSE, 9_000)


def test_the_members_admit_with_a_cap_at_a_delta_and_an_order_of_its_own() -> None:
    chain = consortium.founded()
    pass_proposal(chain, asking(delta_inverse=10**9, order_milli=7_500))
    assert ORGANISATIONS.at(chain.view, "newcomer").cap == Promise(LIMIT, 10**9, 7_500)


@pytest.mark.vectors
def test_an_order_that_is_not_in_the_table(vector: VectorWriter) -> None:
    """Curves hold costs at the table's orders, so nothing could be held to another."""
    wanted = replace(register_dataset("second"), order_milli=5_499)
    facts = vector.refused(consortium.equipped(), UnknownOrder, HOSPITAL_A, wanted)
    assert facts == {"field": "order_milli", "order_milli": 5_499}
    consortium.founded().refused(UnknownOrder, HOSPITAL_A, Propose(asking(order_milli=1_001)))


@pytest.mark.vectors
def test_a_limit_that_admits_no_loss(vector: VectorWriter) -> None:
    """Converting at the order takes all of the limit: not even the cheapest task could ever be paid for."""
    wanted = replace(register_dataset("second"), order_milli=2_000)
    facts = vector.refused(consortium.equipped(), NoRoom, HOSPITAL_A, wanted)
    taken = renyi.offset_at(2_000, DELTA_INVERSE)
    assert facts == {"field": "epsilon_limit", "limit": LIMIT, "taken": taken, "order_milli": 2_000}


def test_room_begins_with_the_first_nano_above_what_converting_takes() -> None:
    chain = consortium.equipped()
    taken = renyi.offset_at(6_000, DELTA_INVERSE)
    chain.refused(NoRoom, HOSPITAL_A, replace(register_dataset("second", taken), order_milli=6_000))
    chain.submit(HOSPITAL_A, replace(register_dataset("second", taken + 1), order_milli=6_000))
    assert chain.refused(NoRoom, HOSPITAL_A, register_dataset("third", 0))["field"] == "epsilon_limit"
    assert chain.refused(NoRoom, HOSPITAL_A, Propose(asking(epsilon_cap=1)))["field"] == "epsilon_cap"


def test_who_has_no_data_has_a_cap_of_zero_and_can_register_nothing() -> None:
    chain = consortium.founded()
    pass_proposal(chain, asking(epsilon_cap=0))
    assert ORGANISATIONS.at(chain.view, "newcomer").cap.epsilon == 0
    chain.refused(LimitOverCap, NEWCOMER, register_dataset("second", 1))
    chain.refused(NoRoom, NEWCOMER, register_dataset("second", 0))
