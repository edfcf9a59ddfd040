"""Virtual time passes only when nobody has anything to do; the frozen, asleep and dead see what they would."""

from __future__ import annotations

import asyncio

import pytest
from tests.simulation.kernel import Actor, Broken, Kernel

from surefoot import chance, clock


@pytest.fixture
def kernel() -> Kernel:
    return Kernel("a seed")


async def noted(notes: list[tuple[str, float]], name: str, *pauses: float) -> None:
    for pause in pauses:
        await clock.sleep(pause)
        notes.append((name, round(clock.monotonic() - 1000, 3)))


def test_time_jumps_to_the_next_timer_of_anybody(kernel: Kernel) -> None:
    notes = list[tuple[str, float]]()
    with kernel.rules():
        Actor(kernel, "a").begin(noted, notes, "a", 1, 3600)
        Actor(kernel, "b").begin(noted, notes, "b", 2, 1)
        kernel.run(kernel.now + 10_000)
    assert notes == [("a", 1), ("b", 2), ("b", 3), ("a", 3601)]
    assert kernel.now == 11_000


def test_a_killed_actor_never_runs_again(kernel: Kernel) -> None:
    notes = list[tuple[str, float]]()
    with kernel.rules():
        actor = Actor(kernel, "a")
        actor.begin(noted, notes, "a", 1, 1)
        kernel.after(1.5, actor.kill)
        kernel.run(kernel.now + 10)
    assert notes == [("a", 1)]


def test_a_frozen_actor_goes_on_late_and_its_clock_has_gone_on(kernel: Kernel) -> None:
    notes = list[tuple[str, float]]()
    with kernel.rules():
        actor = Actor(kernel, "a")
        actor.begin(noted, notes, "a", 1, 1)
        kernel.after(0.5, lambda: actor.hold(3))
        kernel.run(kernel.now + 10)
    assert notes == [("a", 3.5), ("a", 4.5)]


def test_the_clock_of_a_sleeping_machine_stands_still(kernel: Kernel) -> None:
    notes = list[tuple[str, float]]()
    with kernel.rules():
        actor = Actor(kernel, "a")
        actor.begin(noted, notes, "a", 1, 1)
        kernel.after(0.5, lambda: actor.sleep(3))
        kernel.run(kernel.now + 4.2)
        assert notes == [("a", 1)]
        assert (kernel.now, round(actor.seconds(), 3)) == (1004.2, 1001.2)
        assert clock.with_suspend() == kernel.now


def test_an_error_that_nobody_caught_ends_the_life(kernel: Kernel) -> None:
    async def fails() -> None:
        raise ValueError("oops")

    with kernel.rules(), pytest.raises(Broken, match="oops"):
        Actor(kernel, "a").begin(fails)
        kernel.run(kernel.now + 1)


def test_a_loop_that_spins_is_found(kernel: Kernel) -> None:
    async def spins() -> None:
        while True:
            await asyncio.sleep(0)

    with kernel.rules(), pytest.raises(Broken, match="a spins"):
        Actor(kernel, "a").begin(spins)
        kernel.run(kernel.now + 1)


def test_clocks_and_chance_are_given_back() -> None:
    before = (clock.monotonic, clock.wall_ms, clock.with_suspend, chance.share, chance.between, chance.token)
    drawn = list[object]()
    for _ in range(2):
        kernel = Kernel("a seed")
        with kernel.rules():
            drawn.append((chance.share(), chance.between(0, 1), chance.letters(4), clock.wall_ms()))
            with pytest.raises(Broken):
                clock.sleep_blocking(1)
    assert before == (clock.monotonic, clock.wall_ms, clock.with_suspend, chance.share, chance.between, chance.token)
    assert drawn[0] == drawn[1]
