"""Exhaustive check of the wake rules on SQLite: several processes on one file; no watch, no blocked read.

In a process every waiting worker has a token, which a wake in the same process sets. Other processes are noticed by a
poll: a change number (moves at each commit of another process), then a counter that only `wake()` raises. Time is as in
wake.py, a poll takes none; `explore` says what is checked. Trust in the clock is not modelled.
    python -m tests.models.local_wake     every run; then each rule off and each shortcut taken once
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from . import Finding, report, trace
from .wake import FLOOR, HORIZON, LEASE, SLACK

RULES = {
    "put_wake": "put (and settle, requeue, move) calls wake() when it makes a job claimable",
    "timer_wake": "put of a delayed job that becomes the earliest calls wake()",
    "resume_wake": "resume calls wake()",
    "leave_wake": "a hand-back calls wake()",
    "counter_only": "a poll looks at the counter, and a claim follows only if that moved, not for every commit",
    "one_commit": "the counter is raised in the transaction of the verb, not in a second one",
    "own_token": "a verb that called wake() sets the tokens of its own process: the change number skips own commits",
    "token_after": "these tokens are set after the commit",
    "token_kept": "a token is cleared before a claim is sent, never after its reply",
    "baseline": "change number and counter last seen are moved by a poll only, never read anew at the start of a wait",
    "number_first": "a poll notes the change number before it reads the counter",
    "due_timer": "nobody waits longer than the first due time of its last claim's reply",
    "lease_timer": "nobody waits longer than the first end of a lease of its last claim's reply",
    "floor": "nobody waits longer than FLOOR: needed only if a token can be lost inside a process",
}
SPARE = {
    "pass_on": "a claim that leaves claimable jobs behind calls wake(): not needed, since a wake reaches everybody"
}
SHORTCUTS = {
    "one_token": "a wake or a poll gives one token a process, which one of its waiting workers takes",
    "claim_moves_baseline": "a claim's reply carries the counter and moves what its process has seen",
}
EVERY_RULE = frozenset(RULES)

Rules = frozenset[str]


@dataclass(frozen=True, slots=True)
class Bounds:
    """The size of one exploration: workers of each process (0: it only puts), and budgets of the outside world."""

    processes: tuple[int, ...] = (1, 1)
    slots: int = 1
    puts: int = 0
    delays: int = 0
    pauses: int = 0
    leaves: int = 0
    kills: int = 0
    drops: int = 0


class Worker(NamedTuple):
    mode: str = "turn"  # turn: a claim is on its way | reply: it came, the wait has not begun | wait | full | gone
    token: bool = False
    until: int = 0
    busy: int = 0


class Process(NamedTuple):
    workers: tuple[Worker, ...]
    alive: bool = True
    moved: bool = False  # the change number differs from the one noted: another process committed
    raised: bool = False  # the counter differs from the one noted; a process notes its own wakes
    polling: bool = False  # between the two reads of a poll
    owes: str = ""  # the second half of a put: "job" or "wake"


class State(NamedTuple):
    processes: tuple[Process, ...]
    puts: int
    delays: int
    pauses: int
    leaves: int
    kills: int
    drops: int
    time: int = 0
    pending: int = 0
    scheduled: tuple[int, ...] = ()
    leases: tuple[int, ...] = ()  # ends of the leases of dead processes, one a job
    paused: bool = False
    late: int = 0


Step = tuple[str, State]
OUTSIDE = -1  # a process that only ever runs one command


def with_process(state: State, p: int, process: Process) -> State:
    return state._replace(processes=(*state.processes[:p], process, *state.processes[p + 1 :]))


def with_worker(state: State, p: int, w: int, worker: Worker) -> State:
    workers = state.processes[p].workers
    return with_process(state, p, state.processes[p]._replace(workers=(*workers[:w], worker, *workers[w + 1 :])))


def give_tokens(process: Process, rules: Rules) -> Process:
    """To every worker but the full: they claim as soon as they have a slot."""
    workers = list(process.workers)
    for w, worker in sorted(enumerate(workers), key=lambda pair: pair[1].mode != "wait"):
        if worker.mode in ("turn", "reply", "wait") and not worker.token:
            workers[w] = worker._replace(token=True)
            if "one_token" in rules:
                break
    return process._replace(workers=tuple(workers))


def commit(state: State, by: int, rules: Rules, *, wakes: bool, tokens: bool = True) -> State:
    """What the others can notice of a transaction, and what its own process does after it."""
    processes = list(state.processes)
    for p, process in enumerate(processes):
        if p != by and any(worker.mode != "gone" for worker in process.workers):
            processes[p] = process._replace(moved=True, raised=process.raised or wakes)
        elif p == by and wakes and tokens and "own_token" in rules:
            processes[p] = give_tokens(process, rules)
    return state._replace(processes=tuple(processes))


def workers_of(state: State) -> list[Worker]:
    return [worker for process in state.processes for worker in process.workers if worker.mode != "gone"]


def somebody_waits(state: State) -> bool:
    return any(worker.mode == "wait" for worker in workers_of(state))


def claimable(state: State) -> bool:
    return not state.paused and (state.pending > 0 or any(due <= state.time for due in state.scheduled))


def starving(state: State) -> bool:
    return claimable(state) and somebody_waits(state)


def claim(state: State, p: int, w: int, rules: Rules, slots: int) -> State:
    worker = state.processes[p].workers[w]
    free, took = slots - worker.busy, 0
    if not state.paused:
        lost = min(free, sum(end <= state.time for end in state.leases))
        due = sum(due <= state.time for due in state.scheduled)
        took = lost + min(free - lost, state.pending + due)
        pending = state.pending + due - (took - lost)
        state = state._replace(pending=pending, scheduled=state.scheduled[due:], leases=state.leases[lost:])
    busy, until = worker.busy + took, state.time + FLOOR if "floor" in rules else HORIZON * 2
    state = with_worker(state, p, w, worker._replace(busy=busy))
    if not state.paused:
        if "due_timer" in rules:
            until = min(until, *state.scheduled[:1], until)
        if "lease_timer" in rules:
            running = any(other.busy for other in workers_of(state))  # renewed: ends LEASE from now
            until = min(until, *state.leases[:1], state.time + LEASE if running else until)
    full = took == free
    token = worker.token and not full
    state = with_worker(state, p, w, Worker("full" if full else "reply", token, 0 if full else until, busy))
    if "claim_moves_baseline" in rules:
        state = with_process(state, p, state.processes[p]._replace(raised=False))
    return commit(state, p, rules, wakes=claimable(state) and "pass_on" in rules)


def urgent(state: State, rules: Rules, slots: int) -> Iterator[Step]:
    for p, process in enumerate(state.processes):
        for w, worker in enumerate(process.workers):
            if worker.mode == "turn":
                yield f"claim{p}{w}", claim(state, p, w, rules, slots)
            elif worker.mode == "reply":
                after = with_worker(
                    state, p, w, worker._replace(mode="wait", token=worker.token and "token_kept" in rules)
                )
                if "baseline" not in rules:
                    after = with_process(after, p, after.processes[p]._replace(moved=False, raised=False))
                yield f"rest{p}{w}", after
            elif worker.mode == "wait" and (worker.token or state.time >= worker.until):
                yield f"wake{p}{w}", with_worker(state, p, w, worker._replace(mode="turn", token=False, until=0))
        if process.owes == "job":
            after = with_process(state._replace(pending=state.pending + 1), p, process._replace(owes=""))
            yield f"commit{p}", commit(after, p, rules, wakes=True, tokens=False)
        elif process.owes == "wake":
            yield f"raise{p}", commit(with_process(state, p, process._replace(owes="")), p, rules, wakes=True)
        if process.polling or (process.moved and any(worker.mode == "wait" for worker in process.workers)):
            yield f"poll{p}", with_process(state, p, poll(process, rules))


def poll(process: Process, rules: Rules) -> Process:
    """One of a poll's two reads: note the change number; read the counter and note it."""
    first = not process.polling
    process = process._replace(polling=first)
    if first == ("number_first" in rules):
        return process._replace(moved=False)
    if process.raised or "counter_only" not in rules:
        process = give_tokens(process, rules)
    return process._replace(raised=False)


