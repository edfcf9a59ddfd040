"""The steps that several verbs of the model share: into a place, out of it, who has a key.

Which verb takes which steps is said in model.py.
"""

import math
from typing import Any, Literal, TypeAlias

from tests.conformance.model_state import Holder, Job, Queue

from surefoot.brokers.answers import CHANGE_BYTES, CHANGE_NAMES, CHANGES_KEPT, Change, ChangeWord, RepairWord
from surefoot.brokers.broker import Call
from surefoot.core.codec import ERRORS_KEPT, encode_error
from surefoot.core.job import After, At, Due, NewJob
from surefoot.core.names import State

Ties: TypeAlias = Literal["arrival", "id"]
"""Who comes first among jobs with equal times: a store does one or the other."""


class Pieces:
    """One queue at the moment of one call. `understands`: the version of the release that runs it."""

    def __init__(self, queue: Queue, call: Call, understands: int, ties: Ties, *, watched: bool) -> None:
        assert call.now is not None, "the model has no clock of its own"
        self.queue = queue
        self.now = call.now
        self.caller = call.caller
        self.token = f"{call.caller}.{call.number}"
        self.understands = understands
        self.ties = ties
        self.watched = watched

    def within(self, *states: State) -> list[Job]:
        return [job for job in self.queue.jobs.values() if job.state in states]

    def timed(self, state: State, word: str, until_ms: float) -> list[Job]:
        """The jobs of a place whose time in that field has come, the earliest first; equals as `ties` says."""
        come = [job for job in self.within(state) if getattr(job, word) <= until_ms]
        return sorted(come, key=lambda job: (getattr(job, word), getattr(job, self.ties)))

    def ranked(self, state: State, reason: str | None = None) -> list[Job]:
        jobs = [job for job in self.within(state) if job.reason == reason]
        return sorted(jobs, key=lambda job: job.rank or (0, 0))

    def give_rank(self, job: Job) -> None:
        self.queue.lines[job.new.priority] += 1
        job.rank = (job.new.priority, self.queue.lines[job.new.priority])

    def enter(self, job: Job) -> None:
        """Into pending, at the end of its line: the only way in, but for a hand-back to the old rank."""
        self.give_rank(job)
        job.go("pending")

    def wait_until(self, job: Job, due_ms: int) -> None:
        if due_ms > self.now:
            job.go("scheduled", due_ms=due_ms, rank=None)
        else:
            self.enter(job)
            self.queue.token = True

    def park(self, job: Job, reason: str) -> None:
        if job.rank is None:
            self.give_rank(job)
        job.go("parked", reason=reason, parked_ms=self.now)

    def park_newer(self, job: Job) -> bool:
        """A job that needs a newer release waits for one, wherever this release meets it."""
        newer = job.new.needs > self.understands
        if newer:
            self.park(job, f"needs:{job.new.needs}")
        return newer

    def due(self, due: Due) -> int:
        """The moment that is meant; one in the past is now."""
        match due:
            case After(ms):
                return max(self.now, self.now + ms)
            case At(ms):
                return max(self.now, ms)
            case None:
                return self.now

    def store(self, new: NewJob) -> None:
        self.queue.arrivals += 1
        self.queue.events["enqueued"] += 1
        job = self.queue.jobs[new.id] = Job(new, self.queue.arrivals, self.now, new.envelope)
        if new.unique is not None:
            period_ms = new.unique.until if isinstance(new.unique.until, int) else None
            self.queue.keys[new.unique.key] = Holder(new.id, None if period_ms is None else self.now + period_ms)
        self.wait_until(job, self.due(new.due))

    def owner(self, key: str) -> str | None:
        holder = self.queue.keys.get(key)
        over = holder is None or (holder.until_ms is not None and holder.until_ms <= self.now)
        return None if over or holder is None else holder.id

    def release(self, job: Job) -> None:
        """The key is free again if this job still has it; one held for a period stays."""
        unique = job.new.unique
        holder = self.queue.keys.get(unique.key) if unique else None
        if unique and holder and holder.id == job.id and holder.until_ms is None:
            del self.queue.keys[unique.key]

    def forget(self, job: Job) -> None:
        self.release(job)
        del self.queue.jobs[job.id]

    def finish(self, job: Job, state: State, keep_ms: int | None, **facts: Any) -> None:
        self.queue.events[state] += 1
        self.release(job)
        if keep_ms == 0:
            self.forget(job)
        else:
            forget_ms = math.inf if keep_ms is None else self.now + keep_ms
            job.go(state, finished_ms=self.now, forget_ms=forget_ms, note=None, **facts)

    def bury(self, job: Job, reason: str, *, has_line: bool = False) -> None:
        self.queue.events["dead"] += 1
        if not has_line:
            self.add_error(job, encode_error(None, reason=reason, ended_ms=self.now))
        self.release(job)
        job.go("dead", reason=reason, finished_ms=self.now)

    def pause_of(self, before: tuple[int, str] | None, reason: str | None) -> tuple[int, str] | None:
        """A pause with its first moment, None for none."""
        return None if reason is None else (before[0] if before else self.now, reason)

    def lost(self, job: Job) -> bool:
        """Whoever runs a job has its body whole until the lease ends."""
        return job.body is None and (job.lease_ms is None or job.lease_ms <= self.now)

    def repair_one(self, job: Job | None) -> RepairWord:
        if job is None or not self.lost(job):
            return "sound"
        job.body = b""
        if job.state not in ("scheduled", "pending", "parked", "processing"):
            return "filled"
        self.bury(job, "body_lost")
        return "buried"

    def note(self, what: ChangeWord, who: str, names: list[str], reason: str = "") -> None:
        """Remember a change by hand. What changed nothing is no change."""
        if names:
            shown = tuple(name for name in names[:CHANGE_NAMES] if name)
            self.queue.changes.insert(0, Change(self.now, one_line(who), what, len(names), one_line(reason), shown))
            del self.queue.changes[CHANGES_KEPT:]

    def add_error(self, job: Job, line: bytes) -> None:
        job.errors = (line, *job.errors)[:ERRORS_KEPT]


def one_line(words: str) -> str:
    """As much of a text as an audit keeps, without what would begin a new line."""
    cut = words.encode()[:CHANGE_BYTES].decode(errors="replace")
    return "".join(" " if letter < " " or letter == "\x7f" else letter for letter in cut)
