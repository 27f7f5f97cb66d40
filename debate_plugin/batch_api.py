"""Many requests at half price, within a day: OpenAI's Batch API, and every server that has it.

    {"custom_id": "q7.1.ada", "method": "POST", "url": "/v1/chat/completions", "body": {"model": ..., "messages": ...}}

is a line of the file that is uploaded;

    {"custom_id": "q7.1.ada", "response": {"status_code": 200, "body": {"choices": ...}}, "error": null}

one of those that come back, in any order, in one file for what succeeded and another for what did not.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from autogen_core.models import CreateResult
from pydantic import BaseModel, ValidationError

from debate_plugin import batch_ledger
from debate_plugin.batch_ledger import Submission
from debate_plugin.batches import Request
from debate_plugin.endpoint import errors_of_server, made_once, polled
from debate_plugin.errors import InputError, RunError, needs
from debate_plugin.wire import Wire

with needs("openai"):
    from openai import AsyncOpenAI
    from openai.types import Batch

_ENDPOINT: Final = "/v1/chat/completions"
_NAME = "debate_plugin"  # the metadata that a batch is found again by
_ENDED = ("completed", "failed", "expired", "cancelled")


class BatchApi:
    """Answers requests through batches of a server, each paid for once whatever happens to this process.

    What was submitted is noted in a ledger, a folder (see `batch_ledger`). The same requests asked again, by another
    process too, are answered from what has come back; what is under way is waited for; only what is neither is
    submitted. A request that failed is submitted again when it is asked again. One process at a time uses a ledger.

    Cancelled, a call stops waiting: the batches go on, since they are paid for, and the next call picks them up.
    """

    def __init__(
        self,
        openai: AsyncOpenAI,  # whose server and account take the batches; it is not closed here
        folder: Path,
        *,
        poll_seconds: float = 60.0,
        max_requests: int = 50_000,  # of one batch; OpenAI's limit, as is the next
        max_bytes: int = 200_000_000,
    ) -> None:
        self._openai = openai
        self._ledger = Path(folder)
        self._poll_seconds = poll_seconds
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._submitting = asyncio.Lock()

    async def answers(self, requests: Sequence[Request]) -> list[CreateResult | Exception]:
        """One answer to each request, in their order; what one request ran into is its answer.

        Raises:
            InputError: ids are not unique or too long, a client is none of OpenAI's API, the ledger is damaged, or the
                server refused a file or a batch.
            RunError: the server failed or was not to be reached; asked again, it goes on from there.
        """
        _refuse_unusable_ids(requests)
        wire = Wire()
        read = [await self._line_of(wire, request) for request in requests]
        lines = {line.id: line for line in read if isinstance(line, _Line)}
        with errors_of_server(f"the batches of {self._ledger}"):
            async with self._submitting:
                holders = await self._noted(lines)
                holders |= await self._submitted([line for id, line in lines.items() if id not in holders])
            involved = {holder.name: holder for holder in holders.values()}
            waiting = [asyncio.ensure_future(self._replies(submission)) for submission in involved.values()]
            try:
                came = await asyncio.gather(*waiting)
            finally:
                for one in waiting:  # where one raised, the others need not wait on
                    one.cancel()
        replies = dict(zip(involved, came, strict=True))
        answers: list[CreateResult | Exception] = []
        spoilt: defaultdict[str, set[str]] = defaultdict(set)
        for request, line in zip(requests, read, strict=True):
            if not isinstance(line, _Line):
                answers.append(line)
                continue
            holder = holders[line.id]
            reply = replies[holder.name][line.id]
            answer = await _answer(wire, request, reply)
            answers.append(answer)
            if isinstance(answer, Exception) and isinstance(reply, _Response) and reply.status_code == 200:
                spoilt[holder.name].add(line.id)
        for name, ids in spoilt.items():
            involved[name].forget(ids)
        return answers

    async def _line_of(self, wire: Wire, request: Request) -> _Line | Exception:
        try:
            body = await wire.body(request.client, request.messages)
        except InputError:
            raise
        except Exception as error:  # of the client itself, at messages that it cannot send
            return error
        line = _Line.of(request.id, body)
        if len(line.text) > self._max_bytes:
            return InputError(
                f"expected at most {self._max_bytes} bytes, request {request.id!r} has {len(line.text)}; shorten it"
            )
        return line

    async def _noted(self, lines: dict[str, _Line]) -> dict[str, Submission]:
        """Who holds what was submitted earlier: answered, or under way."""
        holders: dict[str, Submission] = {}
        nameless: dict[str, Submission] = {}
        for submission in batch_ledger.submissions(self._ledger):
            held = {id for id, line in lines.items() if submission.requests.get(id) == line.hash}
            answers = submission.answers if held else None
            held &= held if answers is None else answers.keys()
            if held and answers is None and submission.batch is None:
                nameless[submission.name] = submission
            else:
                holders |= dict.fromkeys(held, submission)
        if nameless:
            found = await self._find(nameless)
            for name, submission in nameless.items():
                if name not in found:
                    submission.drop()  # this process' predecessor died before the server knew of the batch
                    continue
                submission.note_batch(found[name].id)
                held = {id for id, line in lines.items() if submission.requests.get(id) == line.hash}
                holders |= dict.fromkeys(held, submission)
        return holders

    async def _find(self, names: Iterable[str]) -> dict[str, Batch]:
        wanted = set(names)
        return {
            batch.metadata[_NAME]: batch
            async for batch in self._openai.batches.list(limit=100)
            if batch.metadata is not None and batch.metadata.get(_NAME) in wanted
        }

    async def _submitted(self, lines: Sequence[_Line]) -> dict[str, Submission]:
        holders: dict[str, Submission] = {}
        for part in self._parts(lines):
            submission = batch_ledger.begin(self._ledger, {line.id: line.hash for line in part})
            submission.note_batch((await self._create(submission, b"".join(line.text for line in part))).id)
            holders |= {line.id: submission for line in part}
        return holders

    async def _create(self, submission: Submission, content: bytes) -> Batch:
        file = await self._openai.files.create(file=(f"{submission.name}.jsonl", content), purpose="batch")
        once = self._openai.with_options(max_retries=0)

        async def make() -> Batch:
            return await once.batches.create(
                input_file_id=file.id,
                endpoint=_ENDPOINT,
                completion_window="24h",
                metadata={_NAME: submission.name},
            )

        async def find() -> Batch | None:
            return (await self._find([submission.name])).get(submission.name)

        return await made_once(make, find, seconds=self._poll_seconds)

    def _parts(self, lines: Sequence[_Line]) -> Iterator[list[_Line]]:
        """A batch is for one model, and has its limits."""
        by_model: defaultdict[str, list[_Line]] = defaultdict(list)
        for line in lines:
            by_model[line.model].append(line)
        for same_model in by_model.values():
            part: list[_Line] = []
            size = 0
            for line in same_model:
                if part and (len(part) == self._max_requests or size + len(line.text) > self._max_bytes):
                    yield part
                    part, size = [], 0
                part.append(line)
                size += len(line.text)
            yield part

    async def _replies(self, submission: Submission) -> dict[str, _Response | RunError]:
        """What came back for each request of a batch, which is waited for."""
        answers = submission.answers
        if answers is not None:
            return {id: _Response(status_code=200, body=body) for id, body in answers.items()}
        id = submission.batch
        assert id is not None
        batch = await polled(
            lambda: self._openai.batches.retrieve(id), lambda seen: seen.status in _ENDED, seconds=self._poll_seconds
        )
        replies: dict[str, _Response | RunError] = dict.fromkeys(submission.requests, _left_out(batch))
        for file in (batch.output_file_id, batch.error_file_id):
            if file is not None:
                replies |= {id: reply for id, reply in _read(await self._content(file)) if id in submission.requests}
        submission.note_answers(
            {
                id: reply.body
                for id, reply in replies.items()
                if isinstance(reply, _Response) and reply.status_code == 200
            }
        )
        return replies

    async def _content(self, file: str) -> bytes:
        downloaded = await polled(lambda: self._openai.files.content(file), lambda _: True, seconds=self._poll_seconds)
        return downloaded.content


@dataclass(frozen=True)
class _Line:
    """One request as it is written into the file."""

    id: str
    model: str
    hash: str
    text: bytes

    @classmethod
    def of(cls, id: str, body: dict[str, Any]) -> _Line:
        line = {"custom_id": id, "method": "POST", "url": _ENDPOINT, "body": body}
        hash = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        text = json.dumps(line, ensure_ascii=False)
        for other_line_end in "\x85\u2028\u2029":  # not of JSONL, but of Python's splitlines, which servers may use
            text = text.replace(other_line_end, f"\\u{ord(other_line_end):04x}")
        return cls(id, str(body["model"]), hash, text.encode() + b"\n")


class _Response(BaseModel):
    status_code: int
    body: Any = None


class _Error(BaseModel):
    code: str | None = None
    message: str | None = None


class _Returned(BaseModel):
    """One line of what comes back."""

    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


def _read(content: bytes) -> Iterator[tuple[str, _Response | RunError]]:
    """Lines that cannot be read are passed over: whose they were is not to be known."""
    for line in content.split(b"\n"):
        try:
            returned = _Returned.model_validate_json(line)
        except ValidationError:
            continue
        if returned.error is not None:
            yield returned.custom_id, RunError(f"the batch: {returned.error.code}: {returned.error.message}")
        elif returned.response is not None:
            yield returned.custom_id, returned.response


def _left_out(batch: Batch) -> RunError:
    """Why a request has no line in what came back."""
    if batch.errors is not None and batch.errors.data:
        reason = "; ".join(f"{error.code}: {error.message}" for error in batch.errors.data[:3])
    else:
        reason = "no line that can be read in what came back"
    return RunError(f"the batch {batch.id} {batch.status} without an answer to this request ({reason}); ask again")


async def _answer(wire: Wire, request: Request, reply: _Response | RunError) -> CreateResult | Exception:
    if isinstance(reply, RunError):
        return reply
    try:
        return await wire.result(request.client, request.messages, reply.status_code, reply.body)
    except Exception as error:
        return error


def _refuse_unusable_ids(requests: Sequence[Request]) -> None:
    seen: set[str] = set()
    for request in requests:
        if not 1 <= len(request.id) <= 64:
            raise InputError(f"expected ids of 1 to 64 characters, got {request.id!r}; shorten it")
        if request.id in seen:
            raise InputError(f"expected unique ids, got {request.id!r} twice; an answer could not be told from another")
        seen.add(request.id)
