"""Whether a broker answers as the model does, where the protocol leaves no choice. No rule of the queue lives here."""

from collections import Counter
from typing import Any

import msgspec
from msgspec.structs import replace

from surefoot.brokers.answers import EVENTS, Claimed, MinuteRow, QueueStats, Record
from surefoot.brokers.broker import Claim, Refused, Verb
from surefoot.core.codec import decode_error

FINISHED = ("completed", "cancelled", "expired")


def seen_record(record: Record | None) -> Any:
    """A record without what a store need not tell: who last ran a job that waits or is dead, or ended without a run."""
    if record is None:
        return None
    ran = record.state == "processing" or (record.state in FINISHED and record.started_ms is not None)
    if not ran:
        record = replace(record, started_ms=None, caller=None)
    if record.state == "cancelled":
        record = replace(record, reason=record.reason or "", result=None)
    facts = msgspec.structs.asdict(replace(record, errors=()))
    return facts | {"errors": [decode_error(line) for line in record.errors]}


def seen_stats(stats: QueueStats) -> dict[str, Any]:
    """Stats with the minutes added up, and the hours; in which one something is counted, the cases look at."""
    facts = msgspec.structs.asdict(replace(stats, minutes=(), hours=(), totals={}))
    facts["workers"] = sorted(msgspec.structs.astuple(presence) for presence in stats.workers)
    return facts | {"in minutes": added(stats.minutes), "in hours": added(stats.hours)}


def added(rows: tuple[MinuteRow, ...]) -> dict[str, Any]:
    """What happened in all of them together, and how long jobs waited and ran."""
    times: Counter[int] = Counter()
    for row in rows:
        times.update(row.times)
    return {word: sum(getattr(row, word) for row in rows) for word in EVENTS} | {"times": dict(times)}


def assert_same(verb: Verb[Any], expected: Any, got: Any, *, repeated: bool) -> None:
    """The answer of one verb. `repeated`: it comes from memory, or would have come from there."""
    match expected, got:
        case Refused(), Refused():
            assert got.word == expected.word
        case Claimed(), Claimed():
            assert isinstance(verb, Claim)
            assert_claimed(verb, expected, got, repeated=repeated)
        case _:
            assert got == expected, f"{verb}: the model says {expected!r}, the store {got!r}"


def assert_claimed(verb: Claim, expected: Claimed, got: Claimed, *, repeated: bool) -> None:
    assert got.jobs == expected.jobs
    if repeated:
        assert got.wait_ms == 1, "a claim that may have been executed before is to be followed by another"
        return
    assert got.wait_ms >= 1
    if len(got.jobs) < verb.want:
        assert got.wait_ms <= expected.wait_ms, "nobody sleeps beyond the next timer"
    assert replace(got, wait_ms=1) == replace(expected, wait_ms=1)
