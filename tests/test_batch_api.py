"""Requests through the Batch API: the client's own bodies and results, and nothing paid twice, however often killed."""

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openai
import pytest
from autogen_core import FunctionCall
from autogen_core.models import (
    AssistantMessage,
    CreateResult,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    ModelFamily,
    ModelInfo,
    SystemMessage,
    UserMessage,
)
from autogen_ext.models.openai import OpenAIChatCompletionClient
from openai_server import OpenAIServer, killed_at, serving

from debate_plugin.batch_api import BatchApi
from debate_plugin.batches import Live, Request
from debate_plugin.errors import InputError, RunError

IDS = ["a", "b", "c"]


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with serving() as server:
        yield server


def client(url: str, model: str = "small", **settings: Any) -> OpenAIChatCompletionClient:
    family = ModelFamily.R1 if model == "thinker" else ModelFamily.UNKNOWN
    info = ModelInfo(vision=False, function_calling=True, json_output=True, family=family, structured_output=True)
    return OpenAIChatCompletionClient(
        model=model, base_url=url, api_key="none", model_info=info, max_retries=0, **settings
    )


def user(text: str) -> UserMessage:
    return UserMessage(content=text, source="user")


def requests(url: str, ids: Sequence[str] = IDS, **settings: Any) -> list[Request]:
    asking = client(url, **settings)
    return [Request(id=id, client=asking, messages=(user(f"What is 2+2, {id}?"),)) for id in ids]


async def ask(url: str, folder: Path, asked: Sequence[Request] | None = None, **limits: Any) -> list[Any]:
    """As a process would that begins anew: all that it knows is the folder."""
    async with openai.AsyncOpenAI(base_url=url, api_key="none") as connection:
        api = BatchApi(connection, folder, poll_seconds=0.02, **limits)
        return await api.answers(requests(url) if asked is None else asked)


def texts(answers: Sequence[CreateResult | Exception]) -> list[str | None]:
    return [str(answer.content)[:8] if isinstance(answer, CreateResult) else None for answer in answers]


CHAT: list[tuple[LLMMessage, ...]] = [
    (user("What is 2+2?"),),
    (user("Zeilen\u2028enden\u2029und\x85mehr: 四"),),
    (SystemMessage(content="Be brief."), SystemMessage(content="Be kind."), user("2+2?")),
    (user("2+2?"), AssistantMessage(content="4", source="ada"), user("Sure?")),
    (
        user("2+2?"),
        AssistantMessage(content=[FunctionCall(id="1", name="add", arguments="{}")], source="ada", thought="I add."),
        FunctionExecutionResultMessage(
            content=[FunctionExecutionResult(content="4", name="add", call_id="1", is_error=False)]
        ),
    ),
]


async def test_answers_are_those_that_the_clients_themselves_give(server: OpenAIServer, tmp_path: Path) -> None:
    clients = [
        client(server.url),
        client(server.url, temperature=0.5, max_tokens=9, seed=3, logprobs=True, top_logprobs=1),
        client(server.url, "thinker", include_name_in_message=False),
        client(server.url, "caller", add_name_prefixes=True),
        client(server.url, "absent"),
        client(server.url, frequency_penalty=1.0),  # which this server does not know
    ]
    asked = [
        Request(id=f"{number}.{place}", client=one, messages=messages)
        for number, one in enumerate(clients)
        for place, messages in enumerate(CHAT)
    ]
    live = await Live().answers(asked)
    used = [one.total_usage() for one in clients]
    batched = await ask(server.url, tmp_path / "ledger", asked)
    for one, other in zip(live, batched, strict=True):
        if isinstance(one, CreateResult):
            assert one == other
        else:
            assert type(one) is type(other) and str(one) == str(other)
    kinds = {type(answer) for answer in live}
    assert kinds == {CreateResult, openai.NotFoundError, openai.BadRequestError}
    assert any(isinstance(one, CreateResult) and one.thought and one.logprobs is None for one in live)
    assert any(isinstance(one, CreateResult) and one.logprobs for one in live)
    for asking, before in zip(clients, used, strict=True):
        assert asking.total_usage().prompt_tokens == 2 * before.prompt_tokens
    assert [server.paid[request.id] for request in asked] == [1] * len(asked)


async def test_what_cannot_be_sent_is_the_answer_to_that_request_alone(server: OpenAIServer, tmp_path: Path) -> None:
    apart = (SystemMessage(content="One."), user("2+2?"), SystemMessage(content="Two."))  # a client refuses these
    asked = [*requests(server.url), Request(id="d", client=client(server.url), messages=apart)]
    long = Request(id="e", client=client(server.url), messages=(user("2" * 2000),))
    answers = await ask(server.url, tmp_path, [*asked, long], max_bytes=1500)
    assert None not in texts(answers[:3])
    assert isinstance(answers[3], ValueError) and "not continuous" in str(answers[3]).lower()
    assert isinstance(answers[4], InputError) and "request 'e' has" in str(answers[4])
    assert server.paid.keys() == set(IDS)


