"""Commands that look and change nothing: stats, jobs list, jobs show, explain."""

import os
import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any, Final, get_args

import click
import msgspec

from surefoot import clock
from surefoot.cli.exits import AnswerIsNo
from surefoot.cli.options import duration, duration_above_zero, scoped
from surefoot.cli.output import Column, Output, age, clean, counted, grid, since, when
from surefoot.cli.target import Scope
from surefoot.core.codec import ErrorLine, decode_error
from surefoot.core.errors import UsageError
from surefoot.core.job import Job, moment
from surefoot.core.names import State, did_you_mean

if TYPE_CHECKING:
    from surefoot.client.queue import Queue

STATES: Final[tuple[str, ...]] = get_args(State)

_STATS: Final = (
    Column("queue", least=8),
    *(Column(title, right=True) for title in ("scheduled", "pending", "parked", "processing", "dead")),
    Column("oldest", right=True, least=7),
    Column("done/min", right=True, least=9),
    *(Column(title, right=True) for title in ("failed/min", "workers")),
    Column(""),
)
_JOBS: Final = (
    *(Column(title) for title in ("id", "queue", "task", "state", "enqueued")),
    Column("runs", right=True),
    Column(""),
)
_WATCH_S: Final = "2"

_EXAMPLES: Final = {
    "stats": """\b
Examples:
  surefoot stats                      the queues of SUREFOOT_APP, or of the store at SUREFOOT_URL
  surefoot stats app:mail --watch     again every 2 seconds, until Ctrl-C
  surefoot stats --url sqlite:///jobs.db --json

done/min and failed/min are over the last one to two minutes; workers are those seen in the last 45 s.
""",
    "list": """\b
Examples:
  surefoot jobs --state processing
  surefoot jobs list app:mail --task welcome --since 2h --limit 20
""",
    "show": """\b
Example:
  surefoot jobs show 01999c0e7d1a9b1f0d7e5a1c2f44
""",
    "explain": """\b
Example:
  surefoot explain 01999c0e7d1a9b1f0d7e5a1c2f44
""",
}


@click.command("stats", epilog=_EXAMPLES["stats"], short_help="Queues in numbers.")
@click.option(
    "--watch",
    metavar="[D]",
    is_flag=False,
    flag_value=_WATCH_S,
    callback=duration_above_zero,
    help="Again every D (2s).",
)
@scoped(target=True)
def stats(out: Output, scope: Scope, *, watch: float | None) -> int:
    """One line a queue: what waits, what runs, what died, how fast it goes, and who works."""
    queues = scope.queues()
    if not queues:
        raise AnswerIsNo("there is no queue in this store yet.")
    if watch is None:
        _tell_stats(out, queues)
        return 0
    try:
        _watch_stats(out, queues, watch)
    except KeyboardInterrupt:
        out.say("")
    return 0


def _watch_stats(out: Output, queues: Sequence["Queue"], seconds: float) -> None:
    console = out.console()
    if out.json or not sys.stdout.isatty() or console.is_dumb_terminal:
        while True:
            _tell_stats(out, queues)
            clock.sleep_blocking(seconds)
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(grid(_STATS, [_stats_row(queue.name, _facts(queue)) for queue in queues]), refresh=True)
            clock.sleep_blocking(seconds)


def _tell_stats(out: Output, queues: Sequence["Queue"]) -> None:
    facts = [(queue.name, _facts(queue)) for queue in queues]
    if out.json:
        for name, fact in facts:
            out.record({"queue": name, **fact})
    else:
        out.table(_STATS, [_stats_row(name, fact) for name, fact in facts])


def _facts(queue: "Queue") -> dict[str, Any]:
    """A queue's numbers under the keys of --json."""
    now, minutes = queue.stats_sync(), queue.history_sync(2)
    seconds = 60 + clock.wall_ms() % 60_000 / 1000
    return {
        "scheduled": now.scheduled,
        "pending": now.pending,
        "parked": now.parked,
        "processing": now.processing,
        "dead": now.dead,
        "oldest_pending": now.oldest_pending,
        "done_per_minute": round(sum(one.completed for one in minutes) * 60 / seconds),
        "failed_per_minute": round(sum(one.failed for one in minutes) * 60 / seconds),
        "workers": now.workers,
        "paused": None if now.paused is None else {"since": now.paused.since, "reason": now.paused.reason},
    }


