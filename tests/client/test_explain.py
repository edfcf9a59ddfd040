"""Every reason that can occur now has its sentence. Pure: records in, words out."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest

from surefoot.brokers.answers import Presence, QueueStats, Record
from surefoot.client.explain import explain
from surefoot.client.presence import PresenceInfo
from surefoot.core.job import Counts

NOW = 1_790_000_000_000  # 2026-09-21 14:13:20 UTC
MINUTE = 60_000
BODY = b'{"version":1,"id":"x","task":"close_month","payload":{}}'
ERROR = b'{"kind":"OSError","message":"disk\\nfull"}'


def stats(*workers: dict[str, Any], **facts: Any) -> QueueStats:
    web: dict[str, Any] = {"name": "web-1", "pid": 4122, "concurrency": 5}
    presences = [
        Presence(f"caller{n}", NOW - 1000, PresenceInfo(**{**web, **info}).encode()) for n, info in enumerate(workers)
    ]
    known: dict[str, Any] = {
        "now_ms": NOW, "scheduled": 0, "pending": 1, "parked": 0, "processing": 0, "dead": 0, "ended_leases": 0,
        "oldest_ms": None, "paused_ms": None, "pause_reason": None, "max_length": None, "epoch": "e",
        "workers": tuple(presences), "minutes": (), "totals": {}, "crons": {},
    }  # fmt: skip
    return QueueStats(**{**known, **facts})


def record(state: Any, **facts: Any) -> Record:
    known: dict[str, Any] = {
        "id": "x", "state": state, "enqueued_ms": NOW - 14 * MINUTE, "body": BODY, "priority": 5, "key": None,
    }  # fmt: skip
    return Record(**{**known, **facts})


CRASH = b'{"kind":"crash","attempt":2}'
DEAD = b'{"reason":"crash_loop"}'
SCHEMA_3 = b'{"version":1,"id":"x","task":"close_month","schema":3,"payload":{}}'
NEEDS_2 = b'{"version":2,"needs":2,"id":"x","task":"close_month","payload":{}}'
HAS_IT = {"tasks": ("close_month",)}
PAUSED = {"paused_ms": NOW - 301 * MINUTE, "pause_reason": "card provider down"}
PAUSED_WORDS = "queue billing is paused since 09:12 (card provider down)"

CASES: list[tuple[Record, QueueStats, list[str], str]] = [
    (
        record("pending"),
        stats(**PAUSED),
        ["paused"],
        "Pending for 14 min: queue billing is paused since 09:12 (card provider down). `surefoot resume -q billing`",
    ),
    (
        record("pending"),
        stats(paused_ms=NOW - 2 * 86_400_000),
        ["paused"],
        "Pending for 14 min: queue billing is paused since 2026-09-19 14:13. `surefoot resume -q billing`",
    ),
    (record("pending"), stats(), ["no_worker"], "Pending for 14 min: no worker is alive on queue billing. Start one."),
    (
        record("pending"),
        stats({**HAS_IT, "draining": True}),
        ["no_worker"],
        "Pending for 14 min: the only worker on queue billing is draining. Start one.",
    ),
    (
        record("pending"),
        stats({**HAS_IT, "draining": True}, {"draining": True}),
        ["no_worker"],
        "Pending for 14 min: all 2 workers on queue billing are draining. Start one.",
    ),
    (
        record("pending"),
        stats({"tasks": ("other",)}, {**HAS_IT, "draining": True}),
        ["unknown_task"],
        "Pending for 14 min: the only worker on queue billing does not have the task close_month.",
    ),
    (
        record("pending", body=SCHEMA_3),
        stats({**HAS_IT, "schemas": {"close_month": 2}}, HAS_IT),
        ["newer_version"],
        "Pending for 14 min: no worker knows version 3 of the task close_month; deploy one that does.",
    ),
    (
        record("pending", body=SCHEMA_3, behind=0),
        stats({**HAS_IT, "schemas": {"close_month": 3}, "running": 5}, HAS_IT),
        ["full_workers"],
        "Pending for 14 min: all 5 slots of 1 worker are taken, and it is the next one.",
    ),
    (
        record("pending", body=NEEDS_2),
        stats(HAS_IT),
        ["newer_version"],
        "Pending for 14 min: it needs a worker with a newer surefoot (protocol 2).",
    ),
    (
        record("pending", body=b"not JSON", behind=2),
        stats({"tasks": ("other",)}),
        ["behind"],
        "Pending for 14 min: 2 jobs come before it.",
    ),
    (
        record("pending", counts=Counts(1, 1), errors=(b'{"kind":"E","ended_ms":%d}' % (NOW - MINUTE),), behind=0),
        stats(HAS_IT),
        [],
        "Pending for 60 s: it is the next one.",
    ),
    (
        record("pending"),
        stats({"tasks": ("other",)}, {}),
        ["unknown_task"],
        "Pending for 14 min: none of the 2 workers on queue billing has the task close_month.",
    ),
    (
        record("pending", behind=1_001),
        stats({**HAS_IT, "running": 5}, {**HAS_IT, "running": 5}, {"tasks": ("other",)}),
        ["full_workers", "behind"],
        "Pending for 14 min: all 10 slots of 2 workers are taken, and more than 1,000 jobs come before it.",
    ),
    (
        record("pending", behind=1_000),
        stats(HAS_IT),
        ["behind"],
        "Pending for 14 min: 1,000 jobs come before it.",
    ),
    (
        record("pending", behind=0),
        stats({**HAS_IT, "running": 5}),
        ["full_workers"],
        "Pending for 14 min: all 5 slots of 1 worker are taken, and it is the next one.",
    ),
    (record("pending", behind=1), stats(HAS_IT), ["behind"], "Pending for 14 min: 1 job comes before it."),
    (record("pending", behind=0), stats(HAS_IT), [], "Pending for 14 min: it is the next one."),
    (
        record("scheduled", due_ms=NOW + 90 * MINUTE),
        stats(HAS_IT),
        ["not_due"],
        "Scheduled for 15:43, in 90 min.",
    ),
    (
        record("scheduled", due_ms=NOW + 90 * MINUTE, counts=Counts(2, 2), errors=(ERROR,)),
        stats(**PAUSED),
        ["not_due", "paused"],
        f"Scheduled for 15:43, in 90 min. It failed 2 times, last with OSError: disk full. {PAUSED_WORDS.capitalize()}."
        " `surefoot resume -q billing`",
    ),
    (
        record("scheduled", due_ms=NOW + MINUTE, counts=Counts(1, snoozes=1)),
        stats(HAS_IT),
        ["not_due"],
        "Scheduled for 14:14, in 60 s. It snoozed once.",
    ),
    (
        record("scheduled", due_ms=NOW - 5000),
        stats(),
        ["no_worker"],
        "Due 5.0 s ago: no worker is alive on queue billing. Start one.",
    ),
    (
        record("scheduled", due_ms=NOW - 5000, counts=Counts(2, 1, 1), errors=(CRASH, ERROR)),
        stats(HAS_IT),
        [],
        "Due 5.0 s ago: the next claim takes it. It failed once, last with OSError: disk full. "
        "It lost its worker once.",
    ),
    (
        record("scheduled", due_ms=NOW - 5000),
        stats({**HAS_IT, "running": 5}),
        ["full_workers"],
        "Due 5.0 s ago: all 5 slots of 1 worker are taken.",
    ),
    (
        record("scheduled", due_ms=NOW - 5000),
        stats(HAS_IT, **PAUSED),
        ["paused"],
        f"Due 5.0 s ago: {PAUSED_WORDS}. `surefoot resume -q billing`",
    ),
    (
        record("processing", started_ms=NOW - 3 * MINUTE, caller="caller0", lease_ms=NOW + 5000, counts=Counts(1, 1)),
        stats(HAS_IT),
        ["running"],
        "Running on web-1:4122 (caller0) since 14:10, for 3 min: attempt 2; its lease ends in 5.0 s unless the worker "
        "renews it.",
    ),
    (
        record("processing", started_ms=NOW - 3 * MINUTE, caller="gone", lease_ms=NOW + 5000, cancel="no"),
        stats(HAS_IT),
        ["running"],
        "Running on gone since 14:10, for 3 min: attempt 1, and it was asked to cancel; its lease ends in 5.0 s "
        "unless the worker renews it.",
    ),
    (
        record("pending", counts=Counts(1, 0, 0, 1)),
        stats(HAS_IT),
        [],
        "Pending, due 14 min ago and handed back by a drain since: the next claim takes it.",
    ),
    (
        record("pending", counts=Counts(2, 0, 1, 1), errors=(CRASH,)),
        stats(HAS_IT),
        [],
        "Pending for 14 min: the next claim takes it.",
    ),
    (
        record("processing", started_ms=NOW - 3 * MINUTE, caller="gone", lease_ms=NOW - 20_000),
        stats(HAS_IT),
        ["lease_lost"],
        "Processing since 14:10, but its worker gone is silent: the lease ended 20 s ago. The next worker with a "
        "free slot runs it again.",
    ),
    (
        record("processing", started_ms=NOW - 3 * MINUTE, caller="gone", lease_ms=NOW - 20_000),
        stats(),
        ["lease_lost", "no_worker"],
        "Processing since 14:10, but its worker gone is silent: the lease ended 20 s ago, and no worker is alive on "
        "queue billing. Start one.",
    ),
    (
        record("processing", started_ms=NOW - 3 * MINUTE, caller="gone", lease_ms=NOW - 20_000, cancel=""),
        stats({**HAS_IT, "draining": True}),
        ["lease_lost", "no_worker"],
        "Processing since 14:10 (it was asked to cancel), but its worker gone is silent: the lease ended 20 s ago, and "
        "the only worker on queue billing is draining. Start one.",
    ),
    (
        record("processing", started_ms=NOW - 3 * MINUTE, caller="gone", lease_ms=NOW - 20_000),
        stats({**HAS_IT, "running": 5}, {"tasks": ("other",)}),
        ["lease_lost", "full_workers"],
        "Processing since 14:10, but its worker gone is silent: the lease ended 20 s ago, and all 5 slots of 1 worker "
        "are taken.",
    ),
    (
        record("processing", started_ms=NOW - 3 * MINUTE, caller="gone", lease_ms=NOW - 20_000),
        stats(HAS_IT, **PAUSED),
        ["lease_lost", "paused"],
        f"Processing since 14:10, but its worker gone is silent: the lease ended 20 s ago. "
        f"{PAUSED_WORDS.capitalize()}: it runs again after the resume. `surefoot resume -q billing`",
    ),
    (
        record("parked", reason="task:close_month", parked_ms=NOW - 5 * MINUTE),
        stats(),
        ["unknown_task"],
        "Parked for 5 min: no worker on queue billing has the task close_month.",
    ),
    (
        record("parked", reason="task:close_month", parked_ms=NOW - 5 * MINUTE),
        stats(HAS_IT),
        [],
        "Parked for 5 min: a worker that has the task close_month is alive and takes it soon.",
    ),
    (
        record("parked", reason="task:close_month", parked_ms=NOW - 5 * MINUTE),
        stats({**HAS_IT, "draining": True}, {"tasks": ("other",)}),
        ["unknown_task"],
        "Parked for 5 min: no worker on queue billing has the task close_month.",
    ),
    (
        record("parked", reason="task:close_month", parked_ms=NOW - 5 * MINUTE),
        stats(HAS_IT, **PAUSED),
        ["paused"],
        f"Parked for 5 min: a worker that has the task close_month is alive, but {PAUSED_WORDS}. "
        "`surefoot resume -q billing`",
    ),
    (
        record("parked", reason="task:close_month@3", parked_ms=NOW - 5 * MINUTE, body=SCHEMA_3),
        stats({**HAS_IT, "schemas": {"close_month": 3}, "running": 5}, HAS_IT),
        ["full_workers"],
        "Parked for 5 min: a worker that has the task close_month is alive, but all 5 slots of 1 worker are taken.",
    ),
    (
        record("parked", reason="task:close_month@3", parked_ms=NOW - 5 * MINUTE),
        stats(HAS_IT),
        ["newer_version"],
        "Parked for 5 min: no worker knows version 3 of the task close_month; deploy one that does.",
    ),
    (
        record("parked", reason="needs:2"),
        stats(HAS_IT),
        ["newer_version"],
        "Parked: it needs a worker with a newer surefoot (protocol 2).",
    ),
    (
        record("completed", finished_ms=NOW - 2 * MINUTE, counts=Counts(1)),
        stats(),
        ["finished"],
        "Completed at 14:11, 2 min ago, after 1 run.",
    ),
    (
        record("cancelled", finished_ms=NOW - 2 * MINUTE, reason="replaced"),
        stats(),
        ["finished"],
        "Cancelled at 14:11, 2 min ago (replaced).",
    ),
    (
        record("expired", finished_ms=NOW - 2 * MINUTE),
        stats(),
        ["finished"],
        "Expired at 14:11, 2 min ago: it was not started in time.",
    ),
    (
        record("dead", finished_ms=NOW - 2 * MINUTE, reason="exhausted", counts=Counts(3, 3), errors=(ERROR,)),
        stats(),
        ["finished"],
        "Dead at 14:11, 2 min ago (exhausted), after 3 runs. Last error: OSError: disk full.",
    ),
    (
        record("dead", finished_ms=NOW - 2 * MINUTE, reason="crash_loop", counts=Counts(3, 0, 3), errors=(DEAD, CRASH)),
        stats(),
        ["finished"],
        "Dead at 14:11, 2 min ago (crash_loop), after 3 runs. Last error: the worker was lost in mid-run.",
    ),
    (record("dead", reason=None), stats(), ["finished"], "Dead, after 0 runs."),
]  # fmt: skip


@pytest.mark.parametrize(("known", "queue", "reasons", "sentence"), CASES, ids=[case[3][:60] for case in CASES])
def test_a_sentence_for_every_reason(known: Record, queue: QueueStats, reasons: list[str], sentence: str) -> None:
    told = explain(known, queue, "billing", UTC)
    assert told.sentence == sentence
    assert (told.job_id, told.state, list(told.reasons)) == ("x", known.state, reasons)
    task = "?" if known.body in (NEEDS_2, b"not JSON") else "close_month"
    assert told.details["task"] == task and told.details["queue"] == "billing"


def test_the_clock_is_the_readers_own() -> None:
    told = explain(record("pending"), stats(**PAUSED), "billing")
    assert "is paused since" in told.sentence


def test_workers_that_have_been_silent_for_45_seconds_are_not_alive() -> None:
    known = stats(HAS_IT)
    late = Presence("caller0", NOW - 45_001, known.workers[0].presence)
    told = explain(record("pending"), stats(workers=(late,)), "billing", UTC)
    assert told.reasons == ("no_worker",)


def test_a_long_error_is_one_bounded_line() -> None:
    line = b'{"kind":"E","message":"' + b"x" * 5000 + b'"}'
    told = explain(record("dead", errors=(line,)), stats(), "billing", UTC)
    assert len(told.sentence) < 300 and told.sentence.endswith("...")
