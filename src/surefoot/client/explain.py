"""Why a job is where it is: a sentence, the reasons as words, the facts. Pure: asks no store, reads no clock."""

from datetime import UTC, datetime, tzinfo
from typing import Final, assert_never

import msgspec

from surefoot.brokers.answers import BEHIND_MOST, Presence, QueueStats, Record
from surefoot.client.presence import PresenceInfo, living
from surefoot.client.records import UNREADABLE_TASK, due_ms, error_lines
from surefoot.core.codec import ErrorLine, NewerEnvelope, UnreadableEnvelope, decode_envelope
from surefoot.core.errors import duration_words
from surefoot.core.events import Explanation
from surefoot.core.names import WaitReason

_PARKED_TASK: Final = "task:"
_PARKED_NEEDS: Final = "needs:"
_SHOWN: Final = 200
_CRASH: Final = "crash"
"""The kind of the line that a store writes where a lease ended in mid-run."""


class _Case(msgspec.Struct, frozen=True):
    """What is known when a job is explained. `zone` is that of whoever reads it; None is this machine's.

    `needs`: the protocol that the job needs if that is newer than ours, else 0.
    """

    record: Record
    stats: QueueStats
    queue: str
    zone: tzinfo | None
    alive: list[tuple[Presence, PresenceInfo]]
    task: str
    schema: int
    needs: int

    def ago(self, ms: int) -> str:
        return duration_words((self.stats.now_ms - ms) / 1000)

    def clock(self, ms: int) -> str:
        """`09:12`, with the date if it is not today's."""
        now = datetime.fromtimestamp(self.stats.now_ms / 1000, UTC).astimezone(self.zone)
        at = datetime.fromtimestamp(ms / 1000, UTC).astimezone(self.zone)
        return f"{at:%H:%M}" if at.date() == now.date() else f"{at:%Y-%m-%d %H:%M}"


def explain(record: Record, stats: QueueStats, queue: str, zone: tzinfo | None = None) -> Explanation:
    """Why this job of the queue named `queue` is where it is."""
    case = _case(record, stats, queue, zone)
    match record.state:
        case "processing":
            sentence, reasons = _processing(case)
        case "scheduled":
            sentence, reasons = _scheduled(case)
        case "pending":
            sentence, reasons = _pending(case)
        case "parked":
            sentence, reasons = _parked(case)
        case "completed" | "dead" | "cancelled" | "expired":
            sentence, reasons = _finished(case)
        case _:
            assert_never(record.state)
    return Explanation(
        job_id=record.id, state=record.state, sentence=sentence, reasons=tuple(reasons), details=_details(case)
    )


def _case(record: Record, stats: QueueStats, queue: str, zone: tzinfo | None) -> _Case:
    task, schema, needs = UNREADABLE_TASK, 1, 0
    try:
        envelope = decode_envelope(record.body)
        task, schema = envelope.task, envelope.schema
    except NewerEnvelope as newer:
        needs = newer.needs
    except UnreadableEnvelope:
        pass  # any worker takes it, and buries it
    return _Case(record, stats, queue, zone, living(stats), task, schema, needs)


Told = tuple[str, list[WaitReason]]


def _processing(case: _Case) -> Told:
    record, stats = case.record, case.stats
    since = f" since {case.clock(record.started_ms)}" if record.started_ms else ""
    if record.lease_ms is not None and record.lease_ms <= stats.now_ms:
        ago = case.ago(record.lease_ms)
        asked = "" if record.cancel is None else " (it was asked to cancel)"
        head = f"Processing{since}{asked}, but its worker{_worker(case)} is silent: the lease ended {ago} ago"
        hindrance, reasons = _hindrance(case)
        if reasons[:1] == ["paused"]:
            return f"{head}. {_upper(_paused(case))}: it runs again after the resume. {_resume(case)}", [
                "lease_lost",
                "paused",
            ]
        if hindrance:
            return f"{head}, and {hindrance}", ["lease_lost", *reasons]
        return f"{head}. The next worker with a free slot runs it again.", ["lease_lost"]
    asked = "" if record.cancel is None else ", and it was asked to cancel"
    ago = f", for {case.ago(record.started_ms)}" if record.started_ms else ""
    head = f"Running on{_worker(case)}{since}{ago}: attempt {record.counts.runs + 1}{asked}"
    if record.lease_ms is None:
        return f"{head}.", ["running"]
    left = duration_words((record.lease_ms - stats.now_ms) / 1000)  # nobody can say yet whether the worker lives
    return f"{head}; its lease ends in {left} unless the worker renews it.", ["running"]


