"""arq: one worker on one loop. It polls: 10 ms between looks instead of half a second, else it would mostly sleep."""

from typing import Any

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func
from frame import AT_ONCE, JOB, LEDGER, TEXT, URL, Ledger, Peer, main

ledger = Ledger(LEDGER)


async def noop(ctx: dict[Any, Any], n: int, to: str) -> int:
    ledger.note(n)
    return n


class ArqPeer(Peer):
    """Pessimistic execution: a job stays queued until it has succeeded."""

    packages = ("arq", "redis", "hiredis")

    async def open(self) -> None:
        self.pool = await create_pool(RedisSettings.from_dsn(URL))

    async def close(self) -> None:
        await self.pool.aclose()

    async def aput(self, n: int) -> None:
        await self.pool.enqueue_job("noop", n, TEXT)

    def work(self) -> None:
        keep_s = 300 if JOB == "kept" else 0
        Worker(
            [func(noop, name="noop", keep_result=keep_s)],
            redis_settings=RedisSettings.from_dsn(URL), max_jobs=AT_ONCE, poll_delay=0.01, keep_result=keep_s,
        ).run()  # fmt: skip


if __name__ == "__main__":
    main(ArqPeer)
