"""Queue: one named queue in one store. Assembles registry, intake, looking and letters; decides nothing itself."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, ParamSpec, TypeVar, Unpack, cast, overload

from surefoot.brokers.broker import Configure, Get
from surefoot.client import foreign, look
from surefoot.client.dead import DeadLetters
from surefoot.client.drafts import many_drafts, one_draft
from surefoot.client.handle import JobHandle
from surefoot.client.intake import BeforeEnqueue, Intake
from surefoot.client.limits import Concurrency, Rate
from surefoot.client.operation import Ask, Steps, operation, twin
from surefoot.client.options import check_options, reserved, reserved_events
from surefoot.client.records import Attempt, Change, CronInfo, Minute, Stats, WorkerInfo, attempts_of, job_of, stats_of
from surefoot.client.registry import Defaults, Registry
from surefoot.client.schedules import Schedule
from surefoot.client.store import Resident
from surefoot.client.store import configure as configure
from surefoot.client.task import (
    AsyncTask,
    CronOptions,
    Implementation,
    Known,
    SyncTask,
    Task,
    TaskDecorator,
    TaskOptions,
)
from surefoot.client.who import who
from surefoot.core.errors import ConfigError, Seconds
from surefoot.core.events import Event, Explanation
from surefoot.core.job import Draft, Job
from surefoot.core.names import Priority, State
from surefoot.core.retry import Retry
from surefoot.core.spec import Spec

P = ParamSpec("P")
R = TypeVar("R")

Overlap = Literal["skip", "queue", "allow"]


class Queue(Resident):
    """One named queue in one store; what producers hold. Cheap to make: nothing is opened before the first use.

    `retry`, `timeout` and `keep_result` (seconds) are defaults for its tasks. `max_length` counts scheduled, pending
    and parked jobs; `when_full` refuses ("reject") or tries for 30 s ("wait"). `before_enqueue`: functions of drafts.
    """

    @check_options("Queue")
    def __init__(
        self,
        url: str | None = None,
        *,
        name: str = "default",
        namespace: str | None = None,
        retry: Retry | None = None,
        timeout: Seconds | None = None,
        keep_result: Seconds | None = None,
        max_length: int | None = None,
        when_full: Literal["reject", "wait"] = "reject",
        durable: int = 0,
        before_enqueue: Sequence[BeforeEnqueue] = (),
    ) -> None:
        if max_length is not None:
            look.count_of("Queue", max_length, "max_length")
        if when_full not in ("reject", "wait"):
            raise ConfigError(f'Queue(when_full={when_full!r}): give "reject" or "wait".')
        super().__init__(name, url, namespace, durable)
        self._registry = Registry(self, Defaults(retry=retry, timeout=timeout, keep_result=keep_result))
        self._intake = Intake(
            self,
            max_length=max_length,
            when_full=when_full,
            durable=durable,
            within=lambda: self.sessions.timeout,
            before_enqueue=before_enqueue,
        )
        self._dead = DeadLetters(self)

    def __repr__(self) -> str:
        return f"<Queue {self._name}>"

    if not TYPE_CHECKING:  # a type checker must not believe that a queue has every attribute

        def __getattr__(self, word: str) -> NoReturn:
            if word in foreign.QUEUE and "_name" in self.__dict__:
                raise foreign.no_such("queue", word, foreign.QUEUE, queue=self._name)
            raise AttributeError(f"'Queue' object has no attribute {word!r}", name=word, obj=self)

    @property
    def tasks(self) -> Mapping[str, Task[..., Any]]:
        """The tasks that are registered or declared here, by name."""
        return MappingProxyType(self._registry.tasks)

    @property
    def dead(self) -> DeadLetters:
        """The jobs that will not be tried again by themselves."""
        return self._dead

    @property
    def registry(self) -> Registry:
        """What a worker serves of this queue."""
        return self._registry

    @property
    def specs(self) -> Mapping[str, Spec]:
        """The tasks whose code is here, by every name."""
        return self._registry.specs

    @property
    def declared(self) -> Mapping[str, Spec]:
        """The tasks whose code is elsewhere."""
        return self._registry.declared

    # Registering. A coroutine function is a Callable too: the overloads overlap on purpose, and the first fit wins.

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    @overload
    def task(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def task(
        self,
        /,
        *,
        name: str | None = None,
        aliases: Sequence[str] = (),
        retry: Retry | None = None,
        timeout: Seconds | None = None,
        executor: Literal["loop", "thread", "process"] | None = None,
        priority: Priority | None = None,
        expires: Seconds | None = None,
        keep_result: Seconds | None = None,
        heartbeat: Seconds | None = None,
        limits: Sequence[Concurrency | Rate] = (),
        on_dead: Callable[[Job], object] | None = None,
        schema: int = 1,
        upcast: Callable[[int, dict[str, Any]], dict[str, Any]] | None = None,
    ) -> TaskDecorator: ...
    def task(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Make a function a task, bare or with options: `@queue.task`, `@queue.task(timeout=30)`."""
        if function is not None:
            return self._registry.task(function, options)
        return lambda function: self._registry.task(function, options)

    def cron(
        self,
        expression: str,
        *,
        name: str | None = None,
        timezone: str = "UTC",
        overlap: Overlap = "skip",
        catch_up: Seconds = 3600,
        **options: Unpack[TaskOptions],
    ) -> TaskDecorator:
        """Make a function a task that recurs by a cron line. Ticks missed by more than `catch_up` s are skipped."""
        line = CronOptions(
            expression=expression, name=name or "", timezone=timezone, overlap=overlap, catch_up=catch_up
        )
        return cast("TaskDecorator", lambda function: self._registry.cron(function, line, options))

    def every(
        self,
        interval: Seconds,
        *,
        name: str | None = None,
        overlap: Overlap = "skip",
        **options: Unpack[TaskOptions],
    ) -> TaskDecorator:
        """Make a function a task that recurs at the multiples of `interval` seconds since the epoch."""
        line = CronOptions(expression="", name=name or "", timezone="UTC", overlap=overlap, catch_up=3600)
        return cast("TaskDecorator", lambda function: self._registry.every(function, interval, line, options))

    @overload
    def declare(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    @overload
    def declare(self, function: Callable[P, R], /) -> SyncTask[P, R]: ...
    @overload
    def declare(self, /, *, name: str | None = None) -> TaskDecorator: ...
    def declare(self, function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
        """Make a signature a task whose code is elsewhere: a worker's module implements it."""
        if function is not None:
            return self._registry.declare(function, name)
        return lambda function: self._registry.declare(function, name)

    def implement(self, task: Task[P, R], /, **options: Unpack[TaskOptions]) -> Implementation[P, R]:
        """Give a declared task its code; the signatures must agree."""
        return cast("Implementation[P, R]", lambda function: self._registry.implement(task, function, options))

    def add(self, task: Task[P, R], /) -> None:
        """Serve another queue's task here too, options and all; its crons stay there."""
        self._registry.add(task)

    def by_name(self, task: str) -> Task[..., Any]:
        """A task by its name: keyword arguments only; they are checked only if it is registered here."""
        return self._registry.by_name(task)

    def serves(self, known: Known) -> bool:
        """Whether this very task is registered here."""
        found = self._registry.tasks.get(known.name)
        return known.queue is self or (found is not None and found.known is known)

    def schedule(self, known: Known, line: CronOptions) -> Schedule[...]:
        """What `task.cron` asks for."""
        return self._registry.schedule(known, line)

    # Producing.

    def storing(self, draft: Draft[R]) -> Steps[JobHandle[R]]:
        """The steps of an enqueue."""
        return self._intake.one(draft)

    @operation
    @one_draft
    def enqueue(self, draft: Draft[R], /) -> Steps[JobHandle[R]]:
        """Store one job. When this returns, the store has it; enqueueing the same draft again stores it once."""
        return self._intake.one(draft)

    enqueue_sync = twin(enqueue)

    @operation
    @many_drafts
    def enqueue_many(self, drafts: Iterable[Draft[R]], /) -> Steps[list[JobHandle[R]]]:
        """Store jobs in their order, 500 or 4 MiB a round trip; each is stored or refused by itself."""
        return self._intake.many(drafts)

    enqueue_many_sync = twin(enqueue_many)

    # Looking and steering.

    def handle(self, id: str) -> JobHandle[Any]:
        """A handle for an id that was kept somewhere. Asks nothing."""
        return JobHandle(self, id)

    @operation
    def get(self, id: str) -> Steps[Job | None]:
        """All that is known of a job; None if the store does not know it, or no longer."""
        [[record]] = yield Ask((Get(self.full_name, (id,)),))
        return None if record is None else job_of(record, self._name, self.specs)

    get_sync = twin(get)

    @operation
    def attempts(self, id: str) -> Steps[list[Attempt]]:
        """What went wrong with a job, newest first: the last ten errors, each with its start, end and worker."""
        [[record]] = yield Ask((Get(self.full_name, (id,)),))
        return [] if record is None else attempts_of(record)

    attempts_sync = twin(attempts)

    @operation
    def find(
        self,
        *,
        state: State | None = None,
        task: str | None = None,
        key: str | None = None,
        group: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
    ) -> Steps[list[Job]]:
        """Jobs, newest first in each state; no state: one after the other. `since` and `until` are of the enqueue.

        Reads at most 10,000 records. `key` needs `task`.
        """
        if group is not None:
            raise reserved("find", "group", "task=", group)
        return look.find(self, state=state, task=task, key=key, since=since, until=until, limit=limit)

    find_sync = twin(find)

    @operation
    def cancel(
        self,
        *ids: str,
        task: str | None = None,
        group: str | None = None,
        everything: bool = False,
        reason: str | None = None,
    ) -> Steps[int]:
        """End jobs: waiting ones at once, running ones are asked; how many. By ids, or by task, or everything=True."""
        if group is not None:
            raise reserved("cancel", "group", "task=", group)
        return look.cancel(self, ids, task=task, everything=everything, reason=reason)

    cancel_sync = twin(cancel)

    @operation
    def explain(self, id: str) -> Steps[Explanation]:
        """Why a job is where it is. JobNotFound if the store does not know it."""
        return look.explain_job(self, id)

    explain_sync = twin(explain)

    @operation
    def stats(self) -> Steps[Stats]:
        """The queue in numbers."""
        return stats_of((yield from look.ask_stats(self)))

    stats_sync = twin(stats)

    @operation
    def history(self, minutes: int = 60, *, hours: int | None = None) -> Steps[list[Minute]]:
        """What happened in the last minutes (at most 1,440), or hours (at most 720), oldest first; quiet ones are left
        out.
        """
        return look.history(self, minutes, hours)

    history_sync = twin(history)

    @operation
    def workers(self) -> Steps[list[WorkerInfo]]:
        """The workers seen in the last 45 s."""
        return look.workers(self)

    workers_sync = twin(workers)

    @operation
    def changes(self, limit: int = 100) -> Steps[list[Change]]:
        """The last changes by hand (1,000 are kept), newest first: pauses, cancels, requeues, edits, deletions."""
        return look.changes(self, limit)

    changes_sync = twin(changes)

    @operation
    def pause(self, reason: str | None = None) -> Steps[None]:
        """Hold the queue's work until `resume`; running jobs go on. Survives restarts."""
        yield Ask((Configure(self.full_name, paused=reason or "", who=who()),))

    pause_sync = twin(pause)

    @operation
    def resume(self) -> Steps[None]:
        """Let work go on."""
        yield Ask((Configure(self.full_name, paused=None, who=who()),))

    resume_sync = twin(resume)

    @operation
    def crons(self) -> Steps[list[CronInfo]]:
        """The cron entries that living workers have in their code."""
        return look.crons(self, self._registry.crons)

    crons_sync = twin(crons)

    @operation
    def pause_cron(self, name: str) -> Steps[None]:
        """Hold one cron entry until `resume_cron`."""
        return look.pause_cron(self, self._registry.crons, name, "")

    pause_cron_sync = twin(pause_cron)

    @operation
    def resume_cron(self, name: str) -> Steps[None]:
        """Let a cron entry go on."""
        return look.pause_cron(self, self._registry.crons, name, None)

    resume_cron_sync = twin(resume_cron)

    def events(self) -> AsyncIterator[Event]:
        """Reserved."""
        raise reserved_events("queue")
