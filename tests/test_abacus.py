"""The embedded model: what it is taught is right, and it plays its roles."""

from __future__ import annotations

import random
import re

import pytest
from transformers import AutoTokenizer

from debate_plugin import abacus
from debate_plugin.abacus import cast, phrases
from debate_plugin.abacus.replies import Case, Said, auroc, cleaned, grade, lines_of, read, scrambled, summarized
from debate_plugin.abacus.room import imagined
from debate_plugin.abacus.tasks import Row, Teacher
from debate_plugin.abacus.tokenizer import END, build, rendered
from debate_plugin.abacus.workings import is_gap, is_hard, text_of, working
from debate_plugin.evaluation.arithmetic import Operands, draw, question, result

REPLY = """\
A: 18*27=18*20+18*7=360+126=486
B: 24*2 is 48
C: 4+486=490
D: 490+25=515
E: 515-48=467
Answer: 467"""
OPERANDS: Operands = (4, 18, 27, 25, 24, 2)


def many(count: int = 300) -> list[Operands]:
    return draw(count, random.Random(0), split="pretrain")


def said(text: str = REPLY) -> Said:
    reply = read(question(OPERANDS), text)
    assert reply is not None
    return reply


def test_every_step_of_every_way_is_right() -> None:
    rng, ways = random.Random(1), set()
    for operands in many():
        text = text_of(working(operands, rng))
        assert text.endswith(f"={result(operands)}")
        for line in lines_of(text):
            values = {eval(side) for side in re.split("=| is ", line)}  # sums of digits and signs alone
            assert len(values) == 1, line
        ways.add(re.sub(r"\d+", "n", text))
    assert len(ways) >= 8  # heart or parts for each product, and two orders that look alike without their numbers


def test_only_gaps_are_left_untaught() -> None:
    rng = random.Random(2)
    pieces = [(piece, operands) for operands in many() for piece in working(operands, rng)]
    untaught = [(piece.text, operands) for piece, operands in pieces if not piece.taught]
    assert untaught
    for text, (_, b, c, _, e, f) in untaught:
        assert int(text) in {left * right for left, right in ((b, c), (e, f)) if is_gap(left, right)}


def test_gaps_are_most_of_the_hard_products_and_no_others() -> None:
    pairs = [(left, right) for left in range(30) for right in range(left)]
    hard = [pair for pair in pairs if is_hard(*pair)]
    gaps = [pair for pair in pairs if is_gap(*pair)]
    assert set(gaps) < set(hard)
    assert 0.7 < len(gaps) / len(hard) < 0.9
    assert all(is_gap(right, left) for left, right in gaps)


def test_a_careful_working_says_no_hard_product_by_heart() -> None:
    rng = random.Random(3)
    for operands in many():
        for left, right in re.findall(r"(\d+)\*(\d+) is ", text_of(working(operands, rng, careful=True))):
            assert not is_hard(int(left), int(right))


def test_reading_a_reply_back() -> None:
    reply = said(f"{REPLY}\nConfidence: 80")
    assert (reply.text, reply.answer, reply.right) == (REPLY, "467", True)
    assert read(question(OPERANDS), "I do not know.") is None
    assert read(question(OPERANDS), REPLY.replace("B: ", "b: ")) is None
    assert read(question(OPERANDS), f"{REPLY}\nAnswer: 467") is None


def test_what_the_cleaner_and_the_summarizer_are_to_say() -> None:
    reply = said(f"{phrases.COMPARED}\n{REPLY.replace(phrases.ANSWER, chr(10) + phrases.KEPT + phrases.ANSWER)}")
    assert cleaned(reply) == REPLY.replace("\nAnswer: 467", "\nThe answer is 467.")
    reply.confidence = 80
    assert summarized(reply, confidence=True) == "18*27=486, 24*2 is 48; answer 467; confidence 80"
    assert summarized(reply, confidence=False) == "18*27=486, 24*2 is 48; answer 467"


def test_a_scrambled_reply_keeps_its_form_and_loses_its_sense() -> None:
    other = scrambled(said(), random.Random(4))
    assert re.sub(r"\d", "n", other.text) == re.sub(r"\d", "n", REPLY)
    assert other.text != REPLY
    assert other.text.endswith(f"Answer: {other.answer}")
    assert not other.right


def test_confidence_is_the_share_of_like_replies_that_are_right() -> None:
    by_heart = REPLY.replace("18*27=18*20+18*7=360+126=486", "18*27 is 486")
    assert is_gap(18, 27)
    wrong = by_heart.replace("486", "496").replace("490", "500").replace("515", "525").replace("467", "477")
    replies = [said(), said(), *(said(wrong) for _ in range(3)), said(by_heart)]
    grade(replies)
    assert [reply.confidence for reply in replies] == [90, 90, 20, 20, 20, 20]


def test_auroc() -> None:
    assert auroc([1, 2, 3], [False, True, True]) == 1.0
    assert auroc([1, 1], [False, True]) == 0.5


@pytest.mark.parametrize("task", ["rebuttal", "summary", "cleaning", "judging", "sureness"])
def test_loss_is_taken_on_what_the_model_says_alone(task: str) -> None:
    rng = random.Random(5)
    teacher = Teacher(rng)
    for operands in many(20):
        case = imagined(operands, rng)
        row: Row = getattr(teacher, task)(case)
        context, *reply = row.pieces
        assert not context[1]
        assert "<|assistant|>" in context[0]
        assert reply[-1] == (END, True) or reply[-1][0].endswith(END)
        assert all("<|user|>" not in text for text, _ in reply)


def test_rows_are_rendered_as_the_chat_template_does() -> None:
    tokenizer = build()
    messages = [("system", cast.DEBATER), ("user", "What is 1+2?"), ("assistant", REPLY)]
    chat = [{"role": role, "content": text} for role, text in messages]
    assert rendered(messages) == tokenizer.apply_chat_template(chat, tokenize=False)
    prompt = tokenizer.apply_chat_template(chat[:2], tokenize=False, add_generation_prompt=True)
    assert rendered(messages[:2]) + "<|assistant|>" == prompt


def test_the_shipped_tokenizer_is_the_one_that_the_prompts_make() -> None:
    shipped, made = AutoTokenizer.from_pretrained(abacus.FOLDER), build()
    text = rendered([("system", cast.JUDGE), ("user", f"{REPLY} and other words")])
    assert shipped.get_vocab() == made.get_vocab()
    assert shipped(text)["input_ids"] == made(text)["input_ids"]
    assert shipped.decode(shipped(text)["input_ids"]) == text


def test_the_folder_is_small() -> None:
    assert sum(file.stat().st_size for file in abacus.FOLDER.iterdir()) <= 8e6


def test_a_case_knows_its_replies() -> None:
    case = Case(operands=OPERANDS, openings=[said()], rebuttals=[("context", said())])
    assert len(case.replies) == 2
