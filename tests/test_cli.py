"""The command line: the whole path by hand, and one clear line for whatever the user must fix."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from debate_plugin import Store, abacus
from debate_plugin.evaluation.arithmetic import questions


def debate(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "debate_plugin", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
        timeout=300,
    )


def ok(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 0, run.stderr
    return run.stdout


def question_file(folder: Path, count: int = 12) -> Path:
    path = folder / "questions.jsonl"
    rows = [{"question": q.text, "answer": f"#### {q.reference}"} for q in questions(count, seed=3, split="train")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_whole_path_by_hand(tmp_path: Path) -> None:
    asked = question_file(tmp_path)
    counts = json.loads(ok(debate("generate", "--questions", asked, "--store", "d.sqlite", "--json", cwd=tmp_path)))
    assert (counts["debated"], counts["skipped"], counts["failed"], counts["stored"]) == (12, 0, 0, 12)
    again = json.loads(ok(debate("generate", "--questions", asked, "--store", "d.sqlite", "--json", cwd=tmp_path)))
    assert (again["debated"], again["skipped"]) == (0, 12)

    played = ("generate", "--questions", asked, "--store", "lockstep.sqlite", "--play", "lockstep", "--json")
    assert json.loads(ok(debate(*played, cwd=tmp_path)))["debated"] == 12
    with Store.open(tmp_path / "lockstep.sqlite") as lockstep, Store.open(tmp_path / "d.sqlite") as live:
        assert lockstep.ids() == live.ids()
        said = [[reply.text for one in store.transcripts() for reply in one.replies] for store in (lockstep, live)]
    assert said[0] == said[1]

    card = json.loads(ok(debate("compile", "--store", "d.sqlite", "--out", "sft.jsonl", "--json", cwd=tmp_path)))
    assert card["rows"] + sum(card["without_row"].values()) == card["transcripts"] == 12
    pairs = ok(
        debate("compile", "--store", "d.sqlite", "--rule", "majority_minority", "--out", "dpo.jsonl", cwd=tmp_path)
    )
    assert "of 12 transcripts in dpo.jsonl" in pairs

    trained = json.loads(ok(debate("train", "sft", "--rows", "sft.jsonl", "--out", "sft", "--json", cwd=tmp_path)))
    assert trained["rows"] == card["rows"] and (tmp_path / "sft" / "adapter_model.safetensors").is_file()
    ok(debate("train", "dpo", "--rows", "dpo.jsonl", "--out", "dpo", "--adapter", "sft", cwd=tmp_path))

    report = json.loads(ok(debate("evaluate", "--adapter", "dpo", "--limit", "5", "--json", cwd=tmp_path)))
    assert set(report["methods"]) == {"greedy", "single", "vote", "vote_equal_cost", "debate"}
    assert report["n"] == 5
    table = ok(debate("evaluate", "--questions", asked, "--limit", "3", cwd=tmp_path, COLUMNS="80"))
    assert "vote_equal_cost" in table and "3 questions" in table


def test_one_debate_is_shown_and_its_last_words_are_the_answer(tmp_path: Path) -> None:
    shown = ok(debate("run", "What is the result of 4+18*27+25-24*2?", "--kind", "number", cwd=tmp_path))
    assert "ada, ben, cleo debate: What is the result of 4+18*27+25-24*2?" in shown
    assert "Vote after round 2" in shown and "TextMessage (debate)" in shown
    outcome = json.loads(
        ok(debate("run", "What is the result of 4+18*27+25-24*2?", "--kind", "number", "--json", cwd=tmp_path))
    )
    assert outcome["answer"] is None or outcome["answer"].lstrip("-").isdigit()
    assert len(outcome["votes"]) == 2


def test_each_of_debategpts_changes_can_be_switched_off(tmp_path: Path) -> None:
    asked = question_file(tmp_path, 2)
    for switch, role in (("--no-summaries", "summarizer"), ("--no-cleaning", "cleaner")):
        ok(debate("generate", "--questions", asked, switch, "--run", role, "--store", "d.sqlite", cwd=tmp_path))
        with Store.open(tmp_path / "d.sqlite") as store:
            roles = {reply.turn.role for transcript in store.transcripts(run=role) for reply in transcript.replies}
        assert roles == {"debater", "summarizer", "cleaner"} - {role}
    ok(debate("generate", "--questions", asked, "--no-confidence", "--run", "off", "--store", "d.sqlite", cwd=tmp_path))
    with Store.open(tmp_path / "d.sqlite") as store:
        prompts = [t.replies[0].turn.prompt for t in store.transcripts(run="off")]
    assert prompts and not any("Confidence" in prompt for prompt in prompts)


BAD = [
    (["generate", "--questions", "missing.txt"], "expected a readable UTF-8 question file, missing.txt"),
    (["generate", "--questions", "empty.txt"], "expected at least one question in empty.txt"),
    (["generate", "--questions", "rows.jsonl"], "column 'question' at line 1 of rows.jsonl"),
    (["generate", "--questions", "rows.jsonl", "--column", "problem"], "column 'problem' at line 2 of rows.jsonl"),
    (["generate", "--questions", "ok.txt", "--model", "./nothing"], "there is none at ./nothing"),
    (["generate", "--questions", "ok.txt", "--model", "no-such/model"], "'no-such/model' did not load"),
    (["generate", "--questions", "ok.txt", "--adapter", "nothing"], "expected a LoRA adapter folder"),
    (["generate", "--questions", "ok.txt", "--store", "ok.txt"], "expected a SQLite file or a database URL, ok.txt"),
    (["generate", "--questions", "ok.txt", "--store", "no/where.sqlite"], "no/where.sqlite could not be opened"),
    (["generate", "--questions", "ok.txt", "--store", "no://where"], "no://where could not be opened"),
    (["generate", "--questions", "ok.txt", "--model", "openai:x"], "expected an API key in OPENAI_API_KEY"),
    (["generate", "--questions", "ok.txt", "--base-url", "http://x"], "--base-url goes with --model openai:NAME"),
    (["generate", "--questions", "ok.txt", "--colour", "red"], "No such option '--colour'"),
    (["generate", "--questions", "ok.txt", "--limit", "0"], "Invalid value for '--limit'"),
    (["generate"], "Missing option '--questions'"),
    (["argue"], "No such command 'argue'"),
    (["compile", "--store", "missing.sqlite", "--out", "rows.out"], "expected a store at missing.sqlite"),
    (["train", "sft", "--rows", "missing.jsonl", "--out", "new"], "expected a readable row file"),
    (["train", "sft", "--rows", "rows.jsonl", "--out", "."], "is there already"),
    (["train", "sft", "--rows", "rows.jsonl", "--out", "new"], "at line 1 of rows.jsonl"),
    (["train", "dpo", "--rows", "rows.jsonl", "--out", "new", "--model", "openai:x"], "which is a server"),
    (["evaluate", "--questions", "ok.txt"], "free answers cannot be compared"),
    (["evaluate", "--questions", "ok.txt", "--kind", "number"], "has no reference answer"),
    (["generate", "--questions", "ok.txt", "--store", ""], "got an empty name"),
    (["generate", "--questions", "ok.txt", "--model", "~nosuchuser/x"], "there is none at ~nosuchuser/x"),
    (["compile", "--store", "foreign.sqlite", "--out", "rows.out"], "is another program's"),
    (["compile", "--store", "sqlite:///none.sqlite", "--out", "rows.out"], "found no file there"),
    (["generate", "--questions", "ok.txt", "--store", "nosuchdb://x/y"], "nosuchdb://x/y could not be opened"),
    (["train", "sft", "--rows", "rows.jsonl", "--out", "new", "--adapter", "x", "--rank", "4"], "drop one of them"),
    (["demo", "--out", "."], "is there already"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "ok.txt").write_text("What is 2+2?\n")
    with sqlite3.connect(tmp_path / "foreign.sqlite") as connection:
        connection.execute("CREATE TABLE transcripts (speaker TEXT)")
    (tmp_path / "rows.jsonl").write_text('{"problem": "What is 2+2?"}\n{"problem": 4}\n')
    return tmp_path


@pytest.mark.parametrize(("words", "complaint"), BAD, ids=[" ".join(words) for words, _ in BAD])
def test_bad_input_is_one_line_and_exit_code_2(
    folder: Path, words: list[str], complaint: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from debate_plugin.cli import main

    before = {path.name for path in folder.iterdir()}
    monkeypatch.chdir(folder)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(sys, "argv", ["debate", *words])
    with pytest.raises(SystemExit) as exit:
        main()
    shown = capfd.readouterr().err
    assert exit.value.code == 2
    assert complaint in shown
    assert shown.count("error:") == 1 and shown.strip().splitlines()[-1].startswith("error:")
    assert "Traceback" not in shown
    assert {path.name for path in folder.iterdir()} == before


def test_a_missing_extra_says_what_to_install(folder: Path) -> None:
    """The package without torch: only what needs it complains, in one line."""
    (folder / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    run = debate("generate", "--questions", "ok.txt", cwd=folder, PYTHONPATH=str(folder))
    assert run.returncode == 2
    assert run.stderr.strip() == (
        "error: expected the package 'torch', which is not installed; run: pip install 'debate-plugin[train]'"
    )


def test_nobody_home_ends_in_one_line_and_records_nothing(folder: Path) -> None:
    (folder / "many.txt").write_text("".join(f"What is {number}+1?\n" for number in range(30)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    run = debate(
        "generate",
        "--questions",
        "many.txt",
        "--model",
        "openai:x",
        "--base-url",
        f"http://127.0.0.1:{port}/v1",
        cwd=folder,
    )
    assert run.returncode == 1
    assert "the first 10 debates all failed" in run.stderr
    with Store.open(folder / "debates.sqlite") as store:
        assert len(store) == 0


def test_killed_at_any_moment_the_series_goes_on_where_it_was(tmp_path: Path) -> None:
    asked = question_file(tmp_path, 60)
    words = ["generate", "--questions", str(asked), "--store", "d.sqlite", "--concurrency", "4", "--json"]
    running = subprocess.Popen(
        [sys.executable, "-m", "debate_plugin", *words],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    held = 0
    deadline = time.monotonic() + 120
    while held < 5 and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
        if (tmp_path / "d.sqlite").exists():
            try:
                with Store.open(tmp_path / "d.sqlite") as store:
                    held = len(store)
            except ValueError:
                continue  # looked at while the file was being made
    running.kill()
    running.wait()
    with Store.open(tmp_path / "d.sqlite") as store:
        kept = store.ids()
    assert len(kept) >= 5
    counts = json.loads(ok(debate(*words, cwd=tmp_path)))
    assert (counts["skipped"], counts["stored"]) == (len(kept), 60)
    with Store.open(tmp_path / "d.sqlite") as store:
        assert kept < store.ids()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real OpenAI-compatible server with the embedded model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = tmp_path_factory.mktemp("hub")
    (home / "hub").mkdir()
    process = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("transformers")),
            "serve",
            str(abacus.FOLDER),
            "--device",
            "cpu",
            "--port",
            str(port),
        ],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert process.poll() is None, "the server did not start"
        time.sleep(0.2)
    yield f"http://127.0.0.1:{port}/v1"
    process.kill()
    process.wait()


def test_it_debates_through_an_openai_compatible_server(server: str, tmp_path: Path) -> None:
    asked = question_file(tmp_path, 3)
    words = ["--questions", asked, "--model", f"openai:{abacus.FOLDER}", "--base-url", server, "--max-tokens", "200"]
    counts = json.loads(ok(debate("generate", *words, "--json", cwd=tmp_path)))
    assert (counts["debated"], counts["failed"]) == (3, 0)
    assert counts["completion_tokens"] > 100
    with Store.open(tmp_path / "debates.sqlite") as store:
        transcripts = list(store.transcripts())
    assert all(len(transcript.in_round(2)) == 3 for transcript in transcripts)
    assert any(reply.answer is not None for transcript in transcripts for reply in transcript.replies)
    openings = [reply.text for transcript in transcripts for reply in transcript.in_round(1)]
    assert len(set(openings)) > 3  # the debaters do not all say the same
