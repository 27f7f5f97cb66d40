"""Fine-tuning on a server that speaks OpenAI's API: upload, create, wait; in the end a model name to debate with.

{"schema_version": 1, "method": "dpo", "base": "gpt-4.1-mini-2025-04-14", "server": "https://api.openai.com/v1/",
 "data": {"name": "dpo.jsonl", "sha256": "77aa...", "rows": 412, "rules": {...}}, "validation": null,
 "settings": {"epochs": 2, ...}, "training_file": "file-...", "validation_file": null,
 "job": "ftjob-...", "status": "succeeded", "trained_tokens": 81234, "model": "ft:gpt-4.1-mini:...",
 "versions": {"openai": "3.52.0", ...}}

is the record of a job, the lineage of what it trains. It is written anew at each step, so that the same call goes on
from there: with the file that is uploaded, with the job that exists. A job whose id was not noted any more is found by
its training file, which no other job has.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from debate_plugin.endpoint import errors_of_server, made_once, passes, polled
from debate_plugin.errors import InputError, RunError, needs
from debate_plugin.files import replace, unused
from debate_plugin.lineage import Data, data_of
from debate_plugin.training.hosted_rows import Method, check_rows

with needs("openai"):
    from openai import AsyncOpenAI, OpenAIError, omit
    from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

_ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True, kw_only=True)
class HostedSettings:
    """How to train; what is None is the server's to choose."""

    method: Method = "supervised"
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None
    beta: float | None = None  # of dpo: higher keeps closer to the base
    suffix: str | None = None  # goes into the trained model's name
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.beta is not None and self.method != "dpo":
            raise InputError(f"expected beta with the method dpo, the method is {self.method!r}; drop one of them")
        for name in ("epochs", "batch_size", "learning_rate_multiplier", "beta"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"expected {name} above 0, got {value}; leave it out for the server's choice")

    def request(self) -> dict[str, Any]:
        """The `method` of the request."""
        wanted = {
            "n_epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate_multiplier": self.learning_rate_multiplier,
            "beta": self.beta,
        }
        hyperparameters = {name: value for name, value in wanted.items() if value is not None}
        return {"type": self.method, self.method: {"hyperparameters": hyperparameters}}


class HostedJob(BaseModel):
    """What is known of a job."""

    schema_version: int = 1
    method: Method
    base: str
    server: str
    data: Data
    validation: Data | None
    settings: dict[str, Any]
    training_file: str | None = None
    validation_file: str | None = None
    job: str | None = None
    status: str | None = None
    trained_tokens: int | None = None
    model: str | None = None  # the trained one's name: `OpenAIChatCompletionClient(model=...)`, `--model openai:...`
    versions: dict[str, str]

    def write(self, path: Path) -> None:
        replace(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: str | Path) -> HostedJob:
        """Raises InputError where there is no record of a job."""
        try:
            return cls.model_validate_json(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ValidationError) as error:
            first_line = str(error).splitlines()[0]
            raise InputError(f"expected the record of a job in {path}, it could not be read ({first_line})") from error


@dataclass(frozen=True, kw_only=True)
class HostedProgress:
    """How far a job has come."""

    status: str
    trained_tokens: int | None
    event: str | None  # the latest, where the server tells events


async def train_hosted(
    openai: AsyncOpenAI,
    rows: str | Path,
    out: str | Path,
    *,
    model: str,
    validation: str | Path | None = None,
    settings: HostedSettings | None = None,
    poll_seconds: float = 30.0,
    told: Callable[[HostedProgress], None] = lambda progress: None,
) -> HostedJob:
    """Fine-tune a server's model on rows of OpenAI's format; `out` is the record of the job.

    Called again it goes on with the job that the record tells of, and uploads and pays nothing twice. A call that is
    cancelled stops waiting: the job goes on, and the next call waits for it again. `cancel` ends a job.

    Raises:
        InputError: the rows have another shape, `out` tells of another job, or the server refused.
        RunError: the job failed or was cancelled, or the server was not to be reached.
    """
    out, settings = Path(out), settings or HostedSettings()
    job = _begun(openai, Path(rows), out, model, validation, settings)
    if job.model is not None:
        return job
    with errors_of_server(f"the job of {out}"):
        if job.job is None:
            job = await _created(openai, Path(rows), out, job, validation, settings, poll_seconds)
        ended = await _ended(openai, str(job.job), poll_seconds, told)
    job = job.model_copy(
        update={
            "status": ended.status,
            "trained_tokens": ended.trained_tokens,
            "model": ended.fine_tuned_model if ended.status == "succeeded" else None,
        }
    )
    job.write(out)
    if job.model is None:
        reason = f": {ended.error.code}: {ended.error.message}" if ended.error and ended.error.message else ""
        raise RunError(f"the job {job.job} {ended.status}{reason}; remove {out} to train anew")
    return job


