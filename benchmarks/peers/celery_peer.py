"""Celery: late acknowledgement, redelivery after a lost worker, no results unless asked for, a long prefetch."""

import os
import sys

from celery import Celery
from frame import AT_ONCE, HOW, JOB, LEDGER, TEXT, URL, Ledger, Peer, main

app = Celery("bench", broker=URL, backend=URL if JOB == "kept" else None)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=JOB != "kept",
    worker_prefetch_multiplier=64 if AT_ONCE == 1 else 8,
    worker_disable_rate_limits=True,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    result_expires=300,
)
ledger = Ledger(LEDGER)


@app.task(name="noop")
def noop(n: int, to: str) -> int:
    ledger.note(n)
    return n


class CeleryPeer(Peer):
    """One worker: a pool of threads; of one process (solo) at 1 at once."""

    packages = ("celery", "kombu", "redis", "hiredis")

    def put(self, n: int) -> None:
        noop.delay(n, TEXT)

    def work(self) -> None:
        pool = "prefork" if HOW == "process" else "solo" if AT_ONCE == 1 else "threads"
        size = "2" if HOW == "process" else str(AT_ONCE)
        command = ["-m", "celery", "-A", "celery_peer", "worker", "--pool", pool, "--concurrency", size]
        quiet = ["--loglevel", "WARNING", "--without-gossip", "--without-mingle"]
        os.execv(sys.executable, [sys.executable, *command, *quiet])


if __name__ == "__main__":
    main(CeleryPeer)
