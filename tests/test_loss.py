"""Which tokens carry loss, for rows of every shape: read off the batches that TRL's trainers make of compiled rows."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from records import calculating, debated, talked, with_tools
from test_formats import CHATML
from test_training import said, write

from debate_plugin import abacus
from debate_plugin.dataset.compile import Compilation, compile_rows
from debate_plugin.dataset.rules import binary, conversation, critic, final_answer, majority_minority
from debate_plugin.training import lora
from debate_plugin.training.kto import train_kto
from debate_plugin.training.preference import train_preference
from debate_plugin.training.sft import train_sft

IGNORED = -100


class Looked(Exception):
    """The batch was seen; nothing need be trained."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model with a template that has places for tools, their calls and their results."""
    folder = tmp_path_factory.mktemp("loss") / "model"
    shutil.copytree(abacus.FOLDER, folder)
    (folder / "chat_template.jinja").write_text(CHATML.replace("</{{ m.role }}>", "<|end|>"))
    return folder


def batch_of(train: Any, model: Path, rows: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    """The first batch that the method's trainer would train on, and its tokenizer."""
    seen: list[Any] = []

    def look(**given: Any) -> Any:
        seen.extend((next(iter(given["trainer"].get_train_dataloader())), given["tokenizer"]))
        raise Looked

    monkeypatch.setattr(lora, "preflight", look)
    with pytest.raises(Looked):
        train(model, rows, rows.with_name("out"))
    batch, tokenizer = seen
    return batch, tokenizer


def sft(model: Path, rows: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Of each row what carries loss, and what stands before it."""
    batch, tokenizer = batch_of(train_sft, model, rows, monkeypatch)
    read = {}
    for ids, labels, there in zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True):
        carries = labels != IGNORED
        assert (labels[carries] == ids[carries]).all()
        assert not carries[there == 0].any()  # padding
        read[tokenizer.decode(ids[carries])] = tokenizer.decode(ids[~carries & (there == 1)])
    return read


def masked(batch: Any, tokenizer: Any, name: str = "") -> list[tuple[str, str]]:
    """Of each row what TRL's completion mask leaves to the loss, and what it keeps from it."""
    return [
        (tokenizer.decode(ids[mask == 1]), tokenizer.decode(ids[(mask == 0) & (there == 1)]))
        for ids, mask, there in zip(
            *(batch[name + column] for column in ("input_ids", "completion_mask", "attention_mask")), strict=True
        )
    ]


def compiled(tmp_path: Path, records: list[Any], rule: Any, format: Any = "trl") -> Path:
    compile_rows(records, tmp_path / "rows.jsonl", Compilation(rule=rule, format=format))
    return tmp_path / "rows.jsonl"


async def test_of_a_question_and_its_answer_the_answer(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = compiled(tmp_path, [await debated()], final_answer)
    ((learnt, shown),) = sft(model, rows, monkeypatch).items()
    assert learnt == "Answer: 4<|end|>" and shown == "<user>What is 2+2?<|end|><assistant>"


async def test_of_a_corrected_trace_the_last_turn_and_not_the_wrong_first_one(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = compiled(tmp_path, [await debated()], partial(critic, agent="ben"))
    ((learnt, shown),) = sft(model, rows, monkeypatch).items()
    assert learnt == "I agree with the others. Answer: 4\nConfidence: 70<|end|>"
    assert "<assistant>Answer: 5\nConfidence: 50<|end|><user>" in shown


async def test_of_a_kept_trace_each_of_its_turns_once(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = compiled(tmp_path, [await debated()], partial(critic, agent="ada"))
    read = sft(model, rows, monkeypatch)
    first, last = "A: 2+2=4\nAnswer: 4\nConfidence: 60<|end|>", "Answer: 4\nConfidence: 90<|end|>"
    assert set(read) == {first, last}
    assert f"<assistant>{first}<user>" in read[last] and "<assistant>A:" not in read[first]


async def test_of_a_run_with_tools_calls_and_words_but_no_results(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = compiled(tmp_path, [await talked(calculating())], conversation)
    read = sft(model, rows, monkeypatch)
    call = '<call>product {"a": 4, "b": 5}</call><|end|>'
    assert set(read) == {call, "It is 20.<|end|>"}
    assert read["It is 20.<|end|>"].endswith(f"<assistant>{call}<tool>20<|end|><assistant>")
    assert all(shown.startswith("<tools>[") for shown in read.values())


async def test_of_a_debater_with_tools_no_result_and_nothing_of_the_others(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = compiled(tmp_path, [await with_tools()], partial(critic, agent="ada"))
    read = sft(model, rows, monkeypatch)
    call = '<call>product {"a": 4, "b": 5}</call><|end|>'
    assert set(read) == {call, "4*5 is 20. Answer: 20<|end|>", "Answer: 20<|end|>"}
    assert "<reply>\nAnswer: 9" in read["Answer: 20<|end|>"] and "<tool>20<|end|>" in read["Answer: 20<|end|>"]


@pytest.mark.parametrize("format", ["trl-messages", "openai"])
async def test_of_chats_of_messages_what_the_format_says(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, format: Any
) -> None:
    rows = compiled(tmp_path, [await debated()], partial(critic, agent="ada"), format)
    first, last = "A: 2+2=4\nAnswer: 4\nConfidence: 60<|end|>", "Answer: 4\nConfidence: 90<|end|>"
    read = sft(model, rows, monkeypatch)
    assert set(read) == {first, last} and f"<assistant>{first}<user>" in read[last]


@pytest.mark.parametrize("flag", [{"loss": False}, {"weight": 0}])
def test_of_a_chat_of_messages_no_reply_that_says_it_carries_none(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, flag: dict[str, object]
) -> None:
    wrong = [{**message, **flag} for message in said("assistant", "3")]
    chat = [*said("user", "1+1"), *wrong, *said("user", "2+2"), *said("assistant", "4")]
    rows = write(tmp_path / "rows.jsonl", [{"messages": chat}])
    assert sft(model, rows, monkeypatch) == {
        "4<|end|>": "<user>1+1<|end|><assistant>3<|end|><user>2+2<|end|><assistant>"
    }


async def test_of_a_pair_each_side_and_not_the_prompt_they_share(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = compiled(tmp_path, [await debated()], majority_minority)
    batch, tokenizer = batch_of(train_preference, model, rows, monkeypatch)
    (chosen, asked), (rejected, asked_too) = masked(batch, tokenizer)  # TRL stacks the chosen above the rejected
    assert chosen == "A: 2+2=4\nAnswer: 4\nConfidence: 60<|end|>"
    assert rejected == "Answer: 5\nConfidence: 50<|end|>"
    assert asked == asked_too and asked.startswith("<system>You are") and asked.endswith("<|end|><assistant>")


async def test_of_a_labelled_reply_the_reply_under_its_label(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = compiled(tmp_path, [await debated()], binary)
    batch, tokenizer = batch_of(train_kto, model, rows, monkeypatch)
    replies = masked(batch, tokenizer)
    good, bad = "A: 2+2=4\nAnswer: 4\nConfidence: 60<|end|>", "Answer: 5\nConfidence: 50<|end|>"
    assert {reply: bool(label) for (reply, _), label in zip(replies, batch["label"], strict=True)} == {
        good: True,
        bad: False,
    }
    # The reference point is estimated on prompts with the replies of other rows, of which the prompt counts as little.
    strangers = masked(batch, tokenizer, "KL_")
    assert sorted(reply for reply, _ in strangers) == sorted([good, bad])
    assert all(asked.endswith("<|end|><assistant>") for _, asked in [*replies, *strangers])
    assert all(mine != other for (mine, _), (other, _) in zip(replies, strangers, strict=True))
