"""Recurring jobs: which ticks fire, which are skipped, what a run that is not over does to the next tick."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

import pytest
from tests.engine.stage import PATIENCE_S, Stage, Thief, Witness, burst, happens, serving

from surefoot import Queue, Worker
from surefoot.brokers.answers import CronState, TickWord
from surefoot.brokers.broker import Stats, Tick
from surefoot.client.schedules import CronEntry, Overlap
from surefoot.client.session import Session
from surefoot.core.schedule import every, parse_cron
from surefoot.core.transition import Finish, Transition
from surefoot.engine.crons import Crons

HOUR = 3_600_000
NOON = 1_800_014_400_000
"""A full hour, far from any change of a clock."""


def hourly(name: str = "report", catch_up_ms: int = HOUR, overlap: Overlap = "skip") -> CronEntry:
    return CronEntry(
        name=name, task=name, schedule=parse_cron("0 * * * *"), catch_up_ms=catch_up_ms, overlap=overlap
    )  # fmt: skip


def scheduler(*entries: CronEntry, last_ms: int | None = None, now_ms: int = NOON) -> Crons:
    """The entries of one queue, as a worker that has just started and asked the store has them."""
    crons = Crons({"test:jobs": entries})
    [question] = crons.questions()
    assert question == Stats("test:jobs", 0, tuple(entry.name for entry in entries))
    crons.learn("test:jobs", {entry.name: CronState(last_ms) for entry in entries}, now_ms)
    return crons


class TestSteps:
    def test_an_entry_that_never_ticked_starts_now(self) -> None:
        crons = scheduler(hourly(), now_ms=NOON + 1)
        assert crons.due(NOON + 1) == []
        assert crons.next_in(NOON + 1) == pytest.approx(3600 - 0.001)
        [tick] = crons.due(NOON + HOUR)
        assert (tick.name, tick.tick_ms, tick.job.id) == ("report", NOON + HOUR, f"cron:report:{NOON + HOUR}")

    def test_nothing_is_due_before_the_store_was_asked(self) -> None:
        crons = Crons({"test:jobs": (hourly(),)})
        assert crons.due(NOON) == []
        assert crons.next_in(NOON) is None

    def test_a_call_carries_one_tick_a_queue(self) -> None:
        crons = scheduler(hourly("one"), hourly("two"))
        [first] = crons.due(NOON + HOUR)
        crons.heard(first, "created", NOON + HOUR)
        [second] = crons.due(NOON + HOUR)
        assert {first.name, second.name} == {"one", "two"}

    def test_C3_of_the_ticks_missed_within_catch_up_the_last_runs_once(self, caplog: pytest.LogCaptureFixture) -> None:
        now = NOON + 5 * HOUR + 60_000
        with caplog.at_level(logging.WARNING, logger="surefoot"):
            crons = scheduler(hourly(catch_up_ms=3 * HOUR), last_ms=NOON, now_ms=now)
        assert "missed and are skipped" in caplog.text
        [tick] = crons.due(now)
        assert tick.tick_ms == NOON + 5 * HOUR
        crons.heard(tick, "created", now)
        assert crons.due(now) == []
        [following] = crons.due(NOON + 6 * HOUR)
        assert following.tick_ms == NOON + 6 * HOUR

    def test_C3_nothing_is_caught_up_that_is_older_than_catch_up(self, caplog: pytest.LogCaptureFixture) -> None:
        now = NOON + 30 * 60_000
        with caplog.at_level(logging.WARNING, logger="surefoot"):
            crons = scheduler(hourly(catch_up_ms=60_000), last_ms=NOON - HOUR, now_ms=now)
        assert crons.due(now) == []
        assert "missed and are skipped" in caplog.text
        assert [tick.tick_ms for tick in crons.due(NOON + HOUR)] == [NOON + HOUR]

    def test_a_tick_on_time_is_no_missed_one(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, logger="surefoot"):
            crons = scheduler(hourly(), last_ms=NOON, now_ms=NOON + HOUR)
            [tick] = crons.due(NOON + HOUR)
            crons.heard(tick, "created", NOON + HOUR + 5)
            [tick] = crons.due(NOON + 2 * HOUR)
        assert tick.tick_ms == NOON + 2 * HOUR
        assert caplog.text == ""

    @pytest.mark.parametrize("word", ["created", "exists", "taken", "past", "paused"])
    def test_after_a_word_of_the_store_the_next_tick_is_the_next(self, word: TickWord) -> None:
        crons = scheduler(hourly())
        [tick] = crons.due(NOON + HOUR)
        crons.heard(tick, word, NOON + HOUR + 10)
        assert crons.due(NOON + HOUR + 10) == []
        assert [tick.tick_ms for tick in crons.due(NOON + 2 * HOUR)] == [NOON + 2 * HOUR]

    @pytest.mark.parametrize("word", ["full", "early"])
    def test_a_tick_that_cannot_fire_now_is_tried_again_after_a_second(self, word: TickWord) -> None:
        crons = scheduler(hourly())
        now = NOON + HOUR
        [tick] = crons.due(now)
        crons.heard(tick, word, now)
        assert crons.due(now + 999) == []
        assert crons.next_in(now) == 1.0
        assert crons.due(now + 1_000) == [tick]

    def test_C4_a_clock_that_steps_back_over_a_tick_does_not_fire_it_twice(self) -> None:
        crons = scheduler(hourly())
        [tick] = crons.due(NOON + HOUR)
        crons.heard(tick, "created", NOON + HOUR)
        assert crons.due(NOON + HOUR - 30_000) == []
        another = scheduler(hourly(), last_ms=NOON + HOUR, now_ms=NOON + HOUR - 30_000)
        assert another.due(NOON + HOUR) == []
        assert [tick.tick_ms for tick in another.due(NOON + 2 * HOUR)] == [NOON + 2 * HOUR]

    def test_C4_a_tick_stored_by_a_clock_that_was_years_ahead_counts_as_unset(self) -> None:
        crons = scheduler(hourly(), last_ms=NOON + 10_000 * HOUR, now_ms=NOON)
        assert [tick.tick_ms for tick in crons.due(NOON + HOUR)] == [NOON + HOUR]

    def test_every_ticks_at_multiples_of_its_interval(self) -> None:
        entry = CronEntry(name="beat", task="beat", schedule=every(30))
        crons = scheduler(entry, now_ms=NOON + 7)
        [tick] = crons.due(NOON + 30_000)
        assert tick.tick_ms == NOON + 30_000


async def fire(stage: Stage, queue: Queue, entry: CronEntry, tick_ms: int) -> TickWord:
    [word] = await Session(stage.store).ask([Tick(queue.full_name, entry.name, tick_ms, entry.job(tick_ms))])
    spoken: TickWord = word
    return spoken


def last_hour(stage: Stage) -> int:
    return stage.wall() // HOUR * HOUR


async def test_C2_ten_schedulers_fire_the_same_tick_and_one_job_comes_of_it(stage: Stage, jobs: Queue) -> None:
    entry, tick = hourly(), last_hour(stage)
    words = await asyncio.gather(*[fire(stage, jobs, entry, tick) for _ in range(10)])
    assert Counter(words) == {"created": 1, "past": 9}
    [job] = await jobs.find()
    assert job.id == f"cron:report:{tick}"


async def test_C2_ten_workers_in_a_loop_run_each_tick_once(jobs: Queue) -> None:
    ran: list[int] = []
    enough = asyncio.Event()

    @jobs.every(0.2, name="beat", overlap="allow")
    async def beat() -> None:
        ran.append(1)
        if len(ran) >= 3:
            enough.set()

    witness = Witness()
    async with asyncio.timeout(3 * PATIENCE_S), asyncio.TaskGroup() as group:
        workers = [Worker(jobs, on_event=witness) for _ in range(10)]
        for worker in workers:
            group.create_task(worker.serve())
        await happens(enough)
        for worker in workers:
            worker.stop()
    ids = [event.job_id for event in witness.of("completed")]
    assert len(ids) == len(set(ids)) == len(ran)
    assert all(int(str(id).rpartition(":")[2]) % 200 == 0 for id in ids)


async def test_C4_the_store_fires_no_tick_from_far_ahead_and_none_twice(stage: Stage, jobs: Queue) -> None:
    entry, tick = hourly(), last_hour(stage)
    assert await fire(stage, jobs, entry, tick + 2 * HOUR) == "early"
    assert await fire(stage, jobs, entry, tick) == "created"
    assert await fire(stage, jobs, entry, tick) == "past"
    assert await fire(stage, jobs, entry, tick - HOUR) == "past"


@pytest.mark.parametrize(
    ("overlap", "waiting", "running"),
    [
        ("skip", ["created", "taken", "taken"], ["taken", "taken"]),
        ("queue", ["created", "taken", "taken"], ["created", "taken"]),
        ("allow", ["created", "created", "created"], ["created", "created"]),
    ],
)
async def test_overlap_says_what_a_tick_does_while_the_last_run_is_not_over(
    stage: Stage, jobs: Queue, overlap: Overlap, waiting: list[str], running: list[str]
) -> None:
    entry, tick, thief = hourly(overlap=overlap), last_hour(stage), Thief(stage)
    first = tick - 9 * HOUR
    assert [await fire(stage, jobs, entry, first + n * HOUR) for n in range(3)] == waiting
    [leased] = await thief.claim(jobs, want=1)
    assert [await fire(stage, jobs, entry, first + n * HOUR) for n in (3, 4)] == running
    await thief.settle(jobs, Transition(leased.id, leased.token, Finish("completed"), "runs"))
    after = await fire(stage, jobs, entry, first + 5 * HOUR)
    assert after == ("created" if overlap != "queue" else "taken")


async def test_a_worker_catches_up_the_last_missed_tick_once(stage: Stage, jobs: Queue) -> None:
    ran: list[str] = []
    done = asyncio.Event()

    @jobs.cron("0 * * * *", name="report", catch_up=2 * 3600)
    async def report() -> None:
        ran.append("report")
        done.set()

    tick = last_hour(stage)
    await fire(stage, jobs, jobs.registry.crons[0], tick)
    async with serving(jobs):
        await happens(done)
    done.clear()
    stage.wall.forward(5 * 3600)
    witness = Witness()
    async with serving(jobs, on_event=witness):
        await happens(done)
        await witness.sees("completed")
        async with asyncio.timeout(PATIENCE_S):
            while not (infos := await jobs.crons()):
                await asyncio.sleep(0.01)
    await burst(jobs)
    assert ran == ["report", "report"]
    [info] = infos
    assert info.last_at is not None and info.last_at.timestamp() * 1000 == tick + 5 * HOUR


async def test_a_paused_entry_fires_nothing_until_it_is_resumed(jobs: Queue) -> None:
    ran = asyncio.Event()
    other = asyncio.Event()

    @jobs.every(0.1, name="held")
    async def held() -> None:
        ran.set()

    @jobs.every(0.1, name="free")
    async def free() -> None:
        other.set()

    await jobs.pause_cron("held")
    async with serving(jobs):
        for _ in range(3):
            await happens(other)
            other.clear()
        assert not ran.is_set()
        await jobs.resume_cron("held")
        await happens(ran)


async def test_a_schedule_with_arguments_passes_them(jobs: Queue) -> None:
    seen: list[str] = []
    done = asyncio.Event()

    @jobs.task(name="report")
    async def report(region: str) -> None:
        seen.append(region)
        done.set()

    report.cron("0 * * * *", name="report-eu").with_args("eu")
    [entry] = jobs.registry.crons
    async with serving(jobs):
        await Session(jobs.broker).ask(
            [Tick(jobs.full_name, entry.name, NOON - 10_000 * HOUR, entry.job(NOON - 10_000 * HOUR))]
        )
        await happens(done)
    assert seen == ["eu"]
