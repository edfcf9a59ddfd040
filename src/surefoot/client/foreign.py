"""Methods that hands of other libraries type, and what is written here. Words of options stand in options.py."""

from collections.abc import Mapping
from typing import Final

TASK: Final[Mapping[str, str]] = {
    "delay": "await {task}.enqueue(...)",
    "kiq": "await {task}.enqueue(...)",
    "apply_async": "await {task}.options(delay=...).enqueue(...)",
    "send": "await {task}.enqueue(...), or {task}.enqueue_sync(...)",
    "send_with_options": "await {task}.options(delay=...).enqueue(...)",
    "delay_on_commit": "surefoot.integrations.django.on_commit({task}.draft(...))",
    "apply": "{task}(...) to call it here",
    "call_local": "{task}(...) to call it here",
    "s": "{task}.draft(...)",
    "si": "{task}.draft(...)",
    "signature": "{task}.draft(...)",
    "message": "{task}.draft(...)",
    "message_with_options": "{task}.options(...).draft(...)",
    "kicker": "{task}.options(...)",
    "using": "{task}.options(...)",
    "configure": "{task}.options(...)",
    "enqueue_in": "await {task}.options(delay=...).enqueue(...)",
    "enqueue_at": "await {task}.options(at=...).enqueue(...)",
    "schedule": "await {task}.options(delay=...).enqueue(...)",
    "schedule_by_time": "await {task}.options(at=...).enqueue(...)",
    "schedule_by_cron": '{task}.cron("0 6 * * *", name="...").with_args(...)',
    "schedule_by_interval": "@{queue}.every(seconds) above the function",
    "defer": "await {task}.enqueue(...)",
    "submit": "await {task}.enqueue(...)",
    "map": "await {queue}.enqueue_many([{task}.draft(one) for one in many])",
    "starmap": "await {queue}.enqueue_many([{task}.draft(*one) for one in many])",
    "chunks": "await {queue}.enqueue_many([{task}.draft(some) for some in chunks])",
    "then": "await other.enqueue(...) at the end of {task}",
    "revoke": 'await {queue}.cancel(task="{name}")',
    "restore": "await {queue}.pause() and await {queue}.resume(): what was cancelled stays so",
    "retry": "`raise RetryLater(seconds)` inside the task",
    "request": "current_job() inside the task",
    "update_state": "current_job().progress(done, total) inside the task",
    "AsyncResult": "{task}.handle(id)",
}

HANDLE: Final[Mapping[str, str]] = {
    "get": "await {job}.result(timeout=...)",
    "wait_result": "await {job}.result(timeout=...)",
    "get_result": "await {job}.result(timeout=...)",
    "return_value": "await {job}.result(timeout=...)",
    "ready": "await {job}.status()",
    "state": "await {job}.status()",
    "get_status": "await {job}.status()",
    "refresh": "await {job}.job(): every question is asked of the store",
    "revoke": "await {job}.cancel()",
    "abort": "await {job}.cancel()",
}

QUEUE: Final[Mapping[str, str]] = {
    "enqueue_in": "await task.options(delay=...).enqueue(...)",
    "enqueue_at": "await task.options(at=...).enqueue(...)",
    "enqueue_job": 'await {queue}.by_name("...").enqueue(...)',
    "send_task": 'await {queue}.by_name("...").enqueue(...)',
    "actor": "@{queue}.task",
    "periodic_task": "@{queue}.cron(...), or @{queue}.every(...)",
}


def no_such(thing: str, word: str, table: Mapping[str, str], **names: str) -> AttributeError:
    """`a task has no delay(); write await welcome.enqueue(...).`"""
    return AttributeError(f"a {thing} has no {word}(); write {table[word].format(**names)}.")
