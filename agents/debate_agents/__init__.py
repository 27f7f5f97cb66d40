"""The cast: ready agents and teams for `debate_plugin`."""

from debate_agents.cleaner import cleaner
from debate_agents.debater import debater
from debate_agents.judge import judge
from debate_agents.presets import debategpt, society_of_minds, sparse, vote_first
from debate_agents.summarizer import summarizer

__all__ = [
    "cleaner",
    "debategpt",
    "debater",
    "judge",
    "society_of_minds",
    "sparse",
    "summarizer",
    "vote_first",
]
