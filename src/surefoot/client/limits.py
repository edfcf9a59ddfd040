"""Limits over all workers: the words are reserved. They can be made and given, and giving one is refused."""

from typing import Literal, final

from surefoot.core.errors import ConfigError, Seconds, duration


@final
class Concurrency:
    """At most so many jobs of a task (or group) at once, over all workers. Reserved: no task takes it yet."""

    def __init__(self, running: int, *, by: Literal["task", "group"] = "task") -> None:
        self.running: int = _count("Concurrency", running)
        self.by = by

    def __repr__(self) -> str:
        return f"Concurrency({self.running}, by={self.by!r})"


@final
class Rate:
    """At most so many starts in `per` seconds, over all workers. Reserved: no task takes it yet."""

    def __init__(self, jobs: int, *, per: Seconds, by: Literal["task", "group"] = "task") -> None:
        self.jobs: int = _count("Rate", jobs)
        self.per: float = duration(per, "Rate(per)")
        self.by = by

    def __repr__(self) -> str:
        return f"Rate({self.jobs}, per={self.per:g}, by={self.by!r})"


def _count(door: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{door}({value!r}): give a whole number >= 1.")
    return value
