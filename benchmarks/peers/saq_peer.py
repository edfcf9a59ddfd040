"""SAQ on Redis: one worker on uvloop; a job says that its result is not kept, unless it is."""

import asyncio
from typing import Any

import uvloop
from frame import AT_ONCE, HOW, JOB, LEDGER, TEXT, URL, Ledger, Peer, main
from saq import Queue, Worker

ledger = Ledger(LEDGER)
TTL_S = 300 if JOB == "kept" else -1


async def noop(ctx: Any, *, n: int, to: str) -> int:
    ledger.note(n)
    return n


def plain(ctx: Any, *, n: int, to: str) -> int:
    ledger.note(n)
    return n


class SaqPeer(Peer):
    """One worker; plain functions go to its thread pool."""

    packages = ("saq", "redis", "hiredis", "uvloop")

    async def open(self) -> None:
        self.queue = Queue.from_url(URL, name="bench")
        await self.queue.connect()

    async def close(self) -> None:
        await self.queue.disconnect()

    async def aput(self, n: int) -> None:
        await self.queue.enqueue("noop", n=n, to=TEXT, ttl=TTL_S, retries=2)

    def work(self) -> None:
        uvloop.install()

        async def run() -> None:
            queue = Queue.from_url(URL, name="bench")
            function = noop if HOW == "loop" else plain
            worker: Any = Worker(queue, [("noop", function)], concurrency=AT_ONCE)
            await worker.queue.connect()
            await worker.start()

        asyncio.run(run())


if __name__ == "__main__":
    main(SaqPeer)
