"""Rows that hold a key, a token or a password; what it is stays unsaid."""

from __future__ import annotations

import re
from typing import Any

from debate_plugin.dataset.rows import Row
from debate_plugin.errors import needs


class Secrets:
    """Leaves out rows in which detect-secrets finds the form of a known kind of key, anywhere in the row.

    Its guesses by entropy and by words such as `password` are not used: prose and sums are full of them.

    Raises:
        MissingExtraError: detect-secrets is not installed.
    """

    def __init__(self) -> None:
        with needs("data"):
            from detect_secrets.plugins.aws import AWSKeyDetector
            from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
            from detect_secrets.plugins.basic_auth import BasicAuthDetector
            from detect_secrets.plugins.discord import DiscordBotTokenDetector
            from detect_secrets.plugins.github_token import GitHubTokenDetector
            from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
            from detect_secrets.plugins.jwt import JwtTokenDetector
            from detect_secrets.plugins.openai import OpenAIDetector
            from detect_secrets.plugins.private_key import PrivateKeyDetector
            from detect_secrets.plugins.pypi_token import PypiTokenDetector
            from detect_secrets.plugins.sendgrid import SendGridDetector
            from detect_secrets.plugins.slack import SlackDetector
            from detect_secrets.plugins.square_oauth import SquareOAuthDetector
            from detect_secrets.plugins.stripe import StripeDetector
            from detect_secrets.plugins.twilio import TwilioKeyDetector

        self._detectors: list[Any] = [
            kind()
            for kind in (
                AWSKeyDetector,
                AzureStorageKeyDetector,
                BasicAuthDetector,
                DiscordBotTokenDetector,
                GitHubTokenDetector,
                GitLabTokenDetector,
                JwtTokenDetector,
                OpenAIDetector,
                PrivateKeyDetector,
                PypiTokenDetector,
                SendGridDetector,
                SlackDetector,
                SquareOAuthDetector,
                StripeDetector,
                TwilioKeyDetector,
            )
        ]

    @property
    def settings(self) -> dict[str, Any]:
        return {"name": "secrets"}

    def __call__(self, row: Row) -> str | None:
        text = "\n".join(_strings({name: part for name, part in row.items() if name != "provenance"}))
        if _NEWER.search(text) or any(next(iter(one.analyze_string(text)), None) for one in self._detectors):
            return "holds a secret"
        return None


# Kinds of keys that came after the detectors, and npm's, whose detector takes the square of the text's length:
# Anthropic, Hugging Face, Google, OpenAI's project keys, GitHub's fine-grained tokens, Groq, xAI.
_NEWER = re.compile(
    r"\b(?:sk-ant-[\w-]{20,}|hf_[A-Za-z]{30,}|AIza[\w-]{35}|sk-(?:proj|svcacct|admin)-[\w-]{20,}"
    r"|github_pat_\w{40,}|gsk_\w{40,}|xai-\w{40,}|npm_[A-Za-z0-9]{36})"
)


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for part in value.values() for text in _strings(part)]
    if isinstance(value, list):
        return [text for part in value for text in _strings(part)]
    return []
