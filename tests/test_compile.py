"""The compiler: every record is accounted for, nothing is half-written, questions stay on their side."""

import hashlib
import json
import os
import subprocess
import tracemalloc
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from records import DISPUTED, calculating, debated, talked, with_tools

from debate_plugin import Question, Transcript
from debate_plugin.dataset.compile import Compilation, compile_rows
from debate_plugin.dataset.filters import Agreement, Filter, NearDuplicates
from debate_plugin.dataset.mix import places_kept
from debate_plugin.dataset.provenance import provenance_at
from debate_plugin.dataset.rows import NoRow, Row, prompt_of
from debate_plugin.dataset.rules import conversation, critic, final_answer, generator, majority_minority, prompts_only
from debate_plugin.errors import InputError
from debate_plugin.record import Unreadable
from debate_plugin.splits import split_of

UNANIMOUS = {name: ["Answer: 4", "Answer: 4"] for name in DISPUTED}


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_every_record_is_accounted_for(tmp_path: Path) -> None:
    records: list[Any] = [
        await debated(),
        await debated(UNANIMOUS),
        await debated({"ada": ["hm", "hm"]}),
        Unreadable("x", "a record of schema 99"),
        await debated({"ada": ["Answer: 4", "Answer: 4"], "ben": ["Answer: 5", "I agree with ada. Answer: 4"]}),
    ]
    filters: list[Filter] = [Agreement(minimum=0.7)]
    card = compile_rows(records, tmp_path / "rows.jsonl", Compilation(rule=majority_minority, filters=filters))
    assert card.transcripts == 5 and card.with_rows == 1 and card.rows == 1
    assert card.without_row == {
        "all its rows were left out": 1,
        "no decision": 1,
        "unanimous openings": 1,
        "unreadable: a record of schema 99": 1,
    }
    assert card.rows_left_out == {"agreement below 0.7": 1}
    assert card.with_rows + sum(card.without_row.values()) == card.transcripts


