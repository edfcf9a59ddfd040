"""advance: the clock moves, and what comes due on the way runs in the order of time, by the engine's own rules."""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest
from tests.testing import shop as app
from tests.testing.shop import NEW_YEAR, diary, shop

from surefoot import ConfigError, Queue, Retry, current_job
from surefoot.testing import Drained, Sandbox, sandbox

DAY = 86_400
times: list[datetime] = []


def clocked(queue: Queue) -> Any:
    """A task that writes down when it ran."""

    @queue.task(name="clocked")
    async def clocked() -> None:
        times.append(current_job().started_at)

    times.clear()
    return clocked


async def test_the_clock_stands_until_it_is_moved() -> None:
    with sandbox(shop, now=NEW_YEAR) as box:
        assert box.now == NEW_YEAR
        await app.signals.enqueue("fine")
        assert await box.advance(0) == Drained(runs=1, completed=1)
        assert await box.advance(timedelta(hours=1)) == Drained()
        assert box.now == NEW_YEAR + timedelta(hours=1)
        with pytest.raises(ConfigError, match=r"advance\(seconds\)=-1 is not a duration"):
            await box.advance(-1)


async def test_delayed_jobs_run_at_their_moment_and_in_the_order_of_time() -> None:
    queue = Queue(name="kit-clock")
    task = clocked(queue)
    with sandbox(queue, now=NEW_YEAR) as box:
        for seconds in (30, 10, 20, 10.5):
            await task.options(delay=seconds).enqueue()
        assert await box.drain() == Drained()
        assert await box.advance(19.999) == Drained(runs=2, completed=2)
        assert await box.advance(0.001) == Drained(runs=1, completed=1)
        await box.advance(3600)
    assert times == [NEW_YEAR + timedelta(seconds=seconds) for seconds in (10, 10.5, 20, 30)]


async def test_retries_come_with_their_backoff_until_the_job_is_dead() -> None:
    with sandbox(shop) as box:
        job = await app.charge.enqueue(9)
        await box.drain()
        assert await box.advance(9) == Drained()
        assert await box.advance(1) == Drained(runs=1)
        assert await box.advance(20) == Drained(runs=1, dead=1)
        assert diary.lines == ["charge 1", "charge 2", "charge 3"]
        assert await job.status() == "dead"
        assert await shop.dead.requeue(job.id) == 1
        assert await box.drain() == Drained(runs=1)


async def test_a_job_that_recovers_is_paid_on_the_way() -> None:
    with sandbox(shop) as box:
        job = await app.charge.enqueue(9, until=3)
        assert await box.advance(30) == Drained(runs=3, completed=1)
        assert await job.result() == "paid"


async def test_snooze_and_retry_later_say_when() -> None:
    with sandbox(shop) as box:
        await app.signals.enqueue("snooze")
        assert await box.advance(59) == Drained(runs=1)
        assert await box.advance(61) == Drained(runs=2)


async def test_thirty_days_of_an_hourly_cron_run_each_hour_once() -> None:
    queue = Queue(name="kit-cron")
    seen: list[datetime] = []

    @queue.cron("0 * * * *", name="hourly")
    async def hourly() -> None:
        seen.append(current_job().started_at)

    @queue.every(3 * 3600, name="rarely")
    def rarely() -> None:
        seen.append(NEW_YEAR)

    with sandbox(queue, now=NEW_YEAR + timedelta(minutes=30)) as box:
        assert await box.drain() == Drained()
        assert await box.advance(30 * DAY) == Drained(runs=960, completed=960)
    hours = [one for one in seen if one != NEW_YEAR]
    assert hours == [NEW_YEAR + timedelta(hours=number + 1) for number in range(720)]


async def test_a_cron_line_keeps_to_its_time_zone() -> None:
    queue = Queue(name="kit-zone")
    seen: list[str] = []

    @queue.cron("30 2 * * *", timezone="Europe/Paris", name="nightly")
    async def nightly() -> None:
        seen.append(current_job().started_at.strftime("%d %H:%M"))

    with sandbox(queue, now=datetime.fromisoformat("2026-03-27T12:00+00:00")) as box:
        await box.advance(3 * DAY)
    assert seen == ["28 01:30", "29 01:00", "30 00:30"]  # the clocks change on the 29th: the first moment after it


async def test_a_paused_cron_skips_its_ticks_and_catches_nothing_up() -> None:
    queue = Queue(name="kit-paused")

    @queue.every(60, name="minutely")
    async def minutely() -> None: ...

    with sandbox(queue, now=NEW_YEAR) as box:
        assert (await box.advance(120)).runs == 2
        await queue.pause_cron("minutely")
        assert (await box.advance(600)).runs == 0
        await queue.resume_cron("minutely")
        assert (await box.advance(60)).runs == 1


