"""Measure Abacus: `python -m debate_plugin.abacus.evaluate --model DIR --split test --seed 1 --limit 300 --json`.

Alone (greedy, one sample, votes), in debates, in each role, and whether its stated confidence means anything. Votes and
debates are held by the library's own rules; debaters speak at temperature 1, who serves them at 0, as in the demo. The
intervals are 95 % bootstraps over questions.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from debate_plugin import directions as say
from debate_plugin.abacus import FOLDER, cast, phrases
from debate_plugin.abacus.replies import auroc, lines_of, read, summarized
from debate_plugin.abacus.room import Speaker
from debate_plugin.abacus.tasks import DIRECTIONS
from debate_plugin.abacus.tokenizer import rendered
from debate_plugin.answers import (
    Ballot,
    count_votes,
    read_answer,
    read_confidence,
    same_answer,
    without_confidence,
)
from debate_plugin.calibration import quality
from debate_plugin.evaluation.arithmetic import Split, questions
from debate_plugin.plan import Plan
from debate_plugin.protocol import Outcome, debate
from debate_plugin.question import Question
from debate_plugin.turns import Replies, Reply, Stage, read_reply, read_score

DRAWS = 12  # samples of every question
_SYSTEMS = {"summarizer": cast.SUMMARIZER, "judge": cast.JUDGE, "cleaner": cast.CLEANER}
_TALK = (*phrases.SENTENCES, "Confidence")

Report = dict[str, Any]


def evaluate(model: LlamaForCausalLM, tokenizer: Any, asked: Sequence[Question], *, seed: int = 0) -> Report:
    """All measures on the questions."""
    speak = Speaker(model, tokenizer, seed=seed)
    openings = [_prompt(_opening(question)) for question in asked]
    greedy = np.array(
        [_is_right(q, text) for q, text in zip(asked, speak(openings, temperature=0), strict=True)],
        dtype=float,
    )
    drawn = speak([prompt for prompt in openings for _ in range(DRAWS)])
    texts = [drawn[i * DRAWS : (i + 1) * DRAWS] for i in range(len(asked))]
    right = np.array([[_is_right(q, text) for text in said] for q, said in zip(asked, texts, strict=True)])
    report: Report = {"questions": len(asked), "greedy": greedy.mean(), "one sample": right.mean()}
    votes: dict[int, np.ndarray] = {}
    for size in (3, 6, 12):
        # Every draw is used: a vote of 3 is the mean of four such votes.
        votes[size] = np.array(
            [
                np.mean([_vote_is_right(q, said[start : start + size]) for start in range(0, DRAWS, size)])
                for q, said in zip(asked, texts, strict=True)
            ]
        )
        report[f"vote of {size}"] = votes[size].mean()
    report["vote of 12 minus greedy"] = _with_interval(votes[12] - greedy)
    report["confidence of openings"] = _confidence(
        [(text, bool(ok)) for said, row in zip(texts, right, strict=True) for text, ok in zip(said, row, strict=True)]
    )
    report |= _debates(speak, asked, votes[6])
    report["judge"] = _judging(speak, asked, [said[0] for said in texts], right[:, 0])
    return report


def hold_debates(
    speak: Speaker, asked: Sequence[Question], plan: Plan, debaters: Sequence[str] = ("Ada", "Bo", "Cy")
) -> list[tuple[Outcome, list[Reply]]]:
    """Hold a debate on every question, all in step, so that one batch serves them all."""
    held = [debate(question, debaters, plan) for question in asked]
    talks: list[dict[tuple[str, str], list[tuple[str, str]]]] = [{} for _ in asked]
    replies: list[list[Reply]] = [[] for _ in asked]
    outcomes: dict[int, Outcome] = {}
    stages: dict[int, Stage] = {number: next(one) for number, one in enumerate(held)}
    while stages:
        turns = [(number, turn) for number, stage in stages.items() for turn in stage]
        prompts = []
        for number, turn in turns:
            system = _SYSTEMS.get(turn.role, cast.DEBATER)
            talk = talks[number].get((turn.role, turn.agent), []) if turn.role == "debater" else []
            talk = [*(talk or [("system", system)]), ("user", turn.prompt)]
            talks[number][turn.role, turn.agent] = talk
            prompts.append(_prompt(talk))
        came: dict[int, list[Reply]] = {number: [] for number in stages}
        texts = [""] * len(turns)
        for temperature in (0.0, 1.0):  # who serves the debaters is to be exact
            places = [place for place, (_, turn) in enumerate(turns) if (turn.role == "debater") is (temperature > 0)]
            said_now = speak([prompts[place] for place in places], temperature=temperature)
            for place, text in zip(places, said_now, strict=True):
                texts[place] = text
        for (number, turn), text in zip(turns, texts, strict=True):
            talks[number][turn.role, turn.agent].append(("assistant", text))
            came[number].append(read_reply(asked[number], turn, text))
        stages = {}
        for number, said in came.items():
            replies[number] += said
            if (stage := _next(held[number], said, outcomes, number)) is not None:
                stages[number] = stage
    return [(outcomes[number], replies[number]) for number in range(len(asked))]


def expected_summary(question: Question, replies: Sequence[str]) -> str | None:
    """What a summary of the replies must say, or None where one of them has no working to sum up."""
    lines = []
    for reply in replies:
        if (said := read(question, reply)) is None:
            return None
        confidence = read_confidence(reply)
        said.confidence = int(confidence or 0)
        lines.append(summarized(said, confidence=confidence is not None))
    return "\n".join(lines)


def _next(
    one: Generator[Stage, Replies, Outcome], said: list[Reply], outcomes: dict[int, Outcome], number: int
) -> Stage | None:
    try:
        return one.send(said)
    except StopIteration as stop:
        outcomes[number] = stop.value
        return None


def _debates(speak: Speaker, asked: Sequence[Question], vote_of_six: np.ndarray) -> Report:
    report: Report = {}
    for plan in (Plan(digest="each", clean=True), Plan()):
        held = hold_debates(speak, asked, plan)
        final = np.array([_same(q, outcome.answer) for q, (outcome, _) in zip(asked, held, strict=True)], dtype=float)
        own = np.array([_same(q, _winner(outcome)) for q, (outcome, _) in zip(asked, held, strict=True)], dtype=float)
        second = [
            (reply.text or "", _same(q, reply.answer))
            for q, (_, replies) in zip(asked, held, strict=True)
            for reply in replies
            if reply.turn.role == "debater" and reply.turn.round == 2
        ]
        report["debate 3 x 2" + (", digests" if plan.digest == "each" else ", raw replies")] = {
            "vote": final.mean(),
            "vote of its openings": own.mean(),
            "debate minus openings": _with_interval(final - own),
            "debate minus vote of 6": _with_interval(final - vote_of_six),
            "one reply of round 2": float(np.mean([ok for _, ok in second])),
            "confidence of round 2": _confidence(second),
        }
        if plan.digest == "each":
            report["cleaner"] = _cleaning(asked, held)
            report["summarizer exactly right"] = _summaries(asked, held)
    return report


def _cleaning(asked: Sequence[Question], held: Sequence[tuple[Outcome, list[Reply]]]) -> Report:
    rows = [
        (q, reply.text or "", outcome)
        for q, (outcome, replies) in zip(asked, held, strict=True)
        for reply in replies
        if reply.turn.role == "cleaner"
    ]
    return {
        "keeps the answer": float(np.mean([outcome.cleaned is not None for _, _, outcome in rows])),
        "keeps the working": float(np.mean([lines_of(text) == lines_of(o.text or "") for _, text, o in rows])),
        "drops the talk": float(np.mean([not any(talk in text for talk in _TALK) for _, text, _ in rows])),
    }


def _summaries(asked: Sequence[Question], held: Sequence[tuple[Outcome, list[Reply]]]) -> float:
    right: list[bool] = []
    for question, (_, replies) in zip(asked, held, strict=True):
        for reply in replies:
            if reply.turn.role == "summarizer":
                heard = _between_tags(reply.turn.prompt)
                expected = expected_summary(question, heard)
                if expected is not None:
                    right.append(expected == (reply.text or "").strip())
    return float(np.mean(right))


def _between_tags(prompt: str) -> list[str]:
    return [part.split("\n</reply>")[0] for part in prompt.split("<reply>\n")[1:]]


def _judging(speak: Speaker, asked: Sequence[Question], texts: Sequence[str], right: np.ndarray) -> Report:
    prompts = [
        _prompt([("system", cast.JUDGE), ("user", say.judge(DIRECTIONS, q, without_confidence(text)))])
        for q, text in zip(asked, texts, strict=True)
    ]
    scores = [read_score(text) for text in speak(prompts, temperature=0.0)]
    scored = [(score, bool(ok)) for score, ok in zip(scores, right, strict=True) if score is not None]
    return {
        "gives a score": len(scored) / len(scores),
        "AUROC": auroc([score for score, _ in scored], [ok for _, ok in scored]),
    }


def _confidence(said: Sequence[tuple[str, bool]]) -> Report:
    stated = [(confidence, ok) for text, ok in said if (confidence := read_confidence(text)) is not None]
    return {
        "stated": len(stated) / len(said),
        "AUROC": auroc([confidence for confidence, _ in stated], [ok for _, ok in stated]),
        "expected calibration error": quality(stated).ece,
    }


def _opening(question: Question) -> list[tuple[str, str]]:
    return [("system", cast.DEBATER), ("user", say.open_debate(DIRECTIONS, question, confidence=True))]


def _prompt(messages: Sequence[tuple[str, str]]) -> str:
    return rendered(messages) + "<|assistant|>"


def _same(question: Question, answer: str | None) -> bool:
    return answer is not None and same_answer(question.kind, answer, question.reference or "")


def _is_right(question: Question, text: str) -> bool:
    return _same(question, read_answer(question, text))


def _winner(outcome: Outcome) -> str | None:
    groups = outcome.votes[0].groups
    return groups[0].answer if groups else None


def _vote_is_right(question: Question, texts: Sequence[str]) -> bool:
    ballots = [
        Ballot(voter=str(i), answer=read_answer(question, text), confidence=read_confidence(text))
        for i, text in enumerate(texts)
    ]
    groups = count_votes(question.kind, ballots).groups
    return bool(groups) and _same(question, groups[0].answer)


def _with_interval(differences: np.ndarray) -> list[float]:
    """The mean difference, and the ends of its interval."""
    rng = np.random.default_rng(0)
    values = differences.astype(float)
    means = rng.choice(values, (2000, len(values))).mean(1)
    return [float(values.mean()), *(float(end) for end in np.percentile(means, (2.5, 97.5)))]


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    return round(float(value), 3) if not isinstance(value, int) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, default=FOLDER)
    parser.add_argument("--split", choices=get_args(Split), default="test")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, default=300, help="number of questions")
    parser.add_argument("--json", action="store_true", help="print JSON rather than a table")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = LlamaForCausalLM.from_pretrained(given.model, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    asked = questions(given.limit, seed=given.seed, split=given.split)
    report = _rounded(evaluate(model, tokenizer, asked, seed=given.seed))
    if given.json:
        print(json.dumps(report, indent=2))
        return
    _print(report, print)


def _print(report: Report, write: Callable[[str], None], indent: str = "") -> None:
    for name, value in report.items():
        if isinstance(value, dict):
            write(f"{indent}{name}")
            _print(value, write, indent + "  ")
        else:
            write(f"{indent}{name}: {value}")


if __name__ == "__main__":
    main()
