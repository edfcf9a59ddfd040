"""The one listener that tells of jobs and workers: events for `on_event`, and one log line a job event."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from surefoot import clock
from surefoot.brokers.answers import Verdict
from surefoot.core.events import NO_DETAILS, Event, EventKind
from surefoot.core.job import Progress, moment
from surefoot.core.lifecycle import first_due_ms
from surefoot.core.outcome import Crashed, Outcome, Raised, Rejected, RetriedLater, TimedOut
from surefoot.core.transition import Bury, Delay, Finish, Park, Return
from surefoot.engine.unsettled import Settled
from surefoot.execution.context import Running

log: Final = logging.getLogger("surefoot.worker")

_LEVELS: Final[Mapping[str, int]] = {
    "started": logging.DEBUG, "progress": logging.DEBUG, "interrupted": logging.INFO, "snoozed": logging.INFO,
    "retrying": logging.WARNING, "lease_lost": logging.WARNING, "loop_blocked": logging.WARNING,
    "crashed": logging.WARNING, "failed": logging.WARNING, "timed_out": logging.WARNING,
    "thread_stuck": logging.ERROR, "dead": logging.ERROR,
}  # fmt: skip


_TAKEN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""What a log record calls its own; a detail of such a name gets a line behind it."""

_WORDS_MOST: Final = 800


class Report:
    """Makes an Event only where somebody listens, so that a job nobody watches costs nothing here."""

    def __init__(self, on_event: Callable[[Event], None] | None) -> None:
        self.worker: str | None = None
        self._on_event = on_event
        self.now_ms: Callable[[], int] = clock.wall_ms

    def wanted(self, level: int = logging.INFO) -> bool:
        """Whether an event of this level reaches anybody."""
        return self._on_event is not None or log.isEnabledFor(level)

    def event(
        self,
        kind: EventKind,
        *,
        queue: str | None = None,
        job: str | None = None,
        task: str | None = None,
        **details: str | float,
    ) -> None:
        """Tell of one thing that happened."""
        level = _LEVELS.get(kind, logging.INFO)
        if not self.wanted(level):
            return
        label = None if queue is None else queue.partition(":")[2]
        if log.isEnabledFor(level):
            self._log(level, kind, label, job, task, details)
        if self._on_event is None:
            return
        event = Event(
            kind=kind, at=moment(self.now_ms()), queue=label, job_id=job, task=task, worker=self.worker,
            details=details or NO_DETAILS,
        )  # fmt: skip
        try:
            self._on_event(event)
        except Exception:
            log.exception("on_event raised for the event %s; the worker goes on", kind)

    def started(self, running: Running) -> None:
        """A handler begins."""
        if self.wanted(logging.DEBUG):
            run = running.run
            facts: dict[str, str | float] = {"attempt": run.attempt}
            if run.attempt == 1:  # a later one waited for its backoff
                facts["waited"] = max(0, running.started_ms - first_due_ms(run.leased, run.envelope)) / 1000
            self.event("started", queue=running.queue, job=run.leased.id, task=run.spec.name, **facts)

    def in_hand(self, runs: Sequence[Running]) -> None:
        """What somebody at the machine asked for: one line a job, at a level that is hardly ever off."""
        log.warning("%d jobs in hand", len(runs))
        for one in runs:
            words = " ".join(f"{name}={_plain(value)}" for name, value in _run_facts(one).items())
            log.warning("job %s %s in hand (%s)", one.run.leased.id, one.run.spec.name, words)

    def progress(self, running: Running, progress: Progress) -> None:
        """A run said how far it is, and the store has it."""
        details: dict[str, str | float] = {"done": progress.done}
        if progress.total is not None:
            details["total"] = progress.total
        if progress.note is not None:
            details["note"] = progress.note
        run = running.run
        self.event("progress", queue=running.queue, job=run.leased.id, task=run.spec.name, **details)

    def settled_all(self, queue: str, batch: Sequence[Settled], verdicts: Sequence[Verdict]) -> None:
        """The store's verdicts on a settle. Where nobody listens for completions, they are passed over at once."""
        everything = self.wanted()
        for item, verdict in zip(batch, verdicts, strict=True):
            move = item.transition.to
            if everything or verdict != "applied" or type(move) is not Finish or move.state != "completed":
                self.settled(queue, item, verdict)

    def settled(self, queue: str, item: Settled, verdict: Verdict) -> None:
        """The store applied, fenced or cancelled a transition."""
        job = item.transition.id
        task = None if item.running is None else item.running.run.spec.name
        details = _run_facts(item.running)
        if verdict == "fenced":
            meaning = "another worker has the job; what this run reports does not count"
            self.event("lease_lost", queue=queue, job=job, task=task, **details, meaning=meaning)
        elif verdict == "cancelled":
            self.event("cancelled", queue=queue, job=job, task=task, **details)
        else:
            self._applied(queue, item, task, details)

    def _applied(self, queue: str, item: Settled, task: str | None, details: dict[str, str | float]) -> None:
        job, move = item.transition.id, item.transition.to
        failure = _failure(item.outcome)
        if failure is not None:
            self.event(failure[0], queue=queue, job=job, task=task, **details, error=failure[1])
        match move:
            case Finish(state=state):
                self.event(state, queue=queue, job=job, task=task, **details)
            case Bury(reason=reason):
                self.event("dead", queue=queue, job=job, task=task, **details, reason=reason)
            case Delay(ms=ms, why="retry"):
                self.event("retrying", queue=queue, job=job, task=task, **details, delay=ms / 1000)
            case Delay(why="apart"):
                log.info("job %s waits apart: it and another here have crashed before", job, extra={"job": job})
            case Delay(ms=ms):
                self.event("snoozed", queue=queue, job=job, task=task, **details, delay=ms / 1000)
            case Return():
                self.event("interrupted", queue=queue, job=job, task=task, **details)
            case Park(reason=reason):
                log.info("job %s parked (%s)", job, reason, extra={"queue": queue, "job": job, "reason": reason})

    def _log(
        self,
        level: int,
        kind: str,
        queue: str | None,
        job: str | None,
        task: str | None,
        details: Mapping[str, str | float],
    ) -> None:
        own = {"event": kind, "queue": queue, "job": job, "task": task, "worker": self.worker}
        fields = {**{f"{word}_" if word in _TAKEN else word: value for word, value in details.items()}, **own}
        subject = "" if job is None else f"job {job} " if task is None else f"job {job} {task} "
        words = " ".join(f"{name}={_plain(value)}" for name, value in details.items())
        log.log(level, "%s%s%s", subject, kind.replace("_", " "), f" ({words})" if words else "", extra=fields)


def _failure(outcome: Outcome | None) -> tuple[EventKind, str] | None:
    match outcome:
        case Raised(error=error) | RetriedLater(error=error) | Rejected(error=error):
            return "failed", f"{error.kind}: {error.message}"
        case TimedOut(seconds=seconds):
            return "timed_out", f"over {seconds:g} s"
        case Crashed(error=error):
            return "crashed", error.message
        case _:
            return None


def _run_facts(running: Running | None) -> dict[str, str | float]:
    if running is None:
        return {}
    facts: dict[str, str | float] = {"attempt": running.run.attempt}
    if running.started:
        facts["duration"] = round(clock.monotonic() - running.started, 6)
    return facts


def _plain(value: str | float) -> str:
    """A value as one word or one quoted line: nothing in it can start a new log line."""
    return f"{value:g}" if isinstance(value, int | float) else msgspec.json.encode(value[:_WORDS_MOST]).decode()
