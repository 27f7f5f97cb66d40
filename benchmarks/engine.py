"""The in-process engine against transformers' own ways, on the prompts of real debates; and many adapters on one base.

    python benchmarks/engine.py [--debates 100] [--alone 40] [--repeats 5] [--model FOLDER]

Throughput: the same prompts, settings and model through the engine (all requests at once), through `generate` in
batches of 256 sorted by length, through transformers' continuous batching, and one at a time (a sample). Adapters: the
same prompts for one adapter, and spread over eight; the same with peft's own `adapter_names`. Contestants take turns;
ratios are of medians. Memory: the peak of a process that has loaded the model and one adapter, or eight, and answered.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model

from debate_plugin import Engine, Series, Store, abacus, generate
from debate_plugin.apart import apart
from debate_plugin.engine import Prompt, Sampling
from debate_plugin.evaluation.arithmetic import questions
from debate_plugin.loops.demo import MAX_TOKENS, Demo, demo_team
from debate_plugin.pretrained import load

ADAPTERS = 8
BATCH = 256
SETTINGS: dict[str, Any] = {"do_sample": True, "temperature": 1.0, "top_k": 0, "max_new_tokens": MAX_TOKENS}

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Took:
    answers: int
    tokens: int
    seconds: float


async def prompts_of_debates(count: int) -> list[Ids]:
    """Every prompt of so many debates of the demo's team, as the embedded model's tokens."""
    with Engine.load(abacus.FOLDER) as engine, Store.open("sqlite://") as store:
        client = engine.client(temperature=1.0, max_tokens=MAX_TOKENS, seed=0)
        helper = engine.client(temperature=0.0, max_tokens=MAX_TOKENS)
        series = Series(make_team=lambda: demo_team(client, helper, Demo()), store=store)
        async for _ in generate(series, questions(count, seed=0, split="train"), concurrency=Demo().concurrency):
            pass
        chats = [transcript.messages(reply) for transcript in store.transcripts() for reply in transcript.replies]
        return [
            engine.encode([{"role": message["role"], "content": message["content"]} for message in chat])
            for chat in chats
        ]


def through_the_engine(
    model: str, prompts: Sequence[Ids], *, adapters: dict[str, str] | None = None, names: Sequence[str | None] = (None,)
) -> Took:
    def answer(prompts: Sequence[Ids]) -> int:
        sampling = Sampling(temperature=1.0, max_tokens=MAX_TOKENS)
        futures = [
            engine.submit(Prompt(ids=ids, sampling=sampling, adapter=names[place % len(names)]))
            for place, ids in enumerate(prompts)
        ]
        return sum(future.result().tokens for future in futures)

    with Engine.load(model, adapters=adapters) as engine:
        return timed(answer, prompts)


def through_generate(model: str, prompts: Sequence[Ids], size: int, *, adapters: dict[str, str] | None = None) -> Took:
    """In batches by length; rows of adapters' batches have one each, through peft."""
    folders = adapters or {}
    names = list(folders)

    @torch.inference_mode()
    def answer(prompts: Sequence[Ids]) -> int:
        end, tokens, ordered = plain.generation_config.eos_token_id, 0, sorted(prompts, key=len)
        for start in range(0, len(ordered), size):
            part = ordered[start : start + size]
            width = max(map(len, part))
            ids = torch.tensor([[0] * (width - len(one)) + list(one) for one in part], device=DEVICE)
            mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in part], device=DEVICE)
            mixed = {"adapter_names": [names[row % len(names)] for row in range(len(part))]} if names else {}
            made = speaking.generate(input_ids=ids, attention_mask=mask, **SETTINGS, **mixed)[:, width:]
            tokens += int(((made == end).cumsum(dim=1) - (made == end).int() == 0).sum())
        return tokens

    speaking = plain = loaded(model)
    for name in names:
        if isinstance(speaking, PeftModel):
            speaking.load_adapter(folders[name], adapter_name=name)
        else:
            speaking = PeftModel.from_pretrained(plain, folders[name], adapter_name=name)
    speaking.to(DEVICE).eval()
    return timed(answer, prompts)


def through_continuous_batching(model: str, prompts: Sequence[Ids]) -> Took:
    def answer(prompts: Sequence[Ids]) -> int:
        made = plain.generate_batch([list(ids) for ids in prompts], progress_bar=False, **SETTINGS)
        return sum(len(one.generated_tokens) for one in made.values())

    plain = loaded(model)
    return timed(answer, prompts)


def loaded(model: str) -> Any:
    """The plain model, in the engine's precision."""
    weights, _ = load(model)
    return weights.to(DEVICE, torch.bfloat16 if DEVICE == "cuda" else weights.dtype).eval()


def timed(answer: Callable[[Sequence[Ids]], int], prompts: Sequence[Ids]) -> Took:
    answer(prompts[:8])  # warm
    started = time.perf_counter()
    tokens = answer(prompts)
    return Took(len(prompts), tokens, time.perf_counter() - started)


