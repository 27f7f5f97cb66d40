"""Tokens per second of our calls for training against TRL called by hand.

    python benchmarks/training.py [--rows 384] [--repeats 7]

SFT begins a new adapter on the embedded model; DPO goes on from one (a second stage), and begins one (`dpo-new`). By
hand is what TRL's own pages show: load, make the trainer, train, save; same rows, seed, batch size and optimizer, but
no look before the first step, no checkpoint to go on from, no record of what was done. The whole call counts, for two
epochs, in seconds of the processor on one thread: threads that wait for a core which another program has would count
too. Contestants take turns in alternating order. The ratio is the median of those of the pairs; in brackets, where the
middle half of them lies.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from datasets import Dataset
from datasets.utils.tqdm import disable_progress_bars
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from transformers.trainer_callback import PrinterCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from debate_plugin import abacus, pretrained
from debate_plugin.evaluation.arithmetic import questions
from debate_plugin.training.lora import LoraSettings
from debate_plugin.training.preference import PreferenceSettings, train_preference
from debate_plugin.training.sft import train_sft

EPOCHS, BATCH, LEARNING_RATE = 2, 16, 2e-4
AT_LEAST = 1.0

Call = Callable[[Path, Path | None], None]
"""Trains on what was prepared and writes the adapter to a folder; goes on from another one, if there is one."""


def write_rows(count: int, folder: Path) -> tuple[Path, Path]:
    """Files of chats and of pairs, whose replies are as long as the embedded model's own."""
    chance = random.Random(0)
    chats, pairs = folder / "chats.jsonl", folder / "pairs.jsonl"
    with chats.open("w") as to_chats, pairs.open("w") as to_pairs:
        for question in questions(count, seed=1, split="train"):
            good, bad = (
                "\n".join(
                    f"{step}: {(a := chance.randint(2, 30))}*{(b := chance.randint(2, 30))}={a * b + wrong}"
                    for step in "ABCDE"
                )
                + f"\nThe answer is {chance.randint(0, 400)}."
                for wrong in (0, 1)
            )
            prompt = [{"role": "user", "content": question.text}]
            right, wrong_one = ([{"role": "assistant", "content": text}] for text in (good, bad))
            to_chats.write(json.dumps({"prompt": prompt, "completion": right}) + "\n")
            to_pairs.write(json.dumps({"prompt": prompt, "chosen": right, "rejected": wrong_one}) + "\n")
    return chats, pairs


def by_hand(trainer_class: Any, config_class: Any, rows: Path) -> Call:
    def call(out: Path, start: Path | None) -> None:
        set_seed(0)
        model: Any = AutoModelForCausalLM.from_pretrained(str(abacus.FOLDER), dtype="auto")
        tokenizer = AutoTokenizer.from_pretrained(str(abacus.FOLDER))
        lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
        if start is not None:
            model = PeftModel.from_pretrained(model, start, is_trainable=True)
        trainer = trainer_class(
            model=model,
            args=config_class(
                output_dir=str(out),
                num_train_epochs=EPOCHS,
                per_device_train_batch_size=BATCH,
                learning_rate=LEARNING_RATE,
                lr_scheduler_type="cosine",
                warmup_steps=0.05,
                max_length=2048,
                seed=0,
                bf16=torch.cuda.is_available(),
                use_cpu=not torch.cuda.is_available(),
                gradient_checkpointing=torch.cuda.is_available(),
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list([json.loads(line) for line in rows.read_text().splitlines()]),
            processing_class=tokenizer,
            peft_config=lora if start is None else None,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        trainer.save_model(str(out))

    return call


def ours_sft(rows: Path) -> Call:
    def call(out: Path, start: Path | None) -> None:
        settings = LoraSettings(epochs=EPOCHS, batch_size=BATCH, learning_rate=LEARNING_RATE)
        train_sft(abacus.FOLDER, rows, out, settings=settings, adapter=start)

    return call


def ours_dpo(rows: Path) -> Call:
    def call(out: Path, start: Path | None) -> None:
        settings = PreferenceSettings(epochs=EPOCHS, batch_size=BATCH, learning_rate=LEARNING_RATE)
        train_preference(abacus.FOLDER, rows, out, settings=settings, adapter=start)

    return call


def tokens_of(rows: Path) -> int:
    """All tokens that a trainer reads in one epoch."""
    tokenizer = pretrained.load_tokenizer(abacus.FOLDER)
    return sum(
        len(tokenizer.apply_chat_template([*row["prompt"], *row[reply]], return_dict=True)["input_ids"])
        for row in map(json.loads, rows.read_text().splitlines())
        for reply in ("completion", "chosen", "rejected")
        if reply in row
    )


def compare(name: str, ours: Call, hand: Call, start: Path | None, tokens: int, repeats: int, folder: Path) -> None:
    seconds: dict[str, list[float]] = {"ours": [], "by hand": []}
    contestants = {"ours": ours, "by hand": hand}
    for repeat in range(-1, repeats):  # the first one is not counted: all code has run once
        order = list(contestants.items())
        for contestant, call in order if repeat % 2 else reversed(order):
            gc.collect()
            started = time.process_time()
            call(folder / f"{name}-{contestant}-{repeat}".replace(" ", "-"), start)
            if repeat >= 0:
                seconds[contestant].append(time.process_time() - started)
    ratios = [hand / ours for ours, hand in zip(seconds["ours"], seconds["by hand"], strict=True)]
    low, middle, high = quantiles(ratios, n=4)
    verdict = "met" if middle >= AT_LEAST else "within the spread" if high >= AT_LEAST else "MISSED"
    print(
        f"{name:8} ours {tokens / median(seconds['ours']):8,.0f} tokens/s, by hand "
        f"{tokens / median(seconds['by hand']):8,.0f}: {middle:.3f} ({low:.3f} to {high:.3f}), "
        f"at least {AT_LEAST:g}: {verdict}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    disable_progress_bars()
    with tempfile.TemporaryDirectory() as name, pretrained.hushed():
        folder = Path(name)
        chats, pairs = write_rows(given.rows, folder)
        start = folder / "start"
        ours_sft(chats)(start, None)
        for method, ours, hand, rows, begun in (
            ("sft", ours_sft(chats), by_hand(SFTTrainer, SFTConfig, chats), chats, None),
            ("dpo", ours_dpo(pairs), by_hand(DPOTrainer, DPOConfig, pairs), pairs, start),
            ("dpo-new", ours_dpo(pairs), by_hand(DPOTrainer, DPOConfig, pairs), pairs, None),
        ):
            compare(method, ours, hand, begun, EPOCHS * tokens_of(rows), given.repeats, folder)


if __name__ == "__main__":
    main()
