"""The outside ledger: one line a fact, written with one O_APPEND write by whoever saw it, judged after the fault."""

import json
import os
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from surefoot import Job


class Ledger:
    """Facts about jobs, kept outside the queue. Safe to write from many processes at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, what: str, job: str, **facts: object) -> None:
        """One fact: accepted, refused, unknown, started, ended, ..."""
        line = json.dumps({"what": what, "job": job, "pid": os.getpid(), "at": time.time(), **facts}) + "\n"
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    def lines(self) -> list[dict[str, Any]]:
        """All facts so far, in the order they were written."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text().splitlines()]

    def of(self, what: str) -> list[dict[str, Any]]:
        """The facts of one kind."""
        return [line for line in self.lines() if line["what"] == what]

    def count(self, what: str) -> int:
        """How many facts of one kind."""
        return len(self.of(what))


@dataclass
class Verdict:
    """What the ledger says in the end. `lost` and `unexplained` must be empty."""

    accepted: int = 0
    started: int = 0
    ended: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: dict[str, list[str]] = field(default_factory=dict)
    unexplained: list[str] = field(default_factory=list)
    longest_recovery: float = 0.0

    def assert_nothing_lost(self) -> None:
        """Every accepted job ended, and each further run has a cause."""
        assert self.lost == [], f"lost: {self.lost}"
        assert self.unexplained == [], f"ran again without a cause: {self.unexplained}"


def judge(
    ledger: Ledger, accepted: Iterable[str], jobs: Sequence[Job | None], killed: dict[int, float] | None = None
) -> Verdict:
    """Compare what was accepted with what the store says in the end and what the handlers wrote.

    `killed`: pids that a test killed or froze, and when. A further run of a job is explained by an earlier run on
    such a pid,
    by a failure, an interruption or a snooze that the job's own record counts, or by a claim that never reached its
    handler.
    """
    killed = killed or {}
    known = {job.id: job for job in jobs if job is not None}
    starts: dict[str, list[dict[str, Any]]] = defaultdict(list)
    ends = Counter[str]()
    verdict = Verdict()
    for line in ledger.lines():
        if line["what"] == "started":
            starts[line["job"]].append(line)
        elif line["what"] == "ended":
            ends[line["job"]] += 1
    verdict.started = sum(map(len, starts.values()))
    verdict.ended = sum(ends.values())
    for id in accepted:
        verdict.accepted += 1
        job = known.get(id)
        if job is None or job.state not in ("completed", "dead", "cancelled", "expired"):
            verdict.lost.append(id)
            continue
        if job.state == "completed" and not ends[id]:
            verdict.lost.append(id)
        runs = starts[id]
        if len(runs) < 2:
            continue
        causes = [f"worker {run['pid']} was killed" for run in runs[:-1] if run["pid"] in killed]
        causes += ["failed"] * job.failures + ["interrupted"] * job.interruptions + ["snoozed"] * job.snoozes
        verdict.doubled[id] = causes
        if len(causes) < len(runs) - 1:
            verdict.unexplained.append(id)
        for before, after in pairwise(runs):
            if before["pid"] in killed:
                verdict.longest_recovery = max(verdict.longest_recovery, after["at"] - killed[before["pid"]])
    return verdict
