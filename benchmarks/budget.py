"""Where the time of one job goes: microseconds of each piece, of the worker and of the server, and a profile.

python benchmarks/budget.py [--at-once 100 10 1] [--jobs 20000] [--rounds 3] [--profile]
"""

import argparse
import asyncio
import cProfile
import logging
import pstats
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

HERE = Path(__file__).parent.parent
if str(HERE) not in sys.path:  # run as a file
    sys.path.insert(0, str(HERE))

from tests import servers  # noqa: E402  # run as a file, the tests are not on the path before

from surefoot import Queue, Worker  # noqa: E402  # as above
from surefoot.brokers.answers import Claimed  # noqa: E402  # as above
from surefoot.brokers.broker import Call, Put, Settle  # noqa: E402  # as above
from surefoot.brokers.redis import write  # noqa: E402  # as above
from surefoot.brokers.redis.scripts import scripts  # noqa: E402  # as above
from surefoot.core.codec import decode_envelope, encode_envelope  # noqa: E402  # as above
from surefoot.core.job import Leased, NewJob  # noqa: E402  # as above
from surefoot.core.lifecycle import Run, admit, decide  # noqa: E402  # as above
from surefoot.core.outcome import Returned  # noqa: E402  # as above

BATCH = 100
NOW_MS = 1_700_000_000_000
CALL = Call("caller0000000001", 7, "abcd", ())


def micro(function: Callable[[], object], each: int = 1) -> float:
    """The least microseconds of one, over several runs."""
    timer = timeit.Timer(function)
    loops, _ = timer.autorange()
    return min(timer.repeat(5, max(1, loops // 5))) / max(1, loops // 5) / each * 1e6


def pieces() -> dict[str, float]:
    """Microseconds a job of what runs in the worker without a store, in the order of a job's life."""
    queue = Queue("sqlite:///:memory:", name="budget")

    @queue.task(name="noop", keep_result=0)
    async def noop(n: int, to: str) -> None: ...

    draft = noop.draft(1, "user@example.com")
    body = encode_envelope(draft, NOW_MS)
    leased = Leased(draft.id, "caller0000000001.7", NOW_MS, body)
    run = admit(leased, queue.specs, NOW_MS, 0)
    assert isinstance(run, Run)
    signature, function = run.spec.signature, run.spec.function
    known = scripts()
    for script in known.values():
        script.known.add("q:q")
    record = str(NOW_MS).encode() + b"\n" + body
    ids = [f"{n:028}".encode() for n in range(BATCH)]
    reply: list[Any] = [NOW_MS, 1, 0, ids, [record] * BATCH, [], [], [], 0, 0, [], 0]
    done = tuple(decide(run, Returned(None), NOW_MS, 0.5) for _ in range(BATCH))
    jobs = tuple(NewJob(f"{n:028}", body) for n in range(BATCH))

    def told() -> Claimed:
        return write._claimed("caller0000000001.7", reply)

    async def tasks() -> None:
        loop = asyncio.get_running_loop()
        for some in [[loop.create_task(signature.call(function, run.arguments)) for _ in range(BATCH)]]:
            for task in some:
                await task

    def in_tasks() -> float:
        async def measured() -> float:
            best = float("inf")
            for _ in range(200):
                begun = time.perf_counter()
                await tasks()
                best = min(best, time.perf_counter() - begun)
            return best / BATCH * 1e6

        return uvloop.run(measured())

    return {
        "producer: draft, arguments checked and encoded": micro(lambda: noop.draft(1, "user@example.com")),
        "producer: envelope": micro(lambda: encode_envelope(draft, NOW_MS)),
        "producer: words of a put": micro(lambda: next(write.put(known["put"], CALL, Put("q:q", jobs))), BATCH),
        "worker: reply of a claim into records": micro(told, BATCH),
        "worker: envelope": micro(lambda: decode_envelope(body)),
        "worker: admit, envelope and arguments in it": micro(lambda: admit(leased, queue.specs, NOW_MS, 0)),
        "worker: a task of asyncio, the handler in it": in_tasks(),
        "worker: decide": micro(lambda: decide(run, Returned(None), NOW_MS, 0.5)),
        "worker: words of a settle": micro(
            lambda: next(write.settle(known["settle"], CALL, Settle("q:q", done))), BATCH
        ),
    }


class Spent:
    """CPU time of this process and of a server, and the wall clock, between two moments."""

    def __init__(self, server: servers.Server) -> None:
        self._server = server
        self._at = self._now()

    def _now(self) -> tuple[float, float, float]:
        told = self._server.info()
        return time.process_time(), float(told["used_cpu_user"]) + float(told["used_cpu_sys"]), time.perf_counter()

    def a_job(self, jobs: int) -> tuple[float, ...]:
        """Microseconds a job of each."""
        return tuple((now - then) / jobs * 1e6 for now, then in zip(self._now(), self._at, strict=True))


async def drain(server: servers.Server, at_once: int, jobs: int, keep: float, profile: bool) -> tuple[float, ...]:
    """Microseconds a job of worker, server and clock, for jobs that are stored before."""
    queue = Queue(server.url, name=f"budget{at_once}")

    @queue.task(name="noop", keep_result=keep)
    async def noop(n: int, to: str) -> None: ...

    for start in range(0, jobs, 500):
        await queue.enqueue_many([noop.draft(n, "user@example.com") for n in range(start, min(start + 500, jobs))])
    tool = cProfile.Profile(time.process_time)
    spent = Spent(server)
    if profile:
        tool.enable()
    await Worker(queue, concurrency=at_once).serve(burst=True)
    tool.disable()
    found = spent.a_job(jobs)
    assert (await queue.stats()).pending == 0
    await queue.close()
    if profile:
        pstats.Stats(tool).sort_stats("tottime").print_stats(30)
    return found


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, nargs="+", default=[100, 10, 1])
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    logging.getLogger("surefoot").setLevel(logging.ERROR)  # the server keeps nothing on disk, and we know
    print("microseconds a job, in batches of 100\n")
    for name, each in pieces().items():
        print(f"{name:<52}{each:8.2f}")
    print("\nmicroseconds a job on a server, the least of all rounds\n")
    print(f"{'':<32}{'worker CPU':>12}{'server CPU':>12}{'clock':>10}")
    with tempfile.TemporaryDirectory() as folder, servers.start(Path(folder)) as server:
        for at_once in args.at_once:
            jobs = max(500, args.jobs * min(at_once, 100) // 100)
            for keep, what in ((0, "nothing kept"), (300, "results kept")):
                rounds = [uvloop.run(drain(server, at_once, jobs, keep, False)) for _ in range(args.rounds)]
                worker, store, clock = (min(column) for column in zip(*rounds, strict=True))
                print(f"{f'{at_once} at once, {what}':<32}{worker:>12.1f}{store:>12.1f}{clock:>10.1f}", flush=True)
        if args.profile:
            uvloop.run(drain(server, args.at_once[0], args.jobs, 0, True))


if __name__ == "__main__":
    main()
