"""The thread lane by itself: in which order the loop hears of a run, and what becomes of pieces that are taken back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.engine.stage import PATIENCE_S
from tests.engine.test_steps import Host, leased

from surefoot.core.codec import decode_envelope
from surefoot.core.lifecycle import Run
from surefoot.core.outcome import Interrupted, Lost, Outcome, Returned, TimedOut
from surefoot.core.signature import Signature
from surefoot.core.spec import Spec
from surefoot.execution.context import Running
from surefoot.execution.threads import ThreadLane


class Bench:
    """A lane, and what it told the loop, in order."""

    def __init__(self, limit: int = 1) -> None:
        self.told: list[tuple[str, str]] = []
        self.outcomes: dict[str, Outcome] = {}
        self.on_done: Callable[[str], None] = lambda id: None
        self._changed = asyncio.Event()
        self.lane = ThreadLane(asyncio.get_running_loop(), self._done, self._began, limit)

    def _began(self, running: Running) -> None:
        self.told.append(("began", running.run.leased.id))
        self._changed.set()

    def _done(self, running: Running, outcome: Outcome) -> None:
        id = running.run.leased.id
        self.told.append(("done", id))
        self.outcomes[id] = outcome
        self._changed.set()
        self.on_done(id)

    def start(self, id: str, function: Callable[[], Any]) -> Running:
        spec = Spec(name="plain", function=function, signature=Signature(function, task="plain", explicit_name=True))
        job = leased(id)
        run = Run(job, decode_envelope(job.body), spec, spec.signature.load(b"{}"), 1, 60_000)
        running = Running(run, "test:jobs", Host())
        self.lane.start(running)
        return running

    async def ended(self, *ids: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not all(id in self.outcomes for id in ids):
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
async def bench() -> Any:
    made = Bench()
    yield made
    made.lane.close()


async def test_a_run_is_told_to_have_begun_before_it_is_told_to_have_ended(bench: Bench) -> None:
    """While the loop hears of the first end, the thread begins and ends the second job."""
    third_runs = threading.Event()

    def on_done(id: str) -> None:
        if id == "first":
            bench.start("second", lambda: 2)
            bench.start("third", lambda: third_runs.set())
            assert third_runs.wait(PATIENCE_S)

    bench.on_done = on_done
    bench.start("first", lambda: 1)
    await bench.ended("first", "second", "third")
    async with asyncio.timeout(PATIENCE_S):
        while len(bench.told) < 6:
            await asyncio.sleep(0.005)
    for id in ("first", "second", "third"):
        assert [what for what, which in bench.told if which == id] == ["began", "done"], bench.told


async def test_what_no_thread_has_begun_is_taken_back_and_never_runs(bench: Bench) -> None:
    gate, ran = threading.Event(), threading.Event()
    busy = bench.start("busy", lambda: gate.wait(PATIENCE_S))
    waits = bench.start("waits", lambda: ran.set())
    lost = bench.start("lost", lambda: ran.set())
    assert bench.lane.waiting()[-2:] == [waits, lost]
    bench.lane.stop(waits, "drain")
    bench.lane.stop(lost, "lost")
    assert bench.outcomes == {"waits": Interrupted(started=False), "lost": Lost()}
    gate.set()
    await bench.ended("busy")
    assert not ran.is_set() and busy.started


async def test_a_given_up_thread_is_replaced_and_its_end_is_not_told(bench: Bench) -> None:
    gate, begun = threading.Event(), threading.Event()

    def stuck() -> str:
        begun.set()
        gate.wait(PATIENCE_S)
        return "too late"

    running = bench.start("stuck", stuck)
    assert await asyncio.to_thread(begun.wait, PATIENCE_S)
    bench.lane.stop(running, "timeout")
    assert bench.outcomes == {"stuck": TimedOut(60.0)}
    assert len(bench.lane.stuck) == 1
    bench.start("next", lambda: "served")
    await bench.ended("next")
    gate.set()
    async with asyncio.timeout(PATIENCE_S):
        while bench.lane.stuck:
            await asyncio.sleep(0.01)
    assert bench.outcomes == {"stuck": TimedOut(60.0), "next": Returned("served")}


async def test_a_burst_uses_as_many_threads_as_there_may_be_and_no_more() -> None:
    bench, inside = Bench(limit=4), threading.Barrier(4, timeout=PATIENCE_S)
    for number in range(40):
        bench.start(str(number), lambda: inside.wait() >= 0)
    await bench.ended(*[str(number) for number in range(40)])
    bench.lane.close()
    assert set(bench.outcomes.values()) == {Returned(True)}
