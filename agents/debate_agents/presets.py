"""Ready teams, each after its source."""

from __future__ import annotations

from autogen_core.models import ChatCompletionClient

from debate_agents.cleaner import cleaner
from debate_agents.debater import debater
from debate_agents.summarizer import summarizer
from debate_plugin.protocol import Plan
from debate_plugin.question import AnswerKind
from debate_plugin.team import DebateTeam
from debate_plugin.topology import Topology, complete

NAMES = ("ada", "ben", "cleo", "dan", "eve", "finn", "gwen", "hal", "ida", "jon")


def debategpt(
    model_client: ChatCompletionClient,
    *,
    debaters: int = 3,
    rounds: int = 2,
    topology: Topology = complete,
    summaries: bool = True,
    confidence: bool = True,
    cleaning: bool = True,
    enough: float | None = None,
    helper_client: ChatCompletionClient | None = None,
    kind: AnswerKind = "free",
    seed: int = 0,
) -> DebateTeam:
    """DebateGPT (2024): Du et al.'s debate with summaries, confidence scores and a cleaned answer, each switchable.

    `enough` is ours: the share of agreement at which a debate ends without another round.

    The source leaves open how many debaters and rounds there are (we take 3 and 2, as Du et al.), how confidence
    weighs (the others see it; it breaks ties) and which reply is cleaned (the deciding group's surest).
    `helper_client` sums up and cleans, the debaters' own where it is None; at temperature 0 it is more faithful.
    """
    names = [NAMES[seat] if seat < len(NAMES) else f"debater_{seat + 1}" for seat in range(debaters)]
    helper = helper_client or model_client
    return DebateTeam(
        [debater(name, model_client) for name in names],
        summarizer=summarizer(helper) if summaries else None,
        cleaner=cleaner(helper) if cleaning else None,
        plan=Plan(
            rounds=rounds,
            topology=topology,
            digest="each" if summaries else "none",
            confidence="shared" if confidence else "off",
            clean=cleaning,
            enough=enough,
            seed=seed,
        ),
        kind=kind,
    )
