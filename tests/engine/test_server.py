"""What a worker is to its server: its connections, its round trips, what it says while it is idle."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from tests.client.kinds import SERVER, broker_of, emptied
from tests.client.shop import queue_on
from tests.conformance.stores import server_of
from tests.engine.stage import PATIENCE_S, Witness, burst, serving, soon

from surefoot import Queue, Worker
from surefoot.brokers.redis.connection import Connections
from surefoot.client import operation

pytestmark = pytest.mark.parametrize("kind", ["redis"], indirect=True)

IDLE_S = 60


class Wire:
    """What goes out on the connections of event loops: one list of commands a round trip."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[list[tuple[Any, ...]]] = []
        send = Connections.send

        async def recording(connections: Connections, *commands: tuple[Any, ...]) -> list[Any]:
            self.said.append(list(commands))
            return await send(connections, *commands)

        monkeypatch.setattr(Connections, "send", recording)

    def scripts(self) -> list[list[str]]:
        """Of each round trip that ran scripts, their queues. One without keys asks what the user may do."""
        found = [
            [_queue(words) for words in said if words[0] in ("EVALSHA", "EVAL") and words[2]] for said in self.said
        ]
        return [queues for queues in found if queues]


def _queue(words: Sequence[Any]) -> str:
    return str(words[3]).partition(":")[2].partition("}")[0]


async def test_a_turn_is_one_round_trip_however_many_queues_and_jobs(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settles and claims of all queues travel together. The scripts are on the server already."""
    broker = emptied()
    names = ["first", "second", "third"]
    queues = [queue_on(broker, name) for name in names]
    gate = asyncio.Event()
    running = 0

    for queue in queues:

        @queue.task(name="work")
        async def work() -> None:
            nonlocal running
            running += 1
            await gate.wait()

        await burst(queue)
        await queue.enqueue_many([work.draft() for _ in range(10)])
    wire = Wire(monkeypatch)
    witness = Witness()
    async with serving(*queues, concurrency=30, on_event=witness):
        async with asyncio.timeout(PATIENCE_S):
            while running < 30:
                await asyncio.sleep(0.01)
        claims = wire.scripts()
        assert claims[0] == names, "the first turn claims of each queue"
        assert len(claims) <= 3, "30 jobs of three queues are here"
        wire.said.clear()
        gate.set()
        await witness.sees("completed", count=30)
        [*turns] = wire.scripts()
        assert sorted(turns[0]) == sorted(2 * names), "a settle and a claim a queue, in one round trip"
        assert len(turns) <= 3, "30 jobs are settled"
    broker.close_sync()


async def test_a_worker_holds_a_connection_for_turns_one_a_queue_to_wait_and_one_for_its_keeper(kind: str) -> None:
    broker = emptied()
    queues = [queue_on(broker, name) for name in ("first", "second")]
    async with serving(*queues):
        async with asyncio.timeout(PATIENCE_S):
            while last_commands() != [
                "blpop",
                "blpop",
                "eval",
                "eval",
            ]:  # those of the test before may still be closing
                await asyncio.sleep(0.02)
    assert last_commands().count("eval") == 2, "it says goodbye on the same ones"
    broker.close_sync()


def last_commands() -> list[str]:
    """What was said last on each of our connections; a script is `eval` whether it was sent whole or not."""
    clients = server_of(SERVER).say("CLIENT", "LIST", "TYPE", "normal").decode().splitlines()
    ours = [dict(word.split("=", 1) for word in one.split(" ") if "=" in word) for one in clients if "surefoot" in one]
    return sorted(one["cmd"].removesuffix("sha") for one in ours)


async def test_a_waiter_is_told_of_the_end_and_does_not_ask_again_and_again(
    kind: str, jobs: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operation, "_ASK_AGAIN_S", (600.0, 600.0))
    gate = asyncio.Event()

    @jobs.task(name="work")
    async def work() -> int:
        await gate.wait()
        return 7

    # The one who waits is another process: it hears of the end from the server alone.
    broker = broker_of(server_of(SERVER))
    other = queue_on(broker, "jobs")
    witness = Witness()
    job = await work.enqueue()
    async with serving(jobs, on_event=witness):
        waiting = [asyncio.ensure_future(other.handle(job.id).result(timeout=600)) for _ in range(5)]
        async with asyncio.timeout(PATIENCE_S):
            while server_of(SERVER).say("PUBSUB", "NUMSUB", "{test:jobs}:done")[1] == 0:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # they have asked and wait
        assert not any(one.done() for one in waiting)
        gate.set()
        assert await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_S) == [7] * 5
    broker.close_sync()


@pytest.mark.faults_full
@pytest.mark.timeout(IDLE_S + 60)
async def test_P11_an_idle_worker_is_heard_of_less_than_once_a_second(kind: str, jobs: Queue) -> None:
    server = server_of(SERVER)

    @jobs.task(name="work")
    async def work() -> None: ...

    await soon(Worker(jobs).serve(burst=True))
    async with Worker(jobs):
        await asyncio.sleep(1)
        before = int(server.info()["total_reads_processed"])
        await asyncio.sleep(IDLE_S)
        heard = int(server.info()["total_reads_processed"]) - before
    assert 4 < heard < IDLE_S / 2, "beats, and a claim and a blocked read each floor; our own two questions"
