"""The system prompts that Abacus is trained and measured under: the cast's, the debater's with its default persona."""

from __future__ import annotations

from debate_agents.cleaner import SYSTEM as CLEANER
from debate_agents.debater import SYSTEM as DEBATER_OF_PERSONA
from debate_agents.judge import SYSTEM as JUDGE
from debate_agents.summarizer import SYSTEM as SUMMARIZER

PERSONA = "a careful expert"
DEBATER = DEBATER_OF_PERSONA.substitute(persona=PERSONA)

__all__ = ["CLEANER", "DEBATER", "DEBATER_OF_PERSONA", "JUDGE", "PERSONA", "SUMMARIZER"]
