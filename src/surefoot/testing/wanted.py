"""Assertions about what is enqueued: which jobs fit, which nearly do, the words that tell of them. Asks no store."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import UNSET

from surefoot.core.codec import encode_json
from surefoot.core.errors import InvalidArguments, duration_words
from surefoot.core.job import Job, moment, moment_ms
from surefoot.core.spec import Spec

Where: TypeAlias = Callable[[Job], bool] | Mapping[str, Any]
"""Which jobs are meant: a function of the job, or the arguments that it must have, by name."""

WAITING: Final = ("scheduled", "pending", "parked", "processing")
"""Enqueued is what is not finished."""

_SHOWN: Final = 10
_LONGEST: Final = 120
_SAME_MS: Final = 1.0


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What an assertion asks for. `queues`: full names; `arguments`: all of them, as JSON; None: any. Seconds."""

    queues: frozenset[str]
    task: str
    spec: Spec | None = None
    arguments: Mapping[str, Any] | None = None
    delay: float | None = None
    at_ms: int | None = None
    key: str | None = None
    where: Where | None = None

    def names(self, queue: str, job: Job) -> bool:
        """Whether it is a job of the task."""
        return job.task == self.task and queue in self.queues

    def differences(self, job: Job, now_ms: int) -> list[str]:
        """How a job of the task differs, in words; none: it is meant."""
        found: list[str] = []
        if self.arguments is not None:
            found += _unlike(_filled(self.spec, job.arguments), _filled(self.spec, self.arguments), whole=True)
        if self.delay is not None:
            waits = _waits(job, now_ms)
            if abs(waits - self.delay) * 1000 >= _SAME_MS:
                found.append(f"delay is {waits:g} s, not {self.delay:g} s")
        if self.at_ms is not None and moment_ms(job.due_at) != self.at_ms:
            found.append(f"it is due at {job.due_at}, not at {moment(self.at_ms)}")
        if self.key is not None and job.key != self.key:
            found.append(f"key is {job.key!r}, not {self.key!r}")
        if isinstance(self.where, Mapping):
            given = _as_json(self.where)
            found += _unlike(_filled(self.spec, job.arguments), given, whole=False)
        elif self.where is not None and not self.where(job):
            found.append("where= says no")
        return found

    def words(self) -> str:
        """What is asked for, as one would write it."""
        some = f"{_arguments(self.where)}, ..." if isinstance(self.where, Mapping) else "..."
        arguments = some if self.arguments is None else _arguments(self.arguments)
        asked = [f"{self.task}({arguments})"]
        if self.delay is not None:
            asked.append(f"delay={self.delay:g}")
        if self.at_ms is not None:
            asked.append(f"at={moment(self.at_ms)}")
        if self.key is not None:
            asked.append(f"key={self.key!r}")
        if self.where is not None and not isinstance(self.where, Mapping):
            asked.append(f"where={getattr(self.where, '__name__', 'a function')}")
        return ", ".join(asked)


