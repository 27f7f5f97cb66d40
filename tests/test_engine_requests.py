"""What may happen to a request: streamed, cancelled, kept waiting, or at fault; and nobody else is any the worse."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest
import torch
from autogen_core import CancellationToken
from autogen_core.models import AssistantMessage, CreateResult, LLMMessage, SystemMessage
from test_engine import ASKED, answers, chat

from debate_plugin import abacus
from debate_plugin.engine import Engine, Prompt, Sampling
from debate_plugin.engine.batch import Batch
from debate_plugin.engine.gate import Gate
from debate_plugin.engine.row import Row
from debate_plugin.engine.scheduler import Scheduler

ENDLESS = 1200  # tokens of a reply whose end token is not heeded


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """The requests that the model was given to speak to."""
    seen: list[Row] = []
    admit = Batch.admit

    def noting(self: Batch, rows: Sequence[Row]) -> None:
        seen.extend(rows)
        admit(self, rows)

    monkeypatch.setattr(Batch, "admit", noting)
    return seen


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("debate_plugin.engine.batch._end_ids", lambda *_: frozenset[int]())


def prompt(engine: Engine, text: str, **settings: object) -> Prompt:
    return Prompt(ids=engine.encode([{"role": "user", "content": text}]), sampling=Sampling(**settings))  # type: ignore[arg-type]


async def idle(engine: Engine) -> None:
    for _ in range(2000):
        if not engine._scheduler._batches and not engine._scheduler._waiting:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the engine still speaks")


async def test_a_stream_brings_the_reply_in_pieces_and_ends_with_the_result(engine: Engine) -> None:
    messages: list[LLMMessage] = [
        SystemMessage(content="You are brief."),
        *chat(ASKED[0]),
        AssistantMessage(content="Answer: 4", source="ada"),
        *chat("Again."),
    ]
    client = engine.client(temperature=0.0, max_tokens=60)
    *pieces, result = [item async for item in client.create_stream(messages)]
    assert isinstance(result, CreateResult)
    assert len(pieces) > 5
    assert "".join(map(str, pieces)) == result.content == (await client.create(messages)).content


async def test_a_stream_shows_nothing_of_a_stop_string_and_no_half_character(engine: Engine) -> None:
    client = engine.client(temperature=0.0, max_tokens=60)
    whole = str((await client.create(chat(ASKED[0]))).content)
    stop = whole[12:18]
    *pieces, result = [
        item async for item in client.create_stream(chat(ASKED[0]), extra_create_args={"stop": [stop, "never said"]})
    ]
    assert isinstance(result, CreateResult)
    assert "".join(map(str, pieces)) == result.content == whole[: whole.index(stop)]

    told: list[str] = []
    said = engine._tokenizer.encode("fünf — 五", add_special_tokens=False)
    row = Row(
        Prompt(ids=(1,), sampling=Sampling(), on_text=told.append),
        tokenizer=engine._tokenizer,
        context_tokens=100,
        result=Future(),
    )
    for token in said:
        row.take(token, None, is_end=False)
    row.take(engine._tokenizer.eos_token_id, None, is_end=True)
    assert len(said) > len("fünf — 五")  # some characters are several tokens
    assert "".join(told) == row.result.result().text == "fünf — 五" and not any("\ufffd" in piece for piece in told)


async def test_who_leaves_a_stream_cancels_the_request(engine: Engine, rows: list[Row], endless: None) -> None:
    stream = engine.client(max_tokens=ENDLESS).create_stream(chat(ASKED[0]))
    async for _ in stream:
        break
    await stream.aclose()
    await idle(engine)
    assert len(rows) == 1 and rows[0].result.cancelled() and len(rows[0].ids) < ENDLESS


async def test_a_cancelled_request_leaves_the_model(engine: Engine, rows: list[Row], endless: None) -> None:
    token = CancellationToken()
    client = engine.client(max_tokens=ENDLESS)
    running = asyncio.create_task(client.create(chat(ASKED[0]), cancellation_token=token))
    while not rows or not rows[0].ids:
        await asyncio.sleep(0.01)
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await idle(engine)
    assert len(rows[0].ids) < ENDLESS
    assert (await answers(engine, ASKED[:1], max_tokens=3))[0] != ""


async def test_a_request_that_is_cancelled_in_the_queue_is_never_begun(rows: list[Row]) -> None:
    with Engine.load(abacus.FOLDER, max_batch=1) as engine:
        client = engine.client(temperature=0.0, max_tokens=30)
        first = asyncio.create_task(client.create(chat(ASKED[0])))
        second = asyncio.create_task(client.create(chat(ASKED[1])))
        third = asyncio.create_task(client.create(chat(ASKED[2])))
        await asyncio.sleep(0)
        second.cancel()
        assert (await first).content and (await third).content
        with pytest.raises(asyncio.CancelledError):
            await second
    assert [row.prompt.ids for row in rows] == [
        engine.encode([{"role": "user", "content": text}]) for text in (ASKED[0], ASKED[2])
    ]


async def test_a_full_queue_keeps_who_comes_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    with Engine.load(abacus.FOLDER, max_batch=2, max_waiting=3) as engine:
        queued: list[int] = []
        put = Scheduler._put_in_place

        def watched(self: Scheduler, row: Row) -> None:
            put(self, row)
            queued.append(self._queue.qsize() + len(self._waiting))

        monkeypatch.setattr(Scheduler, "_put_in_place", watched)
        client = engine.client(temperature=0.0, max_tokens=20)
        everyone = [asyncio.create_task(client.create(chat(text))) for text in ASKED[:12]]
        await asyncio.sleep(0)
        everyone[11].cancel()  # one that waits outside
        results = await asyncio.gather(*everyone[:11])
        assert len(queued) == 11 and max(queued) <= 3

        from_thread = [engine.submit(prompt(engine, text, temperature=0.0, max_tokens=20)) for text in ASKED[:11]]
        assert [future.result().text for future in from_thread] == [result.content for result in results]
        assert max(queued) <= 3


async def test_places_go_to_those_who_still_want_them() -> None:
    gate = Gate(1)
    gate.enter()
    first, second = asyncio.create_task(gate.entered()), asyncio.create_task(gate.entered())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    gate.leave()
    await second
    inside = threading.Event()

    def wait() -> None:
        gate.enter()
        inside.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not inside.is_set()
    gate.leave()
    waiting.join()
    assert inside.is_set()


async def test_a_request_at_fault_fails_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    good = await answers(engine, ASKED[:9], temperature=0.0, max_tokens=40)
    read = Batch._read_part
    poison = prompt(engine, "poison").ids

    def choking(self: Batch, keys: Sequence[Any]) -> Any:
        if any(ids[: len(poison)] == poison for _, ids in keys):
            raise ArithmeticError("no such number")
        return read(self, keys)

    def broken(_: str) -> None:
        raise LookupError("nobody listens")

    def leaving(_: str) -> None:
        raise SystemExit

    monkeypatch.setattr(Batch, "_read_part", choking)
    sound = [prompt(engine, text, temperature=0.0, max_tokens=40) for text in ASKED[:9]]
    deaf, gone = replace(sound[0], on_text=broken), replace(sound[0], on_text=leaving)
    asked = [*sound[:4], prompt(engine, "poison"), *sound[4:], deaf, gone]
    results = await asyncio.gather(*(engine.answer(one) for one in asked), return_exceptions=True)
    assert [one.text for one in (*results[:4], *results[5:10]) if not isinstance(one, BaseException)] == good
    assert [type(one) for one in (results[4], *results[10:])] == [ArithmeticError, LookupError, RuntimeError]
    for ids in ((), (10**6,), (-1,)):
        with pytest.raises(ValueError, match="expected a prompt of tokens from 0 to"):
            await engine.answer(Prompt(ids=ids, sampling=Sampling()))


async def test_others_are_answered_while_rows_go_on_apart(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    step, seen = Batch.step, list[int]()

    def short_of_memory(self: Batch) -> None:
        if len(self.rows) > 2 and len(seen) > 10:
            raise MemoryError("too much")
        seen.append(len(self.rows))
        step(self)

    monkeypatch.setattr(Batch, "step", short_of_memory)
    monkeypatch.setattr(engine._scheduler, "_turn", 4)
    many = [asyncio.create_task(engine.client(max_tokens=100).create(chat(text))) for text in ASKED[:8]]
    while len(seen) < 12:
        await asyncio.sleep(0.001)
    assert (await engine.client(max_tokens=2).create(chat("word " * 60))).usage.completion_tokens == 2
    assert not all(task.done() for task in many)
    await asyncio.gather(*many)


async def test_the_engines_own_thread_cannot_ask_the_engine(engine: Engine) -> None:
    refused: list[str] = []

    def asking(_: str) -> None:
        for ask in (lambda: engine.submit(prompt(engine, "x")), lambda: engine.add_adapter("x", "y"), engine.close):
            try:
                ask()
            except (RuntimeError, ValueError) as error:
                refused.append(str(error))

    sampling = Sampling(temperature=0.0, max_tokens=2)
    await engine.answer(replace(prompt(engine, ASKED[0]), on_text=asking, sampling=sampling))
    assert len(refused) >= 3 and "asked from its own thread" in refused[0] and "asked from its own thread" in refused[2]
    assert (await answers(engine, ASKED[:1], max_tokens=2))[0] is not None


async def test_who_is_cancelled_in_a_full_queue_makes_room(endless: None) -> None:
    with Engine.load(abacus.FOLDER, max_batch=1, max_waiting=2) as engine:
        long = engine.submit(prompt(engine, ASKED[0], max_tokens=ENDLESS))
        waiting = [engine.submit(prompt(engine, text, max_tokens=2)) for text in ASKED[1:3]]
        for one in waiting:
            one.cancel()
        later = await asyncio.to_thread(engine.submit, prompt(engine, ASKED[3], max_tokens=2))
        assert not long.done()
        long.cancel()
        assert (await asyncio.wrap_future(later)).tokens == 2


async def test_a_thread_that_breaks_down_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine.load(abacus.FOLDER)
    monkeypatch.setattr(engine._scheduler, "_take_turn", lambda kind: 1 // 0)
    with pytest.raises(RuntimeError, match=r"the engine broke down .*ZeroDivisionError"):
        await engine.client().create(chat("x"))
    with pytest.raises(RuntimeError, match="the engine is closed"):
        await engine.client().create(chat("x"))
    engine.close()


async def test_a_stop_string_of_many_bytes_is_seen(engine: Engine) -> None:
    stop = "五五五五五五五五"
    told: list[str] = []
    tokenizer = engine._tokenizer
    stopping = Prompt(ids=(1,), sampling=Sampling(stop=(stop,)), on_text=told.append)
    row = Row(stopping, tokenizer=tokenizer, context_tokens=1000, result=Future())
    for token in tokenizer.encode(f"so {stop} and so on", add_special_tokens=False):
        if row.result.done():
            break
        row.take(token, None, is_end=False)
    assert row.result.result().text == "so " == "".join(told)


async def test_rows_that_do_not_fit_together_go_on_apart(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when memory runs out in the middle of a reply: more than two rows at a time are too many here."""
    good = await answers(engine, ASKED[:7], temperature=1.0, seed=5, max_tokens=40)
    step, steps = Batch.step, 0

    def short_of_memory(self: Batch) -> None:
        nonlocal steps
        steps += 1
        if steps > 10 and len(self.rows) > 2:
            raise torch.OutOfMemoryError("too much")
        step(self)

    monkeypatch.setattr(Batch, "step", short_of_memory)
    assert await answers(engine, ASKED[:7], temperature=1.0, seed=5, max_tokens=40) == good


async def test_a_fault_of_the_model_reaches_its_askers_and_the_engine_lives_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such kernel")

    with monkeypatch.context() as patch:
        patch.setattr(Batch, "step", broken)
        results = await asyncio.gather(
            *(engine.client(max_tokens=5).create(chat(text)) for text in ASKED[:3]), return_exceptions=True
        )
        assert [str(result) for result in results] == ["no such kernel"] * 3
    assert (await answers(engine, ASKED[:1], max_tokens=3))[0] != ""


async def test_a_closed_engine_finishes_what_is_queued_and_takes_no_more() -> None:
    engine = Engine.load(abacus.FOLDER)
    client = engine.client(max_tokens=5)
    running = [asyncio.create_task(client.create(chat(text))) for text in ASKED[:4]]
    await asyncio.sleep(0.01)
    await asyncio.to_thread(engine.close)
    assert len(await asyncio.gather(*running)) == 4
    with pytest.raises(RuntimeError, match="the engine is closed"):
        await client.create(chat("x"))
    with pytest.raises(RuntimeError, match="the engine is closed"):
        engine.submit(prompt(engine, "x"))
