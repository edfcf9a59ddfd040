"""The verbs get, stats and queues as steps: commands out, replies in. Plain reads, no script; find lives in find.py.

A reply is bytes as the server sent it. Each pipeline may be interleaved with other clients' writes.
"""

import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from surefoot.brokers.answers import BEHIND_MOST, EVENTS, CronState, MinuteRow, Presence, QueueStats, Record
from surefoot.brokers.broker import Get, Queues, Stats
from surefoot.brokers.redis import history
from surefoot.brokers.redis.names import key
from surefoot.brokers.redis.server import Command
from surefoot.brokers.redis.spoiled import body_of, counts_of, moment, named, number
from surefoot.brokers.redis.steps import Steps
from surefoot.core.codec import decode_error
from surefoot.core.errors import StoreUnsuitable
from surefoot.core.job import LAST_MS
from surefoot.core.names import LAYOUT, State, is_name

_AT_ONCE: Final = 500
"""How many jobs one pipeline asks for: bodies and results may be large."""
_LOOKS: Final = 5
_NEXT_ONES: Final = 20
_NEXT_BYTES: Final = 65_536
_TOTALS: Final = ("pruned", "forgotten")
_SCAN_COUNT: Final = 1_000


def ask(queue: str, commands: list[Command]) -> Steps[list[Any]]:
    """The replies to some commands about a queue. Raises the first that is an error, and StoreUnsuitable if the queue
    is written in another layout.
    """
    layout, *replies = yield [("HGET", key(queue, "meta"), "layout"), *commands]
    if isinstance(layout, Exception):
        raise (yield from named(queue, layout))
    if layout is not None and layout != b"%d" % LAYOUT:
        raise StoreUnsuitable(
            f"queue '{queue}' is written in layout {_text(layout)} and this release reads layout {LAYOUT}: "
            "use the release that wrote it."
        )
    for reply in replies:
        if isinstance(reply, Exception):
            raise (yield from named(queue, reply))
    return replies


def told(replies: list[Any]) -> list[Any]:
    """Replies of which none is an error; an error among them is raised as it is."""
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def store_ms(reply: list[bytes]) -> int:
    """The answer to TIME."""
    seconds, microseconds = reply
    return int(seconds) * 1_000 + int(microseconds) // 1_000


def get(verb: Get, now: int | None) -> Steps[list[Record | None]]:
    """The verb get."""
    queue = verb.queue
    known = yield from records(queue, verb.ids)
    if verb.behind:
        pending = [record for record in known.values() if record.state == "pending"]
        ranks = yield from ask(queue, [("ZRANK", key(queue, "pending"), record.id) for record in pending])
        known |= {
            record.id: replace(record, behind=None if rank is None else min(rank, BEHIND_MOST + 1))
            for record, rank in zip(pending, ranks, strict=True)
        }
    return [known.get(id) for id in verb.ids]


# --- records ---

# A job is in one place; a score in a zset, or a field of `parked`, says in which.
_SCORES: Final = ("leases", "pending", "scheduled", "dead", "kept")
_FIELDS: Final = ("parked", "held", "jobs", "traits", "counts", "errors", "notes", "cancels", "results")


class _Traits(msgspec.Struct, frozen=True):
    """What is not plain about a job; other words are somebody else's."""

    priority: int = 5
    unique: str | None = None


_PLAIN: Final = _Traits()
_decode_traits: Final = msgspec.json.Decoder(_Traits).decode
_ENDS: Final[dict[bytes, State]] = {b"completed": "completed", b"cancelled": "cancelled", b"expired": "expired"}


