"""Every error and every signal. Errors are told to the caller; signals are raised by a handler to steer its own job.
What a caller may catch, as a tree:

    SurefootError (Exception)
    ├── ConfigError                     no URL, bad URL, unknown option, two different defaults
    ├── TaskDefinitionError             said at import: generator, method, unknown type, ...
    │   └── DuplicateTask
    ├── PayloadError                    at enqueue and before the handler; nothing was stored
    │   ├── InvalidArguments (TypeError)
    │   └── PayloadTooLarge
    ├── QueueFull
    ├── DuplicateJob                    only with Key(duplicate="raise")
    ├── StoreError
    │   ├── StoreUnavailable (ConnectionError)
    │   │   └── OutcomeUnknown          no answer in time: enqueue the same draft again
    │   │       └── NotReplicated       stored, but fewer than `durable` replicas confirmed it in time
    │   └── StoreUnsuitable             too old, read-only, replaced, evicting keys
    ├── JobError
    │   ├── JobNotFound (LookupError)
    │   ├── JobFailed                   the job is dead
    │   ├── JobCancelled
    │   ├── JobExpired
    │   ├── ResultTimeout (TimeoutError)  still not finished; the job goes on
    │   └── ResultNotKept
    ├── LeaseLost                       this run no longer owns the job
    └── UsageError                      a call in the wrong place
        ├── SyncInsideLoop
        ├── NotInJob
        └── StateMissing

    Signal (BaseException)              not caught by `except Exception`
    ├── Snooze      later, uncharged
    ├── RetryLater  this attempt failed, own delay
    ├── Cancel      end as cancelled
    └── Reject      dead letter now
"""

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias, final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from surefoot.core.names import State

Seconds: TypeAlias = float | timedelta
"""A duration as users write it: seconds or a timedelta."""


@final
class ErrorInfo(msgspec.Struct, frozen=True, kw_only=True):
    """An exception as it crosses the wire: words, never a pickled object.

    `kind` is the name of its class, `kinds` the names of that class and its bases, most derived first.
    """

    kind: str
    kinds: tuple[str, ...] = ()
    message: str = ""
    traceback: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}" if self.message else self.kind

    def matches(self, kind: type[BaseException] | str, /) -> bool:
        """Whether the exception was of this class or derived from it, compared by name."""
        name = kind if isinstance(kind, str) else kind.__qualname__
        return name == self.kind or name in self.kinds


class SurefootError(Exception):
    """The root of everything that surefoot raises at a caller."""


class ConfigError(SurefootError):
    """A URL, option or default that cannot be used as given."""


class TaskDefinitionError(SurefootError):
    """A function that cannot be a task; said when its module is imported."""


class DuplicateTask(TaskDefinitionError):
    """Two functions under one name on one queue."""


class PayloadError(SurefootError):
    """Arguments that cannot travel. Nothing was stored."""

    def __init__(self, sentence: str, *, task: str, parameter: str | None = None) -> None:
        super().__init__(sentence)
        self.task = task
        self.parameter = parameter


class InvalidArguments(PayloadError, TypeError):
    """Arguments that do not fit the task's signature."""


class PayloadTooLarge(PayloadError):
    """Arguments above the limit; `size` and `limit` are bytes of JSON."""

    def __init__(self, *, task: str, size: int, limit: int) -> None:
        super().__init__(
            f"the arguments of {task}() are {size:,} bytes of JSON and the limit is {limit:,}; "
            "put the data elsewhere and send its address.",
            task=task,
        )
        self.size = size
        self.limit = limit


class QueueFull(SurefootError):
    """`max_length` is reached. `accepted` holds the ids of the list that are stored nevertheless."""

    def __init__(
        self,
        *,
        queue: str,
        length: int,
        limit: int,
        accepted: "Sequence[str]" = (),
        asked: int = 1,
        oldest: float | None = None,
    ) -> None:
        waited = "" if oldest is None else f" (the oldest for {duration_words(oldest)})"
        stored = f"{len(accepted):,} of {asked:,} were stored." if accepted else "Nothing was stored."
        super().__init__(f"queue '{queue}' is full: {length:,} of {limit:,} jobs wait{waited}. {stored}")
        self.queue = queue
        self.length = length
        self.limit = limit
        self.accepted: tuple[str, ...] = tuple(accepted)


