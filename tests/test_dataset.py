"""Rules and compiler: who deserves credit for what, and an account of every transcript."""

import hashlib
import json
from pathlib import Path

import pytest
from actors import scripted_team

from debate_plugin import Plan, Question, Series, Store, Transcript, generate
from debate_plugin.dataset.compile import compile_rows
from debate_plugin.dataset.rows import NoRow, PreferenceRow, SftRow
from debate_plugin.dataset.rules import RULES, final_answer, majority_minority

QUESTION = Question.of("What is 2+2?", kind="number", reference="4444")


async def transcript_of(
    tmp_path: Path, debaters: dict[str, list[str]], *, question: Question = QUESTION, **team: object
) -> Transcript:
    with Store.open(tmp_path / "one.sqlite") as store:
        series = Series(make_team=lambda: scripted_team(debaters, **team), store=store)  # type: ignore[arg-type]
        async for held in generate(series, [question]):
            assert held.failure is None
        (transcript,) = store.transcripts()
    return transcript


DISPUTED = {
    "ada": ["A: 2+2=4\nAnswer: 4\nConfidence: 60", "Answer: 4\nConfidence: 90"],
    "ben": ["Answer: 5\nConfidence: 50", "I agree. Answer: 4\nConfidence: 70"],
    "cleo": ["no idea", "Answer: 5\nConfidence: 40"],
}


async def test_final_answer_is_the_question_and_the_cleaned_text(tmp_path: Path) -> None:
    transcript = await transcript_of(tmp_path, DISPUTED, plan=Plan(clean=True), cleaned=["The answer is 4."])
    rows = final_answer(transcript)
    assert not isinstance(rows, NoRow)
    assert rows[0]["messages"] == [
        {"role": "user", "content": "What is 2+2?"},
        {"role": "assistant", "content": "The answer is 4."},
    ]
    assert rows[0]["provenance"]["transcript"] == transcript.id
    assert [turn["role"] for turn in rows[0]["provenance"]["turns"]] == ["debater", "cleaner"]
    assert rows[0]["provenance"]["agreement"] == pytest.approx(2 / 3, abs=1e-4)


async def test_what_was_to_be_cleaned_and_was_not_gives_no_row(tmp_path: Path) -> None:
    transcript = await transcript_of(tmp_path, DISPUTED, plan=Plan(clean=True), cleaned=["The answer is 5."])
    assert final_answer(transcript) == NoRow("the cleaner lost the answer")


async def test_without_a_cleaner_the_deciding_reply_stands_without_its_confidence(tmp_path: Path) -> None:
    rows = final_answer(await transcript_of(tmp_path, DISPUTED))
    assert not isinstance(rows, NoRow)
    assert rows[0]["messages"][1]["content"] == "Answer: 4"


async def test_the_form_that_the_debate_asked_for_is_not_taught(tmp_path: Path) -> None:
    said = "A: 2+2=4\n**Answer:** 4\nConfidence: 90"
    rows = final_answer(await transcript_of(tmp_path, {"ada": [said, said]}))
    assert not isinstance(rows, NoRow)
    assert rows[0]["messages"][1]["content"] == "A: 2+2=4\nThe answer is 4."


async def test_a_preference_pair_is_two_openings_to_one_prompt(tmp_path: Path) -> None:
    transcript = await transcript_of(tmp_path, DISPUTED)
    rows = majority_minority(transcript)
    assert not isinstance(rows, NoRow)
    (row,) = rows
    assert [message["role"] for message in row["prompt"]] == ["system", "user"]
    assert row["prompt"] == transcript.messages(transcript.replies[0])
    assert row["chosen"][0]["content"].startswith("A: 2+2=4")
    assert row["rejected"][0]["content"].startswith("Answer: 5")


async def test_the_reference_answer_enters_no_row(tmp_path: Path) -> None:
    transcript = await transcript_of(tmp_path, DISPUTED)
    for rule in RULES.values():
        assert "4444" not in json.dumps(rule(transcript))


@pytest.mark.parametrize(
    ("openings", "reason"),
    [
        (["Answer: 4", "Answer: 4", "Answer: 4"], "unanimous openings"),
        (["Answer: 1", "Answer: 2", "Answer: 3"], "no opening agrees with the decision"),
    ],
)
async def test_debates_without_a_pair_say_why(tmp_path: Path, openings: list[str], reason: str) -> None:
    debaters = {name: [said, "Answer: 4"] for name, said in zip(("ada", "ben", "cleo"), openings, strict=True)}
    assert majority_minority(await transcript_of(tmp_path, debaters)) == NoRow(reason)


