"""Lineage: an adapter says where it came from, is refused where it does not belong, and can be merged into its base."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_engine import answers
from test_training import ASKED, TAUGHT, said, write

from debate_plugin import abacus
from debate_plugin.engine import Engine
from debate_plugin.lineage import Lineage
from debate_plugin.pretrained import fingerprint, load
from debate_plugin.training.kto import KtoSettings, train_kto
from debate_plugin.training.lora import LoraSettings, Trained
from debate_plugin.training.merge import merge
from debate_plugin.training.preference import PreferenceSettings, train_preference
from debate_plugin.training.sft import train_sft


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lineage")


@pytest.fixture(scope="module")
def sft(folder: Path) -> Trained:
    rows: list[dict[str, object]] = [
        {
            "prompt": said("user", text),
            "completion": said("assistant", TAUGHT),
            "provenance": {"rule": "final_answer"},
        }
        for text in ASKED
    ]
    settings = LoraSettings(learning_rate=2e-3, epochs=60, batch_size=8, rank=8)
    return train_sft(abacus.FOLDER, write(folder / "chats.jsonl", rows), folder / "sft", settings=settings)


def test_an_adapter_belongs_to_its_base_in_any_precision(sft: Trained) -> None:
    with Engine.load(abacus.FOLDER, adapters={"sft": sft.adapter}, dtype=torch.bfloat16) as engine:
        assert engine.client(adapter="sft").adapter_sha256 is not None


def labelled(path: Path, good: int, bad: int) -> Path:
    rows: list[dict[str, object]] = [
        {"prompt": said("user", ASKED[number % 16]), "completion": said("assistant", text), "label": label}
        for text, label, count in (("A: 8*1=8\nThe answer is 8.", True, good), (TAUGHT, False, bad))
        for number in range(count)
    ]
    return write(path, rows)


def test_an_adapter_says_what_it_was_made_of(folder: Path, sft: Trained) -> None:
    lineage = Lineage.read(sft.adapter)
    assert lineage is not None
    base, _ = load(abacus.FOLDER)
    assert (lineage.method, lineage.parent) == ("sft", None)
    assert (lineage.base.name, lineage.base.fingerprint) == ("abacus", fingerprint(base))
    assert lineage.data.model_dump() == {
        "name": "chats.jsonl",
        "sha256": hashlib.sha256((folder / "chats.jsonl").read_bytes()).hexdigest(),
        "rows": 16,
        "rules": {"final_answer": 16},
    }
    assert lineage.settings["rank"] == 8 and lineage.settings["epochs"] == 60
    assert lineage.metrics["steps"] == sft.steps and lineage.metrics["loss"] == sft.loss
    assert set(lineage.versions) == {"debate-plugin", "torch", "transformers", "peft", "trl"}


@pytest.fixture(scope="module")
def kto(folder: Path, sft: Trained) -> Trained:
    rows = labelled(folder / "labels.jsonl", 16, 16)
    settings = KtoSettings(learning_rate=2e-3, epochs=6, batch_size=8)
    return train_kto(abacus.FOLDER, rows, folder / "kto", adapter=sft.adapter, settings=settings)


def test_a_child_names_its_parent_by_its_weights_and_keeps_its_shape(sft: Trained, kto: Trained) -> None:
    lineage = Lineage.read(kto.adapter)
    assert lineage is not None and lineage.parent is not None
    weights = (sft.adapter / "adapter_model.safetensors").read_bytes()
    assert lineage.parent.model_dump() == {"name": "sft", "sha256": hashlib.sha256(weights).hexdigest()}
    assert lineage.method == "kto" and lineage.settings["rank"] == 8  # not the default of a new adapter
    assert not list(kto.adapter.glob("ref*"))


def log_likelihood(adapter: Path, text: str) -> float:
    """Mean over the questions of log p(text)."""
    from peft import PeftModel

    base, tokenizer = load(abacus.FOLDER)
    model = PeftModel.from_pretrained(base, adapter).eval()
    total = 0.0
    for asked in ASKED:
        chat = said("user", asked) + said("assistant", text)
        one = torch.tensor([tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"]])
        with torch.no_grad():
            scores = torch.log_softmax(model(input_ids=one).logits[:, :-1], -1).gather(-1, one[:, 1:, None])
        total += float(scores.sum())
    return total / len(ASKED)


def test_kto_lifts_what_is_good_over_what_is_bad(sft: Trained, kto: Trained) -> None:
    good = "A: 8*1=8\nThe answer is 8."
    before, after = (
        log_likelihood(adapter, good) - log_likelihood(adapter, TAUGHT) for adapter in (sft.adapter, kto.adapter)
    )
    assert after > before + 1


def test_kto_begins_at_its_reference(folder: Path, sft: Trained) -> None:
    """A learning rate of next to nothing: policy and reference are the same, so the loss is that of no preference."""
    rows = labelled(folder / "few.jsonl", 8, 8)
    settings = KtoSettings(learning_rate=1e-12, batch_size=8)
    still = train_kto(abacus.FOLDER, rows, folder / "still", adapter=sft.adapter, settings=settings)
    assert still.loss == pytest.approx(0.5, abs=1e-3)  # 1 - sigmoid(0)
    before, after = (load_file(path / "adapter_model.safetensors") for path in (sft.adapter, still.adapter))
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_the_rarer_label_is_weighed_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr("debate_plugin.training.lora.fit", lambda *args, **kwargs: told.update(kwargs))
    train_kto(abacus.FOLDER, labelled(folder / "uneven.jsonl", 3, 12), folder / "new")
    assert (told["config"]["desirable_weight"], told["config"]["undesirable_weight"]) == (4.0, 1.0)


def test_kto_needs_both_labels_and_a_batch(folder: Path) -> None:
    with pytest.raises(ValueError, match="got 4 good and 0 bad"):
        train_kto(abacus.FOLDER, labelled(folder / "good.jsonl", 4, 0), folder / "new")
    with pytest.raises(ValueError, match="batch_size of at least 2"):
        KtoSettings(batch_size=1)
    chats = write(folder / "unlabelled.jsonl", [{"prompt": said("user", "x"), "completion": said("assistant", "y")}])
    with pytest.raises(ValueError, match="and a 'label' at line 1"):
        train_kto(abacus.FOLDER, chats, folder / "new")
    assert not (folder / "new").exists()


def test_other_losses_of_trl_are_a_setting(folder: Path, sft: Trained) -> None:
    rows: list[dict[str, object]] = [
        {"prompt": said("user", text), "chosen": said("assistant", "8"), "rejected": said("assistant", "7")}
        for text in ASKED[:4]
    ]
    pairs = write(folder / "pairs.jsonl", rows)
    settings = PreferenceSettings(learning_rate=1e-12, loss_type="ipo")
    ipo = train_preference(abacus.FOLDER, pairs, folder / "ipo", adapter=sft.adapter, settings=settings)
    assert ipo.loss == pytest.approx(25.0, rel=1e-3)  # (0 - 1 / (2 * 0.1)) ** 2 where policy and reference are one


@pytest.fixture(scope="module")
def other_base(folder: Path) -> Path:
    """The same architecture with other weights."""
    other = folder / "other"
    shutil.copytree(abacus.FOLDER, other)
    path = other / "model.safetensors"
    weights = load_file(path)
    save_file({name: weight + 0.01 for name, weight in weights.items()}, path, metadata={"format": "pt"})
    return other


def test_an_adapter_for_another_base_is_refused_everywhere(folder: Path, sft: Trained, other_base: Path) -> None:
    refused = "was trained on 'abacus', whose weights are others"
    with pytest.raises(ValueError, match=refused):
        Engine.load(other_base, adapters={"sft": sft.adapter})
    with pytest.raises(ValueError, match=refused):
        train_sft(other_base, folder / "chats.jsonl", folder / "new", adapter=sft.adapter)
    with pytest.raises(ValueError, match=refused):
        merge(other_base, sft.adapter, folder / "new")
    assert not (folder / "new").exists()


def test_a_second_adapter_is_checked_against_the_bare_base_too(sft: Trained, kto: Trained) -> None:
    with Engine.load(abacus.FOLDER, adapters={"sft": sft.adapter}) as engine:
        engine.add_adapter("kto", kto.adapter)  # the base's weights have other names once an adapter is on it


def test_adapters_from_elsewhere_have_no_lineage_and_are_taken(folder: Path, sft: Trained) -> None:
    bare = folder / "bare"
    shutil.copytree(sft.adapter, bare)
    (bare / "lineage.json").unlink()
    Engine.load(abacus.FOLDER, adapters={"bare": bare}).close()
    (bare / "lineage.json").write_text('{"method": "sft"')
    with pytest.raises(ValueError, match="it could not be read"):
        Engine.load(abacus.FOLDER, adapters={"bare": bare})


def test_what_must_be_unpickled_is_refused(folder: Path, sft: Trained) -> None:
    pickled = folder / "pickled"
    shutil.copytree(sft.adapter, pickled)
    torch.save(load_file(pickled / "adapter_model.safetensors"), pickled / "adapter_model.bin")
    (pickled / "adapter_model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"adapter_model\.safetensors, found none"):
        Engine.load(abacus.FOLDER, adapters={"pickled": pickled})
    model = folder / "pickled-model"
    shutil.copytree(abacus.FOLDER, model)
    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="did not load"):
        load(model)


async def test_merged_it_says_what_base_and_adapter_say(folder: Path, sft: Trained) -> None:
    merged = merge(abacus.FOLDER, sft.adapter, folder / "merged")
    assert not list(merged.glob("adapter*")) and (merged / "model.safetensors").exists()
    with Engine.load(merged) as one, Engine.load(abacus.FOLDER, adapters={"sft": sft.adapter}) as other:
        alone = await answers(one, ASKED, temperature=0.0, max_tokens=40)
        together = await answers(other, ASKED, adapter="sft", temperature=0.0, max_tokens=40)
    assert alone.count(TAUGHT) >= 14 and sum(a == b for a, b in zip(alone, together, strict=True)) >= 15
    with pytest.raises(ValueError, match="is there already"):
        merge(abacus.FOLDER, sft.adapter, folder / "merged")


def test_a_fingerprint_is_of_the_weights_alone(other_base: Path, folder: Path) -> None:
    base, _ = load(abacus.FOLDER)
    again = folder / "again"
    shutil.copytree(abacus.FOLDER, again)
    assert fingerprint(base) == fingerprint(load(again)[0]) != fingerprint(load(other_base)[0])
    assert json.loads((abacus.FOLDER / "config.json").read_text())["model_type"]
