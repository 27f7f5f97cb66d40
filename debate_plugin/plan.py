"""How a debate is held: everything about it that is not the question and not the agents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from debate_plugin import stopping, topology
from debate_plugin.calibration import Calibration
from debate_plugin.deciding import CRITERIA, Decide
from debate_plugin.directions import Directions
from debate_plugin.stopping import Stop
from debate_plugin.topology import Topology, complete


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a debate is held, whoever takes part."""

    rounds: int = 2  # round 1 are the openings; more than two dense rounds often hurt
    topology: Topology = field(default_factory=complete)
    speaking: Literal["together", "in turn"] = "together"  # in turn: each has heard who spoke before in the same round
    anonymous: bool = True  # the others are heard without their names
    distinct: bool = False  # of replies with the same answer only the surest is heard: fewer tokens, no headcount
    digest: Literal["none", "each"] = "none"  # each: the summarizer merges what each debater may hear
    confidence: Literal["off", "private", "shared"] = "shared"  # whether it is asked for, and heard by the others
    calibration: Calibration | None = None  # what a stated confidence counts for; heard is what was stated
    decide: Decide = "majority"
    judging: Literal["score", "pairwise"] = "score"  # how a judge decides, see `debate_plugin.judging`
    judge_samples: int = 1  # how often the judge is asked each time; the mean counts
    settle: bool = False  # whether the judge is asked after each round if the question is settled
    clean: bool = False  # the cleaner rewrites the decided reply without debate talk
    stop: Stop | None = None  # when no further round is held; None holds them all
    audit: float = 0.0  # share of the debates that `stop` would end which are held to the end, to see what it costs
    quorum: int = 1  # a round with fewer answers decides nothing
    seed: int = 0  # order in which peers are heard
    directions: Directions = field(default_factory=Directions)

    def __post_init__(self) -> None:
        if not 0 <= self.audit <= 1:
            raise ValueError(f"expected a share from 0 to 1 to audit, got {self.audit}")
        for name in ("rounds", "quorum", "judge_samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1, got {getattr(self, name)}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"expected {name} out of {', '.join(choices)}, got {getattr(self, name)!r}")

    @property
    def needs_judge(self) -> bool:
        return self.settle or "judge" in CRITERIA[self.decide]

    def to_config(self) -> dict[str, Any]:
        """The plan as plain data, for `from_config`; raises ValueError where the topology holds a function."""
        config = {one.name: getattr(self, one.name) for one in fields(self)}
        config["topology"] = self.topology.to_config()
        config["stop"] = self.stop.made_by if self.stop is not None else None
        config["calibration"] = asdict(self.calibration) if self.calibration is not None else None
        config["directions"] = asdict(self.directions)
        return config

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Plan:
        """The plan that `to_config` wrote.

        Raises:
            ValueError: a part of it is unknown.
        """
        parts = dict(config)
        if unknown := parts.keys() - {one.name for one in fields(cls)}:
            raise ValueError(f"expected the fields of a Plan, got {', '.join(sorted(unknown))} too")
        try:
            if "topology" in parts:
                parts["topology"] = topology.from_config(parts["topology"])
            if parts.get("stop") is not None:
                parts["stop"] = stopping.from_config(parts["stop"])
            if (calibration := parts.get("calibration")) is not None:
                parts["calibration"] = Calibration(**{name: tuple(values) for name, values in calibration.items()})
            if "directions" in parts:
                parts["directions"] = Directions(**parts["directions"])
        except TypeError as error:
            raise ValueError(
                f"expected the parts of a Plan as `to_config` writes them, got others ({error})"
            ) from error
        return cls(**parts)


_CHOICES: dict[str, tuple[str, ...]] = {
    "speaking": ("together", "in turn"),
    "digest": ("none", "each"),
    "confidence": ("off", "private", "shared"),
    "judging": ("score", "pairwise"),
    "decide": get_args(Decide),
}
