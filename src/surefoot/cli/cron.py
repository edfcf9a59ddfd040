"""`surefoot cron`: the recurring jobs of the application's code and of living workers; pause, resume, run one now."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from surefoot.cli.exits import AnswerIsNo
from surefoot.cli.look import Listing, holder
from surefoot.cli.options import scoped
from surefoot.cli.output import Column, Output, clean, since
from surefoot.cli.sending import sent
from surefoot.cli.target import Scope
from surefoot.core.errors import UsageError
from surefoot.core.job import Draft, Key, moment

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from surefoot.client.presence import CronLine
    from surefoot.client.queue import Queue
    from surefoot.client.schedules import CronEntry

_CRONS: Final = tuple(
    Column(title) for title in ("name", "queue", "task", "expression", "zone", "overlap", "next", "last", "")
)
_UNTIL: Final[Mapping[str, Any]] = {"skip": "finished", "queue": "started"}

_EXAMPLES: Final = {
    "list": """\b
Examples:
  surefoot cron list
  surefoot cron app:mail --json

Next and last tick are in the line's own time zone; one that was skipped counts too. Known are the lines in the
application's code, and those that living workers have in theirs.
""",
    "pause": """\b
Example:
  surefoot cron pause nightly --reason "the report is being rebuilt"

Its ticks are skipped until `surefoot cron resume`; the queue and other lines go on.
""",
    "resume": """\b
Example:
  surefoot cron resume nightly
""",
    "run": """\b
Example:
  surefoot cron run nightly

Enqueues one job as a tick would, with the line's arguments; the line's own ticks go on.
""",
}


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One recurring job as `cron list` tells it; `workers`: how many living ones have it in their code."""

    queue: str
    name: str
    task: str
    expression: str
    timezone: str
    overlap: str | None
    next_at: datetime | None
    last_at: datetime | None
    paused: dict[str, Any] | None
    workers: int


@click.group("cron", cls=Listing, short_help="Recurring jobs: list, pause, resume, run.")
def cron() -> None:
    """Recurring jobs: list them, pause, resume or run one. `list` may be left out."""


@cron.command("list", epilog=_EXAMPLES["list"], short_help="Recurring jobs, with their next and last tick.")
@scoped(target=True)
def list_crons(out: Output, scope: Scope) -> int:
    """The recurring jobs of the queues."""
    lines = [line for queue in scope.queues() for line in _lines(queue)]
    if not lines:
        raise AnswerIsNo("there is no cron: neither in the code of the application nor on a living worker.")
    if out.json:
        for line in lines:
            out.record(line)
    else:
        out.table(_CRONS, [_row(line) for line in lines])
    return 0


@cron.command("pause", epilog=_EXAMPLES["pause"], short_help="Skip a cron's ticks.")
@click.argument("name")
@click.option("--reason", metavar="TEXT", help="Why; `cron list` shows it.")
@scoped(target=False)
def pause_cron(out: Output, scope: Scope, *, name: str, reason: str | None) -> int:
    """Skip the ticks of one cron until `surefoot cron resume`."""
    return _steer(out, scope, name, reason or "")


@cron.command("resume", epilog=_EXAMPLES["resume"], short_help="Let a cron go on.")
@click.argument("name")
@scoped(target=False)
def resume_cron(out: Output, scope: Scope, *, name: str) -> int:
    """Let one cron go on."""
    return _steer(out, scope, name, None)


@cron.command("run", epilog=_EXAMPLES["run"], short_help="Enqueue a cron's job now, once.")
@click.argument("name")
@scoped(target=False)
def run_cron(out: Output, scope: Scope, *, name: str) -> int:
    """Enqueue the job of one cron now, once. Its id is printed on stdout."""
    queue, _ = _found(scope, name)
    entry = next((one for one in queue.registry.crons if one.name == name), None)
    if entry is None:
        raise UsageError(
            f"the cron '{name}' of queue '{queue.name}' is known from a worker, which does not say its arguments: "
            "name the application that has it in its code (--app module:queue)."
        )
    handle = sent(out, queue, _draft(queue, entry))
    if handle.duplicate:
        raise AnswerIsNo(
            f"the last job of cron '{name}' is not over, and its overlap is '{entry.overlap}': {handle.id}"
        )
    if out.json:
        out.record({"id": handle.id, "queue": queue.name, "task": entry.task, "cron": name})
    else:
        out.answer(clean(handle.id))
        out.say(clean(f"{entry.task} is enqueued on queue '{queue.name}'."))
    return 0


