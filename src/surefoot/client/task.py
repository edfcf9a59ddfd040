"""Task: a function registered on a queue, with its options. Enqueueing is typed with the function's own signature."""

import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Literal,
    NoReturn,
    ParamSpec,
    Protocol,
    Self,
    TypedDict,
    TypeVar,
    cast,
    final,
    overload,
)

import msgspec

from surefoot.client import foreign
from surefoot.client.handle import Home, JobHandle, due_of
from surefoot.client.limits import Concurrency, Rate
from surefoot.client.operation import Sessions, Steps, operation, twin
from surefoot.client.options import check_options, reserved
from surefoot.client.schedules import Schedule
from surefoot.client.session import new_id
from surefoot.core.errors import ConfigError, InvalidArguments, Seconds, UsageError, aware, duration
from surefoot.core.job import Draft, Due, Job, Key, moment_ms
from surefoot.core.names import NORMAL_PRIORITY, PRIORITIES, Priority, did_you_mean, is_id, is_text
from surefoot.core.retry import Retry
from surefoot.core.signature import Signature
from surefoot.core.spec import Spec

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class TaskQueue(Home, Protocol):
    """What a task sees of its queue: Queue is one. Said here, so that task never imports queue."""

    def enqueue(self, draft: Draft[R], /) -> Coroutine[Any, Any, JobHandle[R]]: ...
    def enqueue_sync(self, draft: Draft[R], /) -> JobHandle[R]: ...
    def handle(self, id: str) -> JobHandle[Any]: ...
    def get(self, id: str) -> Coroutine[Any, Any, Job | None]: ...
    def get_sync(self, id: str) -> Job | None: ...
    def storing(self, draft: Draft[R]) -> Steps[JobHandle[R]]: ...
    def serves(self, known: "Known") -> bool: ...
    def schedule(self, known: "Known", line: "CronOptions") -> Any: ...


