"""The whole path once, on the embedded model: debate -> transcripts -> rows -> LoRA -> the better model debates again.

DebateGPT's pipeline (2024) on the papers' arithmetic, then preference training on the same debates. No ground truth
enters a row: the debates' own votes are the labels. Test questions are disjoint from all others by expression.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from autogen_core.models import ChatCompletionClient

from debate_agents.presets import debategpt
from debate_plugin import abacus
from debate_plugin.apart import apart
from debate_plugin.dataset.compile import Compilation, compile_rows
from debate_plugin.dataset.filters import Agreement
from debate_plugin.dataset.rules import final_answer, majority_minority
from debate_plugin.engine import Engine
from debate_plugin.errors import RunError
from debate_plugin.evaluation.arithmetic import questions
from debate_plugin.evaluation.compare import Contestant, Scores, compare
from debate_plugin.evaluation.statistics import paired_difference
from debate_plugin.progress import Bars, silent
from debate_plugin.series import Series, generate
from debate_plugin.stopping import agreement
from debate_plugin.store import Store
from debate_plugin.team import DebateTeam
from debate_plugin.topology import ring
from debate_plugin.training.lora import LoraSettings
from debate_plugin.training.preference import PreferenceSettings, train_preference
from debate_plugin.training.sft import train_sft

# A model of a million parameters takes larger steps than the billions that the defaults are for.
SFT = LoraSettings(learning_rate=2e-3, epochs=6, batch_size=16)
DPO = PreferenceSettings(learning_rate=5e-5, batch_size=16)
MAX_TOKENS = 160  # Abacus' longest replies have about 130


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Sizes and settings; settled on questions of the validation split."""

    debates: int = 500
    test_questions: int = 120
    seed: int = 0
    concurrency: int = 160
    agreement: float = 0.6  # at which a debate ends without another round, and below which it gives no row
    sft: LoraSettings = SFT
    dpo: PreferenceSettings = DPO


def run_demo(folder: Path, demo: Demo | None = None, *, bars: Bars = silent) -> dict[str, Any]:
    """Run it in an empty folder, which then holds store, rows, cards and adapters; returns the table as plain data."""
    demo = demo or Demo()
    seconds: dict[str, float] = {}
    sft_rows, dpo_rows = folder / "sft.jsonl", folder / "dpo.jsonl"
    sft, dpo = folder / "sft", folder / "dpo"

    with Engine.load(abacus.FOLDER) as engine, Store.open(folder / "debates.sqlite") as store:
        with _timed(seconds, "debate"):
            asyncio.run(_debate(engine, store, demo, bars))

        with _timed(seconds, "compile"):
            agreed = [Agreement(minimum=demo.agreement)]
            # What was to be cleaned and was not is left out: debate talk teaches a model to debate with itself.
            cleaned = Compilation(rule=partial(final_answer, uncleaned="drop"), filters=agreed)
            compile_rows(store.transcripts(), sft_rows, cleaned)
            compile_rows(store.transcripts(), dpo_rows, Compilation(rule=majority_minority, filters=agreed))

        with _timed(seconds, "train_sft"), bars("Supervised fine-tuning", None) as advance:
            apart(train_sft, abacus.FOLDER, sft_rows, sft, settings=demo.sft, progress=advance)

        with _timed(seconds, "train_dpo"), bars("Preference training", None) as advance:
            apart(train_preference, abacus.FOLDER, dpo_rows, dpo, adapter=sft, settings=demo.dpo, progress=advance)

        with _timed(seconds, "evaluate"):
            engine.add_adapter("sft", sft)
            engine.add_adapter("dpo", dpo)
            scores = {
                name: asyncio.run(_evaluate(engine, adapter, demo, bars, label=f"Evaluating {name}"))
                for name, adapter in (("base", None), ("sft", "sft"), ("dpo", "dpo"))
            }
    return {
        "n": demo.test_questions,
        "seed": demo.seed,
        "models": {name: _accuracies(model_scores) for name, model_scores in scores.items()},
        "gains": {name: _gains(scores[name], scores["base"]) for name in ("sft", "dpo")},
        "seconds": seconds,
    }


def demo_team(debaters: ChatCompletionClient, helper: ChatCompletionClient, demo: Demo) -> DebateTeam:
    """DebateGPT with all its changes, on a ring, by five debaters who vote first and debate what is disputed."""
    return debategpt(
        debaters,
        debaters=5,
        topology=ring(),
        stop=agreement(demo.agreement),
        helper_client=helper,
        kind="number",
        seed=demo.seed,
    )


async def _debate(engine: Engine, store: Store, demo: Demo, bars: Bars) -> None:
    client = engine.client(temperature=1.0, max_tokens=MAX_TOKENS, seed=demo.seed)
    helper = engine.client(temperature=0.0, max_tokens=MAX_TOKENS)
    series = Series(make_team=lambda: demo_team(client, helper, demo), store=store, run="demo")
    asked = questions(demo.debates, seed=demo.seed, split="train")
    with bars("Debating", len(asked)) as advance:
        async with aclosing(generate(series, asked, concurrency=demo.concurrency)) as debates:
            done = 0
            async for held in debates:
                if held.failure is not None:
                    raise RunError(f"the debate of {held.question.text!r} failed: {held.failure}")
                done += 1
                advance(done)


async def _evaluate(engine: Engine, adapter: str | None, demo: Demo, bars: Bars, *, label: str) -> Scores:
    sampling = engine.client(adapter=adapter, temperature=1.0, max_tokens=MAX_TOKENS, seed=demo.seed)
    greedy = engine.client(adapter=adapter, temperature=0.0, max_tokens=MAX_TOKENS)
    contestant = Contestant(greedy=greedy, sampling=sampling, make_team=lambda: demo_team(sampling, greedy, demo))
    asked = questions(demo.test_questions, seed=demo.seed, split="test")
    with bars(label, len(asked)) as advance:
        return await compare(contestant, asked, concurrency=demo.concurrency, progress=advance)


def _accuracies(scores: Scores) -> dict[str, dict[str, float]]:
    return {
        method: {"accuracy": estimate.mean, "low": estimate.low, "high": estimate.high}
        for method, estimate in scores.estimates().items()
    }


def _gains(scores: Scores, base: Scores) -> dict[str, dict[str, float]]:
    """Paired differences against the base on the same questions."""
    return {
        method: asdict(paired_difference(getattr(scores, method), getattr(base, method))) for method in asdict(scores)
    }


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    seconds[stage] = round(time.monotonic() - started, 2)