def _draft(queue: "Queue", entry: "CronEntry") -> Draft[Any]:
    """The job of a tick, under an id of its own. Its key is that of all jobs of the entry: overlap holds for it too."""
    from surefoot.client.session import new_id

    until = _UNTIL.get(entry.overlap)
    return Draft(
        id=new_id(), queue=queue.name, task=entry.task, payload=entry.payload, priority=entry.priority,
        schema=entry.schema, key=None if until is None else Key(f"cron:{entry.name}", until=until),
    )  # fmt: skip


def _steer(out: Output, scope: Scope, name: str, reason: str | None) -> int:
    """Pause with a reason, which may be empty, or resume with None."""
    from surefoot.brokers.broker import Configure
    from surefoot.client.who import who

    queue, line = _found(scope, name)
    queue.sessions.ask_sync([Configure(queue.full_name, cron=(name, reason), who=who())])
    if out.json:
        now = next((one for one in _lines(queue) if one.name == name), line)
        out.record({"queue": queue.name, "cron": name, "paused": now.paused})
        return 0
    what = "goes on" if reason is None else f"is paused ({reason})" if reason else "is paused"
    out.say(clean(f"cron '{name}' of queue '{queue.name}' {what}."))
    return 0


def _found(scope: Scope, name: str) -> tuple["Queue", Line]:
    lines = {queue: {line.name: line for line in _lines(queue)} for queue in scope.queues()}
    queue = holder(lines, "cron", name)
    return queue, lines[queue][name]


def _lines(queue: "Queue") -> list[Line]:
    """The lines of one queue. What living workers say wins over the code here: it is what will run next."""
    from surefoot.brokers.broker import Stats
    from surefoot.client.presence import living

    (stats,) = queue.sessions.ask_sync([Stats(queue.full_name, 0)])
    here = {entry.name: entry for entry in queue.registry.crons}
    workers = [info for _, info in living(stats)]
    told = {name: entry.line() for name, entry in here.items()}
    told |= {line.name: line for info in workers for line in info.cron_lines}
    (stats,) = queue.sessions.ask_sync([Stats(queue.full_name, 0, tuple(told))])
    found: list[Line] = []
    for name, line in told.items():
        state = stats.crons.get(name)
        paused = None if state is None or state.paused_ms is None else state
        zone = _zone(line.timezone)
        found.append(
            Line(
                queue=queue.name, name=name, task=line.task, expression=line.expression, timezone=line.timezone,
                overlap=here[name].overlap if name in here else None,
                next_at=_at(_next_ms(line, stats.now_ms), zone),
                last_at=_at(None if state is None else state.last_ms, zone),
                paused=None if paused is None else {"since": _at(paused.paused_ms), "reason": paused.reason or None},
                workers=sum(name in info.crons for info in workers),
            )
        )  # fmt: skip
    return found


def _next_ms(line: "CronLine", now_ms: int) -> int | None:
    from surefoot.core.schedule import Schedule, parse_cron

    try:
        if line.interval_ms is None:
            return parse_cron(line.expression, line.timezone).next_ms(now_ms)
        ticks = Schedule(expression=line.expression, timezone=line.timezone, interval_ms=line.interval_ms)
        return ticks.next_ms(now_ms)
    except Exception:  # another release's worker may say what is no line here
        return None


def _zone(name: str) -> "ZoneInfo":
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # the same
        return ZoneInfo("UTC")


def _at(ms: int | None, zone: "ZoneInfo | None" = None) -> datetime | None:
    return None if ms is None else moment(ms).astimezone(zone) if zone else moment(ms)


def _row(line: Line) -> tuple[str, ...]:
    remarks = []
    if line.paused is not None:
        reason = f": {line.paused['reason']}" if line.paused["reason"] else ""
        remarks.append(f"paused since {since(line.paused['since'])}{reason}")
    if not line.workers:
        remarks.append("no living worker has it")
    return (
        line.name, line.queue, line.task, line.expression, line.timezone, line.overlap or "-",
        _shown(line.next_at), _shown(line.last_at), ", ".join(remarks),
    )  # fmt: skip


def _shown(at: datetime | None) -> str:
    return "-" if at is None else f"{at:%a %Y-%m-%d %H:%M:%S}"
