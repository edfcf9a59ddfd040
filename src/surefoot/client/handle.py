"""JobHandle: what `enqueue` gives back. It holds an id and no state: every question is asked of the store."""

import math
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, Protocol, TypeVar, final

import msgspec
from msgspec import UNSET, UnsetType

from surefoot import clock
from surefoot.brokers.answers import CancelWord, Record
from surefoot.brokers.broker import Cancel, Get, Move, Stats
from surefoot.client import foreign
from surefoot.client.explain import count_words, explain
from surefoot.client.operation import Ask, Owner, Sessions, Steps, Watch, operation, twin
from surefoot.client.options import reserved_events
from surefoot.client.records import job_of, newest_error, task_of
from surefoot.client.who import who
from surefoot.core.codec import decode_json
from surefoot.core.errors import (
    ConfigError,
    ErrorInfo,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobNotFound,
    ResultNotKept,
    ResultTimeout,
    Seconds,
    UsageError,
    aware,
    duration,
)
from surefoot.core.events import Event, Explanation
from surefoot.core.job import After, At, Due, Job, moment_ms
from surefoot.core.names import State
from surefoot.core.spec import Spec
from surefoot.core.transition import KEEP_MS

R_co = TypeVar("R_co", covariant=True)

Keep = int | None | UnsetType
"""How long an outcome is kept, in ms: None for ever, UNSET as the task says."""

_OVER: Final = frozenset({"completed", "dead", "cancelled", "expired"})


class Home(Owner, Protocol):
    """A queue as its handles and letters see it. `full_name` is `namespace:queue`; `specs` are its tasks by every name,
    `declared` those whose code is elsewhere.
    """

    @property
    def name(self) -> str: ...
    @property
    def full_name(self) -> str: ...
    @property
    def specs(self) -> Mapping[str, Spec]: ...
    @property
    def declared(self) -> Mapping[str, Spec]: ...


