"""The outside ledger: one line a fact, written with one O_APPEND write by whoever saw it, judged after the fault.

Knows jobs only as the store's records say; never starts or stops anything.
"""

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from surefoot.brokers.answers import Record
from surefoot.core.job import Counts

FINAL = ("completed", "dead", "cancelled", "expired")

Fact = dict[str, Any]


class Ledger:
    """Facts about jobs, kept outside the queue. Safe to write from many processes at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: list[Fact] = []
        self._kinds: dict[str, list[Fact]] = defaultdict(list)
        self._offset = 0

    def write(self, what: str, job: str = "", **facts: object) -> None:
        """One fact: accepted, refused, unknown, started, ended, ..."""
        line = (json.dumps({"what": what, "job": job, "pid": os.getpid(), "at": time.time(), **facts}) + "\n").encode()
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            written = os.write(file, line)
        finally:
            os.close(file)
        assert written == len(line), "the ledger's disk is full"

    def lines(self) -> list[Fact]:
        """All facts so far, in the order they were written. Reads on where it stopped; a line being written waits."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._offset)
                whole, end, _ = file.read().rpartition(b"\n")
            self._offset += len(whole) + len(end)
            for line in whole.splitlines():
                fact = json.loads(line)
                self._read.append(fact)
                self._kinds[fact["what"]].append(fact)
        return self._read

    def of(self, what: str, job: str | None = None) -> list[Fact]:
        """The facts of one kind, of one job if given."""
        self.lines()
        return [fact for fact in self._kinds[what] if job in (None, fact["job"])]

    def length(self) -> int:
        """How many facts so far."""
        return len(self.lines())

    def count(self, what: str, job: str | None = None) -> int:
        """How many facts of one kind."""
        return len(self.of(what, job))

    def pids(self) -> dict[str, int]:
        """The process of each worker, by the worker's id."""
        return {line["worker"]: line["pid"] for line in self.of("event:worker_started")}


@dataclass
class Verdict:
    """What ledger and store say in the end. `doubled` holds the cause of each further run, by job."""

    accepted: int = 0
    started: int = 0
    ended: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: dict[str, list[str]] = field(default_factory=dict)
    unexplained: list[str] = field(default_factory=list)
    longest_recovery: float = 0.0

    def __str__(self) -> str:
        causes = Counter(cause for some in self.doubled.values() for cause in some)
        named = "".join(f"; {count} x {cause}" for cause, count in causes.items())
        return (
            f"{self.accepted} accepted, {len(self.lost)} lost, {len(self.doubled)} ran again, "
            f"{len(self.unexplained)} without a cause, longest recovery {self.longest_recovery:.1f} s{named}"
        )

    def assert_nothing_lost(self) -> None:
        """Every accepted job ended, and each further run has a cause."""
        assert self.lost == [], f"lost: {self.lost}"
        assert self.unexplained == [], f"ran again without a cause: {self.unexplained}"


class Outage(msgspec.Struct, frozen=True):
    """When a test had the store's server away: seconds since the epoch."""

    began: float
    ended: float


class Judge:
    """Compares the handlers' facts with the store's records.

    A run that was not the last of its job is explained by the store's own line about it (a crash counts only if the
    test struck that worker's process: killed or froze it, or the store's server while it ran), or is one of the
    interruptions and snoozes that it counts.
    """

    def __init__(self, ledger: Ledger, struck: Mapping[int, float], outages: Sequence[Outage] = ()) -> None:
        self._struck = struck
        self._outages = outages
        self._pids = ledger.pids()
        self._starts: dict[str, list[Fact]] = defaultdict(list)
        self._ended: set[str] = set()
        self.verdict = Verdict()
        for line in ledger.lines():
            if line["what"] == "started":
                self._starts[line["job"]].append(line)
                self.verdict.started += 1
            elif line["what"] == "ended":
                self._ended.add(line["job"])
                self.verdict.ended += 1

    def over(self, accepted: Sequence[str], records: Sequence[Record | None]) -> Verdict:
        """Judge all accepted jobs."""
        for id, record in zip(accepted, records, strict=True):
            self.verdict.accepted += 1
            if record is None or record.state not in FINAL or (record.state == "completed" and id not in self._ended):
                self.verdict.lost.append(id)
            else:
                self._runs(id, record.counts, [json.loads(line) for line in record.errors])
        return self.verdict

    def _runs(self, id: str, counts: Counts, errors: list[Fact]) -> None:
        runs = sorted(self._starts[id], key=lambda run: int(run["attempt"]))
        causes = [self._cause(run, errors) for run in runs[:-1]]
        free = ["interrupted"] * counts.interruptions + ["snoozed"] * counts.snoozes
        found = [cause or (free.pop() if free else None) for cause in causes]
        if found:
            self.verdict.doubled[id] = [cause for cause in found if cause is not None]
        if None in found or len({run["attempt"] for run in runs}) < len(runs):
            self.verdict.unexplained.append(id)
        for line in errors:
            self._recovery(runs, line)

    def _cause(self, run: Fact, errors: list[Fact]) -> str | None:
        for line in errors:
            if line.get("attempt") != run["attempt"] or line.get("caller") != run["worker"]:
                continue
            if line.get("kind") != "crash":
                return f"{line['kind']}: {line.get('message')}"
            if run["pid"] in self._struck:
                return f"worker {run['worker']} (process {run['pid']}) was struck"
            if any(run["at"] < one.ended and one.began < line["ended_ms"] / 1000 for one in self._outages):
                return "the server was struck"
        return None

    def _recovery(self, runs: list[Fact], line: Fact) -> None:
        """From the blow to the next start, whether or not the claim that was lost had reached its handler."""
        pid = self._pids.get(line.get("caller", ""))
        if line.get("kind") != "crash" or pid is None or pid not in self._struck:
            return
        after = [run["at"] for run in runs if run["attempt"] > line["attempt"]]
        if after:
            self.verdict.longest_recovery = max(self.verdict.longest_recovery, after[0] - self._struck[pid])
