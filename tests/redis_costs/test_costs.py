"""What the common ways of a job cost on a server, as the server itself counts it: scripts, commands inside them, round
trips. Bounds on counts, never on time: whoever makes a way dearer meets the number here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self

import pytest
from tests.servers import Conversation, Server, start, why_not

from surefoot import AsyncTask, Queue, Worker

KIND = "valkey-9"
SCRIPTS = ("eval", "evalsha")
FROM_CLIENTS = (*SCRIPTS, "blpop", "client|id", "client|setinfo", "client|unblock", "config|get", "info", "lpop")
"""What is said to the server itself; all other commands here are said by a script."""
PUT = 10
"""Commands that one put says, however many plain jobs it carries."""
TURN = 28
"""Commands of a settle and a claim of plain jobs, however many."""
LIFE = 12
"""Scripts of a worker's start and end: the first claim, prune, beats, the last look, the last words."""
LIFE_INSIDE = 80
RENEWAL = 110
"""Commands of one renewal of 100 leases, which the first beat may still meet."""
NO_RENEWALS_S = 600
"""A lease so long that none is renewed here, however slow the machine is."""


class Cost:
    """What the server did between `with` and its end."""

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk
        self.commands: Counter[str] = Counter()
        self.round_trips = 0

    def __enter__(self) -> Self:
        self._before = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        commands, replies = self._now()
        self.commands = commands - self._before[0]
        self.commands["info"] -= 1  # our own, and its reply
        self.round_trips = replies - self._before[1] - 1

    def _now(self) -> tuple[Counter[str], int]:
        """Calls by command, and how often the server wrote replies: once a pipeline that came in one piece."""
        lines = self._talk.say("INFO", "all").decode().splitlines()
        told = dict(line.split(":", 1) for line in lines if ":" in line)
        calls = {
            name.removeprefix("cmdstat_"): int(told[name].split(",")[0].removeprefix("calls="))
            for name in told
            if name.startswith("cmdstat_")
        }
        return Counter(calls), int(told["total_writes_processed"])

    @property
    def scripts(self) -> int:
        return sum(self.commands[name] for name in SCRIPTS)

    @property
    def inside(self) -> int:
        """Commands that scripts said."""
        return sum(count for name, count in self.commands.items() if name not in FROM_CLIENTS)

    def at_most(self, *, scripts: float, inside: float, round_trips: float) -> None:
        """Fail with all that was counted if something grew."""
        for what, found, bound in (
            ("scripts", self.scripts, scripts),
            ("commands inside scripts", self.inside, inside),
            ("round trips", self.round_trips, round_trips),
        ):
            counted = ", ".join(f"{name} {count}" for name, count in self.commands.most_common() if count)
            assert found <= bound, f"{found} {what}, where {bound:g} should do. Counted: {counted}"


@pytest.fixture(scope="module")
def anyio_backend() -> Any:
    """One loop is enough: what is counted is the same on both."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    reason = why_not(KIND)
    if reason:
        pytest.skip(reason)
    with start(tmp_path_factory.mktemp("server"), KIND) as server:
        yield server


@pytest.fixture
def talk(server: Server) -> Iterator[Conversation]:
    with server.conversation() as talk:
        yield talk


@pytest.fixture
async def queue(server: Server, talk: Conversation) -> AsyncIterator[Queue]:
    """An empty queue on a connection that has said its first words, with every script in the server's memory."""
    talk.say("FLUSHALL")
    async with Queue(server.url, name="costs") as queue:
        yield queue


Noop = AsyncTask[[int], None]


async def noop_of(queue: Queue, *, keep_result: float = 0) -> Noop:
    """A task whose jobs do nothing, and one of them stored and run: what only the first call costs is behind us."""

    @queue.task(name="noop", keep_result=keep_result)
    async def noop(n: int) -> None: ...

    await noop.enqueue(0)
    await Worker(queue).serve(burst=True)
    return noop


async def drained(queue: Queue, talk: Conversation, noop: Noop, jobs: int, at_once: int) -> Cost:
    """What it costs to run so many jobs that are stored already."""
    await queue.enqueue_many([noop.draft(n) for n in range(jobs)])
    with Cost(talk) as cost:
        await Worker(queue, concurrency=at_once, lease=NO_RENEWALS_S).serve(burst=True)
    assert (await queue.stats()).pending == 0
    return cost


