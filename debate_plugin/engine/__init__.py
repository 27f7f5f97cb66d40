"""The in-process model: dynamic batching and named adapters on one base, as an AutoGen model client."""

from debate_plugin.engine.client import EngineClient
from debate_plugin.engine.engine import Engine
from debate_plugin.engine.sampling import Completion, Prompt, Sampling, TokenLogprob

__all__ = ["Completion", "Engine", "EngineClient", "Prompt", "Sampling", "TokenLogprob"]
