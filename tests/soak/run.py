"""One soak on one store: producers, workers and faults for so long; then calm, everything is drained and judged."""

import os
import platform
import random
import signal
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
import psutil
from tests.conformance.leaks import NAMES, leaks
from tests.faults.ledger import FINAL, Fact, Ledger
from tests.faults.processes import Process, eventually
from tests.faults.proxy import Proxy
from tests.servers import Server, start
from tests.soak.app import CAP_S
from tests.soak.faults import Crew, Pace, Trouble
from tests.soak.judge import Judge
from tests.soak.report import Outcome, Sample

from surefoot import Queue, StoreError
from surefoot.brokers.broker import VERB_LIMIT, Delete, Get, Prune

KEEPS_ALL: Final = {"appendonly": "yes", "appendfsync": "always"}
WAYS: Final = ("loop", "single", "bulk")
LOOK_S: Final = 20.0
TURN_S: Final = 0.05
FLOOR: Final = 1.2
BACKLOG_S: Final = 300.0
HOUSE: Final = ("meta", "stats", "workers", "wake", "audit")
"""What a queue without jobs may keep."""


class Plan(msgspec.Struct, frozen=True):
    """What a soak is asked for. `store`: sqlite, valkey, or the URL of somebody's store."""

    store: str
    seconds: float
    lease: float = 1.0
    rate: float = 60.0
    seed: int = 0


