"""The words of options: which exist, which are reserved, and what the words of other libraries are called here."""

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, ParamSpec, TypeVar

from surefoot.core.errors import ConfigError, UsageError
from surefoot.core.names import did_you_mean

P = ParamSpec("P")
R = TypeVar("R")

_OURS: Final[Mapping[str, str]] = {
    "retries": "retry=Retry(max_attempts={value})",
    "max_retries": "retry=Retry(max_attempts={more})",
    "max_tries": "retry=Retry(max_attempts={value})",
    "max_attempts": "retry=Retry(max_attempts={value})",
    "autoretry_for": "retry=Retry(retry_on=...)",
    "retry_when": "retry=Retry(retry_on=...)",
    "throws": "retry=Retry(give_up_on=...)",
    "retry_backoff": "retry=Retry(base=...)",
    "retry_delay": "retry=Retry(base=...)",
    "default_retry_delay": "retry=Retry(base=...)",
    "min_backoff": "retry=Retry(base=...)",
    "max_backoff": "retry=Retry(cap=...)",
    "retry_backoff_max": "retry=Retry(cap=...)",
    "retry_jitter": "retry=Retry(jitter=...)",
    "time_limit": "timeout={value}",
    "soft_time_limit": "timeout={value}",
    "job_timeout": "timeout={value}",
    "max_age": "expires={value}",
    "ttl": "expires={value}",
    "result_ttl": "keep_result={value}",
    "result_expires": "keep_result={value}",
    "retry_on_error": "retry=Retry(max_attempts=...)",
    "at_front": 'priority="high"',
}
"""Words of other libraries and what they are called here. `{value}` is what was given, `{more}` that number and one."""

_OURS_OF_ONE_JOB: Final[Mapping[str, str]] = {
    "countdown": "delay={value}",
    "_defer_by": "delay={value}",
    "defer_by": "delay={value}",
    "delay": "delay={value}",
    "eta": "at=...",
    "scheduled": "at=...",
    "enqueue_at": "at=...",
    "_defer_until": "at=...",
    "at": "at=...",
    "unique": "key=...",
    "key": "key={value}",
    "_job_id": "key={value}",
    "job_id": "id={value}",
    "task_id": "id={value}",
    "headers": "headers=...",
    "labels": "headers=...",
}
"""The same for what one job says, in `options`."""

_OURS_AT: Final[Mapping[str, Mapping[str, str]]] = {
    "Queue": {"queue_name": "name={value}", "broker": "url={value}", "broker_url": "url={value}"},
    "Worker": {
        "max_jobs": "concurrency={value}",
        "startup": "lifespan=...",
        "on_startup": "lifespan=...",
        "shutdown": "lifespan=...",
        "on_shutdown": "lifespan=...",
    },
    "task": {"actor_name": "name={value}"},
}
"""The same at one door only."""

_SAID: Final[Mapping[str, str]] = {
    "acks_late": "a job is always acknowledged after its run; there is no switch.",
    "reject_on_worker_lost": "a job always survives its worker; there is no switch.",
    "task_reject_on_worker_lost": "a job always survives its worker; there is no switch.",
    "bind": "call current_job() inside the task.",
    "ctx": "call current_job() inside the task.",
    "context": "call current_job() inside the task.",
    "serializer": "arguments travel as JSON; there is no switch.",
    "meta": "headers= travel with the job, and current_job().progress(...) tells how far it is.",
    "schedule": "write @queue.cron(...), or task.cron(...).with_args(...).",
}

_SAID_AT: Final[Mapping[str, Mapping[str, str]]] = {
    "task": {
        "queue": "a task lives on the queue that decorates it: write @other.task.",
        "queue_name": "a task lives on the queue that decorates it: write @other.task.",
    },
    "options": {
        "queue_name": "give the queue itself, which has the task by add: options(queue=other).",
        "actor_name": "a task has one name: write @queue.task(name=...).",
        "schedule": "give delay= or at=.",
    },
    "Worker": {
        "functions": "a worker runs what its queues have: write Worker(mail).",
        "burst": "write worker.run(burst=True).",
    },
}
"""What is said at one door only."""

_DECORATORS: Final = frozenset({"cron", "every", "implement"})
"""Doors where a task is made, as with `task`."""

RESERVED: Final[Mapping[str, str]] = {
    "heartbeat": "timeout=",
    "limits": "a queue of its own and Worker(concurrency=)",
    "group": "headers=",
}
"""Words that are taken and not in this release, and what to use until then."""

_NOT_GIVEN: Final = object()


def unknown_option(door: str, word: str, value: object, known: Collection[str]) -> ConfigError:
    """`task(retries=3): there is no option 'retries'; did you mean retry=Retry(max_attempts=3)?`"""
    head = f"{door}({word}={_shown(value)}): there is no option '{word}'"
    said = _SAID_AT.get("task" if door in _DECORATORS else door, {}).get(word) or _SAID.get(word)
    if said is not None:
        return ConfigError(f"{head}; {said}")
    template = _template(door, word)
    if template is not None:
        more = value + 1 if isinstance(value, int) else value
        return ConfigError(f"{head}; did you mean {template.format(value=_shown(value), more=_shown(more))}?")
    guess = did_you_mean(word, known)
    return ConfigError(f"{head}{guess}" if guess else f"{head}; there are: {', '.join(sorted(known))}.")


def _template(door: str, word: str) -> str | None:
    ours = _OURS_AT.get("task" if door in _DECORATORS else door, {})
    if word in ours:
        return ours[word]
    if word in _OURS_OF_ONE_JOB:
        return _OURS_OF_ONE_JOB[word] if door == "options" else f"options({_OURS_OF_ONE_JOB[word]})"
    template = _OURS.get(word)
    if template is not None and door == "options":
        return template.removeprefix("retry=Retry(").removesuffix(")") if "max_attempts" in template else template
    return template


def reserved(door: str, word: str, instead: str, value: object = _NOT_GIVEN) -> UsageError:
    """`task(heartbeat=60): 'heartbeat' is reserved and not in this release; use timeout=.`"""
    given = "..." if value is _NOT_GIVEN else _shown(value)
    return UsageError(f"{door}({word}={given}): '{word}' is reserved and not in this release; use {instead}.")


def refuse_reserved(door: str, given: Mapping[str, object]) -> None:
    """UsageError if a reserved word was given anything but nothing."""
    for word, instead in RESERVED.items():
        value = given.get(word)
        if value is not None and value not in ((), []):
            raise reserved(door, word, instead, value)


def reserved_events(door: str) -> UsageError:
    """What `events()` answers."""
    return UsageError(f"{door}.events(): 'events' is reserved and not in this release; use Worker(on_event=...).")


def refuse_unknown(door: str, given: Mapping[str, object], known: Collection[str]) -> None:
    """ConfigError for the first word that is no option here."""
    for word, value in given.items():
        if word not in known:
            raise unknown_option(door, word, value, known)


def check_options(door: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function whose unknown keywords are answered with the nearest known one, not by Python. Its type stays."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        found = inspect.signature(function).parameters.values()
        named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        known = frozenset(one.name for one in found if one.kind in named and one.name != "self")

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            refuse_unknown(door, kwargs, known)
            return function(*args, **kwargs)

        return checked

    return decorate


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
