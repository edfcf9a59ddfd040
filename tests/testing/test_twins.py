"""The blocking twins: for tests without an event loop, and refused inside one."""

from __future__ import annotations

import asyncio
import threading
import time
import unittest
from typing import Literal

import pytest
from anyio.from_thread import start_blocking_portal
from tests.testing import shop as app
from tests.testing.shop import CardDeclined, mail, shop, who

from surefoot import Queue, SyncInsideLoop
from surefoot.testing import Drained, run_job_sync, sandbox


def test_each_method_has_a_twin() -> None:
    with sandbox(shop, mail) as box:
        app.order.enqueue_sync("lamp")
        ran = box.run_next_sync()
        assert ran is not None and ran.value == 1
        assert box.drain_sync(max_runs=5) == Drained(runs=1, completed=1)
        app.charge.enqueue_sync(1, until=2)
        assert box.advance_sync(10) == Drained(runs=2, completed=1)
        app.signals.enqueue_sync("fine")
        assert box.run_next_sync(lose_worker=True) is not None
    assert run_job_sync(app.welcome.draft("a")).value == "en:a"


async def test_they_are_refused_inside_a_loop() -> None:
    with sandbox(shop) as box:
        for call, name in (
            (box.drain_sync, "box.drain"), (lambda: box.advance_sync(1), "box.advance"),
            (box.run_next_sync, "box.run_next"), (lambda: run_job_sync(app.welcome.draft("a")), "run_job"),
        ):  # fmt: skip
            with pytest.raises(SyncInsideLoop, match=rf"write `await {name}\(\.\.\.\)`"):
                call()
        # In a thread of its own there is no loop in the way.
        await app.signals.enqueue("fine")
        assert await asyncio.to_thread(box.drain_sync) == Drained(runs=1, completed=1)


def test_what_an_async_handler_opens_lives_on_between_two_drains() -> None:
    queue = Queue(name="kit-lives")
    opened: list[asyncio.Event] = []

    @queue.task(name="opens")
    async def opens() -> bool:
        if not opened:
            opened.append(asyncio.Event())
            asyncio.get_running_loop().call_soon(opened[0].set)
        await asyncio.wait_for(opened[0].wait(), 5)
        return True

    with sandbox(queue) as box:
        for _ in range(2):
            opens.enqueue_sync()
            assert box.drain_sync() == Drained(runs=1, completed=1)


def test_the_threads_own_loop_and_context_are_left_as_they_are() -> None:
    own = asyncio.new_event_loop()
    asyncio.set_event_loop(own)
    try:
        with sandbox(shop) as box:
            for name in ("ann", "bob"):
                token = who.set(name)
                job = app.whose.enqueue_sync()
                box.drain_sync()
                assert job.result_sync() == name
                who.reset(token)
        assert asyncio.get_event_loop_policy().get_event_loop() is own
    finally:
        asyncio.set_event_loop(None)
        own.close()


def test_threads_side_by_side_do_not_share_a_loop() -> None:
    with sandbox(shop, mail, mode="inline") as box:
        threads = [threading.Thread(target=app.order.enqueue_sync, args=(f"item{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert [job.state for job in box.jobs()] == ["completed"] * 16


def test_threads_side_by_side_do_not_wait_for_each_other() -> None:
    queue = Queue(name="kit-side")
    met = threading.Event()

    @queue.task(name="waits")
    async def waits() -> bool:
        return await asyncio.to_thread(met.wait, 20)

    @queue.task(name="comes")
    async def comes() -> None:
        met.set()

    with sandbox(queue, mode="inline") as box:
        first = threading.Thread(target=waits.enqueue_sync)
        first.start()
        while not any(job.state == "processing" for job in box.jobs(waits)):
            time.sleep(0.001)
        comes.enqueue_sync()
        first.join(30)
        assert [job.state for job in box.jobs(waits)] == ["completed"]


def test_an_application_may_have_its_loop_in_another_thread() -> None:
    """As the test clients of web frameworks do."""

    async def endpoint() -> int:
        return await (await app.order.enqueue("lamp")).result()

    with start_blocking_portal() as portal:
        with sandbox(shop, mail, mode="inline"):
            assert portal.call(endpoint) == 1
        with sandbox(shop, mail) as box:
            job = portal.call(app.order.enqueue, "lamp")
            waiting = portal.start_task_soon(job.result)
            assert box.drain_sync() == Drained(runs=2, completed=2)
            assert waiting.result(30) == 1


def test_errors_find_the_thread_that_enqueued() -> None:
    met: dict[int, int] = {}

    def charge(code: int) -> None:
        try:
            app.charge.enqueue_sync(code)
        except CardDeclined as declined:
            met[code] = declined.code

    with sandbox(shop, mode="inline"):
        threads = [threading.Thread(target=charge, args=(code,)) for code in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert met == {code: code for code in range(20)}


@pytest.mark.parametrize("mode", ["hold", "inline"])
def test_a_twin_runs_plain_functions_in_the_tests_own_thread(mode: Literal["hold", "inline"]) -> None:
    """So they see what belongs to the thread, such as a database connection with the test's open transaction."""
    queue = Queue(name="kit-own")
    own = threading.local()
    own.transaction = "open"

    @queue.task(name="grandchild")
    def grandchild() -> str:
        return str(getattr(own, "transaction", "none"))

    @queue.task(name="child")
    async def child() -> str:
        return (await grandchild.enqueue()).id

    @queue.task(name="parent")
    def parent() -> str:
        assert asyncio.run(asyncio.sleep(0, "loops work")) == "loops work"
        child.enqueue_sync()
        assert grandchild.enqueue_sync().status_sync() == ("pending" if mode == "hold" else "completed")
        return str(getattr(own, "transaction", "none"))

    with sandbox(queue, mode=mode) as box:
        job = parent.enqueue_sync()
        box.drain_sync()
        assert job.result_sync() == "open"
        jobs = box.jobs(grandchild)
        assert [queue.handle(one.id).result_sync() for one in jobs] == ["open", "open"]


def test_there_a_plain_function_cannot_be_interrupted_but_late_is_late() -> None:
    queue = Queue(name="kit-late")

    @queue.task(name="late", timeout=0.01)
    def late() -> None:
        time.sleep(0.03)

    with sandbox(queue) as box:
        late.enqueue_sync()
        ran = box.run_next_sync()
        assert ran is not None and (ran.outcome, ran.job.failures) == ("timed_out", 1)


class PlainCase(unittest.TestCase):
    def setUp(self) -> None:
        self.box = self.enterContext(sandbox(shop, mail))

    def test_a_plain_unittest(self) -> None:
        app.order.enqueue_sync("lamp")
        self.assertEqual(self.box.drain_sync().runs, 2)


class AsyncCase(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.box = await self.enterAsyncContext(sandbox(shop, mail))

    async def test_an_asynchronous_unittest(self) -> None:
        await app.order.enqueue("lamp")
        self.assertEqual((await self.box.drain()).runs, 2)
