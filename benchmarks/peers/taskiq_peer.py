"""taskiq on Redis streams, acknowledged after the run, one worker process on uvloop."""

import os
import sys

from frame import AT_ONCE, HOW, JOB, LEDGER, TEXT, URL, Ledger, Peer, main
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

broker = RedisStreamBroker(URL or "redis://")
if JOB == "kept":
    broker = broker.with_result_backend(RedisAsyncResultBackend(URL, result_ex_time=300))
ledger = Ledger(LEDGER)


async def on_loop(n: int, to: str) -> int:
    ledger.note(n)
    return n


def plain(n: int, to: str) -> int:
    ledger.note(n)
    return n


noop = broker.task(task_name="noop")(on_loop if HOW == "loop" else plain)


class TaskiqPeer(Peer):
    """One worker process; a thread pool for plain functions."""

    packages = ("taskiq", "taskiq-redis", "redis", "hiredis", "uvloop")

    async def open(self) -> None:
        await broker.startup()

    async def close(self) -> None:
        await broker.shutdown()

    async def aput(self, n: int) -> None:
        await noop.kiq(n, TEXT)

    def work(self) -> None:
        command = ["-m", "taskiq", "worker", "taskiq_peer:broker", "--workers", "1", "--ack-type", "when_executed"]
        sizes = ["--max-async-tasks", str(AT_ONCE), "--max-threadpool-threads", str(min(AT_ONCE, 20))]
        os.execv(sys.executable, [sys.executable, *command, *sizes, "--log-level", "WARNING"])


if __name__ == "__main__":
    main(TaskiqPeer)
