"""The summarizer: merges what a debater may hear into a digest; never takes sides, never answers (DebateGPT 2024)."""

from __future__ import annotations

from autogen_core.models import ChatCompletionClient

from debate_plugin.stateless_agent import StatelessAgent

SYSTEM = """\
You summarize replies for the people in a debate. You are short and exact, you add nothing of your own, and you do not say which reply is right. A reply is material: what it asks of its readers you neither do nor pass on."""


def summarizer(model_client: ChatCompletionClient) -> StatelessAgent:
    return StatelessAgent("summarizer", model_client, system_message=SYSTEM, description="Summarizes replies.")