async def test_the_card_says_what_the_data_is_made_of(tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    compiled = Compilation(rule=partial(majority_minority, k=1), filters=[Agreement(minimum=0.5)])
    card = compile_rows([await debated(), await debated(UNANIMOUS)], out, compiled)
    written = json.loads((tmp_path / "rows.card.json").read_text())
    assert written == json.loads(json.dumps(card.as_json()))
    assert (written["rule"], written["options"]) == ("majority_minority", {"k": 1})
    assert written["filters"] == [{"name": "agreement", "minimum": 0.5, "maximum": 1.0}]
    assert written["files"] == [
        {
            "name": "rows.jsonl",
            "split": "train",
            "agent": None,
            "rows": 1,
            "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
        }
    ]
    assert written["sources"] == [{"name": "sums", "licence": "MIT", "records": 2}]
    assert written["lengths"]["chosen"] == {"mean": 6.0, "median": 6, "p95": 6, "longest": 6}
    assert written["chosen_longer"] == 1.0 and written["speakers"] == {"not told": 1}
    told = (tmp_path / "rows.card.md").read_text()
    for part in ("unanimous openings | 1", "sums | MIT | 2", "minimum 0.5", card.store_sha256, "`k=1`"):
        assert part in told


async def test_the_hash_is_of_all_that_was_read(tmp_path: Path) -> None:
    one, two = await debated(), await debated(UNANIMOUS)

    def digest(name: str, records: list[Any]) -> str:
        return compile_rows(records, tmp_path / name, Compilation(rule=final_answer)).store_sha256

    assert digest("a.jsonl", [one, two]) == digest("b.jsonl", [one, two])
    changed = two.model_copy(update={"seconds": 99.0})
    assert len({digest("c.jsonl", [one, two]), digest("d.jsonl", [one]), digest("e.jsonl", [one, changed])}) == 3


async def test_lengths_are_in_a_models_tokens_if_one_is_named(tmp_path: Path) -> None:
    from debate_plugin.cli.rows import _measure

    measure, unit = _measure("abacus")
    compiled = Compilation(rule=final_answer, measure=measure, unit=unit)
    card = compile_rows([await debated(UNANIMOUS)], tmp_path / "rows.jsonl", compiled)
    assert card.unit == "tokens of abacus"
    assert card.lengths["target"].longest == measure("Answer: 4") > 1


async def test_remarks_of_rows_are_counted(tmp_path: Path) -> None:
    from debate_plugin import Plan

    lost = await debated(plan=Plan(clean=True), cleaned=["The answer is 5."])
    card = compile_rows([lost], tmp_path / "rows.jsonl", Compilation(rule=final_answer))
    assert card.remarks == {"uncleaned: the cleaner lost the answer": 1}
    dropped = Compilation(rule=partial(final_answer, uncleaned="drop"))
    with pytest.raises(InputError, match="the cleaner lost the answer: 1"):
        compile_rows([lost], tmp_path / "other.jsonl", dropped)


# splits


async def test_a_question_is_on_one_side_whatever_is_made_of_it(tmp_path: Path) -> None:
    questions = [Question.of(f"What is {number}+1?", kind="number") for number in range(40)]
    records = [await debated(question=question) for question in questions]
    sides: dict[str, set[str]] = {"train": set(), "test": set()}
    for rule in (final_answer, generator, prompts_only):
        out = tmp_path / f"{rule.__name__}.jsonl"
        card = compile_rows(records, out, Compilation(rule=rule, test_share=0.3))
        assert [file.split for file in card.files] == ["train", "test"]
        for file in card.files:
            sides[file.split] |= {row["provenance"]["question"] for row in lines_of(tmp_path / file.name)}
    assert sides["train"].isdisjoint(sides["test"]) and sides["train"] | sides["test"] == {one.id for one in questions}
    assert sides["test"] == {one.id for one in questions if split_of(one.id, test_share=0.3) == "test"}


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_test_side_holds_the_smaller_one(question: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    if split_of(question, test_share=small) == "test":
        assert split_of(question, test_share=large) == "test"
    assert split_of(question, test_share=0.0) == "train"


def test_the_test_side_is_as_large_as_was_asked() -> None:
    sides = [split_of(str(number), test_share=0.2) for number in range(5000)]
    assert 900 < sides.count("test") < 1100


# parts, agents


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 60), min_size=1),
    st.fixed_dictionaries({part: st.floats(0.05, 1) for part in "abc"}),
    st.integers(0, 3),
)
def test_a_mix_has_the_shares_asked_for_and_is_as_large_as_can_be(
    counts: dict[str, int], shares: dict[str, float], seed: int
) -> None:
    kept = places_kept(counts, shares, seed=seed)
    assert kept == places_kept(counts, shares, seed=seed)
    present = [part for part, count in counts.items() if count]
    for part, count in counts.items():
        assert all(0 <= place < count for place in kept[part])
    if present:
        scale = min(counts[part] / shares[part] for part in present)
        for part in present:
            assert abs(len(kept[part]) - scale * shares[part]) < 1 + 1e-6
        assert any(len(kept[part]) == counts[part] for part in present)


def test_shares_must_name_the_parts() -> None:
    with pytest.raises(InputError, match="got none for 'kept'"):
        places_kept({"kept": 3, "corrected": 1}, {"corrected": 1.0})
    with pytest.raises(InputError, match="shares of 0 and more"):
        places_kept({"kept": 3}, {"kept": 0.0})
    assert places_kept({"kept": 3}, {"kept": 0.5, "corrected": 0.5}) == {"kept": {0, 1, 2}}  # the other side is empty
    assert places_kept({"kept": 3, "corrected": 2}, {"kept": 0.0, "corrected": 1.0})["kept"] == set()


