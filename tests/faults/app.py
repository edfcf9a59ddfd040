"""The application that the fault tests run in real worker processes. Each handler writes what it does into the ledger.

python -m tests.faults.app [options]      url and ledger come by environment: FAULTS_URL, FAULTS_LEDGER
"""

import argparse
import asyncio
import os
import signal
import time
from pathlib import Path

from tests.faults.ledger import Ledger

from surefoot import Queue, Retry, Worker, current_job

jobs = Queue(os.environ["FAULTS_URL"], name="jobs")
ledger = Ledger(Path(os.environ["FAULTS_LEDGER"]))


def started() -> None:
    """The handler's first line."""
    job = current_job()
    ledger.write("started", job.id, attempt=job.attempt, worker=job.worker, failures=job.failures, crashes=job.crashes)


def ended() -> None:
    """The handler's last line."""
    ledger.write("ended", current_job().id, attempt=current_job().attempt)


@jobs.task(keep_result=3600, retry=Retry(base=0.1))
async def work(seconds: float) -> str:
    """Takes its time on the loop."""
    started()
    await asyncio.sleep(seconds)
    ended()
    return current_job().id


@jobs.task(keep_result=3600, retry=Retry(base=0.1))
def threaded(seconds: float) -> None:
    """Takes its time in a thread."""
    started()
    time.sleep(seconds)
    ended()


@jobs.task(keep_result=3600)
async def blocking(seconds: float) -> None:
    """Blocks the whole loop."""
    started()
    time.sleep(seconds)  # noqa: ASYNC251  # the fault itself
    ended()


@jobs.task(keep_result=3600)
async def killer() -> None:
    """Takes its worker with it, every time."""
    started()
    os.kill(os.getpid(), signal.SIGKILL)


@jobs.task(keep_result=3600)
def effect_then_die(flag: str) -> None:
    """Does its work, then its worker dies before it can say so; once."""
    started()
    ended()
    if not os.path.exists(flag):
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)


@jobs.task(keep_result=3600, timeout=0.5, retry=Retry(max_attempts=1))
def never_returns() -> None:
    """A thread that cannot be killed."""
    started()
    while True:
        time.sleep(60)


def main() -> None:
    """One worker process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--concurrency", type=int, default=10)
    parser.add_argument("--threads", type=int, default=10)
    parser.add_argument("--lease", type=float, default=1)
    parser.add_argument("--drain", type=float, default=25)
    parser.add_argument("--name")
    args = parser.parse_args()
    worker = Worker(
        jobs, concurrency=args.concurrency, threads=args.threads, lease=args.lease, drain=args.drain, name=args.name,
        on_event=lambda event: ledger.write(
            f"event:{event.kind}", event.job_id or "", worker=event.worker, details={**event.details}
        ),
    )  # fmt: skip
    worker.run()


if __name__ == "__main__":
    main()
