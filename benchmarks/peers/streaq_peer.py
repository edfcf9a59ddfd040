"""streaQ: Redis streams, one worker on uvloop; results kept only where asked for."""

from collections.abc import Sequence

from frame import AT_ONCE, HOW, JOB, LEDGER, TEXT, URL, Ledger, Peer, main
from streaq import Worker

worker: Worker[None] = Worker(
    redis_url=URL or "redis://", concurrency=AT_ONCE, sync_concurrency=min(AT_ONCE, 20), queue_name="bench",
    anyio_kwargs={"use_uvloop": True},
)  # fmt: skip
ledger = Ledger(LEDGER)


async def on_loop(n: int, to: str) -> int:
    ledger.note(n)
    return n


def plain(n: int, to: str) -> int:
    ledger.note(n)
    return n


noop = worker.task(name="noop", ttl=300 if JOB == "kept" else 0)(on_loop if HOW == "loop" else plain)


class StreaqPeer(Peer):
    """One worker."""

    packages = ("streaq", "coredis", "uvloop")

    async def open(self) -> None:
        self.context = worker.__asynccontextmanager__()
        await worker.__aenter__()

    async def close(self) -> None:
        await worker.__aexit__(None, None, None)

    async def aput(self, n: int) -> None:
        await noop.enqueue(n, TEXT)

    async def aput_many(self, numbers: Sequence[int]) -> None:
        await worker.enqueue_many([noop.enqueue(n, TEXT) for n in numbers])

    def work(self) -> None:
        worker.run_sync()


if __name__ == "__main__":
    main(StreaqPeer)
