"""What was logged in training: lines in the adapter's folder, and a picture."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_preflight import chats, pairs

from debate_plugin import abacus
from debate_plugin.training import metrics
from debate_plugin.training.lora import LoraSettings
from debate_plugin.training.preference import PreferenceSettings, train_preference
from debate_plugin.training.sft import train_sft


def read(adapter: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (adapter / "metrics.jsonl").read_text().splitlines()]


def height(adapter: Path) -> int:
    with Image.open(adapter / "curves.png") as picture:
        return picture.height


def test_each_step_is_a_line_and_each_epoch_another_on_the_rows_set_aside(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = chats(tmp_path / "rows.jsonl")
    apart = chats(tmp_path / "apart.jsonl", question="another")
    settings = LoraSettings(batch_size=8, epochs=2.5, learning_rate=1e-3)
    trained = train_sft(abacus.FOLDER, rows, tmp_path / "out", settings=settings, test_rows=apart)
    assert capfd.readouterr().out == ""
    lines = read(trained.adapter)
    steps = [line for line in lines if "loss" in line]
    aside = [line for line in lines if "eval_loss" in line]
    assert len(lines) == len(steps) + len(aside)
    assert [(line["step"], line["epoch"]) for line in steps] == [(step, step / 2) for step in range(1, 6)]
    assert [(line["step"], line["epoch"]) for line in aside] == [(2, 1), (4, 2), (5, 2.5)]
    assert {"learning_rate", "grad_norm", "entropy", "mean_token_accuracy", "num_tokens"} < steps[0].keys()
    assert aside[-1]["eval_loss"] < aside[0]["eval_loss"]
    assert trained.loss == pytest.approx(sum(line["loss"] for line in steps) / 5)


def test_preferences_have_margins_and_accuracies_and_a_panel_for_each(tmp_path: Path) -> None:
    sft = train_sft(abacus.FOLDER, chats(tmp_path / "a.jsonl"), tmp_path / "sft", settings=LoraSettings(epochs=1))
    settings = PreferenceSettings(batch_size=8, epochs=3, learning_rate=1e-3)
    dpo = train_preference(abacus.FOLDER, pairs(tmp_path / "b.jsonl"), tmp_path / "dpo", settings=settings)
    lines = read(dpo.adapter)
    assert lines[0]["rewards/margins"] == 0 and lines[-1]["rewards/margins"] > 0
    assert all(0 <= line["rewards/accuracies"] <= 1 for line in lines)
    assert not any("eval_loss" in line for line in lines)
    assert height(dpo.adapter) == 3 * height(sft.adapter)
    assert "matplotlib.pyplot" not in sys.modules


def test_what_is_not_finite_is_no_number_in_json_and_no_point_in_the_picture(tmp_path: Path) -> None:
    logged = [
        {"step": 1, "epoch": 0.5, "loss": 1.0, "grad_norm": float("inf")},
        {"step": 2, "epoch": 1.0, "loss": float("nan"), "grad_norm": 1.0},
        {"step": 2, "epoch": 1.0, "eval_loss": 2.0, "eval_runtime": 0.1, "eval_steps_per_second": 9.0},
        {"step": 2, "epoch": 1.0, "train_loss": 1.0, "train_runtime": 3.0},
    ]
    lines = metrics.lines_of(logged)
    metrics.write(lines, tmp_path)
    assert read(tmp_path) == [
        {"step": 1, "epoch": 0.5, "loss": 1.0, "grad_norm": None},
        {"step": 2, "epoch": 1.0, "loss": None, "grad_norm": 1.0},
        {"step": 2, "epoch": 1.0, "eval_loss": 2.0},
    ]
    assert height(tmp_path) > 0
    assert metrics.mean_loss(lines) != metrics.mean_loss(lines)  # not a number: the run has diverged
