"""The cast: ready agents and teams for `debate_plugin`."""

from debate_agents.advocate import advocate
from debate_agents.cleaner import cleaner
from debate_agents.debater import debater
from debate_agents.devil import devil
from debate_agents.judge import judge
from debate_agents.presets import (
    debategpt,
    devils_advocate,
    free_mad,
    groups,
    reconcile,
    society_of_minds,
    sparse,
    two_sides,
    vote_first,
)
from debate_agents.summarizer import summarizer

__all__ = [
    "advocate",
    "cleaner",
    "debategpt",
    "debater",
    "devil",
    "devils_advocate",
    "free_mad",
    "groups",
    "judge",
    "reconcile",
    "society_of_minds",
    "sparse",
    "summarizer",
    "two_sides",
    "vote_first",
]
