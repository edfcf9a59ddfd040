"""The processes of a life: a worker and its keeper, put together as in worker.py, but without threads and signals."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

import msgspec
from tests.simulation.jobs import QUEUES
from tests.simulation.kernel import Actor, Kernel
from tests.simulation.network import Network
from tests.simulation.story import Story

from surefoot import clock
from surefoot.client.presence import PresenceInfo
from surefoot.client.session import Session
from surefoot.core.errors import StoreError
from surefoot.core.events import Event
from surefoot.core.lifecycle import Run
from surefoot.engine.drain import Drain
from surefoot.engine.fitness import Fitness
from surefoot.engine.keeper import Keeper, News
from surefoot.engine.options import limits_of
from surefoot.engine.report import Report
from surefoot.engine.serve import Serving
from surefoot.engine.served import Served
from surefoot.engine.shares import Fair, strict
from surefoot.engine.unsettled import Unsettled

_LOOK_S = 1.0
_GOODBYE_S = 2.0


class Hand(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told: the numbers of a Worker, and the tasks that its release does not have yet."""

    concurrency: int = 2
    lease_s: float = 2.0
    drain_s: float = 1.0
    fair: bool = True
    queues: Sequence[int] = (0, 1)
    unknown: frozenset[str] = frozenset()
    crons: bool = True


class Shift(Serving):
    """The serving loop, which says whether it gave its store up."""

    abandoned = False
    dealt: Callable[[Run], object]

    @property
    def has_room(self) -> bool:
        return self._turn.free() > 0

    def start(self, run: Run, served: Served) -> None:
        self.dealt(run)
        super().start(run, served)

    def _abandon_store(self) -> None:
        self.abandoned = True
        super()._abandon_store()


class Process:
    """One worker process: the loop of its turns and handlers, and its keeper, which a busy loop does not stop."""

    serving: ClassVar[type[Shift]] = Shift

    def __init__(
        self,
        kernel: Kernel,
        network: Network,
        story: Story,
        name: str,
        hand: Hand,
        leaves: Callable[[Process], object],
        dealt: Callable[[Run], object],
    ) -> None:
        self.name = name
        self.hand = hand
        self.actor = Actor(kernel, name)
        self.keeper = Actor(kernel, f"{name}.keeper")
        self.stopped = False
        self.left = False
        self.troubled_until = 0.0  # until when it may have been unable to renew
        self._network = network
        self._leaves = leaves
        self._dealt = dealt
        self._story = story
        self._serving: Shift | None = None
        self._session: Session | None = None
        self._going = True
        self.dead = False
        self.actor.begin(self._serve)

    @property
    def caller(self) -> str | None:
        return None if self._session is None else self._session.caller

    @property
    def abandoned(self) -> bool:
        """Whether it went although the store did not take its last settles."""
        return self._serving is not None and self._serving.abandoned

    @property
    def running(self) -> bool:
        return not (self.dead or self.left)

    @property
    def idle(self) -> bool:
        """Whether it could run one more job of the first queue."""
        serving = self._serving
        return self.running and not self.stopped and serving is not None and serving.has_room and 0 in self.hand.queues

    def kill(self, *, connections: bool) -> None:
        """As with kill -9. Its `connections` are closed by the system, unless its whole machine is gone."""
        self.dead = True
        for actor in (self.actor, self.keeper):
            actor.kill()
            if connections:
                self._network.leave(actor)

    def freeze(self, seconds: float, *, suspend: bool) -> None:
        for actor in (self.actor, self.keeper):
            (actor.sleep if suspend else actor.hold)(seconds)
        self.troubled_until = max(self.troubled_until, self.actor.held_until)

    def cut_off(self, seconds: float) -> None:
        """Nothing of it reaches the store, nothing reaches it."""
        kernel, apart = self.actor.kernel, self._network.apart
        for actor in (self.actor, self.keeper):
            apart.add(actor)
            kernel.after(seconds, partial(apart.discard, actor))
        self.troubled_until = max(self.troubled_until, kernel.now + seconds)

    def stop(self) -> None:
        """SIGTERM."""
        self.stopped = True
        if self._serving is not None and self.running:
            self.actor.loop.call_soon(self._serving.stop)

    async def _serve(self) -> None:
        hand, broker = self.hand, self._network
        lease_ms = round(hand.lease_s * 1000)
        served = [_served(place, hand) for place in hand.queues]
        unsettled = Unsettled([one.queue for one in served])
        session = self._session = Session(broker)
        report = Report(self._hear if self._story.told else None)
        serving = self._serving = self.serving(
            broker, session, served, unsettled, fitness=Fitness(broker, allow_eviction=False),
            limits=limits_of(hand.concurrency, hand.lease_s, 86_400, None, None),
            deal=Fair([1] * len(served)) if hand.fair else strict,
            drain=Drain(hand.drain_s), report=report, threads=1, middleware=(), state=None,
        )  # fmt: skip
        serving.dealt = self._dealt
        report.worker = serving.worker
        keeper = Keeper(
            unsettled, [one.queue for one in served], lease_ms,
            lambda queue, left: PresenceInfo(name=self.name, left=left).encode(), lambda: serving.worker,
        )  # fmt: skip
        self.keeper.begin(self._keep, keeper, serving)
        if self.stopped:
            serving.stop()
        await serving.run()
        self.left = True
        self._going = False
        self._story.tell(self.name, lambda: "has left")
        self._leaves(self)

    async def _keep(self, keeper: Keeper, serving: Serving) -> None:
        """What the keeper's thread does, on a loop of its own."""
        session = Session(self._network)
        lease_s = self.hand.lease_s
        call = self.actor.loop.call_soon
        while self._going:
            await clock.sleep(min(lease_s / 4, _LOOK_S, keeper.next_in(clock.monotonic())) or 0.001)
            news: list[News] = []
            for verbs in keeper.calls(clock.monotonic()):
                try:
                    answers = await session.ask(verbs, deadline=lease_s / 4, apart=True)
                except StoreError:
                    call(serving.lost_contact)
                    break
                news += keeper.heard(verbs, answers)
            if news:
                call(serving.news, news)
        with contextlib.suppress(StoreError):
            await session.ask(keeper.farewell(), deadline=_GOODBYE_S / 2, apart=True)

    def _hear(self, event: Event) -> None:
        self._story.tell(self.name, lambda: f"event {event.kind} {(event.job_id or '')[-6:]} {dict(event.details)}")


def _served(place: int, hand: Hand) -> Served:
    queue = QUEUES[place]
    specs = {name: spec for name, spec in queue.specs.items() if name not in hand.unknown}
    crons = [entry for entry in queue.registry.crons if hand.crons]
    return Served(queue.full_name, specs, crons, 1)