def put(state: State, p: int, rules: Rules) -> State:
    process = state.processes[p]
    state = state._replace(puts=state.puts - 1)
    if "token_after" not in rules:
        return with_process(state, p, give_tokens(process._replace(owes="job"), rules))
    state = state._replace(pending=state.pending + 1)
    if "one_commit" not in rules:
        return commit(with_process(state, p, process._replace(owes="wake")), p, rules, wakes=False)
    return commit(state, p, rules, wakes="put_wake" in rules)


def world(state: State, rules: Rules) -> Iterator[Step]:
    if state.pauses and not state.paused:
        after = state._replace(paused=True, pauses=state.pauses - 1)
        yield "pause", commit(after, OUTSIDE, rules, wakes=False)
    if state.paused:
        yield "resume", commit(state._replace(paused=False), OUTSIDE, rules, wakes="resume_wake" in rules)
    for p, process in enumerate(state.processes):
        if not process.alive:
            continue
        if state.puts and not process.owes:
            yield f"put{p}", put(state, p, rules)
        for due in (state.time + 1, state.time + 2) if state.delays else ():
            earliest = not state.scheduled or due < state.scheduled[0]
            after = state._replace(delays=state.delays - 1, scheduled=tuple(sorted((*state.scheduled, due))))
            yield f"delay{p}to{due}", commit(after, p, rules, wakes=earliest and "timer_wake" in rules)
        yield from worker_moves(state, p, process, rules)
        here = sum(worker.mode != "gone" for worker in process.workers)
        if state.kills and len(workers_of(state)) > here:
            ends = (state.time + LEASE,) * sum(worker.busy for worker in process.workers)
            after = state._replace(kills=state.kills - 1, leases=tuple(sorted((*state.leases, *ends))))
            yield f"kill{p}", with_process(after, p, Process((), alive=False))