def _stats_row(name: str, fact: Mapping[str, Any]) -> tuple[str, ...]:
    numbers = [f"{fact[key]:,}" for key in ("scheduled", "pending", "parked", "processing", "dead")]
    rates = [f"{fact[key]:,}" for key in ("done_per_minute", "failed_per_minute", "workers")]
    return name, *numbers, age(fact["oldest_pending"]), *rates, _paused(fact["paused"])


def _paused(pause: Mapping[str, Any] | None) -> str:
    if pause is None:
        return ""
    reason = f": {pause['reason']}" if pause["reason"] else ""
    return f"paused since {since(pause['since'])}{reason}"


class Listing(click.Group):
    """A group whose first word may be left out: then it is `list`.

    A word that is near a command is that one misspelt, unless it names a module here: `jobs shop` is not `jobs show`.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`jobs app:mail --limit 5` is `jobs list app:mail --limit 5`."""
        word = args[0] if args else ""
        near = did_you_mean(word, self.commands) and PathFinder.find_spec(word, [os.getcwd()]) is None
        if word not in (*self.commands, *ctx.help_option_names) and not near:
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group("jobs", cls=Listing, short_help="List jobs, or show one.")
def jobs() -> None:
    """List jobs, or show one. `list` may be left out."""


def _reserved(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise UsageError(f"--group {value}: 'group' is reserved and not in this release; use --task.")


group_option: Final = click.option("--group", hidden=True, expose_value=False, callback=_reserved)


@jobs.command("list", epilog=_EXAMPLES["list"], short_help="Jobs, newest first in each state.")
@click.option("--state", type=click.Choice(STATES), help="Only in this state.")
@click.option("--task", help="Only of this task.")
@click.option("--since", metavar="D", callback=duration, help="Only those enqueued in the last D: 90s, 5m, 2h, 1d.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="The most of each queue.")
@group_option
@scoped(target=True)
def list_jobs(out: Output, scope: Scope, *, limit: int, **filters: Any) -> int:
    """Jobs of the queues, newest first in each state."""
    filters["since"] = ago(filters["since"])
    tell_some(out, limit, [queue.find_sync(limit=limit + 1, **filters) for queue in scope.queues()], "no job matches.")
    return 0


def tell_some(out: Output, limit: int, pages: Sequence[Sequence[Job]], none: str) -> None:
    """The first `limit` jobs of each page; a page with one more tells that there are more."""
    tell_jobs(out, [job for page in pages for job in page[:limit]], none)
    if any(len(page) > limit for page in pages):
        out.say(f"there are more: of each queue {limit:,} at most are shown; --limit shows more.")


def tell_jobs(out: Output, found: Sequence[Job], none: str) -> None:
    """A table of jobs, or their records; AnswerIsNo with the sentence `none` if there are none."""
    if not found:
        raise AnswerIsNo(none)
    if out.json:
        for job in found:
            out.record(job)
    else:
        out.table(_JOBS, [_job_row(job) for job in found])


def _job_row(job: Job) -> tuple[str, ...]:
    return job.id, job.queue, job.task, job.state, when(job.enqueued_at) or "", f"{job.runs:,}", _remark(job)


def _remark(job: Job) -> str:
    if job.state == "scheduled":
        return f"due {when(job.due_at)}"
    if job.state == "processing" and job.started_at is not None:
        return f"since {when(job.started_at)}"
    error = None if job.error is None else f"{job.error.kind}: {job.error.message}"
    if job.state == "dead":
        return ", ".join(word for word in (job.reason, error) if word)
    return error or ""


def ago(seconds: float | None) -> datetime | None:
    """The moment so many seconds before now."""
    return None if seconds is None else moment(clock.wall_ms()) - timedelta(seconds=seconds)


@jobs.command("show", epilog=_EXAMPLES["show"], short_help="All that the store knows of one job.")
@click.argument("id")
@scoped(target=False)
def show_job(out: Output, scope: Scope, *, id: str) -> int:
    """All that the store knows of one job: its facts, its arguments, the error of each attempt."""
    queue, job = located(scope, id)
    tell_job(out, job, errors_of(queue, id))
    return 0


def located(scope: Scope, id: str) -> tuple["Queue", Job]:
    """The job with this id and its queue; AnswerIsNo if no queue of the scope knows it."""
    queues = scope.queues()
    for queue in queues:
        job = queue.get_sync(id)
        if job is not None:
            return queue, job
    names = ", ".join(queue.name for queue in queues) or "no queue at all"
    raise AnswerIsNo(f"there is no job {id} ({names}): it ended and keeps no outcome, or it never was.")


def holder(named: Mapping["Queue", Collection[str]], noun: str, name: str) -> "Queue":
    """The one queue that has something of this name; UsageError if none has it, or several have."""
    having = [queue for queue, names in named.items() if name in names]
    if len(having) == 1:
        return having[0]
    owners = ", ".join(f"'{queue.name}'" for queue in having or named)
    if having:
        raise UsageError(f"'{name}' is a {noun} of the queues {owners}: name one of them with -q.")
    known = sorted({one for names in named.values() for one in names})
    head = f"queue {owners} has no {noun}" if len(named) == 1 else f"none of the queues {owners} has a {noun}"
    if not named:
        head = f"there is no queue, and so no {noun}"
    raise UsageError(f"{head} '{name}'{did_you_mean(name, known) or '.'} Known: {', '.join(known) or 'none'}.")


def errors_of(queue: "Queue", id: str) -> list[ErrorLine]:
    """The kept errors of a job, newest first: more than a Job carries, so the store is asked."""
    from surefoot.brokers.broker import Get

    ((record,),) = queue.sessions.ask_sync([Get(queue.full_name, (id,))])
    return [] if record is None else [decode_error(line) for line in record.errors]


def tell_job(out: Output, job: Job, errors: Sequence[ErrorLine]) -> None:
    """One job with everything."""
    if out.json:
        out.record({**msgspec.to_builtins(job), "errors": [_error_record(line) for line in errors]})
        return
    out.facts(_job_facts(job), indent="")
    out.answer("arguments")
    out.block(msgspec.json.format(msgspec.json.encode(job.arguments)).decode(), indent="  ")
    for line in errors:
        ended = None if line.ended_ms is None else when(moment(line.ended_ms))
        words = [word for word in (f"attempt {line.attempt}" if line.attempt else None, ended) if word]
        out.answer(clean(f"error {', '.join(words)}".rstrip() + f": {_error_words(line)}"))
        out.block(line.traceback or "", indent="  ")


def _error_words(line: ErrorLine) -> str:
    words = ": ".join(word for word in (line.kind, line.message) if word)
    worker = f" (worker {line.caller})" if line.caller and line.kind == "crash" else ""
    return f"{words or line.reason or 'unknown'}{worker}"


def _error_record(line: ErrorLine) -> dict[str, Any]:
    return {
        "kind": line.kind, "message": line.message, "traceback": line.traceback, "attempt": line.attempt,
        "started_at": None if line.started_ms is None else moment(line.started_ms),
        "ended_at": None if line.ended_ms is None else moment(line.ended_ms),
        "worker": line.caller, "reason": line.reason,
    }  # fmt: skip


def _job_facts(job: Job) -> list[tuple[str, str | None]]:
    ended = [
        (job.failures, "failure"),
        (job.crashes, "crash"),
        (job.interruptions, "interruption"),
        (job.snoozes, "snooze"),
    ]
    counts = ", ".join(counted(number, noun) for number, noun in ended if number)
    most = "" if job.max_attempts is None else f", at most {job.max_attempts:,} may fail"
    progress = job.progress
    return [
        ("job", job.id),
        ("queue", job.queue),
        ("task", job.task),
        ("state", f"{job.state} ({job.reason})" if job.reason else job.state),
        ("key", job.key),
        ("priority", str(job.priority)),
        ("enqueued", when(job.enqueued_at)),
        ("due", when(job.due_at)),
        ("started", when(job.started_at)),
        ("finished", when(job.finished_at)),
        ("worker", job.worker),
        ("runs", f"{job.runs:,}" + (f" ({counts})" if counts else "") + most),
        ("progress", None if progress is None else _progress(progress.done, progress.total, progress.note)),
        ("headers", msgspec.json.encode(job.headers).decode() if job.headers else None),
    ]


def _progress(done: float, total: float | None, note: str | None) -> str:
    return f"{done:g}" + ("" if total is None else f" of {total:g}") + (f", {note}" if note else "")


@click.command("explain", epilog=_EXAMPLES["explain"], short_help="Why a job is where it is.")
@click.argument("id")
@scoped(target=False)
def explain(out: Output, scope: Scope, *, id: str) -> int:
    """Why a job is where it is: one sentence, then the facts."""
    queue, _ = located(scope, id)
    told = queue.explain_sync(id)
    if out.json:
        out.record({
            "job": told.job_id, "queue": queue.name, "state": told.state, "sentence": told.sentence,
            "reasons": list(told.reasons), "details": dict(told.details),
        })  # fmt: skip
        return 0
    out.answer(clean(told.sentence))
    out.facts([(name, f"{value:,}" if isinstance(value, int) else str(value)) for name, value in told.details.items()])
    return 0
