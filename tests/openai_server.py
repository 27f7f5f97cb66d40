"""A server of OpenAI's files, batches, fine-tuning and chats for tests: real sockets, and OpenAI's own strictness.

Its state is open to the test: what was paid for, what is to become of a request, and where it is to fall silent.
"""

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

MODELS = {"small", "large", "thinker", "caller"}
SETTINGS = {"model", "messages", "temperature", "max_tokens", "seed", "stream", "logprobs", "top_logprobs", "stop"}
BATCH_STATES = ["validating", "in_progress", "finalizing"]
JOB_STATES = ["validating_files", "queued", "running"]


class Refused(Exception):
    """What the server answers instead of doing what it was asked."""

    def __init__(self, message: str, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def expect(holds: object, message: str, code: str | None = None) -> None:
    if not holds:
        raise Refused(message, code=code)


class OpenAIServer:
    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, dict[str, Any]] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.models = set(MODELS)
        self.paid: Counter[str] = Counter()  # how often each custom id was in a batch that was taken
        self.calls: Counter[str] = Counter()  # by method and path
        # What a test may set:
        self.fates: dict[str, str] = {}  # of requests, by custom id: a status, expired, missing, unreadable, nonsense
        self.batch_end = "completed"
        self.job_end = "succeeded"
        self.is_held = False  # nothing ends while it is
        self.falls_silent_after = ""  # a method and path that is carried out and not answered
        self.is_silent = threading.Event()
        self.polled = threading.Event()  # something that is under way was looked at
        self.outages: dict[str, list[int]] = defaultdict(list)  # statuses to answer with, by method and path
        self.lost_answers: set[str] = set()  # carried out once, and answered by an error

    # Files

    async def upload(self, request: Request) -> Any:
        fields = _multipart(request.headers["content-type"], await request.body())
        name, content = fields["file"]
        purpose = fields["purpose"][1].decode()
        expect(purpose in ("batch", "fine-tune"), f"'{purpose}' is not one of ['batch', 'fine-tune'] - 'purpose'")
        expect(name.endswith(".jsonl"), "Invalid file format. Must be .jsonl")
        lines = content.decode().splitlines()
        expect(lines, "File is empty")
        for number, line in enumerate(lines, start=1):
            try:
                expect(isinstance(json.loads(line), dict), f"Line {number} is not an object")
            except ValueError:
                raise Refused(f"Invalid file format. Line {number} is not valid JSON") from None
        return self._add_file(name, purpose, content)

    async def content(self, request: Request) -> Any:
        return Response(self._file(request.path_params["id"])["content"], media_type="application/octet-stream")

    def _add_file(self, name: str, purpose: str, content: bytes) -> dict[str, Any]:
        file = {
            "id": f"file-{len(self.files)}",
            "object": "file",
            "bytes": len(content),
            "created_at": 0,
            "filename": name,
            "purpose": purpose,
            "status": "processed",
        }
        self.files[str(file["id"])] = {**file, "content": content}
        return file

    def _file(self, id: str) -> dict[str, Any]:
        if id not in self.files:
            raise Refused(f"No such File object: {id}", 404)
        return self.files[id]

    def _lines(self, id: str) -> list[Any]:
        return [json.loads(line) for line in self._file(id)["content"].decode().splitlines()]

    # Batches

    async def create_batch(self, request: Request) -> Any:
        body = await request.json()
        expect(body.get("completion_window") == "24h", "Invalid value for completion_window: supported is '24h'")
        expect(body.get("endpoint") == "/v1/chat/completions", "Invalid endpoint")
        metadata = body.get("metadata") or {}
        expect(len(metadata) <= 16, "Too many metadata keys")
        expect(all(len(k) <= 64 and len(v) <= 512 for k, v in metadata.items()), "Metadata is too long")
        file = self._file(body["input_file_id"])
        expect(file["purpose"] == "batch", f"File {file['id']} has purpose {file['purpose']}, expected batch")
        batch = {
            "id": f"batch_{len(self.batches)}",
            "object": "batch",
            "endpoint": body["endpoint"],
            "input_file_id": file["id"],
            "completion_window": "24h",
            "status": "validating",
            "created_at": 0,
            "metadata": metadata,
            "output_file_id": None,
            "error_file_id": None,
            "errors": None,
        }
        self.batches[str(batch["id"])] = batch
        lines = self._lines(file["id"])
        try:
            _check_batch(lines, len(file["content"]))
        except Refused as refused:
            batch["errors"] = {"object": "list", "data": [{"code": refused.code, "message": str(refused)}]}
        else:
            self.paid.update(line["custom_id"] for line in lines)
        return batch

    async def retrieve_batch(self, request: Request) -> Any:
        batch = self._one(self.batches, request)
        self.polled.set()
        if batch["status"] in BATCH_STATES and not self.is_held:
            if batch["errors"]:
                batch["status"] = "failed"
            elif batch["status"] == BATCH_STATES[-1]:
                self._end_batch(batch)
            else:
                batch["status"] = BATCH_STATES[BATCH_STATES.index(batch["status"]) + 1]
        return batch

    def _end_batch(self, batch: dict[str, Any]) -> None:
        batch["status"] = self.batch_end
        if self.batch_end == "failed":
            batch["errors"] = {"data": [{"code": "token_limit_exceeded", "message": "Enqueued token limit reached"}]}
            return
        succeeded: list[str] = []
        others: list[str] = []
        for number, line in enumerate(self._lines(batch["input_file_id"])):
            id = line["custom_id"]
            fate = self.fates.get(id, "200")
            returned: dict[str, Any] = {"id": f"batch_req_{number}", "custom_id": id, "response": None, "error": None}
            if fate == "expired":
                message = "This request could not be executed before the completion window expired."
                others.append(json.dumps({**returned, "error": {"code": "batch_expired", "message": message}}))
            elif fate == "unreadable":
                succeeded.append(json.dumps(returned)[:-9])
            elif fate == "nonsense":
                succeeded.append(json.dumps({**returned, "response": {"status_code": 200, "body": {"choices": []}}}))
            elif fate == "200":
                try:
                    response = {"status_code": 200, "request_id": id, "body": self._chat(line["body"])}
                    succeeded.append(json.dumps({**returned, "response": response}, ensure_ascii=False))
                except Refused as refused:
                    response = {"status_code": refused.status, "request_id": id, "body": _error(refused)}
                    others.append(json.dumps({**returned, "response": response}))
            elif fate != "missing":
                body = _error(Refused("The server had an error", int(fate)))
                others.append(json.dumps({**returned, "response": {"status_code": int(fate), "body": body}}))
        # In no order that anybody could go by.
        for name, lines in (("output", succeeded), ("error", others)):
            if lines:
                content = "".join(f"{line}\n" for line in reversed(lines)).encode()
                batch[f"{name}_file_id"] = self._add_file(f"{name}.jsonl", "batch_output", content)["id"]

    # Fine-tuning

    async def create_job(self, request: Request) -> Any:
        body = await request.json()
        if body.get("model") not in self.models:
            raise Refused(f"The model `{body.get('model')}` does not exist", 404, "model_not_found")
        method = body.get("method") or {"type": "supervised"}
        kind = method["type"]
        expect(kind in ("supervised", "dpo"), f"Invalid method: {kind}")
        expect(set(method) <= {"type", kind}, f"Invalid method: {method}")
        known = {"n_epochs", "batch_size", "learning_rate_multiplier"} | ({"beta"} if kind == "dpo" else set())
        hyperparameters = method.get(kind, {}).get("hyperparameters", {})
        expect(hyperparameters.keys() <= known, f"Unknown hyperparameters: {sorted(hyperparameters.keys() - known)}")
        expect(len(body.get("suffix") or "") <= 64, "suffix is too long")
        for name in ("training_file", "validation_file"):
            if body.get(name) is not None:
                file = self._file(body[name])
                expect(file["purpose"] == "fine-tune", f"File {file['id']} has purpose {file['purpose']}")
                for number, row in enumerate(self._lines(file["id"]), start=1):
                    try:
                        (_check_chat_row if kind == "supervised" else _check_pair)(row)
                    except (Refused, LookupError, TypeError, AttributeError) as error:
                        raise Refused(f"Invalid {name}, line {number}: {error!r}") from None
        job = {
            "id": f"ftjob-{len(self.jobs)}",
            "object": "fine_tuning.job",
            "created_at": 0,
            "model": body["model"],
            "training_file": body["training_file"],
            "validation_file": body.get("validation_file"),
            "hyperparameters": hyperparameters,
            "method": method,
            "seed": body.get("seed", 0),
            "suffix": body.get("suffix"),
            "status": "validating_files",
            "trained_tokens": None,
            "fine_tuned_model": None,
            "error": None,
            "organization_id": "org",
            "result_files": [],
        }
        job["events"] = [f"Created fine-tuning job: {job['id']}"]
        self.jobs[str(job["id"])] = job
        return job

    async def retrieve_job(self, request: Request) -> Any:
        job = self._one(self.jobs, request)
        self.polled.set()
        if job["status"] in JOB_STATES and not self.is_held:
            rows = len(self._lines(job["training_file"]))
            if rows < 10:
                message = f"Training file has {rows} example(s), but must have at least 10 examples"
                job |= {"status": "failed", "error": {"code": "invalid_n_examples", "message": message, "param": None}}
            elif job["status"] == JOB_STATES[-1]:
                job["status"] = self.job_end
                if self.job_end == "succeeded":
                    job["trained_tokens"] = 40 * rows
                    job["fine_tuned_model"] = f"ft:{job['model']}:org:{job['suffix'] or ''}:{job['id'][6:]}"
                    self.models.add(job["fine_tuned_model"])
            else:
                job["status"] = JOB_STATES[JOB_STATES.index(job["status"]) + 1]
            job["events"].append(f"The job is {job['status']}")
        return job

    async def cancel_job(self, request: Request) -> Any:
        job = self._one(self.jobs, request)
        expect(job["status"] in JOB_STATES, f"Job has already ended: {job['status']}")
        job["status"] = "cancelled"
        return job

    async def events(self, request: Request) -> Any:
        told = self._one(self.jobs, request)["events"]
        events = [
            {"id": f"ev-{n}", "object": "fine_tuning.job.event", "created_at": n, "level": "info", "message": message}
            for n, message in enumerate(told)
        ]
        return _page(events[::-1], request)

    # Chats

    async def chat(self, request: Request) -> Any:
        return self._chat(await request.json())

    def _chat(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("model") not in self.models:
            raise Refused(f"The model `{body.get('model')}` does not exist", 404, "model_not_found")
        expect(body.keys() <= SETTINGS, f"Unrecognized request argument supplied: {sorted(body.keys() - SETTINGS)}")
        _check_messages(body["messages"])
        asked = json.dumps([body["messages"], body.get("temperature"), body.get("seed")], sort_keys=True)
        text = f"{hashlib.sha256(asked.encode()).hexdigest()[:8]}\u2028\nAnswer: 4\nConfidence: 80"
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if body["model"] == "thinker":
            message["reasoning_content"] = "Two and two."
        if body["model"] == "caller":
            call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2}'}}
            message["tool_calls"] = [call]
        token = {"token": "4", "logprob": -0.5, "bytes": [52], "top_logprobs": []}
        words = len(asked.split())
        return {
            "id": "chat",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "tool_calls" if body["model"] == "caller" else "stop",
                    "message": message,
                    "logprobs": {"content": [token]} if body.get("logprobs") else None,
                }
            ],
            "usage": {"prompt_tokens": words, "completion_tokens": 5, "total_tokens": words + 5},
        }

    # The server itself

    def _one(self, things: dict[str, dict[str, Any]], request: Request) -> dict[str, Any]:
        id = request.path_params["id"]
        if id not in things:
            raise Refused(f"No object found with id '{id}'", 404)
        return things[id]

    async def list_batches(self, request: Request) -> Any:
        return _page(list(self.batches.values())[::-1], request)

    async def list_jobs(self, request: Request) -> Any:
        return _page(list(self.jobs.values())[::-1], request)

    def _route(self, method: str, path: str, do: Callable[[Request], Awaitable[Any]]) -> Route:
        name = f"{method} {path}"

        async def answer(request: Request) -> Response:
            self.calls[name] += 1
            if self.outages[name]:
                status = self.outages[name].pop(0)
                return JSONResponse(_error(Refused("The server had an error", status)), status)
            try:
                done = await do(request)
            except Refused as refused:
                return JSONResponse(_error(refused), refused.status)
            if name in self.lost_answers:
                self.lost_answers.discard(name)
                return JSONResponse(_error(Refused("Bad gateway", 502)), 502)
            if name == self.falls_silent_after:
                self.is_silent.set()
                while not await request.is_disconnected():
                    await asyncio.sleep(0.02)
            return done if isinstance(done, Response) else JSONResponse(done)

        return Route(f"/v1{path}", answer, methods=[method])

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                self._route("POST", "/files", self.upload),
                self._route("GET", "/files/{id}/content", self.content),
                self._route("POST", "/batches", self.create_batch),
                self._route("GET", "/batches", self.list_batches),
                self._route("GET", "/batches/{id}", self.retrieve_batch),
                self._route("POST", "/fine_tuning/jobs", self.create_job),
                self._route("GET", "/fine_tuning/jobs", self.list_jobs),
                self._route("GET", "/fine_tuning/jobs/{id}", self.retrieve_job),
                self._route("POST", "/fine_tuning/jobs/{id}/cancel", self.cancel_job),
                self._route("GET", "/fine_tuning/jobs/{id}/events", self.events),
                self._route("POST", "/chat/completions", self.chat),
            ]
        )


