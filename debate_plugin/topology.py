"""Who hears whom: a directed graph over the debaters' seats, an edge a -> b means that b hears a.

    Plan(topology=ring())
    Plan(topology=edges([("ada", "ben"), ("ben", "cleo")]))
    Plan(topology=by_round([ring(), complete()]))        # rounds 2 and 3

Every topology is made for the debaters at the table when the debate is planned, so one topology serves teams of any
size, and can be looked at beforehand: `describe()`, `draw("ring.svg")`, `graph(names)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import cos, hypot, pi, sin
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import networkx as nx

_EXAMPLE = 5  # debaters in a description or a drawing that names none


@dataclass(frozen=True)
class Topology:
    """Who hears whom in each rebuttal round; make one with the functions of this module."""

    name: str
    make: Callable[[Sequence[str], int], nx.DiGraph[str]] = field(compare=False, repr=False)
    """The graph for these debaters in this round (2 is the first in which anybody hears anybody)."""
    made_by: Mapping[str, Any] = field(hash=False)
    """The call that made it: `{"topology": "star", "hub": "ada"}`; what two equal topologies have in common."""
    _known: dict[tuple[tuple[str, ...], int], dict[str, tuple[str, ...]]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def to_config(self) -> dict[str, Any]:
        """The topology as plain data, for `from_config`.

        Raises:
            ValueError: it holds a function, which is no data.
        """
        function = next((value for value in self.made_by.values() if callable(value)), None)
        if function is not None:
            raise ValueError(
                f"the topology {self.name!r} holds the function {function}, which cannot be written as data; "
                "give by_round a list of topologies"
            )
        config = dict(self.made_by)
        if "topologies" in config:
            config["topologies"] = [one.to_config() for one in config["topologies"]]
        return config

    def graph(self, debaters: Sequence[str], round: int = 2) -> nx.DiGraph[str]:
        """The graph over the debaters' names, an edge a -> b where b hears a.

        Raises:
            ValueError: the graph's nodes are not the debaters, or somebody hears itself.
        """
        graph = self.make(debaters, round)
        if set(graph.nodes) != set(debaters):
            raise ValueError(
                f"expected a topology over the debaters {', '.join(debaters)}, got one over "
                f"{', '.join(map(str, graph.nodes))}; its nodes must be the debaters' names"
            )
        selfish = [name for name in debaters if graph.has_edge(name, name)]
        if selfish:
            raise ValueError(f"{selfish[0]} hears itself in this topology; remove the edge from a debater to itself")
        return graph

    def hearing(self, debaters: Sequence[str], round: int = 2) -> dict[str, tuple[str, ...]]:
        """For each debater the others it hears in this round, in seat order; raises as `graph` does."""
        key = tuple(debaters), round
        if key not in self._known:  # a debate asks for each round when it is planned and when it is held
            graph = self.graph(debaters, round)
            self._known[key] = {
                name: tuple(peer for peer in debaters if graph.has_edge(peer, name)) for name in debaters
            }
        return self._known[key]

    def describe(self, debaters: Sequence[str] | int = _EXAMPLE, round: int = 2) -> str:
        """Who hears whom, a line a debater; a number stands for so many debaters without a name."""
        names = _names(debaters)
        hears = self.hearing(names, round)
        edges = sum(map(len, hears.values()))
        lines = [f"{name} hears {', '.join(peers) or 'nobody'}" for name, peers in hears.items()]
        return "\n".join([f"{self.name}: {len(names)} debaters, {edges} edges", *lines])

    def draw(self, path: str | Path, debaters: Sequence[str] | int = _EXAMPLE, round: int = 2) -> None:
        """Write an SVG picture: the debaters in a circle, an arrow from who speaks to who hears."""
        names = _names(debaters)
        Path(path).write_text(_picture(self.name, self.graph(names, round), names), encoding="utf-8")


def complete() -> Topology:
    """Everybody hears everybody else (Du et al. 2023)."""
    return _of_shape("complete", lambda count: nx.complete_graph(count, create_using=nx.DiGraph))


def ring() -> Topology:
    """Everybody hears the two neighbours: sparse edges keep debaters independent for longer (Li et al. 2024)."""
    return _of_shape("ring", lambda count: nx.cycle_graph(count) if count > 2 else nx.complete_graph(count))


def chain() -> Topology:
    """Everybody hears the one before; the first hears nobody and checks itself."""
    return _of_shape("chain", lambda count: nx.path_graph(count, create_using=nx.DiGraph))


def star(hub: str | None = None) -> Topology:
    """The hub hears all, all hear the hub; it is the first debater unless named."""

    def make(debaters: Sequence[str], round: int) -> nx.DiGraph[str]:
        centre = debaters[0] if hub is None else hub
        if centre not in debaters:
            raise ValueError(f"expected a debater as the hub of the star, one of {', '.join(debaters)}, got {centre!r}")
        spokes = [(centre, name) for name in debaters if name != centre]
        return _both_ways(debaters, spokes)

    made_by = {"topology": "star", "hub": hub}
    return Topology("star" if hub is None else f"star around {hub}", make, made_by)


def groups(count: int, *, bridge: bool = True) -> Topology:
    """So many groups of neighbouring seats, in each of which everybody hears everybody.

    Over the bridge the first of each group hears the firsts of the others (compare GroupDebate, 2024).
    """
    if count < 1:
        raise ValueError(f"expected at least one group, got {count}")

    def make(debaters: Sequence[str], round: int) -> nx.DiGraph[str]:
        if count > len(debaters):
            raise ValueError(f"expected at most as many groups as debaters ({len(debaters)}), got {count}")
        bounds = [len(debaters) * place // count for place in range(count + 1)]
        members = [debaters[start:end] for start, end in pairwise(bounds)]
        circles = [*members, [group[0] for group in members]] if bridge else members
        return _both_ways(debaters, [(a, b) for circle in circles for a in circle for b in circle if a != b])

    made_by = {"topology": "groups", "count": count, "bridge": bridge}
    return Topology(f"{count} groups" + ("" if bridge else " without a bridge"), make, made_by)


def random_regular(degree: int, *, seed: int = 0) -> Topology:
    """Everybody hears `degree` others drawn at random, the same ones for the same seed; who is heard hears back."""

    def make(debaters: Sequence[str], round: int) -> nx.DiGraph[str]:
        count = len(debaters)
        if not 0 <= degree < count or degree * count % 2:
            raise ValueError(
                f"expected a degree below the number of debaters ({count}) so that degree * debaters is even, "
                f"got {degree}"
            )
        return _seated(nx.random_regular_graph(degree, count, seed=seed), debaters)

    made_by = {"topology": "random_regular", "degree": degree, "seed": seed}
    return Topology(f"random {degree}-regular, seed {seed}", make, made_by)


def edges(pairs: Iterable[tuple[str, str]]) -> Topology:
    """The pairs (who speaks, who hears it) by name; a debater in none of them hears nobody."""
    kept = [(str(speaker), str(hearer)) for speaker, hearer in pairs]

    def make(debaters: Sequence[str], round: int) -> nx.DiGraph[str]:
        graph: nx.DiGraph[str] = nx.DiGraph(kept)
        graph.add_nodes_from(debaters)
        return graph

    return Topology("edges", make, {"topology": "edges", "pairs": [list(pair) for pair in kept]})


def from_graph(graph: nx.Graph[Any] | Mapping[str, Any]) -> Topology:
    """Any networkx graph over the debaters' names, or over seats 0, 1, ...; undirected edges are heard both ways.

    A mapping is taken as networkx' own node-link data.
    """
    kept = nx.DiGraph(nx.node_link_graph(graph, edges="links") if isinstance(graph, Mapping) else graph)

    def make(debaters: Sequence[str], round: int) -> nx.DiGraph[str]:
        by_seat = set(kept.nodes) == set(range(len(debaters)))
        return _seated(kept, debaters) if by_seat else nx.DiGraph(kept)

    made_by = {"topology": "from_graph", "graph": nx.node_link_data(kept, edges="links")}
    return Topology("graph", make, made_by)


def by_round(topologies: Sequence[Topology] | Callable[[int], Topology]) -> Topology:
    """A topology that changes: a list for rounds 2, 3, ... (the last one stays), or a function of the round."""
    kept: Any = topologies if callable(topologies) else tuple(topologies)
    if callable(topologies):
        chosen = topologies
    else:
        if not topologies:
            raise ValueError("expected at least one topology to change between, got none")
        listed = tuple(topologies)

        def chosen(round: int) -> Topology:
            return listed[min(round - 2, len(listed) - 1)]

    made_by = {"topology": "by_round", "topologies": kept}
    return Topology("by round", lambda debaters, round: chosen(round).make(debaters, round), made_by)


def from_config(config: Mapping[str, Any]) -> Topology:
    """The topology that `Topology.to_config` wrote.

    Raises:
        ValueError: there is no topology of that name, or its parameters are others.
    """
    parameters = dict(config)
    name = parameters.pop("topology", None)
    if name not in _MAKERS:
        raise ValueError(f"expected a topology out of {', '.join(_MAKERS)}, got {name!r}")
    if "topologies" in parameters:
        parameters["topologies"] = [from_config(one) for one in parameters["topologies"]]
    try:
        return _MAKERS[name](**parameters)
    except TypeError as error:
        raise ValueError(f"expected the parameters of the topology {name!r}, got {parameters} ({error})") from error


NAMED: dict[str, Callable[[], Topology]] = {"complete": complete, "ring": ring, "star": star, "chain": chain}
"""The topologies that need no parameter."""

_MAKERS: dict[str, Callable[..., Topology]] = {
    **NAMED,
    "groups": groups,
    "random_regular": random_regular,
    "edges": edges,
    "from_graph": from_graph,
    "by_round": by_round,
}


def _of_shape(name: str, shape: Callable[[int], nx.Graph[int]]) -> Topology:
    return Topology(name, lambda debaters, round: _seated(shape(len(debaters)), debaters), {"topology": name})


def _seated(graph: nx.Graph[int], debaters: Sequence[str]) -> nx.DiGraph[str]:
    return nx.relabel_nodes(nx.DiGraph(graph), dict(enumerate(debaters)))


def _both_ways(debaters: Sequence[str], pairs: Iterable[tuple[str, str]]) -> nx.DiGraph[str]:
    graph: nx.Graph[str] = nx.Graph(pairs)
    graph.add_nodes_from(debaters)
    return nx.DiGraph(graph)


def _names(debaters: Sequence[str] | int) -> Sequence[str]:
    return [f"debater {seat}" for seat in range(1, debaters + 1)] if isinstance(debaters, int) else debaters


_SIZE, _ORBIT, _DOT = 480, 165, 26  # of the picture, the circle of seats and one seat, in pixels

_STYLE = """\
text { font: 14px system-ui, sans-serif; text-anchor: middle; fill: #1f2933 }
circle { fill: #e6effa; stroke: #3566a8; stroke-width: 1.5 }
line { stroke: #7b8794; stroke-width: 1.3 }
marker path { fill: #7b8794 }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e7eb } circle { fill: #243b53; stroke: #9fb3c8 }
  line { stroke: #9aa5b1 } marker path { fill: #9aa5b1 }
}"""


def _picture(name: str, graph: nx.DiGraph[str], names: Sequence[str]) -> str:
    middle = _SIZE / 2
    turns = {debater: 2 * pi * seat / len(names) - pi / 2 for seat, debater in enumerate(names)}
    spot = {one: (middle + _ORBIT * cos(turn), middle + _ORBIT * sin(turn)) for one, turn in turns.items()}
    lines, seats = [], []
    for speaker, hearer in sorted(graph.edges, key=lambda edge: (names.index(edge[0]), names.index(edge[1]))):
        (x, y), (to_x, to_y) = spot[speaker], spot[hearer]
        across, down = (to_x - x) / hypot(to_x - x, to_y - y), (to_y - y) / hypot(to_x - x, to_y - y)
        mutual = ' marker-start="url(#tip)"' if graph.has_edge(hearer, speaker) else ""
        near, far = _DOT + (4 if mutual else 0), _DOT + 4
        ends = (x + near * across, y + near * down, to_x - far * across, to_y - far * down)
        if mutual and names.index(speaker) > names.index(hearer):
            continue  # one line with two tips stands for both
        x1, y1, x2, y2 = (f"{end:.1f}" for end in ends)
        lines.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" marker-end="url(#tip)"{mutual}/>')
    for debater, (x, y) in spot.items():
        out = 1 + (_DOT + 18) / _ORBIT
        label_x, label_y = middle + (x - middle) * out, middle + (y - middle) * out + 5
        seats.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_DOT}"/>')
        seats.append(f'<text x="{label_x:.1f}" y="{label_y:.1f}">{escape(debater)}</text>')
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SIZE} {_SIZE}" role="img">',
            f"<title>{escape(name)}</title>",
            f"<style>{_STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
            'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z"/></marker></defs>',
            *lines,
            *seats,
            "</svg>",
            "",
        ]
    )
