"""Exhaustive check of the wake rules on Redis: workers, producers, due times, leases, pause, drain, kills, lost tokens.

Time is in ticks and passes only when nothing urgent can happen, so "late" means late by the protocol, not by a slow
machine. `explore` says what is checked. Trust in the clock is not modelled: a worker has it one lease after its start,
and no lease ends earlier. local_wake.py is the same for SQLite.
    python -m tests.models.wake       every run; then each rule off once, with the trace that breaks
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from . import Finding, report, trace

# Ticks. FLOOR is LEASE + SLACK: 12 s, 10 s and 2 s with default settings.
# A live worker's leases are renewed at every tick: the store sees them end LEASE from now. A killed worker's end LEASE
# after the kill.
LEASE, SLACK, FLOOR, HORIZON = 2, 1, 3, 6
MOST_TOKENS = 1
RULES = {
    "put_push": "put (and settle, hand-back, release of a limit) pushes a token when it makes a job claimable",
    "pass_on": "a claim that leaves claimable work pushes a token",
    "timer_push": "put of a delayed job that becomes the earliest pushes a token",
    "handover": "a claim that fills its worker pushes if nobody watches the earliest timer; a leaver frees the watch",
    "rewatch": "an idle claim takes the watch when it is free or out of date, or the timer is earlier",
    "full_pass": "a token that reaches a full worker is passed on by a claim of zero",
    "resume_push": "resume pushes a token",
    "leave_push": "a worker that leaves closes its blocked read, then claims zero: this pushes if anything waits",
    "timed_wait": "the watcher waits no longer than the next timer (due time or lease expiry); the others wait FLOOR",
    "lease_wait": "without the watch it waits no longer than the first lease's end + SLACK: the watcher may die",
    "floor": "nobody waits longer than FLOOR",
}
EVERY_RULE = frozenset(RULES)

Rules = frozenset[str]


@dataclass(frozen=True, slots=True)
class Bounds:
    """The size of one exploration: the workers, and how often the outside world may do each thing."""

    workers: int = 2
    slots: int = 1
    puts: int = 0
    delays: int = 0
    pauses: int = 0
    leaves: int = 0
    crashes: int = 0
    drops: int = 0


class Worker(NamedTuple):
    mode: str  # turn: will claim now | wait: idle, blocked read open | full: no free slot | dead
    listening: bool = False  # a blocked read of this worker is registered at the store
    token: bool = False  # one reached it and was not used yet
    until: int = 0  # deadline of the wait
    busy: int = 0  # jobs running; a worker that waits may run some


class Watch(NamedTuple):
    worker: int
    deadline: int


class State(NamedTuple):
    workers: tuple[Worker, ...]
    puts: int  # budgets of the outside world
    delays: int
    pauses: int
    leaves: int
    crashes: int
    drops: int
    time: int = 0
    pending: int = 0
    scheduled: tuple[int, ...] = ()
    leases: tuple[int, ...] = ()  # ends of the leases of dead workers, one a job
    tokens: int = 0
    paused: bool = False
    watch: Watch | None = None  # the one idle worker that sleeps only until the next timer
    late: int = 0


Step = tuple[str, State]


def push(state: State) -> State:
    return state._replace(tokens=min(MOST_TOKENS, state.tokens + 1))


def with_worker(state: State, index: int, worker: Worker) -> State:
    return state._replace(workers=(*state.workers[:index], worker, *state.workers[index + 1 :]))


def living(state: State) -> int:
    return sum(worker.mode != "dead" for worker in state.workers)


def somebody_waits(state: State) -> bool:
    return any(worker.mode == "wait" for worker in state.workers)


def claimable(state: State) -> bool:
    return not state.paused and (state.pending > 0 or any(due <= state.time for due in state.scheduled))


def starving(state: State) -> bool:
    return claimable(state) and somebody_waits(state)


def overdue(state: State) -> bool:
    """A job of a dead worker has waited out its lease and the slack beside an idle worker: time may not pass now."""
    return bool(state.leases) and state.leases[0] + SLACK <= state.time and somebody_waits(state)


def first_lease(state: State) -> int | None:
    running = any(worker.busy for worker in state.workers)
    return min((*state.leases, state.time + LEASE) if running else state.leases, default=None)


def timer_of(state: State) -> int | None:
    timers = (*state.scheduled[:1], first_lease(state))
    return min((timer for timer in timers if timer is not None), default=None)


def uncovered(state: State) -> bool:
    """Nobody is going to look at the store in time for the earliest timer."""
    timer, watch = timer_of(state), state.watch
    return timer is not None and not (watch and state.time <= watch.deadline <= timer)


def claim(state: State, i: int, rules: Rules, slots: int) -> State:
    worker = state.workers[i]
    free, took = slots - worker.busy, 0
    if not state.paused:
        # Recovery comes first, under a new lease of this worker.
        lost = min(free, sum(end <= state.time for end in state.leases))
        due = sum(due <= state.time for due in state.scheduled)
        pending = state.pending + due
        started = min(free - lost, pending)
        state = state._replace(pending=pending - started, scheduled=state.scheduled[due:], leases=state.leases[lost:])
        took = lost + started
        if state.pending and "pass_on" in rules:
            state = push(state)
    state = with_worker(state, i, worker._replace(busy=worker.busy + took))
    if took == free:
        # An open blocked read stays open: it cannot be recalled safely.
        if "handover" in rules:
            if state.watch and state.watch.worker == i:
                state = state._replace(watch=None)
            if uncovered(state):
                state = push(state)
        return with_worker(state, i, worker._replace(mode="full", token=False, busy=slots))
    return rest(state, i, rules)


def rest(state: State, i: int, rules: Rules) -> State:
    """The end of a claim that left its worker a free slot: how long it waits, and whether it has the watch."""
    until = state.time + FLOOR if "floor" in rules else HORIZON * 2
    first, lease, watch = timer_of(state), first_lease(state), state.watch
    timer = min(until, first) if first is not None and not state.paused and "timed_wait" in rules else until
    if lease is not None and not state.paused and "lease_wait" in rules:
        until = min(until, lease + SLACK)
    stale = watch is not None and (watch.deadline < state.time or watch.deadline > timer)
    if watch is None or watch.worker == i or ("rewatch" in rules and stale):
        state, until = state._replace(watch=Watch(i, timer)), timer
    return with_worker(state, i, Worker("wait", listening=True, until=until, busy=state.workers[i].busy))


def urgent(state: State, rules: Rules, slots: int) -> Iterator[Step]:
    for i, worker in enumerate(state.workers):
        if worker.mode == "turn":
            yield f"claim{i}", claim(state, i, rules, slots)
        if worker.mode == "full" and worker.token:
            if "full_pass" in rules:
                yield f"pass{i}", claim(state, i, rules, slots)
            else:
                yield f"swallow{i}", with_worker(state, i, worker._replace(token=False))
        if worker.mode == "wait" and (worker.token or state.time >= worker.until):
            yield f"wake{i}", with_worker(state, i, worker._replace(mode="turn", token=False))
        if state.tokens and worker.listening:
            taken = state._replace(tokens=state.tokens - 1)
            if worker.mode == "dead":  # half-open connection: the store hands the token to nobody
                yield f"tokenlost{i}", with_worker(taken, i, worker._replace(listening=False))
            else:
                yield f"token{i}", with_worker(taken, i, worker._replace(listening=False, token=True))
    if state.tokens and state.drops:
        yield "drop", state._replace(tokens=state.tokens - 1, drops=state.drops - 1)


def world(state: State, rules: Rules) -> Iterator[Step]:
    if state.puts:
        after = state._replace(puts=state.puts - 1, pending=state.pending + 1)
        yield "put", push(after) if "put_push" in rules else after
    if state.delays:
        for due in (state.time + 1, state.time + 2):
            earliest = not state.scheduled or due < state.scheduled[0]
            after = state._replace(delays=state.delays - 1, scheduled=tuple(sorted((*state.scheduled, due))))
            yield f"delay{due}", push(after) if earliest and "timer_push" in rules else after
    if state.leaves and living(state) > 1:
        for i, worker in enumerate(state.workers):
            if worker.mode in ("wait", "full"):
                yield f"leave{i}", leave(state, i, rules)
    if state.pauses and not state.paused:
        yield "pause", state._replace(paused=True, pauses=state.pauses - 1)
    if state.paused:
        after = state._replace(paused=False)
        yield "resume", push(after) if "resume_push" in rules else after
    for i, worker in enumerate(state.workers):
        if worker.busy and not worker.token and worker.mode in ("full", "wait"):  # the open blocked read stays open
            yield f"finish{i}", with_worker(state, i, worker._replace(mode="turn", busy=worker.busy - 1))
        if state.crashes and worker.mode != "dead" and living(state) > 1:
            leases = (*state.leases, *(state.time + LEASE,) * worker.busy)
            after = state._replace(crashes=state.crashes - 1, leases=tuple(sorted(leases)))
            yield f"crash{i}", with_worker(after, i, Worker("dead", listening=worker.listening))


def leave(state: State, i: int, rules: Rules) -> State:
    """A drain hands back uncharged: the worker's jobs are claimable again."""
    state = state._replace(leaves=state.leaves - 1, pending=state.pending + state.workers[i].busy)
    if state.watch and state.watch.worker == i and "handover" in rules:
        state = state._replace(watch=None)
    state = with_worker(state, i, Worker("dead"))
    return push(state) if "leave_push" in rules and (claimable(state) or uncovered(state)) else state


