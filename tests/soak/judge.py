"""The judge of the soak: reads the ledger's lines and the last states, names the cause of each further run of a job.

Pure: it asks no store, no process and no clock.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

import msgspec
from tests.faults.ledger import FINAL, Fact

PROMISED_S: Final = 15.0
"""From a kill to the next run, by default settings, where a worker has room."""
LATE_S: Final = 1.0
"""A frozen worker may begin a run so long after it goes on: before it has heard that its lease is over."""


class Run(msgspec.Struct):
    """One run of a job as its handler and its worker told it. `verdict`: the event about it, if its worker lived."""

    job: str
    attempt: int
    worker: str
    token: str
    at: float
    failures: int
    crashes: int
    over: float | None = None
    end: str | None = None
    verdict: str | None = None


class Strike(msgspec.Struct, frozen=True):
    """A fault that was made, and from when to when it lasted. `pid`: whom it met; None: everybody."""

    how: Literal["kill", "freeze", "leave", "restart", "cut", "pause"]
    began: float
    ended: float
    pid: int | None = None

    def meets(self, since: float, until: float) -> bool:
        """Whether it fell into this time."""
        return self.began <= until and self.ended >= since


class Story(msgspec.Struct, frozen=True):
    """Something that must not be: which job, and what."""

    job: str
    what: str


@dataclass
class Verdict:
    """What the ledger says in the end. `lost`, `unexplained` and `overlaps` must be empty.

    Seconds from a kill to the claim that took the job over: `takeovers`, and `disturbed` where the store was away or
    the queue paused between. To the job's next run: `reruns`; `late` has why some came later than 15 s.
    """

    told: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    lost: list[Story] = field(default_factory=list)
    unexplained: list[Story] = field(default_factory=list)
    overlaps: list[Story] = field(default_factory=list)
    takeovers: list[float] = field(default_factory=list)
    disturbed: list[float] = field(default_factory=list)
    reruns: list[float] = field(default_factory=list)
    late: Counter[str] = field(default_factory=Counter)

    @property
    def offences(self) -> list[Story]:
        """All that must not be."""
        return [*self.lost, *self.unexplained, *self.overlaps]


STRUCK: Final = {
    "kill": "its worker was killed", "freeze": "its worker was frozen",
    "restart": "the server was restarted", "cut": "the line was cut",
}  # fmt: skip
OVER: Final = ("completed", "cancelled", "expired")


class Judge:
    """Judges all jobs that were accepted or that ran."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self.verdict = Verdict()
        self._runs: dict[str, list[Run]] = defaultdict(list)
        self._accepted: dict[str, bool] = {}
        self._facts: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._pids: dict[str, int] = {}
        self._strikes: list[Strike] = []
        self._of: dict[int | None, list[Strike]] = defaultdict(list)
        self._read(facts)
        for strike in self._strikes:
            self._of[strike.pid].append(strike)

    @property
    def accepted(self) -> list[str]:
        """Every job that must come to an end."""
        return list(self._accepted)

    def _read(self, facts: Iterable[Fact]) -> None:
        by_token: dict[tuple[str, str], Run] = {}
        verdicts: dict[tuple[str, str, int], str] = {}
        for fact in facts:
            what, job = fact["what"], fact["job"]
            self.verdict.told[what] += 1
            match what:
                case "started":
                    self._begun(fact, by_token)
                case "ended" | "broken":
                    run = by_token.get((job, fact["token"]))
                    if run is not None:
                        run.over, run.end = fact["at"], fact.get("kind", "ended")
                case "accepted":
                    self._accepted[job] = fact["kept"]
                case "unknown" | "requeued" | "event:crashed":
                    self._facts[what][job].append(fact["at"])
                case "strike":
                    self._strikes.append(Strike(fact["how"], fact["began"], fact["ended"], fact["victim"]))
                case "event:worker_started":
                    self._pids[fact["worker"]] = fact["pid"]
                case _ if what.startswith("event:") and job and "attempt" in fact:
                    verdicts[job, fact["worker"], fact["attempt"]] = what.removeprefix("event:")
        for runs in self._runs.values():
            for run in runs:
                run.verdict = verdicts.get((run.job, run.worker, run.attempt))

    def _begun(self, fact: Fact, by_token: dict[tuple[str, str], Run]) -> None:
        job = fact["job"]
        run = msgspec.convert(fact, Run)
        if (job, run.token) in by_token:
            self.verdict.overlaps.append(Story(job, f"one token ran twice: {run.token}"))
        by_token[job, run.token] = run
        self._runs[job].append(run)
        self.verdict.runs += 1

    def over(self, states: Mapping[str, str]) -> Verdict:
        """Judge every job. `states`: the last state that the store told of a job; what is absent it does not know."""
        for job in {**self._accepted, **self._runs}:
            # An id that was enqueued again after it was forgotten counts its attempts from 1 again.
            again = job in self._facts["unknown"]
            runs = sorted(self._runs.get(job, []), key=lambda run: run.at if again else run.attempt)
            self._place(job, runs, states.get(job))
            for one, next in pairwise(runs):
                cause = self._cause(one, next)
                if cause is None:
                    self.verdict.unexplained.append(Story(job, f"attempt {next.attempt} after {one.attempt}: no cause"))
                else:
                    self.verdict.causes[cause] += 1
                self._apart(one, next)
                self._recovery(one, next)
        return self.verdict

    def _place(self, job: str, runs: Sequence[Run], state: str | None) -> None:
        """Whether the job came to an end, and which. An outcome that is not kept leaves only the handler's word."""
        ended = any(run.end == "ended" for run in runs)
        if state is None:
            if self._accepted.get(job, False):
                self.verdict.lost.append(Story(job, "accepted, to be kept, and the store does not know it"))
            elif not runs or runs[-1].end != "ended":
                self.verdict.lost.append(Story(job, "the store does not know it, and its last run did not end well"))
            else:
                self.verdict.states["completed"] += 1
        elif state not in FINAL:
            self.verdict.lost.append(Story(job, f"it is still {state}"))
        elif state == "completed" and not ended:
            self.verdict.lost.append(Story(job, "completed without a run"))
        else:
            self.verdict.states[state] += 1

    def _cause(self, one: Run, next: Run) -> str | None:
        """Why a job ran again; None: nobody knows."""
        since, until = _window(one, next)
        if any(since <= at <= until for at in self._facts["unknown"].get(one.job, ())):
            return "enqueued again after an unknown reply"
        if one.verdict in OVER:
            return None
        if any(since <= at <= until for at in self._facts["requeued"].get(one.job, ())):
            return "requeued from the dead letters"
        if next.attempt > one.attempt + 1:
            struck = any(strike.meets(since, until) for strike in self._strikes if strike.how != "pause")
            return "claimed and lost before its first line" if struck else None
        if next.crashes > one.crashes:
            return self._loss(one, since, until)
        if next.failures > one.failures:
            return "failed, tried again" if one.end not in (None, "ended", "Snooze") else None
        if one.end == "Snooze":
            return "snoozed"
        if one.verdict == "interrupted" or self._met(one, "leave", since, until):
            return "handed back by a worker that left"
        return self._loss(one, since, until)

    def _loss(self, one: Run, since: float, until: float) -> str | None:
        """How a run may have lost its lease."""
        for strike in (*self._of[self._pids.get(one.worker, -1)], *self._of[None]):
            if strike.how in STRUCK and strike.meets(since, until):
                return STRUCK[strike.how]
        return "its worker said that it lost the lease (nobody struck it)" if one.verdict == "lease_lost" else None

    def _met(self, one: Run, how: str, since: float, until: float) -> bool:
        strikes = self._of[self._pids.get(one.worker, -1)]
        return any(strike.how == how and strike.meets(since, until) for strike in strikes)

    def _apart(self, one: Run, next: Run) -> None:
        """Two runs may go on at one time only if the first had lost its lease by then."""
        if one.over is None or one.over <= next.at:
            return
        since, until = _window(one, next)
        if one.verdict in OVER or self._loss(one, since, until) is None:
            told = f"attempts {one.attempt} and {next.attempt} ran at one time, and both leases were good"
            self.verdict.overlaps.append(Story(one.job, told))

    def _recovery(self, one: Run, next: Run) -> None:
        """From the kill of a worker to the claim that took over what it ran, as its taker told, and to its next run."""
        kills = [s for s in self._of[self._pids.get(one.worker, -1)] if s.how == "kill"]
        if one.over is not None or not kills or not one.at <= kills[0].began <= next.at:
            return
        began = kills[0].began
        told = [at for at in self._facts["event:crashed"][one.job] if one.at <= at <= next.at]
        if not told or told[0] < began:  # handed back in time, or lost before: it was frozen
            return
        taken = told[0]
        calm = not any(strike.meets(one.at, taken) for strike in self._of[None])
        (self.verdict.takeovers if calm else self.verdict.disturbed).append(taken - began)
        self.verdict.reruns.append(next.at - began)
        if next.at - began > PROMISED_S:
            in_time = taken - began <= PROMISED_S
            self.verdict.late[
                "it was taken over in time, and stood in line again" if in_time else "taken over late"
            ] += 1


def _window(one: Run, next: Run) -> tuple[float, float]:
    return min(one.at, next.at) - LATE_S, max(one.at, next.at)
