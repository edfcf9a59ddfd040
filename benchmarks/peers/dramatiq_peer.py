"""Dramatiq on Redis: one process of threads, its default middleware, which acknowledges after the run."""

import os
import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from frame import AT_ONCE, JOB, LEDGER, TEXT, URL, Ledger, Peer, main

broker = RedisBroker(url=URL or "redis://")
if JOB == "kept":
    broker.add_middleware(Results(backend=RedisBackend(url=URL)))
dramatiq.set_broker(broker)
ledger = Ledger(LEDGER)
options = {"store_results": True} if JOB == "kept" else {}


@dramatiq.actor(actor_name="noop", queue_name="bench", **options)
def noop(n: int, to: str) -> int | None:
    ledger.note(n)
    return n if JOB == "kept" else None


class DramatiqPeer(Peer):
    """One process with as many threads as jobs at once."""

    packages = ("dramatiq", "redis", "hiredis")

    def put(self, n: int) -> None:
        noop.send(n, TEXT)

    def work(self) -> None:
        command = ["-m", "dramatiq", "dramatiq_peer", "--processes", "1", "--threads", str(AT_ONCE)]
        os.execv(sys.executable, [sys.executable, *command])


if __name__ == "__main__":
    main(DramatiqPeer)
