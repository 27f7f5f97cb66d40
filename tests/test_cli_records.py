"""The command line over a store: runs, show, export, import, and compile with all that it can be told."""

import asyncio
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from records import calculating, debated, talked, with_tools

from debate_plugin import Question, Store
from debate_plugin.splits import split_of

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command in a folder of its own: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def command(*words: object) -> tuple[int, str, str]:
        from debate_plugin.cli import main

        monkeypatch.setattr(sys, "argv", ["debate", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return code, out, err

    return command


@pytest.fixture
def store(tmp_path: Path) -> Path:
    place = tmp_path / "debates.sqlite"
    with Store.open(place) as opened:
        for number in range(8):
            question = Question.of(f"What is {number}+1?", kind="number", source="sums", licence="MIT")
            opened.add(asyncio.run(debated(question=question)))
        opened.add(asyncio.run(with_tools()).model_copy(update={"id": "tools", "run": "second"}))
        opened.add(asyncio.run(talked(calculating())).model_copy(update={"id": "talk", "run": "second"}))
        opened.keep("half", "{}", run="second")
    return place


def test_runs_are_listed(store: Path, run: Run) -> None:
    code, out, _ = run("runs", "--json")
    assert code == 0 and json.loads(out) == [
        {"name": "default", "debates": 8, "conversations": 0, "unfinished": 0},
        {"name": "second", "debates": 1, "conversations": 1, "unfinished": 1},
    ]
    assert "second" in run("runs")[1]


def test_a_record_is_shown_by_the_beginning_of_its_id(store: Path, run: Run) -> None:
    code, out, _ = run("show", "tool")
    assert code == 0
    for part in (
        "debate tools of run second",
        "ada: model not told, tools product",
        'product({"a": 4, "b": 5}) -> 20',
        "Vote after round 1: 20 (ada); 9 (ben)",
        "Decided by majority: 20",
    ):
        assert part in out
    assert out.index("Vote after round 1") < out.index("[round 2, debater]") < out.index("Vote after round 2")
    assert json.loads(run("show", "tools", "--json")[1])["id"] == "tools"


def test_a_conversation_is_shown(store: Path, run: Run) -> None:
    code, out, _ = run("show", "talk")
    assert code == 0 and "What is 4*5?" in out and "It is 20." in out and "End: finished" in out


def test_without_an_id_records_are_listed(store: Path, run: Run) -> None:
    code, out, _ = run("show", "--run", "second")
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == ["tools", "talk"]
    assert "What is 4*5? -> 20" in out
    assert len(run("show", "--json")[1].splitlines()) == 10


def test_a_row_leads_back_to_its_debate(store: Path, run: Run) -> None:
    assert run("compile", "--rule", "generator", "--out", "g.jsonl", "--format", "openai")[0] == 0
    code, out, _ = run("show", "--row", "g.jsonl:3")
    origin = json.loads(Path("g.provenance.jsonl").read_text().splitlines()[2])
    assert code == 0 and f"debate {origin['transcript']} of run default" in out and '"rule": "generator"' in out


def test_records_are_passed_on(store: Path, run: Run) -> None:
    assert run("export", "--out", "all.jsonl")[1] == "10 records in all.jsonl\n"
    assert run("export", "--out", "second.jsonl", "--run", "second", "--json")[1] == '{"records": 2}\n'
    assert run("import", "all.jsonl", "--store", "new.sqlite")[1] == "10 records added, 0 were there already\n"
    with Path("all.jsonl").open("a") as file:
        file.write("{}\n")
    code, out, err = run("import", "all.jsonl", "--store", "new.sqlite")
    assert (code, out) == (1, "0 records added, 10 were there already\n")
    assert "line 11: expected a transcript or a conversation" in err and "the rest was taken" in err


def test_compile_takes_filters_options_splits_and_mixes(store: Path, run: Run) -> None:
    Path("test.txt").write_text("What is 3+1?\n")
    words = ["--rule", "critic", "--set", "all_turns=true", "--mix", "corrected=1", "--mix", "kept=1"]
    bounds = ["--min-agreement", "0.5", "--length-ratio", "3", "--near-duplicates", "0.99"]
    more = ["--held-out", "test.txt", *bounds, "--run", "default"]
    code, out, err = run("compile", *words, *more, "--out", "c.jsonl", "--test-share", "0.5", "--seed", "1", "--json")
    assert code == 0, err
    card = json.loads(out)
    assert card["options"] == {"all_turns": True} and card["mix"] == {"corrected": 1.0, "kept": 1.0}
    names = [one["name"] for one in card["filters"]]
    assert names == ["agreement", "length_balance", "held_out", "secrets", "near_duplicates"]
    assert card["rows_left_out"]["holds a held-out question"] == 2
    assert card["parts"]["corrected"] == card["parts"]["kept"]
    for file in card["files"]:
        for line in Path(file["name"]).read_text().splitlines():
            question = json.loads(line)["provenance"]["question"]
            assert split_of(question, test_share=0.5) == file["split"]


def test_compile_takes_any_rule_and_conversations(store: Path, run: Run) -> None:
    assert run("compile", "--rule", "conversation", "--out", "t.jsonl")[1].startswith("1 rows of 1 of 1 transcripts")
    code, out, _ = run("compile", "--rule", "records:nothing_but_questions", "--out", "q.jsonl")
    assert code == 0 and out.startswith("9 rows of 9 of 9")
    code, out, _ = run("compile", "--tokenizer", "abacus", "--out", "f.jsonl", "--json")
    assert json.loads(out)["unit"] == "tokens of abacus"


def test_a_secret_is_left_out_unless_it_is_to_be_kept(run: Run) -> None:
    with Store.open("debates.sqlite") as opened:
        opened.add(asyncio.run(debated({"ada": ["Use ghp_" + "A1b2C3d4E5f6" * 3 + ".\nAnswer: 4"] * 2})))
    code, _, err = run("compile", "--out", "f.jsonl")
    assert code == 2 and "holds a secret: 1" in err and "ghp_" not in err
    assert run("compile", "--out", "f.jsonl", "--keep-secrets")[0] == 0


def test_records_that_cannot_be_read_are_counted_and_the_rest_goes_on(store: Path, run: Run) -> None:
    with sqlite3.connect(store) as database:
        newer = "UPDATE transcripts SET transcript = replace(transcript, ?, ?) WHERE id = 'tools'"
        database.execute(newer, ('"schema_version":2', '"schema_version":9'))
    code, out, _ = run("compile", "--out", "f.jsonl")
    assert code == 0 and "8 rows of 8 of 9 transcripts" in out and "unreadable: expected a record of schema 2" in out
    assert "tools  debate  unreadable" in run("show")[1]
    code, _, err = run("show", "tools")
    assert code == 2 and "read it with a newer debate-plugin" in err


WRONG = [
    (["show", "nothing"], "expected one record 'nothing'"),
    (["show", "t"], "several ids that begin so"),
    (["show", "tools", "--row", "x:1"], "got both"),
    (["show", "--row", "missing.jsonl:1"], "check the path"),
    (["runs", "--store", "missing.sqlite"], "expected a store at missing.sqlite"),
    (["export", "--out", "debates.sqlite"], "is there already"),
    (["import", "missing.jsonl"], "expected a readable file of records"),
    (["compile", "--out", "x.jsonl", "--rule", "wisdom"], "expected a rule out of final_answer"),
    (["compile", "--out", "x.jsonl", "--set", "k"], "expected --set NAME=VALUE"),
    (["compile", "--out", "x.jsonl", "--rule", "critic", "--mix", "kept=much"], "as the share of 'kept'"),
    (["compile", "--out", "x.jsonl", "--rule", "critic", "--mix", "kept=1"], "got none for 'corrected'"),
    (["compile", "--out", "x.csv"], "expected a name that ends with .jsonl"),
    (["compile", "--out", "x.jsonl", "--format", "csv"], "Invalid value for '--format'"),
    (["compile", "--out", "x.jsonl", "--min-agreement", "0.9", "--max-agreement", "0.1"], "up to --max-agreement"),
    (["compile", "--out", "x.jsonl", "--held-out", "missing.txt"], "missing.txt"),
    (["compile", "--out", "x.jsonl", "--tokenizer", "./nothing"], "there is none at ./nothing"),
    (["compile", "--out", "x.jsonl", "--rule", "critic", "--format", "alpaca"], "Alpaca cannot say"),
    (["compile", "--out", "x.jsonl", "--run", "nobody"], "there are none"),
    (["generate", "--questions", "one.txt", "--test-share", "0.9999"], "leaves none of 1"),
]


@pytest.mark.parametrize(("words", "complaint"), WRONG, ids=[" ".join(words) for words, _ in WRONG])
def test_wrong_input_is_one_line(store: Path, run: Run, words: list[str], complaint: str) -> None:
    Path("one.txt").write_text("What is 2+2?\n")
    code, out, err = run(*words)
    told = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2 and out == "" and len(told) == 1 and complaint in told[0], err
    assert not list(Path().glob("x.*"))


def test_the_test_share_is_not_debated_and_is_what_is_evaluated(tmp_path: Path, run: Run) -> None:
    from debate_plugin.evaluation.arithmetic import questions

    asked = [(one.text, one.reference) for one in questions(12, seed=3, split="train")]
    lines = [json.dumps({"question": text, "answer": f"#### {answer}"}) for text, answer in asked]
    Path("q.jsonl").write_text("\n".join(lines))
    sides = [split_of(Question.of(text).id, test_share=0.4) for text, _ in asked]
    assert 0 < sides.count("test") < 12
    code, out, err = run("generate", "--questions", "q.jsonl", "--test-share", "0.4", "--licence", "MIT", "--json")
    assert code == 0, err
    assert json.loads(out)["debated"] == sides.count("train")
    with Store.open("debates.sqlite") as store:
        assert all(split_of(one.question.id, test_share=0.4) == "train" for one in store.transcripts())
        assert {(one.question.source, one.question.licence) for one in store.transcripts()} == {("q.jsonl", "MIT")}
    code, out, err = run("evaluate", "--questions", "q.jsonl", "--test-share", "0.4", "--json")
    assert code == 0, err
    assert json.loads(out)["n"] == sides.count("test")
