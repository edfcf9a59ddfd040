"""How late jobs start beside idle workers, and what idle workers cost. Real processes on a private server.

python benchmarks/wake.py [--workers 8] [--jobs 400] [--idle 60] [--sqlite]
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests import servers  # noqa: E402  # run as a file, the tests are not on the path before

from surefoot import Queue, Worker, current_job  # noqa: E402

LEAD_MS = 6_000
"""How long before the first delayed job is due: all of them are enqueued by then."""
SECONDS = 20
"""Over how long the jobs are spread."""

queue = Queue(os.environ.get("WAKE_URL", "sqlite:///:memory:"), name="wake")


@queue.task(keep_result=0)
async def late(due_ms: float) -> None:
    """Writes down how many milliseconds after its time it starts."""
    now_ms = time.time() * 1000
    with Path(os.environ["WAKE_FILE"]).open("a") as file:  # noqa: ASYNC230  # a line on a disk in memory
        file.write(f"{now_ms - due_ms:.3f} {current_job().worker}\n")


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def told(name: str, delays: Sequence[float]) -> None:
    print(
        f"{name:<44} p50 {statistics.median(delays):6.2f} ms   p99 {percentile(delays, 0.99):6.2f} ms   "
        f"max {max(delays):6.2f} ms   ({len(delays)} jobs)",
        flush=True,
    )


def read(file: Path, many: int) -> list[float]:
    """The delays of all jobs, once they are there."""
    until = time.monotonic() + 2 * SECONDS
    while True:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) >= many or time.monotonic() > until:
            break
        time.sleep(0.1)
    file.unlink()
    assert len(lines) == many, f"{len(lines)} of {many} jobs started"
    return [float(line.split()[0]) for line in lines]


def measure(file: Path, jobs: int) -> None:
    producer = Queue(os.environ["WAKE_URL"], name="wake")
    task = producer.by_name("late")
    now = time.time() * 1000
    dues = [now + LEAD_MS + random.uniform(0, SECONDS * 1000) for _ in range(jobs)]
    for due_ms in dues:
        task.options(at=datetime.fromtimestamp(due_ms / 1000, UTC)).enqueue_sync(due_ms=due_ms)
    told("delayed jobs, after their time", read(file, jobs))
    start = time.monotonic()
    for place in range(jobs):
        time.sleep(max(0, start + place * SECONDS / jobs / 2 - time.monotonic()))
        task.enqueue_sync(due_ms=time.time() * 1000)
    told(f"{2 * jobs / SECONDS:.0f} jobs a second, enqueue to start", read(file, jobs))


def idle(server: servers.Server, workers: int, seconds: float) -> None:
    time.sleep(3)
    before = int(server.info()["total_commands_processed"])
    time.sleep(seconds)
    facts = server.info()
    commands = int(facts["total_commands_processed"]) - before - 1
    print(
        f"{'idle':<44} {commands / seconds / workers:.2f} commands a second a worker, "
        f"{int(facts['connected_clients']) / workers:.1f} connections a worker",
        flush=True,
    )


def main() -> None:
    """Start the workers, measure, stop them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--idle", type=float, default=60)
    parser.add_argument("--sqlite", action="store_true")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = None if given.sqlite else stack.enter_context(servers.start(folder / "server"))
        os.environ["WAKE_URL"] = f"sqlite:///{folder}/jobs.db" if server is None else server.url
        os.environ["WAKE_FILE"] = str(folder / "delays")
        command = [sys.executable, __file__, "worker"]
        processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(given.workers)]
        stack.callback(lambda: [(process.terminate(), process.wait()) for process in processes])
        time.sleep(3)
        print(f"{given.workers} worker processes on {'SQLite' if server is None else server.version}\n")
        measure(folder / "delays", given.jobs)
        if server is not None and given.idle:
            idle(server, given.workers, given.idle)


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        Worker(queue, concurrency=10).run()
    else:
        main()