class Stand:
    """Where a soak takes place: the store, as the processes reach it and as the judge does."""

    def __init__(self, plan: Plan, folder: Path, stack: ExitStack) -> None:
        self.server: Server | None = None
        self.proxy: Proxy | None = None
        self.file: Path | None = None
        self.name = plan.store
        if plan.store == "sqlite":
            self.file = folder / "jobs.db"
            self.url = self.direct = f"sqlite:///{self.file}"
            self.name = f"SQLite {sqlite3.sqlite_version}"
        elif plan.store == "valkey":
            self.server = stack.enter_context(start(folder / "server", options=KEEPS_ALL))
            self.proxy = stack.enter_context(Proxy(self.server.port))
            self.url, self.direct = f"{self.proxy.url()}/0", self.server.url
            self.name = f"Valkey {self.server.version}, appendfsync always"
        else:
            own = f"{'&' if '?' in plan.store else '?'}namespace=soak-{os.getpid()}"
            self.url = self.direct = plan.store + own
            self.name = "a store of yours"
        self.name += f", Python {platform.python_version()}"

    def memory(self) -> int | None:
        """What the server has in use, in bytes; None: there is none of ours, or it is away."""
        with suppress(OSError):
            return None if self.server is None else int(self.server.info()["used_memory"])
        return None

    def left_over(self) -> tuple[list[str], int]:
        """What is there beside the house when every job is gone, and how many callers are remembered."""
        if self.file is not None:
            with sqlite3.connect(self.file) as db:
                tables = ("job", "body", "period")
                counts = {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
                sound = db.execute("PRAGMA integrity_check").fetchone()[0]
                callers = db.execute("SELECT count(*) FROM caller").fetchone()[0]
            left = [f"{table}: {count} rows" for table, count in counts.items() if count]
            return left + ([] if sound == "ok" else [f"integrity: {sound}"]), callers
        if self.server is None:
            return [], 0
        with self.server.conversation() as talk:
            found = leaks(talk)
            callers = 0
            for key in sorted(talk.say("KEYS", "*")):
                name = key.decode().rpartition(":")[2]
                if name in NAMES and name not in HOUSE:
                    found.append(f"{key.decode()}: is there")
                if name == "meta":
                    callers += sum(field.startswith(b"call:") for field in talk.say("HKEYS", key))
        return found, callers


class Watch:
    """Notes the last state of each job before the store forgets it, and the memory of who lives through it all."""

    def __init__(self, ledger: Ledger, queue: Queue, stand: Stand, steady: int) -> None:
        self.states: dict[str, str] = {}
        self.samples: list[Sample] = []
        self._ledger = ledger
        self._queue = queue
        self._stand = stand
        self._steady = psutil.Process(steady)
        self._open: dict[str, None] = {}
        self._read = 0
        self._jobs = self._steady_jobs = 0
        self._worker: str | None = None
        self._began = time.monotonic()
        self._next_look = self._began + LOOK_S
        self._next_sample = self._began

    def turn(self) -> None:
        """Whatever is due now."""
        now = time.monotonic()
        if now >= self._next_sample:
            self._next_sample = now + 1
            self.read()
            self.samples.append(
                Sample(
                    now - self._began, self._steady.memory_info().rss, self._steady_jobs, self._stand.memory(),
                    self._jobs,
                )
            )  # fmt: skip
        if now >= self._next_look:
            self._next_look = now + LOOK_S
            with suppress(StoreError):
                self.look()

    def read(self) -> None:
        """The new lines of the ledger."""
        lines = self._ledger.lines()
        for fact in lines[self._read :]:
            if fact["what"] in ("accepted", "started"):
                self._open.setdefault(fact["job"])
            elif fact["what"] == "ended":
                self._jobs += 1
                self._steady_jobs += fact["worker"] == self._worker
            elif fact["what"] == "event:worker_started" and fact["pid"] == self._steady.pid:
                self._worker = fact["worker"]
        self._read = len(lines)

    def look(self) -> None:
        """Ask the store for the state of all that is not over for good. A dead job may be requeued."""
        self.read()
        ids = list(self._open)
        for some in (ids[at : at + VERB_LIMIT] for at in range(0, len(ids), VERB_LIMIT)):
            [records] = self._queue.sessions.ask_sync([Get(self._queue.full_name, tuple(some))])
            for id, record in zip(some, records, strict=True):
                if record is not None:
                    self.states[id] = record.state
                    if record.state in FINAL and record.state != "dead":
                        del self._open[id]
                else:
                    self.states.pop(id, None)


@contextmanager
def lease_of(seconds: float) -> Iterator[None]:
    """What the workers read at their start."""
    before = os.environ.get("SOAK_LEASE")
    os.environ["SOAK_LEASE"] = str(seconds)
    try:
        yield
    finally:
        del os.environ["SOAK_LEASE"]
        if before is not None:
            os.environ["SOAK_LEASE"] = before


def soak(plan: Plan, folder: Path) -> tuple[Outcome, Sequence[Fact]]:
    """The whole story; also the lines of the ledger."""
    with ExitStack() as stack:
        stack.enter_context(lease_of(plan.lease))
        stand = Stand(plan, folder, stack)
        before = stand.memory()
        fleet = Crew(folder, stand.url, stand.server)
        stack.callback(fleet.close)
        queue = Queue(stand.direct, name="jobs")
        stack.callback(queue.close_sync)
        trouble = Trouble(fleet, queue, stand.proxy, Pace(lease=plan.lease), random.Random(plan.seed))
        fleet.ready(trouble.steady)
        producers = [fleet.produce(way, plan.rate / len(WAYS)) for way in WAYS]
        watch = Watch(fleet.ledger, queue, stand, trouble.steady.pid)
        began = time.monotonic()
        while time.monotonic() < began + plan.seconds:
            trouble.turn()
            watch.turn()
            time.sleep(TURN_S)
        lasted = time.monotonic() - began
        trouble.calm()
        drained = _drain(fleet, queue, trouble, producers, plan.lease)
        watch.look()
        verdict = Judge(fleet.ledger.lines()).over(watch.states)
        _delete_all(queue, list(watch.states))
        left, callers = stand.left_over()
        after = stand.memory()
        outcome = Outcome(
            store=stand.name, machine=f"{os.cpu_count()} cores, load average {os.getloadavg()[2]:.1f}", seconds=lasted,
            drained=drained, lease=plan.lease, verdict=verdict, made=trouble.made,
            samples=watch.samples, left_over=left, empty=None if before is None or after is None else (before, after),
            callers=callers, tracebacks=fleet.tracebacks(),
        )  # fmt: skip
        return outcome, fleet.ledger.lines()


def _drain(fleet: Crew, queue: Queue, trouble: Trouble, producers: Sequence[Process], lease: float) -> float:
    """Producers end, everything runs to its end, the workers leave; how long the middle took."""
    for name in ("ticks", "minutes"):
        queue.pause_cron_sync(name)
    for one in producers:
        one.send_signal(signal.SIGTERM)
    for one in producers:
        fleet.left(one, 0)
    began = time.monotonic()

    def over() -> bool:
        trouble.mend()
        now = queue.stats_sync()
        return not now.scheduled + now.pending + now.parked + now.processing

    with suppress(AssertionError):  # what is not over by then is judged: it counts as lost
        eventually("every job ended", over, BACKLOG_S + lease * (1 + FLOOR) + CAP_S)
    took = time.monotonic() - began
    fleet.stop(*(one for one in (*trouble.crew, trouble.steady, trouble.supervisor) if one.poll() is None))
    return took


def _delete_all(queue: Queue, ids: list[str]) -> None:
    """Every job that the store still has, and what is over."""
    for some in (ids[at : at + VERB_LIMIT] for at in range(0, len(ids), VERB_LIMIT)):
        queue.sessions.ask_sync([Delete(queue.full_name, tuple(some))])
    queue.dead.delete_sync(everything=True)
    time.sleep(2.1)  # the longest period of a key
    while queue.sessions.ask_sync([Prune(queue.full_name)])[0]:
        pass
