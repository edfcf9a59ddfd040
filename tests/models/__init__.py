"""Exhaustive models of the store protocol: they visit every state inside small bounds. No store, no product code.

What the three have in common lives here: a finding, the trace that leads to it, and the command line's report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeVar

__all__ = ["Finding", "report", "trace"]

State = TypeVar("State")
Bounds = TypeVar("Bounds")


class Finding(NamedTuple):
    """What one exploration came to. `broken` begins with the property's name (`I3 ...`, `P1 ...`); None: all held."""

    states: int
    broken: str | None = None
    trace: tuple[str, ...] = ()
    worst_wait: int = 0  # ticks
    recovery: int = 0  # ticks

    def __str__(self) -> str:
        if self.broken:
            return f"{self.states:9,} states: BROKEN {self.broken}\n    {' | '.join(self.trace)}"
        return f"{self.states:9,} states: held, worst wait {self.worst_wait}, recovery {self.recovery} ticks"


def trace(origin: Mapping[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    """The steps from the first state to this one; `origin`: from which state and by which step each was reached."""
    steps = []
    while (came := origin[state]) is not None:
        state, step = came
        steps.append(step)
    return tuple(reversed(steps))


def report(
    explore: Callable[[frozenset[str], Bounds], Finding],
    rules: frozenset[str],
    runs: Mapping[str, Bounds],
    breaks: Mapping[str, Bounds],
    shortcuts: Iterable[str] = (),
) -> int:
    """Print every run, then each rule off and each shortcut taken. 1 if a run broke or one of the others held."""
    wrong = total = 0
    todo = [(name, rules, bounds, False) for name, bounds in runs.items()]
    todo += [(f"without {rule}", rules - {rule}, breaks[rule], True) for rule in sorted(rules)]
    todo += [(f"shortcut {name}", rules | {name}, breaks[name], True) for name in shortcuts]
    for title, chosen, bounds, breaks_it in todo:
        finding = explore(chosen, bounds)
        unexpected = bool(finding.broken) != breaks_it
        print(f"{title:36} {finding}{'   <- A FINDING' if unexpected else ''}")
        wrong, total = wrong + unexpected, total + finding.states
    print(f"{total:,} states explored, {wrong} findings")
    return 1 if wrong else 0