def rates(contestants: dict[str, Callable[[], Took]], repeats: int) -> list[float]:
    """Answers a second, medians over the repetitions, in which the contestants take turns.

    Each is in a thread of its own, which ends with it: see `debate_plugin.apart`.
    """
    took: dict[str, list[Took]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, contestant in contestants.items():
            took[name].append(apart(contestant))
    found = []
    for name, runs in took.items():
        each = sorted(run.answers / run.seconds for run in runs)
        tokens = sum(run.tokens for run in runs) / sum(run.answers for run in runs)
        found.append(median(each))
        print(f"  {name:38}{found[-1]:8.1f} answers/s ({each[0]:.1f} to {each[-1]:.1f}), {tokens:.0f} tokens each")
    return found


def verdict(what: str, ratio: float, bar: float, *, at_most: bool = False) -> None:
    met = ratio <= bar if at_most else ratio >= bar
    print(f"{what}: {ratio:.2f} ({'at most' if at_most else 'at least'} {bar:g}: {'met' if met else 'MISSED'})")


def throughput(model: str, prompts: Sequence[Ids], given: argparse.Namespace) -> None:
    drawn = random.Random(0).sample(list(prompts), min(given.alone, len(prompts)))
    engine, batches, alone = rates(
        {
            "engine": lambda: through_the_engine(model, prompts),
            f"generate, batches of {BATCH} by length": lambda: through_generate(model, prompts, BATCH),
            "generate, one at a time": lambda: through_generate(model, drawn, 1),
        },
        given.repeats,
    )
    verdict("engine over batched generate", engine / batches, 0.9)
    verdict("engine over one at a time", engine / alone, 8)
    rates({"transformers' continuous batching": lambda: through_continuous_batching(model, prompts)}, 1)


def adapters(model: str, prompts: Sequence[Ids], folders: dict[str, str], given: argparse.Namespace) -> None:
    names = list(folders)
    fewer = list(prompts)[: 2 * BATCH]
    one, mixed, peft = rates(
        {
            "engine, one adapter": lambda: through_the_engine(model, prompts, adapters=folders, names=names[:1]),
            f"engine, {ADAPTERS} adapters mixed": lambda: through_the_engine(
                model, prompts, adapters=folders, names=names
            ),
            f"peft's generate, {ADAPTERS} adapters mixed": lambda: through_generate(
                model, fewer, BATCH, adapters=folders
            ),
        },
        given.repeats,
    )
    verdict("mixed over one adapter", mixed / one, 0.6)
    print(f"engine over peft, mixed: {mixed / peft:.2f}")


def memory(model: str, folders: dict[str, str]) -> None:
    """Peaks of processes of their own."""
    peaks = []
    for count in (1, ADAPTERS):
        chosen = [f"{name}={folder}" for name, folder in list(folders.items())[:count]]
        said = subprocess.run(
            [sys.executable, __file__, "--model", model, "--only-load", *chosen], capture_output=True, check=True
        )
        peaks.append(int(said.stdout.split()[-1]))
        print(f"  {count} adapters: {peaks[-1] / 2**20:.0f} MiB")
    verdict(f"memory with {ADAPTERS} adapters over that with one", peaks[1] / peaks[0], 1.3, at_most=True)


def only_load(model: str, named: Sequence[str]) -> None:
    """Load, answer with every adapter, tell the peak: of the GPU's memory where there is one, else the process's."""
    folders = dict(one.split("=", 1) for one in named)
    with Engine.load(model, adapters=folders) as engine:
        ids = engine.encode([{"role": "user", "content": "What is the result of 1+2*3+4-5*6?"}])
    through_the_engine(model, [ids] * 64, adapters=folders, names=list(folders))
    if DEVICE == "cuda":
        print(torch.cuda.max_memory_allocated())
    else:
        status = Path("/proc/self/status").read_text()  # `ru_maxrss` counts what the parent had when it forked
        print(int(status.split("VmHWM:")[1].split()[0]) * 1024)


def random_adapters(model: str, folder: Path) -> dict[str, str]:
    made = {}
    for number in range(ADAPTERS):
        torch.manual_seed(number)
        base, _ = load(model)
        config = LoraConfig(r=16, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
        name = f"adapter{number}"
        policy = get_peft_model(base, config)
        policy.save_pretrained(str(folder / name))
        made[name] = str(folder / name)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--debates", type=int, default=100)
    parser.add_argument("--alone", type=int, default=40, help="prompts answered one at a time, drawn from the debates'")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", default=str(abacus.FOLDER))
    parser.add_argument("--only-load", nargs="+", metavar="NAME=FOLDER", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only_load:
        only_load(given.model, given.only_load)
        return
    prompts = asyncio.run(prompts_of_debates(given.debates))
    print(f"{len(prompts)} prompts of {given.debates} debates, {given.repeats} times")
    throughput(given.model, prompts, given)
    with tempfile.TemporaryDirectory() as folder:
        folders = random_adapters(given.model, Path(folder))
        adapters(given.model, prompts, folders, given)
        memory(given.model, folders)


if __name__ == "__main__":
    main()