async def test_batches_are_split_by_model_number_and_size(server: OpenAIServer, tmp_path: Path) -> None:
    many = [f"{number}" for number in range(7)]
    asked = requests(server.url, many) + requests(server.url, ["x", "y"], model="large")
    asked = asked[::2] + asked[1::2]
    assert texts(await ask(server.url, tmp_path / "by number", asked, max_requests=3)) == texts(
        await Live().answers(asked)
    )
    sizes = sorted(len(server._lines(batch["input_file_id"])) for batch in server.batches.values())
    assert sizes == [1, 2, 3, 3] and {batch["status"] for batch in server.batches.values()} == {"completed"}
    one_line = max(len(file["content"]) for file in server.files.values() if file["purpose"] == "batch") // 3 + 5
    server.batches.clear()
    assert None not in texts(await ask(server.url, tmp_path / "by size", asked, max_bytes=2 * one_line))
    assert max(len(server._lines(batch["input_file_id"])) for batch in server.batches.values()) == 2
    assert len(server.batches) == 5


FATES = {
    "expired": (RunError, "batch_expired"),
    "missing": (RunError, "no line that can be read"),
    "unreadable": (RunError, "no line that can be read"),
    "nonsense": (Exception, ""),
    "500": (openai.InternalServerError, "The server had an error"),
    "429": (openai.RateLimitError, "The server had an error"),
}


async def test_what_one_request_ran_into_is_its_answer_and_asked_again_it_alone_is_sent_again(
    server: OpenAIServer, tmp_path: Path
) -> None:
    server.fates = {fate: fate for fate in FATES}
    asked = requests(server.url, [*FATES, "fine"])
    answers = await ask(server.url, tmp_path, asked)
    for answer, (kind, reason) in zip(answers, FATES.values(), strict=False):
        assert isinstance(answer, kind) and reason in str(answer)
    assert texts(answers)[-1] is not None
    server.fates = {}
    again = await ask(server.url, tmp_path, asked)
    assert texts(again) == texts(await Live().answers(asked))
    assert server.paid == {**dict.fromkeys(FATES, 2), "fine": 1}
    assert await ask(server.url, tmp_path, asked) == again
    assert len(server.batches) == 2


@pytest.mark.parametrize("end", ["failed", "expired", "cancelled"])
async def test_a_batch_that_does_not_complete_answers_what_it_can(
    server: OpenAIServer, tmp_path: Path, end: str
) -> None:
    server.batch_end, server.fates = end, dict.fromkeys(["a", "b"], "missing")
    answers = await ask(server.url, tmp_path)
    assert [isinstance(answer, CreateResult) for answer in answers] == [False, False, end != "failed"]
    assert isinstance(answers[0], RunError) and f"batch_0 {end}" in str(answers[0])
    assert ("Enqueued token limit reached" in str(answers[0])) == (end == "failed")
    server.batch_end, server.fates = "completed", {}
    assert None not in texts(await ask(server.url, tmp_path))
    assert server.paid["c"] == (2 if end == "failed" else 1)


async def test_the_same_id_with_another_body_is_another_request(server: OpenAIServer, tmp_path: Path) -> None:
    first = await ask(server.url, tmp_path, requests(server.url, temperature=0.1))
    second = await ask(server.url, tmp_path, requests(server.url, temperature=0.9))
    assert not set(texts(first)) & set(texts(second))
    assert server.paid == dict.fromkeys(IDS, 2)
    assert await ask(server.url, tmp_path, requests(server.url, temperature=0.1)) == first
    assert server.paid == dict.fromkeys(IDS, 2)


async def killed(server: OpenAIServer, folder: Path, moment: threading.Event) -> None:
    await killed_at(moment, "test_batch_api", "ask", server.url, folder)


@pytest.mark.parametrize("window", ["POST /files", "POST /batches", "polling", "GET /files/{id}/content"])
async def test_killed_at_any_moment_nothing_is_paid_twice(server: OpenAIServer, tmp_path: Path, window: str) -> None:
    for number in range(5):  # others' batches, which are turned over
        server.batches[f"other-{number}"] = {"id": f"other-{number}", "metadata": None}
    if window == "polling":
        server.is_held = True
        await killed(server, tmp_path, server.polled)
    else:
        server.falls_silent_after = window
        await killed(server, tmp_path, server.is_silent)
    assert sum(server.paid.values()) == (0 if window == "POST /files" else 3)
    server.is_held, server.falls_silent_after = False, ""
    answers = await ask(server.url, tmp_path)
    assert texts(answers) == texts(await Live().answers(requests(server.url)))
    assert server.paid == dict.fromkeys(IDS, 1)
    assert await ask(server.url, tmp_path) == answers  # from the ledger
    assert server.calls["POST /batches"] == 1