class DuplicateJob(SurefootError):
    """Another job holds the key, and the enqueue asked for `duplicate="raise"`."""

    def __init__(self, *, queue: str, job_id: str, key: str, accepted: "Sequence[str]" = ()) -> None:
        super().__init__(
            f"queue '{queue}': job {job_id} already holds the key {key!r}; "
            'leave out duplicate="raise" to get a handle to it.'
        )
        self.job_id = job_id
        self.key = key
        self.accepted: tuple[str, ...] = tuple(accepted)


class StoreError(SurefootError):
    """The store answered with an error, or not at all."""


class StoreUnavailable(StoreError, ConnectionError):
    """The store could not be reached; the call was not executed. `accepted`: ids stored by earlier calls of the same
    list.
    """

    def __init__(self, sentence: str, *, accepted: "Sequence[str]" = ()) -> None:
        super().__init__(sentence)
        self.accepted: tuple[str, ...] = tuple(accepted)


class OutcomeUnknown(StoreUnavailable):
    """No answer in time: the call may have been executed. Enqueueing the same draft again stores it once."""

    def __init__(self, sentence: str, *, job_ids: "Sequence[str]" = (), accepted: "Sequence[str]" = ()) -> None:
        super().__init__(sentence, accepted=accepted)
        self.job_ids: tuple[str, ...] = tuple(job_ids)


class NotReplicated(OutcomeUnknown):
    """Stored in the primary, but fewer than `durable` replicas confirmed it in time."""

    def __init__(
        self, *, queue: str, job_ids: "Sequence[str]", confirmed: int, wanted: int, within: float,
        accepted: "Sequence[str]" = (),
    ) -> None:  # fmt: skip
        jobs = "the job is" if len(job_ids) == 1 else "the jobs are"
        super().__init__(
            f"queue '{queue}': {confirmed} of {wanted} replicas confirmed within {within:g} s; {jobs} in the "
            "primary. Enqueue the same draft again, or lower durable=.",
            job_ids=job_ids,
            accepted=accepted,
        )
        self.confirmed = confirmed
        self.wanted = wanted


class StoreUnsuitable(StoreError):
    """A store that must not be used: too old, read-only, replaced, evicting keys."""


class JobError(SurefootError):
    """What became of one job, told to whoever waits for it."""

    def __init__(self, sentence: str, *, job_id: str, queue: str, task: str | None = None) -> None:
        super().__init__(sentence)
        self.job_id = job_id
        self.queue = queue
        self.task = task


class JobNotFound(JobError, LookupError):
    """The store does not know the job, or no longer: it finished and nothing was kept."""


class JobFailed(JobError):
    """The job is dead. `error` is its newest error; failures and crashes are how its runs ended."""

    def __init__(
        self, sentence: str, *, job_id: str, queue: str, task: str | None, error: ErrorInfo, failures: int, crashes: int
    ) -> None:
        super().__init__(sentence, job_id=job_id, queue=queue, task=task)
        self.error = error
        self.failures = failures
        self.crashes = crashes


class JobCancelled(JobError):
    """The job ended as cancelled; `reason` is what the canceller said, if anything."""

    def __init__(self, sentence: str, *, job_id: str, queue: str, task: str | None, reason: str | None) -> None:
        super().__init__(sentence, job_id=job_id, queue=queue, task=task)
        self.reason = reason


class JobExpired(JobError):
    """The job was not started within its `expires`."""


class ResultTimeout(JobError, TimeoutError):
    """Still not finished in the time the caller gave; the job goes on. `state` is where it was last seen."""

    def __init__(self, sentence: str, *, job_id: str, queue: str, task: str | None, state: "State") -> None:
        super().__init__(sentence, job_id=job_id, queue=queue, task=task)
        self.state = state


