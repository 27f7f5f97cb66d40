"""The cast: ready agents and teams for `debate_plugin`."""

from debate_agents.cleaner import cleaner
from debate_agents.debater import debater
from debate_agents.judge import judge
from debate_agents.presets import debategpt
from debate_agents.summarizer import summarizer

__all__ = ["cleaner", "debategpt", "debater", "judge", "summarizer"]