def worker_moves(state: State, p: int, process: Process, rules: Rules) -> Iterator[Step]:
    for w, worker in enumerate(process.workers):
        if worker.busy and worker.mode in ("full", "wait"):
            turn = Worker("turn", busy=worker.busy - 1)
            yield f"finish{p}{w}", with_worker(state, p, w, turn)
        if state.leaves and worker.mode in ("full", "wait") and len(workers_of(state)) > 1:
            after = state._replace(leaves=state.leaves - 1, pending=state.pending + worker.busy)
            after = with_worker(after, p, w, Worker("gone"))
            yield f"leave{p}{w}", commit(after, p, rules, wakes=worker.busy > 0 and "leave_wake" in rules)
        if state.drops and worker.token:
            yield f"drop{p}{w}", with_worker(state._replace(drops=state.drops - 1), p, w, worker._replace(token=False))


# The properties


def broken_rule(state: State, bounds: Bounds, late: int) -> str | None:
    if late > (FLOOR if bounds.drops else 0):
        return "P2 work waits longer than the floor" if bounds.drops else "P1 work waits beside an idle worker"
    if state.leases and not bounds.pauses and state.leases[0] + SLACK <= state.time and somebody_waits(state):
        return "P3 a killed process's job waits longer than lease + slack"
    return None


def endless(steps: Mapping[State, list[Step]]) -> tuple[State, tuple[str, ...]] | None:
    """A state from which urgent steps alone can go on for ever, and such steps up to the first return."""
    before: dict[State, list[State]] = {}
    for state, nexts in steps.items():
        for _, after in nexts:
            before.setdefault(after, []).append(state)
    left = {state: len(nexts) for state, nexts in steps.items()}
    ended = [state for state, count in left.items() if not count]
    while ended:
        for state in before.get(ended.pop(), ()):
            left[state] -= 1
            if not left[state]:
                ended.append(state)
    start = next((state for state, count in left.items() if count), None)
    if start is None:
        return None
    state, seen, path = start, set[State](), []
    while state not in seen:
        seen.add(state)
        step, state = next((step, after) for step, after in steps[state] if left[after])
        path.append(step)
    return start, tuple(path)


