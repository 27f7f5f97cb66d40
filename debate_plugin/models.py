"""Models by name: what `--model` means.

abacus          the embedded model (the default)
some/folder     a model folder in the transformers layout, or a hub id
openai:NAME     any OpenAI-compatible server; the key comes from OPENAI_API_KEY
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from autogen_core.models import ChatCompletionClient, ModelFamily, ModelInfo

from debate_plugin import abacus
from debate_plugin.errors import InputError, needs

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from debate_plugin.batches import Batches
    from debate_plugin.engine import Engine

_TIMEOUT_SECONDS = 120  # of one call; the OpenAI client's own default is 600


class Speaker(Protocol):
    """A model that is open: gives out clients with their own sampling settings."""

    def client(self, *, temperature: float, max_tokens: int, seed: int | None) -> ChatCompletionClient: ...

    def batches(self, ledger: Path, *, poll_seconds: float) -> Batches:
        """Its endpoint for batches, looked at every so many seconds; what is submitted is noted in a ledger folder.

        Raises:
            InputError: it has none.
        """
        ...


def folder_of(model: str) -> str:
    """The folder or hub id behind a name, for loading and training.

    Raises:
        InputError: the name means a server, or a path at which nothing is.
    """
    if model.startswith("openai:"):
        raise InputError(
            f"expected a model folder, got {model!r}, which is a server; train on a local folder or hub id"
        )
    if model == "abacus":
        return str(abacus.FOLDER)
    looks_like_path = model.startswith((".", "/", "~")) or model.count("/") > 1
    if looks_like_path and not Path(os.path.expanduser(model)).is_dir():
        raise InputError(f"expected a model folder, there is none at {model}; check the path")
    return os.path.expanduser(model)


def name_of(model: str | Path) -> str:
    """What records call a model: where its folder lies on a machine is not in it."""
    if Path(model) == abacus.FOLDER:
        return "abacus"
    return Path(model).resolve().name if Path(model).is_dir() else str(model)


@asynccontextmanager
async def open_model(
    model: str, *, base_url: str | None = None, adapter: str | Path | None = None
) -> AsyncIterator[Speaker]:
    """Open a model by name and close it in the end.

    Raises:
        InputError: there is no such model or adapter, or the key is missing.
    """
    if model.startswith("openai:"):
        if adapter is not None:
            raise InputError(
                "expected no --adapter with a server, which knows adapters by model name; use --model openai:ADAPTER"
            )
        server = _Server(model.removeprefix("openai:"), base_url)
        try:
            yield server
        finally:
            await server.close()
        return
    if base_url is not None:
        raise InputError(
            f"--base-url goes with --model openai:NAME, got the model {model!r}; add the prefix or drop it"
        )
    from debate_plugin.engine import Engine

    with Engine.load(folder_of(model), adapters={"adapter": adapter} if adapter is not None else None) as engine:
        yield _Local(engine, "adapter" if adapter is not None else None)


class _Local:
    def __init__(self, engine: Engine, adapter: str | None) -> None:
        self._engine = engine
        self._adapter = adapter

    def client(self, *, temperature: float, max_tokens: int, seed: int | None) -> ChatCompletionClient:
        return self._engine.client(adapter=self._adapter, temperature=temperature, max_tokens=max_tokens, seed=seed)

    def batches(self, ledger: Path, *, poll_seconds: float) -> Batches:
        raise InputError("expected --model openai:NAME with --play batch-api, got a local model; play it in lockstep")


class _Server:
    def __init__(self, name: str, base_url: str | None) -> None:
        with needs("openai"):
            import autogen_ext.models.openai  # noqa: F401  # found missing before the first debate, not in it

        key = os.environ.get("OPENAI_API_KEY")
        if not key and base_url is None:
            raise InputError("expected an API key in OPENAI_API_KEY, it is not set; export it or name a --base-url")
        self._name, self._base_url, self._key = name, base_url, key or "none"
        self._to_close: list[ChatCompletionClient | AsyncOpenAI] = []

    def client(self, *, temperature: float, max_tokens: int, seed: int | None) -> ChatCompletionClient:
        # No seed is sent: debaters share a prompt, and a server that honours the seed would give them all one reply.
        from autogen_ext.models.openai import OpenAIChatCompletionClient

        where = {"base_url": self._base_url} if self._base_url is not None else {}
        client = OpenAIChatCompletionClient(
            model=self._name,
            api_key=self._key,
            temperature=temperature,
            max_tokens=max_tokens,
            timeout=_TIMEOUT_SECONDS,
            max_retries=3,
            include_name_in_message=False,
            model_info=ModelInfo(
                vision=False,
                function_calling=True,
                json_output=False,
                family=ModelFamily.UNKNOWN,
                structured_output=False,
            ),
            **where,  # type: ignore[arg-type]  # the TypedDict of the client is not known to be open
        )
        self._to_close.append(client)
        return client

    def batches(self, ledger: Path, *, poll_seconds: float) -> Batches:
        from openai import AsyncOpenAI

        from debate_plugin.batch_api import BatchApi

        server = AsyncOpenAI(api_key=self._key, base_url=self._base_url, timeout=_TIMEOUT_SECONDS, max_retries=3)
        self._to_close.append(server)
        return BatchApi(server, ledger, poll_seconds=poll_seconds)

    async def close(self) -> None:
        # A client left unclosed in a running loop can poison connections made later in it.
        for one in self._to_close:
            await one.close()
