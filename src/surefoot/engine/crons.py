"""Recurring jobs: which tick of which entry to fire next. A step function of the store's time and its answers; no
scheduler process.

Every worker that has an entry in its code asks for its ticks; the store gives each tick to one.
"""

import logging
from collections.abc import Container, Mapping, Sequence
from typing import Final

from surefoot.brokers.answers import CronState, TickWord
from surefoot.brokers.broker import Stats, Tick
from surefoot.client.schedules import CronEntry

log: Final = logging.getLogger("surefoot.worker")

_AGAIN_MS: Final = 1_000
_FUTURE_MS: Final = 60_000


class _Line:
    """One entry and its next tick; `next_ms` None: the store was not asked yet, or there is no further tick."""

    __slots__ = ("asked", "entry", "next_ms", "not_before_ms")

    def __init__(self, entry: CronEntry) -> None:
        self.entry = entry
        self.asked = False
        self.next_ms: int | None = None
        self.not_before_ms = 0


class Crons:
    """The entries of all queues of a worker. Of the ticks missed within an entry's `catch_up` the last runs, once."""

    def __init__(self, entries: Mapping[str, Sequence[CronEntry]]) -> None:
        self._lines = {
            queue: {entry.name: _Line(entry) for entry in lines} for queue, lines in entries.items() if lines
        }

    def questions(self) -> list[Stats]:
        """What the store must be asked once: the last tick of each entry."""
        asked: list[Stats] = []
        for queue, lines in self._lines.items():
            unknown = tuple(name for name, line in lines.items() if not line.asked)
            if unknown:
                asked.append(Stats(queue, 0, unknown))
        return asked

    def learn(self, queue: str, states: Mapping[str, CronState], now_ms: int) -> None:
        """The store's answer: an entry that never ticked starts now, one that did may have a tick to catch up."""
        for name, state in states.items():
            line = self._lines[queue][name]
            line.asked = True
            last_ms = state.last_ms
            if last_ms is None or last_ms > now_ms + _FUTURE_MS:
                line.next_ms = line.entry.schedule.next_ms(now_ms)
            else:
                self._after(line, last_ms, now_ms)

    def due(self, now_ms: int) -> list[Tick]:
        """The ticks to fire now, at most one a queue: a call carries one verb of a kind a queue."""
        ticks: list[Tick] = []
        for queue, lines in self._lines.items():
            for line in lines.values():
                if line.next_ms is not None and max(line.next_ms, line.not_before_ms) <= now_ms:
                    ticks.append(Tick(queue, line.entry.name, line.next_ms, line.entry.job(line.next_ms)))
                    break
        return ticks

    def heard(self, tick: Tick, word: TickWord, now_ms: int) -> None:
        """The store's word for a tick: fired, skipped or not now."""
        line = self._lines[tick.queue][tick.name]
        if line.next_ms != tick.tick_ms:
            return
        if word in ("full", "early"):
            line.not_before_ms = now_ms + _AGAIN_MS
            latest = line.entry.schedule.last_ms(now_ms, tick.tick_ms)
            line.next_ms = latest if latest is not None else tick.tick_ms
            return
        if word == "taken":
            log.info("cron %s: the tick was skipped, its last run is not over", tick.name, extra={"cron": tick.name})
        self._after(line, tick.tick_ms, now_ms)

    def next_in(self, now_ms: int, but: Container[str] = ()) -> float | None:
        """Seconds until the next tick, `but` for these queues; None if there is none."""
        due = [
            max(line.next_ms, line.not_before_ms)
            for queue, lines in self._lines.items()
            for line in lines.values()
            if line.next_ms is not None and queue not in but
        ]
        return max(0.0, (min(due) - now_ms) / 1000) if due else None

    def _after(self, line: _Line, last_ms: int, now_ms: int) -> None:
        schedule = line.entry.schedule
        since_ms = max(last_ms, now_ms - line.entry.catch_up_ms)
        missed_ms = schedule.last_ms(now_ms, since_ms)
        line.next_ms = missed_ms if missed_ms is not None else schedule.next_ms(max(last_ms, now_ms))
        first_ms = schedule.next_ms(last_ms)
        if first_ms is not None and first_ms <= now_ms and first_ms != line.next_ms:
            log.warning("cron %s: ticks before the last one were missed and are skipped", line.entry.name)
