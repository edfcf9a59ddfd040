"""Who takes part: each queue's adapter, store and environment, what it cannot do; and its processes: producers, worker,
and the ledger of what ran.
"""

import array
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import psutil
from tests.servers.guard import Guard

HERE = Path(__file__).parent
PEERS = HERE / "peers"
ENVIRONMENTS = HERE / ".peers"
PATIENCE_S = 180.0
STOP_S = 15.0


class Contender(NamedTuple):
    """One queue on one kind of store. `pace`: about how many jobs a second it drains, so that runs take a few seconds.

    `cannot`: what it does not have, by an option of a row, with the reason for the table. `note`: what stands
    beside its name. `bytecode`: a program for Node instead of Python.
    """

    name: str
    label: str
    store: str
    adapter: str
    pace: int
    cannot: Mapping[str, str] = MappingProxyType({})
    note: str = ""

    @property
    def environment(self) -> str:
        """The folder of its packages; none for ours."""
        return "" if self.adapter == "surefoot_peer.py" else self.adapter.partition("_peer")[0]

    @property
    def on_node(self) -> bool:
        return self.adapter.endswith(".mjs")


NO_COROUTINES = "plain functions in threads: it has no coroutines"
NO_THREADS = "no plain functions"
CONTENDERS = {
    one.name: one
    for one in (
        Contender("surefoot-valkey", "surefoot, Valkey", "valkey", "surefoot_peer.py", 40_000),
        Contender("surefoot-sqlite", "surefoot, SQLite", "sqlite", "surefoot_peer.py", 35_000),
        Contender("bullmq", "BullMQ (Node)", "valkey", "bullmq_peer.mjs", 15_000, {"how=thread": NO_THREADS}),
        Contender("taskiq", "taskiq, streams", "valkey", "taskiq_peer.py", 4_000),
        Contender("streaq", "streaQ", "valkey", "streaq_peer.py", 3_000),
        Contender("saq", "SAQ", "valkey", "saq_peer.py", 1_500),
        Contender("arq", "arq", "valkey", "arq_peer.py", 1_000, {"how=thread": NO_THREADS}, "polls every 10 ms"),
        Contender("dramatiq", "Dramatiq", "valkey", "dramatiq_peer.py", 3_000, {"how=loop": NO_COROUTINES}),
        Contender("celery", "Celery", "valkey", "celery_peer.py", 1_200, {"how=loop": NO_COROUTINES}),
        Contender(
            "rq", "RQ", "valkey", "rq_peer.py", 500,
            {"how=loop": "plain functions, one a worker process", "how=thread": "no threads: one job a process",
             "at_once=100": "one job a process: 100 at once is 100 processes"},
        ),
        Contender(
            "huey-redis", "Huey, Valkey", "valkey", "huey_peer.py", 3_000, {"how=loop": NO_COROUTINES},
            "at most once: a killed consumer loses what it popped",
        ),
        Contender(
            "huey-sqlite", "Huey, SQLite", "sqlite", "huey_peer.py", 800, {"how=loop": NO_COROUTINES},
            "at most once: a killed consumer loses what it popped",
        ),
        Contender("procrastinate", "procrastinate, PostgreSQL", "postgres", "procrastinate_peer.py", 400),
        Contender(
            "pgqueuer", "PGQueuer, PostgreSQL", "postgres", "pgqueuer_peer.py", 1_500,
            {"job=kept": "keeps no results"},
        ),
    )
}  # fmt: skip
OURS = ("surefoot-valkey", "surefoot-sqlite")


def python_of(contender: Contender) -> str:
    """The program that runs its adapter."""
    if contender.on_node:
        return "node"
    return str(ENVIRONMENTS / contender.environment / "bin/python") if contender.environment else sys.executable


