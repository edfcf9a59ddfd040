"""RQ: a worker that does not fork for each job (SimpleWorker), which its pages name as the quick one; a pool of such
workers for more at once.
"""

from collections.abc import Sequence

from frame import AT_ONCE, JOB, LEDGER, TEXT, URL, Ledger, Peer, main
from redis import Redis
from rq import Queue, SimpleWorker
from rq.worker_pool import WorkerPool

ledger = Ledger(LEDGER, direct=AT_ONCE > 1)
KEEP_S = 300 if JOB == "kept" else 0


def noop(n: int, to: str) -> int:
    ledger.note(n)
    return n


class RQPeer(Peer):
    """One worker a job at once."""

    packages = ("rq", "redis", "hiredis")

    def __init__(self) -> None:
        self.redis = Redis.from_url(URL)
        self.queue = Queue("bench", connection=self.redis)

    def put(self, n: int) -> None:
        self.queue.enqueue("rq_peer.noop", n, TEXT, result_ttl=KEEP_S)

    def put_many(self, numbers: Sequence[int]) -> None:
        prepare = Queue.prepare_data
        self.queue.enqueue_many([prepare("rq_peer.noop", (n, TEXT), result_ttl=KEEP_S) for n in numbers])

    def work(self) -> None:
        if AT_ONCE == 1:
            SimpleWorker([self.queue], connection=self.redis).work(logging_level="WARNING")
        else:
            pool = WorkerPool(["bench"], self.redis, num_workers=AT_ONCE, worker_class=SimpleWorker)
            pool.start(logging_level="WARNING")


if __name__ == "__main__":
    main(RQPeer)
