"""Virtual time and its actors: each a loop that never blocks, run one round at a time in an order that a seed draws.

Nothing here knows jobs or stores. Processes are killed by not being run again, frozen by not being run for a while.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from asyncio import events
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context
from typing import Any, Final, TypeVarTuple

from surefoot import chance, clock

_Ts = TypeVarTuple("_Ts")

EPOCH_MS: Final = 1_760_000_000_000
"""The wall clock of an actor whose clock is right, at virtual second 0."""
_STEP_S: Final = 1e-6
"""How long a round takes: without it, who is a breath too early would be so for ever."""
_STEPS_MOST: Final = 60_000
"""More rounds than this in one life is a loop that spins."""


class Broken(AssertionError):
    """A promise does not hold."""


class _Nobody:
    """A selector without sockets: it has never anything to tell, and never blocks."""

    def select(self, timeout: float | None) -> list[Any]:
        return []


class Loop(asyncio.BaseEventLoop):
    """The loop of one actor, on the kernel's time."""

    def __init__(self, actor: Actor) -> None:
        super().__init__()
        self._actor = actor
        self._selector = _Nobody()
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._actor.seconds()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self._actor.kernel.met(self._actor, context)

    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self._actor.stirred()
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        self._actor.stirred()
        return super().call_at(when, callback, *args, context=context)

    def round(self) -> None:
        """Run what is ready, once."""
        self._run_once()  # type: ignore[attr-defined]  # the standard loop's own round

    def next_at(self) -> float | None:
        """When there is something to run, on this loop's time; None: never, as far as it knows."""
        if self._ready:  # type: ignore[attr-defined]  # the standard loop's own queue
            return 0.0
        timers = self._scheduled  # type: ignore[attr-defined]  # the standard loop's own heap
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined, unused-ignore]  # as its own round counts
        return timers[0]._when if timers else None

    def _process_events(self, event_list: list[Any]) -> None: ...
    def _write_to_self(self) -> None: ...


