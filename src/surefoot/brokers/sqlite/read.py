"""The verbs that only look: get, find, stats, queues."""

from typing import Any, Final

import msgspec

from surefoot.brokers.answers import BEHIND_MOST, EVENTS, CronState, Page, Presence, QueueStats, Record
from surefoot.brokers.broker import Find, Get, Queues, Stats
from surefoot.brokers.sqlite import history
from surefoot.brokers.sqlite.house import pause_of, said
from surefoot.brokers.sqlite.pieces import NEVER, json_text, traits_of
from surefoot.brokers.sqlite.spoiled import count, moment, priority, raw, text
from surefoot.brokers.sqlite.statements import script
from surefoot.brokers.sqlite.tx import Tx
from surefoot.core.errors import UsageError
from surefoot.core.job import NO_COUNTS, Counts

_RECORDS: Final = script("get")["records"]
_BEHIND: Final = script("get")["behind"]
_FIND: Final = script("find")
_HOLDER: Final = _FIND["holder"]
_STATS: Final = script("stats")
_COUNTS: Final = _STATS["counts"]
_OLDEST: Final = _STATS["oldest"]
_WORKERS: Final = _STATS["workers"]
_WORDS: Final = _STATS["words"]
_QUEUES: Final = _STATS["queues"]

_STATES: Final = ("scheduled", "pending", "parked", "processing", "dead", "completed", "cancelled", "expired")
_KEPT: Final = frozenset({"completed", "cancelled", "expired"})
_NEXT_ONES: Final = 100
_BEYOND: Final = "\U0010ffff"


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended: the state, and the score and row of its last record."""

    state: str
    score: int = NEVER
    seq: int = NEVER


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Place).decode


def get(tx: Tx, verb: Get) -> list[Record | None]:
    """The verb get."""
    known = _records(tx, verb.queue, verb.ids, behind=verb.behind)
    return [known.get(id) for id in verb.ids]


def find(tx: Tx, verb: Find) -> Page:
    """The verb find. A job that changes its place between two pages may be missed or met twice."""
    queue = verb.queue
    if verb.key is not None:
        id = tx.value(_HOLDER, queue=queue, key=verb.key, now=tx.now_ms)
        records = [] if id is None else list(_records(tx, queue, [id]).values())
        return Page([one for one in records if verb.state is None or one.state == verb.state], None)
    states = _STATES if verb.state is None else (verb.state,)
    place = Place(states[0]) if verb.cursor is None else _place(verb.cursor, states)
    ids: list[str] = []
    while True:
        statement = _FIND["pending" if place.state == "pending" else "timed"]
        rows = tx.rows(
            statement, queue=queue, state=place.state, score=place.score, seq=place.seq, most=verb.limit - len(ids)
        )
        ids += [row[2] for row in rows]
        if rows:
            place = Place(place.state, rows[-1][0], rows[-1][1])
        if len(ids) >= verb.limit:
            return Page(_in_order(tx, queue, ids), _encode(place).decode())
        rest = states[states.index(place.state) + 1 :]
        if not rest:
            return Page(_in_order(tx, queue, ids), None)
        place = Place(rest[0])


def _place(cursor: str, states: tuple[str, ...]) -> Place:
    try:
        place = _decode(cursor)
    except msgspec.MsgspecError:
        place = Place("")
    if place.state not in states:
        raise UsageError(f"find(cursor={cursor!r}): this is no cursor of such a find; start again without one.")
    return place


def _in_order(tx: Tx, queue: str, ids: list[str]) -> list[Record]:
    known = _records(tx, queue, ids)
    return [known[id] for id in ids if id in known]


def _records(tx: Tx, queue: str, ids: list[str] | tuple[str, ...], *, behind: bool = False) -> dict[str, Record]:
    rows = tx.rows(_RECORDS, queue=queue, ids=json_text(ids))
    found: dict[str, Record] = {}
    for row in rows:
        before = None
        if behind and row[1] == "pending":
            before = tx.value(_BEHIND, queue=queue, rank=row[-1], most=BEHIND_MOST + 1)
        found[row[0]] = _record(row, before)
    return found


def _record(row: Any, behind: int | None) -> Record:
    (
        id, state, enqueued, body, level, runs, failures, crashes, interruptions, snoozes, due_set, at, since,
        ended, caller, reason, cancel, note, errors, result, traits, _,
    ) = row  # fmt: skip
    counts = NO_COUNTS
    if runs or due_set is not None:
        counts = Counts(
            count(runs), count(failures), count(crashes), count(interruptions), count(snoozes), moment(due_set)
        )
    at_ms, errors = moment(at), raw(errors)
    # While a job waits or is dead, its newest error line tells of the last run.
    started = moment(since) or None if state == "processing" or state in _KEPT else None
    return Record(
        id=id,
        state=state,
        enqueued_ms=moment(enqueued) or 0,
        body=raw(body) or b"",
        priority=priority(level),
        key=traits_of(traits).unique,
        counts=counts,
        due_ms=at_ms if state == "scheduled" else None,
        lease_ms=at_ms if state == "processing" else None,
        started_ms=started,
        finished_ms=at_ms if state == "dead" else moment(ended),
        caller=text(caller) if started is not None else None,
        reason=text(reason),
        parked_ms=at_ms if state == "parked" else None,
        cancel=text(cancel),
        note=raw(note),
        errors=tuple(errors.split(b"\n")) if errors else (),
        result=raw(result),
        behind=behind,
    )


def stats(tx: Tx, verb: Stats) -> QueueStats:
    """The verb stats."""
    queue, now_ms = verb.queue, tx.now_ms
    house = tx.house(queue)
    scheduled = pending = parked = processing = dead = ended_leases = 0
    oldest = None
    if verb.jobs:
        scheduled, pending, parked, processing, dead, ended_leases = tx.row(_COUNTS, queue=queue, now=now_ms)
        oldest = moment(tx.value(_OLDEST, queue=queue, most=_NEXT_ONES))
    paused_ms, reason = pause_of(house)
    ever = history.ever(tx, queue)
    totals: dict[str, int] = {event: getattr(ever, event) for event in EVENTS}
    totals.update({name.partition(":")[2]: count(many) for name, many in _words(tx, queue, "total:").items()})
    ticks, pauses = _words(tx, queue, "tick:"), _words(tx, queue, "cron_paused:")
    crons = {}
    for name in verb.crons:
        cron_ms, why = said(pauses.get(f"cron_paused:{name}"))
        crons[name] = CronState(moment(ticks.get(f"tick:{name}")), cron_ms, why)
    return QueueStats(
        now_ms=now_ms,
        scheduled=scheduled,
        pending=pending,
        parked=parked,
        processing=processing,
        dead=dead,
        ended_leases=ended_leases,
        oldest_ms=None if oldest is None else max(0, now_ms - oldest),
        paused_ms=paused_ms,
        pause_reason=reason,
        max_length=house.max_length,
        epoch=house.epoch,
        workers=tuple(
            [
                Presence(text(caller) or "", moment(seen) or 0, raw(presence) or b"")
                for caller, seen, presence in tx.rows(_WORKERS, queue=queue)
            ]
        ),
        minutes=history.minutes(tx, queue, verb.minutes),
        hours=history.hours(tx, queue, verb.hours),
        totals=totals,
        crons=crons,
    )


def _words(tx: Tx, queue: str, prefix: str) -> dict[str, Any]:
    return dict(tx.rows(_WORDS, queue=queue, prefix=prefix, after=prefix + _BEYOND))


def queues(tx: Tx, verb: Queues) -> list[str]:
    """The names of the queues of a namespace, without the namespace."""
    prefix = verb.queue
    return [queue.removeprefix(prefix) for (queue,) in tx.rows(_QUEUES, prefix=prefix, after=prefix + _BEYOND)]