def _scheduled(case: _Case) -> Told:
    due = due_ms(case.record)
    why = _history(case)
    if due <= case.stats.now_ms:
        sentence, reasons = _waits(case, f"Due {case.ago(due)} ago")
        return sentence + why, reasons
    wait = duration_words((due - case.stats.now_ms) / 1000)
    paused: list[WaitReason] = ["paused"] if case.stats.paused_ms is not None else []
    tail = f" {_upper(_paused(case))}. {_resume(case)}" if paused else ""
    return f"Scheduled for {case.clock(due)}, in {wait}.{why}{tail}", ["not_due", *paused]


def _history(case: _Case) -> str:
    """Why a job waits once more: what became of its runs."""
    counts, told = case.record.counts, ""
    if counts.failures:
        failures = [line for line in error_lines(case.record) if line.kind not in (None, _CRASH)]
        last = f", last with {_ended(_error_words(failures[0]))}" if failures else "."
        told += f" It failed {_times(counts.failures)}{last}"
    if counts.crashes:
        told += f" It lost its worker {_times(counts.crashes)}."
    if counts.snoozes and not counts.failures:
        told += f" It snoozed {_times(counts.snoozes)}."
    return told


def _pending(case: _Case) -> Told:
    record = case.record
    newest, counts = error_lines(record)[:1], record.counts
    ago = case.ago(max(record.enqueued_ms, due_ms(record), *(line.ended_ms or 0 for line in newest)))
    last_is_told = counts.snoozes or any(line.attempt == counts.runs for line in newest)
    if counts.interruptions and not last_is_told:  # no store notes when: a part of that time it was running
        return _waits(case, f"Pending, due {ago} ago and handed back by a drain since")
    return _waits(case, f"Pending for {ago}")


def _waits(case: _Case, head: str) -> Told:
    """Why a job that is due has not started: the pause, the workers, then its place in the line."""
    hindrance, reasons = _hindrance(case)
    behind = case.record.behind
    if behind:
        many = f"more than {BEHIND_MOST:,} jobs come" if behind > BEHIND_MOST else f"{count_words(behind, 'job')} come"
        line = f"{many}{'s' if behind == 1 else ''} before it"
    else:
        line = "the next claim takes it" if behind is None else "it is the next one"
    if reasons[:1] == ["full_workers"] and behind is not None:
        return f"{head}: {hindrance.rstrip('.')}, and {line}.", [*reasons, *_behind(behind)]
    if hindrance:
        return f"{head}: {hindrance}", reasons
    return f"{head}: {line}.", _behind(behind)


def _behind(behind: int | None) -> list[WaitReason]:
    return ["behind"] if behind else []


def _hindrance(case: _Case) -> Told:
    """What keeps every worker from running a job that is due: a clause, and the reason; nothing if one can."""
    queue, task = case.queue, case.task
    if case.stats.paused_ms is not None:
        return f"{_paused(case)}. {_resume(case)}", ["paused"]
    workers = [info for _, info in case.alive if not info.draining]
    if not workers:
        leaving = len(case.alive)
        if leaving:
            all_ = "the only worker" if leaving == 1 else f"all {leaving} workers"
            return f"{all_} on queue {queue} {'is' if leaving == 1 else 'are'} draining. Start one.", ["no_worker"]
        return f"no worker is alive on queue {queue}. Start one.", ["no_worker"]
    if case.needs:
        return f"it needs a worker with a newer surefoot (protocol {case.needs}).", ["newer_version"]
    if task == UNREADABLE_TASK:
        able = workers
    else:
        knowing = [info for info in workers if task in info.tasks]
        if not knowing:
            none = f"none of the {len(workers)} workers" if len(workers) > 1 else "the only worker"
            has = "has" if len(workers) > 1 else "does not have"
            return f"{none} on queue {queue} {has} the task {task}.", ["unknown_task"]
        able = [info for info in knowing if info.knows(task, case.schema)]
        if not able:
            return f"no worker knows version {case.schema} of the task {task}; deploy one that does.", ["newer_version"]
    if all(info.full for info in able):
        slots = sum(info.concurrency for info in able)
        if slots == 1:
            return "the only slot is taken.", ["full_workers"]
        return f"all {slots} slots of {count_words(len(able), 'worker')} are taken.", ["full_workers"]
    return "", []


