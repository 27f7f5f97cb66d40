"""Debates through the Batch API, by the command: what a live team says, one batch a stage, paid once after a kill."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from openai_server import OpenAIServer, serving
from test_cli import debate, ok, question_file
from test_lockstep import told

from debate_plugin import Store


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with serving() as server:
        yield server


def generate(server: OpenAIServer, folder: Path, store: str, play: str) -> list[object]:
    options = ["--store", store, "--play", play, "--poll-seconds", "0.05"]
    asked = question_file(folder, 4)
    return ["generate", "--questions", asked, "--model", "openai:small", "--base-url", server.url, *options]


def kept(folder: Path, store: str) -> list[dict[str, object]]:
    with Store.open(folder / store) as opened:
        return told(list(opened.transcripts()))


def test_a_batch_says_what_a_live_team_says(server: OpenAIServer, tmp_path: Path) -> None:
    ok(debate(*generate(server, tmp_path, "live.sqlite", "live"), cwd=tmp_path))
    asked_live = server.calls["POST /chat/completions"]
    assert asked_live > 0 and not server.batches
    ok(debate(*generate(server, tmp_path, "batch.sqlite", "batch-api"), cwd=tmp_path))
    assert kept(tmp_path, "batch.sqlite") == kept(tmp_path, "live.sqlite")
    assert server.calls["POST /chat/completions"] == asked_live
    assert sum(server.paid.values()) == asked_live
    assert len(server.batches) == 4  # openings, digests, rebuttals, cleaning
    assert "0 debated, 4 were there already" in ok(
        debate(*generate(server, tmp_path, "batch.sqlite", "batch-api"), cwd=tmp_path)
    )


def test_killed_while_a_batch_is_under_way_it_is_waited_for_again(server: OpenAIServer, tmp_path: Path) -> None:
    command = generate(server, tmp_path, "d.sqlite", "batch-api")
    server.is_held = True
    process = subprocess.Popen([sys.executable, "-m", "debate_plugin", *map(str, command)], cwd=tmp_path)
    assert server.polled.wait(60)
    server.is_held = False
    while len(server.batches) < 3:  # into the second round
        time.sleep(0.02)
    server.is_held = True
    process.kill()
    process.wait()
    server.is_held = False
    assert '"debated": 4' in ok(debate(*command, "--json", cwd=tmp_path))
    assert set(server.paid.values()) == {1}
    assert len(kept(tmp_path, "d.sqlite")) == 4


def test_a_local_model_has_no_batches(tmp_path: Path) -> None:
    asked = question_file(tmp_path, 1)
    run = debate("generate", "--questions", asked, "--store", "d.sqlite", "--play", "batch-api", cwd=tmp_path)
    assert run.returncode == 2 and "expected --model openai:NAME with --play batch-api" in run.stderr