@final
class JobHandle(msgspec.Struct, Generic[R_co], frozen=True, eq=False):
    """One job by its id. `duplicate`: the enqueue found this job already stored, or its key taken by it.

    `task` is None if only the id is known.
    """

    home: Home
    id: str
    task: str | None = None
    duplicate: bool = False
    keep: Keep = UNSET

    def __repr__(self) -> str:
        task = "" if self.task is None else f" {self.task}"
        return f"<JobHandle {self.id}{task} on {self.queue}{' duplicate' if self.duplicate else ''}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobHandle) and (self.id, self.home) == (other.id, other.home)

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def queue(self) -> str:
        """The name of the queue."""
        return self.home.name

    @property
    def sessions(self) -> Sessions:
        """The ways to the store."""
        return self.home.sessions

    @property
    def spoken(self) -> str:
        """How this is written in code."""
        return "job"

    @operation
    def result(self, timeout: Seconds | None = None) -> Steps[R_co]:
        """Wait for the job's end and give what its function returned. `timeout` in seconds; None: as long as it takes.

        Raises JobFailed, JobCancelled, JobExpired, ResultTimeout, JobNotFound, and ResultNotKept before it asks.
        """
        seconds = math.inf if timeout is None else duration(timeout, "timeout", least=0, infinite=True)
        self._refuse_unkept()
        until = clock.monotonic() + seconds
        seen: Record | None = None
        turn = 0
        while True:
            [[record]] = yield Ask((Get(self.home.full_name, (self.id,)),))
            if record is None:
                raise not_found(self, seen)
            if record.state in _OVER:
                return self._outcome(record)
            seen = record
            left = until - clock.monotonic()
            if left <= 0:
                raise ResultTimeout(
                    f"job {self.id} is still {record.state} after {seconds:g} s; it goes on.",
                    job_id=self.id, queue=self.queue, task=self.task, state=record.state,
                )  # fmt: skip
            yield Watch(self.home.full_name, self.id, left, turn)
            turn += 1

    result_sync = twin(result)

    @operation
    def status(self) -> Steps[State | None]:
        """Where the job is; None if the store does not know it, or no longer."""
        [[record]] = yield Ask((Get(self.home.full_name, (self.id,)),))
        return None if record is None else record.state

    status_sync = twin(status)

    @operation
    def job(self) -> Steps[Job | None]:
        """All that is known of the job; None if the store does not know it, or no longer."""
        [[record]] = yield Ask((Get(self.home.full_name, (self.id,)),))
        return None if record is None else job_of(record, self.queue, self.home.specs)

    job_sync = twin(job)

    @operation
    def cancel(self, reason: str | None = None) -> Steps[CancelWord]:
        """End the job: "cancelled" at once if it waits, "requested" if it runs, "finished" if it is over or unknown."""
        keep_ms = self._keep_ms()
        told = KEEP_MS if keep_ms is UNSET else None if keep_ms is None else max(keep_ms, KEEP_MS)
        [[word]] = yield Ask((Cancel(self.home.full_name, (self.id,), reason or "", told, who()),))
        answer: CancelWord = word
        return answer

    cancel_sync = twin(cancel)

    @operation
    def reschedule(self, *, delay: Seconds | None = None, at: datetime | None = None) -> Steps[bool]:
        """Another due time: in `delay` seconds, or `at` a moment. False if it runs or is over; then nothing changed."""
        due = due_of(delay, at, "reschedule")
        if delay is None and at is None:
            raise UsageError("reschedule() takes delay= or at=, and exactly one of them.")
        [[moved]] = yield Ask((Move(self.home.full_name, (self.id,), due),))
        return bool(moved)

    reschedule_sync = twin(reschedule)

    @operation
    def explain(self) -> Steps[Explanation]:
        """Why the job is where it is. JobNotFound if the store does not know it."""
        queue = self.home.full_name
        [[record], stats] = yield Ask((Get(queue, (self.id,), behind=True), Stats(queue, 0, jobs=False)))
        if record is None:
            raise not_found(self, None)
        return explain(record, stats, self.queue)

    explain_sync = twin(explain)

    def events(self) -> AsyncIterator[Event]:
        """Reserved."""
        raise reserved_events("job")

    if not TYPE_CHECKING:  # a type checker must not believe that a handle has every attribute

        def __getattr__(self, word: str) -> NoReturn:
            if word in foreign.HANDLE:
                raise foreign.no_such("job handle", word, foreign.HANDLE, job=self.spoken)
            raise AttributeError(f"'JobHandle' object has no attribute {word!r}", name=word, obj=self)

    def _spec(self, task: str | None) -> Spec | None:
        return None if task is None else self.home.specs.get(task) or self.home.declared.get(task)

    def _keep_ms(self) -> Keep:
        """How long the outcome is kept, as far as it is known here: a declared task's options are its worker's."""
        if self.keep is not UNSET or self.task is None:
            return self.keep
        spec = self.home.specs.get(self.task)
        return UNSET if spec is None else spec.keep_ms

    def _refuse_unkept(self) -> None:
        if self._keep_ms() != 0:
            return
        spec = self._spec(self.task)
        if self.keep is UNSET and spec is not None and spec.signature.returns_none:
            why = f"{self.task} returns None, so its outcome is not kept"
        else:
            why = f"{self.task} keeps no outcome (keep_result=0)"
        raise ResultNotKept(
            f"{why}; to wait for it write @{self.queue}.task(keep_result=60).",
            job_id=self.id, queue=self.queue, task=self.task,
        )  # fmt: skip

    def _outcome(self, record: Record) -> R_co:
        if record.state == "completed":
            value: R_co = self._returned(record)
            return value
        self._failed(record)

    def _returned(self, record: Record) -> Any:
        if record.result is None:
            return None
        spec = self._spec(self.task or task_of(record))
        if spec is None:
            return decode_json(record.result)
        try:
            return spec.signature.decode_result(record.result)
        except ValueError as lost:
            raise ResultNotKept(str(lost), job_id=self.id, queue=self.queue, task=self.task) from None

    def _failed(self, record: Record) -> NoReturn:
        task = self.task or task_of(record)
        where: dict[str, Any] = {"job_id": self.id, "queue": self.queue, "task": task}
        name = f"job {self.id} ({task})"
        if record.state == "cancelled":
            reason = record.reason or None
            raise JobCancelled(f"{name} was cancelled{f': {reason}' if reason else ''}.", reason=reason, **where)
        if record.state == "expired":
            raise JobExpired(f"{name} expired: it was not started in time.", **where)
        error = newest_error(record) or ErrorInfo(kind=record.reason or "unknown", message="no error was recorded")
        counts = record.counts
        runs = count_words(counts.runs, "run")
        raise JobFailed(
            f"{name} is dead ({record.reason or 'unknown'}) after {runs}: {error.kind}: {error.message}",
            error=error, failures=counts.failures, crashes=counts.crashes, **where,
        )  # fmt: skip


def not_found(handle: JobHandle[Any], seen: Record | None) -> JobNotFound:
    """The error for a job that the store does not know; `seen` is what it said before, if anything."""
    if seen is None:
        told = "it was never there, or it ended and nothing was kept."
        sentence = f"queue '{handle.queue}' does not know job {handle.id}: {told}"
    else:
        sentence = f"queue '{handle.queue}' no longer knows job {handle.id}: it ended, and nothing was kept."
    return JobNotFound(sentence, job_id=handle.id, queue=handle.queue, task=handle.task)


def due_of(delay: Seconds | None, at: datetime | None, door: str) -> Due:
    """When a job becomes due: in `delay` seconds or `at` a moment, not both."""
    if delay is not None and at is not None:
        raise ConfigError(f"{door}(delay={delay!r}, at={at!r}): give one of them, not both.")
    if at is not None:
        return At(moment_ms(aware(at, f"{door}(at=...)")))
    if delay is None:
        return None
    ms = round(duration(delay, f"{door}(delay)", least=0) * 1000)
    return After(ms) if ms else None
