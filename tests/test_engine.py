"""The in-process engine on the embedded model: batches, settings, adapters, faults."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from autogen_core.models import LLMMessage, UserMessage
from autogen_core.tools import FunctionTool

from debate_plugin import abacus
from debate_plugin.engine import Engine
from debate_plugin.engine.batch import Batch, sample
from debate_plugin.engine.row import Row
from debate_plugin.engine.sampling import Chooser, Prompt, Sampling
from debate_plugin.evaluation.arithmetic import questions
from debate_plugin.pretrained import load, prompt_ids

ASKED = [question.text for question in questions(24, seed=5, split="validation")]


def chat(text: str) -> list[LLMMessage]:
    return [UserMessage(content=text, source="user")]


async def answers(engine: Engine, texts: Sequence[str], **settings: object) -> list[str]:
    client = engine.client(**settings)  # type: ignore[arg-type]
    results = await asyncio.gather(*(client.create(chat(text)) for text in texts))
    return [str(result.content) for result in results]


async def test_greedy_replies_are_those_of_transformers_own_generate(engine: Engine) -> None:
    model, tokenizer = load(abacus.FOLDER)
    ours = await answers(engine, ASKED, temperature=0.0, max_tokens=120)
    for text, reply in zip(ASKED[:8], ours, strict=False):
        inputs = tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        made = model.generate(**inputs, do_sample=False, max_new_tokens=120)
        assert reply == tokenizer.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


async def test_concurrent_requests_share_batches(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    admit = Batch.admit

    def counting(self: Batch, rows: Sequence[Row]) -> None:
        sizes.append(len(rows))
        admit(self, rows)

    monkeypatch.setattr(Batch, "admit", counting)
    await answers(engine, ASKED, max_tokens=8)
    assert sum(sizes) == len(ASKED)
    assert max(sizes) > len(ASKED) / 2


async def test_a_seed_repeats_a_reply_whoever_shares_the_batch(engine: Engine) -> None:
    together = await answers(engine, ASKED, temperature=1.0, seed=3, max_tokens=60)
    alone = [(await answers(engine, [text], temperature=1.0, seed=3, max_tokens=60))[0] for text in ASKED[:6]]
    assert together[:6] == alone
    other = await answers(engine, ASKED, temperature=1.0, seed=4, max_tokens=60)
    assert other != together


async def test_asked_the_same_again_a_seeded_client_says_something_else(engine: Engine) -> None:
    first = await answers(engine, [ASKED[0]] * 6, temperature=1.0, seed=1, max_tokens=60)
    assert len(set(first)) > 1
    assert sorted(await answers(engine, [ASKED[0]] * 6, temperature=1.0, seed=1, max_tokens=60)) == sorted(first)


async def test_a_seed_given_with_the_call_repeats_the_call(engine: Engine) -> None:
    client = engine.client(temperature=1.0, max_tokens=60)
    texts = [(await client.create(chat(ASKED[0]), extra_create_args={"seed": 7})).content for _ in range(2)]
    assert texts[0] == texts[1]


async def test_max_tokens_stop_and_usage(engine: Engine) -> None:
    client = engine.client(temperature=0.0)
    cut = await client.create(chat(ASKED[0]), extra_create_args={"max_tokens": 5})
    assert (cut.finish_reason, cut.usage.completion_tokens) == ("length", 5)
    assert cut.usage.prompt_tokens == client.count_tokens(chat(ASKED[0])) > 0
    whole = await client.create(chat(ASKED[0]))
    assert whole.finish_reason == "stop"
    stopped = await client.create(chat(ASKED[0]), extra_create_args={"stop": "="})
    assert stopped.finish_reason == "stop"
    assert str(whole.content).startswith(str(stopped.content)) and "=" not in str(stopped.content)
    assert client.total_usage().completion_tokens == sum(
        result.usage.completion_tokens for result in (cut, whole, stopped)
    )


def test_temperature_and_top_p_shape_what_is_drawn() -> None:
    """Draws from known logits: frequencies follow the softmax, and top_p leaves out the tail."""
    logits = torch.log(torch.tensor([[0.6, 0.3, 0.1]])).repeat(4000, 1)

    def shares(**settings: float) -> list[float]:
        chooser = Chooser([Sampling(**settings)] * len(logits), "cpu")  # type: ignore[arg-type]
        drawn = chooser(logits, lambda: [random.Random(place).random() for place in range(len(logits))])
        return [(drawn == token).float().mean().item() for token in range(3)]

    assert shares(temperature=1.0) == pytest.approx([0.6, 0.3, 0.1], abs=0.03)
    sharp = [weight**2 for weight in (0.6, 0.3, 0.1)]
    assert shares(temperature=0.5) == pytest.approx([weight / sum(sharp) for weight in sharp], abs=0.03)
    assert shares(top_p=0.8) == pytest.approx([2 / 3, 1 / 3, 0.0], abs=0.03)
    assert shares(top_p=0.5) == [1.0, 0.0, 0.0]
    assert shares(temperature=0.0) == [1.0, 0.0, 0.0]


async def test_what_the_engine_cannot_do_is_said(engine: Engine) -> None:
    client = engine.client()
    tool = FunctionTool(lambda: 1, name="one", description="One.")
    with pytest.raises(ValueError, match="calls no tools"):
        await client.create(chat("x"), tools=[tool])
    with pytest.raises(ValueError, match="no JSON mode"):
        await client.create(chat("x"), json_output=True)
    with pytest.raises(ValueError, match=r"expected settings out of .* got top_k"):
        await client.create(chat("x"), extra_create_args={"top_k": 3})
    with pytest.raises(ValueError, match="expected a prompt below the model's"):
        await client.create(chat("word " * 5000))
    assert (await client.create(chat(ASKED[0]), extra_create_args={"max_tokens": 3})).finish_reason == "length"


@pytest.mark.parametrize(
    "settings", [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.5}, {"max_tokens": 0}, {"stop": ("",)}]
)
def test_settings_out_of_range_are_refused(engine: Engine, settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        engine.client(**settings)  # type: ignore[arg-type]


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a model folder in the transformers layout"):
        Engine.load(tmp_path)


def test_equal_prompts_are_read_once_and_sampled_apart() -> None:
    model, tokenizer = load(abacus.FOLDER)
    ids = tuple(
        tokenizer.apply_chat_template([{"role": "user", "content": ASKED[0]}], add_generation_prompt=True)["input_ids"]
    )
    prompts = [Prompt(ids=ids, sampling=Sampling(temperature=1.0, seed=seed, max_tokens=50)) for seed in range(8)]
    together = dict(sample(model, tokenizer, prompts))
    apart = {place: next(sample(model, tokenizer, [prompt]))[1] for place, prompt in enumerate(prompts)}
    assert together == apart
    assert len({completion.text for completion in together.values()}) > 1


def test_what_prompts_begin_with_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = load(abacus.FOLDER)
    said = "You are one of several debaters. Work the question out step by step and give your answer last."
    system = {"role": "system", "content": said}
    prompts = [
        Prompt(
            ids=tuple(prompt_ids(tokenizer, [system, {"role": "user", "content": text}])),
            sampling=Sampling(temperature=0.0, max_tokens=40),
        )
        for text in ASKED
    ]
    read: list[int] = []
    model.register_forward_pre_hook(lambda _, __, given: read.append(given["input_ids"].numel()), with_kwargs=True)
    shared = dict(sample(model, tokenizer, prompts))
    read_shared, read[:] = read[0] + read[1], []
    monkeypatch.setattr("debate_plugin.engine.batch._SHARED_TOKENS", 10_000)
    assert dict(sample(model, tokenizer, prompts)) == shared
    assert read_shared < read[0] / 2


async def test_logprobs_are_the_models_own(engine: Engine) -> None:
    model, tokenizer = load(abacus.FOLDER)
    client = engine.client(temperature=1.0, seed=2, max_tokens=30)
    result, plain = await asyncio.gather(
        client.create(chat(ASKED[0]), extra_create_args={"logprobs": True, "top_logprobs": 3}),
        client.create(chat(ASKED[1])),
    )
    assert plain.logprobs is None and result.logprobs is not None
    assert len(result.logprobs) == result.usage.completion_tokens
    prompt = prompt_ids(tokenizer, [{"role": "user", "content": ASKED[0]}])
    reply = [tokenizer.convert_tokens_to_ids(t) for t in tokenizer.tokenize(str(result.content))]
    assert [one.token for one in result.logprobs[: len(reply)]] == [tokenizer.decode([token]) for token in reply]
    with torch.inference_mode():
        expected = model(torch.tensor([[*prompt, *reply]])).logits[0].log_softmax(dim=-1)
    for place, (token, one) in enumerate(zip(reply, result.logprobs, strict=False), len(prompt) - 1):
        assert one.logprob == pytest.approx(expected[place, token].item(), abs=1e-3)
        assert one.top_logprobs is not None
        assert [top.logprob for top in one.top_logprobs if top] == pytest.approx(
            expected[place].topk(3).values.tolist(), abs=1e-3
        )
    with pytest.raises(ValueError, match="expected logprobs=True with top_logprobs"):
        await client.create(chat(ASKED[0]), extra_create_args={"top_logprobs": 3})


async def test_a_model_computes_in_the_precision_it_is_told() -> None:
    with Engine.load(abacus.FOLDER, dtype=torch.bfloat16) as engine:
        assert engine._model.dtype == torch.bfloat16
        short = await answers(engine, ASKED, temperature=0.0, max_tokens=60)
    with Engine.load(abacus.FOLDER) as engine:
        whole = await answers(engine, ASKED, temperature=0.0, max_tokens=60)
    assert sum(a == b for a, b in zip(short, whole, strict=True)) > len(ASKED) / 4


async def test_who_comes_later_joins_those_who_speak(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine._scheduler, "_turn", 4)
    undisturbed = await answers(engine, ASKED[:2], temperature=0.0, max_tokens=60)
    together: list[int] = []
    step = Batch.step

    def watched(self: Batch) -> None:
        together.append(len(self.rows))
        step(self)

    monkeypatch.setattr(Batch, "step", watched)
    client = engine.client(temperature=0.0, max_tokens=60)
    stream = client.create_stream(chat(ASKED[0]))
    await anext(stream)  # the first speaks
    later = await client.create(chat(ASKED[1]))
    first = [item async for item in stream][-1]
    assert [first.content, later.content] == undisturbed  # type: ignore[union-attr]
    assert max(together) == 2