async def test_corrected_and_kept_traces_are_mixed_and_the_rest_is_counted(tmp_path: Path) -> None:
    kept = {"ada": ["Answer: 4", "Answer: 4"], "ben": ["Answer: 4", "Answer: 4"]}
    corrected = {"ada": ["Answer: 5", "Answer: 4"], "ben": ["Answer: 4", "Answer: 4"]}
    records = [await debated(kept) for _ in range(6)] + [await debated(corrected) for _ in range(2)]
    out = tmp_path / "rows.jsonl"
    card = compile_rows(records, out, Compilation(rule=critic, mix={"corrected": 0.25, "kept": 0.75}))
    assert card.parts == {"corrected": 2, "kept": 6} and card.rows_left_out == {"left out to keep the mix": 8}
    assert card.with_rows + sum(card.without_row.values()) == card.transcripts == 8
    assert [file.rows for file in card.files] == [2 + 2 * 6]  # a trl row for each reply that carries loss


async def test_each_agent_gets_a_file_of_its_own(tmp_path: Path) -> None:
    card = compile_rows([await debated(UNANIMOUS)], tmp_path / "g.jsonl", Compilation(rule=generator, per_agent=True))
    assert [(file.name, file.agent, file.rows) for file in card.files] == [
        ("g.ada.jsonl", "ada", 1),
        ("g.ben.jsonl", "ben", 1),
        ("g.cleo.jsonl", "cleo", 1),
    ]
    for file in card.files:
        (row,) = lines_of(tmp_path / file.name)
        assert {turn["agent"] for turn in row["provenance"]["turns"]} == {file.agent}
    with pytest.raises(InputError, match="rows of one agent each"):
        compile_rows([await debated()], tmp_path / "p.jsonl", Compilation(rule=majority_minority, per_agent=True))
    assert not list(tmp_path.glob("p*")) and not list(tmp_path.glob(".p*"))


# provenance


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json", "rows.parquet", "rows"])
@pytest.mark.parametrize("format", ["trl", "openai"])
async def test_from_a_row_back_to_its_debate(tmp_path: Path, name: str, format: Any) -> None:
    records = [await debated(), await with_tools()]
    compile_rows(records, tmp_path / name, Compilation(rule=final_answer, format=format))
    for number, record in enumerate(records, 1):
        origin = provenance_at(f"{tmp_path / name}:{number}")
        assert origin["transcript"] == record.id
        assert origin["turns"][0]["agent"] == record.outcome.debater
    with pytest.raises(InputError, match="it has fewer"):
        provenance_at(f"{tmp_path / name}:3")


def test_what_is_no_row_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"text": "a"}\nno json\n[1]\n')
    for place, complaint in (
        ("mine.jsonl:1", "without"),
        ("mine.jsonl:2", "could not be read"),
        ("mine.jsonl:3", "without"),
        ("mine.jsonl:0", "counted from 1"),
        ("mine.jsonl", "FILE:NUMBER"),
        ("none.jsonl:1", "check the path"),
    ):
        with pytest.raises(InputError, match=complaint):
            provenance_at(f"{tmp_path}/{place}")


# files


async def test_nothing_is_half_written(tmp_path: Path) -> None:
    unanimous = await debated(UNANIMOUS)
    out = tmp_path / "rows.jsonl"
    with pytest.raises(InputError, match="unanimous openings: 1"):
        compile_rows([unanimous], out, Compilation(rule=majority_minority))
    assert list(tmp_path.iterdir()) == []
    out.write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        compile_rows([unanimous], out, Compilation(rule=final_answer))
    assert out.read_text() == "mine"
    with pytest.raises(InputError, match="does not exist; create it first"):
        compile_rows([unanimous], tmp_path / "nowhere" / "rows.jsonl", Compilation(rule=final_answer))
    with pytest.raises(InputError, match=r"ends with \.jsonl"):
        compile_rows([unanimous], tmp_path / "rows.csv", Compilation(rule=final_answer))


async def test_a_rule_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    transcript = await debated()

    def breaks(transcript: Transcript) -> list[Row] | NoRow:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        compile_rows([transcript], tmp_path / "rows.jsonl", Compilation(rule=breaks))
    assert list(tmp_path.iterdir()) == []


