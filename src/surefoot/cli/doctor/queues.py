"""What is not in order in the queues of a store: nobody at work, unknown tasks, what is broken. Only looks."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from surefoot.brokers.answers import Damage, QueueStats
from surefoot.brokers.broker import Find, Orphans, Stats
from surefoot.cli.doctor.findings import Finding, fail, ok, warn
from surefoot.cli.output import counted, since
from surefoot.client.presence import PresenceInfo, living
from surefoot.core.job import moment

if TYPE_CHECKING:
    from surefoot.brokers.answers import Page
    from surefoot.client.queue import Queue

LOOK_MOST: Final = 100_000
"""How many records of a queue are looked at for damage."""
_PARKED_PAGES: Final = 10
_NAMES_MOST: Final = 5


class Ward(msgspec.Struct, frozen=True):
    """One queue as it was met: its numbers, its living workers, what is broken in it."""

    queue: "Queue"
    stats: QueueStats
    workers: tuple[PresenceInfo, ...]
    damage: Damage


def met(queue: "Queue") -> Ward:
    """Look at a queue."""
    stats: QueueStats
    [stats] = queue.sessions.ask_sync([Stats(queue.full_name, 0)])
    return Ward(queue, stats, tuple(info for _, info in living(stats)), search(queue))


def search(queue: "Queue") -> Damage:
    """What is broken in a queue; `cursor` is not None if it is too long to be looked at to its end."""
    found = Damage()
    while True:
        page: Damage
        [page] = queue.sessions.ask_sync([Orphans(queue.full_name, found.cursor)])
        found = Damage(
            tuple(dict.fromkeys((*found.lost, *page.lost))), tuple(dict.fromkeys((*found.strays, *page.strays))),
            tuple(dict.fromkeys((*found.keys, *page.keys))), page.nameless, found.looked + page.looked, page.cursor,
        )  # fmt: skip
        if found.cursor is None or found.looked >= LOOK_MOST:
            return found


def judge_queues(wards: Sequence[Ward], target: str) -> Iterator[Finding]:
    """What each check found, queue by queue; one line if it found nothing in any. `target`: how they are named here."""
    checks: tuple[tuple[str, str, Callable[[Ward, str], Iterator[Finding]]], ...] = (
        ("workers", "nothing waits without a worker", _workers),
        ("tasks", "no job waits for a task that nobody serves", _tasks),
        ("leases", "none has ended untaken", _leases),
        ("paused", "none is paused", _paused),
        ("dead", "no dead letters", _dead),
        ("orphans", "every job is whole", _orphans),
    )
    queues = counted(len(wards), "queue")
    for check, fine, look in checks:
        found = [finding for ward in wards for finding in look(ward, target)]
        yield from found or [ok(check, f"{fine} ({queues}).", queues=[ward.queue.name for ward in wards])]


def _workers(ward: Ward, target: str) -> Iterator[Finding]:
    stats = ward.stats
    waits = stats.pending + stats.scheduled + stats.parked
    if ward.workers or not (waits or stats.processing):
        return
    words = [f"{count:,} {state}" for state, count in (("waiting", waits), ("running", stats.processing)) if count]
    yield warn(
        "workers", f"queue '{ward.queue.name}' has jobs ({', '.join(words)}) and no living worker.",
        f"Start one: surefoot worker {target or 'MODULE:QUEUE'}", queue=ward.queue.name, waiting=waits,
        processing=stats.processing,
    )  # fmt: skip


def _tasks(ward: Ward, target: str) -> Iterator[Finding]:
    queue, workers = ward.queue, ward.workers
    for reason, count in sorted(_parked(ward).items()):
        kind, _, rest = reason.partition(":")
        task, _, schema = rest.partition("@")
        wanted = int(schema) if schema.isdigit() else 1
        if kind == "task" and any(info.knows(task, wanted) for info in workers):
            continue
        what = f"task '{task}'" + (f" (schema {schema})" if schema else "")
        words = f"a release that understands {rest}" if kind == "needs" else f"{what}, which no living worker has"
        yield warn(
            "tasks", f"{counted(count, 'job')} of queue '{queue.name}' are parked for {words}.",
            "Start a worker that has it; after a day they are dead letters." if kind == "task" else "Upgrade a worker.",
            queue=queue.name, reason=reason, jobs=count,
        )  # fmt: skip
    served = {task for info in workers for task in info.tasks}
    unserved = sorted(set(queue.specs) - served) if workers else []
    if unserved:
        some = ", ".join(unserved[:_NAMES_MOST]) + (", ..." if len(unserved) > _NAMES_MOST else "")
        yield warn(
            "tasks", f"no living worker of queue '{queue.name}' has {some}.",
            "Start its workers anew with the code that you have here.", queue=queue.name, unserved=unserved,
        )  # fmt: skip


def _parked(ward: Ward) -> Counter[str]:
    """What the parked jobs wait for; of very many only the newest are looked at."""
    reasons: Counter[str] = Counter()
    cursor = None
    for _ in range(_PARKED_PAGES if ward.stats.parked else 0):
        page: Page
        [page] = ward.queue.sessions.ask_sync([Find(ward.queue.full_name, "parked", cursor, 1_000)])
        reasons.update(record.reason or "" for record in page.records)
        cursor = page.cursor
        if cursor is None:
            break
    return reasons


def _leases(ward: Ward, target: str) -> Iterator[Finding]:
    ended = ward.stats.ended_leases
    if not ended:
        return
    if ward.stats.paused_ms is not None:
        way_out = f"Resume it: surefoot resume -q {ward.queue.name}"
    elif ward.workers:
        way_out = "A worker with a free slot takes them within seconds; look again: surefoot workers"
    else:
        way_out = f"Start a worker: surefoot worker {target or 'MODULE:QUEUE'}"
    yield warn(
        "leases", f"{counted(ended, 'job')} of queue '{ward.queue.name}' lost their worker, and nobody took them over.",
        way_out, queue=ward.queue.name, ended=ended,
    )  # fmt: skip


def _paused(ward: Ward, target: str) -> Iterator[Finding]:
    stats = ward.stats
    if stats.paused_ms is not None:
        why = f": {stats.pause_reason}" if stats.pause_reason else ""
        yield warn(
            "paused", f"queue '{ward.queue.name}' is paused since {since(moment(stats.paused_ms))}{why}.",
            f"Resume it: surefoot resume -q {ward.queue.name}", queue=ward.queue.name, reason=stats.pause_reason,
        )  # fmt: skip


def _dead(ward: Ward, target: str) -> Iterator[Finding]:
    dead = ward.stats.dead
    if dead:
        yield warn(
            "dead", f"{counted(dead, 'dead letter')} in queue '{ward.queue.name}'.",
            f"Look at them: surefoot dead list -q {ward.queue.name}", queue=ward.queue.name, dead=dead,
        )  # fmt: skip


def _orphans(ward: Ward, target: str) -> Iterator[Finding]:
    queue, damage = ward.queue, ward.damage
    parts = broken_words(damage)
    details = {"queue": queue.name, "lost": damage.lost, "strays": damage.strays, "keys": damage.keys}
    command = " ".join(word for word in ("surefoot doctor", target, "--repair") if word)
    if parts:
        yield fail("orphans", f"queue '{queue.name}': {parts}.", f"Put it right: {command}", **details)
    if damage.cursor is not None:
        yield warn(
            "orphans", f"queue '{queue.name}' is long: only {damage.looked:,} records were looked at.", None,
            queue=queue.name, looked=damage.looked,
        )  # fmt: skip


def ownerless(wards: Sequence[Ward], *, one: bool) -> tuple[list[Ward], Finding | None]:
    """Wards, and what there is to say of stray bodies that do not tell their queue: they are taken for its own only
    where there is `one` queue that they can be of.
    """
    strays = next((ward.damage.strays for ward in wards if ward.damage.nameless and ward.damage.strays), ())
    if not strays or one:
        return list(wards), None
    others = [msgspec.structs.replace(ward, damage=msgspec.structs.replace(ward.damage, strays=())) for ward in wards]
    return others, fail(
        "orphans", f"{broken_words(Damage(strays=strays))}; nothing says of which queue.",
        "Say which one: surefoot doctor -q NAME --repair", queue=None, strays=strays,
    )  # fmt: skip


def broken_words(damage: Damage) -> str:
    """What is broken, in words; empty if nothing is."""
    words = [
        (len(damage.lost), "job without a body", "jobs without a body"),
        (len(damage.strays), "body that stands in no place", "bodies that stand in no place"),
        (len(damage.keys), "key whose holder is gone", "keys whose holder is gone"),
    ]
    return ", ".join(f"{count:,} {one if count == 1 else many}" for count, one, many in words if count)
