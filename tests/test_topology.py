"""Who hears whom."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from debate_plugin.topology import (
    NAMED,
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


def test_in_a_complete_topology_everybody_hears_all_others() -> None:
    assert complete().hearing(NAMES)["ben"] == ("ada", "cleo", "dan")


def test_in_a_ring_everybody_hears_two_neighbours() -> None:
    heard = ring().hearing(NAMES)
    assert heard == {"ada": ("ben", "dan"), "ben": ("ada", "cleo"), "cleo": ("ben", "dan"), "dan": ("ada", "cleo")}


def test_in_a_chain_everybody_hears_the_one_before() -> None:
    assert chain().hearing(NAMES) == {"ada": (), "ben": ("ada",), "cleo": ("ben",), "dan": ("cleo",)}


def test_in_a_star_the_hub_hears_all_and_all_hear_the_hub() -> None:
    assert star().hearing(NAMES) == {"ada": ("ben", "cleo", "dan"), "ben": ("ada",), "cleo": ("ada",), "dan": ("ada",)}
    assert star("cleo").hearing(NAMES)["ada"] == ("cleo",)
    with pytest.raises(ValueError, match="one of ada, ben, cleo, dan, got 'zoe'"):
        star("zoe").hearing(NAMES)


def test_groups_are_complete_inside_and_meet_over_the_bridge() -> None:
    names = ("a", "b", "c", "d", "e")
    assert groups(2).hearing(names) == {
        "a": ("b", "c"),
        "b": ("a",),
        "c": ("a", "d", "e"),
        "d": ("c", "e"),
        "e": ("c", "d"),
    }
    assert groups(2, bridge=False).hearing(names)["a"] == ("b",)
    with pytest.raises(ValueError, match="at most as many groups as debaters"):
        groups(6).hearing(names)
    with pytest.raises(ValueError, match="at least one group"):
        groups(0)


def test_a_random_topology_is_regular_and_seeded() -> None:
    names = [f"d{seat}" for seat in range(10)]
    heard = random_regular(3, seed=1).hearing(names)
    assert {len(peers) for peers in heard.values()} == {3}
    assert heard == random_regular(3, seed=1).hearing(names)
    assert heard != random_regular(3, seed=2).hearing(names)
    for degree in (10, -1):
        with pytest.raises(ValueError, match="expected a degree below"):
            random_regular(degree).hearing(names)
    with pytest.raises(ValueError, match="is even, got 3"):
        random_regular(3).hearing(names[:5])


def test_edges_and_graphs_of_ones_own() -> None:
    assert edges([("ada", "ben")]).hearing(NAMES) == {"ada": (), "ben": ("ada",), "cleo": (), "dan": ()}
    assert from_graph(nx.path_graph(4)).hearing(NAMES)["ben"] == ("ada", "cleo")
    assert from_graph(nx.DiGraph([("ada", "ben"), ("cleo", "dan")])).hearing(NAMES)["ben"] == ("ada",)


def test_a_topology_may_change_by_round() -> None:
    listed = by_round([ring(), complete()])
    assert listed.hearing(NAMES, 2)["ada"] == ("ben", "dan")
    assert listed.hearing(NAMES, 3)["ada"] == listed.hearing(NAMES, 9)["ada"] == ("ben", "cleo", "dan")
    even = by_round(lambda number: complete() if number % 2 == 0 else chain())
    assert even.hearing(NAMES, 3)["ada"] == ()
    with pytest.raises(ValueError, match="at least one topology"):
        by_round([])


@pytest.mark.parametrize("name", NAMED)
def test_small_tables_are_served_too(name: str) -> None:
    topology = NAMED[name]()
    assert topology.name == name
    assert topology.hearing(("ada",)) == {"ada": ()}
    assert topology.hearing(("ada", "ben"))["ben"] == ("ada",)


def test_a_graph_over_others_is_refused() -> None:
    with pytest.raises(ValueError, match="its nodes must be the debaters' names"):
        edges([("x", "y")]).hearing(NAMES)


def test_nobody_hears_itself() -> None:
    with pytest.raises(ValueError, match="ada hears itself"):
        edges([("ben", "ada"), ("ada", "ada")]).hearing(NAMES)


def test_the_graph_goes_back_to_networkx() -> None:
    graph = ring().graph(NAMES)
    assert isinstance(graph, nx.DiGraph)
    assert nx.is_strongly_connected(graph)
    assert from_graph(graph).hearing(NAMES) == ring().hearing(NAMES)


def test_a_description_names_everybody_and_whom_they_hear() -> None:
    assert chain().describe(("ada", "ben")) == "chain: 2 debaters, 1 edges\nada hears nobody\nben hears ada"
    assert "debater 5 hears debater 1, debater 4" in ring().describe()


def test_a_drawing_has_everybody_and_an_arrow_for_every_edge(tmp_path: Path) -> None:
    chain().draw(tmp_path / "chain.svg", ("ada", "<b>"))
    ring().draw(tmp_path / "ring.svg", 4)
    drawn = (tmp_path / "chain.svg").read_text()
    svg = ElementTree.fromstring(drawn)
    assert [node.text for node in svg.iter("{http://www.w3.org/2000/svg}text")] == ["ada", "<b>"]
    assert drawn.count("marker-end") == 1 and drawn.count("marker-start") == 0
    assert (tmp_path / "ring.svg").read_text().count("marker-start") == 4  # a line with two tips for both ways
    inside = [float(value) for value in re.findall(r'(?:[xy][12]?|c[xy])="([\d.-]+)"', drawn)]
    assert all(0 <= value <= 480 for value in inside)


@given(st.integers(1, 9), st.sampled_from([complete(), ring(), chain(), star(), groups(1), random_regular(0)]))
def test_nobody_hears_itself_or_a_stranger_whatever_the_size(count: int, topology: Topology) -> None:
    names = [f"d{seat}" for seat in range(count)]
    for name, peers in topology.hearing(names).items():
        assert name not in peers
        assert set(peers) <= set(names)
