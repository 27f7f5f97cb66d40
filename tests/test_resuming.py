"""A training run that is broken off, by `kill -9` too, is gone on with by the same call, and ends all the same."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_preflight import GOOD, chats, pairs
from test_training import ASKED, TAUGHT, said, write

from debate_plugin import abacus
from debate_plugin.training import lora
from debate_plugin.training.kto import KtoSettings, train_kto
from debate_plugin.training.lora import LoraSettings
from debate_plugin.training.preference import PreferenceSettings, train_preference
from debate_plugin.training.sft import train_sft

Train = Callable[..., lora.Trained]


class BrokenOff(Exception):
    pass


def break_off(at: int) -> lora.Progress:
    def progress(done: int, total: int) -> None:
        if done == at:
            raise BrokenOff

    return progress


def weights(adapter: Path) -> dict[str, torch.Tensor]:
    return load_file(adapter / "adapter_model.safetensors")


def same(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.allclose(a[name], b[name], atol=1e-6) for name in a)


def labelled(path: Path) -> Path:
    return write(
        path,
        [
            {"prompt": said("user", text), "completion": said("assistant", reply), "label": label}
            for text in ASKED
            for reply, label in ((GOOD, True), (TAUGHT, False))
        ],
    )


def test_killed_in_mid_training_it_ends_with_the_same_adapter(tmp_path: Path) -> None:
    rows = chats(tmp_path / "rows.jsonl")
    apart = chats(tmp_path / "apart.jsonl", question="another")
    out, left = tmp_path / "out", tmp_path / "out.unfinished"
    command = ["train", "sft", "--rows", rows, "--test-rows", apart, "--out", out, "--epochs", 15, "--save-every", 8]
    process = subprocess.Popen(
        [sys.executable, "-m", "debate_plugin", *map(str, command), "--batch-size", "4", "--learning-rate", "0.001"],
        stderr=subprocess.DEVNULL,
    )
    while not list(left.glob("checkpoint-*/whole")) and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL and not out.exists() and left.exists()
    steps: list[tuple[int, int]] = []
    settings = LoraSettings(epochs=15, save_every=8, batch_size=4, learning_rate=0.001)
    trained = train_sft(
        abacus.FOLDER, rows, out, settings=settings, test_rows=apart, progress=lambda *done: steps.append(done)
    )
    first = steps[0][0]
    assert first > 8 and first % 8 == 1 and steps == [(step, 60) for step in range(first, 61)]
    assert trained.steps == 60 and not left.exists()
    whole = train_sft(abacus.FOLDER, rows, tmp_path / "whole", settings=settings, test_rows=apart)
    assert same(trained.adapter, whole.adapter)
    assert trained.loss == pytest.approx(whole.loss, abs=1e-6)
    assert [path.name for path in sorted(out.iterdir())] == [path.name for path in sorted(whole.adapter.iterdir())]
    lines, expected = (
        [json.loads(line) for line in (adapter / "metrics.jsonl").read_text().splitlines()]
        for adapter in (trained.adapter, whole.adapter)
    )
    assert [(line["step"], line.keys()) for line in lines] == [(line["step"], line.keys()) for line in expected]
    assert [line["num_tokens"] for line in lines if "loss" in line] == [
        line["num_tokens"] for line in expected if "loss" in line
    ]


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_a_resumed_second_stage_keeps_the_first_one_as_its_reference(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference is a copy of the adapter that training started from, not of the checkpoint."""
    sft = train_sft(
        abacus.FOLDER,
        chats(tmp_path / "rows.jsonl"),
        tmp_path / "sft",
        settings=LoraSettings(learning_rate=2e-3, epochs=4, batch_size=8),
    ).adapter
    train: Train = train_preference if method == "dpo" else train_kto
    rows = pairs(tmp_path / "p.jsonl") if method == "dpo" else labelled(tmp_path / "l.jsonl")
    settings = (PreferenceSettings if method == "dpo" else KtoSettings)(
        learning_rate=1e-3, epochs=3 if method == "dpo" else 1.5, batch_size=4, save_every=5
    )
    with pytest.raises(BrokenOff):
        train(abacus.FOLDER, rows, tmp_path / "out", adapter=sft, settings=settings, progress=break_off(8))
    held: list[Any] = []
    save = lora.save_adapter

    def keep(policy: Any, *rest: Any) -> None:
        held.append(policy)
        save(policy, *rest)

    steps: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(lora, "save_adapter", keep)
        trained = train(
            abacus.FOLDER,
            rows,
            tmp_path / "out",
            adapter=sft,
            settings=settings,
            progress=lambda done, total: steps.append(done),
        )
    assert steps == list(range(6, 13))
    now = dict(held[0].named_parameters())
    start = {name.replace(".weight", ".{}.weight"): weight for name, weight in weights(sft).items()}
    assert len(start) == sum(".ref." in name for name in now)
    assert all(torch.equal(now[name.format("ref")], weight) for name, weight in start.items())
    assert not any(now[name.format("ref")].requires_grad for name in start)
    assert not any(torch.equal(now[name.format("default")], weight) for name, weight in start.items())
    whole = train(abacus.FOLDER, rows, tmp_path / "whole", adapter=sft, settings=settings)
    assert same(trained.adapter, whole.adapter)
    assert trained.loss == pytest.approx(whole.loss, abs=1e-6)
    count, expected = (
        len((adapter / "metrics.jsonl").read_text().splitlines()) for adapter in (trained.adapter, whole.adapter)
    )
    assert count == expected == 12


