"""What a worker must not leave behind: tasks, timers and threads after its end, runs that ended while it goes on."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest
from tests.engine.stage import PATIENCE_S, Witness, burst, serving

from surefoot import Queue, current_job
from surefoot.execution.context import Running


def timers(loop: asyncio.AbstractEventLoop) -> list[str]:
    """The loop's timers that will still fire; only the standard loop can be asked. A connection that stays open for
    others has one of its own.
    """
    found = [repr(handle) for handle in getattr(loop, "_scheduled", []) if not handle.cancelled()]
    return [one for one in found if "Link._ring" not in one]


def threads() -> set[str]:
    return {one.name for one in threading.enumerate() if one.name.startswith(("surefoot-keeper", "surefoot-job"))}


async def gone(what: str) -> None:
    """Threads end by themselves; nobody joins them, so a test must wait for it."""
    async with asyncio.timeout(PATIENCE_S):
        while what in threads():
            await asyncio.sleep(0.01)


async def test_nothing_is_left_behind_when_a_worker_has_left(jobs: Queue) -> None:
    loop = asyncio.get_running_loop()

    @jobs.task(name="plain")
    def plain() -> None: ...

    @jobs.task(name="coroutine")
    async def coroutine() -> None: ...

    @jobs.every(3600, name="hourly")
    async def hourly() -> None: ...

    tasks = asyncio.all_tasks()
    await jobs.open()
    before = len(timers(loop))
    for _ in range(3):
        await jobs.enqueue_many([plain.draft() for _ in range(20)])
        await jobs.enqueue_many([coroutine.draft() for _ in range(20)])
        await burst(jobs)
    await gone("surefoot-keeper")
    await gone("surefoot-job")
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == tasks
    left = timers(loop)
    assert len(left) <= before, left


def runs_in_memory() -> int:
    gc.collect()
    return sum(type(one) is Running for one in gc.get_objects())


async def let_go(before: int) -> None:
    """Almost no run is held any more; the last of them may still be on its way out. `before`: those of other tests."""
    for _ in range(20):
        if runs_in_memory() <= before + 50:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"{runs_in_memory() - before} runs that ended are still held")


@pytest.mark.parametrize("lane", ["thread", "loop"])
async def test_a_worker_that_goes_on_keeps_nothing_of_jobs_that_ended(jobs: Queue, lane: str) -> None:
    @jobs.task(name="plain")
    def plain() -> None: ...

    @jobs.task(name="coroutine")
    async def coroutine() -> None: ...

    draft = plain.draft if lane == "thread" else coroutine.draft
    witness, before = Witness(), runs_in_memory()
    async with serving(jobs, on_event=witness):
        for _ in range(3):
            await jobs.enqueue_many([draft() for _ in range(500)])
        await witness.sees("completed", count=1500)
        await let_go(before)


async def test_a_job_that_moved_its_deadline_is_forgotten_when_it_ends(jobs: Queue) -> None:
    @jobs.task(name="work")
    async def work() -> None:
        current_job().extend(60)

    witness, before = Witness(), runs_in_memory()
    async with serving(jobs, on_event=witness):
        await jobs.enqueue_many([work.draft() for _ in range(200)])
        await witness.sees("completed", count=200)
        await let_go(before)
