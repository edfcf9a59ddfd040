"""This queue on one SQLite file, with everything on that a user gets by default: keeper, deadlines, validation,
statistics.
"""

import time

from surefoot import Queue, Worker


async def drain(path: str, jobs: int, at_once: int, lane: str = "loop", keep: float | None = None) -> float:
    """Seconds from the first handler's start to the return of the worker, with `jobs` no-op jobs already stored."""
    queue = Queue(f"sqlite:///{path}", name="bench")
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


async def enqueue(path: str, jobs: int, how: str) -> float:
    """Seconds to enqueue: `many` (500 a call), `together` (100 awaited at once), `one` by one, `sync` one by one."""
    import asyncio

    queue = Queue(f"sqlite:///{path}", name="bench")

    @queue.task(name="noop")
    async def noop(n: int, to: str) -> None: ...

    await queue.open()
    begun = time.perf_counter()
    if how == "many":
        for start in range(0, jobs, 500):
            await queue.enqueue_many([noop.draft(n, "user@example.com") for n in range(start, min(start + 500, jobs))])
    elif how == "together":
        numbers = iter(range(jobs))

        async def client() -> None:
            for n in numbers:
                await noop.enqueue(n, "user@example.com")

        await asyncio.gather(*(client() for _ in range(100)))
    else:
        for n in range(jobs):
            await noop.enqueue(n, "user@example.com")
    return time.perf_counter() - begun
