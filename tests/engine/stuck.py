"""A worker process whose loop is blocked for good by one job. Run by test_rescue: stuck.py URL."""

from __future__ import annotations

import asyncio
import sys
import time

from surefoot import Queue, Retry, Worker

jobs = Queue(sys.argv[1], name="jobs", namespace="test")


@jobs.task(name="waits")
async def waits() -> None:
    await asyncio.Event().wait()


@jobs.task(name="blocks", timeout=0.3, retry=Retry(max_attempts=1))
async def blocks() -> None:
    await asyncio.sleep(0.2)  # the others have begun
    time.sleep(3600)  # noqa: ASYNC251  # the fault itself


if __name__ == "__main__":
    Worker(jobs, lease=0.4).run()
