"""The tasks and crons of one queue: registered when their modules are imported, read by the engine."""

import inspect
import weakref
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final, cast

import msgspec

from surefoot.client.options import refuse_reserved, refuse_unknown
from surefoot.client.places import module_name, place, same
from surefoot.client.schedules import CronEntry, Schedule, check_entry
from surefoot.client.task import (
    AsyncTask,
    CronOptions,
    Known,
    SyncTask,
    Task,
    TaskQueue,
    bind_anything,
    milliseconds,
    priority_number,
)
from surefoot.core.errors import ConfigError, DuplicateTask, Seconds, TaskDefinitionError, UsageError
from surefoot.core.job import Job
from surefoot.core.names import NAME_RULE, NORMAL_PRIORITY, ON_DEAD_SUFFIX, is_name
from surefoot.core.retry import Retry
from surefoot.core.schedule import Schedule as Ticks
from surefoot.core.schedule import every, parse_cron
from surefoot.core.signature import Signature
from surefoot.core.spec import Spec
from surefoot.core.transition import KEEP_MS

TASK_OPTIONS: Final = frozenset(
    "name aliases retry timeout executor priority expires keep_result heartbeat limits on_dead schema upcast".split()
)
_LINE_OPTIONS: Final = {"cron": frozenset({"timezone", "overlap", "catch_up"}), "every": frozenset({"overlap"})}
"""What besides a task's options may be meant by an unknown word of these two."""

TIMEOUT_MS: Final = 3_600_000

_EXECUTORS: Final = ("loop", "thread", "process")


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """What a queue says for tasks that do not say it themselves."""

    retry: Retry | None = None
    timeout: Seconds | None = None
    keep_result: Seconds | None = None


