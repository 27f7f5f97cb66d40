"""The filters: each lets good rows through and says why it leaves out others."""

import json
from pathlib import Path
from typing import Any

import pytest

from debate_plugin import Question
from debate_plugin.dataset.filters import Agreement, DebateTalk, HeldOut, LengthBalance, NearDuplicates, Secrets
from debate_plugin.dataset.rows import ChatRow, PreferenceRow, Provenance


def origin(agreement: float = 1.0) -> Provenance:
    return {
        "rule": "test",
        "run": "default",
        "transcript": "t",
        "question": "q",
        "agreement": agreement,
        "turns": [],
        "part": "",
        "remark": "",
    }


def chat(text: str, *, prompt: str = "What is 2+2?", agreement: float = 1.0) -> ChatRow:
    return {
        "messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": text, "loss": True}],
        "tools": [],
        "provenance": origin(agreement),
    }


def pair(chosen: str, rejected: str) -> PreferenceRow:
    return {
        "prompt": [{"role": "user", "content": "What is 2+2?"}],
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
        "tools": [],
        "provenance": origin(),
    }


def test_agreement_has_two_bounds() -> None:
    between = Agreement(minimum=0.5, maximum=0.9)
    said = [between(chat("4", agreement=share)) for share in (0.4, 0.5, 0.9, 1.0)]
    assert said == ["agreement below 0.5", None, None, "agreement above 0.9"]
    with pytest.raises(ValueError, match="minimum <= maximum"):
        Agreement(minimum=0.9, maximum=0.5)


@pytest.mark.parametrize(
    "talk",
    [
        "I agree with the others: 4.",
        "As the other agents say, it is 4.",
        "In the previous round I said 5.",
        "Comparing the summary with my working, 4.",
        "I change my answer to 4.",
        "The majority says 4.",
        "Having read their responses, I stay with 4.",
    ],
)
def test_talk_of_a_debate_is_left_out_where_it_would_be_learnt(talk: str) -> None:
    leaves_out = DebateTalk()
    assert leaves_out(chat(talk)) == "speaks of a debate"
    assert leaves_out(pair(talk, "5")) == "speaks of a debate"
    assert leaves_out(pair("4", talk)) is None  # what is to be avoided may speak so
    assert leaves_out(chat("4", prompt=talk)) is None


@pytest.mark.parametrize(
    "plain",
    [
        "First 2, then another 2: together 4.",
        "The agent sells 4 houses in the previous month.",
        "A majority of 4 votes is needed; I am confident in this.",
        "It is 4.\nConfidence: 90",  # a form that the prompt asked for
        "Each round of the game has 4 players.",
    ],
)
def test_ordinary_words_are_no_debate_talk(plain: str) -> None:
    assert DebateTalk()(chat(plain)) is None


def test_pairs_of_very_different_length_teach_length() -> None:
    balanced = LengthBalance(2.0)
    assert balanced(pair("12345678", "1234")) is None
    assert balanced(pair("123456789", "1234")) == "chosen and rejected differ in length"
    assert balanced(pair("1234", "123456789")) == "chosen and rejected differ in length"
    assert balanced(chat("a long text " * 50)) is None
    with pytest.raises(ValueError, match="at least 1"):
        LengthBalance(0.5)


def long(colour: str, name: str) -> str:
    step = "We first multiply seventeen by eighteen, which is three hundred and six, then we add "
    return f"{step}the {colour} apples of {name}. " * 6


def test_near_duplicates_of_earlier_rows_are_left_out() -> None:
    duplicates = NearDuplicates(0.8)
    assert duplicates(chat(long("red", "Anna"))) is None
    assert duplicates(chat(long("red", "Anna"))) == "nearly the same as an earlier row"
    assert duplicates(chat(long("red", "Anna") + "So it is.")) == "nearly the same as an earlier row"
    assert duplicates(chat("A different text altogether, about trains, their speed and the time they take.")) is None
    assert duplicates(chat("4")) is None and duplicates(chat("5")) is None


def test_a_pair_is_compared_as_a_pair() -> None:
    duplicates = NearDuplicates(0.8)
    one, other = long("red", "Anna"), "Take the train at noon and you will be there by three. " * 8
    assert duplicates(pair(one, other)) is None
    assert duplicates(pair(other, one)) is None  # the other way round teaches the contrary
    assert duplicates(pair(one, other)) is not None


