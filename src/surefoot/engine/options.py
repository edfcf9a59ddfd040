"""What a Worker is told, checked at the door: a wrong value is answered in a sentence, not at three in the morning."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from surefoot.client.queue import Queue
from surefoot.core.errors import ConfigError, Seconds, duration
from surefoot.engine.turn import Limits

T = TypeVar("T")

_FLOOR_MOST_MS: Final = 12_000
_SLACK_MOST_MS: Final = 2_000


def limits_of(
    concurrency: int, lease: float, unknown_ttl: Seconds, dead_max: int | None, dead_age: Seconds | None
) -> Limits:
    """The numbers of a worker in the units of the store: floor = lease + slack, slack = lease / 5."""
    lease_ms = max(1, round(lease * 1000))
    slack_ms = min(lease_ms // 5, _SLACK_MOST_MS)
    return Limits(
        concurrency=concurrency,
        lease_ms=lease_ms,
        floor_ms=min(lease_ms + slack_ms, _FLOOR_MOST_MS),
        dead_max=None if dead_max is None else count("dead_max", dead_max, least=0),
        dead_age_ms=None if dead_age is None else round(duration(dead_age, "Worker(dead_age)") * 1000),
        unknown_ms=round(duration(unknown_ttl, "Worker(unknown_ttl)") * 1000),
    )


def count(word: str, value: object, least: int = 1) -> int:
    """A whole number, at least so many."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"Worker({word}={value!r}): give a whole number >= {least}.")
    return value


def weights_of(queues: Sequence[Queue], weights: Mapping[Queue, int] | None) -> dict[Queue, int]:
    """A weight for each queue, 1 where none is given."""
    given = dict(weights or {})
    for queue, weight in given.items():
        if queue not in queues:
            raise ConfigError(f"Worker(weights=...): this worker does not serve the queue '{queue.name}'.")
        count("weights", weight)
    return {queue: given.get(queue, 1) for queue in queues}


def patterns(imports: Sequence[str]) -> tuple[str, ...]:
    """The modules to load: names or patterns, in a list."""
    if isinstance(imports, str):
        raise ConfigError(f'Worker(imports={imports!r}): give a list, imports=["{imports}"].')
    for pattern in imports:
        if not isinstance(pattern, str):
            raise ConfigError(f"Worker(imports=...): {pattern!r} is not the name of a module; give text.")
    return tuple(imports)


def callable_or_none(word: str, value: T) -> T:
    """A function, or None where none was given."""
    if value is not None and not callable(value):
        raise ConfigError(f"Worker({word}={value!r}): give a function.")
    return value


def cpus() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def found_by_name(word: str, function: Callable[..., Any]) -> str:
    """Where another process finds a function: `module:name`."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "<locals>")
    if not module or "<" in name:
        raise ConfigError(
            f"Worker({word}={function!r}): another process must find it by its name; give a function at the top of a "
            "module."
        )
    return f"{module}:{name}"
