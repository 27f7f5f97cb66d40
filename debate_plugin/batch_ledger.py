"""What was submitted in batches and what came of it: a folder of folders, one a batch, so that nothing is paid twice.

NAME/requests.json   {"CUSTOM ID": "HASH OF THE BODY", ...}   before anything is sent
NAME/batch.json      {"id": "batch_..."}                      when the server has made the batch
NAME/answers.json    {"CUSTOM ID": {"choices": ...}, ...}     when it has ended: the bodies of what was answered

The batch on the server carries NAME as metadata: one whose id was not noted any more can be found.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from debate_plugin.errors import InputError
from debate_plugin.files import replace


@dataclass(frozen=True)
class Submission:
    """One batch."""

    folder: Path
    requests: Mapping[str, str]  # hashes of their bodies, by custom id

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def batch(self) -> str | None:
        """Its id on the server, as far as it is known."""
        noted = _read(self.folder / "batch.json")
        return None if noted is None else str(noted["id"])

    def note_batch(self, id: str) -> None:
        replace(self.folder / "batch.json", json.dumps({"id": id}) + "\n")

    @property
    def answers(self) -> dict[str, Any] | None:
        """Bodies of the responses by custom id; None as long as it has not ended."""
        return _read(self.folder / "answers.json")

    def note_answers(self, answers: Mapping[str, Any]) -> None:
        replace(self.folder / "answers.json", json.dumps(answers) + "\n")

    def forget(self, ids: Set[str]) -> None:
        """Take answers for not given: they will be asked for again."""
        self.note_answers({id: body for id, body in (self.answers or {}).items() if id not in ids})

    def drop(self) -> None:
        """Take the whole for never submitted."""
        shutil.rmtree(self.folder)


def begin(ledger: Path, requests: Mapping[str, str]) -> Submission:
    """Note what is about to be submitted."""
    folder = ledger / uuid.uuid4().hex
    folder.mkdir(parents=True)
    replace(folder / "requests.json", json.dumps(requests) + "\n")
    return Submission(folder, requests)


def submissions(ledger: Path) -> Iterator[Submission]:
    """All that were begun.

    Raises:
        InputError: a file of the ledger is damaged.
    """
    for folder in sorted(ledger.iterdir()) if ledger.is_dir() else ():
        requests = _read(folder / "requests.json")
        if requests is not None:
            yield Submission(folder, requests)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"expected a ledger of batches, {path} could not be read ({error}); restore it") from error
    if not isinstance(content, dict):
        raise InputError(f"expected a ledger of batches, {path} holds no object; restore it")
    return content
