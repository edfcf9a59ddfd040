"""Recurring jobs as a queue holds them: entries for the engine, and `task.cron(...)` before it has its arguments."""

from collections.abc import Callable
from typing import Final, Generic, Literal, ParamSpec, TypeAlias, final

import msgspec

from surefoot.client.line import new_job
from surefoot.client.presence import CronLine
from surefoot.core.errors import ConfigError, Seconds, duration
from surefoot.core.job import Draft, Key, NewJob
from surefoot.core.names import NORMAL_PRIORITY, is_name
from surefoot.core.schedule import Schedule as Ticks

P = ParamSpec("P")

Overlap: TypeAlias = Literal["skip", "queue", "allow"]

CATCH_UP_S: Final = 3600.0
NAME_LIMIT: Final = 100
"""An entry's name is a part of its jobs' ids and keys, which have 128 bytes."""

_UNTIL: Final[dict[Overlap, Literal["finished", "started"]]] = {"skip": "finished", "queue": "started"}


class CronEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One recurring job. A tick's job has one id, whoever fires it; `overlap` is a key on the entry's jobs."""

    name: str
    task: str
    schedule: Ticks
    overlap: Overlap = "skip"
    catch_up_ms: int = round(CATCH_UP_S * 1000)
    payload: bytes = b"{}"
    priority: int = NORMAL_PRIORITY
    schema: int = 1

    def job(self, tick_ms: int) -> NewJob:
        """The job of one tick."""
        until = _UNTIL.get(self.overlap)
        draft: Draft[object] = Draft(
            id=f"cron:{self.name}:{tick_ms}", queue="", task=self.task, payload=self.payload, priority=self.priority,
            key=None if until is None else Key(f"cron:{self.name}", until=until), schema=self.schema,
        )  # fmt: skip
        return new_job(draft, tick_ms)

    def line(self) -> CronLine:
        """What a worker says of it."""
        ticks = self.schedule
        return CronLine(self.name, self.task, ticks.expression, ticks.timezone, ticks.interval_ms)


@final
class Schedule(Generic[P]):
    """A cron line of a task without its arguments yet; `with_args` registers it."""

    def __init__(self, add: Callable[[bytes], None], bind: Callable[P, bytes]) -> None:
        self._add = add
        self._bind = bind

    def with_args(self, /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Fire with these arguments, checked now."""
        self._add(self._bind(*args, **kwargs))


def check_entry(door: str, name: str, overlap: str, catch_up: Seconds) -> int:
    """ConfigError if an entry cannot be as given; else `catch_up` in milliseconds."""
    if not is_name(name) or len(name) > NAME_LIMIT:
        raise ConfigError(f"{door}(name={name!r}): give 1 to {NAME_LIMIT} letters, digits or _ . : -")
    if overlap not in ("skip", "queue", "allow"):
        raise ConfigError(f'{door}(overlap={overlap!r}): give "skip", "queue" or "allow".')
    return round(duration(catch_up, f"{door}(catch_up)", least=0) * 1000)
