"""Real processes for the fault tests: started on free resources, stopped by their own pid, never by name."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from tests.faults.ledger import Judge, Ledger, Outage, Verdict
from tests.servers import Server

from surefoot import Queue, Task
from surefoot.brokers.answers import Record
from surefoot.brokers.broker import VERB_LIMIT, Get

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 60.0
DEFAULTS = ("--concurrency", "50", "--threads", "20", "--lease", "10")
"""The library's own settings, in place of the application's lease of 1 s."""

Process = subprocess.Popen[bytes]


def eventually(what: str, condition: Callable[[], object], seconds: float = PATIENCE_S) -> None:
    """Poll until `condition` holds; the bound is generous, and no test depends on how long it took."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"never happened: {what}"
        time.sleep(0.02)


def is_free(lock: Path) -> bool:
    """Whether nobody holds this lock file; before the first write there is none."""
    if not lock.exists():
        return True
    with lock.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class Fleet:
    """Processes on one store, with their ledger. Whom a test strikes is noted for the judge.

    `server`: what the store stands on, if a test may strike it.
    """

    def __init__(self, folder: Path, url: str | None = None, server: Server | None = None) -> None:
        self.folder = folder
        self.url = url or f"sqlite:///{folder}/jobs.db"
        self.server = server
        self.ledger = Ledger(folder / "ledger")
        self.queue = Queue(self.url, name="jobs")
        self.queues = {"jobs": self.queue}
        self.processes: list[Process] = []
        self.struck: dict[int, float] = {}
        self.outages: list[Outage] = []
        self.accepted: list[str] = []

    # --- jobs ---

    def also(self, name: str) -> Queue:
        """One more queue of the store; a worker serves it if it is started with --also."""
        queue = self.queues[name] = Queue(self.url, name=name)
        return queue

    def task(self, name: str) -> Task[..., Any]:
        """A task of the application, by name: this process does not hold its code."""
        return self.queue.by_name(name)

    def enqueue(self, name: str, count: int = 1, **arguments: object) -> list[str]:
        """Enqueue so many jobs and remember that they were accepted."""
        task = self.task(name)
        return self.took([task.draft(**arguments) for _ in range(count)])

    def took(self, drafts: Sequence[Any]) -> list[str]:
        """Enqueue drafts, each in its queue, and remember that they were accepted."""
        ids: list[str] = []
        for name, queue in self.queues.items():
            ids += [handle.id for handle in queue.enqueue_many_sync([one for one in drafts if one.queue == name])]
        self.accepted += ids
        return ids

    def records(self, ids: Sequence[str] | None = None) -> list[Record | None]:
        """What the store knows of these jobs, or of all accepted ones."""
        ids = self.accepted if ids is None else ids
        found: list[Record | None] = []
        for place in range(0, len(ids), VERB_LIMIT):
            some = tuple(ids[place : place + VERB_LIMIT])
            known = self.queue.sessions.ask_sync([Get(queue.full_name, some) for queue in self.queues.values()])
            found += [next((one for one in ones if one is not None), None) for ones in zip(*known, strict=True)]
        return found

    def record(self, id: str) -> Record:
        """What the store knows of a job that it must know."""
        [record] = self.records([id])
        assert record is not None, f"the store does not know {id}"
        return record

    # --- processes ---

    def start(self, *options: str) -> Process:
        """One more worker process."""
        return self.run("tests.faults.app", *options)

    def run(self, module: str, *options: str) -> Process:
        """A process of the tests' own; its output goes to a file beside the store."""
        environment = {**os.environ, "FAULTS_URL": self.url, "FAULTS_LEDGER": str(self.ledger.path)}
        with (self.folder / f"process-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *options], cwd=ROOT, env=environment, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def ready(self, *workers: Process) -> None:
        """Wait until these workers serve."""
        pids = {worker.pid for worker in workers}
        eventually(f"workers {pids} serve", lambda: pids <= set(self.ledger.pids().values()))

    def id_of(self, worker: Process) -> str:
        """The id of a worker that serves."""
        self.ready(worker)
        return next(id for id, pid in self.ledger.pids().items() if pid == worker.pid)

    def strike(self, process: Process, number: signal.Signals) -> None:
        """Send a signal that is noted for the judge."""
        self.struck[process.pid] = time.time()
        process.send_signal(number)

    def kill(self, process: Process) -> None:
        """kill -9."""
        self.strike(process, signal.SIGKILL)
        process.wait()

    def restart_server(self) -> None:
        """kill -9 of the server, and a new start on what it kept."""
        assert self.server is not None, "this store is a file"
        began = time.time()
        self.server.kill()
        self.server.again()
        self.outages.append(Outage(began, time.time()))

    def freeze(self, process: Process) -> None:
        """Stop a process in its tracks, but not while it holds a file's lock: then nobody could write until it goes
        on.
        """
        lock = self.folder / "jobs.db.lock" if self.url.startswith("sqlite:") else None

        def stands_alone() -> bool:
            self.strike(process, signal.SIGSTOP)
            eventually("it stands", lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
            if lock is None or is_free(lock):
                return True
            self.thaw(process)
            return False

        eventually("it stands and holds no lock", stands_alone)

    def thaw(self, process: Process) -> None:
        """Let a frozen process go on."""
        process.send_signal(signal.SIGCONT)

    def stop(self, *workers: Process) -> None:
        """Have these workers drain and leave."""
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        for worker in workers:
            self.left(worker, 0)

    def left(self, process: Process, code: int) -> None:
        """Wait for the end of a process, and check how it ended."""
        assert process.wait(PATIENCE_S) == code

    # --- waiting and judging ---

    def told(self, what: str, count: int = 1, job: str | None = None) -> None:
        """Wait until so many facts of a kind are in the ledger."""
        eventually(f"{count} x {what}", lambda: self.ledger.count(what, job) >= count)

    def moment(self, facts: int) -> None:
        """Wait until so many more facts are told, or until there is nothing left to tell."""
        until = self.ledger.length() + facts
        eventually(f"{facts} more facts", lambda: self.ledger.length() >= until or self.over())

    def over(self) -> bool:
        """Whether nothing waits or runs in the store."""
        known = [queue.stats_sync() for queue in self.queues.values()]
        return not any(one.scheduled + one.pending + one.parked + one.processing for one in known)

    def all_over(self, seconds: float = PATIENCE_S) -> Verdict:
        """Wait until every job in the store has ended, and judge."""
        eventually("every job ended", self.over, seconds)
        return self.judge()

    def judge(self) -> Verdict:
        """What ledger and store say now. A process that killed itself was struck when it wrote its last line."""
        last = {line["pid"]: line["at"] for line in self.ledger.lines()}
        for process in self.processes:
            if process.poll() == -signal.SIGKILL:
                self.struck.setdefault(process.pid, last.get(process.pid, time.time()))
        return Judge(self.ledger, self.struck, self.outages).over(self.accepted, self.records())

    def logs(self) -> str:
        """What the processes printed."""
        found = sorted(self.folder.glob("process-*.log"))
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')}" for path in found)

    def close(self) -> None:
        """Stop what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        for queue in self.queues.values():
            queue.close_sync()
