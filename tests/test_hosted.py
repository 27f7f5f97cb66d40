"""Fine-tuning on a server: rows it takes, a job that is made once, and a trained name that debates."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from autogen_core.models import ModelFamily, ModelInfo
from autogen_ext.models.openai import OpenAIChatCompletionClient
from openai_server import OpenAIServer, killed_at, serving

from debate_agents import debater
from debate_plugin import DebateTeam
from debate_plugin.dataset.formats.openai import openai as openai_format
from debate_plugin.errors import InputError, RunError
from debate_plugin.messages import DebateDecided
from debate_plugin.training.hosted import HostedJob, HostedProgress, HostedSettings, cancel, events, train_hosted

DPO = HostedSettings(method="dpo", epochs=2, beta=0.2, suffix="debate", seed=5)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with serving() as server:
        yield server


def said(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def chat(number: int) -> dict[str, Any]:
    first = [said("system", "Be brief."), said("user", f"{number}+2?"), said("assistant", "Hm.", loss=False)]
    return {"messages": [*first, said("user", "Well?"), said("assistant", str(number + 2))], "tools": None}


def pair(number: int) -> dict[str, Any]:
    chosen, rejected = said("assistant", str(number + 2)), said("assistant", "No idea.")
    return {"prompt": [said("user", f"{number}+2?")], "chosen": [chosen], "rejected": [rejected], "tools": None}


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pairs(folder: Path, count: int = 12) -> Path:
    rows: list[Any] = [pair(number) for number in range(count)]
    return written(folder / "pairs.jsonl", [line for row in rows for line in openai_format(row)])


async def train(url: str, folder: Path, **more: Any) -> HostedJob:
    """As a process would that begins anew: all that it knows is the folder."""
    rows = folder / "pairs.jsonl"
    async with openai.AsyncOpenAI(base_url=url, api_key="none") as connection:
        given = {"model": "small", "settings": DPO, "poll_seconds": 0.02, **more}
        return await train_hosted(connection, given.pop("rows", rows), given.pop("out", folder / "job.json"), **given)


async def test_a_supervised_job_is_told_while_it_runs_and_recorded(server: OpenAIServer, tmp_path: Path) -> None:
    rows: list[Any] = [chat(number) for number in range(12)]
    lines = [line for row in rows for line in openai_format(row)]
    told: list[HostedProgress] = []
    written(tmp_path / "chats.provenance.jsonl", [{"rule": "conversation"}] * 12)
    job = await train(
        server.url,
        tmp_path,
        rows=written(tmp_path / "chats.jsonl", lines),
        validation=written(tmp_path / "held.jsonl", lines[:2]),
        settings=HostedSettings(epochs=3, learning_rate_multiplier=0.5),
        told=told.append,
    )
    assert HostedJob.read(tmp_path / "job.json") == job
    assert (job.model, job.status, job.trained_tokens) == ("ft:small:org::0", "succeeded", 480)
    assert (job.data.rows, job.data.rules, job.base, job.server) == (
        12,
        {"conversation": 12},
        "small",
        server.url + "/",
    )
    assert job.validation is not None and job.validation.rows == 2
    made = server.jobs["ftjob-0"]
    assert made["method"] == {
        "type": "supervised",
        "supervised": {"hyperparameters": {"n_epochs": 3, "learning_rate_multiplier": 0.5}},
    }
    assert server.files[made["training_file"]]["content"] == (tmp_path / "chats.jsonl").read_bytes()
    assert server.files[made["validation_file"]]["content"] == (tmp_path / "held.jsonl").read_bytes()
    assert [progress.status for progress in told] == ["queued", "running", "succeeded"]
    assert told[-1] == HostedProgress(status="succeeded", trained_tokens=480, event="The job is succeeded")


async def test_a_dpo_job_carries_its_settings_and_the_same_call_again_trains_nothing(
    server: OpenAIServer, tmp_path: Path
) -> None:
    pairs(tmp_path)
    job = await train(server.url, tmp_path)
    made = server.jobs["ftjob-0"]
    assert made["method"] == {"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 2, "beta": 0.2}}}
    assert (made["seed"], made["suffix"], job.model) == (5, "debate", "ft:small:org:debate:0")
    calls = server.calls.copy()
    assert await train(server.url, tmp_path) == job
    assert server.calls == calls


async def test_the_trained_model_debates(server: OpenAIServer, tmp_path: Path) -> None:
    pairs(tmp_path)
    job = await train(server.url, tmp_path)
    info = ModelInfo(
        vision=False, function_calling=False, json_output=False, family=ModelFamily.UNKNOWN, structured_output=False
    )
    client = OpenAIChatCompletionClient(
        model=str(job.model), base_url=server.url, api_key="none", model_info=info, include_name_in_message=False
    )
    team = DebateTeam([debater("ada", client), debater("ben", client)], kind="number")
    decided = [m for m in (await team.run(task="What is 2+2?")).messages if isinstance(m, DebateDecided)]
    await client.close()
    assert decided[0].outcome.answer == "4"
    assert server.calls["POST /chat/completions"] >= 2


@pytest.mark.parametrize("window", ["before the job", "POST /files", "POST /fine_tuning/jobs", "polling"])
async def test_killed_at_any_moment_one_job_is_paid(server: OpenAIServer, tmp_path: Path, window: str) -> None:
    pairs(tmp_path)
    for number in range(5):  # others' jobs, which are turned over
        server.jobs[f"other-{number}"] = {"id": f"other-{number}", "training_file": "file-x", "status": "failed"}
    if window == "before the job":  # the file is noted, and the server fails too long
        server.outages["POST /fine_tuning/jobs"] = [503] * 11
        with pytest.raises(RunError, match="run the same again"):
            await train(server.url, tmp_path)
    else:
        server.is_held = window == "polling"
        server.falls_silent_after = window
        await killed(server, tmp_path, server.polled if window == "polling" else server.is_silent)
    server.is_held, server.falls_silent_after = False, ""
    job = await train(server.url, tmp_path)
    assert job.model is not None and server.jobs[str(job.job)]["status"] == "succeeded"
    assert len(server.jobs) == 6
    assert server.calls["POST /files"] == (2 if window == "POST /files" else 1)  # an upload costs nothing


async def killed(server: OpenAIServer, folder: Path, moment: threading.Event) -> None:
    await killed_at(moment, "test_hosted", "train", server.url, folder)


async def test_a_call_that_is_cancelled_leaves_the_job_to_the_next(server: OpenAIServer, tmp_path: Path) -> None:
    pairs(tmp_path)
    server.is_held = True
    training = asyncio.create_task(train(server.url, tmp_path))
    assert await asyncio.to_thread(server.polled.wait, 60)
    training.cancel()
    with pytest.raises(asyncio.CancelledError):
        await training
    assert server.jobs["ftjob-0"]["status"] == "validating_files"
    server.is_held = False
    assert (await train(server.url, tmp_path)).job == "ftjob-0"


async def test_a_job_can_be_cancelled_and_says_so(server: OpenAIServer, tmp_path: Path) -> None:
    pairs(tmp_path)
    server.is_held = True
    training = asyncio.create_task(train(server.url, tmp_path))
    assert await asyncio.to_thread(server.polled.wait, 60)
    async with openai.AsyncOpenAI(base_url=server.url, api_key="none") as connection:
        await cancel(connection, tmp_path / "job.json")
        with pytest.raises(RunError, match=r"the job ftjob-0 cancelled; remove .*job\.json"):
            await training
        with pytest.raises(InputError, match="has already ended"):
            await cancel(connection, tmp_path / "job.json")
        assert [event.message for event in await events(connection, tmp_path / "job.json")] == [
            "Created fine-tuning job: ftjob-0"
        ]
    with pytest.raises(RunError, match="cancelled"):
        await train(server.url, tmp_path)
    assert len(server.jobs) == 1


async def test_a_job_that_fails_says_what_the_server_said(server: OpenAIServer, tmp_path: Path) -> None:
    pairs(tmp_path, count=3)
    for _ in range(2):
        with pytest.raises(RunError, match=r"invalid_n_examples: Training file has 3 example\(s\)"):
            await train(server.url, tmp_path)
    assert len(server.jobs) == 1 and HostedJob.read(tmp_path / "job.json").status == "failed"


async def test_what_the_server_refuses_is_the_users_to_mend(server: OpenAIServer, tmp_path: Path) -> None:
    pairs(tmp_path)
    server.outages["POST /files"] = [401]
    with pytest.raises(InputError, match=r"it refused: AuthenticationError"):
        await train(server.url, tmp_path, settings=HostedSettings(method="dpo"))
    with pytest.raises(InputError, match=r"it refused: NotFoundError.*The model `huge` does not exist"):
        await train(server.url, tmp_path, model="huge")
    with pytest.raises(InputError, match=r"it refused: BadRequestError.*suffix is too long"):
        await train(server.url, tmp_path, settings=HostedSettings(method="dpo", suffix="x" * 65))
    assert (await train(server.url, tmp_path)).model is not None  # it was mended


async def test_a_server_that_is_away_for_a_while_is_waited_for(server: OpenAIServer, tmp_path: Path) -> None:
    pairs(tmp_path)
    server.lost_answers = {"POST /fine_tuning/jobs"}
    server.outages["GET /fine_tuning/jobs/{id}"] = [502, 502, 502, 502]  # more than the client of its own tries
    server.outages["GET /fine_tuning/jobs/{id}/events"] = [404]
    assert (await train(server.url, tmp_path)).job == "ftjob-0"
    assert len(server.jobs) == 1


async def test_a_server_that_is_not_there_is_a_failed_run_that_can_go_on(tmp_path: Path) -> None:
    pairs(tmp_path)
    with pytest.raises(RunError, match=r"APIConnectionError.*run the same again"):
        await train("http://127.0.0.1:9/v1", tmp_path)


async def test_a_record_of_another_job_is_not_gone_on_from(server: OpenAIServer, tmp_path: Path) -> None:
    pairs(tmp_path)
    await train(server.url, tmp_path)
    with pytest.raises(InputError, match=r"expected the same base as in .*job\.json"):
        await train(server.url, tmp_path, model="large")
    with pytest.raises(InputError, match="expected the same settings"):
        await train(server.url, tmp_path, settings=HostedSettings(method="dpo", epochs=9))
    pairs(tmp_path, count=13)
    with pytest.raises(InputError, match="expected the same data"):
        await train(server.url, tmp_path)
    (tmp_path / "job.json").write_text("{}")
    with pytest.raises(InputError, match="expected the record of a job"):
        await train(server.url, tmp_path)
    assert len(server.jobs) == 1


USER, REPLY = said("user", "2+2?"), said("assistant", "4")
BAD_CHATS = [
    ({"prompt": [USER], "completion": [REPLY]}, "messages is missing from completion, prompt"),
    ({"messages": [USER, REPLY], "provenance": {}}, "nothing else, it has provenance"),
    ({"messages": []}, "a list of at least one"),
    ({"messages": [USER]}, "the last message is to be the assistant's"),
    ({"messages": [USER, said("assistant", "4", weight=0)]}, "all weights are 0"),
    ({"messages": [USER, said("assistant", "4", weight=0.5)]}, "a weight is to be 0 or 1"),
    ({"messages": [said("user", "2+2?", weight=1), REPLY]}, "on the assistant's messages"),
    ({"messages": [USER, said("system", "Be brief."), REPLY]}, "a system message is to be the first"),
    ({"messages": [said("judge", "2+2?"), REPLY]}, "with a role of"),
    ({"messages": [REPLY]}, "some message is to be the user's"),
    ({"messages": [USER, said("assistant", "")]}, "is to have content"),
    (["messages"], "a row is to be an object"),
]
BAD_PAIRS = [
    ({"messages": [USER, REPLY]}, "input, non_preferred_output, preferred_output is missing from messages"),
    ({"input": {"messages": [USER]}, "preferred_output": [REPLY], "non_preferred_output": [REPLY]}, "are the same"),
    ({"input": {"messages": [USER]}, "preferred_output": [REPLY, REPLY], "non_preferred_output": [REPLY]}, "one mess"),
    ({"input": {"messages": [USER]}, "preferred_output": [USER], "non_preferred_output": [REPLY]}, "one message of"),
    ({"input": {"messages": [REPLY]}, "preferred_output": [REPLY], "non_preferred_output": [REPLY]}, "the user's"),
    ({"input": [USER], "preferred_output": [REPLY], "non_preferred_output": [REPLY]}, "a input is to be an object"),
]


@pytest.mark.parametrize(("row", "complaint"), [*BAD_CHATS, *BAD_PAIRS])
async def test_the_first_row_of_another_shape_is_named_before_anything_is_sent(
    server: OpenAIServer, tmp_path: Path, row: Any, complaint: str
) -> None:
    is_chat = (row, complaint) in BAD_CHATS
    good: Any = chat(1) if is_chat else pair(1)
    rows = written(tmp_path / "rows.jsonl", [*openai_format(good), row, "later"])
    settings = HostedSettings(method="supervised" if is_chat else "dpo")
    with pytest.raises(InputError, match=r"at line 2 of rows\.jsonl") as raised:
        await train(server.url, tmp_path, rows=rows, settings=settings)
    assert complaint in str(raised.value)
    assert not server.calls and not (tmp_path / "job.json").exists()


@pytest.mark.parametrize(
    ("settings", "complaint"), [({"beta": 0.1}, "with the method dpo"), ({"epochs": 0}, "epochs above 0")]
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        HostedSettings(**settings)


def debate(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("OPENAI_API_KEY", None)
    command = [sys.executable, "-m", "debate_plugin", *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def test_the_command_trains_and_goes_on(server: OpenAIServer, tmp_path: Path) -> None:
    pairs(tmp_path)
    words = ["train", "hosted", "--rows", "pairs.jsonl", "--out", "job.json", "--method", "dpo", "--beta", "0.2"]
    words += ["--model", "openai:small", "--base-url", server.url, "--poll-seconds", "0.02"]
    first = debate(*words, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert first.stdout == "12 rows, 480 tokens trained; debate with --model openai:ft:small:org::0\n"
    assert first.stderr.splitlines()[-1] == "succeeded, 480 tokens: The job is succeeded"
    again = debate(*words, "--json", cwd=tmp_path)
    assert json.loads(again.stdout)["model"] == "ft:small:org::0" and len(server.jobs) == 1
    debated = debate(
        "run",
        "What is 2+2?",
        "--model",
        "openai:ft:small:org::0",
        "--base-url",
        server.url,
        "--no-cleaning",
        cwd=tmp_path,
    )
    assert debated.returncode == 0 and "4" in debated.stdout


def test_the_command_says_what_is_to_be_mended(tmp_path: Path) -> None:
    pairs(tmp_path)
    words = ["train", "hosted", "--rows", "pairs.jsonl", "--out", "job.json", "--model"]
    for model, complaint in [("abacus", "expected --model openai:NAME"), ("openai:small", "OPENAI_API_KEY")]:
        refused = debate(*words, model, cwd=tmp_path)
        assert refused.returncode == 2 and complaint in refused.stderr and refused.stderr.count("\n") == 1
