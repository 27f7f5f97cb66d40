"""From a spoken turn back through adapters and rows to the debates of the first iteration."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from test_cli import debate, ok

from debate_agents import society_of_minds
from debate_plugin import Engine, Series, Store, abacus, generate
from debate_plugin.ancestry import Ancestry, Speaker, ancestry
from debate_plugin.dataset.compile import Compilation, compile_rows
from debate_plugin.dataset.rules import final_answer, majority_minority
from debate_plugin.evaluation.arithmetic import questions
from debate_plugin.lineage import weights_hash
from debate_plugin.training.lora import LoraSettings
from debate_plugin.training.preference import PreferenceSettings, train_preference
from debate_plugin.training.sft import train_sft

ASKED = questions(8, seed=9, split="train")


async def hold(store: Store, run: str, adapters: dict[str, Path], speaks: str | None) -> None:
    with Engine.load(abacus.FOLDER, adapters=adapters) as engine:
        client = engine.client(adapter=speaks, seed=0, max_tokens=120)
        series = Series(make_team=lambda: society_of_minds(client), store=store, run=run)
        assert [held.failure async for held in generate(series, ASKED)] == [None] * len(ASKED)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two iterations: debates of the base, two adapters that learnt from them, debates of the second of these."""
    at = tmp_path_factory.mktemp("ancestry")
    with Store.open(at / "debates.sqlite") as store:
        asyncio.run(hold(store, "first", {}, None))
        compile_rows(store.transcripts(), at / "sft.jsonl", Compilation(rule=final_answer))
        compile_rows(store.transcripts(), at / "dpo.jsonl", Compilation(rule=majority_minority))
        train_sft(abacus.FOLDER, at / "sft.jsonl", at / "sft", settings=LoraSettings(epochs=1))
        settings = PreferenceSettings()
        train_preference(abacus.FOLDER, at / "dpo.jsonl", at / "dpo", adapter=at / "sft", settings=settings)
        asyncio.run(hold(store, "second", {"tuned": at / "dpo"}, "tuned"))
    return at


def traced(folder: Path) -> Ancestry:
    with Store.open(folder / "debates.sqlite") as store:
        return ancestry(next(iter(store.transcripts(run="second"))), store, folder)


def test_every_turn_leads_back_to_the_first_iteration(folder: Path) -> None:
    found = traced(folder)
    everybody = ("ada", "ben", "cleo")
    dpo, sft = weights_hash(folder / "dpo"), weights_hash(folder / "sft")
    assert found.speakers == (Speaker(model="abacus", adapter="tuned", sha256=dpo, names=everybody, debates=1),)
    assert [one.sha256 for one in found.ancestors] == [dpo, sft]
    assert [one.folder for one in found.ancestors] == [folder / "dpo", folder / "sft"]
    assert [one.rows for one in found.ancestors] == [folder / "dpo.jsonl", folder / "sft.jsonl"]
    for one in found.ancestors:
        (base,) = one.speakers
        assert (base.adapter, base.sha256, base.names) == (None, None, everybody) and one.lost == 0
    rows = (folder / "sft.jsonl").read_text().splitlines()
    assert found.ancestors[1].speakers[0].debates == len({json.loads(row)["provenance"]["transcript"] for row in rows})


def test_the_command_prints_it(folder: Path) -> None:
    with Store.open(folder / "debates.sqlite") as store:
        id = next(iter(store.transcripts(run="second"))).id
    printed = ok(debate("lineage", id[:10], "--store", "debates.sqlite", cwd=folder))
    assert f"ada, ben, cleo: abacus with adapter tuned ({weights_hash(folder / 'dpo')[:12]}), in 1 debate\n" in printed
    assert f"from adapter {weights_hash(folder / 'sft')[:12]}" in printed
    assert "sft on " in printed and "(final_answer " in printed and "ada, ben, cleo: abacus, in " in printed
    whole = json.loads(ok(debate("lineage", id, "--store", "debates.sqlite", "--json", cwd=folder)))
    assert [one["lineage"]["method"] for one in whole["ancestors"]] == ["dpo", "sft"]


def test_what_is_gone_is_said(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "dpo.jsonl").unlink()
    shutil.rmtree(tmp_path / "copy" / "sft")
    found = traced(tmp_path / "copy")
    assert [(one.folder is None, one.rows is None) for one in found.ancestors] == [(False, True), (True, True)]
    with (
        Store.open(tmp_path / "copy" / "debates.sqlite") as store,
        pytest.raises(ValueError, match="expected a folder"),
    ):
        ancestry(next(iter(store.transcripts())), store, tmp_path / "nowhere")
