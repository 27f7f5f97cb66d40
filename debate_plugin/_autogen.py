"""What autogen-agentchat 0.7.5 does not export; imported and touched here and nowhere else."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from autogen_agentchat.agents import AssistantAgent, SocietyOfMindAgent
from autogen_agentchat.base import ChatAgent, Team
from autogen_agentchat.teams import BaseGroupChat, RoundRobinGroupChat, SelectorGroupChat, Swarm
from autogen_agentchat.teams._group_chat._base_group_chat_manager import BaseGroupChatManager
from autogen_agentchat.teams._group_chat._chat_agent_container import ChatAgentContainer
from autogen_agentchat.teams._group_chat._events import (
    GroupChatPause,
    GroupChatResume,
    GroupChatStart,
    SerializableException,
)
from autogen_agentchat.teams._group_chat._sequential_routed_agent import SequentialRoutedAgent
from autogen_core import EVENT_LOGGER_NAME, SingleThreadedAgentRuntime
from autogen_core.model_context import UnboundedChatCompletionContext
from autogen_core.models import ChatCompletionClient, RequestUsage
from autogen_core.tools import StaticStreamWorkbench, ToolSchema
from opentelemetry import trace

__all__ = [
    "BaseGroupChatManager",
    "ChatAgentContainer",
    "EmbeddedRuntime",
    "GroupChatPause",
    "GroupChatResume",
    "GroupChatStart",
    "OfKnownHandlers",
    "SequentialRoutedAgent",
    "SerializableException",
    "abort",
    "all_hear",
    "connected",
    "count_usage",
    "members",
    "model_client",
    "model_named",
    "more_than_speech",
    "remembers_nothing",
    "renew",
    "system_messages",
    "tool_schemas",
]


class OfKnownHandlers(SequentialRoutedAgent):
    """Finds the handlers of each class once: AutoGen searches the class for them with every agent that it makes."""

    @classmethod
    def _discover_handlers(cls) -> Any:
        return _once(cls, "_discover_handlers", super()._discover_handlers)

    @classmethod
    def _handles_types(cls) -> Any:
        return _once(cls, "_handles_types", super()._handles_types)


class EmbeddedRuntime(SingleThreadedAgentRuntime):
    """Leaves undone what nobody looks at: messages written out for a log that is off, spans where there is no tracer.

    Together they are a fifth of what a debate costs beside its model calls.
    """

    def __init__(self) -> None:
        super().__init__(ignore_unhandled_exceptions=False)  # as AutoGen makes the runtimes of its own teams
        self._is_traced = not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
        if not self._is_traced:
            self._tracer_helper: Any = _Untraced()

    def _try_serialize(self, message: Any) -> str:
        return super()._try_serialize(message) if _events.isEnabledFor(logging.INFO) else ""

    async def _create_otel_attributes(self, *args: Any, **kwargs: Any) -> Mapping[str, str]:
        return await super()._create_otel_attributes(*args, **kwargs) if self._is_traced else {}


class _Untraced:
    def trace_block(self, *args: Any, **kwargs: Any) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


_events = logging.getLogger(EVENT_LOGGER_NAME)
_found: dict[tuple[type, str], Any] = {}


def _once(cls: type, what: str, find: Callable[[], Any]) -> Any:
    if (cls, what) not in _found:
        _found[cls, what] = find()
    return _found[cls, what]


def abort(team: Team) -> None:
    """End what a group chat's members are doing: cancelled, it waits for them, and stays `running` for as long."""
    # A runtime that the user gave may have others at work in it, this debate among them.
    if isinstance(team, BaseGroupChat) and team._embedded_runtime:
        for task in list(getattr(team._runtime, "_background_tasks", ())):
            task.cancel()


def renew(team: Team) -> None:
    """Give a group chat that was cut off new managers: the stock ones keep who was speaking, whatever is loaded."""
    if isinstance(team, BaseGroupChat) and team._embedded_runtime:
        team._runtime = EmbeddedRuntime()
        team._initialized = False


def members(team: ChatAgent | Team) -> Sequence[ChatAgent | Team]:
    """Who is in a group chat, or in an agent that speaks for one; nobody where there is no telling."""
    inner = team._team if isinstance(team, SocietyOfMindAgent) else getattr(team, "team", team)
    return inner._participants if isinstance(inner, BaseGroupChat) else ()


def all_hear(team: ChatAgent | Team) -> bool:
    """Whether it is one assistant, or a group chat of assistants in which one speaks at a time and all hear it."""
    if isinstance(team, RoundRobinGroupChat | SelectorGroupChat | Swarm):
        return all(isinstance(one, ChatAgent) and not members(one) for one in team._participants)
    return isinstance(team, AssistantAgent)


async def remembers_nothing(agent: ChatAgent | Team) -> bool:
    """Whether an assistant's context is empty; other agents have none that can be seen."""
    return not isinstance(agent, AssistantAgent) or not await agent.model_context.get_messages()


def system_messages(agent: AssistantAgent) -> list[str]:
    """AutoGen offers no public reading of them short of dumping the agent with its model client and tools."""
    return [message.content for message in agent._system_messages]


def tool_schemas(agent: AssistantAgent) -> Iterator[ToolSchema]:
    """Of the tools that the agent holds itself, hand-offs included; those of a server are known to the server."""
    for workbench in agent._workbench:
        for tool in getattr(workbench, "_tools", ()):
            yield tool.schema
    for tool in agent._handoff_tools:
        yield tool.schema


def more_than_speech(agent: AssistantAgent) -> str | None:
    """What an assistant does beside sending its whole context to its model and saying what comes back."""
    others = [one for one in agent._workbench if type(one) is not StaticStreamWorkbench]
    if others or next(tool_schemas(agent), None) is not None:
        return "has tools"
    if agent._memory:
        return "has a memory"
    if type(agent.model_context) is not UnboundedChatCompletionContext:
        return f"has a context of its own ({type(agent.model_context).__name__})"
    return "answers in a type of its own" if agent._output_content_type is not None else None


def model_client(agent: ChatAgent) -> ChatCompletionClient:
    """The client that an assistant, or one of our agents, speaks with."""
    client: ChatCompletionClient = agent._model_client  # type: ignore[attr-defined]  # no protocol has it
    return client


def model_named(client: ChatCompletionClient) -> str | None:
    """The model's name, where the client has one: the clients of AutoGen's extensions keep it among their settings."""
    name = getattr(client, "model", None) or getattr(client, "_create_args", {}).get("model")
    return name if isinstance(name, str) else None


def connected(client: ChatCompletionClient, http_client: Any) -> ChatCompletionClient:
    """A double of an OpenAI client, with its settings, that speaks over another connection and asks once."""
    # Not `copy.copy`: the client's own way of being copied connects anew, with keys from its environment.
    double = object.__new__(type(client))
    vars(double).update(vars(client))
    double._client = client._client.with_options(http_client=http_client, max_retries=0)  # type: ignore[attr-defined]  # as above
    return double


def count_usage(client: ChatCompletionClient, usage: RequestUsage) -> None:
    """Count what an OpenAI client's double has used as used by the client."""
    for total in ("_total_usage", "_actual_usage"):
        before: RequestUsage = getattr(client, total)
        prompt, completion = (
            before.prompt_tokens + usage.prompt_tokens,
            before.completion_tokens + usage.completion_tokens,
        )
        setattr(client, total, RequestUsage(prompt_tokens=prompt, completion_tokens=completion))
