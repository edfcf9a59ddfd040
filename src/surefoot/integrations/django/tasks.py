"""SurefootBackend: Django's tasks (`django.tasks`, or django-tasks before Django 6) run by surefoot's workers.

A worker serves them with `manage.py surefoot worker surefoot.integrations.django.queues`.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from inspect import iscoroutinefunction
from typing import Any, Final

from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.utils import timezone
from msgspec.structs import replace

from surefoot.brokers.answers import Record
from surefoot.brokers.broker import Get
from surefoot.client.queue import Queue
from surefoot.core.errors import ConfigError, SyncInsideLoop
from surefoot.core.job import Draft
from surefoot.core.names import did_you_mean, is_id
from surefoot.integrations.django.interface import BaseTaskBackend, base, exceptions, signals
from surefoot.integrations.django.results import Work, as_result, new_result, work_in
from surefoot.integrations.django.runner import ASYNC, PLAIN, Place, queue_at

_DEFAULTS: Final[Mapping[str, Any]] = {
    "url": None, "namespace": None, "keep_result": 3600, "max_attempts": 1, "timeout": 3600,
}  # fmt: skip


class SurefootBackend(BaseTaskBackend):
    """A backend for Django's setting TASKS. Each of its QUEUES is a surefoot queue, `django.<name>`.

    OPTIONS: `url` and `namespace` of the store, if not those of the setting SUREFOOT; `keep_result`, seconds for which
    a result can be had (3600; a failed one until its dead letter is deleted); `max_attempts` of a function that raises
    (1); `timeout` of one run in seconds (3600).
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        for word in self.options:
            if word not in _DEFAULTS:
                near = did_you_mean(word, _DEFAULTS) or "."
                raise ConfigError(
                    f"TASKS[{alias!r}]['OPTIONS'] has no option {word!r}{near} Known: {', '.join(_DEFAULTS)}."
                )

    def queue_of(self, name: str) -> Queue:
        """The surefoot queue behind one of QUEUES."""
        shown = name if self.alias == base.DEFAULT_TASK_BACKEND_ALIAS else f"{self.alias}.{name}"
        return queue_at(Place(name=f"django.{shown}", **{**_DEFAULTS, **self.options}))

    @property
    def surefoot_queues(self) -> list[Queue]:
        """What a worker serves for this backend."""
        return [self.queue_of(name) for name in sorted(self.queues)]

    def enqueue(self, task: "base.Task[..., Any]", args: Any, kwargs: Any) -> "base.TaskResult[Any]":
        """Store a job that calls the function. It waits for no transaction: for that use transaction.on_commit."""
        if asyncio._get_running_loop() is not None:
            raise SyncInsideLoop(
                f"{task.name}.enqueue() would block the event loop that is running here; write "
                f"`await {task.name}.aenqueue(...)`."
            )
        self.validate_task(task)
        draft, result = self._prepared(task, args, kwargs)
        self.queue_of(task.queue_name).enqueue_sync(draft)
        signals.task_enqueued.send_robust(type(self), task_result=result)
        return result

    async def aenqueue(self, task: "base.Task[..., Any]", args: Any, kwargs: Any) -> "base.TaskResult[Any]":
        """The same, awaited."""
        self.validate_task(task)
        draft, result = self._prepared(task, args, kwargs)
        await self.queue_of(task.queue_name).enqueue(draft)
        await signals.task_enqueued.asend_robust(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> "base.TaskResult[Any]":
        """All that the store knows of a job; TaskResultDoesNotExist if it knows none, or no longer."""
        asked = self._asked(result_id)
        sessions = self.surefoot_queues[0].sessions
        return self._found(result_id, [one for [one] in sessions.ask_sync(asked)])

    async def aget_result(self, result_id: str) -> "base.TaskResult[Any]":
        """The same, awaited."""
        asked = self._asked(result_id)
        sessions = self.surefoot_queues[0].sessions
        return self._found(result_id, [one for [one] in await sessions.ask(asked)])

    def check(self, **kwargs: Any) -> Iterator[CheckMessage]:
        """What is wrong with the settings. Opens no store."""
        where = f"TASKS[{self.alias!r}]"
        if not apps.is_installed("surefoot.integrations.django"):
            hint = 'Add "surefoot.integrations.django" to INSTALLED_APPS.'
            yield Error(f"{where}: surefoot is no installed application.", hint=hint, id="surefoot.E001")
        if not self.queues:
            hint = "Name them: a worker must know which queues it serves."
            yield Error(f"{where} has an empty QUEUES.", hint=hint, id="surefoot.E002")
        try:
            for queue in self.surefoot_queues:
                queue.broker  # noqa: B018  # looked up, and not opened
        except ConfigError as fault:
            hint = 'Set SUREFOOT = {"url": ...}, or SUREFOOT_URL.'
            yield Error(f"{where}: {fault}", hint=hint, id="surefoot.E003")

    def _prepared(
        self, task: "base.Task[..., Any]", args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> "tuple[Draft[Any], base.TaskResult[Any]]":
        """The job, and what its caller is told of it."""
        known = self.queue_of(task.queue_name).tasks[ASYNC if iscoroutinefunction(task.func) else PLAIN]
        run_after = task.run_after
        if run_after is not None and timezone.is_naive(run_after):
            run_after = timezone.make_aware(run_after)
        result = new_result(task, "", args, kwargs, self.alias)  # makes plain JSON of the arguments, or refuses them
        work = Work(
            path=task.module_path, args=result.args, kwargs=result.kwargs, backend=self.alias,
            queue_name=task.queue_name, priority=int(task.priority), run_after=run_after,
        )  # fmt: skip
        draft = known.options(at=run_after).draft(work)
        level = min(9, max(1, 5 - round(task.priority / 25)))
        return replace(draft, priority=level), new_result(task, draft.id, args, kwargs, self.alias)

    def _asked(self, id: str) -> list[Get]:
        """A result's id does not say in which queue it is."""
        if not is_id(id) or not self.queues:
            raise exceptions.TaskResultDoesNotExist(id)
        return [Get(queue.full_name, (id,)) for queue in self.surefoot_queues]

    def _found(self, id: str, records: Sequence[Record | None]) -> "base.TaskResult[Any]":
        for record in records:
            work = None if record is None else work_in(record.body)
            if record is not None and work is not None:
                return as_result(record, work)
        raise exceptions.TaskResultDoesNotExist(id)