def explore(rules: Rules, bounds: Bounds) -> Finding:
    """Every state inside the bounds; P1 to P3 are looked at in each in which only time or the outside world can move:

    P1 claimable work and a live worker with a free slot never exist together, kills or not
    P2 if a token is lost inside a process, that never lasts longer than FLOOR
    P3 a killed process's job is claimed again at most LEASE + SLACK after the kill, if a worker with a free slot waits
       (not looked at in runs with a pause)
    P4 the workers come to rest: no run of claims and polls goes on for ever without time or the outside world
    """
    b = bounds
    processes = tuple(Process((Worker(),) * count) for count in b.processes)
    start = State(processes, b.puts, b.delays, b.pauses, b.leaves, b.kills, b.drops)
    origin: dict[State, tuple[State, str] | None] = {start: None}
    urgently: dict[State, list[Step]] = {}
    todo, worst, recovery = deque([start]), 0, 0
    while todo:
        state = todo.popleft()
        now = [(step, settled(after)) for step, after in urgent(state, rules, b.slots)]
        urgently[state] = now
        steps = now + [(step, settled(after)) for step, after in world(state, rules)]
        if not now:
            late = state.late + 1 if starving(state) else 0
            worst = max(worst, late)
            if state.leases and not b.pauses and somebody_waits(state):
                recovery = max(recovery, state.time + 1 - state.leases[0] + LEASE)  # it waits for the next tick
            if broken := broken_rule(state, b, late):
                return Finding(len(origin), broken, trace(origin, state), worst, recovery)
            if state.time < HORIZON:
                steps.append(("tick", settled(state._replace(time=state.time + 1, late=late))))
        for step, after in steps:
            if after not in origin:
                origin[after] = (state, step)
                todo.append(after)
    if found := endless(urgently):
        state, path = found
        livelock = (*trace(origin, state), "for ever:", *path)
        return Finding(len(origin), "P4 claims wake claims for ever", livelock, worst, recovery)
    return Finding(len(origin), worst_wait=worst, recovery=recovery)


def settled(state: State) -> State:
    return state._replace(late=0) if state.late and not starving(state) else state


RUNS = {
    "one process": Bounds((1,), puts=2, delays=2, pauses=1),
    "one process and a producer": Bounds((1, 0), puts=2, delays=2),
    "two processes": Bounds(puts=2, delays=1),
    "two processes, pause": Bounds(puts=2, pauses=1),
    "two processes, a drain": Bounds(puts=1, delays=1, leaves=1),
    "three processes": Bounds((1, 1, 1), puts=1),
    "two workers in a process": Bounds((2,), puts=2, delays=1, leaves=1),
    "two workers and one": Bounds((2, 1), puts=1, delays=1),
    "a kill": Bounds(puts=1, delays=1, kills=1),
    "2 slots, a kill": Bounds(slots=2, puts=2, kills=1),
    "two processes and a producer, a kill": Bounds((1, 1, 0), puts=2, kills=1),
    "two workers, kill of another process": Bounds((2, 1), puts=1, kills=1),
    "one process, a lost token": Bounds((1,), puts=2, delays=1, drops=1),
    "a lost token": Bounds(puts=1, delays=1, drops=1),
    "a kill and a lost token": Bounds(puts=1, delays=1, kills=1, drops=1),
}
# A small world in which each rule, when off, is missed; and each shortcut, when taken.
BREAKS = dict.fromkeys(RULES, Bounds(puts=1)) | {
    "timer_wake": Bounds(delays=1),
    "resume_wake": Bounds(puts=1, pauses=1),
    "leave_wake": Bounds(puts=1, leaves=1),
    "one_commit": Bounds(puts=1, kills=1),
    "own_token": Bounds((1,), puts=1),
    "token_after": Bounds((1,), puts=1),
    "token_kept": Bounds((1,), puts=1),
    "baseline": Bounds((1, 0), puts=1),
    "number_first": Bounds((1, 0), puts=1, delays=2),
    "due_timer": Bounds(delays=1),
    "lease_timer": Bounds(puts=1, kills=1),
    "floor": Bounds((1,), puts=1, drops=1),
    "one_token": Bounds((2,), puts=1, delays=1),
    "claim_moves_baseline": Bounds((2, 0), puts=1, delays=1),
}


if __name__ == "__main__":
    sys.exit(report(explore, EVERY_RULE, RUNS, BREAKS, SHORTCUTS))
