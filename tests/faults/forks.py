"""Processes that fork after they have used the store, as application servers do. Children leave with os._exit.

python -m tests.faults.forks <way>      one of the functions below
"""

import asyncio
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable

from tests.faults.producer import ledger, produce, queue

from surefoot.client.session import SyncSession

CHILDREN = 4


def child(work: Callable[[], object]) -> int:
    """A forked child that does this work and leaves; what it raises is noted."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException as error:
        ledger.write("child_failed", error=f"{type(error).__name__}: {error}")
    finally:
        os._exit(code)


def wait_for(pids: list[int]) -> None:
    """Wait for the children."""
    for pid in pids:
        os.waitpid(pid, 0)


def busy() -> None:
    """Fork while other threads of this process write without a pause."""
    produce(1)
    over = threading.Event()

    def write() -> None:
        while not over.is_set():
            produce(5)

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    children = []
    for _ in range(CHILDREN):
        produce(3)
        children.append(child(lambda: produce(5)))
    wait_for(children)
    over.set()
    for writer in writers:
        writer.join()


def reading() -> None:
    """Fork while another thread reads without a pause."""
    produce(50)
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            queue.find_sync(limit=100)

    reader = threading.Thread(target=read)
    reader.start()

    def both() -> None:
        produce(5)
        assert queue.find_sync(limit=100)
        produce(5)

    children = [child(both) for _ in range(CHILDREN)]
    wait_for(children)
    over.set()
    reader.join()


def preload() -> None:
    """A master that uses the store, forks its servers and closes its own; they live on."""
    produce(5)
    closed, close = os.pipe()

    def serve() -> None:
        os.close(close)
        produce(5)
        ledger.write("serving")
        os.read(closed, 1)
        produce(5)

    children = [child(serve) for _ in range(CHILDREN)]
    while ledger.count("serving") + ledger.count("child_failed") < CHILDREN:
        threading.Event().wait(0.02)
    queue.close_sync()
    os.close(close)
    wait_for(children)


def pool() -> None:
    """multiprocessing with fork, and an event loop in each child."""
    produce(5)
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=asynchronous) for _ in range(CHILDREN)]
    for one in children:
        one.start()
    produce(20)
    for one in children:
        one.join()
        assert one.exitcode == 0


def asynchronous() -> None:
    """Enqueue from a loop: all at once, so that they travel together."""

    async def enqueue() -> None:
        drafts = [queue.by_name("work").draft(seconds=0) for _ in range(20)]
        await asyncio.gather(*[queue.enqueue(draft) for draft in drafts])
        for draft in drafts:
            ledger.write("accepted", draft.id)

    asyncio.run(enqueue())


def loop() -> None:
    """Fork inside a running loop, with enqueues in line and on their way; the child begins a loop of its own."""

    async def main() -> None:
        drafts = [queue.by_name("work").draft(seconds=0) for _ in range(20)]
        asked = [asyncio.ensure_future(queue.enqueue(draft)) for draft in drafts]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        pid = child(asynchronous)
        await asyncio.gather(*asked)
        for draft in drafts:
            ledger.write("accepted", draft.id)
        await asyncio.to_thread(os.waitpid, pid, 0)

    produce(1)
    asyncio.run(main())


def worker() -> None:
    """A master that enqueues and forks a worker, as a preloading server with its worker beside it."""
    from tests.faults.app import jobs, note_events

    from surefoot import Worker

    jobs.enqueue_sync(jobs.by_name("work").draft(seconds=0))
    pid = child(lambda: Worker(jobs, lease=1, on_event=note_events).run(burst=True))
    produce(20)
    wait_for([pid])


def clone() -> None:
    """A fork that nobody saw, as a clone of a virtual machine: two senders under one caller and one number."""
    session = SyncSession(queue.broker)
    mine = session._caller
    task = queue.by_name("work")

    def say() -> None:
        mine.pid = os.getpid()
        queue.sessions._free.append(session)
        for _ in range(10):
            draft = task.draft(seconds=0)
            queue.enqueue_sync(draft)
            ledger.write("accepted", draft.id)
        ledger.write("caller", caller=mine.name)

    children = [child(say) for _ in range(2)]
    wait_for(children)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
