"""One life: workers, producers and an operator on one store, through what their plan holds. Then, in the mode liveness,
fine weather, in which all must be done in time and promptly.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from functools import partial
from random import Random
from typing import Any, ClassVar, Final

from tests.simulation.crew import Hand, Process
from tests.simulation.jobs import QUEUES, theatre, work
from tests.simulation.judge import Judge
from tests.simulation.kernel import Actor, Broken, Kernel
from tests.simulation.network import FINE, TIMEOUT_MOST_S, Network
from tests.simulation.outside import LONGEST_DELAY_S, Outside
from tests.simulation.plan import Plan, drawn
from tests.simulation.server import Server
from tests.simulation.story import Story

from surefoot.client.session import Sessions
from surefoot.client.store import Store
from surefoot.core.errors import (
    Cancel,
    Reject,
    RetryLater,
    Signal,
    Snooze,
)
from surefoot.execution.context import JobContext

log: Final = logging.getLogger("surefoot")

_PATIENCE_S: Final = 3.0
_PROMPT_S: Final = 0.6
_MILD_S: Final = 0.05
_A_BREATH_S: Final = 0.3
_FILLER: Final = -1
"""The number of jobs that take long in fine weather too, so that workers are full."""


class Life:
    """A plan carried out. Its parts may be replaced by broken ones, to see that it is noticed."""

    process: ClassVar[type[Process]] = Process
    server: ClassVar[type[Server]] = Server
    network: ClassVar[type[Network]] = Network

    def __init__(self, plan: Plan, *, told: bool = False) -> None:
        self.plan = plan
        self.kernel = Kernel(plan.seed)
        self.kernel.stalls = plan.stalls
        self.story = Story(self.kernel, told=told)
        self.judge = Judge(self.kernel, self.story, self._alive)
        self.store = self.server(self.kernel, self.judge)
        self.net = self.network(self.kernel, self.store, self.story, Random(f"{plan.seed} network"), plan.weather)
        self.net.timeout_s = min(TIMEOUT_MOST_S, plan.lease_s / 5)
        self.judge.told = self.net.told
        self.judge.may_stop = self._may_stop
        self.judge.may_be_late = self._may_be_late
        self.draw = Random(f"{plan.seed} life")
        self.outside = Outside(self.judge, self.draw, plan.lease_s)
        self.processes: list[Process] = []
        self.mild = False
        self._born = 0

    # --- the whole ---

    def play(self) -> None:
        """From the first worker to the end. Raises Broken."""
        with self.kernel.rules(), self._on_stage():
            try:
                self._play()
            except Broken as found:
                words = str(found.args[0])
                self.story.tell("***", lambda: words)
                raise

    def _play(self) -> None:
        kernel, plan = self.kernel, self.plan
        begin = kernel.now
        for hand in plan.hands:
            kernel.after(self.draw.random() * 0.5, partial(self.hire, hand))
        producer, operator = Actor(kernel, "producer"), Actor(kernel, "operator")
        for when, what, n in plan.puts:
            kernel.at(begin + when, partial(producer.begin, self.outside.puts, what, n))
        for when, what in plan.steers:
            kernel.at(begin + when, partial(operator.begin, self.outside.steers, what))
        for when, what in plan.accidents:
            kernel.at(begin + when, partial(self._accident, what))
        kernel.run(begin + plan.span_s)
        if plan.mode == "liveness":
            self._heal()
            self._all_done()
            self._prompt(producer)
            self._recovers(producer)
        else:
            kernel.run(kernel.now + 2 * plan.lease_s)
            self.judge.undone()

    @contextlib.contextmanager
    def _on_stage(self) -> Iterator[None]:
        sessions = Sessions(self.net, _PATIENCE_S)
        before = [queue.lend(Store(sessions, "sim")) for queue in QUEUES]
        theatre.stage, level = self, log.level
        log.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            self.store.close()
            log.setLevel(level)
            theatre.stage = None
            for queue, store in zip(QUEUES, before, strict=True):
                queue.lend(store)

    # --- workers ---

    def hire(self, hand: Hand) -> Process:
        self._born += 1
        process = self.process(
            self.kernel, self.net, self.story, f"worker{self._born}", hand, self._leaves, self.judge.deals
        )
        self.processes.append(process)
        self.story.tell(process.name, lambda: f"begins: {hand}")
        return process

    def _leaves(self, process: Process) -> None:
        """A worker that has drained holds nothing: nobody waits for the end of a lease because of it."""
        left = self.judge.left_behind(process.caller or "")
        if left and not process.abandoned:
            self.judge.broken(f"{process.name} has left, and still holds leases", *left)

    def _of(self, caller: str) -> Process | None:
        return next((one for one in self.processes if one.caller == caller), None)

    def _alive(self, caller: str) -> str | None:
        """Why the leases of this caller should not have ended; None if they may have."""
        process = self._of(caller)
        if not self.plan.calm or process is None or not process.running:
            return None
        return f"is alive and could renew ({process.name})"

    def _may_stop(self, caller: str) -> bool:
        process = self._of(caller)
        return process is None or process.stopped

    def _may_be_late(self, token: str, since: float) -> bool:
        """Whether the loop of this token's worker stood still since then: it begins what it had been given before."""
        process = self._of(token.partition(".")[0])
        return process is None or process.actor.held_until >= since

    def _kill(self, process: Process) -> None:
        if process.running:
            self.story.tell(process.name, lambda: "is killed")
            process.kill(connections=self.draw.random() < 0.7)
            self.judge.stops_running(process.name)
            if self.draw.random() < 0.5:
                self.kernel.after(self.draw.random() * 3, partial(self.hire, process.hand))

    # --- handlers ---

    async def act(self, job: JobContext, n: int) -> int:
        process = self._of(job.worker)
        assert process is not None
        ran = self.judge.starts(job.id, job.token, job.attempt, process.name)
        how = "raised"
        try:
            value = await self._perform(process, job, n)
            how = "returned"
            return value
        except asyncio.CancelledError:
            how = "cancelled"
            raise
        except Signal as signal:
            how = {Snooze: "snoozed", RetryLater: "later", Reject: "rejected", Cancel: "gave up"}[type(signal)]
            raise
        finally:
            if not self.kernel.closing:
                self.judge.ends(ran, how)

    async def _perform(self, process: Process, job: JobContext, n: int) -> int:
        what, seconds = self.plan.act(n, job.attempt)
        if self.mild:
            what, seconds = "return", 1.5 if n == _FILLER else _MILD_S
        await self._take_time(process, job, n, what, seconds)
        match what:
            case "raise":
                raise ValueError("as planned")
            case "snooze":
                raise Snooze(seconds)
            case "later":
                raise RetryLater(seconds, "as planned")
            case "reject":
                raise Reject("as planned")
            case "give_up":
                raise Cancel("as planned")
        return n

    async def _take_time(self, process: Process, job: JobContext, n: int, what: str, seconds: float) -> None:
        match what:
            case "block":
                process.actor.hold(seconds)
                await asyncio.sleep(0)
            case "deaf":
                until = self.kernel.now + seconds
                while self.kernel.now < until and not self.mild:
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.sleep(min(0.5, until - self.kernel.now))
            case "crash":
                self._kill(process)
                await asyncio.sleep(3600)
            case "child":
                await self.outside.stores([work.draft(n + 10_000)], one=True)
            case "progress":
                job.progress(1, 2)
                await asyncio.sleep(seconds)
            case _:
                await asyncio.sleep(seconds)

    # --- accidents ---

    def _accident(self, what: str) -> None:
        draw, lease_s = self.draw, self.plan.lease_s
        seconds = draw.uniform(0.2, 3) * lease_s
        running = [one for one in self.processes if one.running]
        self.story.tell("***", lambda: f"{what} {seconds:.2f} s")
        if what == "down":
            self.net.go_down()
            self.kernel.after(seconds, self._up)
        elif what == "full":
            self.store.full = True
            self.kernel.after(seconds, self._has_room)
        elif what == "clock":
            back = 3.0 if self.plan.mode == "liveness" else 600.0  # what waits then is late by so much
            self.store.clock_off += draw.choice((0.5, 3.0, 60.0, 600.0, -0.5, -3.0, -back))
        elif what == "fresh" or not running:
            self.hire(draw.choice(self.plan.hands))
        elif what == "wall":
            draw.choice(running).actor.wall_off += draw.uniform(-3600, 3600)
        else:
            self._strike(what, draw.choice(running), seconds)

    def _strike(self, what: str, process: Process, seconds: float) -> None:
        if what == "kill":
            self._kill(process)
        elif what == "apart":
            process.cut_off(seconds)
        elif what in ("freeze", "suspend"):
            process.freeze(seconds, suspend=what == "suspend")
        else:
            process.stop()
            if what == "drain_twice":
                self.kernel.after(self.draw.random(), process.stop)

    def _has_room(self) -> None:
        self.store.full = False

    def _up(self) -> None:
        self.net.down = False
        self.story.tell("***", lambda: "the store is back")

    # --- fine weather ---

    def _heal(self) -> None:
        """Faults end: everything that was away is back, and beside whoever is left there is one healthy worker."""
        self.story.tell("***", lambda: "faults end")
        self.net.down, self.net.weather = False, FINE
        self.store.full = False
        self.net.apart.clear()
        self.kernel.stalls = 0.0
        self.mild = True
        self.store.resume()
        self.hire(Hand(concurrency=2, lease_s=self.plan.lease_s, crons=self.plan.hands[0].crons))

    def bound(self) -> float:
        """Until when all must be done: who held the loop or a lease lets go, what waits gets its turn."""
        lease_s = self.plan.lease_s
        held = self._let_go() - self.kernel.now
        floor_s = lease_s * 1.2
        waiting = LONGEST_DELAY_S + 2.5 * lease_s
        return held + waiting + 3 * lease_s + 2 * floor_s + 13 + len(self.judge.open())

    def _let_go(self) -> float:
        """When the last loop that somebody froze or blocked goes on."""
        return max(self.kernel.now, *[one.actor.held_until for one in self.processes if one.running])

    def _all_done(self) -> None:
        kernel, judge = self.kernel, self.judge
        until = kernel.now + self.bound()
        kernel.run(until, lambda: kernel.steps % 16 == 0 and not judge.undone() and not self.outside.waits)
        undone = judge.undone()
        if undone:
            judge.broken(f"not done {until - kernel.now:.1f} s after the faults ended: {undone}", *undone)
        if self.outside.waits:
            judge.broken(f"{self.outside.waits} who wait for a result were not told")

    def _prompt(self, producer: Actor) -> None:
        """Whoever is idle hears of a job at once, without any fault: nobody waits for the floor."""
        kernel, lease_s = self.kernel, self.plan.lease_s
        kernel.run(self._let_go() + 2 * lease_s + 1)
        for n in (0, 0, 0, 0, _FILLER, _FILLER, _FILLER):
            when = self.draw.random() * 3 * lease_s
            delay = self.draw.choice((0.0, 1.0, 0.5 * lease_s)) if n == 0 else 0.0
            kernel.after(when, partial(producer.begin, self._probes, n, delay))
        kernel.run(kernel.now + 4 * lease_s + 3)

    def _recovers(self, producer: Actor) -> None:
        """A killed worker's job runs again a lease and its slack later, beside a worker that is idle."""
        kernel, judge, lease_s = self.kernel, self.judge, self.plan.lease_s
        if sum(one.idle for one in self.processes) < 2:
            self.hire(Hand(lease_s=lease_s, crons=False))
        kernel.run(kernel.now + 2.5 * lease_s)
        draft = work.draft(_FILLER)
        producer.begin(partial(self.outside.stores, one=True), [draft])
        kernel.run(kernel.now + 1, lambda: draft.id in judge.started)
        kernel.run(kernel.now + self.draw.random())
        running = judge.going.get(draft.id)
        victim = next((one for one in self.processes if running and one.name == running[0].worker), None)
        if victim is None or not any(one.idle for one in self.processes if one is not victim):
            return
        self._kill(victim)
        bound = lease_s + min(lease_s / 5, 2.0) + _A_BREATH_S
        kernel.run(kernel.now + bound, lambda: bool(judge.going[draft.id]))
        if not judge.going[draft.id]:
            judge.broken(f"{bound:.1f} s after its worker was killed it does not run, and a worker is idle", draft.id)

    async def _probes(self, n: int, delay: float) -> None:
        draft = work.options(delay=delay or None).draft(n)
        due = self.kernel.now + delay
        idle = list[Process]()

        def look() -> None:
            if draft.id not in self.judge.started:
                idle.extend(one for one in self.processes if one.idle)

        def judge() -> None:
            still = [one for one in idle if one.idle]
            if draft.id not in self.judge.started and still:
                self.judge.broken(f"waits beside an idle worker ({still[0].name}), without any fault", draft.id)

        self.kernel.at(due + 0.8 * _PROMPT_S, look)
        self.kernel.at(due + _PROMPT_S, judge)
        await self.outside.stores([draft], one=True)


def play(seed: int, mode: Any, *, told: bool = False, life: type[Life] = Life) -> tuple[Life, Broken | None]:
    """Play one life; what broke in it, if anything."""
    played = life(drawn(seed, mode), told=told)
    try:
        played.play()
    except Broken as broken:
        return played, broken
    return played, None
