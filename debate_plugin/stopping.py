"""When a debate is over before its last round: conditions on the votes so far, joined with `&` and `|`.

    Plan(rounds=4, stop=agreement(0.8) | stable(2))

Agreement is seldom improved by talking it over (vote first, debate what is disputed), so this saves most of the cost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from debate_plugin.answers import Vote, same_answer
from debate_plugin.question import AnswerKind


@dataclass(frozen=True)
class Stop:
    """A condition on the votes of the rounds held so far; make one with the functions of this module."""

    name: str
    holds: Callable[[AnswerKind, Sequence[Vote]], bool] = field(compare=False, repr=False)
    made_by: Mapping[str, Any] = field(hash=False)
    """The call that made it, as plain data for `from_config`: `{"stop": "agreement", "share": 0.8}`."""

    def __and__(self, other: Stop) -> Stop:
        return Stop(
            f"({self.name} and {other.name})",
            lambda kind, votes: self.holds(kind, votes) and other.holds(kind, votes),
            {"stop": "and", "conditions": [self.made_by, other.made_by]},
        )

    def __or__(self, other: Stop) -> Stop:
        return Stop(
            f"({self.name} or {other.name})",
            lambda kind, votes: self.holds(kind, votes) or other.holds(kind, votes),
            {"stop": "or", "conditions": [self.made_by, other.made_by]},
        )


def agreement(share: float) -> Stop:
    """Of those who answered in the last round at least this share gave the same answer."""
    if not 0 < share <= 1:
        raise ValueError(f"expected a share of agreement above 0 and at most 1, got {share}")
    return Stop(
        f"agreement of {share:g}",
        lambda kind, votes: votes[-1].agreement >= share,
        {"stop": "agreement", "share": share},
    )


def unanimity() -> Stop:
    """All gave the same answer in the last round; who abstained did not."""
    return Stop(
        "unanimity", lambda kind, votes: len(votes[-1].groups) == 1 and not votes[-1].abstained, {"stop": "unanimity"}
    )


def stable(rounds: int = 2) -> Stop:
    """The leading answer was the same in so many rounds in a row."""
    if rounds < 2:
        raise ValueError(f"expected at least two rounds to compare, got {rounds}")

    def holds(kind: AnswerKind, votes: Sequence[Vote]) -> bool:
        last = votes[-rounds:]
        if len(last) < rounds or not all(vote.groups for vote in last):
            return False
        first, *others = (vote.groups[0].answer for vote in last)
        return all(same_answer(kind, first, other) for other in others)

    return Stop(f"stable for {rounds} rounds", holds, {"stop": "stable", "rounds": rounds})


def round_limit(rounds: int) -> Stop:
    """So many rounds were held; to be joined with others, `Plan.rounds` is the limit that always holds."""
    if rounds < 1:
        raise ValueError(f"expected a limit of at least one round, got {rounds}")
    return Stop(f"{rounds} rounds", lambda kind, votes: len(votes) >= rounds, {"stop": "round_limit", "rounds": rounds})


def from_config(config: Mapping[str, Any]) -> Stop:
    """The condition that `Stop.made_by` describes.

    Raises:
        ValueError: there is no condition of that name, or its parameters are others.
    """
    parameters = dict(config)
    name = parameters.pop("stop", None)
    try:
        if name in ("and", "or"):
            first, second = map(from_config, parameters["conditions"])
            return first & second if name == "and" else first | second
        return _MAKERS[name](**parameters)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"expected a stop condition out of {', '.join(_MAKERS)}, and, or, with its parameters, got {dict(config)}"
        ) from error


_MAKERS: dict[Any, Callable[..., Stop]] = {
    "agreement": agreement,
    "unanimity": unanimity,
    "stable": stable,
    "round_limit": round_limit,
}
