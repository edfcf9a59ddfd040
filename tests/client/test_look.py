"""Asking and steering a whole queue: find, cancel, statistics, pauses, workers, crons."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from tests.client.shop import LEASE_MS, Hand, Wire, queue_on

from surefoot import ConfigError, JobNotFound, Queue, UsageError
from surefoot.brokers.broker import Find, Settle
from surefoot.client import look
from surefoot.client.presence import CronLine
from surefoot.core import sketch
from surefoot.core.transition import Finish, Park, Transition


async def welcome(address: str) -> str:
    return address


def resize(path: str) -> None: ...


def in_every_place(queue: Queue) -> dict[str, str]:
    """A job in each state that one can make without waiting."""
    task, hand = queue.task(welcome), Hand(queue)
    ids: dict[str, str] = {}
    ids["dead"] = task.enqueue_sync("dead").id
    hand.kill()
    ids["completed"] = task.enqueue_sync("completed").id
    hand.complete()
    ids["parked"] = task.enqueue_sync("parked").id
    [leased] = hand.claim()
    hand.settle(leased, Park("task:welcome"), None)
    ids["processing"] = task.enqueue_sync("processing").id
    hand.claim()
    cancelled = task.enqueue_sync("cancelled")
    cancelled.cancel_sync()
    ids["cancelled"] = cancelled.id
    ids["scheduled"] = task.options(delay=60).enqueue_sync("scheduled").id
    ids["pending"] = task.enqueue_sync("pending").id
    return ids


def test_find_in_each_state_and_in_all(mail: Queue) -> None:
    ids = in_every_place(mail)
    for state, id in ids.items():
        assert [(job.id, job.state) for job in mail.find_sync(state=state)] == [(id, state)]  # type: ignore[arg-type]
    assert {job.id: job.state for job in mail.find_sync()} == {id: state for state, id in ids.items()}
    assert len(mail.find_sync(limit=3)) == 3
    stats = mail.stats_sync()
    assert (stats.scheduled, stats.pending, stats.parked, stats.processing, stats.dead) == (1, 1, 1, 1, 1)
    assert stats.oldest_pending is not None and stats.oldest_pending >= 0


def test_find_is_newest_first_and_filters(mail: Queue) -> None:
    first, second = mail.task(welcome), mail.task(resize)
    ids = [(first if n % 2 else second).enqueue_sync(str(n)).id for n in range(6)]
    assert [job.id for job in mail.find_sync()] == ids[::-1]
    assert [job.id for job in mail.find_sync(task="welcome")] == ids[5::-2]
    assert [job.id for job in mail.find_sync(task="welcome", limit=1)] == ids[5:]
    assert mail.find_sync(task="nobody") == []
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    assert len(mail.find_sync(since=now - hour, until=now + hour)) == 6
    assert mail.find_sync(since=now + hour) == mail.find_sync(until=now - hour) == []


def test_find_by_key(mail: Queue) -> None:
    task = mail.task(welcome)
    handle = task.options(key="k").enqueue_sync("a")
    task.enqueue_sync("b")
    assert [job.id for job in mail.find_sync(task="welcome", key="k")] == [handle.id]
    assert mail.find_sync(task="welcome", key="k", state="dead") == []
    assert mail.find_sync(task="welcome", key="other") == []
    with pytest.raises(UsageError, match="needs task= too"):
        mail.find_sync(key="k")


def test_find_reads_a_bounded_number(mail: Queue, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "READ_LIMIT", 25)
    task = mail.task(welcome)
    mail.enqueue_many_sync([task.draft("a") for _ in range(30)])
    assert mail.find_sync(task="nobody") == []
    assert len(mail.find_sync(limit=100)) == 25
    assert sum(find.limit for find in wire.verbs(Find)) == 50


@pytest.mark.parametrize(
    ("filters", "sentence"),
    [
        ({"state": "waiting"}, "find(state='waiting'): there is no such state."),
        ({"state": "pendin"}, "find(state='pendin'): there is no such state; did you mean 'pending'?"),
        ({"limit": 0}, "find(limit=0): give a whole number >= 1."),
        ({"since": datetime(2026, 12, 24, 18)}, "find(since=2026-12-24 18:00) has no time zone; use datetime("),
        ({"group": "acme"}, "find(group='acme'): 'group' is reserved and not in this release; use task=."),
    ],
)
def test_find_refuses_in_a_sentence(mail: Queue, wire: Wire, filters: Any, sentence: str) -> None:
    with pytest.raises((ConfigError, UsageError)) as wrong:
        mail.find_sync(**filters)
    assert str(wrong.value).startswith(sentence)
    assert wire.calls == []


def test_cancel_by_ids_by_task_and_everything(mail: Queue) -> None:
    first, second = mail.task(welcome), mail.task(resize)
    ids = [first.enqueue_sync("a").id for _ in range(3)]
    assert mail.cancel_sync(ids[0], ids[0], "nobody", reason="no") == 1
    assert second.options(delay=60).enqueue_sync("b").status_sync() == "scheduled"
    assert mail.cancel_sync(task="resize") == 1
    Hand(mail).claim(1)
    second.enqueue_sync("c")
    assert mail.cancel_sync(everything=True) == 3, "the running one is asked"
    assert (mail.stats_sync().pending, mail.stats_sync().processing) == (0, 1)
    for wrong in ({}, {"task": "welcome", "ids": True}):
        with pytest.raises(UsageError):
            mail.cancel_sync(*(ids if wrong else ()), task="welcome" if wrong else None)


def test_cancel_says_that_it_wants_to_be_told_what(mail: Queue) -> None:
    with pytest.raises(UsageError) as wrong:
        mail.cancel_sync()
    assert str(wrong.value) == (
        "queue.cancel() without ids or filters is for all jobs; if you mean that, say everything=True."
    )
    with pytest.raises(UsageError, match=r"queue\.cancel\(\) takes ids or filters, not both"):
        mail.cancel_sync("a", everything=True)


def test_cancel_of_many_goes_page_by_page(mail: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "VERB_LIMIT", 10)
    task = mail.task(welcome)
    mail.enqueue_many_sync([task.draft("a") for _ in range(35)])
    assert mail.cancel_sync(task="welcome") == 35
    assert mail.stats_sync().pending == 0


def test_pause_and_resume(mail: Queue) -> None:
    assert mail.stats_sync().paused is None
    mail.pause_sync("card provider down")
    paused = mail.stats_sync().paused
    assert paused is not None and paused.reason == "card provider down" and paused.since.tzinfo is not None
    mail.task(welcome).enqueue_sync("a")
    assert Hand(mail).claim() == []
    mail.pause_sync()
    again = mail.stats_sync().paused
    assert again is not None and (again.since, again.reason) == (paused.since, None)
    mail.resume_sync()
    assert mail.stats_sync().paused is None
    assert len(Hand(mail).claim()) == 1


def test_history_tells_minutes(mail: Queue) -> None:
    mail.task(welcome).enqueue_sync("a")
    Hand(mail).kill()
    rows = mail.history_sync()
    assert sum(row.enqueued for row in rows) == 1 and sum(row.dead for row in rows) == 1
    assert [row.at for row in rows] == sorted(row.at for row in rows)
    with pytest.raises(ConfigError, match=r"history\(minutes=1441\): a day of minutes is kept; give hours=25\."):
        mail.history_sync(1441)


def test_history_tells_hours_and_how_long_jobs_waited_and_ran(mail: Queue) -> None:
    mail.task(welcome).enqueue_sync("a")
    times: sketch.Times = {}
    for ms in range(1, 101):
        sketch.add(times, "waiting", 1_000 * ms)
    sketch.add(times, "running", 40)
    [leased] = Hand(mail).claim()
    settle = Settle(mail.full_name, (Transition(leased.id, leased.token, Finish("completed"), "runs"),))
    mail.sessions.ask_sync([replace(settle, times=sketch.encode(times))])
    [hour] = mail.history_sync(hours=720)
    rows = mail.history_sync(minutes=60)
    assert hour.enqueued == sum(row.enqueued for row in rows) == 1
    assert hour.completed == sum(row.completed for row in rows) == 1
    assert (hour.retried, hour.cancelled, hour.expired, hour.recovered) == (0, 0, 0, 0)
    assert (hour.at.minute, hour.at.second) == (0, 0)
    waiting, running = hour.waiting, hour.running
    assert waiting is not None and running is not None
    assert (waiting.count, running.count) == (100, 1)
    for found, true in ((waiting.p50, 50), (waiting.p95, 95), (waiting.p99, 99), (running.p50, 0.04)):
        assert found == pytest.approx(true, rel=0.05)
    assert next(row.waiting for row in rows if row.completed) == waiting
    with pytest.raises(ConfigError, match="history\\(hours=721\\): 720 hours"):
        mail.history_sync(hours=721)


def test_workers_are_those_that_are_alive(mail: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    hand = Hand(mail)
    hand.beat(queues=("mail",), tasks=("welcome",), running=2, version="1.2")
    [worker] = mail.workers_sync()
    assert (worker.id, worker.name, worker.pid, worker.running, worker.concurrency) == (
        hand.session.caller, "web-1", 4122, 2, 5,
    )  # fmt: skip
    assert (worker.tasks, worker.version, worker.draining) == (("welcome",), "1.2", False)
    assert mail.stats_sync().workers == 1
    hand.beat(left=True)
    assert mail.workers_sync() == [], "it said goodbye"
    hand.beat()
    assert mail.stats_sync().workers == 1
    monkeypatch.setattr("surefoot.client.presence.ALIVE_MS", -1)
    assert mail.workers_sync() == [] and mail.stats_sync().workers == 0


def test_crons_are_those_of_living_workers(mail: Queue) -> None:
    mail.cron("0 6 * * *", timezone="Europe/Paris", name="nightly")(resize_nothing)
    assert mail.crons_sync() == []
    Hand(mail).beat(crons=("nightly",))
    [cron] = mail.crons_sync()
    assert (cron.name, cron.task, cron.expression, cron.timezone) == ("nightly", "nightly", "0 6 * * *", "Europe/Paris")
    assert (cron.last_at, cron.paused) == (None, False)
    assert cron.next_at > datetime.now(UTC)


def resize_nothing() -> None: ...


def test_crons_of_other_peoples_code_are_known_from_their_workers(mail: Queue) -> None:
    lines = (CronLine("tick", "poll", "every 30 s", "UTC", 30_000), CronLine("late", "report", "0 7 * * *"))
    Hand(mail).beat(crons=("tick", "late"), cron_lines=lines)
    assert [(cron.name, cron.task, cron.expression) for cron in mail.crons_sync()] == [
        ("tick", "poll", "every 30 s"),
        ("late", "report", "0 7 * * *"),
    ]
    mail.pause_cron_sync("tick")
    assert [cron.paused for cron in mail.crons_sync()] == [True, False]
    mail.resume_cron_sync("tick")
    assert [cron.paused for cron in mail.crons_sync()] == [False, False]
    with pytest.raises(UsageError) as wrong:
        mail.pause_cron_sync("tik")
    assert str(wrong.value) == "queue 'mail' has no cron 'tik'; did you mean 'tick'?"


def test_a_presence_that_cannot_be_read_is_a_worker_nevertheless(mail: Queue) -> None:
    from surefoot.brokers.broker import Beat

    hand = Hand(mail)
    hand.session.ask([Beat(mail.full_name, "someone", b"\xff")])
    [worker] = mail.workers_sync()
    assert (worker.id, worker.name, worker.tasks) == ("someone", "", ())


async def test_all_of_it_on_a_loop(mail: Queue) -> None:
    handle = await mail.task(welcome).enqueue("a")
    assert [job.id for job in await mail.find(task="welcome")] == [handle.id]
    await mail.pause("why")
    assert (await mail.explain(handle.id)).reasons == ("paused",)
    await mail.resume()
    assert await mail.cancel(handle.id) == 1
    assert await mail.workers() == []
    assert await mail.crons() == []
    with pytest.raises(JobNotFound):
        await mail.explain("nobody")


def test_two_queues_of_one_store_do_not_meet(wire: Wire) -> None:
    mail, bulk = queue_on(wire, "mail"), queue_on(wire, "bulk")
    handle = mail.task(welcome).enqueue_sync("a")
    assert bulk.get_sync(handle.id) is None and bulk.find_sync() == []
    assert LEASE_MS > 0
