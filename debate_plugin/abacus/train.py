"""Train Abacus from nothing: `python -m debate_plugin.abacus.train --out DIR --seed 0` (45 minutes on two CPU cores).

First sums alone: single steps, then whole answers. Then the roles, on what the model itself says: rooms of its own
debaters are convened anew at intervals, so that it learns from its real mistakes, not from made-up ones.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from debate_plugin.abacus import tokenizer as tokenizers
from debate_plugin.abacus.replies import Case, auroc
from debate_plugin.abacus.room import ROOM, accuracy, convene
from debate_plugin.abacus.sampler import Sampler
from debate_plugin.abacus.tasks import Row, Teacher
from debate_plugin.evaluation.arithmetic import Operands, draw

log = logging.getLogger("abacus")

# Two roles have a batch each in every step, in turn, of so many rows; the reply to others is the longest and hardest.
_TURNS = (
    ("rebuttal", "cleaning"),
    ("rebuttal", "summary"),
    ("judging", "cleaning"),
    ("sureness", "summary"),
    ("rebuttal", "cleaning"),
    ("judging", "summary"),
    ("sureness", "cleaning"),
)
_ROWS = {"rebuttal": 8, "summary": 9, "cleaning": 10, "judging": 9, "sureness": 18}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How Abacus is trained."""

    seed: int = 0
    steps: int = 2800
    # Learning rates as shares of their peak, by step. They come down before the first rooms are convened: at the peak a
    # sampled reply is too noisy to learn a role from, however much the model knows.
    pace: tuple[tuple[int, float], ...] = ((0, 0), (40, 1), (850, 1), (1400, 0.15), (1430, 0.4), (1900, 0.4), (2800, 0))
    convened: tuple[int, ...] = (
        1400,
        1700,
        2000,
        2250,
        2500,
    )  # when rooms are convened anew; the first time roles begin
    kept: tuple[int, ...] = (850, 1400, 1700, 2000, 2250, 2500)  # when a checkpoint is kept
    # From which step on how many rows of drills, answers and copying are in a batch; the rest are the roles'.
    rows: tuple[tuple[int, int, int, int], ...] = ((0, 8, 36, 0), (1400, 2, 12, 14), (1750, 2, 12, 4), (2000, 6, 26, 2))
    rooms: int = 800  # rooms convened each time
    enough: float = 0.60  # one-sample accuracy at which results are taught no further
    muon: float = 6e-3  # peak learning rate of the matrices
    adamw: float = 2e-3  # peak learning rate of embeddings and norms
    threads: int = 2


def build_model(vocabulary: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """An untrained model; few key heads, since reading them back is what decoding costs."""
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=160,
        intermediate_size=448,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=vocabulary.eos_token_id,
        pad_token_id=vocabulary.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=True,
        temperature=1.0,
        max_new_tokens=256,
        eos_token_id=vocabulary.eos_token_id,
        pad_token_id=vocabulary.pad_token_id,
    )
    return model


