"""How a debate is held: everything about it that is not the question and not the agents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from debate_plugin.deciding import Decide
from debate_plugin.directions import Directions
from debate_plugin.stopping import Stop
from debate_plugin.topology import Topology, complete


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a debate is held, whoever takes part."""

    rounds: int = 2  # round 1 are the openings; more than two dense rounds often hurt
    topology: Topology = field(default_factory=complete)
    anonymous: bool = True  # the others are heard without their names
    distinct: bool = False  # of replies with the same answer only the surest is heard: fewer tokens, no headcount
    digest: Literal["none", "each"] = "none"  # each: the summarizer merges what each debater may hear
    confidence: Literal["off", "private", "shared"] = "shared"  # whether it is asked for, and heard by the others
    decide: Decide = "majority"
    clean: bool = False  # the cleaner rewrites the decided reply without debate talk
    stop: Stop | None = None  # when no further round is held; None holds them all
    audit: float = 0.0  # share of the debates that `stop` would end which are held to the end, to see what it costs
    quorum: int = 1  # a round with fewer answers decides nothing
    seed: int = 0  # order in which peers are heard
    directions: Directions = field(default_factory=Directions)

    def __post_init__(self) -> None:
        if not 0 <= self.audit <= 1:
            raise ValueError(f"expected a share from 0 to 1 to audit, got {self.audit}")
        for name in ("rounds", "quorum"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1, got {getattr(self, name)}")
