"""This queue, through the same adapter as all others."""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from frame import AT_ONCE, BATCH, HOW, IO_S, JOB, LEDGER, PROCESSES, TEXT, URL, Ledger, Peer, main

from surefoot import Queue, Retry, Worker, current_job
from surefoot.brokers.broker import Claim

LEASE_MS = 3_600_000
queue = Queue(URL or "sqlite:///:memory:", name="bench")
ledger = Ledger(LEDGER)
kept = 300 if JOB == "kept" else 0


async def on_loop(n: int, to: str) -> int:
    if JOB == "io":
        await asyncio.sleep(IO_S)
    elif JOB == "flaky" and n % 10 == 0 and current_job().attempt == 1:
        raise ValueError(n)
    ledger.note(n)
    return n


def plain(n: int, to: str) -> int:
    if JOB == "io":
        time.sleep(IO_S)
    ledger.note(n)
    return n


task = queue.task(
    name="noop", keep_result=kept, retry=Retry(max_attempts=3, base=0.01, jitter=0),
    **({"executor": "process"} if HOW == "process" else {}),
)(on_loop if HOW == "loop" else plain)  # fmt: skip


@queue.task(name="ballast", keep_result=0, priority="low")
async def ballast(n: int, to: str) -> None: ...


@queue.task(name="dies", keep_result=0, retry=Retry(max_attempts=1))
async def dies(n: int, to: str) -> None:
    raise ValueError(n)


worker = Worker(queue, concurrency=AT_ONCE, threads=min(AT_ONCE, 20), process_pool=2)


class Surefoot(Peer):
    """surefoot with what a user gets by default."""

    packages = ("surefoot", "redis", "hiredis", "msgspec", "uvloop")

    def put(self, n: int) -> None:
        task.enqueue_sync(n, TEXT)

    def put_many(self, numbers: Sequence[int]) -> None:
        queue.enqueue_many_sync([task.draft(n, TEXT) for n in numbers])

    async def open(self) -> None:
        await queue.open()

    async def close(self) -> None:
        await queue.close()

    async def aput(self, n: int) -> None:
        await task.enqueue(n, TEXT)

    async def aput_many(self, numbers: Sequence[int]) -> None:
        await queue.enqueue_many([task.draft(n, TEXT) for n in numbers])

    def work(self) -> None:
        if PROCESSES == 1:
            worker.run()
            return
        target = [sys.executable, "-m", "surefoot.cli.main", "worker", "surefoot_peer:worker"]
        os.execv(sys.executable, [*target, "--processes", str(PROCESSES), "--quiet"])

    # --- what only this adapter can ---

    def delay(self, many: int, first_s: float, over_s: float) -> list[int]:
        """Store jobs due from `first_s` on, spread over `over_s`; these moments, as the ledger counts time."""
        offset_ns = time.time_ns() - time.monotonic_ns()
        first_ms = time.time_ns() // 1_000_000 + int(first_s * 1000)
        due_ms = [first_ms + int(over_s * 1000 * n / many) for n in range(many)]
        for start in range(0, many, BATCH):
            numbers = range(start, min(start + BATCH, many))
            queue.enqueue_many_sync([_due_at(due_ms[n]).draft(n, TEXT) for n in numbers])
        return [ms * 1_000_000 - offset_ns for ms in due_ms]

    def ballast(self, pending: int, scheduled: int, dead: int, leases: int) -> None:
        """Fill the store with jobs that stay: dead letters, another worker's, later ones, waiting ones."""
        _store(dies, dead)
        if dead:
            logging.getLogger("surefoot").setLevel(logging.CRITICAL)
            asyncio.run(Worker(queue, concurrency=100).serve(burst=True))
        _store(ballast, leases)
        claimed = 0
        while claimed < leases:
            [answer] = queue.sessions.ask_sync(
                [Claim(queue.full_name, min(BATCH, leases - claimed), LEASE_MS, trust_ms=0)]
            )
            claimed += len(answer.jobs)
        _store(ballast.options(delay=timedelta(days=1)), scheduled)
        _store(ballast, pending)


def _due_at(ms: int) -> Any:
    return task.options(at=datetime.fromtimestamp(ms / 1000, UTC))


def _store(kind: Any, many: int) -> None:
    for start in range(0, many, BATCH):
        queue.enqueue_many_sync([kind.draft(n, TEXT) for n in range(start, min(start + BATCH, many))])


if __name__ == "__main__":
    if sys.argv[1:2] == ["delay"]:
        print(json.dumps({"moments": Surefoot().delay(int(sys.argv[2]), *map(float, sys.argv[3:5]))}))
    elif sys.argv[1:2] == ["ballast"]:
        Surefoot().ballast(*map(int, sys.argv[2:6]))
        print("{}")
    else:
        main(Surefoot)
