"""What a worker asks its server at its start: whether it may drop jobs, and what it keeps. Real servers, so set."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.client.kinds import SERVER, broker_of
from tests.client.shop import queue_on
from tests.engine.stage import PATIENCE_S, SHORT, burst, happens, serving, soon
from tests.servers import start, why_not

from surefoot import JobHandle, StoreUnsuitable, Worker
from surefoot.brokers.sqlite.broker import SqliteBroker
from surefoot.engine import serve

pytestmark = [
    pytest.mark.skipif(why_not(SERVER) is not None, reason="there is no server here"),
    pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})], ids=["uvloop"]),
]

LOG = {"appendonly": "yes", "appendfsync": "always"}
KEEPS_NOTHING = "keeps nothing on disk: when it stops, every job in it is lost"
KEEPS_SNAPSHOTS = "keeps snapshots only: when it dies, all that came after the last one is lost"


class Shop:
    """A server with these settings, a producer, and a queue with one task that no worker has served yet."""

    def __init__(self, folder: Path, options: Mapping[str, str], **login: str) -> None:
        self.server = start(folder, SERVER, options=options)
        self._brokers = [broker_of(self.server, **login) for _ in range(2)]
        self._producer, self.jobs = (queue_on(broker, "jobs") for broker in self._brokers)

        @self.jobs.task(name="work", keep_result=60)
        async def work() -> str:
            return "done"

    async def enqueue(self) -> JobHandle[Any]:
        return await self._producer.by_name("work").enqueue()

    def close(self) -> None:
        for broker in self._brokers:
            broker.close_sync()
        self.server.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Callable[..., Shop]]:
    """Makes the shop of a test; it ends with it."""
    made: list[Shop] = []

    def make(options: Mapping[str, str], **login: str) -> Shop:
        made.append(Shop(tmp_path / "server", options, **login))
        return made[-1]

    yield make
    for one in made:
        one.close()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line.getMessage() for line in caplog.records if line.levelno >= logging.WARNING]


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
async def test_R14_a_server_that_may_drop_jobs_is_refused_before_anything_is_claimed(
    policy: str, shop: Callable[..., Shop]
) -> None:
    made = shop({**LOG, "maxmemory-policy": policy})
    job = await made.enqueue()
    with pytest.raises(StoreUnsuitable) as refused:
        await soon(Worker(made.jobs).serve(burst=True))
    assert str(refused.value) == (
        f"{made.server.url} may drop jobs when its memory is full: its maxmemory-policy is {policy}. Set it to "
        "noeviction, or start the worker with --allow-eviction (in Python: worker.allow_eviction = True)."
    )
    assert await job.status() == "pending"
    assert made.server.say("EXISTS", "{test:jobs}:workers") == 0, "who never served is not shown"


async def test_R14_a_worker_inside_an_application_is_refused_where_it_is_entered(shop: Callable[..., Shop]) -> None:
    made = shop({**LOG, "maxmemory-policy": "allkeys-lfu"})
    with pytest.raises(StoreUnsuitable, match="allkeys-lfu"):
        async with serving(made.jobs):
            pytest.fail("it serves")


async def test_R14_eviction_can_be_allowed(shop: Callable[..., Shop], caplog: pytest.LogCaptureFixture) -> None:
    made = shop({**LOG, "maxmemory-policy": "allkeys-lru"})
    job = await made.enqueue()
    worker = Worker(made.jobs)
    worker.allow_eviction = True
    await soon(worker.serve(burst=True))
    assert await job.result(timeout=PATIENCE_S) == "done"
    assert warnings(caplog) == [
        f"{made.server.url} may drop jobs when its memory is full: its maxmemory-policy is allkeys-lru, and this "
        "worker was told to allow it"
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (LOG, None),
        ({**LOG, "maxmemory-policy": "volatile-lru"}, None),
        ({**LOG, "save": "3600 1"}, None),
        ({"save": "3600 1"}, KEEPS_SNAPSHOTS),
        ({}, KEEPS_NOTHING),
    ],
    ids=["log", "volatile", "both", "snapshots", "nothing"],
)
async def test_R1_what_a_server_does_not_keep_is_said_once(
    options: dict[str, str], said: str | None, shop: Callable[..., Shop], caplog: pytest.LogCaptureFixture
) -> None:
    made = shop(options)
    job = await made.enqueue()
    await burst(made.jobs)
    assert await job.status() == "completed"
    words = warnings(caplog)
    assert len(words) == (said is not None), words
    assert said is None or words[0].startswith(f"{made.server.url} {said}")


async def test_R14_what_a_server_does_not_say_is_a_warning_each(
    shop: Callable[..., Shop], caplog: pytest.LogCaptureFixture
) -> None:
    made = shop({**LOG, "user": "shop on >hidden ~* &* +@all -info -config"}, username="shop", password="hidden")
    job = await made.enqueue()
    await burst(made.jobs)
    assert await job.status() == "completed"
    eviction, keeps = warnings(caplog)
    assert "does not say whether it may drop jobs" in eviction and "noeviction" in eviction
    assert "does not say what it keeps on disk" in keeps and "appendonly" in keeps


@pytest.mark.parametrize("name", ["jobs.db", ":memory:"])
async def test_a_store_that_is_no_server_says_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    broker = SqliteBroker(name)
    await burst(queue_on(broker))
    broker.close_sync()
    assert warnings(caplog) == []


async def test_a_server_that_is_away_at_the_start_is_waited_for(
    shop: Callable[..., Shop], caplog: pytest.LogCaptureFixture
) -> None:
    made = shop(LOG)
    job = await made.enqueue()
    ticked = asyncio.Event()

    @made.jobs.every(0.1, name="ticks")
    async def ticks() -> None:
        ticked.set()

    made.server.kill()
    async with serving(made.jobs):
        await asyncio.to_thread(made.server.again)
        assert await job.result(timeout=PATIENCE_S) == "done"
        await happens(ticked)
    [away] = [words for words in warnings(caplog) if "nothing is claimed until it does" in words]
    assert made.server.url in away


async def test_R14_a_server_that_was_away_is_refused_when_it_comes(
    shop: Callable[..., Shop], caplog: pytest.LogCaptureFixture
) -> None:
    made = shop({**LOG, "maxmemory-policy": "allkeys-lru"})
    job = await made.enqueue()
    made.server.kill()
    serves = asyncio.create_task(Worker(made.jobs).serve())
    async with asyncio.timeout(PATIENCE_S):
        while not warnings(caplog):
            await asyncio.sleep(0.01)
    await asyncio.to_thread(made.server.again)
    with pytest.raises(StoreUnsuitable, match="allkeys-lru"):
        await asyncio.wait_for(serves, PATIENCE_S)
    assert await job.status() == "pending"


async def test_the_death_of_a_worker_inside_an_application_is_told_at_once_and_raised_at_the_end(
    shop: Callable[..., Shop], caplog: pytest.LogCaptureFixture
) -> None:
    made = shop({**LOG, "maxmemory-policy": "allkeys-lru"})
    await made.enqueue()
    made.server.kill()

    def deaths() -> list[logging.LogRecord]:
        return [line for line in caplog.records if line.name == "surefoot.worker" and line.levelno == logging.ERROR]

    left = False
    with pytest.raises(StoreUnsuitable, match="allkeys-lru"):
        async with Worker(made.jobs):
            await asyncio.to_thread(made.server.again)
            async with asyncio.timeout(PATIENCE_S):
                while not deaths():
                    await asyncio.sleep(0.01)
            [death] = deaths()
            assert (
                "the worker in the background has stopped, and no job runs here any more: Store" in death.getMessage()
            )
            assert death.exc_info is not None and isinstance(death.exc_info[1], StoreUnsuitable)
            left = True
    assert left and len(deaths()) == 1, "the application hears of it inside its block, and once"


async def test_a_worker_that_waits_for_its_server_can_be_stopped(
    shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "_FAREWELL_S", 0.1)
    made = shop(LOG)
    made.server.kill()
    async with serving(made.jobs, lease=SHORT):
        pass
