"""What is known of an agent before it speaks: its system message, its model and adapter, its tools."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import ChatAgent, Team
from autogen_core.models import ChatCompletionClient
from autogen_core.tools import ToolSchema
from pydantic import BaseModel

from debate_plugin._autogen import all_hear, members, model_named, remembers_nothing, system_messages, tool_schemas
from debate_plugin.pair import Pair
from debate_plugin.question import storable
from debate_plugin.stateless_agent import StatelessAgent


class Participant(BaseModel):
    """One agent; a field is None or empty where the agent's class does not tell."""

    system_message: str | None = None
    model: str | None = None  # by the name that its client asks for; a server's adapters are such names
    adapter: str | None = None  # of the in-process engine
    adapter_sha256: str | None = None  # of that adapter's weights, by which its lineage is found
    tools: tuple[dict[str, Any], ...] = ()  # as OpenAI's function schemas
    is_assistant: bool = False  # an `AssistantAgent`, whose context holds what was said and heard


def participants(*seated: ChatAgent | Team) -> dict[str, Participant]:
    """Each agent that speaks under a name of its own; a team that debates as one has no parts here."""
    return {agent.name: _described(agent) for one in seated for agent in speakers(one)}


def everybody(team: ChatAgent | Team) -> dict[str, Participant]:
    """The agents of a team, those of the teams in it too."""
    return participants(*_leaves(team))


async def is_heard_by_all(team: ChatAgent | Team) -> bool:
    """Whether all that its agents will be shown goes by in its stream: one speaks, all hear, and nothing was before."""
    return all_hear(team) and all([await remembers_nothing(agent) for agent in _leaves(team)])


def speakers(seated: ChatAgent | Team) -> tuple[ChatAgent | Team, ...]:
    """Who speaks in a seat under a name of its own."""
    return (seated.generator, seated.critic) if isinstance(seated, Pair) else (seated,)


def _leaves(team: ChatAgent | Team) -> Iterator[ChatAgent | Team]:
    inside = members(team)
    if not inside:
        yield team
    for one in inside:
        yield from _leaves(one)


def _described(agent: ChatAgent | Team) -> Participant:
    client = getattr(agent, "_model_client", None)
    spoken_with: dict[str, Any] = {}
    if isinstance(client, ChatCompletionClient):
        spoken_with = {
            "model": model_named(client),
            "adapter": getattr(client, "adapter", None),
            "adapter_sha256": getattr(client, "adapter_sha256", None),
        }
    if isinstance(agent, StatelessAgent):
        return Participant(system_message=storable(agent.system_message), **spoken_with)
    if isinstance(agent, AssistantAgent):
        return Participant(
            system_message=storable("\n\n".join(system_messages(agent))) or None,
            is_assistant=True,
            tools=tuple(_function(schema) for schema in tool_schemas(agent)),
            **spoken_with,
        )
    return Participant(**spoken_with)


def _function(schema: ToolSchema) -> dict[str, Any]:
    """AutoGen's schema of a tool as OpenAI writes it."""
    return {
        "type": "function",
        "function": {
            "name": schema["name"],
            "description": schema.get("description", ""),
            "parameters": dict(schema.get("parameters", {})),
        },
    }