def train(settings: Settings, out: Path, resume: Path | None = None) -> None:
    """Train, keeping a checkpoint at each convening, and save the model folder to `out`."""
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    rng = random.Random(settings.seed)
    vocabulary = tokenizers.build()
    model = build_model(vocabulary)
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if not any(p is matrix for matrix in matrices)]
    optimizers: tuple[torch.optim.Optimizer, ...] = (
        torch.optim.Muon(matrices, lr=settings.muon, momentum=0.95, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=settings.adamw, betas=(0.9, 0.98), weight_decay=0.0),
    )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    teacher = Teacher(rng)
    fresh = _Fresh(rng)
    cases: list[Case] = []
    first, started = 0, time.time()
    if resume is not None:
        kept = torch.load(resume, weights_only=False)
        model.load_state_dict(kept["model"])
        for optimizer, state in zip(optimizers, kept["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        first, cases, fresh.waiting = kept["step"], kept["cases"], kept["waiting"]
        rng.setstate(kept["rng"])
    meter: list[float] = []
    for step in range(first, settings.steps):
        if step in settings.kept and step != first:
            kept = {
                "step": step,
                "model": model.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "rng": rng.getstate(),
                "waiting": fresh.waiting,
                "cases": cases,
            }
            torch.save(kept, out / f"checkpoint-{step}.pt")
        if step in settings.convened:
            cases = _convened(model, vocabulary, settings, step, fresh, rng) + cases[: settings.rooms // 3]
        if step % 100 == 0:
            share = accuracy(Sampler(model, vocabulary, seed=step), [next(fresh) for _ in range(192)])
            teacher.schooling = share < settings.enough
            log.info(
                "step %d, %.0f s, loss %.3f, one sample %.3f, schooling %s",
                step, time.time() - started, sum(meter) / max(1, len(meter)), share, teacher.schooling,
            )  # fmt: skip
            meter.clear()
        steps, shares = zip(*settings.pace, strict=True)
        pace = float(np.interp(float(step + 1), list(map(float, steps)), list(map(float, shares))))
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * pace
        batches = [
            (_batch(rows, vocabulary), weight) for rows, weight in _lesson(teacher, settings, step, cases, fresh)
        ]
        labelled = sum(int(batch[1].sum()) for batch, _ in batches)
        for (ids, labels), weight in batches:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
                logits = model.lm_head(hidden[labels])  # the loss is on a part only, so are the logits
            loss = functional.cross_entropy(logits.float(), ids[:, 1:][labels], reduction="sum") / labelled
            (loss * weight).backward()  # type: ignore[no-untyped-call]
            meter.append(float(loss.detach()) * len(batches))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    model.save_pretrained(out)
    vocabulary.save_pretrained(out)
    log.info("done, %.0f s", time.time() - started)


def _lesson(
    teacher: Teacher, settings: Settings, step: int, cases: Sequence[Case], fresh: Iterator[Operands]
) -> Iterator[tuple[list[Row], float]]:
    """The batches of one step, each of rows of about the same length, with the weight of their loss."""
    drills, answers, copies = next(rows for first, *rows in reversed(settings.rows) if step >= first)
    yield [teacher.drill([next(fresh) for _ in range(3)]) for _ in range(drills)], 1.0
    # The bare answer shares its ways of working with the opening, so that tuning the one moves the other.
    ways = [teacher.bare if teacher.rng.random() < 0.35 else teacher.opening for _ in range(answers)]
    yield [way(next(fresh)) for way in ways], 1.0
    if copies:
        yield [teacher.copying() for _ in range(copies)], 1.0
    for role in _TURNS[step % len(_TURNS)] if cases else ():
        room = [teacher.rng.choice(cases) for _ in range(_ROWS[role])]
        yield [getattr(teacher, role)(case) for case in room], 5.0 if role == "sureness" else 1.0


def _convened(
    model: LlamaForCausalLM,
    vocabulary: PreTrainedTokenizerFast,
    settings: Settings,
    step: int,
    fresh: Iterator[Operands],
    rng: random.Random,
) -> list[Case]:
    started = time.time()
    cases = convene(Sampler(model, vocabulary, seed=step), [next(fresh) for _ in range(settings.rooms)], rng)
    replies = {
        "openings": [said for case in cases for said in case.openings],
        "rebuttals": [said for case in cases for _, said in case.rebuttals],
    }
    for name, said in replies.items():
        right = [one.right for one in said]
        log.info(
            "convened %d rooms of %d in %.0f s: %s %d, right %.3f, their confidence's AUROC %.3f",
            len(cases), ROOM, time.time() - started, name, len(said), sum(right) / max(1, len(right)),
            auroc([one.confidence for one in said], right),
        )  # fmt: skip
    return cases


def _batch(rows: Sequence[Row], vocabulary: PreTrainedTokenizerFast) -> tuple[Tensor, Tensor]:
    """Token ids, padded on the right, and which of the next tokens the loss is taken on."""
    encoded = vocabulary([row.text for row in rows], add_special_tokens=False, return_offsets_mapping=True)
    width = max(map(len, encoded["input_ids"]))
    ids = torch.full((len(rows), width), vocabulary.pad_token_id)
    labels = torch.zeros((len(rows), width), dtype=torch.bool)
    for number, (row, tokens, offsets) in enumerate(
        zip(rows, encoded["input_ids"], encoded["offset_mapping"], strict=True)
    ):
        taught = b"".join(bytes([labelled]) * len(text) for text, labelled in row.pieces)
        ids[number, : len(tokens)] = torch.tensor(tokens)
        labels[number, : len(tokens)] = torch.tensor([bool(taught[start]) for start, _ in offsets])
    return ids, labels[:, 1:]


class _Fresh:
    """Questions of the pretrain split without end."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.waiting: list[Operands] = []

    def __iter__(self) -> Iterator[Operands]:
        return self

    def __next__(self) -> Operands:
        if not self.waiting:
            self.waiting = draw(256, self._rng, split="pretrain")[::-1]
        return self.waiting.pop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, help="folder that the model is written to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", type=Path, help="a checkpoint to go on from")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(given.out / "train.log")],
    )
    settings = Settings(seed=given.seed)
    log.info("%s", json.dumps(vars(settings)))
    train(settings, given.out, given.resume)


if __name__ == "__main__":
    main()
