"""A worker whose jobs run in child processes, for the fault tests: it and what it starts can be struck."""

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from surefoot import Queue, Retry, Worker

jobs = Queue(os.environ.get("FAULTS_URL"), name="jobs", retry=Retry(max_attempts=1, max_crashes=1), keep_result=600)
LONG_S = 600.0


@jobs.task(executor="process", retry=Retry(max_crashes=9))
def rests(pids: str) -> None:
    """Starts a child of its own, writes both numbers down, and never ends."""
    own = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({LONG_S})"])
    _tell(pids, os.getpid(), own.pid)
    time.sleep(LONG_S)


@jobs.task(executor="process", retry=Retry(max_crashes=9))
def holds(pids: str) -> None:
    """The same, in a C function that never gives the interpreter lock back."""
    own = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({LONG_S})"])
    _tell(pids, os.getpid(), own.pid)
    re.match(r"(a+)+$", "a" * 60 + "b")


@jobs.task(executor="process")
def good(number: int) -> int:
    return number


@jobs.task(executor="process")
async def good_later(number: int) -> int:
    await asyncio.sleep(random.uniform(0, 0.01))
    return number


@jobs.task(executor="process")
def deadly(how: str) -> None:
    """Takes its process along, and what it has started."""
    if how == "family":
        for _ in range(3):
            subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({LONG_S})"])
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "exit":
        os._exit(7)
    elif how == "deaf":
        os.closerange(3, 64)
        time.sleep(LONG_S)
    else:
        os.kill(os.getpid(), getattr(signal, how))


@jobs.task(executor="process", timeout=0.3)
def late() -> None:
    """Ignores what asks it to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(LONG_S)


def _tell(pids: str, *numbers: int) -> None:
    fresh = Path(f"{pids}.new")
    fresh.write_text(" ".join(map(str, numbers)))
    fresh.rename(pids)


if __name__ == "__main__":
    Worker(jobs, lease=1, process_pool=int(sys.argv[1])).run(burst="--burst" in sys.argv)
