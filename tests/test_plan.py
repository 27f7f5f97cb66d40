"""Plans as plain data: what is written comes back as it was."""

import json

import networkx as nx
import pytest

from debate_plugin import Calibration, Directions, Plan, stopping, topology
from debate_plugin.stopping import agreement, round_limit, stable, unanimity
from debate_plugin.topology import (
    Topology,
    by_round,
    chain,
    complete,
    edges,
    from_graph,
    groups,
    random_regular,
    ring,
    star,
)

NAMES = ("ada", "ben", "cleo", "dan")
TOPOLOGIES = [
    complete(),
    ring(),
    chain(),
    star(),
    star("ben"),
    groups(2),
    groups(2, bridge=False),
    random_regular(2, seed=3),
    edges([("ada", "ben"), ("cleo", "dan")]),
    from_graph(nx.path_graph(4)),
    by_round([ring(), star("cleo"), by_round([chain()])]),
]


@pytest.mark.parametrize("one", TOPOLOGIES, ids=lambda one: one.name)
def test_a_topology_comes_back_from_json(one: Topology) -> None:
    again = topology.from_config(json.loads(json.dumps(one.to_config())))
    assert again == one
    for number in (2, 3, 4):
        assert again.hearing(NAMES, number) == one.hearing(NAMES, number)


def test_different_topologies_are_not_equal() -> None:
    assert len({json.dumps(one.to_config()) for one in TOPOLOGIES}) == len(TOPOLOGIES)
    assert star() != star("ada") and ring() == ring()


def test_a_topology_that_holds_a_function_says_that_it_is_no_data() -> None:
    changing = by_round(lambda number: ring() if number == 2 else complete())
    with pytest.raises(ValueError, match="give by_round a list"):
        Plan(topology=changing).to_config()


@pytest.mark.parametrize("config", [{}, {"topology": "moebius"}, {"topology": "star", "centre": "ada"}])
def test_an_unknown_topology_is_refused(config: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"expected (a topology|the parameters)"):
        topology.from_config(config)


def test_stop_conditions_come_back_from_json() -> None:
    stop = (agreement(0.8) | stable(2)) & round_limit(3) | unanimity()
    again = stopping.from_config(json.loads(json.dumps(stop.made_by)))
    assert again == stop and again.name == stop.name
    with pytest.raises(ValueError, match="expected a stop condition"):
        stopping.from_config({"stop": "boredom"})


def test_a_plan_comes_back_from_json_with_all_its_parts() -> None:
    plan = Plan(
        rounds=3,
        topology=ring(),
        stop=agreement(0.7),
        calibration=Calibration(stated=(10.0, 90.0), worth=(20.0, 60.0)),
        decide="judge",
        judging="pairwise",
        directions=Directions(check="Check it again: $question $ending"),
    )
    again = Plan.from_config(json.loads(json.dumps(plan.to_config())))
    assert again == plan
    assert again.directions.check == plan.directions.check
    assert Plan.from_config({}) == Plan()
    with pytest.raises(ValueError, match="got tempo too"):
        Plan.from_config({"tempo": "fast"})


def test_a_direction_that_lacks_a_variable_is_refused() -> None:
    with pytest.raises(ValueError, match="the direction 'rank' to use"):
        Directions(rank="Rank them: $replies")
