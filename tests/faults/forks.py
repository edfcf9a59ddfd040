"""Processes that fork after they have used the store, as application servers do. Most children leave with os._exit.

python -m tests.faults.forks <way>      one of the functions below
"""

import asyncio
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop
from tests.faults.producer import asynchronous, child, connections, ledger, produce, queue, spoke, wait_for

from surefoot import Queue
from surefoot.client.session import SyncSession

CHILDREN = 4
LONG_S = 600.0


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


def exits() -> None:
    """Fork from a program without a loop; the children end as programs do, some without a word to the store."""
    produce(5)
    before = connections()
    wait_for(
        [child(work, leave=sys.exit) for work in (lambda: produce(5), asynchronous, queue.close_sync, lambda: None)]
    )
    produce(5)
    assert connections() == before, "the parent goes on with what it had"


def between() -> None:
    """Fork between two uses of one loop. (A child that ends as programs do would break that loop, whatever it ran.)"""
    for new_loop in (asyncio.new_event_loop, uvloop.new_event_loop):
        one = new_loop()
        drafts = [queue.by_name("work").draft(seconds=0) for _ in range(2)]
        one.run_until_complete(queue.enqueue(drafts[0]))
        caller, before = queue.sessions._of_loops[one].caller, connections()
        wait_for([child(work) for work in (lambda: produce(5), asynchronous, queue.close_sync)])
        one.run_until_complete(queue.enqueue(drafts[1]))
        assert connections() == before, "the parent goes on with what it had"
        for draft in drafts:
            ledger.write("accepted", draft.id, caller=caller)
        one.run_until_complete(queue.close())
        one.close()


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
            ledger.write("accepted", draft.id, caller=queue.sessions.here().caller)
        await asyncio.to_thread(os.waitpid, pid, 0)

    produce(1)
    asyncio.run(main())


class Listening:
    """A blocked read and a wait for a job's end, open on the running loop, with a queue of its own to hear of."""

    def __init__(self, name: str) -> None:
        self.queue = Queue(os.environ["FAULTS_URL"], name=name)

    async def begin(self) -> None:
        """Have both open."""
        self.job = await self.queue.enqueue(self.draft(delay=3600))
        while await self.queue.broker.wait([self.queue.full_name], 0, listener=self):
            pass
        self.woken = asyncio.ensure_future(self.queue.broker.wait([self.queue.full_name], LONG_S, listener=self))
        self.heard = asyncio.ensure_future(self.hear())
        broker: Any = self.queue.broker
        while self.queue.full_name not in broker._bells.jobs():  # an end that nobody waits for yet may be missed
            await asyncio.sleep(0.01)

    async def hear(self) -> None:
        """Wait until the job is over; a hint may come early."""
        while await self.job.status() != "cancelled":
            await self.queue.broker.ended(self.queue.full_name, self.job.id, LONG_S)

    async def end(self) -> None:
        """Both hear what they wait for, though nobody else speaks of it."""
        assert not self.woken.done()
        await self.queue.enqueue(self.draft())
        assert await self.woken, "the wake-up came"
        await self.job.cancel()
        await self.heard
        ledger.write("heard", queue=self.queue.name)

    def draft(self, **options: Any) -> Any:
        """A job that nobody runs."""
        return self.queue.by_name("work").options(**options).draft(seconds=0)


async def until_told(what: str) -> None:
    """Wait until the test has noted this."""
    while not ledger.count(what):
        await asyncio.sleep(0.02)


def hears() -> None:
    """A child that waits for what the parent waits for too, with connections of its own."""

    async def main() -> None:
        mine = Listening(f"child-{os.getpid()}")
        await mine.begin()
        spoke()
        await mine.end()

    asyncio.run(main())


def listening(run: Callable[[Coroutine[Any, Any, None]], None] = asyncio.run) -> None:
    """Fork while the loop has a blocked read, a subscription and a pool open. Begins to fork when the test says so."""

    def closes() -> None:
        queue.close_sync()
        produce(5)
        queue.close_sync()
        produce(5)

    async def main() -> None:
        mine = Listening("parent")
        await mine.begin()
        ledger.write("listening")
        await until_told("fork")
        before = connections()
        pids = [child(work) for work in (lambda: produce(5), asynchronous, hears, closes)]
        await asyncio.to_thread(wait_for, pids)
        await mine.end()
        assert before <= connections(), "nothing of the parent's was closed"

    produce(5)
    run(main())


def listening_uvloop() -> None:
    """The same on the other loop."""
    listening(uvloop.run)


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
            ledger.write("accepted", draft.id, caller=mine.name)
        ledger.write("caller", caller=mine.name)

    children = [child(say) for _ in range(2)]
    wait_for(children)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
