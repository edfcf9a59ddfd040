"""The page that answers the tutorial: every test it names exists, and the points that no other test showed are here.

Real workers on a file and on a real server; what they run is counted from outside.
"""

from __future__ import annotations

import ast
import asyncio
import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.faults.conftest import fleet as fleet
from tests.faults.conftest import server as server
from tests.faults.conftest import store_url as store_url
from tests.faults.processes import Fleet
from tests.servers import Server

from surefoot import Queue, Worker, current_job

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "from-the-tutorial.md"
PATIENCE_S = 30


@pytest.fixture
def jobs(store_url: str) -> Iterator[Queue]:
    queue = Queue(store_url, name="jobs")
    yield queue
    queue.close_sync()


# --- the page ---


def points() -> list[tuple[str, str]]:
    """Each point of the page with its text."""
    return [(title, text) for title, text in re.findall(r"^### (.+)\n((?:(?!^##).*\n)*)", PAGE.read_text(), re.M)]


@pytest.mark.parametrize(("title", "text"), points(), ids=[title for title, _ in points()])
def test_every_point_says_there_here_and_names_tests_that_exist(title: str, text: str) -> None:
    assert re.search(r"^Here ", text, re.M), title
    named = re.findall(r"^- `(tests/[\w/]+\.py)::(\w+)`$", text, re.M)
    assert named, "no test"
    assert len(named) == text.count("tests/"), "a test that is not on a line of its own"
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text())
        found = [one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
        assert name in found, f"{path} has no {name}"


def test_there_are_points_and_each_is_read() -> None:
    assert len(points()) == PAGE.read_text().count("\n### ") >= 30


# --- what no other test showed ---


def test_two_workers_run_200_jobs_due_at_one_instant_once_each(fleet: Fleet) -> None:
    fleet.ready(fleet.start("--concurrency", "10"), fleet.start("--concurrency", "10"))
    due = datetime.now(UTC) + timedelta(seconds=3)
    task = fleet.task("work").options(at=due)
    ids = fleet.took([task.draft(seconds=0.1) for _ in range(200)])
    assert fleet.queue.stats_sync().scheduled == 200, "all of them wait for the same instant"
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert (verdict.accepted, verdict.started, verdict.doubled) == (200, 200, {})
    started = fleet.ledger.of("started")
    assert sorted(run["job"] for run in started) == sorted(ids)
    assert len({run["pid"] for run in started}) == 2, "both workers were at it"


async def test_a_delay_is_kept_to_the_millisecond_and_nothing_starts_early(jobs: Queue) -> None:
    @jobs.task(name="work")
    async def work(number: int) -> int:
        return number

    delays_ms = [1, 250, 251, 500, 749, 999, 1000, 1001, 1250]
    async with asyncio.timeout(PATIENCE_S), Worker(jobs):
        drafts = [work.options(delay=ms / 1000).draft(ms) for ms in delays_ms]
        handles = await jobs.enqueue_many(drafts)
        assert [await handle.result() for handle in handles] == delays_ms
    for ms, handle in zip(delays_ms, handles, strict=True):
        job = await handle.job()
        assert job is not None and job.started_at is not None
        assert job.due_at - job.enqueued_at == timedelta(milliseconds=ms)
        assert job.started_at >= job.due_at


async def test_two_jobs_with_the_same_arguments_are_acknowledged_each_by_itself(jobs: Queue) -> None:
    inside: set[str] = set()
    both = asyncio.Event()
    gates: dict[str, asyncio.Event] = {}

    @jobs.task(name="work")
    async def work(number: int) -> str:
        inside.add(current_job().id)
        if len(inside) == 2:
            both.set()
        await gates[current_job().id].wait()
        return current_job().id

    drafts = [work.draft(7), work.draft(7)]
    gates |= {draft.id: asyncio.Event() for draft in drafts}
    async with asyncio.timeout(PATIENCE_S), Worker(jobs):
        first, second = await jobs.enqueue_many(drafts)
        await both.wait()
        gates[second.id].set()
        assert await second.result() == second.id
        assert (await first.status(), (await jobs.stats()).processing) == ("processing", 1)
        gates[first.id].set()
        assert await first.result() == first.id


async def test_two_kinds_of_jobs_of_one_shape_each_reach_their_own_function(jobs: Queue) -> None:
    ran: list[tuple[str, int]] = []

    @jobs.task(name="mail")
    async def mail(number: int) -> None:
        ran.append(("mail", number))

    @jobs.task(name="report")
    def report(number: int) -> None:
        ran.append(("report", number))

    await jobs.enqueue_many([(mail, report)[number % 2].draft(number) for number in range(100)])
    async with asyncio.timeout(PATIENCE_S):
        await Worker(jobs).serve(burst=True)
    assert sorted(ran) == sorted((("mail", "report")[number % 2], number) for number in range(100))
    assert (await jobs.stats()).dead == 0


def damage(url: str, server: Server | None, id: str) -> None:
    """Spoil a job's envelope in the store itself, by hand."""
    wrong = b'{"task": "work", "payload": {"number": \xff'
    if server is not None:
        key = "{surefoot:jobs}:jobs"
        time_line = server.say("HGET", key, id).partition(b"\n")[0] + b"\n"
        server.say("HSET", key, id, time_line + wrong)
        return
    store = sqlite3.connect(url.removeprefix("sqlite:///"))
    with store:
        words = "UPDATE body SET envelope = ? WHERE seq = (SELECT seq FROM job WHERE id = ?)"
        assert store.execute(words, (wrong, id)).rowcount == 1
    store.close()


async def test_a_message_damaged_in_the_store_is_a_dead_letter_and_blocks_nobody(
    jobs: Queue, store_url: str, server: Server | None
) -> None:
    ran: list[int] = []

    @jobs.task(name="work")
    async def work(number: int) -> None:
        ran.append(number)

    before, middle, after = await jobs.enqueue_many([work.draft(number) for number in range(3)])
    damage(store_url, server, middle.id)
    async with asyncio.timeout(PATIENCE_S):
        await Worker(jobs, concurrency=1).serve(burst=True)
    assert ran == [0, 2]
    assert [await one.status() for one in (before, after)] == [None, None], "done, and nothing was kept"
    [letter] = await jobs.dead.find(reason="invalid")
    assert (letter.id, letter.state, letter.runs) == (middle.id, "dead", 0)
    stats = await jobs.stats()
    assert (stats.pending, stats.processing, stats.parked, stats.dead) == (0, 0, 0, 1)