# --- producers ---


async def test_500_jobs_enqueued_in_one_call_are_one_script(queue: Queue, talk: Conversation) -> None:
    noop = await noop_of(queue)
    drafts = [noop.draft(n) for n in range(500)]
    with Cost(talk) as cost:
        await queue.enqueue_many(drafts)
    cost.at_most(scripts=1, inside=PUT, round_trips=1)


async def test_one_job_enqueued_is_one_script(queue: Queue, talk: Conversation) -> None:
    noop = await noop_of(queue)
    with Cost(talk) as cost:
        for n in range(20):
            await noop.enqueue(n)
    cost.at_most(scripts=20, inside=20 * PUT, round_trips=20)


async def test_one_job_enqueued_from_a_thread_is_one_script(queue: Queue, talk: Conversation) -> None:
    noop = await noop_of(queue)
    await asyncio.to_thread(noop.enqueue_sync, 0)  # its connection
    with Cost(talk) as cost:
        await asyncio.to_thread(lambda: [noop.enqueue_sync(n) for n in range(20)])
    cost.at_most(scripts=20, inside=20 * PUT, round_trips=20)


async def test_100_jobs_enqueued_at_once_travel_together(queue: Queue, talk: Conversation) -> None:
    noop = await noop_of(queue)
    with Cost(talk) as cost:
        await asyncio.gather(*[noop.enqueue(n) for n in range(100)])
    cost.at_most(scripts=2, inside=2 * PUT, round_trips=2)


# --- workers ---


@pytest.mark.parametrize(("at_once", "jobs"), [(100, 2_000), (10, 400), (1, 60)])
async def test_a_turn_is_a_settle_and_a_claim_in_one_round_trip(
    queue: Queue, talk: Conversation, at_once: int, jobs: int
) -> None:
    cost = await drained(queue, talk, await noop_of(queue), jobs, at_once)
    turns = jobs / at_once
    cost.at_most(scripts=2 * turns + LIFE, inside=TURN * turns + LIFE_INSIDE + RENEWAL, round_trips=turns + LIFE)


async def test_kept_results_cost_four_commands_a_turn(queue: Queue, talk: Conversation) -> None:
    cost = await drained(queue, talk, await noop_of(queue, keep_result=60), 2_000, 100)
    cost.at_most(scripts=2 * 20 + LIFE, inside=(TURN + 4) * 20 + LIFE_INSIDE + RENEWAL, round_trips=20 + LIFE)


async def test_a_failed_run_costs_seven_commands_a_job(
    queue: Queue, talk: Conversation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "surefoot.worker")
    await noop_of(queue)

    @queue.task(name="fails")
    async def fails() -> None:
        raise RuntimeError("on purpose")

    await queue.enqueue_many([fails.draft() for _ in range(500)])
    with Cost(talk) as cost:
        await Worker(queue, concurrency=100, lease=NO_RENEWALS_S).serve(burst=True)
    stats = await queue.stats()
    assert stats.scheduled + stats.dead == 500
    cost.at_most(scripts=2 * 5 + LIFE, inside=7 * 500 + TURN * 5 + LIFE_INSIDE + RENEWAL, round_trips=5 + LIFE)


async def test_an_idle_worker_asks_once_a_floor(queue: Queue, talk: Conversation) -> None:
    await noop_of(queue)
    lease_s = 0.25
    floor_s = 1.2 * lease_s
    async with Worker(queue, lease=lease_s):
        await until(talk, lambda told: int(told["blocked_clients"]) == 1)
        begun = time.monotonic()
        with Cost(talk) as cost:
            await asyncio.sleep(8 * floor_s)
        floors = (time.monotonic() - begun) / floor_s + 1
    assert cost.commands["blpop"], "it does not wait for a token at all"
    cost.at_most(scripts=floors + 2, inside=10 * (floors + 2), round_trips=2 * floors + 4)


async def until(talk: Conversation, holds: Callable[[dict[str, str]], bool]) -> None:
    """Wait until the server says so."""
    while not holds(dict(line.split(":", 1) for line in talk.say("INFO").decode().splitlines() if ":" in line)):
        await asyncio.sleep(0.01)
