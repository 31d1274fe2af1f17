"""Plans follow from their seed, and fifty deaths come by everything that a plan is there for."""

from collections import Counter

from campaigns.reliability.plan import Phase, Victim, deaths


def test_a_seed_gives_the_same_plan_and_another_seed_another() -> None:
    assert list(deaths(50, 1)) == list(deaths(50, 1)) != list(deaths(50, 2))


def test_fifty_deaths_kill_every_kind_of_victim_in_every_phase_and_every_validator() -> None:
    plan = list(deaths(50, 1))
    victims, phases = Counter(one.victim for one in plan), Counter(one.phase for one in plan)
    assert victims[Victim.APPLICATION] + victims[Victim.NODE] > 30
    assert victims[Victim.TWO] >= 2
    assert not [victim for victim in Victim if not victims[victim]]
    assert not [phase for phase in Phase if phases[phase] < 3]
    assert {one.validators[0] for one in plan} == {0, 1, 2, 3}


def test_two_victims_are_two_validators() -> None:
    for death in deaths(100, 7):
        assert len(set(death.validators)) == len(death.validators)
        assert death.stops_the_chain == (death.victim in (Victim.TWO, Victim.ALL))
        assert 0 <= death.fraction < 1


def test_a_plan_can_be_all_of_one_kind() -> None:
    for death in deaths(5, 1, victim=Victim.APPLICATION, phase=Phase.COMMITTING):
        assert (death.victim, death.phase) == (Victim.APPLICATION, Phase.COMMITTING)
