"""Train Abacus from nothing: `python -m debate_plugin.abacus.train --out DIR --seed 0` (32 minutes on two CPU cores).

One run, one format: sums, and from the start the roles too, in rooms that are imagined at first and later full of the
model itself, so that it learns from its real mistakes. Needs a C++ compiler, as torch.compile does.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from debate_plugin.abacus import tokenizer as tokenizers
from debate_plugin.abacus.replies import Case, auroc
from debate_plugin.abacus.room import ROOM, Speaker, accuracy, convene, imagined
from debate_plugin.abacus.tasks import Row, Teacher
from debate_plugin.evaluation.arithmetic import Operands, draw

log = logging.getLogger("abacus")

# Batches have one of these shapes, tokens -> rows, since every shape is compiled for itself.
SHAPES = {132: 48, 248: 16, 352: 10, 576: 6}
ROLES = ("cleaning", "rebuttal", "summary", "judging", "rebuttal", "summary", "rebuttal", "summary")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How Abacus is trained."""

    seed: int = 0
    steps: int = 2500
    warm_up: int = 40
    steady: float = 0.4  # share of the steps at the peak rate; from there it falls in a line to nothing
    convened: tuple[int, ...] = (1450, 1850, 2200)  # when the model's own rooms are convened anew
    rooms: int = 600  # rooms convened each time
    muon: float = 6e-3  # peak learning rate of the matrices
    adamw: float = 2e-3  # peak learning rate of embeddings and norms
    averaged: float = 0.99  # decay of the averaged weights, which speak in the rooms and are probed
    sureness_weight: float = 5.0  # of the loss on two digits of a reply, against that on all of another
    verdict_weight: float = 20.0  # of the loss on whether two numbers are the same
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
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]  # transformers leaves it untyped
        do_sample=True,
        temperature=1.0,
        max_new_tokens=256,
        eos_token_id=vocabulary.eos_token_id,
        pad_token_id=vocabulary.pad_token_id,
    )
    return model


