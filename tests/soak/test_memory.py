"""A worker that lives long keeps nothing of the jobs that it ran."""

import gc
import sys
from pathlib import Path
from typing import Any

import pytest

from surefoot import Queue, Worker

BATCH = 500
JOBS = 3_000
ROUNDS = 3
SPARE = 4_000
"""Blocks of memory that may be more after two rounds; one for each job would be 6,000, and by chance it is 2,000."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("lane", ["loop", "thread"])
async def test_thousands_of_jobs_leave_no_memory_behind(lane: str, tmp_path: Path) -> None:
    queue = Queue(f"sqlite:///{tmp_path}/jobs.db", name="jobs", keep_result=0)

    async def coroutine(number: int) -> int:
        return number

    def plain(number: int) -> int:
        return number

    task: Any = queue.task(name="work")(coroutine if lane == "loop" else plain)
    blocks: list[int] = []
    async with queue, Worker(queue, concurrency=50, threads=4):
        for _ in range(ROUNDS):
            for _ in range(0, JOBS, BATCH):
                await queue.enqueue_many([task.draft(number) for number in range(BATCH)])
            last = await task.options(keep_result=60, priority="low").enqueue(1)
            assert await last.result(timeout=100) == 1
            gc.collect()
            blocks.append(sys.getallocatedblocks())
    assert blocks[-1] - blocks[0] < SPARE, blocks