def explore(rules: Rules, bounds: Bounds) -> Finding:
    """Every state inside the bounds; looked at in each in which only time or the outside world can move:

    P1 without faults: claimable work and a live worker with a free slot never exist together
    P2 with crashes and dropped tokens: that never lasts longer than FLOOR
    P3 a killed worker's job is claimed again at most LEASE + SLACK after the kill, if a worker with a free slot waits
       (not looked at in runs with a pause)
    """
    b = bounds
    start = State((Worker("turn"),) * b.workers, b.puts, b.delays, b.pauses, b.leaves, b.crashes, b.drops)
    faults = bool(b.crashes or b.drops)
    origin: dict[State, tuple[State, str] | None] = {start: None}
    todo, worst, recovery = deque([start]), 0, 0
    while todo:
        state = todo.popleft()
        now = list(urgent(state, rules, b.slots))
        steps = now + list(world(state, rules))
        if not now:
            late = state.late + 1 if starving(state) else 0
            worst = max(worst, late)
            if state.leases and not b.pauses and somebody_waits(state):
                recovery = max(
                    recovery, state.time + 1 - state.leases[0] + LEASE
                )  # it waits for the next tick at least
            broken = None
            if late > (FLOOR if faults else 0):
                broken = "P2 work waits longer than the floor" if faults else "P1 work waits beside an idle worker"
            elif overdue(state) and not b.pauses:
                broken = "P3 a killed worker's job waits longer than lease + slack"
            if broken:
                return Finding(len(origin), broken, trace(origin, state), worst, recovery)
            if state.time < HORIZON:
                steps.append(("tick", state._replace(time=state.time + 1, late=late)))
        for step, after in steps:
            if after.late and not starving(after):
                after = after._replace(late=0)
            if after not in origin:
                origin[after] = (state, step)
                todo.append(after)
    return Finding(len(origin), worst_wait=worst, recovery=recovery)


