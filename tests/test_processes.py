"""One training run in several processes, launched by accelerate: two real ones on the CPU."""

import json
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from test_preflight import chats

from debate_plugin import abacus
from debate_plugin.training.lora import LoraSettings
from debate_plugin.training.sft import train_sft

LAUNCH = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu", "--num_processes", "2"]
LAUNCH += ["--num_machines", "1", "--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no"]


def test_two_processes_train_one_adapter_as_one_process_does(tmp_path: Path) -> None:
    rows = chats(tmp_path / "rows.jsonl")
    apart = chats(tmp_path / "apart.jsonl", question="another")
    command = ["train", "sft", "--rows", rows, "--test-rows", apart, "--out", tmp_path / "two", "--json"]
    command += ["--batch-size", 8, "--epochs", 3, "--learning-rate", 0.001, "--save-every", 4]
    ran = subprocess.run(
        [*LAUNCH, "--module", "debate_plugin", *map(str, command)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)  # a single object: only one process prints
    assert told["steps"] == 6 and told["adapter"] == str(tmp_path / "two")
    assert ran.stderr.count("every row has tokens to train on") == 1
    settings = LoraSettings(batch_size=8, epochs=3, learning_rate=1e-3)
    one = train_sft(abacus.FOLDER, rows, tmp_path / "one", settings=settings, test_rows=apart).adapter
    assert sorted(path.name for path in tmp_path.iterdir()) == ["apart.jsonl", "one", "rows.jsonl", "two"]
    expected, came = (load_file(adapter / "adapter_model.safetensors") for adapter in (one, tmp_path / "two"))
    assert expected.keys() == came.keys()
    assert all(torch.allclose(expected[name], came[name], atol=1e-5) for name in expected)
    alone, together = (
        [json.loads(line) for line in (adapter / "metrics.jsonl").read_text().splitlines()]
        for adapter in (one, tmp_path / "two")
    )
    assert [(line["step"], line.keys()) for line in together] == [(line["step"], line.keys()) for line in alone]
    assert all(abs(a["loss"] - b["loss"]) < 1e-4 for a, b in zip(alone, together, strict=True) if "loss" in a)


def test_what_is_refused_is_told_once_and_ends_all_processes(tmp_path: Path) -> None:
    """Three refusals in one launch: by each process, by the main one alone before training, and by the command line."""
    rows = chats(tmp_path / "rows.jsonl")
    (tmp_path / "used").mkdir()
    script = tmp_path / "calls.py"
    script.write_text(f"""
import sys
from debate_plugin.cli import main

def call(*given):
    sys.argv = ["debate", "train", "sft", "--rows", {str(rows)!r}, *given]
    try:
        main()
    except SystemExit as ended:
        return ended.code

codes = [
    call("--out", {str(tmp_path / "used")!r}),
    call("--out", {str(tmp_path / "out")!r}, "--max-length", "10"),
    call("--out", {str(tmp_path / "out")!r}, "--batch-size", "3"),
    call("--out", {str(tmp_path / "out")!r}, "--rank", "none"),
]
sys.exit(0 if codes == [2] * 4 else 1)
""")
    ran = subprocess.run([*LAUNCH, str(script)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == ""
    for told in (
        "error: expected an unused output path",
        "error: expected to pass every check before training, rows within the length limit: 16 of 16",
        "error: expected a batch_size that 2 processes can share, got 3",
        "error: Invalid value for '--rank'",
    ):
        assert ran.stderr.count(told) == 1, ran.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calls.py", "rows.jsonl", "used"]
