"""Real worker processes for the fault tests: started on free resources, stopped by their own pid, never by name."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.faults.ledger import Ledger, Verdict, judge

from surefoot import Job, Queue, Task

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 60.0


def eventually(what: str, condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Poll until `condition` holds; the bound is generous, and no test depends on how long it took."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"never happened: {what}"
        time.sleep(0.02)


class Fleet:
    """Worker processes on one store, with their ledger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/jobs.db"
        self.ledger = Ledger(folder / "ledger")
        self.queue = Queue(self.url, name="jobs")
        self.workers: list[subprocess.Popen[bytes]] = []
        self.killed: dict[int, float] = {}
        self.accepted: list[str] = []

    def task(self, name: str) -> "Task[..., object]":
        """A task of the application, by name: this process does not hold its code."""
        return self.queue.by_name(name)

    def enqueue(self, name: str, count: int = 1, **arguments: object) -> list[str]:
        """Enqueue so many jobs and remember that they were accepted."""
        task = self.task(name)
        handles = self.queue.enqueue_many_sync([task.draft(**arguments) for _ in range(count)])
        ids = [handle.id for handle in handles]
        self.accepted += ids
        return ids

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """One more worker process; its output goes to a file beside the store."""
        log = (self.folder / f"worker-{len(self.workers)}.log").open("wb")
        environment = {**os.environ, "FAULTS_URL": self.url, "FAULTS_LEDGER": str(self.ledger.path)}
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.app", *options], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
        log.close()
        self.workers.append(worker)
        return worker

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """kill -9, noted for the judge."""
        self.killed[worker.pid] = time.time()
        worker.kill()
        worker.wait()

    def running(self, count: int) -> None:
        """Wait until so many handlers have started."""
        eventually(f"{count} handlers started", lambda: self.ledger.count("started") >= count)

    def all_over(self, seconds: float = PATIENCE_S) -> Verdict:
        """Wait until every accepted job has ended, and judge."""

        def over() -> bool:
            stats = self.queue.stats_sync()
            return stats.scheduled + stats.pending + stats.parked + stats.processing == 0

        eventually("every job ended", over, seconds)
        return self.judge()

    def judge(self) -> Verdict:
        """What the ledger and the store say now."""
        for worker in self.workers:
            if worker.poll() == -signal.SIGKILL:
                self.killed.setdefault(worker.pid, time.time())
        return judge(self.ledger, self.accepted, self.jobs(), self.killed)

    def jobs(self) -> list[Job | None]:
        """The records of all accepted jobs."""
        return [self.queue.get_sync(id) for id in self.accepted]

    def logs(self) -> str:
        """What the workers printed."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("worker-*.log")))

    def close(self) -> None:
        """Stop what still runs."""
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
                worker.wait()
        self.queue.close_sync()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Worker processes of one test; their logs are shown if it fails."""
    one = Fleet(tmp_path)
    yield one
    one.close()
    print(one.logs())