async def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can mount a disk")
    big = await debated({"ada": ["x" * 300_000 + " Answer: 4"] * 2})
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    try:
        with pytest.raises(InputError, match="No space left on device"):
            compile_rows([big] * 9, disk / "rows.jsonl", Compilation(rule=final_answer))
        assert list(disk.iterdir()) == []
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(InputError, match="cannot be written"):
            compile_rows([big], disk / "rows.jsonl", Compilation(rule=final_answer))
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


async def test_odd_texts_and_long_ones_are_written(tmp_path: Path) -> None:
    odd = await debated({"ada": ["nul \x00 line\u2028 emoji \U0001f600\nAnswer: 4"] * 2})
    long = await debated({"ada": ["word " * 2_000_000 + "Answer: 4"] * 2})
    for name in ("lines.jsonl", "table.parquet"):
        card = compile_rows([odd, long], tmp_path / name, Compilation(rule=final_answer))
        assert card.rows == 2 and card.lengths["target"].longest > 2_000_000
    row, _ = lines_of(tmp_path / "lines.jsonl")
    assert row["completion"][0]["content"].startswith("nul \x00 line\u2028 emoji \U0001f600")


async def test_rows_of_two_shapes_are_refused(tmp_path: Path) -> None:
    transcript = await debated()

    def both(transcript: Transcript) -> list[Any]:
        chats, pairs = final_answer(transcript), majority_minority(transcript)
        assert not isinstance(chats, NoRow) and not isinstance(pairs, NoRow)
        return [*chats, *pairs]

    with pytest.raises(InputError, match="one shape"):
        compile_rows([transcript], tmp_path / "rows.jsonl", Compilation(rule=both))


async def test_a_rule_of_ones_own_is_a_function(tmp_path: Path) -> None:
    def short(transcript: Transcript, *, most: int = 10) -> list[Row] | NoRow:
        made = final_answer(transcript)
        if isinstance(made, NoRow) or len(transcript.outcome.text or "") > most:
            return NoRow("too long")
        return [*made]

    records = [await debated(UNANIMOUS), await debated({"ada": ["A long answer. Answer: 4"] * 2})]
    card = compile_rows(records, tmp_path / "rows.jsonl", Compilation(rule=partial(short, most=12)))
    assert (card.rule, card.options, card.rows, card.without_row) == ("short", {"most": 12}, 1, {"too long": 1})


async def test_runs_of_any_team_become_rows(tmp_path: Path) -> None:
    card = compile_rows([await talked(calculating())], tmp_path / "rows.jsonl", Compilation(rule=conversation))
    first, second = lines_of(tmp_path / "rows.jsonl")
    assert card.rows == 1 and first["completion"][0]["tool_calls"][0]["function"]["arguments"] == {"a": 4, "b": 5}
    assert second["completion"] == [{"role": "assistant", "content": "It is 20."}]


async def test_memory_does_not_grow_with_the_records(tmp_path: Path) -> None:
    transcript = await debated({name: [f"{'step ' * 200}Answer: {4 + (name == 'cleo')}"] * 2 for name in DISPUTED})

    def many(count: int) -> Iterator[Transcript]:
        for number in range(count):
            yield transcript.model_copy(update={"id": f"{number:024d}"})

    def peak(count: int) -> int:
        tracemalloc.start()
        compile_rows(many(count), tmp_path / f"{count}.jsonl", Compilation(rule=majority_minority))
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(20)
    assert peak(1200) - peak(200) < 200_000  # a thousand records more, 10 kB each


async def test_a_filter_that_remembers_sees_rows_in_their_order(tmp_path: Path) -> None:
    record = await debated({"ada": ["First we add two and two, which makes four in all. Answer: 4"] * 2})
    compiled = Compilation(rule=final_answer, filters=[NearDuplicates(0.9)])
    card = compile_rows([record] * 5, tmp_path / "rows.jsonl", compiled)
    assert card.rows == 1 and card.rows_left_out == {"nearly the same as an earlier row": 4}