class Actor:
    """One thread of a process that may be killed, frozen or put to sleep. `wall_off`: how wrong its clock is."""

    def __init__(self, kernel: Kernel, name: str) -> None:
        self.kernel = kernel
        self.name = name
        self.wall_off = 0.0
        self.dead = False
        self.held_until = 0.0
        self._asleep_since: float | None = None
        self._slept = 0.0
        self.at = math.inf
        """When it is to be run next, on the kernel's time; right unless it is among the kernel's stirred ones."""
        self._stirred = False
        self.loop = Loop(self)
        kernel.actors.append(self)

    def __repr__(self) -> str:
        return self.name

    def seconds(self) -> float:
        """Its monotonic clock, which stands still while its machine sleeps."""
        now = self.kernel.now
        if self._asleep_since is not None:
            now = self._asleep_since if now < self.held_until else now - (self.held_until - self._asleep_since)
        return now - self._slept

    def begin(self, live: Callable[..., Coroutine[Any, Any, Any]], *how: Any) -> None:
        self.loop.create_task(live(*how)).add_done_callback(self._over)

    def _over(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.kernel.met(self, {"message": "its life ended with an error", "exception": error})

    def stirred(self) -> None:
        """Something may have changed when it is to be run."""
        if not self._stirred:
            self._stirred = True
            self.kernel.stirred.append(self)

    def hold(self, seconds: float) -> None:
        """It is not run for so long; its clocks go on."""
        self.held_until = max(self.held_until, self.kernel.now + seconds)
        self.stirred()

    def sleep(self, seconds: float) -> None:
        """Its machine sleeps."""
        if self._asleep_since is None:
            self._asleep_since = self.kernel.now
        self.hold(seconds)

    def kill(self) -> None:
        self.dead = True
        self.stirred()

    def look(self) -> None:
        """Find out when it is to be run next."""
        self._stirred = False
        at = None if self.dead else self.loop.next_at()
        if at is None:
            self.at = math.inf
            return
        slept = self._slept
        if self._asleep_since is not None:
            slept += self.held_until - self._asleep_since
        self.at = max(at + slept, self.held_until)

    def step(self) -> None:
        if self._asleep_since is not None:
            self._slept += self.held_until - self._asleep_since
            self._asleep_since = None
        kernel = self.kernel
        kernel.running = self
        try:
            self.loop.round()
        finally:
            kernel.running = None
            self.stirred()

    def bury(self) -> None:
        """Take apart what is left of it, so that nothing is told of it later."""
        events._set_running_loop(self.loop)
        try:
            for task in asyncio.all_tasks(self.loop):
                task._log_destroy_pending = False  # type: ignore[attr-defined]  # it was killed, or the life is over
                coro: Any = task.get_coro()
                for _ in range(10):
                    try:
                        coro.close()
                        break
                    except BaseException:  # whatever it does at its end, nobody sees it any more
                        continue
        finally:
            events._set_running_loop(None)
            self.loop.close()


class Kernel:
    """The clock of one life, and what happens when. Everything that could go either way asks `draw`."""

    def __init__(self, seed: str) -> None:
        self.now = 1000.0
        self.actors: list[Actor] = []
        self.stirred: list[Actor] = []
        self.running: Actor | None = None
        self.closing = False
        self.stalls = 0.0
        self.steps = 0
        self.broken: Broken | None = None
        self.draw = random.Random(f"{seed} order")
        self.luck = random.Random(f"{seed} chance")
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._count = 0

    def at(self, when: float, call: Callable[[], object]) -> None:
        """Do this at that moment, on nobody's loop."""
        self._count += 1
        heapq.heappush(self._events, (when, self._count, call))

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        self.at(self.now + seconds, call)

    def met(self, actor: Actor, context: dict[str, Any]) -> None:
        """A loop met an error that nobody caught."""
        if not self.closing:
            error = context.get("exception")
            self.broken = self.broken or Broken(f"{actor}: {context.get('message')}: {error!r}")

    def run(self, until: float, over: Callable[[], bool] = lambda: False) -> None:
        """Go on until that moment, or until it is `over`."""
        try:
            while not over():
                ready = self._ready()
                if self.broken is not None:  # a handler may have met it, and then the engine took it for its own
                    raise self.broken
                if ready:
                    self._step(ready[0] if len(ready) == 1 else self.draw.choice(ready))
                elif not self._pass_time(until):
                    return
        finally:
            events._set_running_loop(None)

    def _ready(self) -> list[Actor]:
        if self.stirred:
            for actor in self.stirred:
                actor.look()
            self.stirred.clear()
        now = self.now
        return [actor for actor in self.actors if actor.at <= now]

    def _pass_time(self, until: float) -> bool:
        """Go to the next moment at which something happens; False if that is not before `until`."""
        soonest = min([actor.at for actor in self.actors], default=math.inf)
        if self._events and self._events[0][0] < soonest:
            soonest = self._events[0][0]
        if soonest >= until:
            self.now = max(self.now, until)
            return False
        self.now = max(self.now, soonest)
        while self._events and self._events[0][0] <= self.now:
            heapq.heappop(self._events)[2]()
        return True

    def _step(self, actor: Actor) -> None:
        events._set_running_loop(actor.loop)
        actor.step()
        self.steps += 1
        self.now += _STEP_S
        if self.steps > _STEPS_MOST:
            raise Broken(f"{self.steps} rounds, and the life is not over: {actor} spins")
        if self.stalls and self.draw.random() < self.stalls:
            actor.hold(self.draw.random() * 0.1)

    def close(self) -> None:
        self.closing = True
        for actor in self.actors:
            actor.bury()

    # What production code sees of time and chance while this kernel rules.

    def monotonic(self) -> float:
        return self.now if self.running is None else self.running.seconds()

    def with_suspend(self) -> float:
        return self.now

    def wall_ns(self) -> int:
        off = 0.0 if self.running is None else self.running.wall_off
        return EPOCH_MS * 1_000_000 + int((self.now + off) * 1e9)

    def wall_ms(self) -> int:
        return self.wall_ns() // 1_000_000

    @contextmanager
    def rules(self) -> Iterator[None]:
        """All clocks and all chance of this process are the kernel's."""

        def no_blocking(seconds: float) -> None:
            raise Broken("a loop was blocked by sleep_blocking")

        mine = [
            (clock, "monotonic", self.monotonic),
            (clock, "with_suspend", self.with_suspend),
            (clock, "wall_ms", self.wall_ms),
            (clock, "wall_ns", self.wall_ns),
            (clock, "sleep_blocking", no_blocking),
            (chance, "share", self.luck.random),
            (chance, "between", self.luck.uniform),
            (chance, "token", self.luck.randbytes),
        ]
        before = [(module, name, getattr(module, name)) for module, name, _ in mine]
        for module, name, function in mine:
            setattr(module, name, function)
        try:
            yield
        finally:
            self.close()
            for module, name, function in before:
                setattr(module, name, function)
