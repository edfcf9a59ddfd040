"""The count at the end: what was accepted, how it ended, what was lost, what ran twice and why. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from surefoot import State
from surefoot.cli.demo.ledger import Run

ENDS: Final[tuple[State, ...]] = ("completed", "dead", "cancelled", "expired")


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """What became of all jobs. `again`: why each of these jobs ran twice; `faults`: sentences, none if all is well."""

    accepted: int
    ended: Mapping[str, int]
    lost: int
    again: Mapping[str, str]
    faults: tuple[str, ...]


def judge(
    states: Mapping[str, State | None],
    runs: Mapping[str, Sequence[Run]],
    *,
    killed: Collection[int],
    drained: Collection[int],
    told: int,
) -> Account:
    """Hold what the store says of every accepted job against what the witness saw.

    `told`: how many jobs the store says it accepted. `killed`, `drained`: processes that got SIGKILL, SIGTERM.
    Lost: unknown to the store, or not at an end, or completed although no run of it returned, or accepted and not among
    `states`. A run that raised or was timed out is followed by a retry: that is not running twice.
    """
    unseen = max(0, told - len(states))
    faults = [f"lost: {unseen} of {told} accepted jobs are nowhere"] if unseen else []
    lost = unseen
    again: dict[str, str] = {}
    for job, state in states.items():
        seen = runs.get(job, ())
        returned = any(run.ending == "returned" for run in seen)
        if state not in ENDS or (state == "completed" and not returned):
            lost += 1
            faults.append(
                f"lost: job {job} is {state or 'unknown'}, and {'a' if returned else 'no'} run of it returned"
            )
        for run in seen[:-1]:
            cause = _cause(run, killed, drained)
            if cause is None:
                faults.append(
                    f"run twice without a cause: job {job}, attempt {run.attempt} had {run.ending or 'no end'}"
                )
            elif cause:
                again[job] = cause
    faults += [f"run but never accepted: job {job}" for job in sorted(set(runs) - set(states))]
    return Account(
        accepted=max(len(states), told),
        ended=Counter(state for state in states.values() if state is not None),
        lost=lost,
        again=again,
        faults=tuple(faults),
    )


def _cause(run: Run, killed: Collection[int], drained: Collection[int]) -> str | None:
    """Why there was a run after this one; empty for a retry, None if nothing explains it."""
    match run.ending:
        case "raised":
            return ""
        case "stopped":
            return "its worker had to leave (SIGTERM)" if run.pid in drained else ""
        case _:
            return "its worker was killed (SIGKILL)" if run.pid in killed else None


def summary(account: Account, *, ticks: int) -> list[str]:
    """The last lines of the story."""
    causes = Counter(account.again.values())
    why = ", ".join(f"{count}: {cause}" for cause, count in sorted(causes.items()))
    notes = {
        "accepted": f"{account.accepted - ticks} by this story, {ticks} by the recurring job",
        "dead": "a dead letter is kept until somebody decides" if account.ended.get("dead") else "",
        "run twice": why,
    }
    figures = {"accepted": account.accepted}
    figures |= {end: account.ended.get(end, 0) for end in ENDS}
    figures |= {"lost": account.lost, "run twice": len(account.again)}
    return [f"{name:<10}{figure:>4}  {notes.get(name, '')}".rstrip() for name, figure in figures.items()]
