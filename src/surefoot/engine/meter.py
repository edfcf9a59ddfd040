"""What a worker counts about itself, for whoever collects metrics: an `on_event` listener, and its figures as a record
that travels to the parent process.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from surefoot.core.events import Event

BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Upper bounds of the histograms' buckets, in seconds; one more bucket has no bound."""

_SETTLED: Final = frozenset(
    {"completed", "retrying", "snoozed", "interrupted", "dead", "cancelled", "expired", "lease_lost"}
)
_FAILED: Final = frozenset({"failed", "timed_out", "crashed"})
_TROUBLE: Final = frozenset({"loop_blocked", "thread_stuck"})


class Histogram(msgspec.Struct):
    """How many values fell into each bucket (not cumulative), and their sum in seconds."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one value."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum += seconds

    def merge(self, other: "Histogram") -> None:
        """Add the values of another one."""
        self.counts = [one + two for one, two in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum


class TaskFigures(msgspec.Struct):
    """One task of one queue. `settled`: runs by what became of the job; `failed`: runs by how they failed."""

    queue: str
    task: str
    settled: dict[str, int] = {}
    failed: dict[str, int] = {}
    run: Histogram = msgspec.field(default_factory=Histogram)
    wait: Histogram = msgspec.field(default_factory=Histogram)


class Figures(msgspec.Struct):
    """All that a worker counted since it began."""

    tasks: list[TaskFigures] = []
    trouble: dict[str, int] = {}

    def encode(self) -> bytes:
        """As one line of JSON."""
        return msgspec.json.encode(self)


def decode(line: bytes) -> Figures:
    """What `encode` gave."""
    return msgspec.json.decode(line, type=Figures)


def added(many: Iterable[Figures]) -> Figures:
    """The figures of several workers as one."""
    tasks: dict[tuple[str, str], TaskFigures] = {}
    trouble: dict[str, int] = {}
    for figures in many:
        _bump(trouble, figures.trouble)
        for one in figures.tasks:
            total = tasks.setdefault((one.queue, one.task), TaskFigures(one.queue, one.task))
            _bump(total.settled, one.settled)
            _bump(total.failed, one.failed)
            total.run.merge(one.run)
            total.wait.merge(one.wait)
    return Figures(list(tasks.values()), trouble)


class Meter:
    """Counts events; give it to a Worker as `on_event`. Safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: dict[tuple[str | None, str | None], TaskFigures] = {}
        self._trouble: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        """Count one event."""
        kind = event.kind
        with self._lock:
            if kind in _TROUBLE:
                _bump(self._trouble, {kind: 1})
            elif event.job_id is not None:
                self._count(kind, event)

    def figures(self) -> Figures:
        """All that was counted so far; a copy."""
        with self._lock:
            return added([Figures(list(self._tasks.values()), self._trouble)])

    def _count(self, kind: str, event: Event) -> None:
        key = (event.queue, event.task)
        task = self._tasks.get(key)
        if task is None:  # a task that nobody here knows has no name: its jobs end without a run
            task = self._tasks[key] = TaskFigures(event.queue or "", event.task or "?")
        if kind in _SETTLED:
            task.settled[kind] = task.settled.get(kind, 0) + 1
            duration = event.details.get("duration")
            if isinstance(duration, float):
                task.run.add(duration)
        elif kind in _FAILED:
            task.failed[kind] = task.failed.get(kind, 0) + 1
        elif kind == "started":
            waited = event.details.get("waited")
            if isinstance(waited, float):
                task.wait.add(waited)


def _bump(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for word, count in more.items():
        counts[word] = counts.get(word, 0) + count