async def test_overlap_skip_waits_for_the_last_run() -> None:
    queue = Queue(name="kit-overlap", retry=Retry(base=90, jitter=0))
    runs: list[int] = []

    @queue.every(60, name="each_minute")
    async def each_minute() -> None:
        runs.append(current_job().attempt)
        if len(runs) == 1:
            raise ValueError("once")

    with sandbox(queue, now=NEW_YEAR) as box:
        # 60: fails, again at 150. The tick of 120 finds it unfinished and is skipped. 180 is a tick again.
        assert await box.advance(180) == Drained(runs=3, completed=2)
    assert runs == [1, 2, 1]


async def test_a_paused_queue_lets_jobs_expire() -> None:
    with sandbox(shop) as box:
        job = await app.signals.options(expires=60).enqueue("fine")
        await shop.pause("holiday")
        assert await box.advance(61) == Drained()
        await shop.resume()
        assert await box.drain() == Drained(expired=1)
        assert await job.status() == "expired"


async def test_a_job_that_nobody_knows_dies_after_a_day() -> None:
    with sandbox(shop) as box:
        job = await shop.by_name("unheard_of").enqueue(number=1)
        assert await box.drain() == Drained()
        assert await job.status() == "parked"
        assert await box.advance(DAY) == Drained()
        assert await job.status() == "parked"
        assert await box.advance(1) == Drained(dead=1)
        dead = await job.job()
        assert dead is not None and (dead.state, dead.reason) == ("dead", "unknown")


async def test_it_dies_at_its_moment_also_on_a_long_way() -> None:
    with sandbox(shop, now=NEW_YEAR) as box:
        await shop.by_name("unheard_of").enqueue(number=1)
        await box.drain()
        await app.signals.options(delay=DAY // 2).enqueue("snooze")
        assert (await box.advance(3 * DAY)).dead == 1
        [dead] = await shop.dead.find()
        assert dead.finished_at == NEW_YEAR + timedelta(days=1, milliseconds=1)


@pytest.mark.parametrize("chance", range(5))
def test_every_job_runs_at_its_millisecond(chance: int, seed: int) -> None:
    random = Random(f"{seed} {chance}")
    queue = Queue(name="kit-exact")
    task = clocked(queue)
    with sandbox(queue, now=NEW_YEAR + timedelta(milliseconds=random.randrange(10**9))) as box:
        due = []
        for _ in range(50):
            delay = timedelta(milliseconds=random.choice([random.randrange(1, 10**4), random.randrange(1, 10**9)]))
            task.options(delay=delay).enqueue_sync()
            due.append(box.now + delay)
        while box.now < max(due):
            box.advance_sync(random.uniform(0.001, 10**5))
    assert times == sorted(due)


async def test_outcomes_are_forgotten_when_their_time_is_over() -> None:
    with sandbox(shop) as box:
        job = await app.signals.enqueue("fine")
        await box.drain()
        assert [one.id for one in box.jobs()] == [job.id]
        await box.advance(301)
        assert box.jobs() == [] and await job.status() is None


async def test_history_and_ages_are_told_by_the_same_clock() -> None:
    with sandbox(shop, now=NEW_YEAR) as box:
        await shop.pause()
        await app.signals.enqueue("fine")
        await box.advance(90)
        assert (await shop.stats()).oldest_pending == 90
        assert [(row.at, row.enqueued) for row in await shop.history()] == [(NEW_YEAR, 1)]


async def lost(box: Sandbox) -> None:
    ran = await box.run_next(lose_worker=True)
    assert ran is not None and (ran.outcome, ran.job.state) == ("lost", "processing")


async def test_a_lost_worker_leaves_its_job_until_the_lease_ends() -> None:
    with sandbox(shop) as box:
        job = await app.signals.enqueue("fine")
        await lost(box)
        assert diary.lines == ["signals fine"]  # what the handler did is done
        assert await box.advance(9) == Drained()
        assert await box.advance(1) == Drained(runs=1, completed=1)
        assert diary.lines == ["signals fine", "signals fine"]
        known = await job.job()
        assert known is not None and (known.state, known.crashes, known.failures, known.runs) == ("completed", 1, 0, 2)


async def test_a_job_that_loses_its_worker_three_times_is_quarantined() -> None:
    with sandbox(shop) as box:
        job = await app.signals.enqueue("fine")
        for _ in range(3):
            await lost(box)
            await shop.pause()  # time passes, and nobody takes the job over
            await box.advance(10)
            await shop.resume()
        ran = await box.run_next()
        assert ran is not None and (ran.outcome, ran.job.reason, ran.job.crashes) == ("crash_loop", "crash_loop", 3)
        assert await job.status() == "dead"
        assert diary.lines == ["signals fine"] * 3


async def test_what_a_lost_run_enqueued_stays_enqueued() -> None:
    with sandbox(shop, app.mail) as box:
        await app.order.enqueue("lamp")
        await lost(box)
        box.assert_enqueued(app.welcome, times=1)
        await box.advance(10)
        assert [line for line in diary.lines if line.startswith("welcome")] == ["welcome lamp@example.com en"] * 2
