"""Many adapters on one base: each row speaks with its own, as peft has it; what does not fit is refused."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from test_engine import ASKED, answers, chat

from debate_plugin import abacus
from debate_plugin.engine import Engine
from debate_plugin.engine.adapters import _Stack
from debate_plugin.engine.batch import Batch
from debate_plugin.engine.row import Row
from debate_plugin.errors import InputError
from debate_plugin.pretrained import load

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """An adapter of random weights, as peft writes it."""

    def made(name: str, *, seed: int = 0, **config: Any) -> Path:
        torch.manual_seed(seed)
        base, _ = load(abacus.FOLDER)
        settings = {"r": 4, "target_modules": "all-linear", "init_lora_weights": False, "task_type": "CAUSAL_LM"}
        policy = get_peft_model(base, LoraConfig(**{**settings, **config}))
        policy.save_pretrained(str(tmp_path / name))
        return tmp_path / name

    return made


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "wide": {"r": 16, "lora_alpha": 24},
    "some": {"target_modules": ["q_proj", "down_proj"], "lora_alpha": 40},
    "rank-stabilized": {"r": 8, "lora_alpha": 6, "use_rslora": True},
    "patterned": {"r": 8, "rank_pattern": {"v_proj": 2}, "alpha_pattern": {"layers.1.mlp.up_proj": 30}},
}


async def test_each_row_speaks_with_its_own_adapter_as_peft_has_it(make: Make) -> None:
    folders = {name: make(name, seed=seed, **config) for seed, (name, config) in enumerate(KINDS.items())}
    names = [None, *folders]
    batches: list[int] = []
    admit = Batch.admit

    def counting(self: Batch, rows: Sequence[Row]) -> None:
        batches.append(len(rows))
        admit(self, rows)

    with Engine.load(abacus.FOLDER, adapters=folders) as engine, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batch, "admit", counting)
        clients = {name: engine.client(adapter=name, temperature=0.0, max_tokens=12) for name in names}
        asked = [(name, text) for text in ASKED[:5] for name in names if (name, text) != ("wide", ASKED[0])]
        results = await asyncio.gather(*(clients[name].create(chat(text)) for name, text in asked))
        few = [(name, ASKED[5]) for name in ("wide", "patterned")]  # neighbours in no stack
        results += await asyncio.gather(*(clients[name].create(chat(text)) for name, text in few))
        asked += few
    assert max(batches) > len(names)  # they did share batches
    said = {key: str(result.content) for key, result in zip(asked, results, strict=True)}
    for name in names:
        model, tokenizer = load(abacus.FOLDER)
        if name is not None:
            model = PeftModel.from_pretrained(model, str(folders[name])).eval()
        for text in (text for one, text in asked if one == name):
            inputs = tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
            reply = model.generate(**inputs, do_sample=False, max_new_tokens=12)
            expected = tokenizer.decode(reply[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            assert said[name, text] == expected
    assert len({tuple(said[name, text] for text in ASKED[1:5]) for name in names}) == len(names)


async def test_an_adapter_is_added_while_others_speak(make: Make) -> None:
    folder = make("later")
    with Engine.load(abacus.FOLDER) as engine:
        before = await answers(engine, ASKED, temperature=0.0, max_tokens=100)
        speaking = asyncio.create_task(answers(engine, ASKED, temperature=0.0, max_tokens=100))
        await asyncio.sleep(0.05)
        await asyncio.to_thread(engine.add_adapter, "later", folder)
        adapted = await answers(engine, ASKED[:1], adapter="later", temperature=0.0, max_tokens=30)
        assert await speaking == before
        assert adapted[0] != (await answers(engine, ASKED[:1], temperature=0.0, max_tokens=30))[0]
        with pytest.raises(ValueError, match="already has an adapter 'later'"):
            engine.add_adapter("later", folder)
        twice = [asyncio.to_thread(engine.add_adapter, "same", folder) for _ in range(2)]
        came = await asyncio.gather(*twice, return_exceptions=True)
        assert [type(one) for one in came if one is not None] == [InputError]


async def test_an_adapter_that_could_be_added_in_part_alone_spoils_no_other(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make("first", seed=1, r=16), make("second", seed=2, target_modules=["q_proj"])
    add, added = _Stack.add, 0

    def short_of_memory(self: _Stack, *given: Any) -> None:
        nonlocal added
        added += 1
        if added == 12:
            raise MemoryError("too much")
        add(self, *given)

    with Engine.load(abacus.FOLDER, adapters={"second": second}) as engine:
        alone = await answers(engine, ASKED[:4], adapter="second", temperature=0.0, max_tokens=20)
    with Engine.load(abacus.FOLDER) as engine:
        monkeypatch.setattr(_Stack, "add", short_of_memory)
        with pytest.raises(MemoryError):
            engine.add_adapter("first", first)
        engine.add_adapter("second", second)
        assert await answers(engine, ASKED[:4], adapter="second", temperature=0.0, max_tokens=20) == alone


async def test_adapters_follow_the_precision_of_their_base(make: Make) -> None:
    with Engine.load(abacus.FOLDER, adapters={"ada": make("ada")}, dtype=torch.bfloat16) as engine:
        texts = await answers(engine, ASKED[:4], adapter="ada", temperature=0.0, max_tokens=20)
        assert texts != await answers(engine, ASKED[:4], temperature=0.0, max_tokens=20)


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"use_dora": True}, r"nothing but LoRA weights .* got '.*magnitude_vector.*debate merge"),
        ({"modules_to_save": ["lm_head"]}, "nothing but LoRA weights .*debate merge"),
        ({"target_modules": ["embed_tokens"]}, "nothing but LoRA weights of linear layers"),
        ({"alora_invocation_tokens": [5, 6]}, "its config has alora_invocation_tokens"),
        ({"init_lora_weights": "pissa"}, "expected an adapter that leaves its base as it is.* begun with pissa"),
    ],
)
def test_what_is_more_than_lora_on_linear_layers_is_refused(
    make: Make, engine: Engine, config: dict[str, Any], complaint: str
) -> None:
    folder = make("odd", **config)
    with pytest.raises(ValueError, match=complaint):
        engine.add_adapter("odd", folder)
    with pytest.raises(ValueError, match="has no adapter 'odd'"):
        engine.client(adapter="odd")


def test_an_adapter_of_other_widths_or_none_at_all_is_named(make: Make, engine: Engine, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    with pytest.raises(ValueError, match="has no adapter 'ada'"):
        engine.client(adapter="ada")
    with pytest.raises(ValueError, match="expected a LoRA adapter folder"):
        engine.add_adapter("ada", tmp_path)
    file = make("ada") / "adapter_model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if name.endswith("lora_A.weight"))
    save_file({**weights, name: torch.zeros(4, 999)}, file)
    with pytest.raises(ValueError, match=r"expected an adapter made for this base, .* does not fit"):
        engine.add_adapter("ada", file.parent)
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(ValueError, match="could not be read"):
        engine.add_adapter("ada", file.parent)
