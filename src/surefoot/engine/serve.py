"""The worker's loop: turn, start, rest, leave. The shell around the step functions; it hosts the runs of one worker."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from surefoot import chance, clock
from surefoot.brokers.broker import Broker, Verb
from surefoot.client.session import Session
from surefoot.core.errors import StoreError
from surefoot.core.lifecycle import Run
from surefoot.core.outcome import Interrupted, Outcome
from surefoot.engine.crons import Crons
from surefoot.engine.deadlines import Deadlines
from surefoot.engine.drain import Drain
from surefoot.engine.fitness import Fitness
from surefoot.engine.keeper import News
from surefoot.engine.report import Report
from surefoot.engine.rescue import EXIT_STUCK
from surefoot.engine.served import Served
from surefoot.engine.trust import Trust
from surefoot.engine.turn import Deal, Limits, Turn
from surefoot.engine.unsettled import Unsettled
from surefoot.engine.waiter import Waiter
from surefoot.engine.wear import Wear
from surefoot.execution.context import Running
from surefoot.execution.loop import Lane, LoopLane
from surefoot.execution.middleware import Middleware
from surefoot.execution.processes import Plan, ProcessLane
from surefoot.execution.threads import ThreadLane

log: Final = logging.getLogger("surefoot.worker")

PATIENCE_S: Final = 600.0
"""How long one turn waits for a store that is away; the same call all the time, so that nothing is done twice."""
_LOOK_AGAIN_S: Final = 1.0
_STRAGGLERS_S: Final = 3.0
_FAREWELL_S: Final = 2.0


class Serving:
    """One life of a worker on one event loop, from the first claim to the last settle. The host of its runs."""

    def __init__(
        self,
        broker: Broker,
        session: Session,
        served: Sequence[Served],
        unsettled: Unsettled,
        *,
        fitness: Fitness,
        limits: Limits,
        deal: Deal,
        drain: Drain,
        report: Report,
        threads: int,
        middleware: Sequence[Middleware],
        state: object,
        processes: Plan | None = None,
        wear: Wear | None = None,
    ) -> None:
        self.state = state
        self.exit_code: int = 0
        self._loop = asyncio.get_running_loop()
        self._session = session
        self._fitness = fitness
        self._unsettled = unsettled
        self._drain = drain
        self._wear = wear
        self._report = report
        self._bell = asyncio.Event()
        self._waiter = Waiter(broker, self._bell.set, self.lost_contact)
        self._threads_limit = threads
        self._middleware = middleware
        self.coroutines: LoopLane = LoopLane(self._loop, self._ended, self._began, middleware)
        self.threads: ThreadLane = ThreadLane(self._loop, self._ended, self._began, threads, self._gave_up)
        self.processes: ProcessLane | None = (
            None if processes is None else ProcessLane(self._loop, self, self._ended, self._began, processes)
        )
        self._deadlines = Deadlines(self._loop, self._out_of_time)
        self._asking: asyncio.Task[list[Any]] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._turn = Turn(
            served, unsettled, limits=limits, deal=deal, trust=Trust(limits.lease_ms, clock.monotonic()),
            waiter=self._waiter, crons=Crons({one.queue: one.crons for one in served}), drain=drain, report=report,
            start=self.start,
        )  # fmt: skip

    # --- what a run sees ---

    @property
    def worker(self) -> str:
        """The id of this worker: the caller of its turns. A caller that the store refuses is made anew."""
        return self._session.caller

    @property
    def stopping(self) -> bool:
        """Whether this worker drains."""
        return self._drain.leaving

    def now_ms(self) -> int:
        """The store's time, as far as this worker knows it."""
        return self._turn.trust.estimate_ms(clock.monotonic())

    def ms_at(self, monotonic: float) -> int:
        """The store's time at a moment of this process's clock."""
        return self._turn.trust.estimate_ms(monotonic)

    def deadline_moved(self, running: Running) -> None:
        """A run gave itself another deadline; it may have said so from a thread."""
        self._loop.call_soon_threadsafe(self._watch, running)

    def _watch(self, running: Running) -> None:
        if running in self._unsettled.running:
            self._deadlines.watch(running)

    # --- the loop ---

    async def open(self) -> None:
        """Find out whether a child process can load the application, before anything is claimed."""
        if self.processes is not None:
            await self.processes.open()

    async def run(self, *, burst: bool = False) -> None:
        """Serve until a stop has been drained, or with `burst` until there is nothing to do."""
        try:
            await self._turns(burst)
        except BaseException:
            # Nobody renews from now on: what runs must end before its lease does, and its job runs elsewhere.
            for running in list(self._unsettled.running):
                self._lane(running).stop(running, "lost")
            raise
        finally:
            await self._waiter.close()
            self.threads.close()
            if self.processes is not None:
                await self.processes.close()
            self._deadlines.close()
            for timer in self._timers:
                timer.cancel()

    async def _turns(self, burst: bool) -> None:
        await self._meet_store()
        while True:
            self._bell.clear()
            now = clock.monotonic()
            verbs = self._turn.plan(now)
            if verbs:
                await self._exchange(verbs)
            elif self._over(burst):
                break
            elif not (burst and self._turn.looks_once_more()):
                await self._rest(now)
        await self._leave()

    def stop(self) -> None:
        """Begin the drain; a second call cuts it short. On the loop's thread."""
        self._drain.stop(clock.monotonic())
        self._go()

    def _go(self) -> None:
        """What a drain begins with, and the timers by which it ends."""
        if not self._timers:
            self._report.event(
                "worker_draining", seconds=self._drain.cut_in(clock.monotonic()), running=len(self._unsettled.running)
            )
            self.threads.drain()
            if self.processes is not None:
                self.processes.drain()
        for timer in self._timers:
            timer.cancel()
        cut_in = self._drain.cut_in(clock.monotonic())
        self._timers = [
            clock.call_later(self._loop, cut_in, self._cut),
            clock.call_later(self._loop, cut_in + _STRAGGLERS_S, self._give_up),
            clock.call_later(self._loop, cut_in + 2 * _STRAGGLERS_S, self._abandon_store),
        ]
        self._bell.set()

    def tell(self) -> None:
        """Log what runs. On the loop's thread."""
        self._report.in_hand(list(self._unsettled.running))

    def news(self, news: Sequence[News]) -> None:
        """What the keeper learned of runs: a lost lease, a cancel request, progress. On the loop's thread."""
        for one in news:
            running, hold = one.running, one.hold
            if running not in self._unsettled.running:
                continue
            if not hold.held:
                self._lane(running).stop(running, "lost")
                continue
            if one.progress is not None:
                running.carried = one.progress
                self._report.progress(running, one.progress)
            if hold.cancel is not None and running.stop is None:
                running.cancel_reason = hold.cancel
                self._lane(running).stop(running, "cancel")

    def lost_contact(self) -> None:
        """A wait or a renewal failed: what this worker believes of the leases of others begins anew. On the loop's
        thread.
        """
        self._turn.trust.broken(clock.monotonic())

    def start(self, run: Run, served: Served) -> None:
        """Put an admitted job into its lane."""
        running = Running(run, served.queue, self)
        self._unsettled.begin(running)
        if run.spec.executor == "loop":
            self.coroutines.start(running)
            return
        lane = self._apart(running)
        if self._middleware:
            self.coroutines.spawn(running, lambda: lane.call(running))
        else:
            lane.start(running)

    async def _meet_store(self) -> None:
        """Nothing is claimed before the store was found fit; one that is away is waited for."""
        while not self._drain.leaving:
            self._bell.clear()
            if await self._fitness.look():
                return
            self.lost_contact()
            await self._sleep(chance.between(0.5, 1) * _LOOK_AGAIN_S)

    async def _exchange(self, verbs: Sequence[Verb[Any]]) -> None:
        """One round trip. Nothing cancels it but the end of all patience: a reply on its way holds jobs."""
        asked = clock.with_suspend()
        self._asking = self._loop.create_task(self._session.ask(verbs, deadline=PATIENCE_S, apart=True))
        try:
            answers = await self._asking
        except StoreError as away:
            log.warning("the store does not answer; running jobs go on, what finished is kept: %s", away)
            self._turn.unheard(verbs, clock.monotonic())
        except asyncio.CancelledError:
            if not self._asking.cancelled():
                raise
            self._turn.unheard(verbs, clock.monotonic())
        else:
            now = clock.monotonic()
            self._turn.heard(verbs, answers, now - (clock.with_suspend() - asked), now)

    async def _rest(self, now: float) -> None:
        """Wait for whatever comes first: a run that ends, a wake-up, a timer, a stop."""
        if self._turn.free() > 0 and not self._drain.leaving:
            for served in self._turn.served:
                self._waiter.listen(served.queue, self._turn.limits.floor_ms / 1000)
        seconds = self._turn.next_in(now)
        await self._sleep(seconds)
        self._turn.trust.rested(now + seconds, clock.monotonic())

    async def _sleep(self, seconds: float) -> None:
        timer = clock.call_later(self._loop, seconds, self._bell.set)
        try:
            await self._bell.wait()
        finally:
            timer.cancel()

    def _over(self, burst: bool) -> bool:
        if self._drain.leaving:
            return not self._unsettled
        return burst and self._turn.idle()

    async def _leave(self) -> None:
        await self._waiter.close()  # first: a wake-up that comes later belongs to somebody else (rule 7)
        try:
            await self._session.ask(self._turn.last_words(), deadline=_FAREWELL_S, apart=True)
        except StoreError as away:
            log.warning("the store does not answer a farewell: %s", away)

    # --- what happens meanwhile ---

    def _began(self, running: Running) -> None:
        self._deadlines.watch(running)
        self._report.started(running)

    def _ended(self, running: Running, outcome: Outcome) -> None:
        self._deadlines.forget(running)
        if running in self._unsettled.running:
            self._turn.ended(running, outcome, self.now_ms())
        if self._wear is not None and self._wears(running) and not self._drain.leaving and self._wear.worn():
            log.info("this worker has done its share; it drains")
            self._drain.begin(clock.monotonic())
            self._go()
        self._bell.set()

    def _wears(self, running: Running) -> bool:
        """Whether the run wears this process: in the process lane it wears its own."""
        return running.run.spec.executor != "process"

    def _out_of_time(self, running: Running) -> None:
        self._lane(running).stop(running, "timeout")

    def _gave_up(self, running: Running) -> None:
        """A thread was left to its job."""
        stuck = len(self.threads.stuck)
        if running.stop == "timeout":
            run = running.run
            self._report.event("thread_stuck", queue=running.queue, job=run.leased.id, task=run.spec.name, stuck=stuck)
        if stuck >= self._threads_limit and not self._drain.leaving:
            log.error(
                "%d threads are stuck, as many as there may be: the worker drains and leaves with %d; start it again",
                stuck, EXIT_STUCK,
            )  # fmt: skip
            self.exit_code = EXIT_STUCK
            self.stop()

    def _cut(self) -> None:
        """The drain's time is over: whatever still runs is stopped and handed back."""
        for running in list(self._unsettled.running):
            self._lane(running).stop(running, "drain")
        self._bell.set()

    def _give_up(self) -> None:
        """A coroutine that does not end although it was cancelled: its job is handed back, and nothing that it does
        counts.
        """
        for running in list(self._unsettled.running):
            log.error("job %s %s does not end; it is handed back", running.run.leased.id, running.run.spec.name)
            self._ended(running, Interrupted(started=bool(running.started)))

    def _abandon_store(self) -> None:
        """The store does not take the last settles: leave, and let the leases end by themselves."""
        if self._asking is not None and not self._asking.done():
            log.error("the store does not answer and the worker must go; the leases of its jobs end by themselves")
            self._asking.cancel()
        self._unsettled.forget_all()
        self._bell.set()

    def _lane(self, running: Running) -> Lane:
        if running.run.spec.executor == "loop" or self._middleware:
            return self.coroutines
        return self._apart(running)

    def _apart(self, running: Running) -> ThreadLane | ProcessLane:
        """The lane of a run that is not on the loop."""
        if running.run.spec.executor == "thread":
            return self.threads
        assert self.processes is not None
        return self.processes
