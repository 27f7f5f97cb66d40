"""The preflight: each silent way in which training goes wrong is tripped once, on real trainers and the real model."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training import ASKED, TAUGHT, said, write
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from debate_plugin import abacus
from debate_plugin.engine import Engine
from debate_plugin.errors import InputError
from debate_plugin.pretrained import load
from debate_plugin.training import lora
from debate_plugin.training.kto import KtoSettings, train_kto
from debate_plugin.training.lora import LoraSettings
from debate_plugin.training.preference import PreferenceSettings, train_preference
from debate_plugin.training.preflight import Preflight, preflight
from debate_plugin.training.rows import read_preferences
from debate_plugin.training.sft import train_sft

ONE_STEP = LoraSettings(epochs=0.5, batch_size=16)
GOOD = "A: 8*1=8\nThe answer is 8."
WITHIN, TRAINED, ENDS, SAME_PROMPTS = (
    "rows within the length limit",
    "every row has tokens to train on",
    "every reply ends with a stop token",
    "prompts are the same in training and at inference",
)


def chats(path: Path, *, question: str = "") -> Path:
    rows: list[dict[str, object]] = [
        {
            "prompt": said("user", text),
            "completion": said("assistant", TAUGHT),
            "provenance": {"rule": "final_answer", "question": question or f"q{place}"},
        }
        for place, text in enumerate(ASKED)
    ]
    return write(path, rows)


def pairs(path: Path, rejected: str = TAUGHT) -> Path:
    rows: list[dict[str, object]] = [
        {"prompt": said("user", text), "chosen": said("assistant", GOOD), "rejected": said("assistant", rejected)}
        for text in ASKED
    ]
    return write(path, rows)


def with_template(folder: Path, template: str) -> Path:
    """The embedded model with another chat template."""
    model = folder / "model"
    shutil.copytree(abacus.FOLDER, model)
    (model / "chat_template.jinja").write_text(template)
    return model


PLAIN = (abacus.FOLDER / "chat_template.jinja").read_text()


def failed(found: list[Preflight]) -> list[str]:
    return [check.name for check in found[0].checks if not check.passed]


def refused(tmp_path: Path, train: Any, *args: Any, **kwargs: Any) -> tuple[list[str], str]:
    """The checks that have not passed, and what was said; nothing is written."""
    found: list[Preflight] = []
    with pytest.raises(InputError, match="expected to pass every check before training") as error:
        train(*args, tmp_path / "out", told=found.append, **kwargs)
    assert not (tmp_path / "out").exists()
    return failed(found), str(error.value)


def test_what_was_found_is_told_and_kept(tmp_path: Path) -> None:
    found: list[Preflight] = []
    train_sft(abacus.FOLDER, chats(tmp_path / "rows.jsonl"), tmp_path / "out", settings=ONE_STEP, told=found.append)
    kept = json.loads((tmp_path / "out" / "preflight.json").read_text())
    assert [check["name"] for check in kept] == [WITHIN, TRAINED, ENDS, SAME_PROMPTS, kept[-1]["name"]]
    assert all(check["passed"] for check in kept) and failed(found) == []
    assert "0 of 16 are longer" in str(found[0]) and "down_proj, gate_proj" in str(found[0])


def test_rows_that_would_be_cut_are_refused_up_to_a_share(tmp_path: Path) -> None:
    rows = chats(tmp_path / "rows.jsonl")
    names, told = refused(tmp_path, train_sft, abacus.FOLDER, rows, settings=LoraSettings(max_length=28))
    assert names == [WITHIN] and "6 of 16 are longer than 28 tokens" in told
    allowed = LoraSettings(max_length=28, most_cut=1.0, epochs=0.5)
    assert train_sft(abacus.FOLDER, rows, tmp_path / "cut", settings=allowed).rows == 16


def test_rows_without_a_trained_token_are_refused(tmp_path: Path) -> None:
    silent = with_template(tmp_path, PLAIN.replace("message['content'] + '<|end|>'", "''"))
    names, told = refused(tmp_path, train_sft, silent, chats(tmp_path / "rows.jsonl"), settings=ONE_STEP)
    assert TRAINED in names and "16 of 16 have none" in told


def test_a_stop_token_that_is_never_learnt_is_refused(tmp_path: Path) -> None:
    endless = with_template(tmp_path, PLAIN.replace(" + '<|end|>'", ""))
    for train, rows in ((train_sft, chats(tmp_path / "a.jsonl")), (train_preference, pairs(tmp_path / "b.jsonl"))):
        names, told = refused(tmp_path, train, endless, rows)
        assert names == [ENDS] and "the model would never learn to stop" in told


def test_a_line_break_behind_the_stop_token_is_no_fault(tmp_path: Path) -> None:
    usual = with_template(tmp_path, PLAIN.replace("'<|end|>'", "'<|end|>\n'"))
    assert train_sft(usual, chats(tmp_path / "rows.jsonl"), tmp_path / "out", settings=ONE_STEP).steps == 1


def test_a_template_that_asks_otherwise_than_it_trains_is_refused(tmp_path: Path) -> None:
    """The prompt alone ends with a line break that is not there once the reply follows."""
    torn = with_template(tmp_path, PLAIN.replace("'<|assistant|>'", "'<|assistant|>\n'"))
    for train, rows in (
        (train_sft, chats(tmp_path / "a.jsonl")),
        (train_preference, pairs(tmp_path / "b.jsonl")),
    ):
        names, told = refused(tmp_path, train, torn, rows)
        assert names == [SAME_PROMPTS] and "16 of 16 differ" in told


def test_the_engine_asks_with_the_tokens_that_were_trained_on(engine: Engine) -> None:
    _, tokenizer = load(abacus.FOLDER)
    for text in ASKED[:4]:
        asked = engine.encode(said("user", text))
        trained = tokenizer.apply_chat_template([*said("user", text), *said("assistant", GOOD)])["input_ids"]
        assert tuple(trained[: len(asked)]) == asked


def test_pairs_of_the_same_reply_are_refused(tmp_path: Path) -> None:
    names, told = refused(tmp_path, train_preference, abacus.FOLDER, pairs(tmp_path / "rows.jsonl", rejected=GOOD))
    assert names == ["chosen and rejected differ"] and "16 of 16 pairs are the same" in told


def test_an_adapter_that_is_not_trained_or_not_alone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lora.load_policy
    rows = chats(tmp_path / "rows.jsonl")

    def changed(all_of_them: bool, *args: Any) -> Any:
        policy, tokenizer, fingerprint = whole(*args)
        for name, weight in policy.named_parameters():
            weight.requires_grad_(all_of_them or "norm" in name)
        return policy, tokenizer, fingerprint

    monkeypatch.setattr(lora, "load_policy", partial(changed, False))
    names, told = refused(tmp_path, train_sft, abacus.FOLDER, rows, settings=ONE_STEP)
    assert names == ["the adapter is trained and nothing else"] and "norm" in told
    monkeypatch.setattr(lora, "load_policy", partial(changed, True))
    assert refused(tmp_path, train_sft, abacus.FOLDER, rows, settings=ONE_STEP)[0] == names


def test_a_reference_that_is_not_the_start_is_refused(tmp_path: Path) -> None:
    class OtherReference(DPOTrainer):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            for name, weight in self.model.named_parameters():  # type: ignore[union-attr]
                if ".ref." in name and ".lora_B" in name:
                    weight.data += 0.1

    start = train_sft(abacus.FOLDER, chats(tmp_path / "chats.jsonl"), tmp_path / "sft", settings=ONE_STEP).adapter
    rows = pairs(tmp_path / "rows.jsonl")
    found: list[Preflight] = []
    with pytest.raises(InputError, match="the reference is what training starts from: 28 of"):
        lora.fit(
            lora.Method(name="dpo", trainer=OtherReference, config=DPOConfig, read=read_preferences),
            read_preferences(rows),
            model=abacus.FOLDER,
            adapter=start,
            rows=rows,
            out=tmp_path / "out",
            settings=PreferenceSettings(),
            config={},
            told=found.append,
        )
    assert failed(found) == ["the reference is what training starts from"]


def test_a_new_adapter_that_is_not_the_base_is_no_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base alone is its reference."""
    whole = lora.load_policy

    def moved(*args: Any) -> Any:
        policy, tokenizer, fingerprint = whole(*args)
        for name, weight in policy.named_parameters():
            if ".lora_B." in name:
                weight.data += 0.1
        return policy, tokenizer, fingerprint

    monkeypatch.setattr(lora, "load_policy", moved)
    names, told = refused(tmp_path, train_preference, abacus.FOLDER, pairs(tmp_path / "rows.jsonl"))
    assert names == ["the reference is what training starts from"] and "28 of 28 weights differ" in told


