"""Reading questions: every format, and a clear word for every kind of bad file."""

import json
from pathlib import Path

import pytest

from debate_plugin import Question, read_questions


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_alpaca_rows_join_instruction_and_input(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Name a prime.", "input": "", "output": "7"},
        {"instruction": "Translate.", "input": "good day", "output": "bonjour"},
    ]
    first, second = read_questions(write(tmp_path / "alpaca.json", json.dumps(rows)))
    assert (first.text, first.kind, first.reference) == ("Name a prime.", "free", "7")
    assert second.text == "Translate.\n\ngood day"


def test_gsm8k_rows_are_numbers_with_the_reference_behind_the_hashes(tmp_path: Path) -> None:
    line = json.dumps({"question": "How many?", "answer": "48/2 = 24\n48+24 = 72\n#### 72"})
    (question,) = read_questions(write(tmp_path / "gsm8k.jsonl", line + "\n"))
    assert (question.kind, question.reference) == ("number", "72")


def test_any_column_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "math.jsonl", '{"problem": "What is 2+2?"}\n\n{"problem": "What is 3+3?"}\n')
    assert [question.text for question in read_questions(path, column="problem", kind="number")] == [
        "What is 2+2?",
        "What is 3+3?",
    ]


def test_plain_text_is_one_question_a_line_and_doubles_are_read_once(tmp_path: Path) -> None:
    path = write(tmp_path / "q.txt", "\ufeffWhat is 2+2?\n\nWhat is 3+3?\nWhat is 2+2?\n")
    assert [question.text for question in read_questions(path)] == ["What is 2+2?", "What is 3+3?"]


def test_the_same_text_is_the_same_question_in_every_file(tmp_path: Path) -> None:
    text = write(tmp_path / "q.txt", "What is 2+2?")
    rows = write(tmp_path / "q.jsonl", '{"question": "What is 2+2? "}')
    assert read_questions(text)[0].id == read_questions(rows)[0].id


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.jsonl", '{"problem": "x"}', "column 'question' at line 1 .* got columns problem"),
        ("a.jsonl", '{"question": "x"}\n{"question": ""}', "at line 2"),
        ("a.jsonl", '{"question": "x"}\nnot json', "line 2 of .* is not JSON"),
        ("a.json", '{"question": "x"}', "a JSON list of rows .* got dict"),
        ("a.json", '[{"instruction": "x"}, 3]', "an object at row 2 .* got int"),
        ("a.json", '[{"instruction": ', "parsing failed at line 1"),
        ("a.txt", "\n \n", "at least one question .* found none"),
        ("a.jsonl", "", "at least one question .* found none"),
    ],
)
def test_a_bad_file_is_named_with_its_row(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_questions(write(tmp_path / name, content))


def test_an_unreadable_file_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match="readable UTF-8 question file"):
        read_questions(tmp_path / "latin.txt")
    with pytest.raises(ValueError, match="readable UTF-8 question file"):
        read_questions(tmp_path / "missing.txt")
    with pytest.raises(ValueError, match="readable UTF-8 question file"):
        read_questions(tmp_path)


def test_a_column_cannot_be_named_in_plain_text(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is read as plain text"):
        read_questions(write(tmp_path / "q.txt", "x"), column="question")


def test_a_question_needs_a_text_and_a_known_kind() -> None:
    with pytest.raises(ValueError, match="has no text"):
        Question.of("  ")
    with pytest.raises(ValueError, match="number, choice, exact, free"):
        Question.of("x", kind="essay")  # type: ignore[arg-type]
