"""How much the engine's batches bring: answers per second of the demo's debates against one request at a time.

    python benchmarks/batching.py [--debates 400] [--alone 40]

Both sides answer the same prompts with the same settings in one run; the ratio is the figure.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time

import torch
from autogen_core.models import UserMessage

from debate_plugin import Engine, Series, Store, abacus, generate
from debate_plugin.chat import Message
from debate_plugin.evaluation.arithmetic import questions
from debate_plugin.loops.demo import MAX_TOKENS, Demo, demo_team
from debate_plugin.pretrained import load


async def debates(count: int) -> tuple[float, list[list[Message]]]:
    """Seconds of the debate stage, and every prompt that was answered in it."""
    with Engine.load(abacus.FOLDER) as engine, Store.open("sqlite://") as store:
        client = engine.client(temperature=1.0, max_tokens=MAX_TOKENS, seed=0)
        helper = engine.client(temperature=0.0, max_tokens=MAX_TOKENS)
        await client.create([UserMessage(content="What is the result of 1+2*3+4-5*6?", source="user")])  # warm
        series = Series(make_team=lambda: demo_team(client, helper, Demo()), store=store)
        started = time.perf_counter()
        async for _ in generate(series, questions(count, seed=0, split="train"), concurrency=Demo().concurrency):
            pass
        seconds = time.perf_counter() - started
        prompts = [transcript.messages(reply) for transcript in store.transcripts() for reply in transcript.replies]
    return seconds, prompts


def one_at_a_time(prompts: list[list[Message]]) -> float:
    """Seconds for `model.generate`, one prompt after the other."""
    model, tokenizer = load(abacus.FOLDER)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)

    def answer(prompt: list[Message]) -> None:
        inputs = tokenizer.apply_chat_template(
            prompt, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        model.generate(**inputs.to(model.device), do_sample=True, temperature=1.0, top_k=0, max_new_tokens=MAX_TOKENS)

    answer(prompts[0])
    started = time.perf_counter()
    for prompt in prompts:
        answer(prompt)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--debates", type=int, default=400)
    parser.add_argument("--alone", type=int, default=40, help="prompts answered one at a time, drawn from the debates'")
    given = parser.parse_args()
    seconds, prompts = asyncio.run(debates(given.debates))
    drawn = random.Random(0).sample(prompts, min(given.alone, len(prompts)))
    batched, alone = len(prompts) / seconds, len(drawn) / one_at_a_time(drawn)
    print(f"debates:            {len(prompts)} answers in {seconds:.1f} s, {batched:.1f}/s, teams and store included")
    print(f"one request a time: {len(drawn)} of the same prompts, {alone:.1f}/s")
    print(f"ratio:              {batched / alone:.1f}")


if __name__ == "__main__":
    main()
