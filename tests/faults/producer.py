"""A producer as a process of its own: enqueues one job after the other and notes each that was accepted.

Also what its forked children do. python -m tests.faults.producer [count] [task]      without a count until it is killed
"""

import asyncio
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import psutil
from tests.faults.ledger import Ledger

from surefoot import Queue, SurefootError, clock

queue = Queue(os.environ["FAULTS_URL"], name="jobs")
ledger = Ledger(Path(os.environ["FAULTS_LEDGER"]))


def produce(count: int | None, task: str = "work") -> None:
    """Enqueue so many jobs one by one; what the store refuses is noted too."""
    for _ in itertools.count() if count is None else range(count):
        draft = queue.by_name(task).draft(seconds=0)
        try:
            queue.enqueue_sync(draft)
        except SurefootError as error:
            ledger.write("refused", draft.id, error=f"{type(error).__name__}: {error}")
        else:
            ledger.write("accepted", draft.id, caller=latest())


def latest() -> str | None:
    """The name under which this process said its last blocking call; None if all that may have said it are busy."""
    free = list(queue.sessions._free)
    return free[-1].caller if free else None


def asynchronous() -> None:
    """Enqueue from a loop: all at once, so that they travel together."""

    async def enqueue() -> None:
        drafts = [queue.by_name("work").draft(seconds=0) for _ in range(20)]
        await asyncio.gather(*[queue.enqueue(draft) for draft in drafts])
        for draft in drafts:
            ledger.write("accepted", draft.id, caller=queue.sessions.here().caller)
        spoke()

    asyncio.run(enqueue())


def connections() -> set[int]:
    """This process's connections to the store's server, by their ports here; none if the store is a file."""
    return {at.laddr.port for at in psutil.Process().net_connections("tcp") if at.status == psutil.CONN_ESTABLISHED}


def spoke() -> None:
    """Note on which connections this process has spoken so far, if it is the only thread that does."""
    ledger.write("spoke", ports=sorted(connections()))


def child(work: Callable[[], object], *, leave: Callable[[int], NoReturn] = os._exit) -> int:
    """A forked child that does this work and leaves; what it raises is noted, and what it inherited."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        ledger.write("born", ports=sorted(connections()))
        work()
        spoke()
        code = 0
    except BaseException as error:
        ledger.write("child_failed", error=f"{type(error).__name__}: {error}")
    finally:
        leave(code)


def set_clock(seconds: float) -> None:
    """Have this process's clock so far ahead of the machine's."""
    real = clock.wall_ms
    clock.wall_ms = lambda: real() + round(seconds * 1000)


def wait_for(pids: list[int]) -> None:
    """Wait for the children."""
    for pid in pids:
        os.waitpid(pid, 0)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    produce(int(arguments[0]) if arguments else None, *arguments[1:])
