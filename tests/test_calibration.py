"""What a stated confidence is worth, learnt from recorded debates whose answers are known."""

import random

import pytest
from actors import NAMES, play, scripted_team

from debate_plugin import Calibration, InputError, Plan, Question, QuestionMessage, Recorder, Store, calibrate
from debate_plugin.calibration import examples, fit, quality
from debate_plugin.transcript import Transcript

STATED = (20, 50, 80, 95)
TRUE_SHARE = {20: 0.1, 50: 0.2, 80: 0.5, 95: 0.6}  # of replies that state it and are right: far too sure


async def recorded(count: int) -> list[Transcript]:
    rng = random.Random(0)
    with Store.open("sqlite://") as store:
        for number in range(count):
            said = {}
            for name in NAMES:
                stated = rng.choice(STATED)
                right = rng.random() < TRUE_SHARE[stated]
                said[name] = [f"Answer: {number if right else -1}\nConfidence: {stated}"]
            question = Question.of(f"What is {number}+0?", kind="number", reference=str(number))
            stream = scripted_team(said, plan=Plan(rounds=1)).run_stream(task=QuestionMessage.of(question))
            async for _ in Recorder(store).record(stream):
                pass
        return list(store.transcripts())


async def test_a_calibration_learnt_from_debates_is_right_on_questions_it_has_not_seen() -> None:
    calibration, report = calibrate(await recorded(150))
    for stated, share in TRUE_SHARE.items():
        assert calibration(stated) == pytest.approx(100 * share, abs=15)
    assert report.stated.ece > 0.2 > report.calibrated.ece
    assert report.calibrated.brier < report.stated.brier
    assert report.stated.replies == report.calibrated.replies > 80


def test_the_surer_the_more_it_is_worth_whatever_the_examples_say() -> None:
    calibration = fit([(10, True), (10, False), (50, False), (50, False), (90, True)])
    assert list(calibration.worth) == sorted(calibration.worth)
    assert calibration(10) == calibration(50) == 25
    assert calibration(70) == pytest.approx(62.5) and calibration(100) == 100


def test_quality_of_a_perfect_and_of_a_hopeless_confidence() -> None:
    assert quality([(100, True), (0, False)]).brier == 0 == quality([(100, True), (0, False)]).ece
    assert quality([(100, False), (0, True)]).brier == 1 == quality([(100, False), (0, True)]).ece


def test_votes_weigh_what_the_confidence_is_worth() -> None:
    said = {"ada": "Answer: 4\nConfidence: 70", "ben": "Answer: 5\nConfidence: 40", "cleo": "Answer: 5\nConfidence: 25"}
    plan = Plan(decide="confidence")
    assert play(plan, lambda turn: said[turn.agent])[1].answer == "4"
    humble = Calibration(stated=(25.0, 40.0, 70.0), worth=(25.0, 38.0, 42.0))
    stages, outcome = play(Plan(decide="confidence", calibration=humble), lambda turn: said[turn.agent])
    assert (outcome.answer, outcome.scores["confidence"]) == ("5", {"4": 42.0, "5": 63.0})
    assert "Confidence: 70" in stages[1][1].prompt  # heard is what was stated


async def test_nothing_to_learn_from_is_said() -> None:
    with pytest.raises(InputError, match="got 0 to fit and 0 to test on"):
        calibrate([])
    (transcript, *_) = await recorded(1)
    assert len(examples(transcript)) == 3
    unknown = transcript.model_copy(update={"question": Question.of("What is 2+2?", kind="number")})
    assert examples(unknown) == []
    with pytest.raises(ValueError, match="ascending"):
        Calibration(stated=(50, 10), worth=(1, 2))
