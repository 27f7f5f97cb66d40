"""Heavy work in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")


def apart(work: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs) -> Result:
    """Do it in a thread that ends with it, and wait; what it raises is raised here.

    OpenMP keeps a team of threads for every thread that has ever computed. With more of them than processors it lets
    all teams sleep between any two operations, which slows an engine in the same process down by a third, for good; a
    thread that ends takes its team along.
    """
    done: Future[Result] = Future()

    def run() -> None:
        try:
            done.set_result(work(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)

    thread = threading.Thread(target=run, name=getattr(work, "__name__", "apart"), daemon=True)
    thread.start()
    try:
        return done.result()
    finally:
        if done.done():
            thread.join()
