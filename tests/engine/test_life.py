"""A worker's life in a running loop: start, lifespan, drain, stop, cancellation, and what must not be left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.engine.stage import PATIENCE_S, Witness, burst, happens, known, serving, soon

from surefoot import Queue, Snooze, StateMissing, UsageError, Worker, clock, current_job
from surefoot.engine import serve


class Services:
    """What an application keeps for its handlers."""

    def __init__(self) -> None:
        self.open = True


async def test_a_worker_in_the_background_of_a_running_loop(jobs: Queue) -> None:
    @jobs.task(name="double")
    async def double(number: int) -> int:
        return 2 * number

    worker = Worker(jobs)
    outside = [worker.id]
    async with worker:
        assert await (await double.enqueue(21)).result(timeout=PATIENCE_S) == 42
        async with asyncio.timeout(PATIENCE_S):
            while not (infos := await jobs.workers()):
                await asyncio.sleep(0.01)
        assert [info.id for info in infos] == [worker.id]
    outside.append(worker.id)
    assert outside == [None, None] and worker.exit_code == 0


async def test_a_worker_may_serve_again_after_it_has_left(jobs: Queue) -> None:
    @jobs.task(name="work")
    async def work() -> int:
        return current_job().attempt

    worker = Worker(jobs)
    for _ in range(2):
        async with asyncio.timeout(PATIENCE_S), worker:
            assert await (await work.enqueue()).result(timeout=2) == 1


async def test_a_worker_that_serves_is_not_started_twice(jobs: Queue) -> None:
    async with serving(jobs) as worker:
        with pytest.raises(UsageError, match="serves already; make a second one"):
            await worker.serve()


async def test_serve_that_is_cancelled_hands_everything_back(jobs: Queue) -> None:
    running, ended = asyncio.Event(), asyncio.Event()

    @jobs.task(name="endless")
    async def endless() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    job = await endless.enqueue()
    served = asyncio.create_task(Worker(jobs).serve())
    await happens(running)
    served.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(asyncio.wait_for(served, PATIENCE_S))
    assert ended.is_set()
    stored = await known(job)
    assert (stored.state, stored.runs, stored.interruptions, stored.failures) == ("pending", 1, 1, 0)
    assert (await jobs.stats()).processing == 0


async def test_stop_comes_from_any_thread_and_running_jobs_may_finish(jobs: Queue) -> None:
    running, gate = asyncio.Event(), asyncio.Event()

    @jobs.task(name="slow", keep_result=60)
    async def slow() -> bool:
        running.set()
        await gate.wait()
        return current_job().stopping

    @jobs.task(name="next")
    async def next_one() -> None: ...

    job = await slow.enqueue()
    witness = Witness()
    worker = Worker(jobs, concurrency=1, on_event=witness)
    served = asyncio.create_task(worker.serve())
    await happens(running)
    after = await next_one.enqueue()
    await asyncio.to_thread(worker.stop)
    await witness.sees("worker_draining")
    async with asyncio.timeout(PATIENCE_S):  # sooner than the next beat would say it
        while not any(info.draining for info in await jobs.workers()):
            await asyncio.sleep(0.01)
    gate.set()
    await asyncio.wait_for(served, PATIENCE_S)
    assert await job.result(timeout=0) is True, "a job that runs sees that the worker leaves"
    assert await after.status() == "pending", "nothing is claimed after the stop"


async def test_a_stop_before_the_start_counts(jobs: Queue) -> None:
    worker = Worker(jobs)
    worker.stop()
    await soon(worker.serve())


async def test_W7_after_the_drain_running_jobs_are_handed_back_and_not_charged(jobs: Queue) -> None:
    running, thread_runs, gate = asyncio.Event(), threading.Event(), threading.Event()

    @jobs.task(name="coroutine")
    async def coroutine() -> None:
        running.set()
        await asyncio.Event().wait()

    @jobs.task(name="plain")
    def plain() -> None:
        thread_runs.set()
        gate.wait(PATIENCE_S)

    started = [await coroutine.enqueue(), await plain.enqueue()]
    waiting = await plain.enqueue()
    witness = Witness()
    async with serving(jobs, threads=1, concurrency=5, drain=0, on_event=witness):
        await happens(running)
        await asyncio.to_thread(thread_runs.wait, PATIENCE_S)
    gate.set()
    for job in started:
        stored = await known(job)
        assert (stored.state, stored.runs, stored.interruptions, stored.failures) == ("pending", 1, 1, 0)
        assert witness.kinds(job.id) == ["started", "interrupted"]
    stored = await known(waiting)
    assert (stored.state, stored.runs, stored.interruptions) == ("pending", 0, 0), "it waited for a thread"


async def test_W7_handed_back_jobs_keep_their_place_before_those_that_came_later(jobs: Queue) -> None:
    order: list[str] = []
    running = asyncio.Event()
    block = True

    @jobs.task(name="work")
    async def work(name: str) -> None:
        order.append(name)
        running.set()
        if block:
            await asyncio.Event().wait()

    await work.enqueue("first")
    async with serving(jobs, drain=0, concurrency=1):
        await happens(running)
        await work.enqueue("second")
    block = False
    await burst(jobs, concurrency=1)
    assert order == ["first", "first", "second"]


async def test_a_second_stop_cuts_the_drain_short(jobs: Queue) -> None:
    running = asyncio.Event()

    @jobs.task(name="endless")
    async def endless() -> None:
        running.set()
        await asyncio.Event().wait()

    job = await endless.enqueue()
    worker = Worker(jobs, drain=3600)
    served = asyncio.create_task(worker.serve())
    await happens(running)
    worker.stop()
    worker.stop()
    await asyncio.wait_for(served, PATIENCE_S)
    assert await job.status() == "pending"


async def test_a_job_may_snooze_when_the_worker_leaves(jobs: Queue) -> None:
    running = asyncio.Event()

    @jobs.task(name="polite")
    async def polite() -> None:
        running.set()
        while not current_job().stopping:
            await asyncio.sleep(0.01)
        raise Snooze(0)

    job = await polite.enqueue()
    async with serving(jobs):
        await happens(running)
    stored = await known(job)
    assert (stored.state, stored.snoozes, stored.interruptions, stored.failures) == ("pending", 1, 0, 0)


async def test_a_coroutine_that_swallows_its_cancellation_does_not_hold_the_worker(
    jobs: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "_STRAGGLERS_S", 0.2)
    running, gate = asyncio.Event(), asyncio.Event()

    @jobs.task(name="deaf")
    async def deaf() -> str:
        running.set()
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue
        return "too late"

    job = await deaf.enqueue()
    async with serving(jobs, drain=0):
        await happens(running)
    assert (await known(job)).state == "pending"
    gate.set()
    await asyncio.sleep(0)
    stored = await known(job)
    assert (stored.state, stored.interruptions) == ("pending", 1), "what it does afterwards does not count"


async def test_the_lifespan_opens_before_the_first_job_and_closes_after_the_drain(jobs: Queue) -> None:
    services, running, gate = Services(), asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Services]:
        yield services
        services.open = False

    @jobs.task(name="work", keep_result=60)
    async def work() -> bool:
        running.set()
        await gate.wait()
        return current_job().state(Services).open

    job = await work.enqueue()
    worker = Worker(jobs, lifespan=lifespan)
    served = asyncio.create_task(worker.serve())
    await happens(running)
    worker.stop()
    await asyncio.sleep(0)
    gate.set()
    await asyncio.wait_for(served, PATIENCE_S)
    assert await job.result(timeout=0) is True
    assert not services.open


async def test_state_missing_says_what_there_is(jobs: Queue) -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[str]:
        yield "text"

    @jobs.task(name="work", keep_result=60)
    def work() -> str:
        try:
            current_job().state(Services)
        except StateMissing as missing:
            return str(missing)
        return ""

    job = await work.enqueue()
    async with serving(jobs):
        assert "this worker has no lifespan; write Worker(..., lifespan=...)" in await job.result(timeout=PATIENCE_S)
    job = await work.enqueue()
    async with serving(jobs, lifespan=lifespan):
        said = await job.result(timeout=PATIENCE_S)
    assert said == "no state of type Services: this worker's lifespan yields str."


async def test_an_error_of_the_lifespan_stops_the_start_and_claims_nothing(jobs: Queue) -> None:
    async def connect() -> Services:
        raise RuntimeError("no database")

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[Services]:
        yield await connect()

    @jobs.task(name="work")
    async def work() -> None: ...

    job = await work.enqueue()
    with pytest.raises(RuntimeError, match="no database"):
        async with Worker(jobs, lifespan=lifespan):
            pytest.fail("it must not start")
    with pytest.raises(RuntimeError, match="no database"):
        await Worker(jobs, lifespan=lifespan).serve(burst=True)
    assert await job.status() == "pending"


class Slow:
    """A lifespan that does not open: its database does not answer."""

    def __init__(self) -> None:
        self.opening = asyncio.Event()
        self.cancelled = False

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[Services]:
        self.opening.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        yield Services()


async def ends(task: asyncio.Task[None], slow: Slow) -> None:
    """Within two seconds; a worker that hangs is not left to hang the test."""
    await asyncio.wait({task}, timeout=2)
    ended = task.done()
    while not task.done():
        task.cancel()
        await asyncio.sleep(0)
    assert ended and slow.cancelled


async def test_serve_that_is_cancelled_while_its_lifespan_opens_ends(jobs: Queue) -> None:
    slow = Slow()
    served = asyncio.create_task(Worker(jobs, lifespan=slow.lifespan).serve())
    await happens(slow.opening)
    served.cancel()
    await ends(served, slow)


async def test_a_second_stop_also_ends_a_worker_whose_lifespan_still_opens(jobs: Queue) -> None:
    slow = Slow()
    worker = Worker(jobs, lifespan=slow.lifespan)
    served = asyncio.create_task(worker.serve())
    await happens(slow.opening)
    worker.stop()
    worker.stop()
    await ends(served, slow)


async def test_entering_that_is_cancelled_leaves_no_worker_behind(jobs: Queue) -> None:
    slow = Slow()
    tasks = asyncio.all_tasks()
    entered = asyncio.create_task(Worker(jobs, lifespan=slow.lifespan).__aenter__())
    await happens(slow.opening)
    entered.cancel()
    await asyncio.wait({entered}, timeout=2)
    await asyncio.sleep(0)
    left = asyncio.all_tasks() - tasks
    for task in left:
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
    assert left == set()


def test_run_blocks_until_a_burst_is_over(jobs: Queue) -> None:
    @jobs.task(name="work", keep_result=60)
    async def work() -> str:
        return "done"

    job = work.enqueue_sync()
    Worker(jobs).run(burst=True)
    assert job.result_sync(timeout=0) == "done"


def test_run_in_a_thread_is_stopped_from_outside(jobs: Queue) -> None:
    started = threading.Event()
    worker = Worker(jobs, on_event=lambda event: started.set() if event.kind == "worker_started" else None)
    thread = threading.Thread(target=worker.run)
    thread.start()
    assert started.wait(PATIENCE_S)
    worker.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


async def test_W11_a_blocked_loop_is_named_and_keeps_its_job(jobs: Queue) -> None:
    @jobs.task(name="blocking", keep_result=60)
    async def blocking() -> int:
        clock.sleep_blocking(1.5)  # three leases
        return current_job().attempt

    job = await blocking.enqueue()
    witness = Witness()
    async with serving(jobs, lease=0.5, on_event=witness):
        assert await job.result(timeout=PATIENCE_S) == 1
        event = await witness.sees("loop_blocked")
    assert (event.job_id, event.task) == (job.id, "blocking")
    assert "sleep_blocking" in str(event.details["stack"])


async def test_W19_two_workers_of_one_name_are_two(jobs: Queue) -> None:
    async with serving(jobs, name="web-1") as one, serving(jobs, name="web-1") as other:
        async with asyncio.timeout(PATIENCE_S):
            while len(infos := await jobs.workers()) < 2:
                await asyncio.sleep(0.01)
    assert {info.name for info in infos} == {"web-1"}
    assert one.name == other.name == "web-1"
    assert len({info.id for info in infos}) == 2
