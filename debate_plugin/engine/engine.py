"""The in-process model: one thread that gathers the requests of many concurrent debates into batches.

For models of some size point the same team at vLLM or any other OpenAI-compatible server instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

from debate_plugin.errors import InputError, needs
from debate_plugin.lineage import weights_hash
from debate_plugin.models import name_of

with needs("train"):
    import torch
    from transformers import PreTrainedTokenizerBase

from debate_plugin import pretrained
from debate_plugin.engine.adapters import Adapters
from debate_plugin.engine.batch import Batch, context_tokens
from debate_plugin.engine.row import Row
from debate_plugin.engine.sampling import Completion, Prompt, Sampling
from debate_plugin.engine.scheduler import Scheduler

if TYPE_CHECKING:
    from debate_plugin.engine.client import EngineClient


class Engine:
    """One causal model with named LoRA adapters, answering requests from any number of threads and event loops.

    Requests that are under way at the same time share the model's steps, whichever adapters they are for; newcomers
    join and those who are done leave while the others speak. Prompts of similar length share a batch (padding is
    computed too). `max_batch` requests are under way at most; `max_waiting` more may wait, and who comes with more
    waits for a place.

    Use as a context manager, or call `close`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str = "local",
        fingerprint: str | None = None,
        max_batch: int = 256,
        max_waiting: int = 4096,
    ) -> None:
        for setting, value in (("max_batch", max_batch), ("max_waiting", max_waiting)):
            if value < 1:
                raise InputError(f"expected {setting} of at least 1, got {value}")
        self.name = name  # of the model, as transcripts have it
        self._model = model.eval()
        # Adapters know their base by its weights as they were saved, whatever precision it computes in here.
        self._fingerprint = fingerprint or pretrained.fingerprint(model)
        self._tokenizer = tokenizer
        self._adapters = Adapters(model)
        self._hashes: dict[str, str] = {}  # of the adapters' weights, by name
        self._scheduler = Scheduler(
            lambda: Batch(model, tokenizer, self._adapters),
            device=model.device.type,
            max_batch=max_batch,
            max_waiting=max_waiting,
        )

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        adapters: Mapping[str, str | Path] | None = None,
        max_batch: int = 256,
        max_waiting: int = 4096,
        dtype: torch.dtype | None = None,
    ) -> Engine:
        """Load a folder or hub id in the transformers layout; on a GPU, where there is one, in bfloat16.

        `dtype` is the precision to compute in; by default what the model was saved in on a processor.

        Raises:
            InputError: there is no such model, or it has no chat template.
        """
        weights, tokenizer = pretrained.load(model)
        fingerprint = pretrained.fingerprint(weights)
        on_gpu = torch.cuda.is_available()
        weights.to("cuda" if on_gpu else "cpu", dtype or (torch.bfloat16 if on_gpu else weights.dtype))
        engine = cls(
            weights,
            tokenizer,
            name=name_of(model),
            fingerprint=fingerprint,
            max_batch=max_batch,
            max_waiting=max_waiting,
        )
        try:
            for name, folder in (adapters or {}).items():
                engine.add_adapter(name, folder)
        except BaseException:
            engine.close()
            raise
        return engine

    @property
    def context_tokens(self) -> int:
        """How many tokens prompt and reply may have together."""
        return context_tokens(self._model)

    def add_adapter(self, name: str, folder: str | Path) -> None:
        """Load a LoRA adapter folder under a name, while others speak; requests ask for it by that name.

        It waits for the model's current step; in an event loop call it by `asyncio.to_thread`.

        Raises:
            InputError: the name is taken, or the folder has no adapter, or one for another base, or one that changes
                more than linear layers.
            RuntimeError: the engine is closed, or this is its own thread.
        """
        path = pretrained.adapter_folder(folder, fingerprint=self._fingerprint)
        sha256, weights = weights_hash(path), self._adapters.read(path)

        def add() -> None:
            self._adapters.add(name, weights)
            self._hashes[name] = sha256

        self._scheduler.do(add)

    def client(
        self,
        *,
        adapter: str | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_tokens: int = 256,
        stop: tuple[str, ...] = (),
        seed: int | None = None,
    ) -> EngineClient:
        """An AutoGen model client that speaks through this engine, with these settings unless a call names others.

        Debaters share one client: two clients with the same seed say the same to the same prompt.
        """
        from debate_plugin.engine.client import EngineClient

        self._check_adapter(adapter)
        sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens, stop=stop, seed=seed)
        return EngineClient(self, adapter=adapter, sampling=sampling)

    def adapter_sha256(self, adapter: str | None) -> str | None:
        """The SHA-256 of an adapter's weights, by which its lineage is found; None for the base."""
        self._check_adapter(adapter)
        return self._hashes[adapter] if adapter is not None else None

    def encode(self, messages: list[dict[str, str]]) -> tuple[int, ...]:
        """The token ids of a chat up to where the assistant speaks."""
        return tuple(pretrained.prompt_ids(self._tokenizer, messages))

    def decode(self, token: int) -> str:
        """A token as text."""
        return str(self._tokenizer.decode([token]))

    def submit(self, prompt: Prompt) -> Future[Completion]:
        """Queue a request; blocks while the queue is full. A future that is cancelled frees the model of the request.

        Raises:
            InputError: the prompt is empty, has unknown tokens or leaves no room in the model's context, or the adapter
                is unknown.
            RuntimeError: the engine is closed, or this is its own thread.
        """
        self._check(prompt)
        row = self._row(prompt)
        self._scheduler.submit(row)
        return row.result

    async def answer(self, prompt: Prompt) -> Completion:
        """As `submit`, waiting without blocking the event loop; a cancelled wait cancels the request."""
        self._check(prompt)
        row = self._row(prompt)
        await self._scheduler.submitted(row)
        return await asyncio.wrap_future(row.result)

    def close(self) -> None:
        """Finish what is queued, then stop."""
        self._scheduler.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _check(self, prompt: Prompt) -> None:
        self._check_adapter(prompt.adapter)
        tokens = self._model.config.get_text_config().vocab_size
        if not prompt.ids or min(prompt.ids) < 0 or max(prompt.ids) >= tokens:
            came = f"{min(prompt.ids)} to {max(prompt.ids)}" if prompt.ids else "none at all"
            raise InputError(
                f"expected a prompt of tokens from 0 to {tokens - 1}, got {came}; encode it for this model"
            )
        if len(prompt.ids) >= self.context_tokens:
            raise InputError(
                f"expected a prompt below the model's {self.context_tokens} tokens, got {len(prompt.ids)}; shorten "
                "the debate (fewer rounds, digests, sparser topology) or use a model with a longer context"
            )

    def _check_adapter(self, adapter: str | None) -> None:
        if adapter is not None and adapter not in self._hashes:
            known = ", ".join(sorted(self._hashes)) or "none"
            raise InputError(f"the engine has no adapter {adapter!r} (it has: {known}); call add_adapter first")

    def _row(self, prompt: Prompt) -> Row:
        return Row(prompt, tokenizer=self._tokenizer, context_tokens=self.context_tokens, result=Future())
