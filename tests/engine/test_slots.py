"""How many jobs run at once, in which lane, and from which queue: concurrency, threads, weights, order, burst."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import pytest
from tests.engine.stage import PATIENCE_S, Stage, burst, happens, known, serving, soon

from surefoot import Event, Queue, current_job


class Gauge:
    """How many are inside now, and how many were at most. Threads use it too."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self._edge = threading.Lock()

    def __enter__(self) -> None:
        with self._edge:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_: object) -> None:
        with self._edge:
            self.now -= 1


async def test_never_more_than_concurrency_run_and_all_slots_are_used(jobs: Queue) -> None:
    gauge, ran, full = Gauge(), Counter[int](), asyncio.Barrier(4)

    @jobs.task(name="work")
    async def work(number: int) -> None:
        with gauge:
            ran[number] += 1
            await full.wait()  # ends only when four are inside

    await jobs.enqueue_many([work.draft(number) for number in range(200)])
    await burst(jobs, concurrency=4)
    assert gauge.most == 4
    assert ran == dict.fromkeys(range(200), 1)


async def test_plain_functions_have_a_cap_of_their_own_and_coroutines_pass_them_by(jobs: Queue) -> None:
    gauge, full, passed = Gauge(), threading.Barrier(3, timeout=PATIENCE_S), asyncio.Event()
    gate = threading.Event()

    @jobs.task(name="plain", keep_result=60)
    def plain() -> None:
        with gauge:
            full.wait()  # ends only when three are inside
            gate.wait(PATIENCE_S)

    @jobs.task(name="coroutine")
    async def coroutine() -> None:
        passed.set()

    handles = await jobs.enqueue_many([plain.draft() for _ in range(9)])
    await coroutine.enqueue()
    async with serving(jobs, concurrency=20, threads=3):
        await happens(passed)  # while three of nine plain functions hold all threads
        gate.set()
        for handle in handles:
            await handle.result(timeout=PATIENCE_S)
    assert gauge.most == 3


async def test_a_plain_function_runs_outside_the_loop_and_a_coroutine_on_it(jobs: Queue) -> None:
    @jobs.task(name="plain")
    def plain() -> int:
        return threading.get_ident()

    @jobs.task(name="coroutine")
    async def coroutine() -> int:
        return threading.get_ident()

    here = await coroutine.enqueue()
    there = await plain.enqueue()
    await burst(jobs)
    assert await here.result(timeout=0) == threading.get_ident()
    assert await there.result(timeout=0) != threading.get_ident()


async def test_fair_queues_share_the_slots_by_weight(stage: Stage) -> None:
    order: list[str] = []
    large, small = stage.queue("large"), stage.queue("small")

    @large.task(name="work")
    async def work() -> None:
        order.append(current_job().queue)

    small.add(work)
    await large.enqueue_many([work.draft() for _ in range(400)])
    await small.enqueue_many([work.options(queue=small).draft() for _ in range(400)])
    await burst(large, small, concurrency=8, weights={large: 3})
    early = Counter(order[:400])
    assert 280 <= early["large"] <= 320, early
    assert Counter(order) == {"large": 400, "small": 400}


async def test_one_slot_is_shared_by_weight_too(stage: Stage) -> None:
    order: list[str] = []
    large, small = stage.queue("large"), stage.queue("small")

    @large.task(name="work")
    async def work() -> None:
        order.append(current_job().queue)

    small.add(work)
    await large.enqueue_many([work.draft() for _ in range(60)])
    await small.enqueue_many([work.options(queue=small).draft() for _ in range(60)])
    await burst(large, small, concurrency=1, weights={large: 3})
    assert Counter(order[:40]) == {"large": 30, "small": 10}


async def test_strict_order_empties_the_first_queue_before_it_touches_the_second(stage: Stage) -> None:
    order: list[str] = []
    first, second = stage.queue("first"), stage.queue("second")

    @first.task(name="work")
    async def work() -> None:
        order.append(current_job().queue)
        await asyncio.sleep(0)

    second.add(work)
    await second.enqueue_many([work.options(queue=second).draft() for _ in range(30)])
    await first.enqueue_many([work.draft() for _ in range(30)])
    await burst(first, second, concurrency=4, order="strict")
    assert order == ["first"] * 30 + ["second"] * 30


