"""Who hears whom."""

from itertools import pairwise

import networkx as nx
import pytest

from debate_plugin.topology import complete, hearing, ring

NAMES = ("ada", "ben", "cleo", "dan")


def test_in_a_complete_topology_everybody_hears_all_others() -> None:
    assert hearing(complete, NAMES)["ben"] == ("ada", "cleo", "dan")


def test_in_a_ring_everybody_hears_two_neighbours() -> None:
    heard = hearing(ring, NAMES)
    assert heard == {"ada": ("ben", "dan"), "ben": ("ada", "cleo"), "cleo": ("ben", "dan"), "dan": ("ada", "cleo")}


@pytest.mark.parametrize("topology", [complete, ring])
def test_small_tables_are_served_too(topology: object) -> None:
    assert hearing(topology, ("ada",)) == {"ada": ()}  # type: ignore[arg-type]
    assert hearing(topology, ("ada", "ben")) == {"ada": ("ben",), "ben": ("ada",)}  # type: ignore[arg-type]


def test_a_graph_over_others_is_refused() -> None:
    with pytest.raises(ValueError, match="its nodes must be the debaters' names"):
        hearing(lambda _: nx.DiGraph([("x", "y")]), NAMES)


def test_nobody_hears_itself() -> None:
    with pytest.raises(ValueError, match="ada hears itself"):
        hearing(lambda names: nx.DiGraph([*[(a, b) for a, b in pairwise(names)], ("ada", "ada")]), NAMES)
