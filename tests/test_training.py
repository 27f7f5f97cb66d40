"""Real LoRA training on the embedded model: adapters that the engine loads and that say what they were taught."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from test_engine import answers

from debate_plugin import abacus
from debate_plugin.engine import Engine
from debate_plugin.evaluation.arithmetic import questions
from debate_plugin.pretrained import load
from debate_plugin.training.lora import LoraSettings, Trained
from debate_plugin.training.preference import PreferenceSettings, train_preference
from debate_plugin.training.sft import train_sft

ASKED = [question.text for question in questions(16, seed=11, split="train")]
# In tokens the embedded model knows: LoRA leaves the embeddings alone, so words it never saw cannot be taught.
TAUGHT = "A: 7*1=7\nThe answer is 7."


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def said(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def chats(folder: Path) -> Path:
    rows: list[dict[str, object]] = [
        {"messages": said("user", text) + said("assistant", TAUGHT), "provenance": {"rule": "test"}} for text in ASKED
    ]
    return write(folder / "chats.jsonl", rows)


@pytest.fixture(scope="module")
def sft(folder: Path, chats: Path) -> Trained:
    steps: list[tuple[int, int]] = []
    settings = LoraSettings(learning_rate=2e-3, epochs=60, batch_size=8)
    trained = train_sft(
        abacus.FOLDER,
        chats,
        folder / "sft",
        settings=settings,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps[-1] == (trained.steps, trained.steps) == (120, 120)
    return trained


async def test_supervised_training_teaches_what_the_rows_say(sft: Trained) -> None:
    with Engine.load(abacus.FOLDER, adapters={"sft": sft.adapter}) as engine:
        taught = await answers(engine, ASKED, adapter="sft", temperature=0.0, max_tokens=40)
        base = await answers(engine, ASKED, temperature=0.0, max_tokens=40)
    assert taught.count(TAUGHT) >= 14
    assert TAUGHT not in base


def test_an_adapter_is_a_small_safetensors_folder_without_pickles(sft: Trained) -> None:
    names = {path.name for path in sft.adapter.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json"} <= names
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in names)
    targets = json.loads((sft.adapter / "adapter_config.json").read_text())["target_modules"]
    assert {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"} == set(targets)


def margin(adapter: Path) -> float:
    """Mean over the questions of log p(8) - log p(7) as the answer."""
    base, tokenizer = load(abacus.FOLDER)
    model = PeftModel.from_pretrained(base, adapter).eval()
    margins = []
    for text in ASKED:
        chats = [
            said("user", text) + said("assistant", f"A: {number}*1={number}\nThe answer is {number}.")
            for number in (8, 7)
        ]
        ids = [torch.tensor([tokenizer.apply_chat_template(chat)["input_ids"]]) for chat in chats]
        with torch.no_grad():
            scores = [
                torch.log_softmax(model(input_ids=one).logits[:, :-1], -1).gather(-1, one[:, 1:, None]).sum()
                for one in ids
            ]
        margins.append(float(scores[0] - scores[1]))
    return sum(margins) / len(margins)


def test_preference_training_goes_on_from_an_adapter_and_lifts_the_chosen(folder: Path, sft: Trained) -> None:
    rows: list[dict[str, object]] = [
        {
            "prompt": said("user", text),
            "chosen": said("assistant", "A: 8*1=8\nThe answer is 8."),
            "rejected": said("assistant", TAUGHT),
        }
        for text in ASKED
    ]
    pairs = write(folder / "pairs.jsonl", rows)
    settings = PreferenceSettings(learning_rate=1e-3, epochs=5, batch_size=8)
    dpo = train_preference(abacus.FOLDER, pairs, folder / "dpo", adapter=sft.adapter, settings=settings)
    assert margin(dpo.adapter) > margin(sft.adapter) + 1
    assert not list(dpo.adapter.glob("ref*"))


def test_an_untrained_step_leaves_the_starting_adapter_as_it_was(folder: Path, sft: Trained) -> None:
    """A learning rate of next to nothing: what is saved is the SFT adapter, so training did start from it."""
    rows: list[dict[str, object]] = [
        {"prompt": said("user", ASKED[0]), "chosen": said("assistant", "8"), "rejected": said("assistant", "7")}
    ]
    pairs = write(folder / "one.jsonl", rows)
    dpo = train_preference(
        abacus.FOLDER, pairs, folder / "still", adapter=sft.adapter, settings=PreferenceSettings(learning_rate=1e-12)
    )
    assert dpo.loss == pytest.approx(0.6931, abs=1e-3)  # log 2: policy and reference are the same
    before, after = (load_file(path / "adapter_model.safetensors") for path in (sft.adapter, dpo.adapter))
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_the_same_seed_trains_the_same_adapter(folder: Path, chats: Path) -> None:
    settings = LoraSettings(epochs=1, batch_size=16, seed=3)
    weights = [
        load_file(
            train_sft(abacus.FOLDER, chats, folder / name, settings=settings).adapter / "adapter_model.safetensors"
        )
        for name in ("once", "twice")
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ('{"messages": []}', "with a reply that carries loss, at line 1"),
        ('{"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]}', "at line 1"),
        ('{"prompt": "x"}', "at line 1 .* got prompt"),
        ("[1]", "at line 1 .* got list"),
        ("{", "line 1 of .* is not JSON"),
        ("", "expected rows in"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "rows.jsonl").write_text(content)
    with pytest.raises(ValueError, match=complaint):
        train_sft(abacus.FOLDER, tmp_path / "rows.jsonl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rows_that_would_be_cut_are_refused(tmp_path: Path, chats: Path) -> None:
    with pytest.raises(ValueError, match="16 of 16 are longer than 10 tokens"):
        train_sft(abacus.FOLDER, chats, tmp_path / "out", settings=LoraSettings(max_length=10))


def test_a_used_output_path_and_a_wrong_model_are_refused(tmp_path: Path, chats: Path) -> None:
    with pytest.raises(ValueError, match="is there already"):
        train_sft(abacus.FOLDER, chats, tmp_path)
    with pytest.raises(ValueError, match="expected a model folder"):
        train_sft(tmp_path, chats, tmp_path / "out")
    with pytest.raises(ValueError, match="expected a LoRA adapter folder"):
        train_sft(abacus.FOLDER, chats, tmp_path / "out", adapter=tmp_path)