def test_test_questions_among_the_rows_are_refused(tmp_path: Path) -> None:
    rows = chats(tmp_path / "rows.jsonl")
    apart = chats(tmp_path / "apart.jsonl", question="another")
    assert train_sft(abacus.FOLDER, rows, tmp_path / "fine", settings=ONE_STEP, test_rows=apart).steps == 1
    mixed = chats(tmp_path / "mixed.jsonl", question="q3")
    names, told = refused(tmp_path, train_sft, abacus.FOLDER, rows, settings=ONE_STEP, test_rows=mixed)
    assert names == ["no test question is trained on"] and "1 questions are in rows.jsonl and in mixed.jsonl" in told
    bare = write(tmp_path / "bare.jsonl", [{"prompt": said("user", "x"), "completion": said("assistant", "y")}])
    with pytest.raises(InputError, match="expected rows with their provenance"):
        train_sft(abacus.FOLDER, rows, tmp_path / "out", settings=ONE_STEP, test_rows=bare)


def log_probabilities(model: Any, tokenizer: Any, reply: str) -> torch.Tensor:
    chat = [*said("user", ASKED[0]), *said("assistant", reply)]
    ids = torch.tensor([tokenizer.apply_chat_template(chat)["input_ids"]])
    with torch.no_grad():
        return torch.log_softmax(model(input_ids=ids).logits[:, :-1], -1).gather(-1, ids[:, 1:, None]).sum()


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_in_a_second_stage_the_references_words_are_as_likely_as_the_first_stages(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checked numerically, on the model that the trainer holds, after it has trained."""
    from peft import PeftModel

    taught = LoraSettings(learning_rate=2e-3, epochs=10, batch_size=8)
    sft = train_sft(abacus.FOLDER, chats(tmp_path / "rows.jsonl"), tmp_path / "sft", settings=taught).adapter
    held: list[Any] = []
    save = lora.save_adapter

    def keep(policy: Any, *rest: Any) -> None:
        held.append(policy)
        save(policy, *rest)

    monkeypatch.setattr(lora, "save_adapter", keep)
    if method == "dpo":
        settings = PreferenceSettings(learning_rate=1e-3, epochs=3, batch_size=8)
        train_preference(abacus.FOLDER, pairs(tmp_path / "p.jsonl"), tmp_path / "out", adapter=sft, settings=settings)
    else:
        rows: list[dict[str, object]] = [
            {"prompt": said("user", text), "completion": said("assistant", reply), "label": label}
            for text in ASKED
            for reply, label in ((GOOD, True), (TAUGHT, False))
        ]
        labelled = write(tmp_path / "l.jsonl", rows)
        settings_kto = KtoSettings(learning_rate=1e-3, epochs=3, batch_size=8)
        train_kto(abacus.FOLDER, labelled, tmp_path / "out", adapter=sft, settings=settings_kto)
    policy = held[0].eval()
    base, tokenizer = load(abacus.FOLDER)
    first_stage = PeftModel.from_pretrained(base, sft).eval()
    for reply in (GOOD, TAUGHT):
        expected = log_probabilities(first_stage, tokenizer, reply)
        policy.set_adapter("ref")
        reference = log_probabilities(policy, tokenizer, reply)
        policy.set_adapter("default")
        trained = log_probabilities(policy, tokenizer, reply)
        assert reference == pytest.approx(float(expected), abs=1e-3)
        assert abs(float(trained - reference)) > 0.05


def test_tools_and_calls_are_in_the_tokens(tmp_path: Path) -> None:
    """Calls of different tools have arguments of different shapes; each is rendered as it was."""
    template = (
        "{% for t in tools or [] %}{{ t.function.name }};{% endfor %}"
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
        "{% for c in m.tool_calls or [] %}{{ c.function.arguments | tojson }}{% endfor %}"
        "{% if m.role == 'assistant' %}<|end|>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    model = with_template(tmp_path, template)
    rows: list[dict[str, object]] = [
        {
            "prompt": said("user", "4*5"),
            "completion": [
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}],
                }
            ],
            "tools": json.dumps([{"type": "function", "function": {"name": "f", "parameters": {}}}]),
        }
        for arguments in ({"a": 4, "b": 5}, {"city": "Rome"}, {"a": "four"})
    ]
    seen: list[str] = []

    def look(found: Preflight) -> None:
        assert failed([found]) == []

    tokenizer = load(model)[1]

    def watched(**given: Any) -> Preflight:
        seen.extend(tokenizer.decode(row["input_ids"]) for row in given["trainer"].train_dataset)
        return preflight(**given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lora, "preflight", watched)
        train_sft(model, write(tmp_path / "rows.jsonl", rows), tmp_path / "out", settings=ONE_STEP, told=look)
    assert [text.split("<|assistant|>")[1] for text in seen] == [
        '{"a": 4, "b": 5}<|end|>',
        '{"city": "Rome"}<|end|>',
        '{"a": "four"}<|end|>',
    ]
    assert all(text.startswith("f;<|user|>4*5") for text in seen)
