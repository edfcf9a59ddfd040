"""What a visitor changes: one function an action, from a checked form to the address that is shown next.

Rights are asked before these are called; origin and password before that.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final, cast

import msgspec

from surefoot import clock
from surefoot.brokers.broker import Configure
from surefoot.client.dead import DeadLetters
from surefoot.client.queue import Queue
from surefoot.client.records import job_of
from surefoot.client.schedules import CronEntry
from surefoot.client.session import new_id
from surefoot.core.codec import decode_json
from surefoot.core.errors import UsageError
from surefoot.core.job import Draft, Key, moment
from surefoot.core.names import DeadReason
from surefoot.dashboard.facts import looked_up, stats_of
from surefoot.dashboard.guard import Action
from surefoot.dashboard.house import House
from surefoot.dashboard.letters import wanted
from surefoot.dashboard.operations import Operations
from surefoot.dashboard.scan import scan

Where = tuple[str, dict[str, Any]]
"""The path and the query of the page that is shown next."""

_UNTIL: Final[dict[str, Any]] = {"skip": "finished", "queue": "started"}
_ASKED_MOST: Final = 100_000
_LONGEST: Final = 500


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs a bulk action is for, and how many these are: what the confirmation shows and sends again."""

    verb: str
    queue: str
    ids: tuple[str, ...]
    task: str
    error: str
    reason: str
    until_ms: int
    count: int
    more: bool = False


class Visit(msgspec.Struct, frozen=True):
    """One change: who asks, of which queues, and what the form says."""

    house: House
    operations: Operations
    who: str
    form: Mapping[str, list[str]]

    def word(self, name: str, most: int = _LONGEST) -> str:
        """A field of the form as text."""
        value = self.form.get(name, [""])[0]
        if len(value) > most:
            raise UsageError(f"the field '{name}' is longer than {most:,} letters.")
        return value

    async def queue(self) -> Queue:
        """The queue that the form names."""
        return await self.house.queue(self.word("queue"))

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids that were chosen."""
        return tuple(dict.fromkeys(self.form.get("id", ())))

    @property
    def id(self) -> str:
        """The one id that was chosen."""
        if len(self.ids) != 1:
            raise UsageError("the form names no job, or several, where one is meant.")
        return self.ids[0]


async def pause(visit: Visit) -> Where:
    """Hold a queue's work."""
    queue = await visit.queue()
    await queue.sessions.ask([Configure(queue.full_name, paused=visit.word("reason"), who=visit.who)])
    return "/queue", {"name": queue.name, "done": "paused"}


async def resume(visit: Visit) -> Where:
    """Let a queue's work go on."""
    queue = await visit.queue()
    await queue.sessions.ask([Configure(queue.full_name, paused=None, who=visit.who)])
    return "/queue", {"name": queue.name, "done": "resumed"}


async def pause_cron(visit: Visit) -> Where:
    """Skip the ticks of one cron."""
    queue = await visit.queue()
    await queue.sessions.ask(
        [Configure(queue.full_name, cron=(visit.word("cron"), visit.word("reason")), who=visit.who)]
    )
    return "/crons", {"done": "cron-paused"}


async def resume_cron(visit: Visit) -> Where:
    """Let one cron go on."""
    queue = await visit.queue()
    await queue.sessions.ask([Configure(queue.full_name, cron=(visit.word("cron"), None), who=visit.who)])
    return "/crons", {"done": "cron-resumed"}


async def run_cron(visit: Visit) -> Where:
    """Enqueue the job of one cron as a tick would, once."""
    queue, name = await visit.queue(), visit.word("cron")
    entry = next((one for one in queue.registry.crons if one.name == name), None)
    if entry is None:
        raise UsageError(
            f"the cron '{name}' of queue '{queue.name}' is known from a worker, which does not say its arguments: "
            "start the dashboard with the application that has it in its code."
        )
    handle = await queue.enqueue(_tick(queue, entry))
    if handle.duplicate:
        raise UsageError(f"the last job of cron '{name}' is not over, and its overlap is '{entry.overlap}'.")
    return "/job", {"queue": queue.name, "id": handle.id, "done": "enqueued"}


def _tick(queue: Queue, entry: CronEntry) -> Draft[Any]:
    """The job of a tick under an id of its own; its key is that of all jobs of the entry, so overlap holds for it."""
    until = _UNTIL.get(entry.overlap)
    return Draft(
        id=new_id(), queue=queue.name, task=entry.task, payload=entry.payload, priority=entry.priority,
        schema=entry.schema, key=None if until is None else Key(f"cron:{entry.name}", until=until),
    )  # fmt: skip


async def cancel(visit: Visit) -> Where:
    """End the chosen jobs: waiting ones at once, running ones are asked."""
    queue, ids = await visit.queue(), visit.ids
    count = await queue.cancel(*ids, reason=visit.word("reason") or f"by {visit.who}") if ids else 0
    if len(ids) == 1:
        return "/job", {"queue": queue.name, "id": ids[0], "done": "cancelled", "count": count}
    return "/jobs", {"queue": queue.name, "state": visit.word("state"), "done": "cancelled", "count": count}


async def edit(visit: Visit) -> Where:
    """Change the arguments of a dead letter, checked as at enqueue; `then` requeue: and run it again."""
    queue, id = await visit.queue(), visit.id
    record, _ = await looked_up(queue, id)
    given = _arguments(visit)
    if record.state != "dead":
        raise UsageError(f"job {id} is {record.state}; only a dead letter can be edited.")
    missing = set(job_of(record, queue.name, queue.specs).arguments) - set(given)
    if missing:
        raise UsageError(f"the argument '{sorted(missing)[0]}' cannot be taken out of a dead letter; give it a value.")
    await queue.dead.edit(id, **given)
    if visit.word("then") == "requeue":
        count = await queue.dead.requeue(id)
        return "/job", {"queue": queue.name, "id": id, "done": "requeued", "count": count}
    return "/job", {"queue": queue.name, "id": id, "done": "edited"}