def train(settings: Settings, out: Path) -> None:
    """Train and save the model folder to `out`; logs a probe on fresh questions every hundred steps."""
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    rng = random.Random(settings.seed)
    vocabulary = tokenizers.build()
    model = build_model(vocabulary)
    model.set_attn_implementation("eager")  # compiled it is faster than the kernels meant for long texts
    averaged = deepcopy(model)
    speak = Speaker(averaged, vocabulary, seed=settings.seed)
    compiled: Callable[..., Any] = torch.compile(model.model, dynamic=False)
    optimizers = _optimizers(model, settings)
    teacher, fresh = Teacher(rng), _Fresh(rng)
    desk = _Desk(vocabulary)
    cases: list[Case] = []
    meter: list[float] = []
    started = time.time()
    for step in range(settings.steps):
        if step in settings.convened:
            averaged.save_pretrained(out / f"step-{step}")  # to look at; only the last weights are Abacus
            cases = _convened(speak, settings, fresh, rng) + cases[: settings.rooms // 3]
        if step % 100 == 0:
            asked = [next(fresh) for _ in range(192)]
            greedy, single = (accuracy(speak, asked, temperature=temperature) for temperature in (0.0, 1.0))
            log.info(
                "step %d, %.0f s, loss %.3f, greedy %.3f, one sample %.3f",
                step, time.time() - started, sum(meter) / max(1, len(meter)), greedy, single,
            )  # fmt: skip
            meter.clear()
        if step % 250 == 0:
            practised = cases or [imagined(next(fresh), rng) for _ in range(64)]
            log.info("roles as they are to be: %s", _probed(speak, teacher, rng.sample(practised, 64)))
        pace = min((step + 1) / settings.warm_up, (1 - step / settings.steps) / (1 - settings.steady), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * pace
        batches = list(_lesson(teacher, settings, step, cases, fresh, desk))
        labelled = sum(float(weights.sum()) for _, weights in batches)
        for ids, weights in batches:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                hidden = compiled(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
                logits = model.lm_head(hidden[weights > 0])  # the loss is on a part only, so are the logits
            each = functional.cross_entropy(logits.float(), ids[:, 1:][weights > 0], reduction="none")
            loss = (each * weights[weights > 0]).sum() / labelled
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            meter.append(float(loss.detach()) * len(batches))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            decay = min(settings.averaged, step / (step + 20))
            torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1 - decay)
    averaged.save_pretrained(out)
    vocabulary.save_pretrained(out)
    log.info("done, %.0f s", time.time() - started)


def _optimizers(model: LlamaForCausalLM, settings: Settings) -> tuple[torch.optim.Optimizer, ...]:
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if not any(p is matrix for matrix in matrices)]
    optimizers: tuple[torch.optim.Optimizer, ...] = (
        torch.optim.Muon(matrices, lr=settings.muon, momentum=0.95, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=settings.adamw, betas=(0.9, 0.98), weight_decay=0.0),
    )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def _lesson(
    teacher: Teacher, settings: Settings, step: int, cases: Sequence[Case], fresh: Iterator[Operands], desk: _Desk
) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of one step: drills and answers, two roles, and how sure to be once the model has spoken."""
    for _ in range(8):
        desk.put(teacher.drill([next(fresh) for _ in range(10)]), "answers")
    for _ in range(4):
        desk.put(teacher.verdicts([next(fresh) for _ in range(8)]), "answers", settings.verdict_weight)
    while (batch := desk.batch("answers")) is None:
        desk.put(teacher.answer(next(fresh)), "answers")
    yield batch
    for _ in range(14 if cases else 0):
        desk.put(teacher.sureness(teacher.rng.choice(cases)), "sureness", settings.sureness_weight)
    while (batch := desk.batch("sureness")) is not None:
        yield batch
    for turn in range(2):
        role = ROLES[(step + turn * len(ROLES) // 2) % len(ROLES)]
        while (batch := desk.batch(role)) is None:
            case = teacher.rng.choice(cases) if cases else imagined(next(fresh), teacher.rng)
            desk.put(getattr(teacher, role)(case), role)
        yield batch


def _convened(speak: Speaker, settings: Settings, fresh: Iterator[Operands], rng: random.Random) -> list[Case]:
    started = time.time()
    cases = convene(speak, [next(fresh) for _ in range(settings.rooms)], rng)
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


def _probed(speak: Speaker, teacher: Teacher, cases: Sequence[Case]) -> dict[str, float]:
    """For each role the share of replies that are to the letter as they are to be; of the judge's the score alone."""
    shares = {}
    for role in ("cleaning", "summary", "judging"):
        rows: list[Row] = [getattr(teacher, role)(case) for case in cases]
        said = speak([row.pieces[0][0] for row in rows], temperature=0.0)
        wanted = ["".join(text for text, _ in row.pieces[1:-1]) for row in rows]
        if role == "judging":
            said, wanted = [text[-1:] for text in said], [text[-1:] for text in wanted]
        shares[role] = sum(one == other for one, other in zip(said, wanted, strict=True)) / len(rows)
    return shares


class _Desk:
    """Gathers rows of one kind and about one length into batches."""

    def __init__(self, vocabulary: PreTrainedTokenizerFast) -> None:
        self._vocabulary = vocabulary
        self._waiting: dict[tuple[str, int], list[tuple[list[int], list[float]]]] = {}

    def put(self, row: Row, kind: str, weight: float = 1.0) -> None:
        encoded = self._vocabulary(row.text, add_special_tokens=False, return_offsets_mapping=True)
        taught = [weight * piece for text, piece in row.pieces for _ in text]
        ids, weights = encoded["input_ids"], [taught[start] for start, _ in encoded["offset_mapping"]]
        width = next((width for width in SHAPES if len(ids) <= width), None)
        if width is not None:  # a reply of the model's own that rambles on and on is no use to learn from
            self._waiting.setdefault((kind, width), []).append((ids, weights))

    def batch(self, kind: str) -> tuple[Tensor, Tensor] | None:
        """Token ids and the weights of the loss on the tokens after the first, or None while no batch is full."""
        for width, rows in SHAPES.items():
            waiting = self._waiting.get((kind, width), [])
            if len(waiting) >= rows:
                taken, self._waiting[kind, width] = waiting[:rows], waiting[rows:]
                ids = torch.full((rows, width), self._vocabulary.pad_token_id)
                weights = torch.zeros((rows, width))
                for number, (tokens, row_weights) in enumerate(taken):
                    ids[number, : len(tokens)] = torch.tensor(tokens)
                    weights[number, : len(tokens)] = torch.tensor(row_weights)
                return ids, weights[:, 1:]
        return None


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
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(given.out / "train.log")],
    )
    settings = Settings(seed=given.seed)
    log.info("%s", json.dumps(vars(settings)))
    train(settings, given.out)


if __name__ == "__main__":
    main()