class Seen:
    """The jobs of a sandbox, as an assertion looks at them."""

    def __init__(self, wanted: Wanted, jobs: Sequence[tuple[str, Job]], now_ms: int, finished: int) -> None:
        self._wanted = wanted
        self._now_ms = now_ms
        self._finished = finished
        self.fit: list[Job] = []
        self._near: list[tuple[int, str]] = []
        for queue, job in jobs:
            if job.state not in WAITING:
                continue
            if not wanted.names(queue, job):
                self._near.append((1_000, f"{self._line(job)}: another task{self._elsewhere(queue, job)}"))
                continue
            differences = wanted.differences(job, now_ms)
            if differences:
                self._near.append((len(differences), f"{self._line(job)}: {'; '.join(differences)}"))
            else:
                self.fit.append(job)

    def too_few(self, times: int | None) -> str:
        """Why `assert_enqueued` fails."""
        asked = self._wanted.words()
        if times is None or not self.fit:
            return f"{asked} is not enqueued.{self._others()}{self._past()}"
        count = len(self.fit)
        found = "\n".join(f"  {self._line(job)}" for job in self.fit[:_SHOWN])
        left = count - _SHOWN
        more = f"\n  and {left} more" if left > 0 else ""
        head = f"{asked} is enqueued {_times(count)}, not {_times(times)}:\n{found}{more}"
        return head + (self._others() + self._past() if count < times else "")

    def too_many(self) -> str:
        """Why `assert_not_enqueued` fails."""
        count = len(self.fit)
        found = "\n".join(f"  {self._line(job)}" for job in self.fit[:_SHOWN])
        more = f"\n  and {count - _SHOWN} more" if count > _SHOWN else ""
        return f"{self._wanted.words()} is enqueued {_times(count)}:\n{found}{more}"

    def _others(self) -> str:
        if not self._near:
            return "\nNothing is enqueued." if not self.fit else ""
        lines = [f"  {line}" for _, line in sorted(self._near, key=lambda one: one[0])[:_SHOWN]]
        if len(self._near) > _SHOWN:
            lines.append(f"  and {len(self._near) - _SHOWN} more")
        return "\nEnqueued, the nearest first:\n" + "\n".join(lines)

    def _past(self) -> str:
        if not self._finished:
            return ""
        count = "1 job" if self._finished == 1 else f"{self._finished} jobs"
        has = "has" if self._finished == 1 else "have"
        return f"\n{count} of {self._wanted.task} {has} finished here; finished jobs do not count."

    def _line(self, job: Job) -> str:
        words = f"{job.task}({_arguments(job.arguments)})"
        if len(words) > _LONGEST:
            words = words[: _LONGEST - 4] + "...)"
        state: str = job.state
        if state == "scheduled":
            left = (moment_ms(job.due_at) - self._now_ms) / 1000
            state = f"scheduled, due in {duration_words(left)}"
        key = "" if job.key is None else f", key {job.key!r}"
        return f"{words} {state}{key}"

    def _elsewhere(self, queue: str, job: Job) -> str:
        if job.task == self._wanted.task and queue not in self._wanted.queues:
            return f" of that name, on queue '{job.queue}'"
        return ""


def _waits(job: Job, now_ms: int) -> float:
    """Seconds from its enqueue until it was or is due; of a job that has run already, from now."""
    if not job.runs:
        return (job.due_at - job.enqueued_at).total_seconds()
    return max(0.0, (moment_ms(job.due_at) - now_ms) / 1000)


def _as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as they look after the way through JSON."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        try:
            found[name] = msgspec.json.decode(encode_json(value))
        except (msgspec.MsgspecError, TypeError, ValueError):
            found[name] = value
    return found


def _filled(spec: Spec | None, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments with the function's own defaults where nothing was given: as its handler sees them."""
    if spec is None:
        return arguments
    defaults = {
        name: one.default
        for name, one in inspect.signature(spec.function).parameters.items()
        if one.default is not inspect.Parameter.empty and name not in arguments
    }
    try:
        read = msgspec.structs.asdict(spec.signature.load(encode_json(arguments)))
        shown = {name: value for name, value in read.items() if value is not UNSET}
    except InvalidArguments:
        return arguments
    return _as_json({**shown, **defaults})


def _unlike(found: Mapping[str, Any], asked: Mapping[str, Any], *, whole: bool) -> list[str]:
    names = [*asked, *(name for name in found if whole and name not in asked)]
    lines: list[str] = []
    for name in names:
        if name not in found:
            lines.append(f"{name} is missing")
        elif name not in asked:
            lines.append(f"{name}={_short(found[name])} is too much")
        elif found[name] != asked[name]:
            lines.append(f"{name} is {_short(found[name])}, not {_short(asked[name])}")
    return lines


def _arguments(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_short(value)}" for name, value in arguments.items())


def _short(value: object) -> str:
    words = repr(value)
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST // 2]}...{words[-_LONGEST // 4 :]}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