class ResultNotKept(JobError):
    """The task keeps no outcome, so there is nothing to wait for."""


class LeaseLost(SurefootError):
    """This run no longer owns the job: another worker has it, or its lease is over."""

    def __init__(self, *, job_id: str, token: str) -> None:
        super().__init__(f"job {job_id}: this run has lost its lease; nothing that it reports will count.")
        self.job_id = job_id
        self.token = token


class UsageError(SurefootError):
    """A call in the wrong place, or options that do not go together."""


class SyncInsideLoop(UsageError):
    """A blocking twin was called on the thread of a running event loop."""


class NotInJob(UsageError):
    """`current_job()` outside a job."""


class StateMissing(UsageError):
    """The worker's lifespan yields nothing, or an object of another type."""


class Signal(BaseException):
    """Raised by a handler to steer its own job. Not an Exception: `except Exception` must not swallow it."""


class Snooze(Signal):
    """Run this job again later; costs no attempt. Either seconds from now or a moment."""

    def __init__(self, seconds: Seconds | None = None, *, until: datetime | None = None) -> None:
        if (seconds is None) == (until is None):
            raise UsageError("Snooze takes either seconds or until=, and exactly one of them.")
        if until is not None:
            aware(until, "Snooze(until=...)")
        super().__init__(seconds if until is None else until)
        self.seconds: float | None = None if seconds is None else duration(seconds, "Snooze(seconds)", least=0)
        self.until = until


class RetryLater(Signal):
    """This attempt failed; try again after these seconds instead of the policy's delay."""

    def __init__(self, seconds: Seconds, reason: str | None = None) -> None:
        self.seconds: float = duration(seconds, "RetryLater(seconds)", least=0)
        self.reason = reason
        super().__init__(f"again in {self.seconds:g} s" if reason is None else reason)


class Cancel(Signal):
    """End this job as cancelled."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason: str = str(reason)


class Reject(Signal):
    """Put this job into the dead letters now: trying again cannot help."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason: str = str(reason)


LONGEST_S = 100 * 366 * 86_400
"""The longest duration in seconds: in milliseconds it fits every store and every float."""


# Durations and moments as users write them, checked at the door: before anything is stored.


def duration(value: object, what: str, *, least: float | None = None, infinite: bool = False) -> float:
    """`value` as seconds (float). Above 0, or at least `least`; `math.inf` only where `infinite`. Else ConfigError."""
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(min(value, 2 * LONGEST_S) if isinstance(value, int) else value)
    else:
        raise ConfigError(f"{what}={value!r} is not a duration; give seconds as a number, or a timedelta.")
    limit = ", or math.inf for no limit" if infinite else ""
    if LONGEST_S < seconds < math.inf:
        raise ConfigError(f"{what} is longer than 100 years; give less{limit}.")
    low = seconds < least if least is not None else not seconds > 0
    if math.isnan(seconds) or low or (math.isinf(seconds) and not infinite):
        bound = f">= {least:g}" if least is not None else "> 0"
        raise ConfigError(f"{what}={value!r} is not a duration; give seconds {bound}{limit}.")
    return seconds


def aware(moment: object, what: str) -> datetime:
    """`moment` if it is a datetime with a time zone; else ConfigError with the way out."""
    if not isinstance(moment, datetime):
        raise ConfigError(f"{what} takes a datetime, not {moment!r}.")
    if moment.tzinfo is None or moment.utcoffset() is None:
        head = what.replace("...", f"{moment:%Y-%m-%d %H:%M}")
        raise ConfigError(f'{head} has no time zone; use datetime(..., tzinfo=ZoneInfo("Europe/Paris")).')
    return moment


def duration_words(seconds: float) -> str:
    """A duration for people: `0.2 s`, `14 min`, `3 h`, `2 d`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    for size, word, until in ((1, "s", 120), (60, "min", 120 * 60), (3600, "h", 48 * 3600)):
        if seconds < until:
            return f"{seconds / size:.0f} {word}"
    return f"{seconds / 86400:.0f} d"
