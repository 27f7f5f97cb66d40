"""Who hears whom: a directed graph over the debaters' seats, an edge a -> b means that b hears a."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import networkx as nx

Topology = Callable[[Sequence[str]], "nx.DiGraph[str]"]
"""Makes the graph for the debaters at the table, so that one topology serves teams of any size."""


def complete(debaters: Sequence[str]) -> nx.DiGraph[str]:
    """Everybody hears everybody else (Du et al. 2023)."""
    return _relabelled(nx.complete_graph(len(debaters), create_using=nx.DiGraph), debaters)


def ring(debaters: Sequence[str]) -> nx.DiGraph[str]:
    """Everybody hears the two neighbours: sparse edges keep debaters independent for longer (Li et al. 2024)."""
    graph = nx.cycle_graph(len(debaters)).to_directed() if len(debaters) > 1 else nx.empty_graph(len(debaters))
    return _relabelled(nx.DiGraph(graph), debaters)


TOPOLOGIES: dict[str, Topology] = {"complete": complete, "ring": ring}


def hearing(topology: Topology, debaters: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """For each debater the others it hears, in seat order.

    Raises:
        ValueError: the graph's nodes are not the debaters, or somebody hears itself.
    """
    graph = topology(debaters)
    if set(graph.nodes) != set(debaters):
        raise ValueError(
            f"expected a topology over the debaters {', '.join(debaters)}, got one over "
            f"{', '.join(map(str, graph.nodes))}; its nodes must be the debaters' names"
        )
    selfish = [name for name in debaters if graph.has_edge(name, name)]
    if selfish:
        raise ValueError(f"{selfish[0]} hears itself in this topology; remove the edge from a debater to itself")
    return {name: tuple(peer for peer in debaters if graph.has_edge(peer, name)) for name in debaters}


def _relabelled(graph: nx.DiGraph[int], debaters: Sequence[str]) -> nx.DiGraph[str]:
    return nx.relabel_nodes(graph, dict(enumerate(debaters)))
