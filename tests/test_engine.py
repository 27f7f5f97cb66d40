"""The in-process engine on the embedded model: batches, settings, adapters, faults."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from autogen_core import CancellationToken
from autogen_core.models import AssistantMessage, LLMMessage, SystemMessage, UserMessage
from autogen_core.tools import FunctionTool
from peft import LoraConfig, get_peft_model

from debate_plugin import abacus
from debate_plugin.engine import Engine
from debate_plugin.engine.sampling import Prompt, Sampling, sample
from debate_plugin.evaluation.arithmetic import questions
from debate_plugin.pretrained import load

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
    run = Engine._run

    def counting(self: Engine, batch: list[object]) -> None:
        sizes.append(len(batch))
        run(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Engine, "_run", counting)
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
    import random

    from debate_plugin.engine.sampling import _choose, _Row

    logits = torch.log(torch.tensor([[0.6, 0.3, 0.1]])).repeat(4000, 1)

    def shares(**settings: float) -> list[float]:
        rows = [
            _Row(place, Prompt(ids=(1,), sampling=Sampling(**settings)), random.Random(place), 9)  # type: ignore[arg-type]
            for place in range(len(logits))
        ]
        drawn = _choose(logits, rows)
        return [(drawn == token).float().mean().item() for token in range(3)]

    assert shares(temperature=1.0) == pytest.approx([0.6, 0.3, 0.1], abs=0.03)
    sharp = [weight**2 for weight in (0.6, 0.3, 0.1)]
    assert shares(temperature=0.5) == pytest.approx([weight / sum(sharp) for weight in sharp], abs=0.03)
    assert shares(top_p=0.8) == pytest.approx([2 / 3, 1 / 3, 0.0], abs=0.03)
    assert shares(top_p=0.5) == [1.0, 0.0, 0.0]
    assert shares(temperature=0.0) == [1.0, 0.0, 0.0]


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    base, _ = load(abacus.FOLDER)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(base, config).save_pretrained(str(tmp_path / "noise"))
    return tmp_path / "noise"


async def test_adapters_speak_by_name_and_leave_the_base_as_it_was(adapter: Path) -> None:
    with Engine.load(abacus.FOLDER, adapters={"noise": adapter}) as engine:
        mixed = [engine.client(adapter=name, temperature=0.0, max_tokens=40) for name in (None, "noise", None, "noise")]
        texts = [
            str(result.content) for result in await asyncio.gather(*(client.create(chat(ASKED[0])) for client in mixed))
        ]
    with Engine.load(abacus.FOLDER) as engine:
        base = (await answers(engine, ASKED[:1], temperature=0.0, max_tokens=40))[0]
    assert texts[0] == texts[2] == base
    assert texts[1] == texts[3] != base


async def test_an_unknown_or_missing_adapter_is_named(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no adapter 'ada'"):
        engine.client(adapter="ada")
    with pytest.raises(ValueError, match="expected a LoRA adapter folder"):
        engine.add_adapter("ada", tmp_path)


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


async def test_a_cancelled_request_is_not_answered(engine: Engine) -> None:
    token = CancellationToken()
    running = asyncio.create_task(engine.client(max_tokens=100).create(chat(ASKED[0]), cancellation_token=token))
    await asyncio.sleep(0)
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await answers(engine, ASKED[:1], max_tokens=3))[0] != ""


async def test_a_fault_in_a_batch_reaches_its_askers_and_the_engine_lives_on(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr("debate_plugin.engine.engine.sample", broken)
        with pytest.raises(RuntimeError, match="out of memory"):
            await answers(engine, ASKED[:2])
    assert (await answers(engine, ASKED[:1], max_tokens=3))[0] != ""


async def test_a_closed_engine_finishes_what_is_queued_and_takes_no_more() -> None:
    engine = Engine.load(abacus.FOLDER)
    client = engine.client(max_tokens=5)
    running = [asyncio.create_task(client.create(chat(text))) for text in ASKED[:4]]
    await asyncio.sleep(0)
    await asyncio.to_thread(engine.close)
    assert len(await asyncio.gather(*running)) == 4
    with pytest.raises(RuntimeError, match="the engine is closed"):
        await client.create(chat("x"))


async def test_the_stream_ends_with_the_result(engine: Engine) -> None:
    messages: list[LLMMessage] = [
        SystemMessage(content="You are brief."),
        *chat(ASKED[0]),
        AssistantMessage(content="Answer: 4", source="ada"),
        *chat("Again."),
    ]
    items = [item async for item in engine.client(max_tokens=10).create_stream(messages)]
    assert items[0] == items[-1].content  # type: ignore[union-attr]


@pytest.mark.parametrize("settings", [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.5}, {"max_tokens": 0}])
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