class Known(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A task as it was registered: the same for all copies that `options` gives.

    `spec` is None where neither code nor declaration is here; `declared`: its code is elsewhere.
    """

    name: str
    queue: TaskQueue
    bind: Callable[[tuple[Any, ...], Mapping[str, Any]], bytes]
    spec: Spec | None
    priority: int = NORMAL_PRIORITY
    aliases: tuple[str, ...] = ()
    on_dead: Callable[[Job], object] | None = None
    declared: bool = False


class JobOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What one job says differently from its task, in the form that drafts take. `wire` goes into the envelope."""

    due: Due = None
    priority: int | None = None
    key: Key | None = None
    id: str | None = None
    queue: TaskQueue | None = None
    headers: Mapping[str, str] = {}
    wire: Mapping[str, int | None] = {}


class CronOptions(msgspec.Struct, frozen=True, kw_only=True):
    """A cron line as `task.cron` was given it."""

    expression: str
    name: str
    timezone: str
    overlap: Literal["skip", "queue", "allow"]
    catch_up: Seconds
    priority: int | None = None


_NO_OPTIONS: Final = JobOptions()


class Task(Generic[P, R_co]):
    """A function registered on a queue. Immutable: `options` gives a changed copy of the same registered task."""

    def __init__(self, known: Known, function: Callable[..., Any] | None, options: JobOptions = _NO_OPTIONS) -> None:
        if function is not None:
            functools.update_wrapper(cast("Any", self), function)
        self._known = known
        self._function = function
        self._options = options

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} of queue {self.queue.name}>"

    @property
    def name(self) -> str:
        """The name that jobs carry."""
        return self._known.name

    @property
    def queue(self) -> TaskQueue:
        """The queue it is registered on, or the one that `options(queue=)` named."""
        return self._options.queue or self._known.queue

    @property
    def known(self) -> Known:
        """The task as it was registered."""
        return self._known

    @property
    def spec(self) -> Spec | None:
        """The task as a worker serves it; None where nothing but its name is known."""
        return self._known.spec

    @property
    def sessions(self) -> Sessions:
        """The ways to the store."""
        return self.queue.sessions

    @property
    def spoken(self) -> str:
        """How this is written in code."""
        name: str = getattr(self, "__name__", self.name)
        return name

    @operation
    def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> Steps[JobHandle[R_co]]:
        """Store a job that will call the function with these arguments. When this returns, the store has it."""
        return self.queue.storing(self.draft(*args, **kwargs))

    enqueue_sync = twin(enqueue)

    def draft(self, /, *args: P.args, **kwargs: P.kwargs) -> Draft[R_co]:
        """A job not yet enqueued; its id exists already. Raises InvalidArguments if the arguments do not fit."""
        known, options = self._known, self._options
        return Draft(
            id=options.id or new_id(),
            queue=(options.queue or known.queue).name,
            task=known.name,
            payload=known.bind(args, kwargs),
            headers=options.headers,
            priority=known.priority if options.priority is None else options.priority,
            key=options.key,
            due=options.due,
            schema=1 if known.spec is None else known.spec.schema,
            options=options.wire,
        )

    def handle(self, id: str) -> JobHandle[R_co]:
        """A handle for an id that was kept somewhere. Asks nothing."""
        queue = self.queue
        keep = self._options.wire.get("keep_result_ms", msgspec.UNSET)
        return JobHandle(queue, id, self.name, False, keep)

    @check_options("options")
    def options(
        self,
        *,
        delay: Seconds | None = None,
        at: datetime | None = None,
        expires: Seconds | datetime | None = None,
        priority: Priority | None = None,
        key: str | Key | None = None,
        id: str | None = None,
        group: str | None = None,
        timeout: Seconds | None = None,
        max_attempts: int | None = None,
        keep_result: Seconds | None = None,
        queue: TaskQueue | None = None,
        headers: dict[str, str] | None = None,
    ) -> Self:
        """The same task for jobs that differ from it.

        `delay` in seconds, or `at` a moment; `expires`: not started within so many seconds after it was due, or by a
        moment; `key`: one job of this key at a time; `timeout` and `keep_result` in seconds (math.inf: no limit, for
        ever); `queue`: another one that has this task by `add`; `headers` travel with the job.
        """
        if group is not None:
            raise reserved("options", "group", "headers=", group)
        if queue is not None and not queue.serves(self._known):
            raise UsageError(
                f"queue '{queue.name}' does not serve {self.name}: write {queue.name}.add({self.spoken}) at import."
            )
        before = self._options
        new = JobOptions(
            due=before.due if delay is None and at is None else due_of(delay, at, "options"),
            priority=before.priority if priority is None else priority_number(priority, "options"),
            key=before.key if key is None else key if isinstance(key, Key) else Key(key),
            id=before.id if id is None else _checked_id(id),
            queue=queue or before.queue,
            headers=before.headers if headers is None else {**before.headers, **_checked_headers(headers)},
            wire={**before.wire, **_wire(expires, timeout, max_attempts, keep_result)},
        )
        return type(self)(self._known, self._function, new)

    @check_options("cron")
    def cron(
        self,
        expression: str,
        *,
        name: str,
        timezone: str = "UTC",
        overlap: Literal["skip", "queue", "allow"] = "skip",
        catch_up: Seconds = 3600,
    ) -> Schedule[P]:
        """One more schedule of this task: `.with_args(...)` gives it its arguments and registers it."""
        line = CronOptions(
            expression=expression, name=name, timezone=timezone, overlap=overlap, catch_up=catch_up,
            priority=self._options.priority,
        )  # fmt: skip
        return cast("Schedule[P]", self._known.queue.schedule(self._known, line))

    if not TYPE_CHECKING:  # a type checker must not believe that a task has every attribute

        def __getattr__(self, word: str) -> NoReturn:
            if word in foreign.TASK and "_known" in self.__dict__:
                names = {"task": self.spoken, "name": self.name, "queue": self.queue.name}
                raise foreign.no_such("task", word, foreign.TASK, **names)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {word!r}", name=word, obj=self)


