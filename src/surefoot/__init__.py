"""surefoot: a job queue that does not drop what it carries.

The public names, imported at their first touch: what only enqueues never loads the worker.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from surefoot.client.handle import JobHandle as JobHandle
    from surefoot.client.limits import Concurrency as Concurrency
    from surefoot.client.limits import Rate as Rate
    from surefoot.client.queue import Queue as Queue
    from surefoot.client.records import Stats as Stats
    from surefoot.client.store import configure as configure
    from surefoot.client.task import AsyncTask as AsyncTask
    from surefoot.client.task import SyncTask as SyncTask
    from surefoot.client.task import Task as Task
    from surefoot.core.errors import Cancel as Cancel
    from surefoot.core.errors import ConfigError as ConfigError
    from surefoot.core.errors import DuplicateJob as DuplicateJob
    from surefoot.core.errors import DuplicateTask as DuplicateTask
    from surefoot.core.errors import ErrorInfo as ErrorInfo
    from surefoot.core.errors import InvalidArguments as InvalidArguments
    from surefoot.core.errors import JobCancelled as JobCancelled
    from surefoot.core.errors import JobError as JobError
    from surefoot.core.errors import JobExpired as JobExpired
    from surefoot.core.errors import JobFailed as JobFailed
    from surefoot.core.errors import JobNotFound as JobNotFound
    from surefoot.core.errors import LeaseLost as LeaseLost
    from surefoot.core.errors import NotInJob as NotInJob
    from surefoot.core.errors import NotReplicated as NotReplicated
    from surefoot.core.errors import OutcomeUnknown as OutcomeUnknown
    from surefoot.core.errors import PayloadError as PayloadError
    from surefoot.core.errors import PayloadTooLarge as PayloadTooLarge
    from surefoot.core.errors import QueueFull as QueueFull
    from surefoot.core.errors import Reject as Reject
    from surefoot.core.errors import ResultNotKept as ResultNotKept
    from surefoot.core.errors import ResultTimeout as ResultTimeout
    from surefoot.core.errors import RetryLater as RetryLater
    from surefoot.core.errors import Signal as Signal
    from surefoot.core.errors import Snooze as Snooze
    from surefoot.core.errors import StateMissing as StateMissing
    from surefoot.core.errors import StoreError as StoreError
    from surefoot.core.errors import StoreUnavailable as StoreUnavailable
    from surefoot.core.errors import StoreUnsuitable as StoreUnsuitable
    from surefoot.core.errors import SurefootError as SurefootError
    from surefoot.core.errors import SyncInsideLoop as SyncInsideLoop
    from surefoot.core.errors import TaskDefinitionError as TaskDefinitionError
    from surefoot.core.errors import UsageError as UsageError
    from surefoot.core.events import Event as Event
    from surefoot.core.events import Explanation as Explanation
    from surefoot.core.job import Draft as Draft
    from surefoot.core.job import Job as Job
    from surefoot.core.job import Key as Key
    from surefoot.core.job import Progress as Progress
    from surefoot.core.names import Priority as Priority
    from surefoot.core.names import State as State
    from surefoot.core.retry import Retry as Retry
    from surefoot.execution.context import JobContext as JobContext
    from surefoot.execution.context import current_job as current_job
    from surefoot.execution.context import in_job as in_job
    from surefoot.worker import CallNext as CallNext
    from surefoot.worker import Middleware as Middleware
    from surefoot.worker import Worker as Worker

__version__ = "0.1.0"

_HOMES = {
    "client.handle": "JobHandle",
    "client.limits": "Concurrency Rate",
    "client.queue": "Queue",
    "client.records": "Stats",
    "client.store": "configure",
    "client.task": "AsyncTask SyncTask Task",
    "core.errors": (
        "Cancel ConfigError DuplicateJob DuplicateTask ErrorInfo InvalidArguments JobCancelled JobError JobExpired "
        "JobFailed JobNotFound LeaseLost NotInJob NotReplicated OutcomeUnknown PayloadError PayloadTooLarge "
        "QueueFull Reject ResultNotKept ResultTimeout RetryLater Signal Snooze StateMissing StoreError "
        "StoreUnavailable StoreUnsuitable SurefootError SyncInsideLoop TaskDefinitionError UsageError"
    ),
    "core.events": "Event Explanation",
    "core.job": "Draft Job Key Progress",
    "core.names": "Priority State",
    "core.retry": "Retry",
    "execution.context": "JobContext current_job in_job",
    "worker": "CallNext Middleware Worker",
}
logging.getLogger("surefoot").addHandler(logging.NullHandler())  # a library says nothing where nobody listens

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "AsyncTask", "CallNext", "Cancel", "Concurrency", "ConfigError", "Draft", "DuplicateJob", "DuplicateTask",
    "ErrorInfo", "Event", "Explanation", "InvalidArguments", "Job", "JobCancelled", "JobContext", "JobError",
    "JobExpired", "JobFailed", "JobHandle", "JobNotFound", "Key", "LeaseLost", "Middleware", "NotInJob",
    "NotReplicated", "OutcomeUnknown", "PayloadError", "PayloadTooLarge", "Priority", "Progress", "Queue", "QueueFull",
    "Rate", "Reject", "ResultNotKept", "ResultTimeout", "Retry", "RetryLater", "Signal", "Snooze", "State",
    "StateMissing", "Stats", "StoreError", "StoreUnavailable", "StoreUnsuitable", "SurefootError", "SyncInsideLoop",
    "SyncTask", "Task", "TaskDefinitionError", "UsageError", "Worker", "configure", "current_job", "in_job",
]  # fmt: skip


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'surefoot' has no attribute {name!r}")
    found: object = getattr(import_module(f"surefoot.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
