"""Which queues live in a sandbox, for how long, and that they always come home."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path
from typing import Literal

import pytest
from tests.testing import shop as app
from tests.testing.shop import NEW_YEAR, mail, shop

from surefoot import ConfigError, Queue, UsageError
from surefoot.client.store import residents
from surefoot.testing import Drained, patience, sandbox


def test_queues_come_home_also_after_an_exception(tmp_path: Path) -> None:
    queue = Queue(f"sqlite:///{tmp_path}/jobs.db", name="kit-home")
    home = queue.store
    with pytest.raises(ZeroDivisionError), sandbox(queue):
        assert queue.store is not home
        raise ZeroDivisionError
    assert queue.store is home
    assert queue.stats_sync().pending == 0
    queue.close_sync()


def test_a_queue_without_a_store_works_in_a_sandbox_only() -> None:
    with sandbox(shop):
        assert app.signals.enqueue_sync("fine").status_sync() == "pending"
    with pytest.raises(ConfigError, match="queue 'kit-shop' has no store"):
        app.signals.enqueue_sync("fine")


def test_every_sandbox_begins_empty() -> None:
    for _ in range(2):
        with sandbox(shop) as box:
            assert box.jobs() == []
            app.signals.enqueue_sync("fine")


def test_without_a_name_every_queue_is_in_it_also_those_made_later() -> None:
    with sandbox() as box:
        later = Queue(name="kit-later")

        @later.task(name="made_later")
        async def made_later() -> int:
            return 5

        app.welcome.enqueue_sync("a")
        job = made_later.enqueue_sync()
        assert box.drain_sync() == Drained(runs=2, completed=2)
        assert job.result_sync() == 5
    with pytest.raises(ConfigError, match="has no store"):
        later.stats_sync()
    with pytest.raises(ConfigError, match="has no store"):
        mail.stats_sync()


def test_a_queue_that_is_not_named_stays_where_it_is() -> None:
    with sandbox(shop), pytest.raises(ConfigError, match="has no store"):
        app.welcome.enqueue_sync("a")


def test_two_queues_of_one_name_do_not_meet() -> None:
    one, two = Queue(name="kit-twin"), Queue(name="kit-twin")
    ran: list[str] = []

    @one.task(name="same")
    async def first() -> None:
        ran.append("first")

    @two.task(name="same")
    async def second() -> None:
        ran.append("second")

    with sandbox(one, two) as box:
        second.enqueue_sync()
        box.assert_not_enqueued(first)
        assert box.drain_sync() == Drained(runs=1, completed=1)
        assert ran == ["second"]
        assert [job.queue for job in box.jobs()] == []
        second.enqueue_sync()
        assert [job.queue for job in box.jobs()] == ["kit-twin"]


def test_sandboxes_nest_and_the_inner_one_hides_the_outer() -> None:
    with sandbox(shop) as outer:
        app.signals.enqueue_sync("outer")
        for inner_queues in ([shop], []):
            with sandbox(*inner_queues, mode="inline") as inner:
                app.signals.enqueue_sync("inner")
                assert [job.arguments["which"] for job in inner.jobs()] == ["inner"]
                assert [job.arguments["which"] for job in outer.jobs()] == ["outer"]
        assert [job.state for job in outer.jobs()] == ["pending"]
        assert outer.drain_sync() == Drained(runs=1, completed=1)


def test_closing_a_queue_under_test_empties_nothing() -> None:
    with sandbox(shop) as box:
        with shop:
            app.signals.enqueue_sync("fine")
        shop.close_sync()
        asyncio.run(shop.close())
        assert len(box.jobs()) == 1


def test_an_application_may_bind_its_queues_inside(tmp_path: Path) -> None:
    queue = Queue(name="kit-bound")
    with sandbox(queue):
        queue.stats_sync()
        queue.bind(f"sqlite:///{tmp_path}/jobs.db")
        assert queue.broker.address == "sqlite:///:memory:"
    assert queue.broker.address == f"sqlite:///{tmp_path}/jobs.db"
    with sandbox(queue), pytest.raises(UsageError, match=r"has been used with sqlite:////.*jobs.db already"):
        queue.bind("sqlite:///other.db")


def test_a_sandbox_is_used_once_and_inside_its_block() -> None:
    box = sandbox(shop)
    with pytest.raises(UsageError, match=r"box.drain\(\) works inside"):
        box.drain_sync()
    with box:
        pass
    with pytest.raises(UsageError, match="a sandbox is used once"), box:
        pass


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sandbox("mail"), r"sandbox takes queues, not 'mail'"),  # type: ignore[arg-type]  # what it refuses
        (lambda: sandbox(mode="eager"), r"sandbox\(mode='eager'\): give \"hold\" or \"inline\""),  # type: ignore[arg-type]  # what it refuses
        (lambda: sandbox(now=NEW_YEAR.replace(tzinfo=None)), r"sandbox\(now=2026-01-01 00:00\) has no time zone"),
    ],
)  # fmt: skip
def test_what_makes_no_sandbox_is_said_in_a_sentence(make: object, words: str) -> None:
    assert callable(make)
    with pytest.raises((ConfigError, UsageError), match=words):
        make()


async def test_it_is_an_asynchronous_context_manager_too() -> None:
    async with sandbox(shop) as box:
        await app.signals.enqueue("fine")
        assert (await box.drain()).runs == 1


def test_waiting_for_what_nobody_runs_ends_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_HOPELESS_S", 0.1)
    with sandbox(shop) as box:
        job = app.signals.enqueue_sync("fine")
        with pytest.raises(UsageError, match=f"job {job.id} is pending, and in a sandbox nothing runs by itself"):
            job.result_sync()
        box.drain_sync()
        assert job.result_sync() == "fine"
    modes: tuple[Literal["hold", "inline"], ...] = ("hold", "inline")
    for mode in modes:
        with sandbox(shop, mode=mode):
            job = app.signals.options(delay=5).enqueue_sync("fine")
            with pytest.raises(UsageError, match=f"job {job.id} is scheduled, and the clock of a sandbox stands still"):
                job.result_sync()


async def test_a_result_that_is_waited_for_beside_a_drain_comes() -> None:
    with sandbox(shop) as box:
        job = await app.signals.enqueue("fine")
        waiting = asyncio.create_task(job.result())
        await asyncio.sleep(0.01)
        await box.drain()
        assert await waiting == "fine"


async def test_who_waits_behind_a_long_job_goes_on_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_HOPELESS_S", 0)
    queue = Queue(name="kit-long")
    asked = 0

    @queue.task(name="long")
    async def long() -> None:
        while asked < 10:
            await asyncio.sleep(0.001)

    @queue.task(name="short")
    async def short() -> int:
        return 5

    with sandbox(queue) as box:
        await long.enqueue()
        job = await short.enqueue()
        drain = asyncio.create_task(box.drain())
        while not any(one.state == "processing" for one in box.jobs()):
            await asyncio.sleep(0.001)
        while asked < 10:
            assert await job.status() == "pending"
            asked += 1
        await drain
        assert await job.result() == 5


def test_whoever_moves_something_may_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_HOPELESS_S", 0)
    with sandbox(shop) as box:
        job = app.signals.options(delay=60).enqueue_sync("fine")
        for _ in range(5):
            assert job.status_sync() == job.status_sync() == "scheduled"
            box.drain_sync()
            assert job.status_sync() == job.status_sync() == "scheduled"
            app.signals.options(delay=60).enqueue_sync("fine")


async def test_a_handler_that_waits_for_its_child_ends_in_a_sentence() -> None:
    with sandbox(shop) as box:

        @shop.task(name="waits_for_child")
        async def waits_for_child() -> str:
            return await (await app.signals.enqueue("fine")).result()

        await waits_for_child.enqueue()
        with pytest.raises(
            UsageError, match=r"a job waits for job .*, which is pending: a sandbox runs one job after the other"
        ):
            await box.drain(raise_errors=True)
    with sandbox(shop, mode="inline"):
        assert await (await waits_for_child.enqueue()).result() == "fine"


def test_nothing_of_a_sandbox_stays_behind() -> None:
    def writers() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("surefoot")]

    before = writers()
    queue = Queue(name="kit-gone")
    with sandbox(queue) as box:
        queue.stats_sync()
        box.drain_sync()
        assert len(writers()) > len(before)
    assert writers() == before
    del queue, box
    gc.collect()
    assert "kit-gone" not in [one.name for one in residents()]
