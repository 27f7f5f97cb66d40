"""The formats, each read back by the library that owns it."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, load_dataset, load_from_disk
from openai.types.chat import (
    ChatCompletionAssistantMessageParam,
    ChatCompletionFunctionToolParam,
    ChatCompletionMessageParam,
)
from pydantic import TypeAdapter
from records import calculating, debated, recorded, talked, with_tools
from transformers import AutoTokenizer
from trl.data_utils import apply_chat_template, is_conversational

from debate_plugin import Plan, Transcript, abacus
from debate_plugin.dataset.compile import Compilation, compile_rows
from debate_plugin.dataset.formats import FORMATS
from debate_plugin.dataset.rows import NoRow, Row
from debate_plugin.dataset.rules import binary, conversation, critic, final_answer, majority_minority, prompts_only

CHATML = (
    "{% if tools %}<tools>{{ tools | tojson }}</tools>{% endif %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<call>{{ c.function.name }} {{ c.function.arguments | tojson }}</call>"
    "{% endfor %}</{{ m.role }}>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    tokenizer = AutoTokenizer.from_pretrained(str(abacus.FOLDER))
    tokenizer.chat_template = CHATML
    return tokenizer


def made(rule: Any, record: Any, **options: Any) -> list[Row]:
    rows = rule(record, **options)
    assert not isinstance(rows, NoRow), rows
    return list(rows)


def write(name: str, rows: list[Row]) -> list[dict[str, Any]]:
    return [line for row in rows for line in FORMATS[name].write(row)]


def through_json(tmp_path: Path, lines: list[dict[str, Any]]) -> Any:
    """As the datasets library reads them from a file."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))


# trl


async def test_trl_splits_a_chat_at_each_reply_that_carries_loss(tmp_path: Path, tokenizer: Any) -> None:
    rows = made(critic, await debated(), agent="ben") + made(critic, await with_tools(), agent="ada")
    read = through_json(tmp_path, write("trl", rows))
    assert len(read) == 1 + 3  # corrected: the last turn; kept: the call, the opening and the last turn
    for row in read:
        assert is_conversational(row)
        text = apply_chat_template(dict(row), tokenizer)
        assert text["completion"].endswith("</assistant>") and "<assistant>" in text["prompt"]
    corrected = apply_chat_template(dict(read[0]), tokenizer)
    assert "Answer: 5" in corrected["prompt"] and "Answer: 5" not in corrected["completion"]
    assert "loss" not in json.dumps(list(read))


async def test_trl_takes_tools_and_renders_their_arguments_as_an_object(tmp_path: Path, tokenizer: Any) -> None:
    read = through_json(tmp_path, write("trl", made(conversation, await talked(calculating()))))
    assert json.loads(read[0]["tools"])[0]["function"]["name"] == "product"
    call, answer = (apply_chat_template(dict(row), tokenizer, tools=json.loads(row["tools"])) for row in read)
    assert '<call>product {"a": 4, "b": 5}</call>' in call["completion"]
    assert "<tool>20</tool>" in answer["prompt"] and answer["completion"].startswith("It is 20.")


async def test_trl_reads_pairs_labels_and_prompts(tmp_path: Path, tokenizer: Any) -> None:
    transcript = await debated()
    for rule, columns in (
        (majority_minority, {"prompt", "chosen", "rejected"}),
        (binary, {"prompt", "completion", "label"}),
        (prompts_only, {"prompt", "answer"}),
    ):
        (tmp_path / rule.__name__).mkdir()
        read = through_json(tmp_path / rule.__name__, write("trl", made(rule, transcript)))
        assert set(read.column_names) == {*columns, "provenance"}
        assert is_conversational(read[0])
        assert apply_chat_template({name: read[0][name] for name in columns - {"answer"}}, tokenizer)["prompt"]


async def test_messages_say_that_every_reply_carries_loss_or_refuse(tmp_path: Path) -> None:
    read = through_json(tmp_path, write("trl-messages", made(conversation, await talked(calculating()))))
    assert is_conversational(read[0]) and [message["role"] for message in read[0]["messages"]][-1] == "assistant"
    with pytest.raises(ValueError, match="must not be learnt"):
        write("trl-messages", made(critic, await debated(), agent="ben"))


