"""What a job costs a worker and a producer, as counts of Python calls. Bounds, never times: whoever makes a way dearer
meets the number here.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pytest

from surefoot import Queue, Worker

CALLS_A_JOB = 49
"""Calls of Python functions on the worker's loop for one more plain job, at 100 at once on SQLite."""
DRAFT = 8
"""Calls of Python functions that make a draft."""
JOBS = 1_000


class Calls:
    """How many Python functions this thread begins, or goes on with, between `with` and its end."""

    def __init__(self) -> None:
        self.count = 0
        self.by_name: Counter[str] = Counter()

    def __enter__(self) -> Self:
        sys.setprofile(self._seen)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _seen(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            self.count += 1
            self.by_name[frame.f_code.co_qualname] += 1

    def at_most(self, bound: float, times: int) -> None:
        """Fail with what is called most."""
        told = ", ".join(f"{name} {count / times:.1f}" for name, count in self.by_name.most_common(60))
        assert self.count / times <= bound, f"{self.count / times:.1f} calls each, where {bound} should do: {told}"


async def drained(path: Path, jobs: int) -> Calls:
    """What the worker's loop calls while it runs so many jobs that are stored already."""
    async with Queue(f"sqlite:///{path}", name="costs") as queue:

        @queue.task(name="noop", keep_result=0)
        async def noop(n: int) -> None: ...

        await queue.enqueue_many([noop.draft(n) for n in range(jobs)])
        with Calls() as calls:
            await Worker(queue, concurrency=100).serve(burst=True)
        assert (await queue.stats()).pending == 0
    return calls


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})])
async def test_one_more_job_costs_few_calls(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "surefoot.worker")
    few = await drained(tmp_path / "few.db", JOBS)
    many = await drained(tmp_path / "many.db", 3 * JOBS)
    many.by_name.subtract(few.by_name)
    many.count -= few.count
    many.at_most(CALLS_A_JOB, 2 * JOBS)


def test_a_draft_costs_few_calls() -> None:
    queue = Queue("sqlite:///:memory:", name="costs")

    @queue.task(name="noop")
    async def noop(n: int) -> None: ...

    noop.draft(0)
    with Calls() as calls:
        for n in range(JOBS):
            noop.draft(n)
    calls.at_most(DRAFT, JOBS)