async def again(visit: Visit) -> Where:
    """Enqueue a new job of the same task, with these arguments."""
    queue, id = await visit.queue(), visit.id
    job = await queue.get(id)
    if job is None:
        raise UsageError(f"queue '{queue.name}' does not know job {id} any more.")
    draft = queue.by_name(job.task).draft(**_arguments(visit))
    handle = await queue.enqueue(draft.with_headers(**job.headers) if job.headers else draft)
    return "/job", {"queue": queue.name, "id": handle.id, "done": "enqueued"}


def _arguments(visit: Visit) -> dict[str, Any]:
    try:
        given = decode_json(visit.word("arguments", 1_500_000).encode())
    except (msgspec.MsgspecError, ValueError, RecursionError) as fault:
        raise UsageError(f"the arguments are no JSON: {fault}") from None
    if not isinstance(given, dict):
        raise UsageError("the arguments are a JSON object: a value for each parameter's name.")
    return given


async def ask(visit: Visit) -> Asked:
    """Count what a bulk action is for, before it is made. Of all that match, later deaths are not meant."""
    verb, _, which = visit.word("do").partition(" ")
    if verb not in BULK or which not in ("selected", "matching"):
        raise UsageError("the form does not say what is to be done.")
    queue = await visit.queue()
    task, error, reason = visit.word("task"), visit.word("error"), visit.word("reason")
    stats = await stats_of(queue)
    ids = visit.ids if which == "selected" else ()
    count, more = len(ids), False
    if which == "matching" and verb == "cancel":
        raise UsageError("choose the jobs that are to be cancelled.")
    if which == "matching" and not (task or error or reason):
        count = stats.dead
    elif which == "matching":
        found = await scan(
            queue, "dead", lambda one: wanted(one, task=task, error=error, reason=reason),
            enough=_ASKED_MOST, most=_ASKED_MOST,
        )  # fmt: skip
        count, more = len(found.records), found.cursor is not None
    if not count:
        raise UsageError("no job is chosen: mark some, or take all that match.")
    return Asked(
        verb=verb, queue=queue.name, ids=ids, task=task, error=error, reason=reason, until_ms=stats.now_ms, count=count,
        more=more,
    )  # fmt: skip


async def requeue(visit: Visit) -> Where:
    """Try dead letters again, all at once or so many a second."""
    rate = visit.word("per_second").strip()
    try:
        per_second = float(rate) if rate else None
    except ValueError:
        raise UsageError(f"'{rate}' is not a number of jobs a second.") from None
    queue, ids = await visit.queue(), visit.ids
    if ids and per_second is None:
        count = await queue.dead.requeue(*ids)
        return _after(visit, queue, "requeued", count)
    return _begun(
        visit, queue, "requeue", lambda letters, wanted: letters.requeue(*ids, per_second=per_second, **wanted)
    )


async def delete(visit: Visit) -> Where:
    """Forget dead letters for good."""
    queue, ids = await visit.queue(), visit.ids
    if ids:
        return _after(visit, queue, "deleted", await queue.dead.delete(*ids))
    return _begun(visit, queue, "delete", lambda letters, wanted: letters.delete(**wanted))


def _after(visit: Visit, queue: Queue, done: str, count: int) -> Where:
    back = {word: visit.word(word) for word in ("task", "error", "reason")}
    return "/dead", {"queue": queue.name, **back, "done": done, "count": count}


def _begun(visit: Visit, queue: Queue, verb: str, change: Callable[[DeadLetters, dict[str, Any]], Any]) -> Where:
    until_ms, count = visit.word("until_ms"), visit.word("count")
    if not (until_ms.isdigit() and count.isdigit()):
        raise UsageError("the form does not say which dead letters are meant.")
    chosen: dict[str, Any] = {}
    if not visit.ids:
        until: datetime = moment(min(int(until_ms), clock.wall_ms() + 86_400_000))
        chosen = {"until": until, "task": visit.word("task") or None, "error": visit.word("error") or None}
        chosen["reason"] = cast("DeadReason | None", visit.word("reason") or None)
    one = visit.operations.start(queue, verb, int(count), visit.who, lambda letters: change(letters, chosen))
    return "/operation", {"id": one.id}


async def stop(visit: Visit) -> Where:
    """End an operation where it is."""
    id = visit.word("operation")
    visit.operations.stop(id)
    return "/operation", {"id": id}


BULK: Final = {"requeue": "requeue", "delete": "delete", "cancel": "cancel"}
"""The bulk actions, each with the right that it needs."""

DOORS: Final[dict[str, tuple[Action, Callable[[Visit], Awaitable[Where]]]]] = {
    "pause": ("pause", pause),
    "resume": ("pause", resume),
    "cron-pause": ("pause", pause_cron),
    "cron-resume": ("pause", resume_cron),
    "cron-run": ("enqueue", run_cron),
    "cancel": ("cancel", cancel),
    "edit": ("edit", edit),
    "again": ("enqueue", again),
    "requeue": ("requeue", requeue),
    "delete": ("delete", delete),
    "stop": ("requeue", stop),
}
"""Each change by its address: the right it needs, and what makes it. An `edit` that requeues needs both rights."""