async def test_what_trl_trains_on_are_the_words_that_carry_loss(tmp_path: Path) -> None:
    """The real trainer's own labels, token by token."""
    from transformers import AutoModelForCausalLM
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    read = through_json(tmp_path, write("trl", made(critic, await debated(), agent="ben")))
    tokenizer = AutoTokenizer.from_pretrained(str(abacus.FOLDER))
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(str(abacus.FOLDER)),
        args=SFTConfig(
            output_dir=str(tmp_path / "out"),
            max_length=2048,
            completion_only_loss=True,
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            bf16=False,
        ),
        train_dataset=read,
        processing_class=tokenizer,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    trained = [token for token, label in zip(batch["input_ids"][0], batch["labels"][0], strict=True) if label != -100]
    text = tokenizer.decode(trained)
    assert "I agree with the others. Answer: 4" in text and "Answer: 5" not in text and "Work through" not in text


# openai

MESSAGES = TypeAdapter(list[ChatCompletionMessageParam])


async def test_openai_gets_a_weight_of_nothing_for_what_must_not_be_learnt() -> None:
    (line,) = write("openai", made(critic, await debated(), agent="ben"))
    assert set(line) == {"messages"}
    assert [message.get("weight") for message in line["messages"]] == [None, None, 0, None, None]
    MESSAGES.validate_python([{k: v for k, v in one.items() if k != "weight"} for one in line["messages"]])


async def test_openai_reads_tools_calls_and_results() -> None:
    (line,) = write("openai", made(conversation, await talked(calculating())))
    read = MESSAGES.validate_python(line["messages"])
    assert [message["role"] for message in read] == ["system", "user", "assistant", "tool", "assistant"]
    TypeAdapter(list[ChatCompletionFunctionToolParam]).validate_python(line["tools"])
    assert json.loads(line["messages"][2]["tool_calls"][0]["function"]["arguments"]) == {"a": 4, "b": 5}


async def test_openai_preferences_and_prompts() -> None:
    transcript = await debated()
    (line,) = write("openai", made(majority_minority, transcript))
    assert set(line) == {"input", "preferred_output", "non_preferred_output"}
    MESSAGES.validate_python(line["input"]["messages"])
    for name in ("preferred_output", "non_preferred_output"):
        (said,) = TypeAdapter(list[ChatCompletionAssistantMessageParam]).validate_python(line[name])
        assert said["role"] == "assistant" and said.get("content")
    (prompt,) = write("openai", made(prompts_only, transcript))
    assert prompt == {"messages": [{"role": "user", "content": "What is 2+2?"}], "answer": "4"}
    with pytest.raises(ValueError, match="no format for labelled rows"):
        write("openai", made(binary, transcript))


# sharegpt and alpaca


async def test_sharegpt_sides_take_turns_and_tools_have_sides_of_their_own(tmp_path: Path) -> None:
    (line,) = through_json(tmp_path, write("sharegpt", made(conversation, await talked(calculating()))))
    assert [one["from"] for one in line["conversations"]] == ["human", "function_call", "observation", "gpt"]
    assert json.loads(line["conversations"][1]["value"]) == [{"name": "product", "arguments": {"a": 4, "b": 5}}]
    assert line["system"] == "Use the tool." and json.loads(line["tools"])[0]["name"] == "product"
    with pytest.raises(ValueError, match="ShareGPT cannot say"):
        write("sharegpt", made(critic, await debated(), agent="ben"))
    with pytest.raises(ValueError, match="none without a reply"):
        write("sharegpt", made(prompts_only, await debated()))


async def test_sharegpt_pairs_and_labels(tmp_path: Path) -> None:
    transcript = await debated()
    (line,) = write("sharegpt", made(majority_minority, transcript))
    assert [one["from"] for one in line["conversations"]] == ["human"]
    assert line["chosen"]["from"] == line["rejected"]["from"] == "gpt" and line["system"].startswith("You are")
    good, bad = write("sharegpt", made(binary, transcript))
    assert (good["label"], bad["label"]) == (True, False)
    assert [one["from"] for one in good["conversations"]] == ["human", "gpt"]


