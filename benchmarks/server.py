"""A stand-in for an OpenAI-compatible chat server, which gives every call the same answer; and a client for it.

    python benchmarks/server.py [--latency 0.2]

The server answers after a fixed latency. It takes a free port of 127.0.0.1, prints it and serves until it is ended. It
is one bare ASGI function, since a framework would cost more than the answer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from autogen_core.models import ModelFamily, ModelInfo
from autogen_ext.models.openai import OpenAIChatCompletionClient
from starlette.types import Receive, Scope, Send

ANSWER = "Answer: 4"
COMPLETION_TOKENS = 4  # of every answer, so that the tokens a client has used tell its calls

_BODY = json.dumps(
    {
        "id": "answer",
        "object": "chat.completion",
        "created": 0,
        "model": "local",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER}}],
        "usage": {"prompt_tokens": 0, "completion_tokens": COMPLETION_TOKENS, "total_tokens": COMPLETION_TOKENS},
    }
).encode()
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())]


class Server:
    """Answers whatever it is asked."""

    def __init__(self, latency: float) -> None:
        self._latency = latency

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body", False):
            pass
        await asyncio.sleep(self._latency)
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": _BODY})


@contextmanager
def served(latency: float) -> Iterator[str]:
    """The address of such a server in a process of its own."""
    command = [sys.executable, __file__, "--latency", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = process.stdout.readline().strip() if process.stdout is not None else ""
            if not port:
                raise RuntimeError("expected the server to print its port, it ended without; its own error is above")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[OpenAIChatCompletionClient]:
    """One client for all debates: it keeps 100 connections alive, enough for three calls of 32 debates."""
    client = OpenAIChatCompletionClient(
        model="local",
        base_url=url,
        api_key="none",
        timeout=60,
        max_retries=0,  # a call that fails should show
        model_info=ModelInfo(
            vision=False, function_calling=False, json_output=False, family=ModelFamily.UNKNOWN, structured_output=False
        ),
    )
    try:
        yield client
    finally:
        await client.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--latency", type=float, default=0.2, help="seconds from the call to its answer")
    given = parser.parse_args()
    # The protocol is named since asyncio sends small packets at once only on sockets that name it: 40 ms a call.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(
        Server(given.latency),
        lifespan="off",
        log_level="warning",
        access_log=False,
        backlog=1024,
        timeout_keep_alive=600,  # the default of 5 seconds would close connections while the client is between parts
    )
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