async def test_a_flooded_queue_does_not_starve_the_other(stage: Stage) -> None:
    flood, other = stage.queue("flood"), stage.queue("other")
    done = asyncio.Event()

    @flood.task(name="again")
    async def again() -> None:
        if not done.is_set():
            await flood.enqueue_many([again.draft(), again.draft()])

    @other.task(name="one")
    async def one() -> None:
        done.set()

    await flood.enqueue_many([again.draft() for _ in range(50)])
    async with serving(flood, other, concurrency=2, weights={flood: 9}):
        await one.enqueue()
        await happens(done)


async def test_priorities_come_in_order_and_a_priority_in_the_order_of_its_enqueues(jobs: Queue) -> None:
    order: list[str] = []

    @jobs.task(name="work")
    async def work(name: str) -> None:
        order.append(name)

    await work.options(priority="low").enqueue("low")
    await work.enqueue("one")
    await work.enqueue("two")
    await work.options(priority="high").enqueue("high")
    await burst(jobs, concurrency=1)
    assert order == ["high", "one", "two", "low"]


async def test_burst_leaves_what_is_not_due_and_what_is_paused(stage: Stage) -> None:
    jobs, held = stage.queue("jobs"), stage.queue("held")

    @jobs.task(name="work")
    async def work() -> None: ...

    held.add(work)
    later = await work.options(delay=3600).enqueue()
    kept = await work.options(queue=held).enqueue()
    parked = await jobs.by_name("elsewhere").enqueue()
    await held.pause("card provider down")
    await burst(jobs, held)
    assert [await one.status() for one in (later, kept, parked)] == ["scheduled", "pending", "parked"]


async def test_burst_of_a_full_worker_still_sees_what_came_while_it_was_full(jobs: Queue) -> None:
    gate, second_runs = asyncio.Event(), asyncio.Event()

    @jobs.task(name="holds")
    async def holds() -> None:
        await gate.wait()

    @jobs.task(name="comes_due")
    async def comes_due() -> None:
        second_runs.set()
        await gate.wait()

    @jobs.task(name="late", keep_result=60)
    async def late() -> None: ...

    await holds.enqueue()
    await comes_due.options(delay=0.1).enqueue()  # claimed by the timer: the wait for wake-ups stays open
    worker = asyncio.create_task(burst(jobs, concurrency=2))
    await happens(second_runs)
    job = await late.enqueue()  # the wake-up finds both slots taken
    await asyncio.sleep(0.05)  # for the worker to hear of it; too short only means that the test sees less
    gate.set()
    await soon(asyncio.wait_for(worker, PATIENCE_S))
    assert await job.status() == "completed"


@pytest.mark.parametrize("delay", [0, 0.1])
async def test_two_workers_in_one_process_share_one_queue(jobs: Queue, delay: float) -> None:
    ran, both = Counter[int](), asyncio.Barrier(2)
    workers: set[str] = set()

    @jobs.task(name="work", keep_result=60)
    async def work(number: int) -> None:
        ran[number] += 1
        workers.add(current_job().worker)
        await both.wait()  # one worker alone has one slot, and would stay here

    async with serving(jobs, concurrency=1), serving(jobs, concurrency=1):
        handles = await jobs.enqueue_many([work.options(delay=delay).draft(number) for number in range(20)])
        for handle in handles:
            await handle.result(timeout=PATIENCE_S)
    assert ran == dict.fromkeys(range(20), 1)
    assert len(workers) == 2


async def test_a_delayed_job_starts_when_it_is_due_and_not_before(stage: Stage, jobs: Queue) -> None:
    @jobs.task(name="work", keep_result=60)
    async def work() -> None: ...

    job = await work.options(delay=100).enqueue()
    stage.wall.forward(99)
    await burst(jobs)
    assert await job.status() == "scheduled"
    stage.wall.forward(1)
    await burst(jobs)
    assert await job.status() == "completed"
    due = (await known(job)).due_at
    started = (await known(job)).started_at
    assert started is not None and started >= due


async def test_a_paused_queue_is_served_again_after_resume(jobs: Queue) -> None:
    ran = asyncio.Event()

    @jobs.task(name="work")
    async def work() -> None:
        ran.set()

    idle = asyncio.Event()

    def hears(event: Event) -> None:
        if event.kind == "worker_started":
            idle.set()

    await jobs.pause()
    async with serving(jobs, on_event=hears):
        await happens(idle)
        await work.enqueue()
        assert not ran.is_set()
        await jobs.resume()
        await happens(ran)
