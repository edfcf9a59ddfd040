"""The sandbox: queues in a store in memory, and a clock that only the test moves. Decides nothing about a job."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Literal, Self, final

import msgspec

from surefoot import clock
from surefoot.client.queue import Queue
from surefoot.client.task import Task
from surefoot.core.errors import ConfigError, Seconds, UsageError, aware, duration
from surefoot.core.job import After, At, Draft, Job, Key, moment, moment_ms
from surefoot.core.outcome import Returned
from surefoot.engine.crons import Crons
from surefoot.testing.hands import UNKNOWN_MS, Hands, Notes, lines
from surefoot.testing.inline import RunNow
from surefoot.testing.records import Drained, Ran, value_after, word_of, word_unrun
from surefoot.testing.stand import Endless, from_handler, is_for_the_test
from surefoot.testing.twins import OwnLoop, twin
from surefoot.testing.wanted import Seen, Wanted, Where
from surefoot.testing.world import World

MAX_RUNS: Final = 10_000
"""How many runs one moment may take before a drain believes that it will never end."""


def sandbox(
    *queues: Queue, mode: Literal["hold", "inline"] = "hold", state: object = None, now: datetime | None = None
) -> "Sandbox":
    """Queues in a store of their own for the time of a `with` block; none named: every queue of the process.

    `mode`: "hold" stores and runs nothing until it is told; "inline" runs a job before its enqueue returns. `state` is
    what `current_job().state(...)` gives; `now` (aware) is where the clock stands, the present if not given.
    """
    for queue in queues:
        if not isinstance(queue, Queue):
            raise UsageError(f"sandbox takes queues, not {queue!r}: write sandbox(mail).")
    if mode not in ("hold", "inline"):
        raise ConfigError(f'sandbox(mode={mode!r}): give "hold" or "inline".')
    now_ms = clock.wall_ms() if now is None else moment_ms(aware(now, "sandbox(now=...)"))
    return Sandbox(tuple(dict.fromkeys(queues)), mode, state, now_ms)


@final
class Sandbox:
    """A store in memory, its clock, and one worker that runs what it is told to. Used by `with`, once."""

    def __init__(self, queues: tuple[Queue, ...], mode: Literal["hold", "inline"], state: object, now_ms: int) -> None:
        self.loop: Final = OwnLoop()
        self._state = state
        self._world = World(queues, now_ms, RunNow(state, self.loop) if mode == "inline" else None)
        self._crons: tuple[dict[str, Any], Crons] = ({}, Crons({}))
        self._open: bool | None = None
        self._at_work = ""

    # --- in and out ---

    def __enter__(self) -> Self:
        if self._open is not None:
            raise UsageError("a sandbox is used once: write `with sandbox() as box:` again.")
        self._open = True
        try:
            self._world.enter()
        except BaseException:
            self._world.leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open = False
        try:
            self._world.leave()
        finally:
            self.loop.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    @property
    def now(self) -> datetime:
        """Where the clock stands, in UTC."""
        return moment(self._world.now_ms)

    # --- work ---

    async def drain(
        self, until: Task[..., Any] | None = None, *, max_runs: int = MAX_RUNS, raise_errors: bool = False
    ) -> Drained:
        """Run all that is due now, and what that enqueues, one job after the other.

        `until`: stop before the first job of this task, which the next run takes. More than `max_runs` runs:
        AssertionError with the tasks that kept coming. `raise_errors`: raise the first exception of a handler.
        """
        __tracebackhide__ = True
        name = self._task_name(until, "drain(until=...)")
        with self._working("drain") as (hands, notes):
            await self._due(hands, notes, until=name, max_runs=max_runs, raise_errors=raise_errors)
            return notes.drained()

    async def advance(self, seconds: Seconds) -> Drained:
        """Move the clock, and run what comes due on the way in the order of time: first what is due now, then retries,
        delayed jobs, ticks, ended leases.
        """
        __tracebackhide__ = True
        world = self._world
        target_ms = world.now_ms + round(duration(seconds, "advance(seconds)", least=0) * 1000)
        with self._working("advance") as (hands, notes):
            unknown = self._unknown()
            while True:
                await self._due(hands, notes)
                if world.now_ms == target_ms:
                    return notes.drained()
                if notes.parked:
                    unknown, notes.parked = self._unknown(), False
                world.now_ms = min([target_ms, hands.next_ms(), *unknown])
                hands.moved(tidy=world.now_ms == target_ms or world.now_ms in unknown)
                notes.died_unknown(sum(at <= world.now_ms for at in unknown))
                unknown = [at for at in unknown if at > world.now_ms]

    async def run_next(self, lose_worker: bool = False) -> Ran[Any] | None:
        """Run one job that is due now; None if there is none.

        `lose_worker`: as if `kill -9` hit the worker at the end of the run: what the handler did is done, but its
        outcome is lost, and the job is taken over when its lease ends.
        """
        __tracebackhide__ = True
        with self._working("run_next") as (hands, notes):
            while await hands.turn():
                if hands.taken is not None:
                    return await self._one(hands, lose_worker)
                for queue, item in hands.finished():
                    word = word_unrun(item.transition)
                    if word is not None:
                        job = await self._left(hands, queue, item.transition.id)
                        return Ran(outcome=word, value=None, error=notes.invalid, job=job)
            return None

    drain_sync = twin(drain)
    advance_sync = twin(advance)
    run_next_sync = twin(run_next)

    # --- what is enqueued ---

    def jobs(self, task: Task[..., Any] | None = None) -> list[Job]:
        """The jobs that the store knows, of one task or all, in the order of their enqueue. Finished ones are known as
        long as their outcome is kept.
        """
        self._check_open("jobs")
        name = self._task_name(task, "jobs(...)")
        return [job for queue, job in self._world.jobs() if name is None or (queue, job.task) == name]

    def assert_enqueued(
        self,
        wanted: Task[..., Any] | Draft[Any],
        *,
        times: int | None = None,
        delay: Seconds | None = None,
        key: str | Key | None = None,
        where: Where | None = None,
    ) -> Job:
        """That a job waits or runs: of this task, or with the arguments, key and delay of this draft; gives the first.

        `times`: exactly so many; `delay`: seconds from its enqueue until it is due (of a job that ran already: from
        now); `where`: some of the arguments by name, or a function of the job. Finished jobs do not count.
        """
        __tracebackhide__ = True
        if times is not None and times < 1:
            raise UsageError(f"assert_enqueued(times={times!r}): give a whole number >= 1, or use assert_not_enqueued.")
        seen = self._seen("assert_enqueued", wanted, delay, key, where)
        if not seen.fit or (times is not None and len(seen.fit) != times):
            raise AssertionError(seen.too_few(times))
        return seen.fit[0]

    def assert_not_enqueued(
        self,
        wanted: Task[..., Any] | Draft[Any],
        *,
        delay: Seconds | None = None,
        key: str | Key | None = None,
        where: Where | None = None,
    ) -> None:
        """That no such job waits or runs; see `assert_enqueued`."""
        __tracebackhide__ = True
        seen = self._seen("assert_not_enqueued", wanted, delay, key, where)
        if seen.fit:
            raise AssertionError(seen.too_many())

    def _seen(
        self, door: str, asked: object, delay: Seconds | None, key: str | Key | None, where: Where | None
    ) -> Seen:
        self._check_open(door)
        wanted = self._wanted(door, asked, delay, key, where)
        finished = sum(self._world.finished.get((queue, wanted.task), 0) for queue in wanted.queues)
        return Seen(wanted, self._world.jobs(), self._world.now_ms, finished)

    def _wanted(
        self, door: str, asked: object, delay: Seconds | None, key: str | Key | None, where: Where | None
    ) -> Wanted:
        seconds = None if delay is None else duration(delay, f"{door}(delay)", least=0)
        value = key.value if isinstance(key, Key) else key
        if isinstance(asked, Task):
            name = self._task_name(asked, f"{door}(...)")
            assert name is not None
            queues, task, arguments = [name[0]], asked.name, None
            due, own_key = asked._options.due, asked._options.key  # a task may carry options too
        elif isinstance(asked, Draft):
            queues, task, arguments = self._world.named(asked.queue), asked.task, asked.arguments
            due, own_key = asked.due, asked.key
        else:
            raise UsageError(f"{door} takes a task or a draft, not {asked!r}: write {door}(welcome.draft(...)).")
        if seconds is None and isinstance(due, After):
            seconds = due.ms / 1000
        specs = [self._world.spec(queue, task) for queue in queues]
        return Wanted(
            queues=frozenset(queues), task=task, spec=next((spec for spec in specs if spec), None), arguments=arguments,
            delay=seconds, at_ms=due.ms if seconds is None and isinstance(due, At) else None,
            key=own_key.value if value is None and own_key is not None else value, where=where,
        )  # fmt: skip

    # --- the worker ---

    async def _due(
        self,
        hands: Hands,
        notes: Notes,
        *,
        until: tuple[str, str] | None = None,
        max_runs: int = MAX_RUNS,
        raise_errors: bool = False,
    ) -> None:
        """Run what is due at this moment."""
        __tracebackhide__ = True
        before = dict(notes.runs)
        while await hands.turn():
            taken = hands.taken
            if raise_errors and notes.invalid is not None:
                if taken is not None:
                    await hands.put_back()
                raise notes.invalid
            if taken is None:
                continue
            if until == (taken.queue, taken.run.spec.name):
                await hands.put_back()
                return
            if sum(notes.runs.values()) - sum(before.values()) >= max_runs:
                await hands.put_back()
                raise Endless(_endless(max_runs, before, notes.runs))
            ended = await hands.run()
            error = ended.error
            if error is not None and (is_for_the_test(error) or (raise_errors and ended.failed)):
                await hands.leave()
                raise from_handler(error)

    async def _one(self, hands: Hands, lose: bool) -> Ran[Any]:
        __tracebackhide__ = True
        ended = await hands.run(lose=lose)
        queue, run, error = ended.running.queue, ended.running.run, ended.error
        value: object = None
        if type(ended.outcome) is Returned:
            decided = hands.decided(run.leased.id)
            value, unkept = value_after(run.spec, queue.partition(":")[2], ended.outcome, decided)
            error = error or unkept
        job = await self._left(hands, queue, run.leased.id)
        if error is not None and is_for_the_test(error):
            raise from_handler(error)
        return Ran(outcome=word_of(ended.outcome), value=value, error=error, job=job)

    async def _left(self, hands: Hands, queue: str, id: str) -> Job:
        """The job after its settle; one that is forgotten then is told as it was last known, completed."""
        before = self._world.job(queue, id)
        await hands.leave()
        after = self._world.job(queue, id)
        if after is not None:
            return after
        assert before is not None
        return msgspec.structs.replace(before, state="completed", runs=before.runs + 1, finished_at=self.now)

    @contextmanager
    def _working(self, door: str) -> Iterator[tuple[Hands, Notes]]:
        self._check_open(door)
        if self._at_work:
            raise UsageError(
                f"box.{door}() came while box.{self._at_work}() is at work: in a handler enqueue, and let the test "
                "drain; in a test await one after the other."
            )
        served = self._world.served()
        if self._crons[0] != lines(served):
            self._crons = (lines(served), Crons(lines(served)))
        notes = Notes(self._world)
        hands = Hands(self._world, served, self._crons[1], notes, self._state)
        self._at_work = door
        self._world.patience.moved()
        try:
            yield hands, notes
        finally:
            self._at_work = ""
            self._world.patience.moved()
            hands.close()

    def _unknown(self) -> list[int]:
        """When the jobs die that are parked for a task that nobody knows: one moment a job."""
        moments: list[int] = []
        for queue in self._world.full_names():
            for record in self._world.records(queue, parked=True):
                if (record.reason or "").startswith("task:") and record.parked_ms is not None:
                    moments.append(record.parked_ms + UNKNOWN_MS + 1)
        return moments

    def _check_open(self, door: str) -> None:
        if not self._open:
            raise UsageError(f"box.{door}() works inside the `with sandbox() as box:` block.")

    def _task_name(self, task: object, door: str) -> tuple[str, str] | None:
        if task is None:
            return None
        if not isinstance(task, Task):
            raise UsageError(f"{door} takes a task, not {task!r}: give what @queue.task made.")
        queue = self._world.full_name(task.queue)
        if queue is None:
            raise UsageError(
                f"{task.name} is of queue '{task.queue.name}', which is not in this sandbox: name it there."
            )
        return queue, task.name


def _endless(max_runs: int, before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """Which tasks kept coming, the most frequent first."""
    came = {task: count - before.get(task, 0) for task, count in after.items()}
    most = sorted(((count, task) for task, count in came.items() if count), reverse=True)[:5]
    words = ", ".join(f"{task} {count:,} times" for count, task in most)
    return (
        f"after {max_runs:,} runs there is still something due; these ran: {words}. A job that always comes back at "
        "once never ends: give it a delay, or raise max_runs=."
    )
