"""PGQueuer on PostgreSQL: one worker on uvloop over a pool of asyncpg, woken by LISTEN/NOTIFY."""

import asyncio
import json
import time
from collections.abc import Sequence

import asyncpg
import uvloop
from frame import AT_ONCE, HOW, LEDGER, TEXT, URL, Ledger, Peer, main
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgPoolDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

ledger = Ledger(LEDGER)


class PgqueuerPeer(Peer):
    """One worker; batches of half the jobs at once, the most that its own rule allows."""

    packages = ("pgqueuer", "asyncpg", "uvloop")

    async def open(self) -> None:
        self.pool = await asyncpg.create_pool(URL)
        self.queries = Queries(AsyncpgPoolDriver(self.pool))
        if not await self.pool.fetchval("SELECT to_regclass('pgqueuer')"):
            await self.queries.install()

    async def close(self) -> None:
        await self.pool.close()

    async def aput(self, n: int) -> None:
        await self.queries.enqueue("noop", _payload(n))

    async def aput_many(self, numbers: Sequence[int]) -> None:
        many = len(numbers)
        await self.queries.enqueue(["noop"] * many, [_payload(n) for n in numbers], [0] * many)

    def work(self) -> None:
        async def run() -> None:
            await self.open()
            pgq = PgQueuer.from_asyncpg_pool(self.pool)

            async def on_loop(job: Job) -> None:
                ledger.note(json.loads(job.payload or b"")["n"])

            async def in_thread(job: Job) -> None:  # its own way for plain functions
                await asyncio.to_thread(ledger.note, json.loads(job.payload or b"")["n"])

            limit = {"concurrency_limit": 1} if AT_ONCE == 1 else {}
            pgq.entrypoint("noop", **limit)(on_loop if HOW == "loop" else in_thread)
            await pgq.run(batch_size=max(1, AT_ONCE // 2), max_concurrent_tasks=max(2, AT_ONCE))

        uvloop.run(run())


def _payload(n: int) -> bytes:
    return json.dumps({"n": n, "to": TEXT, "at": time.time()}).encode()


if __name__ == "__main__":
    main(PgqueuerPeer)
