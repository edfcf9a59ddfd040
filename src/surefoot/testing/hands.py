"""The worker of a sandbox: the engine's own turn, on the sandbox's clock, with one job at a time in its hands."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from surefoot.brokers.answers import Verdict
from surefoot.brokers.broker import Claim, Settle, Tick
from surefoot.client.session import Session
from surefoot.core.errors import InvalidArguments
from surefoot.core.lifecycle import Run
from surefoot.core.outcome import Interrupted, Lost, Raised, TimedOut
from surefoot.core.transition import Bury, Finish, Park, Transition
from surefoot.engine.crons import Crons
from surefoot.engine.drain import Drain
from surefoot.engine.report import Report
from surefoot.engine.served import Served
from surefoot.engine.shares import strict
from surefoot.engine.trust import Trust
from surefoot.engine.turn import Limits, Turn
from surefoot.engine.unsettled import Settled, Unsettled
from surefoot.execution.context import Running
from surefoot.testing.records import Drained, error_in
from surefoot.testing.stand import Ended, Stand
from surefoot.testing.world import World

LEASE_MS: Final = 10_000
UNKNOWN_MS: Final = 86_400_000
_NEVER_MS: Final = 10**13
_LIMITS: Final = Limits(concurrency=1, lease_ms=LEASE_MS, floor_ms=_NEVER_MS, unknown_ms=UNKNOWN_MS)


class Notes(Report):
    """Counts what a worker of the sandbox did, besides logging it as every worker does."""

    def __init__(self, world: World) -> None:
        super().__init__(None)
        self.now_ms: Callable[[], int] = lambda: world.now_ms
        self._world = world
        self._counts = dict.fromkeys(("completed", "dead", "cancelled", "expired"), 0)
        self.runs: dict[str, int] = {}
        self.raised: dict[str, BaseException] = {}
        self.parked: bool = False
        self.invalid: BaseException | None = None
        self.unheard: list[BaseException | None] = []

    def ran(self, task: str) -> None:
        """A handler was started."""
        self.runs[task] = self.runs.get(task, 0) + 1

    def died_unknown(self, count: int) -> None:
        """Jobs parked for too long for a task that nobody knows are dead; the store says so to nobody."""
        self._counts["dead"] += count

    def drained(self) -> Drained:
        """All of it."""
        return Drained(runs=sum(self.runs.values()), **self._counts)

    def settled_all(self, queue: str, batch: Sequence[Settled], verdicts: Sequence[Verdict]) -> None:
        for item, verdict in zip(batch, verdicts, strict=True):
            self._count(item, verdict)
            error = self.raised.pop(item.transition.id, None) or self._refused(queue, item)
            waiting = self._world.ends.get(item.transition.id)
            if waiting is None:
                self.unheard.append(error)
            elif not waiting.done():
                waiting.set_result(error)
        super().settled_all(queue, batch, verdicts)

    def _refused(self, queue: str, item: Settled) -> InvalidArguments | None:
        """The error of a job whose arguments do not fit: nobody raised it."""
        if item.running is not None or item.transition.to != Bury("invalid"):
            return None
        job = self._world.job(queue, item.transition.id)
        task = "?" if job is None else job.task
        error = InvalidArguments(error_in(item.transition).message or "its arguments do not fit", task=task)
        self.invalid = self.invalid or error
        return error

    def _count(self, item: Settled, verdict: Verdict) -> None:
        if item.running is not None and type(item.transition.to) in (Finish, Bury):
            what = (item.running.queue, item.running.run.spec.name)
            self._world.finished[what] = self._world.finished.get(what, 0) + 1
        if verdict == "cancelled":
            self._counts["cancelled"] += 1
        elif verdict == "applied":
            match item.transition.to:
                case Finish(state=state):
                    self._counts[state] += 1
                case Bury():
                    self._counts["dead"] += 1
                case Park():
                    self.parked = True
                case _:
                    pass


class Hands:
    """Takes jobs one by one, runs and settles them. `turn` until it says False: then nothing is due now."""

    def __init__(
        self, world: World, served: Sequence[Served], crons: Crons | None, notes: Notes, state: object
    ) -> None:
        self._world = world
        self._served = tuple(served)
        self._session = Session(world.broker)
        self._unsettled = Unsettled([one.queue for one in served])
        self._leaving = Drain(0)
        trust = Trust(LEASE_MS, self.now - LEASE_MS / 1000)  # it has been in contact for a lease
        trust.heard(world.now_ms, self.now, self.now)
        self._turn = Turn(
            self._served, self._unsettled, limits=_LIMITS, deal=strict, trust=trust, waiter=self,
            crons=crons or Crons({}), drain=self._leaving, report=notes, start=self._take,
        )  # fmt: skip
        self._stand = Stand(state, self._session.caller, lambda: world.now_ms)
        self._rung: set[str] = set()
        self._notes = notes
        self.taken: Running | None = None
        world.ears.add(self)

    @property
    def now(self) -> float:
        """The sandbox's clock, in seconds since it was made."""
        return (self._world.now_ms - self._world.began_ms) / 1000

    # --- what a turn asks of the waiter ---

    def rung(self, queue: str) -> bool:
        """Whether there may be something new in a queue."""
        return queue in self._rung

    def clear(self, queue: str) -> None:
        """A claim is about to be sent."""
        self._rung.discard(queue)

    def ring(self, queue: str) -> None:
        """Somebody wrote to a queue."""
        self._rung.add(queue)

    def cancel(self, queue: str, id: str, reason: str) -> None:
        """Somebody cancels a job: one that runs here is told at once, as a renewal of its lease would tell it."""
        for running in list(self._unsettled.running):
            if (running.queue, running.run.leased.id) == (queue, id) and running is not self.taken:
                self._stand.cancel(running, reason)

    # --- one step ---

    async def turn(self) -> bool:
        """One round trip, after which a job may be `taken`; False if there is nothing to say."""
        verbs = self._turn.plan(self.now)
        if not verbs:
            return False
        self._world.note(verbs)
        answers = await self._session.ask(verbs, apart=True)
        self._turn.heard(verbs, answers, self.now, self.now)
        claimed = {verb.queue for verb in verbs if type(verb) is Claim}
        for verb in verbs:  # what a settle or a tick brought in after the claim
            if type(verb) is Tick or (type(verb) is Settle and verb.queue not in claimed):
                self._rung.add(verb.queue)
        return True

    async def run(self, *, lose: bool = False) -> Ended:
        """Run the job that was taken. `lose`: its outcome reaches nobody, and its lease runs on."""
        running, self.taken = self._taken(), None
        self._notes.ran(running.run.spec.name)
        try:
            ended = await self._stand.run(running)
        except BaseException:
            self._turn.ended(running, Interrupted(started=True), self._world.now_ms)
            await self.leave()
            raise
        if lose:
            ended.outcome = Lost()
        elif type(ended.outcome) is Raised and ended.error is not None:
            self._notes.raised[running.run.leased.id] = ended.error
        elif type(ended.outcome) is TimedOut:
            words = f"{running.run.spec.name} did not finish within {ended.outcome.seconds:g} s"
            ended.error = self._notes.raised[running.run.leased.id] = TimeoutError(words)
        self._turn.ended(running, ended.outcome, self._world.now_ms)
        return ended

    async def put_back(self) -> None:
        """Give the job that was taken back to its place, uncharged, and leave."""
        running, self.taken = self._taken(), None
        self._turn.ended(running, Interrupted(started=False), self._world.now_ms)
        await self.leave()

    async def leave(self) -> None:
        """Settle what is in hand, and claim nothing any more."""
        self._leaving.stop(self.now)
        while await self.turn():
            pass

    def close(self) -> None:
        """The lanes end."""
        self._world.ears.discard(self)
        self._stand.close()

    def decided(self, id: str) -> Transition | None:
        """What was decided about a job and is not settled yet."""
        return next((item.transition for _, item in self.finished() if item.transition.id == id), None)

    def finished(self) -> Iterator[tuple[str, Settled]]:
        """What waits for its settle, with its queue."""
        for one in self._served:
            for item in self._unsettled.finished(one.queue):
                yield one.queue, item

    # --- time ---

    def next_ms(self) -> int:
        """When there is something to do by itself: a due time, the end of a lease, a tick."""
        return self._world.now_ms + max(1, round(self._turn.next_in(self.now) * 1000))

    def moved(self, *, tidy: bool) -> None:
        """The clock was moved. `tidy`: prune now, not at the worker's next minute."""
        for one in self._served:
            if one.timer_at <= self.now + 0.0005:  # as milliseconds they are equal
                self._rung.add(one.queue)
            one.chores = one.chores or tidy

    def _take(self, run: Run, served: Served) -> None:
        self.taken = Running(run, served.queue, self._stand)
        self._unsettled.begin(self.taken)

    def _taken(self) -> Running:
        assert self.taken is not None
        return self.taken


def lines(served: Sequence[Served]) -> dict[str, Any]:
    """The cron entries of these queues."""
    return {one.queue: one.crons for one in served}