def prepare(contender: Contender) -> None:
    """Make its environment if there is none, or if what it should hold has changed."""
    if not contender.environment:
        return
    folder = ENVIRONMENTS / contender.environment
    wanted = (PEERS / "requirements" / f"{contender.environment}.txt").read_text()
    stamp = folder / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"Installing {', '.join(wanted.split())} ...", file=sys.stderr, flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    if contender.on_node:
        (folder / "package.json").write_text('{"private": true}\n')
        _quietly(["npm", "install", "--silent", "--no-audit", "--no-fund", *wanted.split()], folder)
    else:
        # sys._base_executable: an environment made from within another one would lack pip on some systems.
        base = getattr(sys, "_base_executable", sys.executable)
        _quietly([base, "-m", "venv", "--clear", str(folder)], HERE)
        pip = [str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        _quietly([*pip, *wanted.split()], HERE)
    stamp.write_text(wanted)


def _quietly(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


class Failed(Exception):
    """A measurement that came to nothing; the sentence goes into the table."""


class Crew:
    """The processes of one contender on one store: producers that end by themselves, one worker, and its ledger."""

    def __init__(self, contender: Contender, url: str, folder: Path, **options: object) -> None:
        self.contender = contender
        self.ledger = folder / "ledger"
        self.log = folder / "worker.log"
        self.ledger.touch()
        self._cwd = ENVIRONMENTS / contender.environment if contender.on_node else folder
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("SUREFOOT_", "BENCH_"))
        } | {
            "BENCH_URL": url, "BENCH_LEDGER": str(self.ledger), "PYTHONPATH": str(PEERS),
            **{f"BENCH_{name.upper()}": str(value) for name, value in options.items()},
        }  # fmt: skip

    def command(self, *words: object) -> list[str]:
        """The adapter's command line."""
        return [python_of(self.contender), str(PEERS / self.contender.adapter), *map(str, words)]

    def ask(self, *words: object, seconds: float = PATIENCE_S) -> dict[str, Any]:
        """One command that ends by itself; its answer."""
        try:
            done = subprocess.run(
                self.command(*words), env=self._environment, cwd=self._cwd, capture_output=True, text=True,
                check=False, timeout=seconds,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Failed(f"{words[0]} took more than {seconds:.0f} s") from None
        if done.returncode:
            raise Failed(f"{' '.join(map(str, words))} ended with {done.returncode}: {_last(done.stderr)}")
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    @contextmanager
    def working(self) -> Iterator["psutil.Process"]:
        """Its worker, from start to SIGTERM; what does not leave is killed with all that it started."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.command("work"), env=self._environment, cwd=self._cwd, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
            )  # fmt: skip
        guard = Guard(process.pid)  # it ends with us, however we end
        try:
            yield psutil.Process(process.pid)
            if process.poll() is not None:
                raise Failed(f"its worker ended by itself with {process.returncode}: {self.said()}")
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            guard.release()

    def said(self) -> str:
        """The last line of the worker's log."""
        return _last(self.log.read_text(errors="replace"))

    def rows(self) -> "array.array[int]":
        """The ledger: number, moment, number, moment, ..."""
        found = array.array("q")
        data = self.ledger.read_bytes()
        found.frombytes(data[: len(data) // 16 * 16])
        return found

    def ran(self, many: int, worker: "psutil.Process", seconds: float = PATIENCE_S) -> None:
        """Wait until so many runs are written down."""
        until = time.monotonic() + seconds
        while self.ledger.stat().st_size < many * 16:
            if not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE:
                raise Failed(f"its worker has ended: {self.said()}")
            if time.monotonic() > until:
                ran = self.ledger.stat().st_size // 16
                raise Failed(f"only {ran:,} of {many:,} jobs ran within {seconds:.0f} s. {self.said()}")
            time.sleep(0.01)


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "It said nothing.")


def cpu_s(worker: "psutil.Process") -> float:
    """CPU seconds of a worker and of all that it started."""
    total = 0.0
    with suppress(psutil.Error):
        for process in [worker, *worker.children(recursive=True)]:
            with suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
    return total