RUNS = {
    "one worker, no faults, 3 delays": Bounds(1, puts=1, delays=3, pauses=1),
    "no faults": Bounds(puts=2, delays=1, pauses=1),
    "no faults, 2 delays": Bounds(puts=1, delays=2),
    "a drain": Bounds(puts=1, delays=1, leaves=1),
    "3 workers, a drain": Bounds(3, puts=1, delays=1, leaves=1),
    "2 slots, no faults": Bounds(slots=2, puts=3, delays=1),
    "2 slots, drain, pause": Bounds(slots=2, puts=2, delays=1, pauses=1, leaves=1),
    "2 slots, crash, drop": Bounds(slots=2, puts=2, delays=1, crashes=1, drops=1),
    "one worker, two dropped tokens": Bounds(1, puts=2, delays=1, pauses=1, drops=2),
    "crash, drop": Bounds(puts=2, delays=1, crashes=1, drops=1),
    "crash, drop, pause": Bounds(puts=1, delays=1, pauses=1, crashes=1, drops=1),
    "3 workers, crash, drop": Bounds(3, puts=1, delays=1, crashes=1, drops=1),
    "2 slots, a kill": Bounds(slots=2, puts=2, delays=1, crashes=1),
    "3 workers, 2 slots, a kill": Bounds(3, 2, puts=2, crashes=1),
    "3 workers, two kills": Bounds(3, puts=2, crashes=2),
    "3 workers, 2 slots, two kills, drop": Bounds(3, 2, puts=1, crashes=2, drops=1),
}
# A small world in which each rule, when off, is missed.
BREAKS = dict.fromkeys(RULES, Bounds(puts=1, delays=2)) | {
    "leave_push": Bounds(puts=2, leaves=1),
    "resume_push": Bounds(puts=1, pauses=1),
    "lease_wait": Bounds(slots=2, puts=1, crashes=1),
    "floor": Bounds(puts=1, drops=1),
}


if __name__ == "__main__":
    sys.exit(report(explore, EVERY_RULE, RUNS, BREAKS))
