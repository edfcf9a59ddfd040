"""What the store knows of a job of Django's tasks, as the TaskResult that Django's users see. Talks to no store."""

import builtins
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from django.conf import settings
from django.utils import timezone
from django.utils.module_loading import import_string

from surefoot.brokers.answers import Record
from surefoot.core.codec import ErrorLine, NewerEnvelope, UnreadableEnvelope, decode_envelope, decode_error, decode_json
from surefoot.core.job import moment
from surefoot.core.names import State
from surefoot.integrations.django.interface import base

UNKNOWN_WORKER: Final = "unknown"
"""Who ran an attempt that left no word: it was handed back, or the job put itself off."""

_STATUS: Final[Mapping[State, str]] = {
    "scheduled": "READY", "pending": "READY", "parked": "READY", "processing": "RUNNING",
    "completed": "SUCCESSFUL", "dead": "FAILED", "cancelled": "FAILED", "expired": "FAILED",
}  # fmt: skip
_LOST: Final = "surefoot.core.errors.LeaseLost"


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What travels: the function by its path, what it is called with, and how the task was changed by `using`."""

    path: str
    args: list[Any]
    kwargs: dict[str, Any]
    backend: str
    queue_name: str
    priority: int = 0
    run_after: datetime | None = None

    def task(self) -> "base.Task[..., Any]":
        """The task as it was enqueued; its module is imported."""
        found = import_string(self.path)
        if not isinstance(found, base.Task):
            raise TypeError(f"{self.path} is a {type(found).__name__}, not one of Django's tasks.")
        run_after = self.run_after
        if run_after is not None and not settings.USE_TZ:
            run_after = timezone.make_naive(run_after)
        return found.using(
            priority=self.priority, queue_name=self.queue_name, run_after=run_after, backend=self.backend
        )


class Payload(msgspec.Struct, frozen=True):
    """The arguments of both tasks, as they travel."""

    work: Work


def work_in(body: bytes) -> Work | None:
    """What a job's body says; None if it is no job of Django's tasks."""
    try:
        return msgspec.json.decode(decode_envelope(body).payload, type=Payload).work
    except (UnreadableEnvelope, NewerEnvelope, msgspec.MsgspecError):
        return None


def new_result(
    task: "base.Task[..., Any]", id: str, args: Sequence[Any], kwargs: Mapping[str, Any], alias: str
) -> "base.TaskResult[Any]":
    """The result of a task that nobody has started."""
    return base.TaskResult(
        task=task, id=id, status=base.TaskResultStatus("READY"), enqueued_at=timezone.now(), started_at=None,
        finished_at=None, last_attempted_at=None, args=list(args), kwargs=dict(kwargs), backend=alias, errors=[],
        worker_ids=[],
    )  # fmt: skip


def set_facts(result: "base.TaskResult[Any]", **facts: Any) -> None:
    """Change a result, which is frozen for everybody but its backend."""
    for name, value in facts.items():
        object.__setattr__(result, name, value)


def as_result(record: Record, work: Work) -> "base.TaskResult[Any]":
    """All that is known of a job."""
    lines = [decode_error(line) for line in reversed(record.errors)]
    starts = [line.started_ms for line in lines if line.started_ms]
    if record.started_ms:
        starts.append(record.started_ms)
    result = new_result(work.task(), record.id, work.args, work.kwargs, work.backend)
    set_facts(
        result,
        status=base.TaskResultStatus(_STATUS[record.state]),
        enqueued_at=_moment(record.enqueued_ms),
        started_at=_moment(min(starts)) if starts else None,
        last_attempted_at=_moment(max(starts)) if starts else None,
        finished_at=_moment(record.finished_ms) if record.finished_ms else None,
        errors=[_error(line) for line in lines if line.kind],
        worker_ids=_workers(record, lines),
    )
    if record.state == "completed" and record.result is not None:
        set_facts(result, _return_value=decode_json(record.result))
    return result


def _moment(ms: int) -> datetime:
    at = moment(ms)
    return at if settings.USE_TZ else timezone.make_naive(at)


def _workers(record: Record, lines: Sequence[ErrorLine]) -> list[str]:
    """One a started run, as Django counts attempts."""
    runs = record.counts.runs + (record.state == "processing")
    ids = [UNKNOWN_WORKER] * runs
    for line in lines:
        if line.caller and line.attempt and line.attempt <= runs:
            ids[line.attempt - 1] = line.caller
    if ids and record.caller:
        ids[-1] = record.caller
    return ids


def _error(line: ErrorLine) -> "base.TaskError":
    text = line.traceback or f"{line.kind}: {line.message or ''}"
    return base.TaskError(exception_class_path=_class_path(line.kind or "", text), traceback=text)


def _class_path(kind: str, text: str) -> str:
    """Where the class is: its name alone is stored, but the last line of a traceback has its module before it."""
    if kind == "crash":
        return _LOST
    found = re.findall(rf"^((?:\w+\.)+){re.escape(kind)}(?=:|$)", text, re.MULTILINE)
    if found:
        return f"{found[-1]}{kind}"
    return f"builtins.{kind}" if hasattr(builtins, kind) else kind
