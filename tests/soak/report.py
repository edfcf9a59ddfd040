"""The report of a soak: one table of what was counted and measured, and the story of the first offence."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from tests.faults.ledger import Fact
from tests.soak.judge import Verdict

MIB: Final = 1 << 20
SLOPE_S: Final = 300.0
"""A line through less than this says nothing."""


class Sample(msgspec.Struct, frozen=True):
    """Memory at one moment in bytes, and the work done by then; `seconds` since the start. `server` None: not ours."""

    seconds: float
    steady: int
    steady_jobs: int
    server: int | None
    jobs: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """All that a soak found out. `empty`: the server's memory before the first job and after the last was deleted."""

    store: str
    machine: str
    seconds: float
    drained: float
    lease: float
    verdict: Verdict
    made: Mapping[str, int]
    samples: Sequence[Sample]
    left_over: Sequence[str]
    empty: tuple[int, int] | None
    callers: int
    tracebacks: Sequence[str]

    @property
    def good(self) -> bool:
        """Whether everything that must be 0 is 0."""
        return not self.verdict.offences and not self.left_over


def rows(outcome: Outcome, seed: int) -> list[tuple[str, str]]:
    """The table."""
    verdict = outcome.verdict
    told, states = verdict.told, verdict.states
    found = [
        ("store", outcome.store),
        (
            "time",
            f"{outcome.seconds:.0f} s of faults, then drained in {outcome.drained:.1f} s; lease {outcome.lease:g} s, "
            f"seed {seed}",
        ),
        ("machine", outcome.machine),
        ("faults", ", ".join(f"{count:,} {what}" for what, count in outcome.made.items())),
        ("accepted", f"{told['accepted']:,} ({told['accepted'] / outcome.seconds:.0f} a second)"),
        ("refused, duplicates by key", f"{told['refused']:,}, {told['duplicate']:,}"),
        ("unknown, enqueued again", f"{told['unknown']:,}"),
        ("completed", f"{states['completed']:,}"),
        ("dead, cancelled, expired", f"{states['dead']:,}, {states['cancelled']:,}, {states['expired']:,}"),
        ("runs", f"{verdict.runs:,}"),
        ("facts in the ledger", f"{told.total():,} ({told.total() / outcome.seconds:.0f} a second)"),
        *((f"again: {cause}", f"{count:,}") for cause, count in verdict.causes.most_common()),
        ("**lost**", str(len(verdict.lost))),
        ("**run again without a cause**", str(len(verdict.unexplained))),
        ("**two good leases at one time**", str(len(verdict.overlaps))),
        ("**left over in the store**", str(len(outcome.left_over))),
        ("from a kill to the claim that took the job over", _spread(verdict.takeovers)),
        ("the same, where the store was away or the queue paused between", _spread(verdict.disturbed)),
        ("from a kill to the next run", _spread(verdict.reruns)),
        *((f"later than 15 s: {why}", f"{count:,}") for why, count in verdict.late.most_common()),
        ("memory of a worker that lived through it", _slope([(s.seconds, s.steady) for s in outcome.samples])),
        ("jobs that it ran", f"{outcome.samples[-1].steady_jobs:,}"),
    ]
    with_server = [(s.seconds, s.server) for s in outcome.samples if s.server is not None]
    if with_server:
        found.append(("memory of the server", _slope(with_server)))
    if outcome.empty is not None:
        before, after = (number / MIB for number in outcome.empty)
        found.append(("the server with no job in it", f"{before:.2f} MiB before, {after:.2f} MiB after"))
    found.append(("callers that the store remembers in the end", f"{outcome.callers:,}"))
    found.append(("processes whose log has a traceback", f"{len(outcome.tracebacks):,}"))
    return found


def table(outcome: Outcome, seed: int) -> str:
    """The rows as a table of a page."""
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {said} |" for name, said in rows(outcome, seed))])


def story(outcome: Outcome, facts: Iterable[Fact]) -> str:
    """The first offence: what must not be, and every line of the ledger about its job."""
    verdict = outcome.verdict
    if not verdict.offences:
        return "\n".join(outcome.left_over[:20])
    first = verdict.offences[0]
    lines = [f"{first.job}: {first.what}", *(str(fact) for fact in facts if fact["job"] == first.job)]
    return "\n".join(lines)


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return "none"
    ordered = sorted(seconds)
    middle, high = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    return f"{len(ordered):,}: half within {middle:.1f} s, 99 % within {high:.1f} s, longest {ordered[-1]:.1f} s"


def _slope(points: Sequence[tuple[float, int]]) -> str:
    """A straight line through the later two thirds, an hour long: the first third is the warming up."""
    late = points[len(points) // 3 :]
    lasted = late[-1][0] - late[0][0] if late else 0.0
    if lasted < SLOPE_S:
        return f"{points[-1][1] / MIB:.1f} MiB in the end; too short for a slope" if points else "not measured"
    across = sum(x for x, _ in late) / len(late)
    up = sum(y for _, y in late) / len(late)
    slope = sum((x - across) * (y - up) for x, y in late) / sum((x - across) ** 2 for x, _ in late)
    return f"{late[-1][1] / MIB:.1f} MiB in the end; {slope * 3600 / MIB:+.2f} MiB an hour, over {lasted:.0f} s"