class Registry:
    """What one queue serves.

    `specs`: every name (aliases, `:on_dead`) to its Spec; `declared`: tasks whose code is elsewhere; `on_dead`: the
    users' functions by task; `crons`: the entries, in the order of their registration.
    """

    def __init__(self, queue: TaskQueue, defaults: Defaults) -> None:
        self._queue = queue
        self._defaults = defaults
        _registries.add(self)
        self.tasks: dict[str, Task[..., Any]] = {}
        self.specs: dict[str, Spec] = {}
        self.declared: dict[str, Spec] = {}
        self.on_dead: dict[str, Callable[[Job], object]] = {}
        self._crons: dict[str, CronEntry] = {}

    @property
    def queue(self) -> TaskQueue:
        """The queue that is served."""
        return self._queue

    @property
    def crons(self) -> tuple[CronEntry, ...]:
        """The cron entries."""
        return tuple(self._crons.values())

    def task(self, function: Callable[..., Any], options: Mapping[str, Any], door: str = "task") -> Task[..., Any]:
        """Register a function under its name."""
        refuse_unknown(door, options, TASK_OPTIONS | _LINE_OPTIONS.get(door, frozenset()))
        refuse_reserved(door, options)
        name = self._checked_name(function, options, door)
        signature = Signature(function, task=name, explicit_name=options.get("name") is not None)
        return self._register(function, signature, options, door)

    def declare(self, function: Callable[..., Any], name: str | None) -> Task[..., Any]:
        """Register a signature whose code is elsewhere."""
        options = {"name": name}
        checked = self._checked_name(function, options, "declare")
        signature = Signature(function, task=checked, explicit_name=name is not None)
        spec = Spec(
            name=checked, function=function, signature=signature, executor="loop" if signature.is_async else "thread"
        )
        before = self.tasks.get(checked)
        if before is not None and not _same_function(before, function):
            raise self._duplicate(checked, before, function)
        known = Known(name=checked, queue=self._queue, bind=signature.bind, spec=spec, declared=True)
        if checked not in self.specs:
            self.declared[checked] = spec
        return self._keep(known, function)

    def implement(
        self, task: Task[..., Any], function: Callable[..., Any], options: Mapping[str, Any]
    ) -> Task[..., Any]:
        """Give a declared task its code."""
        refuse_unknown("implement", options, TASK_OPTIONS - {"name"})
        refuse_reserved("implement", options)
        declared = task.known.spec
        if task.known.queue is not self._queue or declared is None or not task.known.declared:
            raise UsageError(
                f"{task.name} is not declared on queue '{self._queue.name}': write @{self._queue.name}.declare first."
            )
        _refuse_task(function)
        before = self.specs.get(task.name)
        if before is not None and not same(before.function, function):
            raise self._duplicate(task.name, before.function, function)
        signature = Signature(function, task=task.name, explicit_name=True)
        difference = signature.matches(declared.signature)
        if difference is not None:
            raise TaskDefinitionError(difference)
        self.tasks.pop(task.name, None)
        made = self._register(function, signature, {**options, "name": task.name}, "implement")
        self.declared.pop(task.name, None)
        return made

    def add(self, task: Task[..., Any]) -> None:
        """Serve another queue's task here too."""
        known = task.known
        if known.spec is None:
            raise UsageError(f"{known.name} is only a name here; add the task itself.")
        before = self.tasks.get(known.name)
        if before is not None and before.known is not known:
            raise self._duplicate(known.name, before, known.spec.function)
        self.tasks[known.name] = task
        if known.declared:
            self.declared[known.name] = known.spec
            return
        self._serve(known, known.spec)

    def by_name(self, name: str) -> Task[..., Any]:
        """The task of this name; one that is not registered here takes any arguments by name."""
        found = self.tasks.get(name)
        if found is not None:
            return found
        if not is_name(name):
            raise ConfigError(f"by_name({name!r}): a task's name has {NAME_RULE}.")
        return Task(Known(name=name, queue=self._queue, bind=bind_anything(name), spec=None), None)

    def cron(self, function: Callable[..., Any], line: CronOptions, options: Mapping[str, Any]) -> Task[..., Any]:
        """Register a function and its cron line; on a task that exists already, one more line."""
        return self._recurring(function, parse_cron(line.expression, line.timezone), line, options, "cron")

    def every(
        self, function: Callable[..., Any], interval: Seconds, line: CronOptions, options: Mapping[str, Any]
    ) -> Task[..., Any]:
        """Register a function that runs at the multiples of an interval."""
        return self._recurring(function, every(interval), line, options, "every")

    def schedule(self, known: Known, line: CronOptions) -> Schedule[...]:
        """A further cron line of a task; it counts once it has its arguments."""
        ticks = parse_cron(line.expression, line.timezone)

        def add(payload: bytes) -> None:
            self._add_entry(known, ticks, line, payload, "cron")

        def bind(*args: Any, **kwargs: Any) -> bytes:
            return known.bind(args, kwargs)

        check_entry("cron", line.name, line.overlap, line.catch_up)
        return Schedule(add, bind)

    def _recurring(
        self, function: Any, ticks: Ticks, line: CronOptions, options: Mapping[str, Any], door: str
    ) -> Task[..., Any]:
        if isinstance(function, Task):
            if options:
                raise UsageError(f"{function.name} is a task already: its options stand there; here only the schedule.")
            task: Task[..., Any] = function
        else:
            named = {**options, "name": line.name or None}
            task = self.task(function, named, door)
        spec = task.known.spec
        if spec is not None and spec.signature.required:
            needed = ", ".join(f"'{name}'" for name in spec.signature.required)
            raise TaskDefinitionError(
                f"{task.spoken} cannot recur: {needed} has no default; give it one, or write "
                f'{task.spoken}.cron(..., name="...").with_args(...).'
            )
        self._add_entry(task.known, ticks, line, b"{}", door)
        return task

    def _add_entry(self, known: Known, ticks: Ticks, line: CronOptions, payload: bytes, door: str) -> None:
        name = line.name or known.name
        catch_up_ms = check_entry(door, name, line.overlap, line.catch_up)
        before = self._crons.get(name)
        if before is not None and before.task != known.name:
            raise DuplicateTask(
                f"two cron entries of queue '{self._queue.name}' are named '{name}': of {before.task} and of "
                f"{known.name}. Give one of them another name=."
            )
        self._crons[name] = CronEntry(
            name=name, task=known.name, schedule=ticks, overlap=line.overlap, catch_up_ms=catch_up_ms, payload=payload,
            priority=known.priority if line.priority is None else line.priority,
            schema=1 if known.spec is None else known.spec.schema,
        )  # fmt: skip

    def _register(
        self, function: Callable[..., Any], signature: Signature, options: Mapping[str, Any], door: str
    ) -> Task[..., Any]:
        name = signature.task
        before = self.tasks.get(name)
        if before is not None and (before.known.declared or not _same_function(before, function)):
            raise self._duplicate(name, before, function)
        spec = self._spec(function, signature, options, door)
        aliases = _aliases(options.get("aliases"), door)
        for alias in aliases:
            owner = self.specs.get(alias)
            if owner is not None and owner.name != name:
                raise self._duplicate(alias, owner.function, function)
        priority = options.get("priority")
        known = Known(
            name=name, queue=self._queue, bind=signature.bind, spec=spec, aliases=aliases,
            priority=NORMAL_PRIORITY if priority is None else priority_number(priority, door),
            on_dead=options.get("on_dead"),
        )  # fmt: skip
        self._serve(known, spec)
        return self._keep(known, function)

    def _serve(self, known: Known, spec: Spec) -> None:
        """Every name of a task, and the job that is told of its deaths: it asks this queue for the dead one."""
        if known.on_dead is not None:
            self._serve_on_dead(known.name, known.on_dead)
        for each in (known.name, *known.aliases):
            self.specs[each] = spec

    def _keep(self, known: Known, function: Callable[..., Any]) -> Task[..., Any]:
        assert known.spec is not None
        kind: type[Task[..., Any]] = AsyncTask if known.spec.signature.is_async else SyncTask
        task = self.tasks[known.name] = kind(known, function)
        return task

    def _spec(self, function: Callable[..., Any], signature: Signature, options: Mapping[str, Any], door: str) -> Spec:
        def given(word: str) -> Any:
            own = options.get(word)
            return own if own is not None else getattr(self._defaults, word, None)

        retry, timeout, keep = given("retry"), given("timeout"), given("keep_result")
        expires, schema = options.get("expires"), options.get("schema")
        if retry is not None and not isinstance(retry, Retry):
            raise ConfigError(f"{door}(retry={retry!r}): give a Retry, for example retry=Retry(max_attempts=5).")
        if schema is not None and (not isinstance(schema, int) or isinstance(schema, bool) or schema < 1):
            raise ConfigError(f"{door}(schema={schema!r}): give a whole number >= 1.")
        own_keep_ms = 0 if signature.returns_none else KEEP_MS
        return Spec(
            name=signature.task,
            function=function,
            signature=signature,
            executor=_executor(function, signature, options.get("executor"), door),
            schema=1 if schema is None else schema,
            upcast=options.get("upcast"),
            retry=Retry() if retry is None else retry,
            timeout_ms=TIMEOUT_MS if timeout is None else milliseconds(timeout, "timeout"),
            expires_ms=None if expires is None else milliseconds(expires, "expires"),
            keep_ms=own_keep_ms if keep is None else milliseconds(keep, "keep_result", least=0),
            has_on_dead=options.get("on_dead") is not None,
        )

    def _serve_on_dead(self, task: str, function: Callable[[Job], object]) -> None:
        """The job `<task>:on_dead` calls the user's function with the dead job, if it is still dead since that run."""
        if not callable(function):
            raise ConfigError(f"task(on_dead={function!r}): give a function that takes the dead Job.")
        name = task + ON_DEAD_SUFFIX
        queue = self._queue
        self.on_dead[task] = function

        async def on_dead(id: str, run: int) -> None:
            job = await queue.get(id)
            if job is not None and job.state == "dead" and job.runs == run:
                await cast("Callable[[Job], Any]", function)(job)

        def on_dead_in_thread(id: str, run: int) -> None:
            job = queue.get_sync(id)
            if job is not None and job.state == "dead" and job.runs == run:
                function(job)

        chosen: Callable[..., object] = on_dead if inspect.iscoroutinefunction(function) else on_dead_in_thread
        self.specs[name] = Spec(
            name=name,
            function=chosen,
            signature=Signature(chosen, task=name, explicit_name=True),
            executor="loop" if chosen is on_dead else "thread",
            keep_ms=0,
        )

    def _checked_name(self, function: Any, options: Mapping[str, Any], door: str) -> str:
        _refuse_task(function)
        given = options.get("name")
        name: Any = getattr(function, "__qualname__", "") if given is None else given
        if given is None and (not name or "<" in name):
            Signature(function, task=str(name))  # says what it is and what to do
        if not is_name(name):
            raise ConfigError(f"{door}(name={name!r}): a task's name has {NAME_RULE}.")
        if options.get("on_dead") is not None and not is_name(name + ON_DEAD_SUFFIX):
            raise ConfigError(f"{door}(name={name!r}): a task with on_dead= has a name of at most 120 letters.")
        return cast("str", name)

    def _duplicate(self, name: str, before: Any, function: Any) -> DuplicateTask:
        old = before.known.spec.function if isinstance(before, Task) and before.known.spec else before
        return DuplicateTask(
            f"two tasks of queue '{self._queue.name}' are named '{name}': {place(old)} and {place(function)}. "
            f'Give one of them name="{module_name(function)}.{name}".'
        )


