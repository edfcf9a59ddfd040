"""The records of a job: Draft (not yet enqueued), NewJob (on its way in), Leased (claimed), Job (what the store
knows of it).

None of them talks to a store.
"""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, TypeVar, final

import msgspec

from surefoot.core.errors import ConfigError, ErrorInfo, Seconds, duration
from surefoot.core.names import is_id, is_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from surefoot.core.names import DeadReason, State

R_co = TypeVar("R_co", covariant=True)


class After(msgspec.Struct, frozen=True, gc=False):
    """Due so many milliseconds after the store's now."""

    ms: int


class At(msgspec.Struct, frozen=True, gc=False):
    """Due at this moment: milliseconds since the epoch."""

    ms: int


Due: TypeAlias = After | At | None
"""When a job becomes due; None is now."""


class Unique(msgspec.Struct, frozen=True, gc=False):
    """How a job holds its unique key: until it is done, until it starts, or for a period of milliseconds."""

    key: str
    until: Literal["done", "start"] | int = "done"
    replace: bool = False


class NewJob(msgspec.Struct, frozen=True, gc=False):
    """A job on its way into the store: what put, tick and the effects of a settle carry.

    `unique.key` is `<task> <key>`. `needs` is the oldest protocol understanding that may serve it (1: everybody).
    """

    id: str
    envelope: bytes
    due: Due = None
    priority: int = 5
    unique: Unique | None = None
    needs: int = 1


class Counts(msgspec.Struct, frozen=True, gc=False):
    """How the runs of a job ended so far; `due_set_ms` is the due time that a requeue or reschedule set, else None."""

    runs: int = 0
    failures: int = 0
    crashes: int = 0
    interruptions: int = 0
    snoozes: int = 0
    due_set_ms: int | None = None


NO_COUNTS: Final = Counts()


class Leased(msgspec.Struct, frozen=True, gc=False):
    """A job as a claim hands it out: the right to run it, named by `token`, and all that a decision about it needs.

    `cancel` is the reason of a cancel request (it may be empty), or None.
    """

    id: str
    token: str
    enqueued_ms: int
    body: bytes
    counts: Counts = NO_COUNTS
    note: bytes | None = None
    cancel: str | None = None


@final
class Key:
    """Says when two enqueues are one job. Scope: queue + task + value. `replace` ends a waiting holder as cancelled.

    `until` is "finished", "started", or seconds from the enqueue for which the key is held, finished or not.
    """

    __slots__ = ("duplicate", "until", "value")

    value: str
    until: Literal["started", "finished"] | float
    duplicate: Literal["keep", "replace", "raise"]

    def __init__(
        self,
        value: str,
        *,
        until: Literal["started", "finished"] | Seconds = "finished",
        duplicate: Literal["keep", "replace", "raise"] = "keep",
    ) -> None:
        if not is_id(value):
            raise ConfigError(f"key={value!r} is not a key; give 1 to 128 bytes of text without control characters.")
        if duplicate not in ("keep", "replace", "raise"):
            raise ConfigError(f'Key(duplicate={duplicate!r}): give "keep", "replace" or "raise".')
        given: object = until
        if isinstance(given, str) and given not in ("finished", "started"):
            raise ConfigError(f'Key(until={until!r}): give "finished", "started", or seconds > 0.')
        span = until if until in ("finished", "started") else duration(until, "Key(until)")
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "until", span)
        object.__setattr__(self, "duplicate", duplicate)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Key is immutable; make a new one instead of setting {name!r}")

    def __repr__(self) -> str:
        return f"Key({self.value!r}, until={self.until!r}, duplicate={self.duplicate!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and _key_parts(self) == _key_parts(other)

    def __hash__(self) -> int:
        return hash(_key_parts(self))

    def unique(self, task: str) -> Unique:
        """The key as the store holds it, in the scope of `task`."""
        if self.until == "finished":
            until: Literal["done", "start"] | int = "done"
        elif self.until == "started":
            until = "start"
        else:
            until = max(1, round(self.until * 1000))
        return Unique(f"{task} {self.value}", until, self.duplicate == "replace")


def _key_parts(key: Key) -> tuple[object, ...]:
    return key.value, key.until, key.duplicate


@final
class Progress(msgspec.Struct, frozen=True):
    """What a handler last said about how far it is."""

    done: float
    total: float | None
    note: str | None
    at: datetime


@final
class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a task: an inert, immutable record. It has no methods that talk to a store.

    `arguments` are JSON values by parameter name. Times are aware datetimes in UTC, by the store's clock.
    """

    id: str
    queue: str
    task: str
    arguments: "Mapping[str, Any]"
    headers: "Mapping[str, str]"
    state: "State"
    priority: int
    key: str | None
    group: str | None
    runs: int
    failures: int
    crashes: int
    interruptions: int
    snoozes: int
    max_attempts: int | None
    enqueued_at: datetime
    due_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    progress: Progress | None
    error: ErrorInfo | None
    reason: "DeadReason | None"

    def __repr__(self) -> str:
        why = f" ({self.reason})" if self.reason else ""
        counts = [
            ("run", self.runs), ("failure", self.failures), ("crash", self.crashes),
            ("interruption", self.interruptions), ("snooze", self.snoozes),
        ]  # fmt: skip
        told = "".join(f", {_counted(word, count)}" for word, count in counts if count)
        return f"<Job {self.id} {self.task} on {self.queue}: {self.state}{why}{told}>"


@final
class Draft(msgspec.Struct, Generic[R_co], frozen=True, kw_only=True):
    """A job not yet enqueued: task, arguments, options and already its id. Inert; enqueueing it twice stores it once.

    `payload` is the arguments as the JSON object that travels; `arguments` decodes it.
    """

    id: str
    queue: str
    task: str
    payload: bytes
    headers: "Mapping[str, str]" = {}
    priority: int = 5
    key: Key | None = None
    due: Due = None
    schema: int = 1
    options: "Mapping[str, int | None]" = {}

    @property
    def arguments(self) -> "Mapping[str, Any]":
        """The arguments as JSON values, by parameter name."""
        decoded: dict[str, Any] = msgspec.json.decode(self.payload)
        return decoded

    def __repr__(self) -> str:
        return f"<Draft {self.id} {self.task} for {self.queue}>"

    def with_headers(self, **headers: str) -> "Draft[R_co]":
        """The same draft with these headers added."""
        for name, value in headers.items():
            if not is_text(name) or not is_text(value):
                raise ConfigError(f"the header {name!r} is {value!r}; headers are text.")
        return msgspec.structs.replace(self, headers={**self.headers, **headers})


def _counted(word: str, count: int) -> str:
    plural = "" if count == 1 else "es" if word.endswith("sh") else "s"
    return f"{count} {word}{plural}"


LAST_MS: Final = 253_402_300_800_000
"""The end of the year 9999: no moment lies behind it."""


def moment(ms: int) -> datetime:
    """Milliseconds since the epoch as an aware datetime in UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def moment_ms(at: datetime) -> int:
    """An aware datetime as milliseconds since the epoch."""
    return round((at - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))