async def test_alpaca_has_history_and_no_tools() -> None:
    transcript = await debated({"ada": ["Answer: 4", "Still. Answer: 4"], "ben": ["Answer: 4", "Answer: 4"]})
    line = write("alpaca", made(critic, transcript, agent="ada"))[0]
    assert line["history"] == [[transcript.replies[0].turn.prompt, "Answer: 4"]]
    assert line["output"] == "Still. Answer: 4" and line["input"] == "" and "careful" in line["system"]
    with pytest.raises(ValueError, match="Alpaca has no place"):
        write("alpaca", made(conversation, await talked(calculating())))
    with pytest.raises(ValueError, match="Alpaca cannot say"):
        write("alpaca", made(critic, await debated(), agent="ben"))
    disputed = await debated()
    pair = write("alpaca", made(majority_minority, disputed))[0]
    assert pair["chosen"].startswith("A: 2+2") and pair["rejected"].startswith("Answer: 5")
    assert [one["label"] for one in write("alpaca", made(binary, disputed))] == [True, False]


async def test_llama_factory_finds_the_files_by_their_entry(tmp_path: Path) -> None:
    transcript = await debated()
    for format, rule in (("sharegpt", majority_minority), ("alpaca", final_answer), ("sharegpt", binary)):
        name = f"{rule.__name__}-{format}"
        compile_rows([transcript], tmp_path / f"{name}.json", Compilation(rule=rule, format=format))  # type: ignore[arg-type]
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert info["majority_minority-sharegpt"] == {
        "file_name": "majority_minority-sharegpt.json",
        "formatting": "sharegpt",
        "ranking": True,
        "columns": {
            "messages": "conversations",
            "system": "system",
            "tools": "tools",
            "chosen": "chosen",
            "rejected": "rejected",
        },
    }
    assert info["final_answer-alpaca"]["columns"]["response"] == "output"
    assert info["binary-sharegpt"]["columns"]["kto_tag"] == "label"
    for entry in info.values():
        rows = json.loads((tmp_path / entry["file_name"]).read_text())
        assert set(entry["columns"].values()) <= set(rows[0])


# containers


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.parquet", "rows"])
@pytest.mark.parametrize("format", ["trl", "openai", "sharegpt"])
async def test_each_container_is_read_by_the_datasets_library(tmp_path: Path, name: str, format: Any) -> None:
    records: list[Transcript] = [await debated(), await with_tools()]
    out = tmp_path / name
    card = compile_rows(records, out, Compilation(rule=partial(critic, all_turns=True), format=format))
    cache = str(tmp_path / "cache")
    if name == "rows":
        read = load_from_disk(str(out))
    elif name.endswith("parquet"):
        read = Dataset.from_parquet(str(out), cache_dir=cache)
    else:
        read = load_dataset("json", data_files=str(out), split="train", cache_dir=cache)
    assert len(read) == card.rows == card.files[0].rows or format == "trl"
    assert len(read) == card.files[0].rows
    assert "4*5" in json.dumps(read[len(read) - 1])


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.parquet", "rows"])
async def test_the_same_records_give_the_same_bytes(tmp_path: Path, name: str) -> None:
    records = [await debated(), await with_tools(), await recorded(_cleaned())]
    written = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        compile_rows(
            records, tmp_path / folder / name, Compilation(rule=critic, format="trl", mix={"corrected": 1, "kept": 1})
        )
        files = sorted(path for path in (tmp_path / folder).rglob("*") if path.is_file())
        written.append({str(path.relative_to(tmp_path / folder)): path.read_bytes() for path in files})
    assert written[0] == written[1] and len(written[0]) >= 3


def _cleaned() -> Any:
    from actors import scripted_team

    said = {"ada": ["Answer: 4"] * 2, "ben": ["Answer: 5", "Answer: 4"]}
    return scripted_team(said, plan=Plan(clean=True), cleaned=["The answer is 4."])
