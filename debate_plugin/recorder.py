"""The recorder: passes the stream of any AutoGen team or agent on unchanged and keeps all that went by.

    async for message in recorder.record(team.run_stream(task="..."), of=team):
        ...

A decided debate is kept as a `Transcript`, everything else as a `Conversation`, to whatever end the run came.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from autogen_agentchat.base import ChatAgent, Response, TaskResult, Team
from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage, ModelClientStreamingChunkEvent

from debate_plugin.conversation import Conversation, End, Said
from debate_plugin.errors import InputError, told
from debate_plugin.listener import VERSIONS, Listener
from debate_plugin.messages import DebateDecided, DebateStarted
from debate_plugin.participant import everybody, is_heard_by_all
from debate_plugin.question import storable
from debate_plugin.record import Record
from debate_plugin.store import Store

_Item = TypeVar("_Item")
_logger = logging.getLogger(__name__)


class Recorder:
    """Keeps what is said in a store; one recorder serves any number of teams at once.

    `settings` are noted with each record: models, sampling, whatever its reader should know; plain data.

    What the store cannot take (a full disk, say) ends nobody's run: an error is logged, the record waits in `unsaved`,
    and it is tried again with the next one, or by `save`.

    Raises:
        InputError: the settings cannot be written as JSON, or the run's name is too long.
    """

    def __init__(self, store: Store, *, run: str = "default", settings: Mapping[str, Any] | None = None) -> None:
        try:
            noted = json.loads(json.dumps(_storable(settings or {})))
        except (TypeError, ValueError) as error:
            raise InputError(f"expected settings that can be written as JSON, got others ({error})") from error
        if len(run) > 200:
            raise InputError(f"expected a run name of at most 200 characters, got {len(run)}")
        self._store = store
        self._run = storable(run).replace("\x00", "?")
        self._settings: dict[str, Any] = noted
        self.unsaved: list[Record] = []

    async def record(
        self, stream: AsyncIterator[_Item], *, of: ChatAgent | Team | None = None
    ) -> AsyncGenerator[_Item, None]:
        """The same items, in the same order; what they say is in the store once the stream is over, left or broken.

        `of` is whose stream it is: then system messages, models and tools are noted too.
        """
        listener = Listener(run=self._run, settings=self._settings)
        heard = _Run(everybody_hears=of is not None and await is_heard_by_all(of))
        try:
            async for item in stream:
                transcript = listener.hear(item)
                heard.see(item, decided=transcript.id if transcript is not None else None)
                if transcript is not None:
                    self._keep(transcript)
                yield item
        except GeneratorExit:
            heard.end = "left"
            raise
        except asyncio.CancelledError as error:
            heard.end, heard.error = "cancelled", told(error)
            raise
        except BaseException as error:
            heard.end, heard.error = "failed", told(error)
            raise
        else:
            heard.end = "finished"
        finally:
            try:
                if isinstance(stream, AsyncGenerator):
                    await stream.aclose()  # whoever leaves this stream leaves that one
            finally:
                if not heard.is_one_debate:
                    self._keep(heard.conversation(self._run, self._settings, of))

    def save(self) -> None:
        """Try again to keep what could not be kept.

        Raises:
            InputError: the store still cannot take it.
        """
        waiting, self.unsaved = self.unsaved, []
        failure: Exception | None = None
        for record in waiting:
            try:
                self._store.add(record)
            except Exception as error:  # what one record breaks on must not keep the others out
                self.unsaved.append(record)
                failure = error
        if failure is not None:
            raise failure

    def _keep(self, record: Record) -> None:
        self.unsaved.append(record)
        try:
            self.save()
        except Exception as error:  # it is somebody else's run that this would end
            _logger.error("%d records wait to be saved: %s", len(self.unsaved), error)


class _Run:
    """What one stream has said so far."""

    def __init__(self, *, everybody_hears: bool) -> None:
        self._everybody_hears = everybody_hears
        self.end: End = "left"
        self.error: str | None = None
        self._started, self._clock = datetime.now(UTC), time.monotonic()
        self._said: list[tuple[float, BaseChatMessage | BaseAgentEvent]] = []
        self._pieces: dict[str, list[str]] = {}
        self._ids: set[str] = set()
        self._stop_reason: str | None = None
        self._begun: list[str] = []  # debates
        self._decided: list[str] = []
        self._after_decision: list[int] = []  # for each chat message since a debate began: debates decided before it
        self._tokens = [0, 0]

    @property
    def is_one_debate(self) -> bool:
        """Whether there was nothing but a debate, which its transcript holds whole: its one chat message is its end."""
        return self.end == "finished" and len(self._begun) == len(self._decided) == 1 and self._after_decision == [1]

    def see(self, item: object, *, decided: str | None) -> None:
        match item:
            case TaskResult():
                self._stop_reason = item.stop_reason
                for message in item.messages:
                    self._add(message)
            case Response():
                for message in (*(item.inner_messages or ()), item.chat_message):
                    self._add(message)
            case ModelClientStreamingChunkEvent():
                self._pieces.setdefault(item.source, []).append(item.content)
            case BaseChatMessage() | BaseAgentEvent():
                if isinstance(item, DebateStarted):
                    self._begun.append(item.debate)
                elif isinstance(item, DebateDecided) and decided is not None:
                    self._decided.append(decided)
                self._add(item)
            case _:
                pass

    def _add(self, message: BaseChatMessage | BaseAgentEvent) -> None:
        if message.id in self._ids:
            return  # the result repeats what has streamed by
        self._ids.add(message.id)
        if isinstance(message, BaseChatMessage) and self._begun:
            self._after_decision.append(len(self._decided))
        self._pieces.pop(message.source, None)
        if message.models_usage is not None:
            self._tokens[0] += message.models_usage.prompt_tokens
            self._tokens[1] += message.models_usage.completion_tokens
        self._said.append((time.monotonic() - self._clock, message))

    def conversation(self, run: str, settings: Mapping[str, Any], of: ChatAgent | Team | None) -> Conversation:
        return Conversation(
            id=uuid.uuid4().hex[:24],
            run=run,
            settings=dict(settings),
            participants=everybody(of) if of is not None else {},
            everybody_hears=self._everybody_hears,
            messages=tuple(
                Said(seconds=round(seconds, 3), message=_storable(message.dump())) for seconds, message in self._said
            ),
            unfinished={source: storable("".join(pieces)) for source, pieces in self._pieces.items()},
            end=self.end,
            stop_reason=storable(self._stop_reason) if self._stop_reason is not None else None,
            error=self.error,
            debates=tuple(self._decided),
            prompt_tokens=self._tokens[0],
            completion_tokens=self._tokens[1],
            started=self._started,
            seconds=round(time.monotonic() - self._clock, 3),
            versions=VERSIONS,
        )


def _storable(value: Any) -> Any:
    match value:
        case str():
            return storable(value)
        case Mapping():
            return {storable(str(key)): _storable(part) for key, part in value.items()}
        case list() | tuple():
            return [_storable(part) for part in value]
        case _:
            return value
