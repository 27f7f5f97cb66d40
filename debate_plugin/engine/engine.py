"""The in-process model: one thread that gathers the requests of many concurrent debates into batches.

For models of some size point the same team at vLLM or any other OpenAI-compatible server instead.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
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
from debate_plugin.engine.gate import Gate
from debate_plugin.engine.row import Row
from debate_plugin.engine.sampling import Completion, Prompt, Sampling

if TYPE_CHECKING:
    from debate_plugin.engine.client import EngineClient

_QUIET_SECONDS = 0.004  # an idle engine begins when no request has come for so long ...
_PATIENCE_SECONDS = 0.04  # ... or when the first one has waited so long
# Steps of a batch before newcomers join it and others have their turn. Where a step costs the same for any number of
# rows, as on a GPU, it pays to let them in soon. On a processor a step costs by the row, and reading a few prompts at a
# time more than reading many: letting newcomers in after 8 steps instead of 128 gave 0.8 of the answers per second.
_TURNS = {"cuda": 8, "cpu": 128}

_Job = Callable[[], None]
"""Something for the engine's own thread to do between two steps."""


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
        max_batch: int = 256,
        max_waiting: int = 4096,
    ) -> None:
        for setting, value in (("max_batch", max_batch), ("max_waiting", max_waiting)):
            if value < 1:
                raise InputError(f"expected {setting} of at least 1, got {value}")
        self.name = name  # of the model, as transcripts have it
        self._model = model.eval()
        self._fingerprint = pretrained.fingerprint(model)
        self._tokenizer = tokenizer
        self._max_batch = max_batch
        self._adapters = Adapters(model)
        self._hashes: dict[str, str] = {}  # of the adapters' weights, by name
        self._gate = Gate(max_waiting)
        self._queue: queue.Queue[Row | _Job | None] = queue.Queue()
        self._waiting: list[Row] = []
        self._turn = _TURNS.get(model.device.type, 8)
        self._served: dict[int, int] = {}  # when each kind of prompts last had its turn
        self._batches: dict[int, Batch] = {}  # by kind: the bits of their prompts' lengths
        self._closed = False
        self._door = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name="debate-engine", daemon=True)
        self._thread.start()

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
        on_gpu = torch.cuda.is_available()
        weights.to("cuda" if on_gpu else "cpu", dtype or (torch.bfloat16 if on_gpu else weights.dtype))
        engine = cls(weights, tokenizer, name=name_of(model), max_batch=max_batch, max_waiting=max_waiting)
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
        """Load a LoRA adapter folder under a name, between two steps of what is under way; requests ask for it so.

        Raises:
            InputError: the name is taken, or the folder has no adapter, or one for another base, or one that changes
                more than linear layers.
            RuntimeError: the engine is closed.
        """
        if name in self._hashes:
            raise InputError(f"the engine already has an adapter {name!r}; give this one another name")
        path = pretrained.adapter_folder(folder, fingerprint=self._fingerprint)
        sha256 = weights_hash(path)
        loaded: Future[None] = Future()

        def load() -> None:
            try:
                self._adapters.add(name, path)
                self._hashes[name] = sha256
                loaded.set_result(None)
            except Exception as error:
                loaded.set_exception(error)

        self._put(load)
        loaded.result()

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
            InputError: the prompt leaves no room in the model's context, or the adapter is unknown.
            RuntimeError: the engine is closed.
        """
        self._check(prompt)
        self._gate.enter()
        return self._queued(prompt)

    async def answer(self, prompt: Prompt) -> Completion:
        """As `submit`, waiting without blocking the event loop; a cancelled wait cancels the request."""
        self._check(prompt)
        await self._gate.entered()
        return await asyncio.wrap_future(self._queued(prompt))

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

    def _check(self, prompt: Prompt) -> None:
        self._check_adapter(prompt.adapter)
        if len(prompt.ids) >= self.context_tokens:
            raise InputError(
                f"expected a prompt below the model's {self.context_tokens} tokens, got {len(prompt.ids)}; shorten "
                "the debate (fewer rounds, digests, sparser topology) or use a model with a longer context"
            )

    def _check_adapter(self, adapter: str | None) -> None:
        if adapter is not None and adapter not in self._hashes:
            known = ", ".join(sorted(self._hashes)) or "none"
            raise InputError(f"the engine has no adapter {adapter!r} (it has: {known}); call add_adapter first")

    def _queued(self, prompt: Prompt) -> Future[Completion]:
        result: Future[Completion] = Future()
        row = Row(prompt, tokenizer=self._tokenizer, context_tokens=self.context_tokens, result=result)
        try:
            self._put(row)
        except BaseException:
            self._gate.leave()
            raise
        return result

    def _put(self, item: Row | _Job) -> None:
        with self._door:  # nothing comes in behind the sign that the engine closes
            if self._closed:
                raise RuntimeError("the engine is closed; load a new one")
            self._queue.put(item)

    def _serve(self) -> None:
        is_open = True
        while is_open or self._waiting or self._batches:
            is_open = self._gather(is_open=is_open)
            length = self._next_in_turn()
            if length is not None:
                self._take_turn(length)

    def _next_in_turn(self) -> int | None:
        """The kind of prompts that was not served for longest, if anybody is to be served."""
        kinds = set(self._batches)
        if self._room():
            kinds |= {_length(row) for row in self._waiting}
        return min(kinds, key=lambda kind: self._served.get(kind, 0), default=None)

    def _take_turn(self, length: int) -> None:
        """Let in who waits with prompts of this length, then give all of them some tokens."""
        self._served[length] = max(self._served.values(), default=0) + 1
        batch = self._batches.setdefault(length, Batch(self._model, self._tokenizer, self._adapters))
        newcomers = self._newcomers(length)
        try:
            if newcomers:
                batch.admit(newcomers)
            for _ in range(self._turn):
                if not batch.rows:
                    break
                batch.step()
        except Exception as error:
            self._go_on_apart(list(dict.fromkeys([*batch.rows, *newcomers])), error)
        if not batch.rows:
            del self._batches[length]

    def _gather(self, *, is_open: bool) -> bool:
        """Take in what has come, an idle engine waits until it is quiet; returns whether more can come."""
        started = time.monotonic()
        while is_open:
            if self._batches:
                timeout: float | None = 0.0
            elif self._waiting:
                timeout = max(0.0, min(_QUIET_SECONDS, started + _PATIENCE_SECONDS - time.monotonic()))
            else:
                timeout = None
            try:
                item = self._queue.get(timeout=timeout) if timeout != 0 else self._queue.get_nowait()
            except queue.Empty:
                return True
            if item is None:
                return False
            if isinstance(item, Row):
                if not self._waiting:
                    started = time.monotonic()
                self._waiting.append(item)
            else:
                item()
        return is_open

    def _newcomers(self, length: int) -> list[Row]:
        """Who has waited longest with prompts of this length, as many as there is room for."""
        room = self._room()
        chosen = [row for row in self._waiting if row.result.done() or _length(row) == length]
        chosen = chosen[:room]
        taken = set(map(id, chosen))
        self._waiting = [row for row in self._waiting if id(row) not in taken]
        for _ in chosen:
            self._gate.leave()
        return [row for row in chosen if not row.result.done()]

    def _room(self) -> int:
        return self._max_batch - sum(len(batch.rows) for batch in self._batches.values())

    def _go_on_apart(self, rows: Sequence[Row], error: Exception) -> None:
        """Play rows that cannot go on together to their end, in halves and halves of these (too little memory, too)."""
        left = [row for row in rows if not row.result.done()]
        if len(left) == 1:
            left[0].fail(error)
        middle = len(left) // 2
        for half in (left[:middle], left[middle:]) if middle else ():
            batch = Batch(self._model, self._tokenizer, self._adapters)
            try:
                batch.admit(half)
                while batch.rows:
                    batch.step()
            except Exception as error_of_half:
                self._go_on_apart(half, error_of_half)


def _length(row: Row) -> int:
    """Prompts of one kind are at most twice as long as one another."""
    return len(row.prompt.ids).bit_length()