def _parked(case: _Case) -> Told:
    """What it is parked for; if a worker has that by now, what keeps this worker from taking it."""
    record = case.record
    reason = record.reason or ""
    head = "Parked" if record.parked_ms is None else f"Parked for {case.ago(record.parked_ms)}"
    if reason.startswith(_PARKED_NEEDS):
        needs = reason.removeprefix(_PARKED_NEEDS)
        return f"{head}: it needs a worker with a newer surefoot (protocol {needs}).", ["newer_version"]
    task, at, schema = reason.removeprefix(_PARKED_TASK).partition("@")
    version = int(schema) if schema.isdigit() else 1
    if not any(info.knows(task, version) for _, info in case.alive if not info.draining):
        if at:
            words = f"no worker knows version {schema} of the task {task}; deploy one that does."
            return f"{head}: {words}", ["newer_version"]
        return f"{head}: no worker on queue {case.queue} has the task {task}.", ["unknown_task"]
    hindrance, reasons = _hindrance(case)
    able = f"a worker that has the task {task} is alive"
    return f"{head}: {able}, but {hindrance}" if hindrance else f"{head}: {able} and takes it soon.", reasons


def _finished(case: _Case) -> Told:
    record = case.record
    at = (
        ""
        if record.finished_ms is None
        else f" at {case.clock(record.finished_ms)}, {case.ago(record.finished_ms)} ago"
    )
    runs = count_words(record.counts.runs, "run")
    if record.state == "completed":
        return f"Completed{at}, after {runs}.", ["finished"]
    if record.state == "cancelled":
        reason = f" ({_short(record.reason)})" if record.reason else ""
        return f"Cancelled{at}{reason}.", ["finished"]
    if record.state == "expired":
        return f"Expired{at}: it was not started in time.", ["finished"]
    named = [line for line in error_lines(record) if line.kind is not None]
    last = f" Last error: {_ended(_error_words(named[0]))}" if named else ""
    reason = f" ({record.reason})" if record.reason else ""
    return f"Dead{at}{reason}, after {runs}.{last}", ["finished"]


def _error_words(line: ErrorLine) -> str:
    if line.kind == _CRASH:
        return "the worker was lost in mid-run"
    return f"{line.kind}: {line.message}" if line.message else f"{line.kind}"


def _paused(case: _Case) -> str:
    paused_ms = case.stats.paused_ms or 0
    reason = f" ({_short(case.stats.pause_reason)})" if case.stats.pause_reason else ""
    return f"queue {case.queue} is paused since {case.clock(paused_ms)}{reason}"


def _resume(case: _Case) -> str:
    return f"`surefoot resume -q {case.queue}`"


def _worker(case: _Case) -> str:
    caller = case.record.caller
    if not caller or caller == "-":
        return " an unknown worker"
    for presence, info in case.alive:
        if presence.caller == caller and info.name:
            return f" {info.name}:{info.pid} ({caller})"
    return f" {caller}"


def _details(case: _Case) -> dict[str, str | float]:
    record, counts = case.record, case.record.counts
    details: dict[str, str | float] = {
        "queue": case.queue, "task": case.task, "runs": counts.runs, "failures": counts.failures,
        "crashes": counts.crashes, "interruptions": counts.interruptions, "snoozes": counts.snoozes,
        "workers": len(case.alive),
    }  # fmt: skip
    if record.behind is not None and record.behind <= BEHIND_MOST:
        details["behind"] = record.behind
    if record.reason:
        details["reason"] = record.reason
    if record.caller and record.caller != "-":
        details["worker"] = record.caller
    return details


def count_words(number: int, word: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."


def _ended(text: str) -> str:
    """Somebody's words as the end of our sentence."""
    line = _short(text)
    return line if line.endswith(("...", "?", "!")) else f"{line.rstrip('.')}."


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
