"""Tasks for child processes, in a module of their own: a child imports it and knows nothing of the test."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surefoot import Queue, Reject, Retry, Snooze, current_job

jobs = Queue("sqlite:///never-opened.db", name="jobs", retry=Retry(max_attempts=1, max_crashes=1), keep_result=60)
LONG_S = 600.0


@dataclass
class Size:
    width: int
    height: int


@jobs.task(executor="process")
def twice(size: Size) -> Size:
    return Size(2 * size.width, 2 * size.height)


@jobs.task(executor="process")
async def twice_later(number: int) -> int:
    return 2 * number


@jobs.task(executor="process")
def untold() -> None:
    """Has no result to tell."""


@jobs.task(executor="process")
def echo(text: str) -> str:
    return text


@jobs.task(executor="process")
def untravelled() -> Any:
    return object()


@jobs.task(executor="process", aliases=("who_was",))
def who() -> dict[str, Any]:
    job = current_job()
    return {
        "id": job.id,
        "attempt": job.attempt,
        "worker": job.worker,
        "pid": os.getpid(),
        "headers": dict(job.headers),
    }


@jobs.task(executor="process")
def services() -> list[str]:
    return current_job().state(list)


@jobs.task(executor="process")
def ends(how: str) -> None:
    """Ends in any of the ways that a handler can, or takes its process along."""
    match how:
        case "raise":
            raise LookupError("there is no such thing")
        case "exit":
            sys.exit(4)
        case "reject":
            raise Reject("not this one")
        case "snooze":
            raise Snooze(3600)
        case "SIGSEGV":
            ctypes.string_at(0)
        case "code 3":
            os._exit(3)
        case "deaf":
            os.closerange(3, 64)
            time.sleep(LONG_S)
        case _:
            os.kill(os.getpid(), getattr(signal, how))


@jobs.task(executor="process", timeout=LONG_S)
def family(pids: str, *, away: bool = False) -> None:
    """Starts others, which ignore SIGTERM as it does itself, writes their numbers down, and never ends."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleeper = [sys.executable, "-c", f"import time; time.sleep({LONG_S})"]
    children = [subprocess.Popen(sleeper), subprocess.Popen(sleeper, start_new_session=away)]
    written = Path(f"{pids}.new")
    written.write_text(" ".join(map(str, [os.getpid(), *(child.pid for child in children)])))
    written.rename(pids)
    time.sleep(LONG_S)


@jobs.task(executor="process")
def holds_the_interpreter(pids: str) -> None:
    """A C function that never gives the interpreter lock back."""
    Path(pids).write_text(str(os.getpid()))
    re.match(r"(a+)+$", "a" * 60 + "b")


@jobs.task(executor="process")
def patient(begun: str) -> str:
    """Goes on until it is told: what it was told."""
    Path(begun).touch()
    job = current_job()
    while not (job.stopping or job.cancelled):
        time.sleep(0.005)
    job.check()
    return "stopping"


@jobs.task(executor="process", timeout=0.5)
def extends(seconds: float) -> str:
    job = current_job()
    job.extend(60)
    time.sleep(seconds)
    return "in time"


@jobs.task(executor="process")
def counts(to: int, gate: str) -> None:
    for done in range(1, to + 1):
        current_job().progress(done, to, "counting")
        time.sleep(0.11)  # the next one is sent
    while not Path(gate).exists():
        time.sleep(0.01)


@jobs.task(executor="process")
def holds(megabytes: int) -> int:
    """Keeps so much memory for good, and says who it is."""
    _held.append(b"x" * (megabytes << 20))
    return os.getpid()


_held: list[bytes] = []


@contextlib.contextmanager
def life() -> Iterator[list[str]]:
    """What `services` finds; writes down that it began and that it ended, if the test wants to know."""
    log = os.environ.get("SUREFOOT_TEST_LIFE")
    _write(log, "begins")
    yield ["service"]
    _write(log, "ends")


def no_life() -> contextlib.AbstractContextManager[None]:
    raise OSError("the database is not there")


def _write(log: str | None, word: str) -> None:
    if log is not None:
        with Path(log).open("a") as file:
            file.write(f"{os.getpid()} {word}\n")
