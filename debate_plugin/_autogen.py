"""What autogen-agentchat 0.7.5 does not export; imported and touched here and nowhere else."""

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from autogen_agentchat.base import Team
from autogen_agentchat.teams import BaseGroupChat
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
    "renew",
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
