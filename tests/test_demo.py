"""The whole path in small: every stage runs, and no right answer leaks into what is trained on."""

import json
from pathlib import Path

import pytest

from debate_plugin import Store
from debate_plugin.evaluation.arithmetic import questions
from debate_plugin.loops.demo import Demo, run_demo


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    folder = tmp_path_factory.mktemp("demo")
    return folder, run_demo(folder, Demo(debates=40, test_questions=6, seed=1))


def test_the_result_is_the_table_that_the_readme_explains(ran: tuple[Path, dict[str, object]]) -> None:
    _, result = ran
    assert set(result) == {"n", "seed", "models", "gains", "seconds"}
    assert (result["n"], result["seed"]) == (6, 1)
    models = json.loads(json.dumps(result))["models"]
    assert list(models) == ["base", "sft", "dpo"]
    for methods in models.values():
        assert list(methods) == ["greedy", "single", "vote", "vote_equal_cost", "debate"]
        for cell in methods.values():
            assert 0 <= cell["low"] <= cell["accuracy"] <= cell["high"] <= 1
    assert set(result["seconds"]) == {"debate", "compile", "train_sft", "train_dpo", "evaluate"}  # type: ignore[call-overload]


def test_it_leaves_store_rows_cards_and_adapters(ran: tuple[Path, dict[str, object]]) -> None:
    folder, _ = ran
    with Store.open(folder / "debates.sqlite") as store:
        assert len(store) == 40
    for name in ("sft", "dpo"):
        assert (folder / name / "adapter_model.safetensors").is_file()
        card = json.loads((folder / f"{name}.card.json").read_text())
        assert card["transcripts"] == 40 and card["rows"] == len((folder / f"{name}.jsonl").read_text().splitlines())


def test_rows_come_from_what_was_said_and_never_from_a_test_question(ran: tuple[Path, dict[str, object]]) -> None:
    folder, _ = ran
    tested = {question.id for question in questions(6, seed=1, split="test")}
    with Store.open(folder / "debates.sqlite") as store:
        said = "".join(reply.text or "" for transcript in store.transcripts() for reply in transcript.replies)
    for name in ("sft", "dpo"):
        for line in (folder / f"{name}.jsonl").read_text().splitlines():
            row = json.loads(line)
            assert row["provenance"]["question"] not in tested
            targets = row["completion"] if name == "sft" else [*row["chosen"], *row["rejected"]]
            for target in targets:  # the working as it was said; the last line may be put as a sentence
                assert target["content"].rpartition("\n")[0] in said
