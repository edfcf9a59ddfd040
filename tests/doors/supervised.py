"""An application for the tests of several worker processes: what its jobs do is written to a file."""

import asyncio
import os
import signal
from pathlib import Path

from surefoot import Queue, Retry, current_job

jobs = Queue(name="jobs", retry=Retry(max_attempts=1), keep_result=600)


@jobs.task
async def pid() -> int:
    await asyncio.sleep(0.02)
    return os.getpid()


@jobs.task
async def waits(started: str, seconds: float) -> str:
    """Marks that it began; ends at once when the worker drains."""
    Path(started).touch()  # noqa: ASYNC240 - a local file, and nothing else runs here
    for _ in range(round(seconds / 0.01)):
        if current_job().stopping:
            return "stopping"
        await asyncio.sleep(0.01)
    return "ended"


@jobs.task
async def stubborn(started: str) -> None:
    Path(started).touch()  # noqa: ASYNC240 - a local file, and nothing else runs here
    await asyncio.sleep(600)


@jobs.task(retry=Retry(max_crashes=1))
def kills_its_worker() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@jobs.task
def grows(megabytes: int) -> int:
    _held.append(b"x" * (megabytes << 20))
    return os.getpid()


_held: list[bytes] = []
