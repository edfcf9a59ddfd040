"""mode="inline": a job runs before its enqueue returns, and what it raised is raised there."""

from __future__ import annotations

import asyncio
import threading

import pytest
from tests.testing import shop as app
from tests.testing.shop import CardDeclined, Order, diary, mail, shop

from surefoot import InvalidArguments, Queue, Retry, current_job
from surefoot.testing import Drained, sandbox


async def test_enqueue_returns_after_the_run() -> None:
    with sandbox(shop, mail, mode="inline"):
        job = await app.order.enqueue("lamp", copies=2)
        assert (await job.status(), await job.result()) == ("completed", 2)
        assert [line.split()[0] for line in diary.lines] == ["order", "welcome", "pack"]
        stamped = await app.stamp.enqueue(Order(1, app.NEW_YEAR))
        assert await stamped.result() == Order(2, app.NEW_YEAR)


def test_so_do_the_blocking_twins_and_names() -> None:
    with sandbox(shop, mail, mode="inline"):
        assert app.order.enqueue_sync("lamp", copies=2).result_sync() == 2
        assert mail.by_name("welcome").enqueue_sync(address="x").result_sync() == "en:x"
        assert mail.enqueue_sync(app.welcome.draft("y")).result_sync() == "en:y"
        app.pack.enqueue_sync("fragile")  # a thread that enqueues by the blocking twin
        assert diary.lines[-1] == "welcome fragile@example.com en"


async def test_what_a_thread_enqueues_runs_on_the_tests_own_loop() -> None:
    queue = Queue(name="kit-loops")
    seen: list[object] = []

    @queue.task(name="child")
    async def child() -> None:
        seen.append((asyncio.get_running_loop(), threading.current_thread()))

    @queue.task(name="parent")
    def parent() -> None:
        child.enqueue_sync()

    @queue.task(name="thrower")
    async def thrower() -> None:
        await asyncio.to_thread(child.enqueue_sync)

    with sandbox(queue, mode="inline"):
        await parent.enqueue()
        await thrower.enqueue()
    assert seen == [(asyncio.get_running_loop(), threading.current_thread())] * 2


async def test_an_error_is_raised_at_the_enqueue_and_the_job_is_retried_later() -> None:
    with sandbox(shop, mode="inline") as box:
        with pytest.raises(CardDeclined) as declined:
            await app.charge.enqueue(3, until=2)
        assert declined.value.code == 3 and declined.traceback[-1].name == "charge"
        [job] = box.jobs()
        assert (job.state, job.failures) == ("scheduled", 1)
        assert await box.advance(10) == Drained(runs=1, completed=1)


async def test_a_timeout_is_raised_too() -> None:
    with sandbox(shop, mode="inline"), pytest.raises(TimeoutError, match=r"slow did not finish within 0\.05 s"):
        await app.slow.enqueue()


def test_an_error_comes_through_the_twin_too() -> None:
    with sandbox(shop, mode="inline"), pytest.raises(CardDeclined):
        app.charge.enqueue_sync(3)


async def test_a_childs_error_is_its_parents_too() -> None:
    queue = Queue(name="kit-family", retry=Retry(max_attempts=1))

    @queue.task(name="child")
    async def child() -> None:
        raise CardDeclined(4)

    @queue.task(name="parent")
    async def parent() -> None:
        await child.enqueue()

    with sandbox(queue, mode="inline") as box:
        with pytest.raises(CardDeclined):
            await parent.enqueue()
        assert {job.task: job.state for job in box.jobs()} == {"parent": "dead", "child": "dead"}


async def test_signals_are_not_raised() -> None:
    with sandbox(shop, mode="inline") as box:
        states = [
            await (await app.signals.enqueue(which)).status() for which in ("snooze", "later", "cancel", "reject")
        ]
        assert states == ["scheduled", "scheduled", "cancelled", "dead"]
        assert (await box.advance(60)).runs == 1


async def test_a_delayed_job_waits_for_advance() -> None:
    with sandbox(shop, mode="inline") as box:
        job = await app.signals.options(delay=60).enqueue("fine")
        assert await job.status() == "scheduled"
        assert await box.drain() == Drained()
        assert await box.advance(60) == Drained(runs=1, completed=1)


async def test_of_a_list_all_run_and_the_first_error_is_raised() -> None:
    with sandbox(shop, mode="inline") as box:
        with pytest.raises(CardDeclined) as declined:
            await shop.enqueue_many([app.charge.draft(1), app.charge.draft(2), app.charge.draft(3, until=1)])
        assert declined.value.code == 1
        assert [job.state for job in box.jobs()] == ["scheduled", "scheduled", "completed"]


async def test_enqueues_side_by_side_get_their_own_errors() -> None:
    with sandbox(shop, mode="inline"):
        answers = await asyncio.gather(
            *[app.charge.enqueue(code) for code in (1, 2)], app.signals.enqueue("fine"), app.charge.enqueue(3),
            return_exceptions=True,
        )  # fmt: skip
        codes = [one.code if isinstance(one, CardDeclined) else None for one in answers]
        assert codes == [1, 2, None, 3]


async def test_on_dead_runs_there_and_then() -> None:
    with sandbox(shop, mode="inline"):
        with pytest.raises(CardDeclined):
            await app.doomed.enqueue()
        assert len(app.buried) == 1


async def test_a_retry_without_delay_does_not_run_in_the_same_enqueue() -> None:
    queue = Queue(name="kit-at-once", retry=Retry.forever(base=0))
    runs: list[int] = []

    @queue.task(name="again")
    async def again() -> None:
        runs.append(current_job().attempt)
        raise CardDeclined(1)

    with sandbox(queue, mode="inline"):
        with pytest.raises(CardDeclined):
            await again.enqueue()
        assert runs == [1]


async def test_a_job_that_enqueues_itself_is_stopped() -> None:
    with sandbox(shop, mode="inline"), pytest.raises(AssertionError, match="100 jobs run inside each other"):
        await app.ping.enqueue()


async def test_wrong_arguments_are_raised_and_a_paused_queue_holds() -> None:
    with sandbox(shop, mode="inline"):
        draft = app.charge.draft(1)
        with pytest.raises(InvalidArguments):
            await shop.enqueue(type(draft)(id="x", queue=draft.queue, task=draft.task, payload=b"{}"))
        await shop.pause()
        job = await app.signals.enqueue("fine")
        assert await job.status() == "pending"
        await shop.resume()
        assert await job.status() == "completed"
        [dead] = await shop.dead.find()
        with pytest.raises(InvalidArguments):
            await shop.dead.requeue(dead.id)


async def test_the_same_draft_twice_runs_once() -> None:
    with sandbox(shop, mode="inline"):
        draft = app.signals.draft("fine")
        first, second = await shop.enqueue(draft), await shop.enqueue(draft)
        assert (first.id, second.duplicate) == (second.id, True)
        assert diary.lines == ["signals fine"]
        again = app.signals.draft("again")
        await asyncio.gather(shop.enqueue(again), shop.enqueue(again), shop.enqueue(again))
        assert diary.lines == ["signals fine", "signals again"]