_registries: Final[weakref.WeakSet[Registry]] = weakref.WeakSet()


def find_spec(queue: str, task: str, module: str, function: str) -> Spec:
    """The task of this name and code, in a process that has loaded nothing yet: imports the module.

    A queue that serves it by `add` may not be there: then the queue that the task comes from has the same Spec.
    """
    import_module(module)
    homes = {module, "__mp_main__"} if module == "__main__" else {module}
    found = [
        (registry.queue.name != queue, spec)
        for registry in list(_registries)
        if (spec := registry.specs.get(task)) is not None
        and spec.function.__module__ in homes
        and spec.function.__qualname__ == function
    ]
    if not found:
        raise ConfigError(f"task '{task}' of queue '{queue}' is not there after {module} was imported again.")
    return min(found, key=lambda one: one[0])[1]


def _refuse_task(function: Any) -> None:
    if isinstance(function, Task):
        raise TaskDefinitionError(
            f"{function.name} is a task already; to serve it on a second queue write queue.add({function.spoken})."
        )


def _executor(function: Any, signature: Signature, executor: Any, door: str) -> Any:
    if executor is None:
        return "loop" if signature.is_async else "thread"
    if executor not in _EXECUTORS:
        raise ConfigError(f'{door}(executor={executor!r}): give "loop", "thread" or "process".')
    name = getattr(function, "__name__", signature.task)
    if executor == "thread" and signature.is_async:
        raise TaskDefinitionError(
            f'{name} is `async def`, which runs on the loop; leave out executor="thread", or make it a plain `def`.'
        )
    if executor == "loop" and not signature.is_async:
        raise TaskDefinitionError(
            f'{name} is a plain `def`, which would block the loop; leave out executor="loop", or make it `async def`.'
        )
    return executor


def _aliases(given: Any, door: str) -> tuple[str, ...]:
    names = () if given is None else (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if not is_name(name):
            raise ConfigError(f"{door}(aliases={given!r}): a task's name has {NAME_RULE}.")
    return names


def _same_function(task: Task[..., Any], function: Any) -> bool:
    spec = task.known.spec
    return spec is not None and same(spec.function, function)