async def test_debaters_with_other_system_messages_make_no_pair(tmp_path: Path) -> None:
    from actors import lines

    from debate_agents import debater
    from debate_plugin import DebateTeam

    with Store.open(tmp_path / "one.sqlite") as store:

        def team() -> DebateTeam:
            ada = debater("ada", lines("Answer: 4", "Answer: 4"))
            ben = debater("ben", lines("Answer: 5", "Answer: 4"), persona="a sceptic")
            return DebateTeam([ada, ben], kind="number")

        async for _ in generate(Series(make_team=team, store=store), [QUESTION]):
            pass
        (transcript,) = store.transcripts()
    assert majority_minority(transcript) == NoRow("no two openings share their prompt")


async def test_too_little_agreement_gives_no_row(tmp_path: Path) -> None:
    transcript = await transcript_of(tmp_path, DISPUTED)
    with pytest.raises(ValueError, match=r"agreement below 0.9: 1"):
        compile_rows([transcript], final_answer, tmp_path / "a", name="final_answer", min_agreement=0.9)
    assert compile_rows([transcript], final_answer, tmp_path / "b", name="final_answer", min_agreement=0.6).rows == 1


async def test_agreement_is_that_of_the_round_that_decided(tmp_path: Path) -> None:
    silent_in_the_end = {name: ["Answer: 4", "no idea"] for name in DISPUTED}
    rows = final_answer(await transcript_of(tmp_path, silent_in_the_end))
    assert not isinstance(rows, NoRow)
    assert rows[0]["provenance"]["agreement"] == 1.0
    assert [turn["round"] for turn in rows[0]["provenance"]["turns"]] == [1]


async def test_free_answers_give_chats_but_no_pairs(tmp_path: Path) -> None:
    question = Question.of("Write a line.")
    transcript = await transcript_of(tmp_path, {"ada": ["Roses.", "Red."], "ben": ["Blue.", "Sky."]}, question=question)
    assert majority_minority(transcript) == NoRow("free answers cannot agree")
    assert not isinstance(final_answer(transcript), NoRow)


async def test_compiling_accounts_for_every_transcript_and_repeats_itself_to_the_byte(tmp_path: Path) -> None:
    disputed = await transcript_of(tmp_path, DISPUTED)
    (tmp_path / "one.sqlite").unlink()
    unanimous = await transcript_of(tmp_path, {name: ["Answer: 4", "Answer: 4"] for name in DISPUTED})
    cards = [
        compile_rows([disputed, unanimous], majority_minority, tmp_path / name, name="majority_minority")
        for name in ("a.jsonl", "b.jsonl")
    ]
    assert (cards[0].transcripts, cards[0].rows, cards[0].without_row) == (2, 1, {"unanimous openings": 1})
    data = (tmp_path / "a.jsonl").read_bytes()
    assert data == (tmp_path / "b.jsonl").read_bytes()
    assert hashlib.sha256(data).hexdigest() == cards[0].sha256
    assert json.loads((tmp_path / "a.jsonl.card.json").read_text())["rows"] == 1


async def test_nothing_is_half_written(tmp_path: Path) -> None:
    unanimous = await transcript_of(tmp_path, {"ada": ["Answer: 4", "Answer: 4"], "ben": ["Answer: 4", "Answer: 4"]})
    out = tmp_path / "rows.jsonl"
    with pytest.raises(ValueError, match="unanimous openings: 1"):
        compile_rows([unanimous], majority_minority, out, name="majority_minority")
    assert [path.name for path in tmp_path.iterdir() if "rows" in path.name] == []
    out.write_text("mine")
    with pytest.raises(ValueError, match="is there already"):
        compile_rows([unanimous], final_answer, out, name="final_answer")
    assert out.read_text() == "mine"
    with pytest.raises(ValueError, match="does not exist; create it first"):
        compile_rows([unanimous], final_answer, tmp_path / "nowhere" / "rows.jsonl", name="final_answer")


async def test_openai_takes_the_chats_and_trl_the_pairs(tmp_path: Path) -> None:
    """The libraries that own the formats read them."""
    from datasets import Dataset
    from trl.data_utils import is_conversational

    transcript = await transcript_of(tmp_path, DISPUTED)
    for rule in RULES.values():
        made = rule(transcript)
        assert not isinstance(made, NoRow)
        row: SftRow | PreferenceRow = made[0]
        assert is_conversational(Dataset.from_list([dict(row)])[0])