class _Seen(msgspec.Struct, frozen=True):
    """The replies about one job, each from a moment of its own."""

    id: str
    leases: bytes | None
    pending: bytes | None
    scheduled: bytes | None
    dead: bytes | None
    kept: bytes | None
    parked: bytes | None
    held: bytes | None
    jobs: bytes | None
    traits: bytes | None
    counts: bytes | None
    errors: bytes | None
    notes: bytes | None
    cancels: bytes | None
    results: bytes | None

    def torn(self) -> bool:
        """Whether the replies contradict each other: the job moved between two of them, or the store is damaged."""
        scores = (self.leases, self.pending, self.scheduled, self.dead, self.kept, self.parked)
        places = sum(score is not None for score in scores)
        if places != 1 or self.jobs is None:
            return places > 0 or self.jobs is not None
        return (self.leases is not None and self.held is None) or (self.kept is not None and self.results is None)

    def record(self) -> Record | None:
        """What the replies say together. None: the job is in no place, or nothing tells how it ended."""
        counts = counts_of(self.counts)
        facts: dict[str, Any] = {}
        state: State
        if self.leases is not None:
            state, facts = "processing", _running(self.leases, self.held, self.cancels)
        elif self.pending is not None:
            state = "pending"
        elif self.scheduled is not None:
            state, facts = "scheduled", {"due_ms": _moment(self.scheduled)}
        elif self.parked is not None:
            since, _, member = self.parked.partition(b" ")
            state, facts = "parked", {"parked_ms": moment(since), "reason": _text(member.partition(b"\x1f")[0])}
        elif self.dead is not None:
            newest = (self.errors or b"{}").partition(b"\n")[0]
            state, facts = "dead", {"finished_ms": _moment(self.dead), "reason": decode_error(newest).reason}
        elif self.kept is not None and (outcome := _outcome(self.results)) is not None:
            state, runs, facts = outcome
            counts = replace(counts, runs=runs)
        else:
            return None
        enqueued_ms, body = body_of(self.jobs or b"0\n", 0)
        traits = _traits(self.traits)
        return Record(
            id=self.id,
            state=state,
            enqueued_ms=enqueued_ms,
            body=body,
            priority=traits.priority,
            key=traits.unique,
            counts=counts,
            note=self.notes,
            errors=tuple(self.errors.split(b"\n")) if self.errors else (),
            **facts,
        )


def records(queue: str, ids: Sequence[str]) -> Steps[dict[str, Record]]:
    """What the store knows of these jobs. One that moves while it is looked at is looked at again.

    A job whose body is lost has an empty one, and 0 as the time of its enqueue.
    """
    found: dict[str, Record] = {}
    for first in range(0, max(1, len(ids)), _AT_ONCE):
        wanted = list(ids[first : first + _AT_ONCE])
        for look in range(1, _LOOKS + 1):
            moving: list[str] = []
            for seen in (yield from _look(queue, wanted)):
                if seen.torn() and look < _LOOKS:
                    moving.append(seen.id)
                elif (record := seen.record()) is not None:
                    found[record.id] = record
            if not moving:
                break
            wanted = moving
    return found


def _look(queue: str, ids: list[str]) -> Steps[list[_Seen]]:
    if not ids:
        yield from ask(queue, [])
        return []
    commands: list[Command] = [("ZMSCORE", key(queue, name), *ids) for name in _SCORES]
    commands += [("HMGET", key(queue, name), *ids) for name in _FIELDS]
    replies = yield from ask(queue, commands)
    return [_Seen(*row) for row in zip(ids, *replies, strict=True)]


def _running(end: bytes, held: bytes | None, cancel: bytes | None) -> dict[str, Any]:
    facts = {"lease_ms": _moment(end), "cancel": None if cancel is None else _text(cancel)}
    if held is not None:
        token, _, rest = held.partition(b" ")
        since = moment(rest.split(b" ")[1]) if rest.count(b" ") else None
        facts |= {"started_ms": since, "caller": _text(token.rpartition(b".")[0])}
    return facts


def _outcome(raw: bytes | None) -> tuple[State, int, dict[str, Any]] | None:
    """How a kept job ended: state, runs, and what else its line tells. None: nothing tells it."""
    line, _, rest = (raw or b"").partition(b"\n")
    words = line.split(b" ")[:5]
    if len(words) < 5 or words[0] not in _ENDS:
        return None
    word, finished, started, runs, caller = words
    facts: dict[str, Any] = {"finished_ms": moment(finished)}
    if moment(started):
        facts |= {"started_ms": moment(started), "caller": _text(caller)}
    if word == b"cancelled":
        facts["reason"] = _text(rest)
    elif rest:
        facts["result"] = rest
    return _ENDS[word], number(runs) or 0, facts


