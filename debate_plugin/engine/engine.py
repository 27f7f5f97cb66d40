"""The in-process model: one thread that gathers the requests of many concurrent debates into batches.

For models of some size point the same team at vLLM or any other OpenAI-compatible server instead.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from debate_plugin.errors import InputError, needs
from debate_plugin.models import name_of

with needs("train"):
    import torch
    from safetensors import SafetensorError
    from transformers import PreTrainedTokenizerBase

from debate_plugin import pretrained
from debate_plugin.engine.sampling import Completion, Prompt, Sampling, context_tokens, sample

if TYPE_CHECKING:
    from debate_plugin.engine.client import EngineClient

_QUIET_SECONDS = 0.004  # a batch starts when no request has come for so long ...
_PATIENCE_SECONDS = 0.04  # ... or when its first request has waited so long


@dataclass(frozen=True, kw_only=True)
class _Request:
    prompt: Prompt
    adapter: str | None
    result: Future[Completion]

    @property
    def batches_with(self) -> tuple[str | None, int]:
        """Requests for one adapter and of similar length share a batch: padding is computed too."""
        return self.adapter, len(self.prompt.ids).bit_length()


class Engine:
    """One causal model with named LoRA adapters, answering requests from any number of threads and event loops.

    Use as a context manager, or call `close`.
    """

    def __init__(
        self, model: Any, tokenizer: PreTrainedTokenizerBase, *, name: str = "local", max_batch: int = 256
    ) -> None:
        if max_batch < 1:
            raise InputError(f"expected max_batch of at least 1, got {max_batch}")
        self.name = name  # of the model, as transcripts have it
        self._model = model.eval()
        self._fingerprint = pretrained.fingerprint(model)  # before adapters change the names of its weights
        self._tokenizer = tokenizer
        self._max_batch = max_batch
        self._adapters: set[str] = set()
        self._model_lock = threading.Lock()
        self._queue: queue.Queue[_Request | None] = queue.Queue()
        self._closed = False
        self._door = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name="debate-engine", daemon=True)
        self._thread.start()

    @classmethod
    def load(
        cls, model: str | Path, *, adapters: Mapping[str, str | Path] | None = None, max_batch: int = 256
    ) -> Engine:
        """Load a folder or hub id in the transformers layout.

        Raises:
            InputError: there is no such model, or it has no chat template.
        """
        weights, tokenizer = pretrained.load(model)
        weights.to("cuda" if torch.cuda.is_available() else "cpu")
        engine = cls(weights, tokenizer, name=name_of(model), max_batch=max_batch)
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
        """Load a LoRA adapter folder under a name; requests ask for it by that name.

        Raises:
            InputError: the name is taken, or there is no adapter in the folder.
        """
        with needs("train"):
            from peft import PeftModel

        if name in self._adapters:
            raise InputError(f"the engine already has an adapter {name!r}; give this one another name")
        path = pretrained.adapter_folder(folder, fingerprint=self._fingerprint)
        try:
            with self._model_lock, pretrained.hushed():
                if isinstance(self._model, PeftModel):
                    self._model.load_adapter(path, adapter_name=name)
                else:
                    self._model = PeftModel.from_pretrained(self._model, path, adapter_name=name)
                self._model.eval()
                self._adapters.add(name)
        except (RuntimeError, ValueError, SafetensorError) as error:
            first_line = str(error).strip().splitlines()[0]
            raise InputError(
                f"expected an adapter made for this base, {folder} does not fit ({first_line}); load its own base"
            ) from error

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

    def encode(self, messages: list[dict[str, str]]) -> tuple[int, ...]:
        """The token ids of a chat up to where the assistant speaks."""
        return tuple(pretrained.prompt_ids(self._tokenizer, messages))

    def submit(self, prompt: Prompt, *, adapter: str | None = None) -> Future[Completion]:
        """Queue a request.

        Raises:
            InputError: the prompt leaves no room in the model's context, or the adapter is unknown.
            RuntimeError: the engine is closed.
        """
        self._check_adapter(adapter)
        if len(prompt.ids) >= self.context_tokens:
            raise InputError(
                f"expected a prompt below the model's {self.context_tokens} tokens, got {len(prompt.ids)}; shorten "
                "the debate (fewer rounds, digests, sparser topology) or use a model with a longer context"
            )
        result: Future[Completion] = Future()
        with self._door:  # nothing comes in behind the sign that the engine closes
            if self._closed:
                raise RuntimeError("the engine is closed; load a new one")
            self._queue.put(_Request(prompt=prompt, adapter=adapter, result=result))
        return result

    def close(self) -> None:
        """Finish what is queued, then stop."""
        with self._door:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _check_adapter(self, adapter: str | None) -> None:
        if adapter is not None and adapter not in self._adapters:
            known = ", ".join(sorted(self._adapters)) or "none"
            raise InputError(f"the engine has no adapter {adapter!r} (it has: {known}); call add_adapter first")

    def _serve(self) -> None:
        waiting: list[_Request] = []
        is_open = True
        while is_open or waiting:
            is_open = self._gather(waiting, is_open=is_open)
            if not waiting:
                continue
            kind = waiting[0].batches_with  # the oldest request is served first
            batch = [request for request in waiting if request.batches_with == kind][: self._max_batch]
            taken = set(map(id, batch))
            waiting = [request for request in waiting if id(request) not in taken]
            self._run([request for request in batch if request.result.set_running_or_notify_cancel()])

    def _gather(self, waiting: list[_Request], *, is_open: bool) -> bool:
        """Move requests from the queue to `waiting` until it is quiet; returns whether more can come."""
        started = time.monotonic()
        while is_open and len(waiting) < self._max_batch:
            patience = started + _PATIENCE_SECONDS - time.monotonic()
            try:
                timeout = max(0.0, min(_QUIET_SECONDS, patience)) if waiting else None
                request = self._queue.get(timeout=timeout)
            except queue.Empty:
                return True
            if request is None:
                return False
            if not waiting:
                started = time.monotonic()
            waiting.append(request)
        return is_open

    def _run(self, batch: list[_Request]) -> None:
        if not batch:
            return
        try:
            with self._model_lock, self._speaking(batch[0].adapter):
                for place, completion in sample(self._model, self._tokenizer, [request.prompt for request in batch]):
                    batch[place].result.set_result(completion)
        except Exception as error:  # the thread lives on; whoever asked is told
            for request in batch:
                if not request.result.done():
                    request.result.set_exception(error)

    def _speaking(self, adapter: str | None) -> Any:
        """The context in which the model speaks with the adapter, or as the base."""
        if not self._adapters:
            return contextlib.nullcontext()
        if adapter is None:
            return self._model.disable_adapter()
        self._model.set_adapter(adapter)
        return contextlib.nullcontext()