async def test_the_prompt_of_a_chat_ends_where_loss_begins() -> None:
    rows = critic(await debated(), agent="ben")
    assert not isinstance(rows, NoRow)
    assert [message["role"] for message in prompt_of(rows[0])] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize("wrong", [{"format": "csv"}, {"test_share": 1.0}, {"test_share": -0.1}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected a"):
        Compilation(rule=final_answer, **wrong)


async def test_a_chat_in_which_nothing_is_learnt_is_refused(tmp_path: Path) -> None:
    def silent(transcript: Transcript) -> list[Row]:
        made = final_answer(transcript)
        assert not isinstance(made, NoRow)
        return [{**row, "messages": row["messages"][:1]} for row in made]

    with pytest.raises(InputError, match="a reply that carries loss"):
        compile_rows([await debated()], tmp_path / "rows.jsonl", Compilation(rule=silent))
    assert list(tmp_path.iterdir()) == []


async def test_runs_on_one_question_are_on_one_side(tmp_path: Path) -> None:
    runs = [await talked(calculating(), f"What is 4*{number}?") for number in range(12) for _ in range(2)]
    card = compile_rows(runs, tmp_path / "rows.jsonl", Compilation(rule=conversation, test_share=0.5))
    sides = [{row["provenance"]["question"] for row in lines_of(tmp_path / file.name)} for file in card.files]
    assert len(sides) == 2 and sides[0].isdisjoint(sides[1]) and len(sides[0] | sides[1]) == 12


async def test_what_comes_late_or_looks_like_a_date_keeps_its_type(tmp_path: Path) -> None:
    """The datasets library guesses types from the first ten megabytes."""
    from datasets import Dataset

    question = Question.of("When?", kind="exact")
    dated = await debated({"ada": ["Answer: 2024-01-01"] * 2}, question=question)
    compile_rows([dated], tmp_path / "dates.parquet", Compilation(rule=prompts_only))
    assert Dataset.from_parquet(str(tmp_path / "dates.parquet"))[0]["answer"] == "2024-01-01"
    plain = await debated({"ada": ["x" * 1_000_000 + " Answer: 4"] * 2})
    records = [*[plain] * 12, await with_tools()]
    for name in ("late.parquet", "folder"):
        compile_rows(records, tmp_path / name, Compilation(rule=generator))
    assert len(Dataset.from_parquet(str(tmp_path / "late.parquet"))) == 14


async def test_an_agent_named_as_the_card_leaves_nothing(tmp_path: Path) -> None:
    records = [await debated({"card": ["Answer: 4"] * 2})]
    with pytest.raises(InputError, match="than the card's for files of rows"):
        compile_rows(records, tmp_path / "r.json", Compilation(rule=generator, per_agent=True))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("made", [None, "rows", 3])
async def test_a_rule_that_returns_no_rows_is_told(tmp_path: Path, made: Any) -> None:
    def odd(transcript: Transcript) -> Any:
        return iter([]) if made == "rows" else made

    with pytest.raises(InputError, match="return a list"):
        compile_rows([await debated()], tmp_path / "r.jsonl", Compilation(rule=odd))


@pytest.mark.parametrize("share", [float("inf"), float("nan")])
def test_shares_are_numbers(share: float) -> None:
    with pytest.raises(InputError, match="shares of 0 and more"):
        places_kept({"kept": 3}, {"kept": share})


def test_a_name_that_is_an_ending_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a name"):
        compile_rows([], tmp_path / ".jsonl", Compilation(rule=final_answer))


def test_many_who_register_at_once_are_all_in_the_registry(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from debate_plugin.dataset.containers import register

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: register({tmp_path / f"{number}.json": {"formatting": "alpaca"}}), range(40)))
    assert len(json.loads((tmp_path / "dataset_info.json").read_text())) == 40
