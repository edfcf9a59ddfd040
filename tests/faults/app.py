"""The application that the fault tests run in real worker processes. Each handler writes what it does into the ledger.

python -m tests.faults.app [options]      store and ledger come by environment: FAULTS_URL, FAULTS_LEDGER
"""

import argparse
import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.ledger import Ledger
from tests.faults.producer import asynchronous, child, produce, set_clock, wait_for
from tests.faults.trouble import Plan, make_trouble

from surefoot import CallNext, Event, JobContext, Middleware, Queue, Retry, Worker, current_job

jobs = Queue(os.environ["FAULTS_URL"], name="jobs")
ledger = Ledger(Path(os.environ["FAULTS_LEDGER"]))


@contextlib.contextmanager
def told() -> Iterator[None]:
    """The handler's first and last line: started, then ended or broken off."""
    job = current_job()
    facts = {"attempt": job.attempt, "worker": job.worker}
    ledger.write("started", job.id, **facts, failures=job.failures, crashes=job.crashes)
    try:
        yield
    except BaseException as error:
        ledger.write("broken", job.id, **facts, kind=type(error).__name__)
        raise
    ledger.write("ended", job.id, **facts)


def lasts(seconds: float, later: float | None) -> float:
    """How long this run takes: `later` from the second attempt on, if given."""
    return seconds if later is None or current_job().attempt == 1 else later


@jobs.task(keep_result=3600, retry=Retry(base=0.1))
async def work(seconds: float, later: float | None = None) -> str:
    """Takes its time on the loop; its result names the worker."""
    with told():
        await asyncio.sleep(lasts(seconds, later))
    return current_job().worker


@jobs.task(keep_result=3600, retry=Retry(base=0.1))
def threaded(seconds: float, later: float | None = None) -> str:
    """Takes its time in a thread."""
    with told():
        time.sleep(lasts(seconds, later))
    return current_job().worker


@jobs.task(keep_result=3600, retry=Retry(base=0.1))
def checking(seconds: float, later: float | None = None) -> str:
    """Takes its time in a thread that asks whether it should go on."""
    with told():
        until = time.monotonic() + lasts(seconds, later)
        while time.monotonic() < until:
            current_job().check()
            time.sleep(0.02)
    return current_job().worker


@jobs.task(keep_result=3600, retry=Retry(base=0.1))
async def reporting(seconds: float) -> str:
    """Says all the time which worker runs it."""
    with told():
        for _ in range(round(seconds * 20)):
            current_job().progress(1, note=current_job().worker)
            await asyncio.sleep(0.05)
    return current_job().worker


@jobs.task(keep_result=3600)
async def large(seconds: float, size: int) -> str:
    """Its result needs room."""
    with told():
        await asyncio.sleep(seconds)
    return "x" * size


@jobs.task(keep_result=3600)
async def blocking(seconds: float) -> None:
    """Blocks the whole loop."""
    with told():
        time.sleep(seconds)  # noqa: ASYNC251  # the fault itself


@jobs.task(keep_result=3600, retry=Retry(max_attempts=1))
async def stubborn(seconds: float) -> None:
    """Does not end when it is cancelled."""
    until = time.monotonic() + seconds
    with told():
        while time.monotonic() < until:
            try:
                await asyncio.sleep(0.1)
            except asyncio.CancelledError:
                ledger.write("swallowed_cancel", current_job().id)


@jobs.task(keep_result=3600, retry=Retry(max_attempts=2, base=0.1))
async def failing() -> None:
    """Fails every time."""
    with told():
        raise OSError("no such host")


@jobs.task(keep_result=3600)
async def killer() -> None:
    """Takes its worker with it, every time."""
    with told():
        os.kill(os.getpid(), signal.SIGKILL)


@jobs.task(keep_result=3600)
def effect_then_die(flag: str) -> None:
    """Does its work, then its worker dies before it can say so; once."""
    with told():
        pass
    if not os.path.exists(flag):
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)


@jobs.task(keep_result=3600, timeout=0.5, retry=Retry(max_attempts=1))
def never_returns() -> None:
    """A thread that cannot be killed."""
    with told():
        while True:
            time.sleep(60)


@jobs.task(keep_result=3600, timeout=60)
def meets(folder: str, guests: int) -> None:
    """Ends when so many of its kind run at the same time."""
    with told():
        Path(folder, current_job().id).touch()
        while len(os.listdir(folder)) < guests:
            current_job().check()
            time.sleep(0.02)


def offspring() -> None:
    """What a forked child of a worker does: it enqueues, blocking and on a loop of its own."""
    produce(3)
    asynchronous()


@jobs.task(keep_result=3600)
async def forking() -> None:
    """Forks the worker off the loop's thread, with all its connections open."""
    with told():
        await asyncio.to_thread(wait_for, [child(offspring)])


@jobs.task(keep_result=3600)
def forking_thread() -> None:
    """Forks the worker off another thread."""
    with told():
        wait_for([child(offspring)])


async def ticks() -> None:
    """One tick of a recurring entry."""
    with told():
        pass


async def passing(job: JobContext, call_next: CallNext) -> object:
    """A middleware that does nothing."""
    return await call_next()


def note_events(event: Event) -> None:
    """Every event of a worker goes into the ledger."""
    ledger.write(f"event:{event.kind}", event.job_id or "", worker=event.worker, details={**event.details})


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--concurrency", type=int, default=10)
    parser.add_argument("--threads", type=int, default=10)
    parser.add_argument("--lease", type=float, default=1)
    parser.add_argument("--drain", type=float, default=25)
    parser.add_argument("--name")
    parser.add_argument("--middleware", action="store_true", help="an idle middleware around every run")
    parser.add_argument("--die-on", help="the kind of event at which the process kills itself")
    parser.add_argument("--trouble", type=Plan.parse, action="append", default=[], help="such as drop:claim:1")
    parser.add_argument("--deaf", action="store_true", help="no wake-up ever arrives")
    parser.add_argument("--clock", type=float, default=0, help="how far this process's clock is ahead, in seconds")
    parser.add_argument("--ticks", action="store_true", help="a recurring job each second")
    parser.add_argument("--also", action="append", default=[], help="one more queue to serve, with the same tasks")
    return parser.parse_args()


def main() -> None:
    """One worker process."""
    args = options()

    def note(event: Event) -> None:
        note_events(event)
        if event.kind == args.die_on:
            os.kill(os.getpid(), signal.SIGKILL)

    if args.clock:
        set_clock(args.clock)
    if args.ticks:
        jobs.every(1, name="ticks")(ticks)
    if args.trouble or args.deaf:
        make_trouble(jobs, args.trouble, ledger, deaf=args.deaf)
    around: list[Middleware] = [passing] if args.middleware else []
    more = [Queue(os.environ["FAULTS_URL"], name=name) for name in args.also]
    for queue in more:
        for task in jobs.tasks.values():
            queue.add(task)
    Worker(
        jobs, *more, concurrency=args.concurrency, threads=args.threads, lease=args.lease, drain=args.drain,
        name=args.name, middleware=around, on_event=note,
    ).run()  # fmt: skip


if __name__ == "__main__":
    main()
