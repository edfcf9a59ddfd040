"""This queue on one store, with everything on that a user gets by default: keeper, deadlines, validation,
statistics.
"""

import time

from benchmarks import bare_jobs
from surefoot import Queue, Worker


async def drain(url: str, jobs: int, at_once: int, lane: str = "loop", keep: float | None = None) -> float:
    """Seconds from the first handler's start to the return of the worker, with `jobs` no-op jobs already stored."""
    queue = Queue(url, name="bench")
    first = 0.0

    async def on_loop(n: int, to: str) -> None:
        nonlocal first
        if not first:
            first = time.perf_counter()

    def in_thread(n: int, to: str) -> None:
        nonlocal first
        if not first:
            first = time.perf_counter()

    function = on_loop if lane == "loop" else in_thread
    task = queue.task(name="noop", keep_result=keep)(function)
    for start in range(0, jobs, 500):
        await queue.enqueue_many([task.draft(n, "user@example.com") for n in range(start, min(start + 500, jobs))])
    last = 0.0
    worker = Worker(queue, concurrency=at_once, threads=min(at_once, 20))
    await worker.serve(burst=True)
    last = time.perf_counter()
    stats = await queue.stats()
    assert (stats.pending, stats.processing, stats.dead) == (0, 0, 0), stats
    return last - first


async def enqueue(url: str, jobs: int, how: str) -> float:
    """Seconds to enqueue."""
    queue = Queue(url, name="bench")

    @queue.task(name="noop")
    async def noop(n: int, to: str) -> None: ...

    async def put(numbers: range | tuple[int]) -> None:
        if how == "many":
            await queue.enqueue_many([noop.draft(n, "user@example.com") for n in numbers])
        else:
            await noop.enqueue(numbers[0], "user@example.com")

    await queue.open()
    return await bare_jobs.enqueue(jobs, how, put)
