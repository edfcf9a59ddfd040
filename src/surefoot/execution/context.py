"""One run in progress, and what the code inside it sees: `current_job()`. Nothing here waits or talks to a store."""

import math
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar, final

from surefoot import clock
from surefoot.core.errors import Cancel, ConfigError, LeaseLost, NotInJob, Seconds, StateMissing, UsageError, duration
from surefoot.core.job import Progress, moment
from surefoot.core.lifecycle import Run, is_last_attempt

T = TypeVar("T")

Stop: TypeAlias = Literal["timeout", "cancel", "drain", "lost"]
"""Why a run was told to end: out of time, by request, because the worker leaves, because the lease is gone."""


class Host(Protocol):
    """Whoever runs jobs, as a run sees it."""

    state: object

    @property
    def worker(self) -> str:
        """The worker's id."""
        ...

    @property
    def stopping(self) -> bool:
        """Whether the worker drains."""
        ...

    def now_ms(self) -> int:
        """The store's time, as far as this process knows it."""
        ...

    def ms_at(self, monotonic: float) -> int:
        """The store's time at a moment of this process's clock."""
        ...

    def deadline_moved(self, running: "Running") -> None:
        """A run gave itself another deadline."""
        ...


class Running:
    """One run in this worker's hands, from its admission until it is settled. The only mutable record of a job.

    `deadline` is on the monotonic clock, None without a limit. `stop` is set once, by whoever ends the run first;
    `work` is the lane's own; `note` is the newest progress, `carried` the newest that the store has.
    """

    __slots__ = (
        "cancel_reason", "carried", "deadline", "host", "limit", "note", "queue", "run", "started", "stop", "work",
    )  # fmt: skip

    def __init__(self, run: Run, queue: str, host: Host) -> None:
        self.run: Run = run
        self.queue: str = queue
        self.host: Host = host
        self.started: float = 0.0
        self.limit: float | None = None if run.timeout_ms is None else run.timeout_ms / 1000
        self.deadline: float | None = None
        self.stop: Stop | None = None
        self.cancel_reason: str = ""
        self.note: Progress | None = None
        self.carried: Progress | None = None
        self.work: Any = None

    @property
    def started_ms(self) -> int:
        """When the handler started, by the store's clock; 0 if it has not."""
        return self.host.ms_at(self.started) if self.started else 0

    def told(self) -> Stop | None:
        """Why this run was told to end, if it was; asked for by the run itself."""
        return self.stop

    def say(self, progress: Progress) -> None:
        """The handler said how far it is."""
        self.note = progress

    def begin(self) -> None:
        """The handler starts now: its time runs from here."""
        self.started = clock.monotonic()
        if self.limit is not None:
            self.deadline = self.started + self.limit


@final
class JobContext:
    """The job that this code is running for. Nothing here waits: progress travels with the next lease renewal."""

    __slots__ = ("_running",)

    def __init__(self, running: Running) -> None:
        self._running = running

    def __repr__(self) -> str:
        return f"JobContext(id={self.id!r}, task={self.task!r}, attempt={self.attempt})"

    @property
    def id(self) -> str:
        """The job's id: the same on every attempt, so a good idempotency key for other services."""
        return self._running.run.leased.id

    @property
    def queue(self) -> str:
        """The name of the queue, without its namespace."""
        return self._running.queue.partition(":")[2]

    @property
    def task(self) -> str:
        """The name of the task."""
        return self._running.run.spec.name

    @property
    def attempt(self) -> int:
        """The number of this run, from 1; counts every started run and never goes back."""
        return self._running.run.attempt

    @property
    def failures(self) -> int:
        """How many runs before this one raised or timed out."""
        return self._running.run.leased.counts.failures

    @property
    def crashes(self) -> int:
        """How many runs before this one took their worker with them, or lost it."""
        return self._running.run.leased.counts.crashes

    @property
    def last_attempt(self) -> bool:
        """Whether the next failure is the end."""
        return is_last_attempt(self._running.run)

    @property
    def token(self) -> str:
        """Names this lease; for equality only. A number that grows is `attempt`."""
        return self._running.run.leased.token

    @property
    def key(self) -> str | None:
        """The unique key, without the task's name."""
        return self._running.run.envelope.key

    @property
    def group(self) -> str | None:
        """Reserved; None."""
        return None

    @property
    def headers(self) -> Mapping[str, str]:
        """What travels with the job."""
        return self._running.run.envelope.headers

    @property
    def enqueued_at(self) -> datetime:
        """When the store accepted the job, by the store's clock."""
        return moment(self._running.run.leased.enqueued_ms)

    @property
    def started_at(self) -> datetime:
        """When this run started, by the store's clock."""
        return moment(self._running.started_ms)

    @property
    def deadline(self) -> datetime | None:
        """When this run times out; None without a limit."""
        running = self._running
        if running.deadline is None:
            return None
        return self.started_at + timedelta(seconds=running.deadline - running.started)

    @property
    def worker(self) -> str:
        """The id of the worker."""
        return self._running.host.worker

    @property
    def stopping(self) -> bool:
        """Whether the worker drains: save what is done and `raise Snooze(0)`."""
        return self._running.host.stopping

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked to cancel this job."""
        return self._running.told() == "cancel"

    def check(self) -> None:
        """For threads, which cannot be interrupted: raise if this run is cancelled, out of time or out of its lease."""
        running = self._running
        told = running.told()
        if told == "lost":
            raise LeaseLost(job_id=self.id, token=self.token)
        if told == "cancel":
            raise Cancel(running.cancel_reason)
        if told == "timeout" or (running.deadline is not None and clock.monotonic() > running.deadline):
            raise TimeoutError(f"{self.task} is out of time")

    def progress(self, done: float, total: float | None = None, note: str | None = None) -> None:
        """Say how far this run is; stored with the next lease renewal, the newest wins."""
        for word, value in (("done", done), ("total", 0.0 if total is None else total)):
            if not math.isfinite(value):
                raise ConfigError(f"progress({word}={value!r}): give a finite number.")
        self._running.say(Progress(done, total, note, moment(self._running.host.now_ms())))

    def heartbeat(self) -> None:
        """Reserved."""
        raise UsageError("job.heartbeat(): 'heartbeat' is reserved and not in this release; use timeout=.")

    def extend(self, seconds: Seconds) -> None:
        """Move this run's deadline by so many seconds."""
        more = duration(seconds, "extend(seconds)")
        running = self._running
        if running.deadline is not None:
            running.deadline += more
            running.host.deadline_moved(running)

    def state(self, kind: type[T], /) -> T:
        """What the worker's lifespan yielded, if it is of this type; else StateMissing."""
        state = self._running.host.state
        if isinstance(state, kind):
            return state
        if state is None:
            raise StateMissing(
                f"no state of type {kind.__qualname__}: this worker has no lifespan; write Worker(..., lifespan=...)."
            )
        raise StateMissing(
            f"no state of type {kind.__qualname__}: this worker's lifespan yields {type(state).__qualname__}."
        )


_current: Final[ContextVar[JobContext]] = ContextVar("surefoot_job")


def current_job() -> JobContext:
    """The job that this code is running for. Outside a job: NotInJob."""
    try:
        return _current.get()
    except LookupError:
        raise NotInJob("current_job() was called outside a job; in a test use surefoot.testing.inside_job().") from None


def in_job() -> bool:
    """Whether this code runs inside a job."""
    return _current.get(None) is not None


enter_job: Final = _current.set
