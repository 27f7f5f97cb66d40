"""Back-pressure: so many requests may wait for the model, who comes with more waits for a place."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from concurrent.futures import Future


class Gate:
    """Places are given in the order in which they were asked for, to any number of threads and event loops."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._outside: deque[Future[None]] = deque()
        self._lock = threading.Lock()

    def enter(self) -> None:
        """Take a place; blocks this thread while there is none."""
        place = self._ask()
        try:
            place.result()
        except BaseException:  # Ctrl-C
            self._give_up(place)
            raise

    async def entered(self) -> None:
        """Take a place; waits while there is none."""
        place = self._ask()
        if place.done():
            return
        try:
            await asyncio.wrap_future(place)
        except BaseException:  # cancelled, or dropped with its event loop
            self._give_up(place)
            raise

    def leave(self) -> None:
        """Give a place back."""
        with self._lock:
            while self._outside:
                following = self._outside.popleft()
                if following.set_running_or_notify_cancel():
                    following.set_result(None)
                    return
            self._free += 1

    def _give_up(self, place: Future[None]) -> None:
        if not place.cancel() and not place.cancelled():  # it was given in the same moment
            self.leave()

    def _ask(self) -> Future[None]:
        place: Future[None] = Future()
        with self._lock:
            if self._free:
                self._free -= 1
                place.set_result(None)
            else:
                self._outside.append(place)
        return place
