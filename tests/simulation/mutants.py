"""Stores, networks and workers with one mistake each, to see that a life notices it. Nothing else ever uses them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from msgspec.structs import replace
from tests.conformance.model_state import Job
from tests.simulation.crew import Process, Shift
from tests.simulation.kernel import Actor
from tests.simulation.life import Life
from tests.simulation.network import Network
from tests.simulation.server import Queue, Server, Turn

from surefoot.brokers import answers as a
from surefoot.brokers import broker as b
from surefoot.engine.trust import Trust
from surefoot.engine.turn import Turn as EngineTurn

_A_BREATH_S: Final = 0.02


class NoTokenCheck(Turn):
    """A settle applies to whatever lease the job has."""

    def held(self, id: str, token: str) -> Job | None:
        job = self.queue.jobs.get(id)
        return job if job is not None and job.token is not None else None


class TwoSteps(Server):
    """What is due leaves `scheduled` with the claim, and enters `pending` a breath later."""

    def run(self, call: b.Call, answers: list[Any]) -> None:
        for verb in call.verbs:
            queue = self.queues.get(verb.queue)
            if isinstance(verb, b.Claim) and queue is not None:
                for job in [one for one in queue.jobs.values() if (one.due_ms or 1e15) <= self.now_ms()]:
                    del queue.jobs[job.id]
                    self.kernel.after(_A_BREATH_S, partial(self._comes, queue, job))
        super().run(call, answers)

    def _comes(self, queue: Queue, job: Job) -> None:
        job.go("pending")
        job.rank = (job.new.priority, 10**6)
        queue.jobs[job.id] = job


class WakesFirst(Network):
    """The token is pushed, and only a breath later the job is there."""

    def _arrive(self, actor: Actor, call: b.Call, future: asyncio.Future[list[Any]] | None, what: str) -> None:
        if not any(isinstance(verb, b.Put) for verb in call.verbs):
            super()._arrive(actor, call, future, what)
            return
        for verb in call.verbs:
            self.server.push(verb.queue)
        self.kernel.after(_A_BREATH_S, lambda: self._comes(actor, call, future, what))

    def _comes(self, actor: Actor, call: b.Call, future: asyncio.Future[list[Any]] | None, what: str) -> None:
        push = self.server.push
        self.server.push = lambda queue: None  # type: ignore[method-assign]  # it has been pushed
        try:
            super()._arrive(actor, call, future, what)
        finally:
            self.server.push = push  # type: ignore[method-assign]  # as it was


class ForgetsEmpty(Server):
    """The answer of a claim that found nothing is not remembered."""

    def remember(self, queue: Queue, lane: tuple[str, str], call: b.Call, answer: Any) -> None:
        if not isinstance(answer, a.Claimed) or answer.jobs:
            super().remember(queue, lane, call, answer)


class ForgetsPuts(Server):
    """A put is known again only by the ids of its jobs, as long as they are there."""

    def remember(self, queue: Queue, lane: tuple[str, str], call: b.Call, answer: Any) -> None:
        if lane[0] != "Put":
            super().remember(queue, lane, call, answer)


class NoPassingOn(Turn):
    """A claim that fills its worker wakes nobody for the next timer."""

    def watch_or_sleep(self, verb: b.Claim, *, full: bool) -> int:
        token = self.queue.token
        wait_ms = super().watch_or_sleep(verb, full=full)
        self.queue.token = token
        return wait_ms


class NoLeaseWait(Turn):
    """Whoever does not watch sleeps for the floor, whatever lease ends before."""

    def watch_or_sleep(self, verb: b.Claim, *, full: bool) -> int:
        wait_ms = super().watch_or_sleep(verb, full=full)
        watches = self.queue.watch is not None and self.queue.watch[0] == self.caller
        return wait_ms if full or watches else verb.floor_ms


class OldBelief(Turn):
    """A claim that waited out an outage recovers, as its worker believed when it was first said."""

    def claim(self, verb: b.Claim) -> a.Claimed:
        return super().claim(replace(verb, trust_ms=verb.trust_ms and max(verb.trust_ms, self.now)))


class PausesLate(Server):
    """A pause that arrives late undoes the resume that came after it."""

    def run(self, call: b.Call, answers: list[Any]) -> None:
        for queue in self.queues.values():
            queue.memory.pop(("Configure", call.caller), None)
        super().run(call, answers)


class NeverLate(EngineTurn):
    """It does not notice how long its answer lay unread."""

    @property
    def _late(self) -> bool:
        return False

    @_late.setter
    def _late(self, late: bool) -> None: ...


class StartsLate(Shift):
    """It starts what it claimed, although the lease may have ended before it read the answer."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._turn.__class__ = NeverLate


class Credulous(Trust):
    """Trusts its clock after whatever happened."""

    def broken(self, now: float) -> None: ...
    def answered(self, asked: float, now: float) -> None: ...
    def regained_at(self) -> float:
        return 0.0


class NoTrust(Shift):
    """It recovers at once after an outage."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._turn.trust = Credulous(options["limits"].lease_ms, 0.0)


class ForgetsReply(Shift):
    """A drain that does not wait for the reply of the call that is on its way."""

    def stop(self) -> None:
        super().stop()
        if self._asking is not None:
            self._asking.cancel()


def _with(name: str, **parts: Any) -> type[Life]:
    return type(name, (Life,), parts)


def _store(turn: type[Turn]) -> type[Life]:
    return _with(turn.__name__, server=type(turn.__name__, (Server,), {"turn": turn}))


def _worker(shift: type[Shift]) -> type[Life]:
    return _with(shift.__name__, process=type(shift.__name__, (Process,), {"serving": shift}))


MUTANTS: Final[dict[str, Callable[[], type[Life]]]] = {
    "settle without the token check": lambda: _store(NoTokenCheck),
    "promote in two steps": lambda: _with("TwoSteps", server=TwoSteps),
    "wake before the push": lambda: _with("WakesFirst", network=WakesFirst),
    "an empty answer is not remembered": lambda: _with("ForgetsEmpty", server=ForgetsEmpty),
    "a put is not remembered": lambda: _with("ForgetsPuts", server=ForgetsPuts),
    "no handover of the timer": lambda: _store(NoPassingOn),
    "nobody looks when the first lease ends": lambda: _store(NoLeaseWait),
    "recovery without trust": lambda: _worker(NoTrust),
    "an old claim recovers": lambda: _store(OldBelief),
    "a late pause undoes a resume": lambda: _with("PausesLate", server=PausesLate),
    "what was read too late is started": lambda: _worker(StartsLate),
    "a drain that forgets the reply in flight": lambda: _worker(ForgetsReply),
}
