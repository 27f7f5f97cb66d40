"""Work in a thread of its own."""

import threading

import pytest

from debate_plugin.apart import apart


def test_the_result_comes_back_and_the_thread_is_gone() -> None:
    def work(left: int, *, right: int) -> tuple[int, threading.Thread]:
        return left + right, threading.current_thread()

    result, thread = apart(work, 1, right=2)
    assert result == 3
    assert thread is not threading.current_thread() and not thread.is_alive()


def test_what_it_raises_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        apart(lambda: 1 // 0)