async def killed_at(moment: threading.Event, module: str, call: str, url: str, folder: Path) -> None:
    """Call `module.call(url, folder)` in a process of its own, which is killed when the moment has come."""
    script = (
        f"import asyncio, pathlib, sys, {module} as t; asyncio.run(t.{call}(sys.argv[1], pathlib.Path(sys.argv[2])))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", script, url, str(folder)], env=environment)
    try:
        assert await asyncio.to_thread(moment.wait, 60)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


@contextmanager
def serving() -> Iterator[OpenAIServer]:
    """A server in a thread of this process, on a free port."""
    state = OpenAIServer()
    config = uvicorn.Config(state.app(), port=0, lifespan="off", log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        thread.join(0.01)
    state.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    try:
        yield state
    finally:
        server.should_exit = True
        thread.join()


def _page(things: list[dict[str, Any]], request: Request) -> dict[str, Any]:
    """At most two a page, so that whoever lists has to turn pages."""
    after = request.query_params.get("after")
    ids = [thing["id"] for thing in things]
    start = ids.index(after) + 1 if after is not None else 0
    stop = start + min(2, int(request.query_params.get("limit", 20)))
    return {"object": "list", "data": things[start:stop], "has_more": stop < len(things)}


def _error(refused: Refused) -> dict[str, Any]:
    error = {"message": str(refused), "type": "invalid_request_error", "param": None, "code": refused.code}
    return {"error": error}


def _multipart(content_type: str, body: bytes) -> dict[str, tuple[str, bytes]]:
    whole = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    fields: dict[str, tuple[str, bytes]] = {}
    for part in whole.walk():
        name = part.get_param("name", header="content-disposition")
        if name is not None:
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            fields[str(name)] = (part.get_filename() or "", content)
    return fields


def _check_batch(lines: list[Any], size: int) -> None:
    expect(len(lines) <= 50_000, "Too many requests in the batch", "too_many_tasks")
    expect(size <= 200_000_000, "The file is too large", "file_too_large")
    for line in lines:
        expect(line.keys() == {"custom_id", "method", "url", "body"}, f"Keys are {sorted(line)}", "invalid_json_line")
        id = line["custom_id"]
        expect(isinstance(id, str) and 1 <= len(id) <= 64, "custom_id has a wrong length", "invalid_custom_id")
        expect(line["method"] == "POST", "The method must be POST", "invalid_method")
        expect(line["url"] == "/v1/chat/completions", "The URL must be the batch's endpoint", "invalid_url")
        expect(not line["body"].get("stream"), "Batches do not stream", "invalid_request")
    expect(len({line["custom_id"] for line in lines}) == len(lines), "custom_id used twice", "duplicate_custom_id")
    expect(len({line["body"]["model"] for line in lines}) == 1, "Use one model per batch", "mismatched_model")


def _check_messages(messages: Any) -> None:
    expect(isinstance(messages, list) and messages, "'messages' is too short")
    open_calls: set[str] = set()
    for place, message in enumerate(messages):
        role = message["role"]
        expect(role in ("system", "developer", "user", "assistant", "tool"), f"Invalid role: {role}")
        expect(role not in ("system", "developer") or place == 0, "system messages come first")
        if role == "tool":
            expect(message["tool_call_id"] in open_calls, "a tool message must follow its tool_calls")
            open_calls.discard(message["tool_call_id"])
        else:
            expect(not open_calls, "tool_calls must be followed by tool messages")
            open_calls = {call["id"] for call in message.get("tool_calls", ())}
        expect(message.get("content") or message.get("tool_calls"), "a message must have content")
        allowed = {"role", "content", "name", "tool_calls", "tool_call_id", "weight"}
        expect(message.keys() <= allowed, f"Unknown keys in a message: {sorted(message.keys() - allowed)}")
        if "weight" in message:
            expect(role == "assistant" and message["weight"] in (0, 1), "weight is 0 or 1, of assistant messages")
    expect(not open_calls, "tool_calls must be followed by tool messages")


def _check_chat_row(row: Any) -> None:
    expect(row.keys() <= {"messages", "tools", "parallel_tool_calls"}, f"Unexpected keys: {sorted(row)}")
    _check_messages(row["messages"])
    said = [message for message in row["messages"] if message["role"] == "assistant"]
    expect(row["messages"][-1]["role"] == "assistant", "the last message must be from the assistant")
    expect(any(message.get("weight", 1) for message in said), "some assistant message must have a weight of 1")


def _check_pair(row: Any) -> None:
    names = {"input", "preferred_output", "non_preferred_output"}
    expect(row.keys() == names, f"Expected the keys {sorted(names)}, got {sorted(row)}")
    expect(row["input"].keys() <= {"messages", "tools", "parallel_tool_calls"}, "Unexpected keys in input")
    _check_messages(row["input"]["messages"])
    expect(row["input"]["messages"][-1]["role"] != "assistant", "the input must not end with the assistant")
    for name in ("preferred_output", "non_preferred_output"):
        expect(len(row[name]) == 1 and row[name][0]["role"] == "assistant", f"{name} must be one assistant message")
        _check_messages(row[name])
