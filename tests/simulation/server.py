"""The store of a life: the model of the conformance suite behind one clock, with the wake rules of the Redis scripts.

A verb is one step; what it changed is shown to whoever watches (the judge). Nothing here fails: that is the network's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from msgspec.structs import replace
from tests.conformance import model
from tests.conformance.model_state import Queue as ModelQueue
from tests.simulation.kernel import EPOCH_MS, Kernel

from surefoot.brokers import answers as a
from surefoot.brokers import broker as b
from surefoot.core.job import Counts, NewJob
from surefoot.core.names import State

SLACK_MOST_MS = 2_000
GROWS = (b.Put, b.Tick, b.Amend)
"""What a full store refuses whole."""
OVER = frozenset({"completed", "cancelled", "expired", "dead"})


class Queue(ModelQueue):
    """A queue, and who of the idle workers looks at its next timer: its caller, and until when."""

    watch: tuple[str, int] | None = None


class Turn(model.Turn):
    """A verb of the model; a claim says how long to sleep as `watch.lua` does."""

    queue: Queue

    def claim(self, verb: b.Claim) -> a.Claimed:
        claimed = super().claim(verb)
        wait_ms = self.watch_or_sleep(verb, full=len(claimed.jobs) == verb.want)
        return replace(claimed, wait_ms=max(1, wait_ms))

    def may_sleep_ms(self, verb: b.Claim) -> int:
        return 1

    def watch_or_sleep(self, verb: b.Claim, *, full: bool) -> int:
        queue, now, floor = self.queue, self.now, verb.floor_ms
        due, ends = math.inf, math.inf
        if queue.paused is None:
            due = queue.first_due()
            leases = (job.lease_ms for job in queue.jobs.values() if job.lease_ms is not None)
            ends = min((end for end in leases if end > now), default=math.inf)
        timer = min(due, ends)
        if full:
            if queue.watch is not None and queue.watch[0] == self.caller:
                queue.watch = None
            if timer < math.inf and not (queue.watch is not None and now <= queue.watch[1] <= timer):
                queue.token = True
            return floor
        watch = queue.watch
        latest = int(min(timer, now + floor))
        if watch is None or watch[0] == self.caller or watch[1] < now or watch[1] > latest:
            queue.watch = (self.caller, latest)
            return latest - now
        slack = min(verb.lease_ms // 5, SLACK_MOST_MS)
        return int(min(floor, ends + slack - now))


class Reader(Protocol):
    """A blocked read of a queue's wake-up token."""

    def take(self) -> None:
        """The token is its."""
        ...


class Place(Protocol):
    """A job as any store has it."""

    state: State
    token: str | None
    counts: Counts
    lease_ms: int | None
    new: NewJob


class Watcher(Protocol):
    """Whoever looks at every step of the store: at all jobs of the queue, as the verb left them."""

    def saw(
        self, queue: str, jobs: Mapping[str, Place], call: b.Call, verb: b.Verb[Any], answer: Any, *, again: bool
    ) -> None: ...


class Server:
    """Runs calls, one after the other, and wakes who waits. `clock_off`: how wrong its clock is, in seconds."""

    turn: ClassVar[type[Turn]] = Turn

    def __init__(self, kernel: Kernel, watcher: Watcher) -> None:
        self.kernel = kernel
        self.clock_off = 0.0
        self.full = False
        self.queues: dict[str, Queue] = {}
        self.readers: dict[str, list[Reader]] = {}
        self.tokens: set[str] = set()
        self._watcher = watcher

    def now_ms(self) -> int:
        return EPOCH_MS + int((self.kernel.now + self.clock_off) * 1000)

    def run(self, call: b.Call, answers: list[Any]) -> None:
        """Execute the verbs in their order; each answer is there before anybody judges it."""
        b.counted(call)
        timed = replace(call, now=self.now_ms())
        for verb in call.verbs:
            self._answer(timed, verb, answers)

    def _answer(self, call: b.Call, verb: b.Verb[Any], answers: list[Any]) -> None:
        name = verb.queue
        queue = self.queues.get(name)
        if queue is None:
            queue = self.queues[name] = Queue(epoch=f"{call.caller}.{call.number}")
        turn = self.turn(queue, call, 1, "arrival", watched=False)
        again = False
        if not isinstance(verb, b.NUMBERED):
            answer = turn.do(verb)
        else:
            lane = (type(verb).__name__, call.caller)
            number, tag, stored = queue.memory.get(lane, (0, "", None))
            if call.number < number or (call.number == number and call.tag != tag):
                answers.append(b.Refused("STALE" if call.number < number else "CALLER"))
                return
            again = call.number == number
            if self.full and not again and isinstance(verb, GROWS):
                answers.append(b.NoRoom("the store is full"))
                return
            answer = turn.replay(stored) if again else turn.do(verb)
            if not again:
                self.remember(queue, lane, call, answer)
        answers.append(answer)
        self._watcher.saw(name, queue.jobs, call, verb, answer, again=again)
        if queue.token:
            queue.token = False
            self.push(name)

    def remember(self, queue: Queue, lane: tuple[str, str], call: b.Call, answer: Any) -> None:
        queue.memory[lane] = (call.number, call.tag, answer)

    def resume(self) -> None:
        """No queue is paused any more, as after somebody's hand."""
        for name, queue in self.queues.items():
            queue.paused = None
            self.push(name)

    def close(self) -> None: ...

    # Wake-ups: a list of at most one token, and blocked reads of it.

    def push(self, queue: str) -> None:
        readers = self.readers.get(queue)
        if readers:
            readers.pop(0).take()
        else:
            self.tokens.add(queue)

    def block(self, queue: str, reader: Reader) -> None:
        if queue in self.tokens:
            self.tokens.discard(queue)
            reader.take()
        else:
            self.readers.setdefault(queue, []).append(reader)

    def unblock(self, queue: str, reader: Reader) -> None:
        readers = self.readers.get(queue, [])
        if reader in readers:
            readers.remove(reader)
