"""Reading answers and confidence, and telling when two answers are the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from debate_plugin.answers import Ballot, count_votes, read_answer, read_confidence, same_answer, without_confidence
from debate_plugin.question import AnswerKind, Question
from debate_plugin.turns import Turn, read_reply

NUMBER = Question.of("How many?", kind="number")
CHOICE = Question.of("Which colour?\nA) red\nB) dark blue", kind="choice")
EXACT = Question.of("Which city?", kind="exact")
FREE = Question.of("Tell me.", kind="free")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 1,234.", "1234"),
        ("Answer: -39\nConfidence: 80", "-39"),
        ("**Answer:** 12 apples", "12"),
        ("The answer is: $18.50", "18.5"),
        (r"so \boxed{\frac{1}{2}}", "1/2"),
        (r"\boxed{1,000}", "1000"),
        ("#### 72", "72"),
        ("x = \u22125", "-5"),
        ("Answer: 18 + 3 = 21", "21"),
        ("Answer: 42, since 6*7", "42"),
        ("Answer:\n42", "42"),
        ("so 515-48=467", "467"),
        ("it is .5", "0.5"),
        ("about 1e3", "1000"),
        ("The answer is 3.0", "3"),
        ("The others said the answer is 5, but no: the answer is 7.", "7"),
        ("I have no idea.", None),
        ("Confidence: 87", None),
        ("", None),
        ("Answer: 5/0", None),
        ("Answer: 42\nMy answer is unchanged.", "42"),
        ("Answer: 42\n\n#### Verification\nAll good.", "42"),
        ("The sum is 42. Confidence: 90", "42"),
        ("Answer: 72 = 8*9", "72"),
        ("The answer is 5, as 3+2=5 and 2+3=6", "5"),
        (r"\boxed{1{,}234}", "1234"),
        ("Answer: \u20133", "-3"),
        (r"\frac{-1}{2}", "-1/2"),
        ("Answer: 1e400", None),
    ],
)
def test_numbers(text: str, answer: str | None) -> None:
    assert read_answer(NUMBER, text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is (B).", "B"),
        ("Answer: B", "B"),
        ("Answer: b) dark blue", "B"),
        ("Answer: dark blue", "B"),
        ("(A) is wrong, so (B)", "B"),
        ("I think A is nice", None),
        ("Answer: Both", None),
        ("I think B", "B"),
        ("Answer: Z", None),
        ("Answer: A, not (B)", "A"),
        ("The answer is a matter of taste", None),
        ("[B]", "B"),
        ("the correct option is B", "B"),
        (r"\boxed{\text{B}}", "B"),
        ("B", "B"),
    ],
)
def test_choices(text: str, answer: str | None) -> None:
    assert read_answer(CHOICE, text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [("Answer: Paris.", "Paris"), ("Paris", "Paris"), ("It is on the Seine.\nIt is old.", None), ("Answer: ", None)],
)
def test_exact_answers(text: str, answer: str | None) -> None:
    assert read_answer(EXACT, text) == answer


def test_a_free_answer_is_the_text_without_the_confidence() -> None:
    assert read_answer(FREE, "Once upon a time.\nConfidence: 90") == "Once upon a time."
    assert read_answer(FREE, "Confidence: 90") is None


@pytest.mark.parametrize(
    ("text", "confidence"),
    [
        ("Confidence: 87", 87),
        ("confidence is 87%", 87),
        ("Confidence: 0.87", 87),
        ("Confidence: 87/100", 87),
        ("**Confidence:** 87", 87),
        ("Confidence: 20\nConfidence: 30", 30),
        ("Confidence: 1", 1),
        ("Confidence: high", None),
        ("Confidence: 870", None),
        ("Confidence: 8/10", 80),
        ("Confidence: 9 out of 10", 90),
        ("Confidence: 1.0", 100),
        ("Confidence: 3,5", None),
        ("Confidence score: 87", 87),
        ("95% confidence 1.96", None),
        ("87", None),
    ],
)
def test_confidence_is_read_and_never_invented(text: str, confidence: float | None) -> None:
    assert read_confidence(text) == confidence


def test_confidence_lines_can_be_taken_out() -> None:
    assert without_confidence("Answer: 3\n**Confidence:** 80\n") == "Answer: 3"
    assert without_confidence("It is 42. Confidence: 90") == "It is 42."
    assert without_confidence("Confidence intervals are ranges.") == "Confidence intervals are ranges."


@pytest.mark.parametrize(
    ("kind", "left", "right", "same"),
    [
        ("number", "1234", "1234", True),
        ("number", "0.5", "1/2", True),
        ("number", "0.333333", "1/3", True),
        ("number", "1000000", "1000001", False),
        ("number", "0.5", "0.6", False),
        ("choice", "A", "B", False),
        ("exact", "new  York", "New York", True),
        ("free", "same", "same", False),
    ],
)
def test_equality(kind: AnswerKind, left: str, right: str, same: bool) -> None:
    assert same_answer(kind, left, right) is same


@given(st.integers(min_value=-(10**9), max_value=10**9))
def test_a_whole_number_is_read_however_it_is_written(number: int) -> None:
    for text in (f"Answer: {number}", f"Answer: {number:,}", f"The answer is {number}.0.", f"= {number}"):
        assert same_answer("number", read_answer(NUMBER, text) or "", str(number))


@given(st.text())
def test_no_text_breaks_the_readers(text: str) -> None:
    read_confidence(text)
    for question in (NUMBER, CHOICE, EXACT, FREE):
        read_answer(question, text)


ballots = st.lists(
    st.tuples(st.sampled_from(["1", "1.0", "2", "3", None]), st.one_of(st.none(), st.floats(0, 100))), max_size=8
)


@given(ballots, st.permutations(list(range(8))))
def test_a_vote_does_not_know_names_and_abstentions_never_win(
    cast: list[tuple[str | None, float | None]], names: list[int]
) -> None:
    votes = [
        count_votes("number", [Ballot(voter=str(name), answer=a, confidence=c) for name, (a, c) in zip(of, cast)])  # noqa: B905  # as many names as ballots are taken
        for of in (range(8), names)
    ]
    assert [(g.answer, len(g.voters), g.confidence) for g in votes[0].groups] == [
        (g.answer, len(g.voters), g.confidence) for g in votes[1].groups
    ]
    answered = [a for a, _ in cast if a is not None]
    assert sum(len(group.voters) for group in votes[0].groups) == len(answered)
    assert len(votes[0].abstained) == len(cast) - len(answered)


def test_equal_answers_share_a_group_and_confidence_breaks_ties() -> None:
    vote = count_votes(
        "number",
        [
            Ballot(voter="ada", answer="2", confidence=40),
            Ballot(voter="ben", answer="3", confidence=90),
            Ballot(voter="cleo", answer="2.0"),
            Ballot(voter="dan", answer="3.0", confidence=10),
        ],
    )
    assert [(group.answer, group.voters) for group in vote.groups] == [("3", ("ben", "dan")), ("2", ("ada", "cleo"))]
    assert vote.agreement == 0.5


@pytest.mark.parametrize("filler", ["_", "*", "\n", " ", "answer: ", "confidence ", "Ranking ", "<", "(", "1,"])
def test_a_runaway_reply_is_read_as_any_other(filler: str) -> None:
    """Reading one is work in proportion to its length: with a quadratic pattern these would take minutes."""
    runaway = filler * 20_000
    assert read_answer(Question.of("What is 2+2?", kind="number"), f"{runaway}\nAnswer: 4\nConfidence: 70") == "4"
    assert read_confidence(f"{runaway}\nConfidence: 70") == 70
    voter = Turn(agent="a", role="voter", round=2, prompt="", ballot="ranking", options=("b", "c"))
    assert read_reply(Question.of("Which?"), voter, f"{runaway}\nRanking: B > A").chosen == ("c", "b")