SETTINGS = LoraSettings(batch_size=4, epochs=2, save_every=3)  # 8 steps


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """What a run leaves that was broken off after its checkpoint at step 6."""
    rows = chats(tmp_path / "rows.jsonl")
    with pytest.raises(BrokenOff):
        train_sft(abacus.FOLDER, rows, tmp_path / "out", settings=SETTINGS, progress=break_off(7))
    return tmp_path / "out.unfinished"


def steps_of(folder: Path, **changed: Any) -> list[int]:
    steps: list[int] = []
    given = {"settings": SETTINGS, **changed}
    rows = given.pop("rows", folder / "rows.jsonl")
    train_sft(abacus.FOLDER, rows, folder / "out", progress=lambda done, total: steps.append(done), **given)
    return steps


def test_the_newest_whole_checkpoint_is_kept_and_a_torn_one_passed_over(tmp_path: Path, left: Path) -> None:
    assert sorted(path.name for path in left.iterdir() if path.is_dir()) == ["checkpoint-6"]
    torn = left / "checkpoint-7"
    shutil.copytree(left / "checkpoint-6", torn)
    (torn / "whole").unlink()
    (torn / "adapter_model.safetensors").write_bytes(b"torn")
    assert steps_of(tmp_path) == [7, 8]
    assert not left.exists() and (tmp_path / "out" / "lineage.json").exists()


def test_a_checkpoint_of_another_run_is_refused_and_left_alone(tmp_path: Path, left: Path) -> None:
    other = chats(tmp_path / "other.jsonl", question="another")
    for changed, named in (
        ({"settings": LoraSettings(batch_size=4, epochs=2, save_every=3, seed=1)}, "settings"),
        ({"rows": other}, "rows"),
        ({"test_rows": other}, "test rows"),
    ):
        with pytest.raises(ValueError, match=f"which had other {named}; repeat that call, remove the folder"):
            steps_of(tmp_path, **changed)
    assert (left / "checkpoint-6" / "whole").exists()
    shutil.rmtree(left)
    assert steps_of(tmp_path, rows=other)[0] == 1


def test_where_there_is_nothing_to_go_on_from_nothing_is_left(tmp_path: Path) -> None:
    rows = chats(tmp_path / "rows.jsonl")
    with pytest.raises(BrokenOff):
        train_sft(abacus.FOLDER, rows, tmp_path / "out", settings=SETTINGS, progress=break_off(2))
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_two_processes_do_not_train_one_adapter(tmp_path: Path, left: Path) -> None:
    door = os.open(left, os.O_RDONLY)
    fcntl.flock(door, fcntl.LOCK_EX)
    with pytest.raises(ValueError, match="another process is at it"):
        steps_of(tmp_path)
    os.close(door)
    assert steps_of(tmp_path) == [7, 8]
