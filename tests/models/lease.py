"""Exhaustive check of put, claim, settle and extend under lost replies, repeats, late duplicates, crashes and zombies.

The store is a few lines of the real rules: a remembered call for each caller (`memories`), a token for each lease
(`held`), recovery inside claim. A reply may be lost (the client sends the same call again); a request may be left
behind on a dead connection and be executed much later (`ghosts`). `violation` and `explore` say what is checked.
    python -m tests.models.lease      every run; then each rule off once, with the trace that breaks
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from . import Finding, report, trace

RULES = {
    "lane_put": "put answers a repeat from the caller's last call (without: only 'id exists now' protects)",
    "lane_claim": "a claim repeated with the same call number returns the same jobs",
    "lane_settle": "a settle repeated with the same call number gives the same verdict",
    "monotone": "a call number lower than the caller's last is refused as stale",
    "token": "settle compares the claim's token, not only the id",
    "gone_token": "recovery replaces the token at once",
}
SHORTCUTS = {
    "empty_again": "an empty claim writes nothing and its number is used again (would save an idle worker two writes)"
}
EVERY_RULE = frozenset(RULES)
MOST_STATES = 3_000_000
PRODUCER, CALLERS, WORKERS = 0, 5, 2  # worker i claims as caller 1 + 2i and settles as caller 2 + 2i
WAITING = frozenset({"pending", "scheduled"})
NOWHERE: frozenset[str] = frozenset()

Rules = frozenset[str]
Item = TypeVar("Item")


class Budget(NamedTuple):
    """How often the outside world may still do each thing."""

    losses: int = 0
    duplicates: int = 0
    agings: int = 0
    crashes: int = 0
    failures: int = 0
    releases: int = 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """The size of one exploration."""

    jobs: int
    budget: Budget


class Token(NamedTuple):
    caller: int
    call: int

    def __str__(self) -> str:
        return f"{self.caller}.{self.call}"


class Lease(NamedTuple):
    job: int
    token: Token

    def __str__(self) -> str:
        return f"job {self.job} as {self.token}"


class Ending(NamedTuple):
    lease: Lease
    to: str  # done | scheduled | pending


class Put(NamedTuple):
    caller: int
    call: int
    job: int

    def __str__(self) -> str:
        return f"put job {self.job}"


class Claim(NamedTuple):
    caller: int
    call: int

    def __str__(self) -> str:
        return f"claim {self.caller}.{self.call}"


class Settle(NamedTuple):
    caller: int
    call: int
    ending: Ending

    def __str__(self) -> str:
        return f"settle {self.ending.lease} to {self.ending.to}"


Request = Put | Claim | Settle
Answer = str | Lease  # created exists | a lease, empty | applied fenced | stale
LANE: dict[type[Request], str] = {Put: "lane_put", Claim: "lane_claim", Settle: "lane_settle"}


class Memory(NamedTuple):
    call: int = 0
    answer: Answer = ""


class Producer(NamedTuple):
    todo: tuple[int, ...]
    call: int = 0
    waiting: bool = False


class Worker(NamedTuple):
    alive: bool = True
    claim_call: int = 0
    claiming: bool = False
    running: frozenset[Lease] = frozenset()
    settle_call: int = 0
    settling: Ending | None = None


class State(NamedTuple):
    """Fields that hold a tuple have one entry a job, caller or worker."""

    body: tuple[bool, ...]  # the envelope is stored
    places: tuple[frozenset[str], ...]  # where the job is
    held: tuple[Token | None, ...]
    ended: tuple[bool, ...]  # the lease ran out
    finishes: tuple[int, ...]
    explained: tuple[int, ...]  # recoveries, retries and hand-backs: what allows one more start
    starts: tuple[int, ...]  # of the handler
    memories: tuple[Memory, ...]
    producer: Producer
    workers: tuple[Worker, ...]
    ghosts: frozenset[Request]  # may still be executed
    applied: tuple[Lease, ...]  # ledger of settles that were really applied
    lie: str
    budget: Budget


def first_state(bounds: Bounds) -> State:
    n = bounds.jobs
    return State(
        body=(False,) * n,
        places=(NOWHERE,) * n,
        held=(None,) * n,
        ended=(False,) * n,
        finishes=(0,) * n,
        explained=(0,) * n,
        starts=(0,) * n,
        memories=(Memory(),) * CALLERS,
        producer=Producer(tuple(range(n))),
        workers=(Worker(),) * WORKERS,
        ghosts=frozenset(),
        applied=(),
        lie="",
        budget=bounds.budget,
    )


def put_at(items: tuple[Item, ...], index: int, item: Item) -> tuple[Item, ...]:
    return (*items[:index], item, *items[index + 1 :])


def with_worker(state: State, index: int, worker: Worker) -> State:
    return state._replace(workers=put_at(state.workers, index, worker))


# The store


def recall(state: State, request: Request, rules: Rules) -> Answer | None:
    memory = state.memories[request.caller]
    if LANE[type(request)] not in rules:
        return None
    if request.call == memory.call:
        return memory.answer
    return "stale" if "monotone" in rules and request.call < memory.call else None


def execute(state: State, request: Request, rules: Rules) -> tuple[State, Answer]:
    """One request at the store."""
    known = recall(state, request, rules)
    if known is not None:
        return state, known
    answer: Answer
    match request:
        case Put():
            state, answer = put(state, request)
        case Claim():
            state, answer = claim(state, request, rules)
        case Settle():
            state, answer = settle(state, request, rules)
    if answer == "empty" and "empty_again" in rules:
        return state, answer  # leaves no trace
    return state._replace(memories=put_at(state.memories, request.caller, Memory(request.call, answer))), answer


def put(state: State, request: Put) -> tuple[State, str]:
    job = request.job
    if state.body[job]:
        return state, "exists"
    places = put_at(state.places, job, state.places[job] | {"pending"})
    return state._replace(body=put_at(state.body, job, True), places=places), "created"


def claim(state: State, request: Claim, rules: Rules) -> tuple[State, Answer]:
    token = Token(request.caller, request.call)
    for job, old in enumerate(state.held):
        if old and state.ended[job]:
            new = token if "gone_token" in rules else old
            state = state._replace(
                explained=put_at(state.explained, job, state.explained[job] + 1),
                held=put_at(state.held, job, new),
                ended=put_at(state.ended, job, False),
            )
            return state, Lease(job, new)
    for job, places in enumerate(state.places):
        if places & WAITING:
            state = state._replace(
                places=put_at(state.places, job, frozenset({"held"})),
                held=put_at(state.held, job, token),
                ended=put_at(state.ended, job, False),
            )
            return state, Lease(job, token)
    return state, "empty"


def settle(state: State, request: Settle, rules: Rules) -> tuple[State, str]:
    lease, to = request.ending
    job, token = lease
    owner = state.held[job]
    if not (owner == token if "token" in rules else state.body[job]):
        return state, "fenced"
    if owner != token:
        state = state._replace(lie=f"I2 a stale settle of {lease} was applied while {owner} holds it")
    state = state._replace(
        held=put_at(state.held, job, None),
        ended=put_at(state.ended, job, False),
        applied=(*state.applied, lease),
    )
    if to == "done":
        state = state._replace(
            body=put_at(state.body, job, False),
            places=put_at(state.places, job, NOWHERE),
            finishes=put_at(state.finishes, job, state.finishes[job] + 1),
        )
    else:
        state = state._replace(
            places=put_at(state.places, job, frozenset({to})),
            explained=put_at(state.explained, job, state.explained[job] + 1),
        )
    return state, "applied"


# The clients and the world


def requests(state: State) -> Iterator[Request]:
    """What clients have on the wire now."""
    producer = state.producer
    if producer.waiting:
        yield Put(PRODUCER, producer.call, producer.todo[0])
    for i, worker in enumerate(state.workers):
        if worker.alive and worker.claiming:
            yield Claim(1 + 2 * i, worker.claim_call)
        if worker.alive and worker.settling:
            yield Settle(2 + 2 * i, worker.settle_call, worker.settling)


def receive(state: State, request: Request, answer: Answer, rules: Rules) -> State:
    """The client gets its reply."""
    if isinstance(request, Put):
        return state._replace(producer=Producer(state.producer.todo[1:], request.call, False))
    i = (request.caller - 1) // 2
    worker = state.workers[i]
    if isinstance(request, Claim):
        running, call = worker.running, worker.claim_call
        if isinstance(answer, Lease) and answer not in running:
            running |= {answer}
            state = state._replace(starts=put_at(state.starts, answer.job, state.starts[answer.job] + 1))
        if answer == "empty" and "empty_again" in rules:
            call -= 1
        return with_worker(state, i, worker._replace(claim_call=call, claiming=False, running=running))
    if answer != ("applied" if request.ending.lease in state.applied else "fenced"):
        state = state._replace(lie=f"I4 worker {i} was told {answer} for {request.ending.lease}")
    return with_worker(state, i, worker._replace(settling=None))


def moves(state: State, rules: Rules) -> Iterator[tuple[str, State]]:
    budget = state.budget
    for request in requests(state):
        after, answer = execute(state, request, rules)
        yield f"{request} -> {answer}", receive(after, request, answer, rules)
        if budget.losses:
            yield f"{request} -> lost", after._replace(budget=budget._replace(losses=budget.losses - 1))
        if budget.duplicates and request not in state.ghosts:
            spent = budget._replace(duplicates=budget.duplicates - 1)
            yield f"{request} left behind", state._replace(ghosts=state.ghosts | {request}, budget=spent)
    for request in state.ghosts:
        after, _ = execute(state._replace(ghosts=state.ghosts - {request}), request, rules)
        yield f"late {request}", after
    producer = state.producer
    if producer.todo and not producer.waiting:
        yield "send put", state._replace(producer=producer._replace(call=producer.call + 1, waiting=True))
    for i, worker in enumerate(state.workers):
        if worker.alive:
            yield from worker_moves(state, i, worker)
    yield from lease_moves(state)


def worker_moves(state: State, i: int, worker: Worker) -> Iterator[tuple[str, State]]:
    budget = state.budget
    claimable = any(
        places & WAITING or (token and ended)
        for places, token, ended in zip(state.places, state.held, state.ended, strict=True)
    )
    # An empty claim teaches nothing, so none is sent; this also bounds the space.
    if claimable and not worker.claiming and not worker.running:
        yield (
            f"worker {i} claims",
            with_worker(state, i, worker._replace(claim_call=worker.claim_call + 1, claiming=True)),
        )
    if not worker.settling:
        ends = [("done", budget)]
        if budget.failures:
            ends.append(("scheduled", budget._replace(failures=budget.failures - 1)))
        if budget.releases:
            ends.append(("pending", budget._replace(releases=budget.releases - 1)))
        for lease in worker.running:
            for to, spent in ends:
                settling = worker._replace(
                    running=worker.running - {lease}, settle_call=worker.settle_call + 1, settling=Ending(lease, to)
                )
                yield f"worker {i} ends {lease} to {to}", with_worker(state, i, settling)._replace(budget=spent)
    if budget.crashes:
        dead = worker._replace(alive=False, claiming=False, running=frozenset(), settling=None)
        yield (
            f"worker {i} crashes",
            with_worker(state, i, dead)._replace(budget=budget._replace(crashes=budget.crashes - 1)),
        )


def lease_moves(state: State) -> Iterator[tuple[str, State]]:
    budget = state.budget
    for job, token in enumerate(state.held):
        if token is None:
            continue
        owner = state.workers[token.caller // 2]
        if not state.ended[job]:
            aged = state._replace(ended=put_at(state.ended, job, True))
            if not owner.alive:
                yield f"lease of job {job} ends", aged
            elif budget.agings:
                yield f"lease of job {job} ends", aged._replace(budget=budget._replace(agings=budget.agings - 1))
        elif owner.alive and Lease(job, token) in owner.running:
            yield f"extend job {job}", state._replace(ended=put_at(state.ended, job, False))


# The properties


def violation(state: State) -> str | None:
    """The first broken property of this state.

    I1 an accepted job that is not finished is in exactly one place and its body exists; a finished one has neither
    I2 no job is finished twice; no settle with a stale token changes anything
    I3 every start of a handler is explained: 1 + recoveries + retries + hand-backs
    I4 a client told "fenced" was fenced, one told "applied" was applied
    I5 no lease of a live worker that this worker neither knows of nor is about to learn of (it would be a stall and a
       false "crash")
    """
    if state.lie:
        return state.lie
    for job, places in enumerate(state.places):
        token = state.held[job]
        if (state.body[job] or state.finishes[job]) and len(places) != (1 if state.body[job] else 0):
            return f"I1 job {job} is in {sorted(places)}"
        if ("held" in places) != (token is not None):
            return f"I1 job {job} is in {sorted(places)}, its token is {token}"
        if state.finishes[job] > 1:
            return f"I2 job {job} finished {state.finishes[job]} times"
        if state.starts[job] > 1 + state.explained[job]:
            return f"I3 job {job} started {state.starts[job]} times, {state.explained[job]} explained"
        if token and not state.ended[job] and orphaned(state, Lease(job, token)):
            return f"I5 the lease of {Lease(job, token)} is known to nobody"
    return None


def orphaned(state: State, lease: Lease) -> bool:
    caller = lease.token.caller
    worker = state.workers[caller // 2]
    knows = (
        lease in worker.running
        or (worker.claiming and lease.token == Token(caller, worker.claim_call))
        or (worker.settling is not None and worker.settling.lease == lease)
    )
    late = any(isinstance(ghost, Settle) and ghost.ending.lease == lease for ghost in state.ghosts)
    return worker.alive and not knows and not late


def explore(rules: Rules, bounds: Bounds) -> Finding:
    """Every state inside the bounds: `violation` in each, and I6: from each the accepted jobs can still be finished."""
    start = first_state(bounds)
    origin: dict[State, tuple[State, str] | None] = {start: None}
    before: dict[State, list[State]] = {}
    goals: list[State] = []
    todo = deque([start])
    while todo:
        state = todo.popleft()
        if broken := violation(state):
            return Finding(len(origin), broken, trace(origin, state))
        if not state.producer.todo and all(state.finishes):
            goals.append(state)
        for step, after in moves(state, rules):
            before.setdefault(after, []).append(state)
            if after not in origin:
                origin[after] = (state, step)
                todo.append(after)
        if len(origin) > MOST_STATES:
            raise RuntimeError(f"more than {MOST_STATES:,} states: choose smaller bounds")
    able, todo = set(goals), deque(goals)
    while todo:
        for state in before.get(todo.popleft(), ()):
            if state not in able:
                able.add(state)
                todo.append(state)
    for state in origin:
        if state not in able and any(worker.alive for worker in state.workers):
            return Finding(len(origin), "I6 the jobs cannot be finished any more", trace(origin, state))
    return Finding(len(origin))


RUNS = {
    "three lost replies": Bounds(2, Budget(losses=3)),
    "late duplicates": Bounds(1, Budget(losses=1, duplicates=2, failures=2)),
    "late duplicate, two jobs": Bounds(2, Budget(losses=1, duplicates=1, releases=1)),
    "zombie": Bounds(1, Budget(losses=2, duplicates=1, agings=2, failures=1)),
    "zombie, two jobs": Bounds(2, Budget(losses=1, agings=1, failures=1)),
    "crash": Bounds(1, Budget(losses=1, duplicates=1, crashes=1, failures=1, releases=1)),
    "crash and zombie": Bounds(1, Budget(losses=1, duplicates=1, agings=1, crashes=1, failures=1)),
    "crash, two jobs": Bounds(2, Budget(losses=1, crashes=1, releases=1)),
}
# The smallest world in which each rule, when off, is missed; and each shortcut, when taken.
BREAKS = {
    "lane_put": Bounds(1, Budget(losses=1)),
    "lane_claim": Bounds(2, Budget(losses=1)),
    "lane_settle": Bounds(1, Budget(losses=1)),
    "monotone": Bounds(2, Budget(duplicates=1)),
    "token": Bounds(1, Budget(agings=1, failures=1)),
    "gone_token": Bounds(1, Budget(agings=1)),
    "empty_again": Bounds(1, Budget(losses=1, duplicates=1, failures=1)),
}


if __name__ == "__main__":
    sys.exit(report(explore, EVERY_RULE, RUNS, BREAKS, SHORTCUTS))