def test_the_share_of_what_is_found_is_near_that_of_the_words() -> None:
    """Against the exact likeness of the shingle sets: far above the threshold found, far below not."""
    words = [f"w{number}" for number in range(400)]
    found = {"above": 0, "below": 0}
    for trial in range(30):
        for name, changed in (("above", 8), ("below", 120)):
            duplicates = NearDuplicates(0.8)
            text = [f"{word}t{trial}" for word in words]
            duplicates(chat(" ".join(text)))
            places = range(0, 400, 400 // changed)
            again = " ".join("x" if number in places else word for number, word in enumerate(text))
            found[name] += duplicates(chat(again)) is not None
    assert found["above"] >= 27 and found["below"] == 0


def test_held_out_questions_are_in_no_row() -> None:
    held_out = [
        Question.of("What is 7+7?"),
        Question.of("A train leaves the station at noon and travels for three hours at sixty miles an hour; how far?"),
    ]
    leaves_out = HeldOut(held_out, words=8)
    assert leaves_out(chat("14", prompt="Tell me: what IS 7 + 7? Quickly.")) == "holds a held-out question"
    assert leaves_out(chat("14", prompt="What is 7+8?")) is None
    travelled = "Suppose it travels for three hours at sixty miles an hour, then..."
    assert leaves_out(chat(travelled)) == "holds a held-out question"
    assert leaves_out(chat("It travels for three hours at forty miles an hour.")) is None
    assert leaves_out(pair("no", travelled)) == "holds a held-out question"
    assert leaves_out.settings == {"name": "held_out", "questions": 2, "words": 8}


SECRETS = {  # put together here, so that no scanner takes this file for a leak
    "aws": "AKIA" + "IOSFODNN7" + "EXAMPLE",
    "github": "ghp_" + "A1b2C3d4E5f6" * 3,
    "anthropic": "sk-ant-" + "api03-" + "x" * 40,
    "openai": "sk-proj-" + "y" * 48,
    "hugging face": "hf_" + "abcdefghij" * 4,
    "google": "AIza" + "z" * 35,
    "slack": "xoxb-" + "123456789012-" + "abcdefghijklmnop",
    "jwt": "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
    "private key": "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE",
    "basic auth": "https://user:" + "passw0rd@example.com",
    "stripe": "sk_live_" + "a1B2c3D4" * 3,
    "gitlab": "glpat-" + "a1B2c3D4e5F6g7H8i9J0",
}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
def test_a_secret_anywhere_in_a_row_leaves_it_out_unnamed(secret: str) -> None:
    leaves_out = Secrets()
    tool: Any = {
        "messages": [
            {"role": "user", "content": "Log in."},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": json.dumps({"key": secret})}}
                ],
                "loss": True,
            },
            {"role": "tool", "tool_call_id": "1", "content": "done"},
            {"role": "assistant", "content": "Done.", "loss": True},
        ],
        "tools": [],
        "provenance": origin(),
    }
    for row in (chat(f"Use {secret} for it."), chat("4", prompt=f"My key is {secret}"), pair("4", secret), tool):
        assert leaves_out(row) == "holds a secret"


def test_sums_and_prose_hold_no_secrets() -> None:
    leaves_out = Secrets()
    gsm8k = Path(__file__).parent.parent / "debate_plugin" / "abacus" / "README.md"
    for text in (long("red", "Anna"), "password = my dog's name", "skip the sk-eleton", gsm8k.read_text()):
        assert leaves_out(chat(text)) is None


def test_a_held_out_question_is_found_after_the_first_reply_too() -> None:
    leaves_out = HeldOut([Question.of("What is the colour of the third car in the second row of the garage?")])
    row = chat("Blue.")
    row["messages"] += [
        {"role": "user", "content": "What is the colour of the third car in the second row of the garage?"},
        {"role": "assistant", "content": "Red.", "loss": True},
    ]
    assert leaves_out(row) == "holds a held-out question"


@pytest.mark.parametrize(
    "secret", ["github_pat_" + "a1B2" * 12, "gsk_" + "a1B2" * 12, "xai-" + "a1B2" * 12, "npm_" + "a" * 36]
)
def test_newer_kinds_of_keys_are_found(secret: str) -> None:
    assert Secrets()(chat(f"Use {secret}.")) == "holds a secret"


def test_texts_that_would_take_a_detector_for_ever_are_looked_at() -> None:
    assert Secrets()(chat("/" * 2_000_000)) is None
