"""The application of the soak: tasks in all three lanes and two schedules. Each run writes itself into the ledger.

python -m tests.soak.app      one worker; store and ledger come by environment: FAULTS_URL, FAULTS_LEDGER, SOAK_LEASE
"""

import asyncio
import contextlib
import logging
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, TypeAlias

from tests.faults.ledger import Ledger

from surefoot import Event, Queue, Reject, Retry, RetryLater, Snooze, Worker, current_job

End: TypeAlias = Literal["well", "fails", "always_fails", "later", "snoozes", "rejects"]

MAX_LENGTH: Final = 600
CAP_S: Final = 1.0
SILENT: Final = ("started", "progress")
"""Kinds of events that the handlers tell better themselves."""

jobs = Queue(
    os.environ.get("FAULTS_URL"), name="jobs", max_length=MAX_LENGTH, keep_result=0,
    retry=Retry(max_attempts=3, base=0.1, cap=CAP_S),
)  # fmt: skip
ledger = Ledger(Path(os.environ.get("FAULTS_LEDGER", os.devnull)))


@contextlib.contextmanager
def told() -> Iterator[None]:
    """A run's first and last line: started, then ended or broken."""
    job = current_job()
    facts = {"attempt": job.attempt, "worker": job.worker, "token": job.token}
    ledger.write("started", job.id, **facts, failures=job.failures, crashes=job.crashes)
    try:
        yield
    except BaseException as error:
        ledger.write("broken", job.id, **facts, kind=type(error).__name__)
        raise
    ledger.write("ended", job.id, **facts)


def comes_to(end: End) -> None:
    """The end of a run; half of those that may go wrong do."""
    bad = random.random() < 0.5
    if end == "always_fails" or (end == "fails" and bad):
        raise OSError("no such host")
    if end == "later" and bad:
        raise RetryLater(0.2, "not yet")
    if end == "snoozes" and bad:
        raise Snooze(0.3)
    if end == "rejects":
        raise Reject("of no use")


@jobs.task
async def looped(seconds: float, end: End) -> None:
    """On the loop."""
    with told():
        await asyncio.sleep(seconds)
        current_job().progress(1, 1)
        comes_to(end)


@jobs.task
def threaded(seconds: float, end: End) -> None:
    """In a thread, which asks whether it should go on."""
    with told():
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            current_job().check()
            time.sleep(0.02)
        comes_to(end)


@jobs.task(executor="process")
def apart(seconds: float, end: End) -> None:
    """In a child process."""
    with told():
        time.sleep(seconds)
        comes_to(end)


@jobs.every(1, name="ticks", overlap="allow")
async def ticks() -> None:
    """Each second."""
    with told():
        await asyncio.sleep(0.01)


@jobs.cron("* * * * *", name="minutes")
def minutes() -> None:
    """Each minute."""
    with told():
        time.sleep(0.01)


def note(event: Event) -> None:
    """Every other event of a worker goes into the ledger."""
    if event.kind not in SILENT:
        details = {**event.details}
        facts = {name: details[name] for name in ("attempt", "reason") if name in details}
        ledger.write(f"event:{event.kind}", event.job_id or "", worker=event.worker, **facts)


worker = Worker(
    jobs, concurrency=8, threads=4, process_pool=1, lease=float(os.environ.get("SOAK_LEASE", "1")), drain=1,
    on_event=note,
)  # fmt: skip

if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    worker.run()