def _traits(raw: bytes | None) -> _Traits:
    try:
        return _PLAIN if raw is None else _decode_traits(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _PLAIN


def _moment(score: bytes) -> int:
    """A score as milliseconds; a server may write 1.8e+12, and somebody else any number."""
    return int(min(max(float(score), 0), LAST_MS))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


# --- the queue as a whole ---


_NO_JOBS: Final[dict[str, Any]] = {
    "scheduled": 0, "pending": 0, "parked": 0, "processing": 0, "dead": 0, "ended_leases": 0, "oldest_ms": None,
}  # fmt: skip
_PLACES: Final = {
    "scheduled": "scheduled", "pending": "pending", "parked": "parking", "processing": "leases", "dead": "dead",
}  # fmt: skip


def stats(verb: Stats, now: int | None) -> Steps[QueueStats]:
    """The verb stats."""
    queue = verb.queue
    meta = ["epoch", "paused", "max_length", *(f"total:{event}" for event in _TOTALS)]
    ticks, pauses = [f"tick:{name}" for name in verb.crons], [f"cron_paused:{name}" for name in verb.crons]
    asked: list[Command] = [
        ("HMGET", key(queue, "meta"), *meta, *ticks, *pauses),
        ("HGETALL", key(queue, "workers")),
        ("ZRANGE", key(queue, "pending"), 0, _NEXT_ONES - 1),
    ]
    if now is None:
        asked.append(("TIME",))
    values, presences, next_ones, *time = yield from ask(queue, asked)
    now_ms = store_ms(time[0]) if now is None else now
    words: dict[str, bytes | None] = dict(zip((*meta, *ticks, *pauses), values, strict=True))
    minutes, hours = history.minutes(verb.minutes, now_ms), history.hours(verb.hours, now_ms)
    rows: Command = ("HMGET", key(queue, "stats"), history.ALL_TIME, *minutes.fields, *hours.fields)
    if verb.jobs:
        jobs, (all_time, *told) = yield from _jobs(queue, now_ms, next_ones, rows)
    else:
        jobs, [(all_time, *told)] = _NO_JOBS, (yield from ask(queue, [rows]))
    ever = (None if all_time is None else history.row_of(all_time)) or MinuteRow(-1)
    totals = {event: getattr(ever, event) for event in EVENTS}
    totals |= {event: number(count) or 0 for event in _TOTALS if (count := words[f"total:{event}"]) is not None}
    paused_ms, reason = _said(words["paused"])
    return QueueStats(
        now_ms=now_ms,
        paused_ms=paused_ms,
        pause_reason=reason,
        max_length=number(words["max_length"]),
        epoch=_text(words["epoch"] or b""),
        workers=_workers(presences),
        minutes=minutes.rows(told[: len(minutes.fields)]),
        hours=hours.rows(told[len(minutes.fields) :]),
        totals=totals,
        crons={
            name: CronState(moment(words[f"tick:{name}"]), *_said(words[f"cron_paused:{name}"])) for name in verb.crons
        },
        **jobs,
    )


def _jobs(queue: str, now_ms: int, next_ones: list[bytes], also: Command) -> Steps[tuple[dict[str, Any], Any]]:
    """How many jobs are where, and the age of the oldest one; then the reply to one more command.

    When a job was enqueued stands before its body, which must be read too: the oldest is sought among the next ones
    whose bodies have 64 KiB together, one at least.
    """
    bodies = key(queue, "jobs")
    asked: list[Command] = [also, ("ZCOUNT", key(queue, "leases"), "-inf", now_ms)]
    asked += [("ZCARD", key(queue, place)) for place in _PLACES.values()]
    asked += [("HSTRLEN", bodies, id) for id in next_ones]
    told, ended_leases, *numbers = yield from ask(queue, asked)
    sizes, lengths = numbers[: len(_PLACES)], numbers[len(_PLACES) :]
    jobs = {**dict(zip(_PLACES, sizes, strict=True)), "ended_leases": ended_leases, "oldest_ms": None}
    if next_ones:
        near = sum(length <= _NEXT_BYTES for length in accumulate(lengths))
        [found] = yield from ask(queue, [("HMGET", bodies, *next_ones[: max(1, near)])])
        enqueued = [body_of(body, now_ms)[0] for body in found if body is not None]
        jobs["oldest_ms"] = max(0, now_ms - min(enqueued)) if enqueued else None
    return jobs, told


def _workers(flat: list[bytes]) -> tuple[Presence, ...]:
    found = []
    for caller, raw in zip(flat[::2], flat[1::2], strict=True):
        seen, _, presence = raw.partition(b" ")
        found.append(Presence(_text(caller), moment(seen) or 0, presence))
    return tuple(sorted(found, key=lambda presence: presence.caller))


def _said(raw: bytes | None) -> tuple[int | None, str | None]:
    """A word of the form `<since> <reason>`; since 0 if somebody else wrote it: it holds nevertheless."""
    if raw is None:
        return None, None
    since, _, reason = raw.partition(b" ")
    return moment(since) or 0, _text(reason)


def queues(verb: Queues, _now: int | None) -> Steps[list[str]]:
    """The verb queues: no list of them is kept, so the whole store is scanned; on a cluster this one primary."""
    before, after = "{" + verb.queue, "}:meta"
    pattern = re.sub(r"([*?\[\]\\])", r"\\\1", before) + "*" + after
    found: set[str] = set()
    cursor = b"0"
    while True:
        [(cursor, keys)] = told((yield [("SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT)]))
        found.update(_text(one)[len(before) : -len(after)] for one in keys)
        if cursor == b"0":
            return sorted(name for name in found if is_name(name))
