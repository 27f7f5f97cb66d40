"""debate-plugin: AutoGen agents debate, every word is kept, and what they said trains better agents."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from debate_plugin.answers import Vote
    from debate_plugin.calibration import Calibration, calibrate
    from debate_plugin.debate_agent import DebateAgent
    from debate_plugin.directions import Directions
    from debate_plugin.engine import Engine
    from debate_plugin.errors import InputError
    from debate_plugin.lockstep import debate_in_lockstep
    from debate_plugin.messages import (
        DEBATE_MESSAGES,
        DebateDecided,
        DebateStarted,
        MemberSpoke,
        QuestionMessage,
        RoundVoted,
        TurnAsked,
        TurnReplied,
    )
    from debate_plugin.pair import Pair
    from debate_plugin.plan import Plan
    from debate_plugin.protocol import Outcome, debate
    from debate_plugin.question import Question, read_questions
    from debate_plugin.recorder import Recorder
    from debate_plugin.seat import Patience
    from debate_plugin.series import Series, generate
    from debate_plugin.stateless_agent import StatelessAgent
    from debate_plugin.stopping import agreement, round_limit, stable, unanimity
    from debate_plugin.store import Store
    from debate_plugin.team import DebateTeam
    from debate_plugin.topology import (
        Topology,
        by_round,
        chain,
        complete,
        edges,
        from_graph,
        groups,
        random_regular,
        ring,
        star,
    )
    from debate_plugin.transcript import Transcript
    from debate_plugin.turns import Reply, ToolUse, Turn

# Where each public name lives; imported when it is first asked for, since AutoGen and SQLAlchemy take their time.
_HOMES = {
    "Calibration": "calibration",
    "DEBATE_MESSAGES": "messages",
    "DebateAgent": "debate_agent",
    "DebateDecided": "messages",
    "DebateStarted": "messages",
    "DebateTeam": "team",
    "Directions": "directions",
    "Engine": "engine",
    "MemberSpoke": "messages",
    "InputError": "errors",
    "Outcome": "protocol",
    "Pair": "pair",
    "Patience": "seat",
    "Plan": "plan",
    "Question": "question",
    "QuestionMessage": "messages",
    "Recorder": "recorder",
    "Reply": "turns",
    "RoundVoted": "messages",
    "Series": "series",
    "StatelessAgent": "stateless_agent",
    "Store": "store",
    "ToolUse": "turns",
    "Topology": "topology",
    "Transcript": "transcript",
    "Turn": "turns",
    "TurnAsked": "messages",
    "TurnReplied": "messages",
    "Vote": "answers",
    "agreement": "stopping",
    "by_round": "topology",
    "calibrate": "calibration",
    "chain": "topology",
    "complete": "topology",
    "debate": "protocol",
    "debate_in_lockstep": "lockstep",
    "edges": "topology",
    "from_graph": "topology",
    "generate": "series",
    "groups": "topology",
    "random_regular": "topology",
    "read_questions": "question",
    "ring": "topology",
    "round_limit": "stopping",
    "stable": "stopping",
    "star": "topology",
    "unanimity": "stopping",
}

__all__ = [
    "DEBATE_MESSAGES",
    "Calibration",
    "DebateAgent",
    "DebateDecided",
    "DebateStarted",
    "DebateTeam",
    "Directions",
    "Engine",
    "InputError",
    "MemberSpoke",
    "Outcome",
    "Pair",
    "Patience",
    "Plan",
    "Question",
    "QuestionMessage",
    "Recorder",
    "Reply",
    "RoundVoted",
    "Series",
    "StatelessAgent",
    "Store",
    "ToolUse",
    "Topology",
    "Transcript",
    "Turn",
    "TurnAsked",
    "TurnReplied",
    "Vote",
    "agreement",
    "by_round",
    "calibrate",
    "chain",
    "complete",
    "debate",
    "debate_in_lockstep",
    "edges",
    "from_graph",
    "generate",
    "groups",
    "random_regular",
    "read_questions",
    "ring",
    "round_limit",
    "stable",
    "star",
    "unanimity",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
