"""The engine's own thread: takes requests in, lets batches take turns, and keeps each fault with whom it belongs to."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field

import torch

from debate_plugin.engine.batch import Batch
from debate_plugin.engine.gate import Gate
from debate_plugin.engine.row import Row

_QUIET_SECONDS = 0.004  # an idle engine begins when no request has come for so long ...
_PATIENCE_SECONDS = 0.04  # ... or when the first one has waited so long
# Steps of a batch before newcomers join it and others have their turn. Where a step costs the same for any number of
# rows, as on a GPU, it pays to let them in soon. On a processor a step costs by the row, and reading a few prompts at a
# time more than reading many: letting newcomers in after 8 steps instead of 128 gave 0.8 of the answers per second.
_TURNS = {"cuda": 8, "cpu": 128}
_APART = -1  # the kind of rows that failed together and go on in smaller groups


@dataclass(frozen=True)
class _Job:
    """Something for the thread to do between two steps."""

    act: Callable[[], None]
    done: Future[None] = field(default_factory=Future[None])

    def do(self) -> None:
        try:
            self.act()
            self.done.set_result(None)
        except BaseException as error:
            self.done.set_exception(error)


class Scheduler:
    """Rows wait for a place in a batch of their kind: prompts of similar length share one, padding is computed too."""

    def __init__(self, make_batch: Callable[[], Batch], *, device: str, max_batch: int, max_waiting: int) -> None:
        self._make_batch = make_batch
        self._turn = _TURNS.get(device, 8)
        self._device = device
        self._max_batch = max_batch
        self._gate = Gate(max_waiting)
        self._queue: queue.Queue[Row | _Job | None] = queue.Queue()
        self._waiting: list[Row] = []
        self._batches: dict[int, Batch] = {}  # by kind: the bits of their prompts' lengths
        self._apart: deque[list[Row]] = deque()  # groups that go on one after the other
        self._served: dict[int, int] = {}  # when each kind last had its turn
        self._is_open = True  # as the thread knows
        self._closed = False  # as everybody knows
        self._door = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name="debate-engine", daemon=True)
        self._thread.start()

    def submit(self, row: Row) -> None:
        """Queue a row; blocks while the queue is full."""
        self._refuse_own_thread()
        self._gate.enter()
        self._put_in_place(row)

    async def submitted(self, row: Row) -> None:
        """As `submit`, waiting without blocking the event loop."""
        self._refuse_own_thread()
        await self._gate.entered()
        self._put_in_place(row)

    def do(self, act: Callable[[], None]) -> None:
        """Do something between two steps, and wait for it; what it raises is raised here."""
        self._refuse_own_thread()
        job = _Job(act)
        self._put(job)
        job.done.result()

    def close(self) -> None:
        """Finish what is queued, then stop."""
        self._refuse_own_thread()
        with self._door:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _refuse_own_thread(self) -> None:
        if threading.current_thread() is self._thread:
            raise RuntimeError(
                "the engine was asked from its own thread, which would wait for itself; have the callback hand over "
                "to another thread or to an event loop"
            )

    def _put_in_place(self, row: Row) -> None:
        try:
            self._put(row)
        except BaseException:
            self._gate.leave()
            raise

    def _put(self, item: Row | _Job) -> None:
        with self._door:  # nothing comes in behind the sign that the engine closes
            if self._closed:
                raise RuntimeError("the engine is closed; load a new one")
            self._queue.put(item)

    def _serve(self) -> None:
        try:
            while self._is_open or self._waiting or self._batches or self._apart:
                self._gather()
                kind = self._next_in_turn()
                if kind is not None:
                    self._take_turn(kind)
        except BaseException as error:
            self._break_down(error)

    def _gather(self) -> None:
        """Take in what has come; an idle engine waits for the first and then until it is quiet."""
        started = time.monotonic()
        while self._is_open and not self._batches and not self._apart:
            if not self._waiting:
                timeout = None
            else:
                timeout = max(0.0, min(_QUIET_SECONDS, started + _PATIENCE_SECONDS - time.monotonic()))
            try:
                self._take_in(self._queue.get(timeout=timeout))
            except queue.Empty:
                break
            if len(self._waiting) == 1:
                started = time.monotonic()
        self._drain()
        for row in [row for row in self._waiting if row.result.done()]:  # nobody waits for them any more
            self._waiting.remove(row)
            self._gate.leave()

    def _drain(self) -> None:
        """Take in what has come, without waiting."""
        with suppress(queue.Empty):
            while self._is_open:
                self._take_in(self._queue.get_nowait())

    def _take_in(self, item: Row | _Job | None) -> None:
        if isinstance(item, Row):
            self._waiting.append(item)
        elif item is not None:
            item.do()
        else:
            self._is_open = False

    def _next_in_turn(self) -> int | None:
        """The kind that was not served for longest, if anybody is to be served."""
        kinds = set(self._batches)
        if self._room():
            kinds |= {_length(row) for row in self._waiting}
        if self._apart:
            kinds.add(_APART)
        return min(kinds, key=lambda kind: self._served.get(kind, 0), default=None)

    def _take_turn(self, kind: int) -> None:
        """Let in who waits and is of this kind, then give all of them some tokens."""
        self._served[kind] = max(self._served.values(), default=0) + 1
        newcomers = self._newcomers(kind)
        batch = self._batches[kind] = self._batches.get(kind) or self._make_batch()
        failure = None
        try:
            if newcomers:
                batch.admit(newcomers)
            for _ in range(self._turn):
                if not batch.rows:
                    break
                batch.step()
                self._drain()
        except BaseException as error:
            failure = error.with_traceback(None)  # whose frames would keep what the batch holds
        rows = list(dict.fromkeys([*batch.rows, *newcomers]))
        if failure is not None or not batch.rows:
            del self._batches[kind], batch
        if failure is not None:
            self._part(rows, failure)

    def _part(self, rows: Sequence[Row], failure: BaseException) -> None:
        """Rows that failed together go on in halves and halves of these, so that only those fail whose fault it is.

        Too little memory is such a fault too, so one group goes on after the other.
        """
        if self._device == "cuda":
            torch.cuda.empty_cache()
        left = [row for row in rows if not row.result.done()]
        if len(left) == 1:
            left[0].fail(failure)
        elif left:
            middle = len(left) // 2
            self._apart.extendleft([left[middle:], left[:middle]])

    def _newcomers(self, kind: int) -> list[Row]:
        if kind == _APART:
            return self._apart.popleft() if self._apart and kind not in self._batches else []
        chosen = [row for row in self._waiting if _length(row) == kind][: self._room()]
        taken = set(chosen)
        self._waiting = [row for row in self._waiting if row not in taken]
        for _ in chosen:
            self._gate.leave()
        return chosen

    def _room(self) -> int:
        return max(0, self._max_batch - sum(len(batch.rows) for batch in self._batches.values()))

    def _break_down(self, error: BaseException) -> None:
        """Let nobody wait for a thread that is gone."""
        with self._door:
            self._closed = True
        failure = RuntimeError(f"the engine broke down ({type(error).__name__}: {error}); load a new one")
        self._is_open = True
        self._drain()  # jobs are done all the same
        for row in [
            *self._waiting,
            *(row for batch in self._batches.values() for row in batch.rows),
            *(row for group in self._apart for row in group),
        ]:
            row.fail(failure)
        for _ in self._waiting:
            self._gate.leave()


def _length(row: Row) -> int:
    """Prompts of one kind are at most twice as long as one another."""
    return len(row.prompt.ids).bit_length()
