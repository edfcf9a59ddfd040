"""What the model remembers: one job in its one place, the holder of a key, one queue; and how they look from outside.

No rule of a verb lives here; those are in model.py.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from surefoot.brokers.answers import Change, CronState, MinuteRow, Presence, QueueStats, Record
from surefoot.brokers.broker import Stats
from surefoot.core.job import NO_COUNTS, Counts, NewJob
from surefoot.core.names import State

A_MINUTE_MS = 60_000


@dataclass
class Job:
    """One job. Its state is its place; a field that does not belong to that place is None."""

    new: NewJob
    arrival: int
    enqueued_ms: int
    body: bytes | None  # None: lost
    state: State = "pending"
    rank: tuple[int, int] | None = None  # priority, number in its line; stays while the job is leased or parked
    counts: Counts = NO_COUNTS
    due_ms: int | None = None
    token: str | None = None
    lease_ms: int | None = None
    started_ms: int | None = None
    caller: str | None = None
    cancel: str | None = None
    reason: str | None = None
    parked_ms: int | None = None
    note: bytes | None = None
    errors: tuple[bytes, ...] = ()
    result: bytes | None = None
    finished_ms: int | None = None
    forget_ms: float = math.inf

    @property
    def id(self) -> str:
        return self.new.id

    def go(self, state: State, **facts: Any) -> None:
        """Leave the old place, stand in the new one."""
        self.due_ms = self.token = self.lease_ms = self.started_ms = self.caller = None
        self.cancel = self.reason = self.parked_ms = self.finished_ms = None
        self.state = state
        for name, value in facts.items():
            setattr(self, name, value)

    def count(self, *counters: str) -> None:
        self.counts = replace(self.counts, **{name: getattr(self.counts, name) + 1 for name in counters})

    def record(self) -> Record:
        words = "due_ms lease_ms started_ms finished_ms caller reason parked_ms cancel note errors result".split()
        return Record(
            id=self.id,
            state=self.state,
            enqueued_ms=self.enqueued_ms,
            body=self.body or b"",
            priority=self.new.priority,
            key=self.new.unique.key if self.new.unique else None,
            counts=self.counts,
            **{word: getattr(self, word) for word in words},
        )


@dataclass
class Holder:
    """Who has a unique key. With `until_ms` it is held until then, whatever becomes of the job."""

    id: str
    until_ms: int | None


@dataclass
class Queue:
    """All that a store keeps of one queue."""

    epoch: str
    jobs: dict[str, Job] = field(default_factory=dict)
    keys: dict[str, Holder] = field(default_factory=dict)
    lines: Counter[int] = field(default_factory=Counter)  # priority -> last number given
    memory: dict[tuple[str, str], tuple[int, str, Any]] = field(default_factory=dict)  # verb, caller -> its last call
    events: Counter[str] = field(default_factory=Counter)
    times: Counter[int] = field(default_factory=Counter)
    changes: list[Change] = field(default_factory=list)  # newest first
    ticks: dict[str, int] = field(default_factory=dict)
    paused_crons: dict[str, tuple[int, str]] = field(default_factory=dict)
    presences: dict[str, Presence] = field(default_factory=dict)
    paused: tuple[int, str] | None = None
    max_length: int | None = None
    pruned_ms: int = 0
    arrivals: int = 0
    token: bool = False  # somebody must be woken

    def first_due(self) -> float:
        return min((job.due_ms for job in self.jobs.values() if job.due_ms is not None), default=math.inf)

    def stats(self, verb: Stats, now: int) -> QueueStats:
        size = Counter(job.state for job in self.jobs.values())
        leases = [job.lease_ms for job in self.jobs.values() if job.lease_ms is not None]
        ages = [max(0, now - job.enqueued_ms) for job in self.jobs.values() if job.state == "pending"]
        since_ms, reason = self.paused or (None, None)
        return QueueStats(
            now_ms=now,
            scheduled=size["scheduled"],
            pending=size["pending"],
            parked=size["parked"],
            processing=size["processing"],
            dead=size["dead"],
            ended_leases=sum(lease_ms <= now for lease_ms in leases),
            oldest_ms=max(ages, default=None),
            paused_ms=since_ms,
            pause_reason=reason,
            max_length=self.max_length,
            epoch=self.epoch,
            workers=tuple(self.presences.values()),
            # All in one: in which minute and which hour, the cases look at.
            minutes=(MinuteRow(now // A_MINUTE_MS, **self.events, times=self.times),),
            hours=(MinuteRow(now // A_MINUTE_MS // 60 * 60, **self.events, times=self.times),),
            totals={},
            crons={name: self.cron(name) for name in verb.crons},
        )

    def cron(self, name: str) -> CronState:
        since_ms, reason = self.paused_crons.get(name, (None, None))
        return CronState(self.ticks.get(name), since_ms, reason)