@final
class AsyncTask(Task[P, R_co]):
    """A task whose function is `async def`. Calling it awaits the function itself: no queue, no retry."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R_co]:
        result: Coroutine[Any, Any, R_co] = _own(self)(*args, **kwargs)
        return result


@final
class SyncTask(Task[P, R_co]):
    """A task whose function is a plain `def`. Calling it runs the function itself: no queue, no retry."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        result: R_co = _own(self)(*args, **kwargs)
        return result


def _own(task: Task[..., Any]) -> Callable[..., Any]:
    if task.known.declared or task._function is None:
        raise UsageError(
            f"{task.spoken} is only declared here and cannot be run here; its code is in a worker: enqueue it."
        )
    return task._function


class TaskOptions(TypedDict, total=False):
    """What `cron`, `every` and `implement` take besides their own options: the same as `task`."""

    aliases: Sequence[str]
    retry: Retry
    timeout: Seconds
    executor: Literal["loop", "thread", "process"]
    priority: Priority
    expires: Seconds
    keep_result: Seconds
    heartbeat: Seconds
    limits: Sequence[Concurrency | Rate]
    on_dead: Callable[[Job], object]
    schema: int
    upcast: Callable[[int, dict[str, Any]], dict[str, Any]]


class TaskDecorator(Protocol):
    """What `queue.task(...)` gives: makes a function a task."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...


class Implementation(Protocol[P, R]):
    """What `queue.implement(task)` gives: takes a function with the signature of the declaration."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...


def bind_anything(task: str) -> Callable[[tuple[Any, ...], Mapping[str, Any]], bytes]:
    """How a task that is known by its name only takes arguments: what any JSON can be, by name."""

    def anything(**arguments: Any) -> None: ...

    signature = Signature(anything, task=task, explicit_name=True)

    def bind(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        if args:
            words = "is not registered here, so its arguments have no order; give them by name."
            raise InvalidArguments(f"{task}() {words}", task=task)
        if not kwargs:
            return b"{}"
        try:
            raw = signature.bind((), kwargs)
        except InvalidArguments as wrong:
            raise InvalidArguments(str(wrong).replace("'arguments.", "'"), task=task) from None
        return bytes(msgspec.json.decode(raw, type=dict[str, msgspec.Raw])["arguments"])

    return bind


def priority_number(word: object, door: str) -> int:
    """The number of a priority word."""
    if not isinstance(word, str) or word not in PRIORITIES:
        guess = did_you_mean(word, PRIORITIES) if isinstance(word, str) else ""
        raise ConfigError(f'{door}(priority={word!r}): give "high", "normal" or "low"{guess}')
    return PRIORITIES[word]


def milliseconds(value: object, what: str, *, least: float | None = None) -> int | None:
    """A duration in milliseconds; None for math.inf."""
    seconds = duration(value, what, least=least, infinite=True)
    return None if seconds == float("inf") else max(round(seconds * 1000), 1 if seconds else 0)


def _wire(expires: object, timeout: object, max_attempts: object, keep_result: object) -> dict[str, int | None]:
    wire: dict[str, int | None] = {}
    if isinstance(expires, datetime):
        wire["expires_at_ms"] = moment_ms(aware(expires, "options(expires=...)"))
    elif expires is not None:
        wire["expires_after_ms"] = milliseconds(expires, "expires")
    if timeout is not None:
        wire["timeout_ms"] = milliseconds(timeout, "timeout")
    if max_attempts is not None:
        if not isinstance(max_attempts, int) or isinstance(max_attempts, bool) or max_attempts < 1:
            raise ConfigError(f"max_attempts={max_attempts!r} is not a count; give a whole number >= 1.")
        wire["max_attempts"] = max_attempts
    if keep_result is not None:
        wire["keep_result_ms"] = milliseconds(keep_result, "keep_result", least=0)
    return wire


def _checked_id(id: object) -> str:
    if not is_id(id):
        raise ConfigError(f"id={id!r} is not an id; give 1 to 128 bytes of text without control characters.")
    assert isinstance(id, str)
    return id


def _checked_headers(headers: Mapping[Any, Any]) -> Mapping[str, str]:
    for name, value in headers.items():
        if not is_text(name) or not is_text(value):
            raise ConfigError(f"the header {name!r} is {value!r}; headers are text.")
    return headers
