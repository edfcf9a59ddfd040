"""A long job that says how far it is, can be cancelled, and goes on where it was after a deploy.

Run it:   python long_job.py
One sees  how far the first job gets until it is cancelled; then a second job that the worker's stop interrupts: it
          saves its place, and the next worker goes on there. A deploy costs no attempt of those it may fail.
"""

import asyncio
import time
from pathlib import Path

from surefoot import JobCancelled, JobHandle, Queue, Snooze, Worker, current_job

archive = Queue("sqlite:///jobs.db", name="archive")


@archive.task(timeout=3600)
def index(book: str, *, pages: int) -> str:
    job = current_job()
    bookmark = Path(f"{job.id}.page")
    first = int(bookmark.read_text()) if bookmark.exists() else 0
    for page in range(first, pages):
        job.check()  # a thread cannot be interrupted: this raises if the job was cancelled or is out of time
        if job.stopping:  # the worker leaves
            bookmark.write_text(str(page))
            raise Snooze(0)
        job.progress(page, pages)
        time.sleep(0.02)  # one page
    bookmark.unlink(missing_ok=True)
    return f"{book}: {pages} pages, from page {first} in attempt {job.attempt}"


async def watch(job: JobHandle[str], until: int) -> None:
    """Look now and then how far the job is, until it has come to this page."""
    while (known := await job.job()) and (page := known.progress.done if known.progress else 0) < until:
        print(f"page {page:g}", flush=True)
        await asyncio.sleep(0.5)


async def main() -> None:
    async with Worker(archive, lease=4):  # progress travels four times a lease
        job = await index.enqueue("a dictionary", pages=10_000)
        await watch(job, until=100)
        print(await job.cancel("nobody needs it any more"))
        try:
            await job.result(timeout=10)
        except JobCancelled as cancelled:
            print(cancelled)
        job = await index.enqueue("an atlas", pages=300)
        await watch(job, until=100)
    print(f"the worker left; the job is {await job.status()}", flush=True)
    async with Worker(archive):
        print(await job.result(timeout=30))


if __name__ == "__main__":
    asyncio.run(main())