async def test_a_call_that_is_cancelled_leaves_the_batch_to_the_next(server: OpenAIServer, tmp_path: Path) -> None:
    server.is_held = True
    asking = asyncio.create_task(ask(server.url, tmp_path))
    assert await asyncio.to_thread(server.polled.wait, 60)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    server.is_held = False
    # Others are asked along with them: only those are submitted.
    answers = await ask(server.url, tmp_path, requests(server.url, ["new", *IDS]))
    assert None not in texts(answers)
    assert server.paid == dict.fromkeys(["new", *IDS], 1)


async def test_a_batch_whose_making_was_not_answered_is_not_made_again(server: OpenAIServer, tmp_path: Path) -> None:
    server.lost_answers = {"POST /batches"}
    assert None not in texts(await ask(server.url, tmp_path))
    assert server.calls["POST /batches"] == 1 and server.paid == dict.fromkeys(IDS, 1)


async def test_a_server_that_is_away_for_a_while_is_waited_for(server: OpenAIServer, tmp_path: Path) -> None:
    server.outages["POST /batches"] = [503]
    server.outages["GET /batches"] = [500, 500, 500, 500]  # more than the client of its own tries
    assert None not in texts(await ask(server.url, tmp_path))
    assert server.calls["POST /batches"] == 2 and server.paid == dict.fromkeys(IDS, 1)


async def test_a_server_that_refuses_says_why(server: OpenAIServer, tmp_path: Path) -> None:
    server.outages["POST /batches"] = [403]
    with pytest.raises(InputError, match="it refused: PermissionDeniedError"):
        await ask(server.url, tmp_path)
    assert None not in texts(await ask(server.url, tmp_path))


async def test_what_no_batch_can_hold_is_refused_before_anything_is_sent(server: OpenAIServer, tmp_path: Path) -> None:
    from autogen_ext.models.replay import ReplayChatCompletionClient

    other = Request(id="r", client=ReplayChatCompletionClient(["4"]), messages=(user("2+2?"),))
    for asked, complaint in [
        (requests(server.url, ["a", "a"]), "got 'a' twice"),
        (requests(server.url, ["x" * 65]), "1 to 64 characters"),
        ([*requests(server.url), other], "a ReplayChatCompletionClient"),
    ]:
        with pytest.raises(InputError, match=complaint):
            await ask(server.url, tmp_path, asked)
    assert not server.calls


async def test_a_damaged_ledger_is_named(server: OpenAIServer, tmp_path: Path) -> None:
    await ask(server.url, tmp_path)
    (answers,) = tmp_path.glob("*/answers.json")
    answers.write_text(answers.read_text()[:-5])
    with pytest.raises(InputError, match=r"answers\.json could not be read"):
        await ask(server.url, tmp_path)
    assert server.paid == dict.fromkeys(IDS, 1)


async def test_live_gives_each_request_its_answer_or_what_it_ran_into(server: OpenAIServer) -> None:
    asked = [*requests(server.url, ["a"]), *requests(server.url, ["b"], model="absent")]
    answer, error = await Live().answers(asked)
    assert isinstance(answer, CreateResult) and answer.finish_reason == "stop"
    assert isinstance(error, openai.NotFoundError)


async def test_the_server_takes_no_batch_that_openai_would_not(server: OpenAIServer) -> None:
    """So that the tests above say something."""
    good = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "small"}}
    bad = {
        "duplicate_custom_id": [good, good],
        "mismatched_model": [good, {**good, "custom_id": "b", "body": {"model": "large"}}],
        "invalid_url": [{**good, "url": "/chat/completions"}],
        "invalid_custom_id": [{**good, "custom_id": "x" * 65}],
        "invalid_json_line": [{**good, "id": "a"}],
    }
    async with openai.AsyncOpenAI(base_url=server.url, api_key="none") as connection:
        for code, lines in bad.items():
            content = "\n".join(map(json.dumps, lines)).encode()
            file = await connection.files.create(file=("x.jsonl", content), purpose="batch")
            batch = await connection.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            batch = await connection.batches.retrieve(batch.id)
            assert batch.status == "failed" and batch.errors and batch.errors.data
            assert batch.errors.data[0].code == code
        with pytest.raises(openai.BadRequestError, match="not valid JSON"):
            await connection.files.create(file=("x.jsonl", b"{"), purpose="batch")
        file = await connection.files.create(file=("x.jsonl", b"{}"), purpose="fine-tune")
        with pytest.raises(openai.BadRequestError, match="expected batch"):
            await connection.batches.create(
                input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
            )
    assert not server.paid
