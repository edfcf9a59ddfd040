"""The surefoot tasks behind Django's tasks: one queue for each of its own, two tasks on it."""

import functools
from asyncio import CancelledError
from traceback import format_exception
from typing import Any, Final, Protocol

import msgspec
from django.utils import timezone

from surefoot.brokers.answers import Record
from surefoot.brokers.broker import Get
from surefoot.client.queue import Queue
from surefoot.core.errors import Cancel, Reject, Snooze
from surefoot.core.retry import Retry
from surefoot.execution.context import JobContext, current_job
from surefoot.integrations.django.interface import base, normalize_json, signals, task_backends
from surefoot.integrations.django.results import UNKNOWN_WORKER, Work, as_result, new_result, set_facts

PLAIN: Final = "django_task"
ASYNC: Final = "django_async_task"


class Backend(Protocol):
    """What a run sees of SurefootBackend."""

    def queue_of(self, name: str) -> Queue: ...


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One of Django's queues: the surefoot queue behind it, and how its jobs are kept and tried. Seconds."""

    name: str
    url: str | None
    namespace: str | None
    keep_result: float
    max_attempts: int
    timeout: float


@functools.cache
def queue_at(place: Place) -> Queue:
    """The queue, the same for every backend object of a process: Django makes one a thread."""
    queue = Queue(place.url, name=place.name, namespace=place.namespace)
    retry = Retry(max_attempts=place.max_attempts)
    for name, function in ((PLAIN, django_task), (ASYNC, django_async_task)):
        queue.task(name=name, retry=retry, keep_result=place.keep_result, timeout=place.timeout)(function)
    return queue


def django_task(work: Work) -> Any:
    """Runs a plain function in a thread."""
    run = _Run(work)
    run.begin(None if run.first else run.queue.sessions.ask_sync([run.asked])[0][0])
    signals.task_started.send_robust(run.sender, task_result=run.result)
    try:
        value = normalize_json(run.task.call(*run.args, **work.kwargs))
    except BaseException as error:
        if run.failed(error):
            signals.task_finished.send_robust(run.sender, task_result=run.result)
        raise
    run.succeeded(value)
    signals.task_finished.send_robust(run.sender, task_result=run.result)
    return value


async def django_async_task(work: Work) -> Any:
    """Runs a coroutine function on the worker's loop."""
    run = _Run(work)
    run.begin(None if run.first else (await run.queue.sessions.ask([run.asked]))[0][0])
    await signals.task_started.asend_robust(run.sender, task_result=run.result)
    try:
        value = normalize_json(await run.task.acall(*run.args, **work.kwargs))
    except BaseException as error:
        if run.failed(error):
            await signals.task_finished.asend_robust(run.sender, task_result=run.result)
        raise
    run.succeeded(value)
    await signals.task_finished.asend_robust(run.sender, task_result=run.result)
    return value


class _Run:
    """One run of a function, and the TaskResult that it and the signals see. Asks no store itself."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._job: JobContext = current_job()
        self.task = work.task()
        self.first = self._job.attempt == 1
        backend: Any = task_backends[work.backend]
        self.sender: type[Any] = type(backend)
        self.queue: Queue = backend.queue_of(work.queue_name)
        self.result: base.TaskResult[Any]
        self.args: list[Any]

    @property
    def asked(self) -> Get:
        """What the store is asked before any run but the first: who ran it before, and how that ended."""
        return Get(self.queue.full_name, (self._job.id,))

    def begin(self, record: Record | None) -> None:
        """The run begins."""
        work, job, now = self._work, self._job, timezone.now()
        if record is None:
            before = [UNKNOWN_WORKER] * (job.attempt - 1)
            self.result = new_result(self.task, job.id, work.args, work.kwargs, work.backend)
            set_facts(self.result, started_at=now, worker_ids=[*before, job.worker])
        else:
            self.result = as_result(record, work)
        set_facts(self.result, status=base.TaskResultStatus("RUNNING"), last_attempted_at=now)
        context = [base.TaskContext(task_result=self.result)] if self.task.takes_context else []
        self.args = [*context, *self.result.args]

    def succeeded(self, value: Any) -> None:
        """The function returned."""
        self._ended("SUCCESSFUL")
        set_facts(self.result, _return_value=value)

    def failed(self, error: BaseException) -> bool:
        """The function raised; whether that is the end of the job."""
        kind = type(error)
        told = base.TaskError(
            exception_class_path=f"{kind.__module__}.{kind.__qualname__}", traceback="".join(format_exception(error))
        )
        self.result.errors.append(told)
        if isinstance(error, (Snooze, CancelledError)):
            return False
        if not self._job.last_attempt and not isinstance(error, (Reject, Cancel)):
            return False
        self._ended("FAILED")
        return True

    def _ended(self, status: str) -> None:
        set_facts(self.result, status=base.TaskResultStatus(status), finished_at=timezone.now())