async def cancel(openai: AsyncOpenAI, out: str | Path) -> None:
    """End the job of a record.

    Raises:
        InputError: the record tells of no job, or the job has ended.
    """
    with errors_of_server(f"the end of the job of {out}"):
        await openai.fine_tuning.jobs.cancel(_known(out))


async def events(openai: AsyncOpenAI, out: str | Path) -> list[FineTuningJobEvent]:
    """What the server tells of the job of a record, the oldest first.

    Raises:
        InputError: the record tells of no job.
    """
    with errors_of_server(f"a look at the job of {out}"):
        told = [event async for event in openai.fine_tuning.jobs.list_events(_known(out), limit=100)]
    return told[::-1]


def _known(out: str | Path) -> str:
    job = HostedJob.read(out).job
    if job is None:
        raise InputError(f"expected a job in {out}, it was not created yet; call train_hosted again")
    return job


def _begun(
    openai: AsyncOpenAI, rows: Path, out: Path, model: str, validation: str | Path | None, settings: HostedSettings
) -> HostedJob:
    """The record as it stands; a new one where there is none."""
    check_rows(rows, settings.method)
    if validation is not None:
        check_rows(validation, settings.method)
    new = HostedJob(
        method=settings.method,
        base=model,
        server=str(openai.base_url),
        data=_data_of(rows),
        validation=_data_of(Path(validation)) if validation is not None else None,
        settings={name: value for name, value in asdict(settings).items() if name != "method"},
        versions={package: version(package) for package in ("debate-plugin", "openai")},
    )
    if not out.exists():
        new.write(unused(out))
        return new
    begun = HostedJob.read(out)
    if begun.training_file is None:  # nothing came of it
        new.write(out)
        return new
    for name in ("method", "base", "server", "data", "validation", "settings"):
        if (old := getattr(begun, name)) != (now := getattr(new, name)):
            raise InputError(
                f"expected the same {name} as in {out}, which was begun with {old}, got {now}; name another --out"
            )
    return begun


def _data_of(rows: Path) -> Data:
    """Which rules made the rows stands beside them: OpenAI's format has no place for it."""
    data = data_of(rows)
    beside = rows.with_name(f"{rows.stem}.provenance.jsonl")
    if not beside.exists():
        return data
    rules = Counter(str(json.loads(line).get("rule", "not told")) for line in beside.open("rb"))
    return data.model_copy(update={"rules": dict(sorted(rules.items()))})


async def _created(
    openai: AsyncOpenAI,
    rows: Path,
    out: Path,
    job: HostedJob,
    validation: str | Path | None,
    settings: HostedSettings,
    poll_seconds: float,
) -> HostedJob:
    async def uploaded(path: Path) -> str:
        return (await openai.files.create(file=(path.name, path.read_bytes()), purpose="fine-tune")).id

    async def find() -> FineTuningJob | None:
        async for made in openai.fine_tuning.jobs.list(limit=100):
            if made.training_file == job.training_file:
                return made
        return None

    once = openai.with_options(max_retries=0)

    async def make() -> FineTuningJob:
        try:
            return await once.fine_tuning.jobs.create(
                model=job.base,
                training_file=str(job.training_file),
                validation_file=job.validation_file or omit,
                method=settings.request(),  # type: ignore[arg-type]  # a plain dict of what the TypedDict names
                suffix=settings.suffix or omit,
                seed=settings.seed if settings.seed is not None else omit,
            )
        except OpenAIError as error:
            if not passes(error):
                out.unlink()  # nothing was made: a call with other settings begins anew
            raise

    made = await find() if job.training_file is not None else None
    if job.validation_file is None and validation is not None:
        job = job.model_copy(update={"validation_file": await uploaded(Path(validation))})
        job.write(out)
    if job.training_file is None:
        job = job.model_copy(update={"training_file": await uploaded(rows)})
        job.write(out)
    if made is None:
        made = await made_once(make, find, seconds=poll_seconds)
    job = job.model_copy(update={"job": made.id})
    job.write(out)
    return job


async def _ended(
    openai: AsyncOpenAI, id: str, poll_seconds: float, told: Callable[[HostedProgress], None]
) -> FineTuningJob:
    async def look() -> FineTuningJob:
        job = await openai.fine_tuning.jobs.retrieve(id)
        told(HostedProgress(status=job.status, trained_tokens=job.trained_tokens, event=await _latest(openai, id)))
        return job

    return await polled(look, lambda job: job.status in _ENDED, seconds=poll_seconds)


async def _latest(openai: AsyncOpenAI, id: str) -> str | None:
    try:
        page = await openai.fine_tuning.jobs.list_events(id, limit=1)
    except OpenAIError:  # not every server tells events, and none is worth the job
        return None
    return page.data[0].message if page.data else None
