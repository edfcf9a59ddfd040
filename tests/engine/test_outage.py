"""A server that dies under load and comes back: what runs goes on, nothing is lost, no living worker loses a job."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.client.kinds import SERVER, broker_of
from tests.client.shop import queue_on
from tests.engine.stage import PATIENCE_S, SHORT, Witness, soon
from tests.servers import Server, start, why_not

from surefoot import StoreError, Worker, current_job
from surefoot.brokers.redis.broker import RedisBroker

pytestmark = [
    pytest.mark.skipif(why_not(SERVER) is not None, reason="there is no server here"),
    pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})], ids=["uvloop"]),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that keeps what it has acknowledged."""
    with start(tmp_path / "server", SERVER, options={"appendonly": "yes", "appendfsync": "always"}) as one:
        yield one


class Crew:
    """Workers that know each other only through the server, and a ledger of all that was begun and ended."""

    def __init__(self, server: Server, workers: int = 2) -> None:
        self.ran = Counter[str]()
        self.ended: dict[str, list[str]] = {}
        self.held: dict[str, list[str]] = {}
        self.early, self.late, self.enough = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.changed = asyncio.Event()
        self.witness = Witness()
        self._brokers: list[RedisBroker] = [broker_of(server) for _ in range(workers + 1)]
        self.producer = queue_on(self._brokers[-1], "jobs", timeout=0.5)
        self.workers = [self._worker(f"w{number}", self._brokers[number]) for number in range(workers)]

    def _worker(self, name: str, broker: RedisBroker) -> Worker:
        queue = queue_on(broker, "jobs")
        self.ended[name], self.held[name] = [], []

        def begin() -> str:
            self.ran[current_job().id] += 1
            return current_job().id

        @queue.task(name="short", keep_result=600)
        async def short() -> None:
            id = begin()
            await asyncio.sleep(0.01)
            self.ended[name].append(id)
            self.changed.set()

        @queue.task(name="hold", keep_result=600)
        async def hold(late: bool) -> None:
            self.held[name].append(begin())
            self.changed.set()
            await (self.late if late else self.early).wait()

        return Worker(queue, name=name, lease=SHORT, concurrency=30, on_event=self.witness)

    async def enqueue(self, task: str, **arguments: Any) -> str:
        """Say the same draft until it is accepted."""
        draft = self.producer.by_name(task).draft(**arguments)
        while True:
            try:
                return (await self.producer.enqueue(draft)).id
            except StoreError:
                await asyncio.sleep(0.05)

    async def load(self, accepted: list[str]) -> None:
        while not self.enough.is_set():
            accepted.append(await self.enqueue("short"))
            await asyncio.sleep(0.005)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(3 * PATIENCE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def each_goes_on(self, jobs: int = 5) -> None:
        """Each worker runs some jobs that begin from now on."""
        before = {name: len(ids) for name, ids in self.ended.items()}
        await self.until(lambda: all(len(self.ended[name]) >= count + jobs for name, count in before.items()))

    def close(self) -> None:
        for broker in self._brokers:
            broker.close_sync()


async def away(server: Server, seconds: float) -> None:
    server.kill()
    await asyncio.sleep(seconds)
    await asyncio.to_thread(server.again)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.faults_full)])
async def test_R1_a_server_that_is_killed_under_load_and_comes_back(server: Server, seconds: int) -> None:
    crew = Crew(server)
    accepted: list[str] = []
    async with crew.workers[0], crew.workers[1]:
        load = asyncio.create_task(crew.load(accepted))
        while not all(len(held) >= 2 for held in crew.held.values()):
            accepted.append(await crew.enqueue("hold", late=len(accepted) % 2 == 0))
        await crew.each_goes_on()
        outage = asyncio.create_task(away(server, seconds))
        await asyncio.sleep(seconds / 2)
        crew.early.set()  # these end while nobody can be told
        await outage
        await crew.each_goes_on()
        await asyncio.sleep(2 * SHORT)  # who could take a lease that has ended would have done so
        crew.late.set()
        await crew.each_goes_on()
        crew.enough.set()
        await load
        await soon(crew.witness.sees("completed", count=len(accepted)))
    assert crew.ran == Counter(accepted), "each accepted job ran once"
    assert crew.witness.of("crashed") == crew.witness.of("lease_lost") == crew.witness.of("dead") == []
    states = await crew.producer.stats()
    assert (states.pending, states.scheduled, states.processing, states.dead) == (0, 0, 0, 0)
    crew.close()


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.faults_full)])
async def test_a_short_outage_that_no_turn_meets_costs_no_lease(server: Server, rounds: int) -> None:
    """One worker runs a job, the other rests: while the lease ends only its wait fails, and it must not think that the
    first has died.
    """
    crew = Crew(server, workers=6)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(crew.workers[0])
        held = await crew.enqueue("hold", late=True)
        await crew.until(lambda: bool(crew.held["w0"]))
        for resting in crew.workers[1:]:
            await stack.enter_async_context(resting)
        for leases in (0.7, 0.8, 1.1) * rounds:
            await asyncio.sleep(1.3 * SHORT)  # they believe their clocks again
            await away(server, leases * SHORT)
        await asyncio.sleep(SHORT)
        crew.late.set()
        await crew.witness.sees("completed", held)
    assert crew.ran[held] == 1
    assert crew.witness.of("crashed") == crew.witness.of("lease_lost") == []
    crew.close()
