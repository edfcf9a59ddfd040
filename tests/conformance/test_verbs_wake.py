"""Wake-ups: what makes a job claimable rings, no ring is lost, nothing else rings. And `ended`, the other bell."""

import asyncio
from collections.abc import Callable

import anyio
import pytest
from tests.conformance.stores import LEASE_MS, QUEUE, Hand, Store, ids, new

from surefoot.brokers.broker import Broker, Configure, Move, Prune, Put, Requeue, Tick
from surefoot.core.job import After, Unique
from surefoot.core.transition import Bury, Delay, Finish, Park, Return

OTHER = "shop:images"
LONG = 10.0
"""Seconds in which a ring has surely come."""
SLACK_MS = LEASE_MS // 5
SHORT = 0.03
"""Seconds in which one that is there would mostly be heard."""


class Listener:
    """Whoever hears the rings of a queue for itself: what a worker is to a broker."""


async def rings(broker: Broker, *queues: str) -> bool:
    return await broker.wait(queues or (QUEUE,), LONG)


async def is_silent(broker: Broker, *queues: str) -> bool:
    return not await broker.wait(queues or (QUEUE,), SHORT)


async def heard(waiting: "asyncio.Task[bool]") -> bool:
    """Whether a wait that was cancelled had heard a ring before."""
    try:
        return await waiting
    except asyncio.CancelledError:
        return False


async def silence(broker: Broker, seconds: float = 0) -> None:
    """Take the rings of what went before; those of another process come a little later."""
    while await broker.wait((QUEUE,), seconds):
        pass


def held(hand: Hand, id: str = "a") -> Callable[[object], object]:
    """A job in hand, and what settles it."""
    leased = hand.take(id)
    return lambda to: hand.end(leased, to)  # type: ignore[arg-type]


def ring_put(hand: Hand) -> Callable[[], object]:
    return lambda: hand.put(new("a"))


def ring_first_scheduled(hand: Hand) -> Callable[[], object]:
    return lambda: hand.put(new("a", due=After(60_000)))


def ring_earlier_scheduled(hand: Hand) -> Callable[[], object]:
    hand.put(new("a", due=After(60_000)))
    return lambda: hand.put(new("b", due=After(59_999)))


def ring_tick(hand: Hand) -> Callable[[], object]:
    return lambda: hand.say(Tick(QUEUE, "nightly", hand.store.now, new("a")))


def ring_replace(hand: Hand) -> Callable[[], object]:
    hand.put(new("a", due=After(60_000), unique=Unique("welcome k")))
    return lambda: hand.put(new("b", unique=Unique("welcome k", replace=True)))


def ring_hand_back(hand: Hand) -> Callable[[], object]:
    settle = held(hand)
    return lambda: settle(Return())


def ring_retry_at_once(hand: Hand) -> Callable[[], object]:
    settle = held(hand)
    return lambda: settle(Delay(0, "retry"))


def ring_retry_later(hand: Hand) -> Callable[[], object]:
    settle = held(hand)
    return lambda: settle(Delay(60_000, "retry"))


def ring_park(hand: Hand) -> Callable[[], object]:
    settle = held(hand)
    return lambda: settle(Park("task:welcome"))


def ring_effect(hand: Hand) -> Callable[[], object]:
    leased = hand.take("a")
    return lambda: hand.end(leased, Bury("exhausted"), effects=(new("effect"),))


def ring_requeue(hand: Hand) -> Callable[[], object]:
    hand.kill("a")
    return lambda: hand.say(Requeue(QUEUE, ("a",)))


def ring_move_to_now(hand: Hand) -> Callable[[], object]:
    hand.put(new("a", due=After(60_000)))
    return lambda: hand.say(Move(QUEUE, ("a",), None))


def ring_move_earlier(hand: Hand) -> Callable[[], object]:
    hand.put(new("a", due=After(60_000)), new("b", due=After(90_000)))
    return lambda: hand.say(Move(QUEUE, ("b",), After(30_000)))


def ring_resume(hand: Hand) -> Callable[[], object]:
    hand.say(Configure(QUEUE, paused="night"))
    hand.put(new("a"))
    return lambda: hand.say(Configure(QUEUE, paused=None))


def ring_claim_that_leaves_work(hand: Hand) -> Callable[[], object]:
    hand.put(new("a"), new("b"))
    return lambda: hand.claim(1)


def ring_claim_that_wants_nothing(hand: Hand) -> Callable[[], object]:
    hand.put(new("a"))
    return lambda: hand.claim(0)


def ring_claim_that_promotes_more_than_it_takes(hand: Hand) -> Callable[[], object]:
    hand.put(new("a", due=After(1)), new("b", due=After(1)))
    hand.store.later(1)
    return lambda: hand.claim(1)


RINGS = {name.removeprefix("ring_"): ring for name, ring in globals().copy().items() if name.startswith("ring_")}


@pytest.fixture(params=RINGS)
def ring(request: pytest.FixtureRequest, real_store: Store) -> Callable[[], object]:
    """Something that must ring, prepared but not yet done."""
    prepared: Callable[[], object] = RINGS[request.param](real_store.hand())
    return prepared


async def test_it_rings_for_whoever_waits_later(ring: Callable[[], object], real_store: Store) -> None:
    await silence(real_store.broker)
    ring()
    assert await rings(real_store.broker)


async def test_it_rings_for_whoever_waits_already(ring: Callable[[], object], real_store: Store) -> None:
    await silence(real_store.broker)
    waiting = asyncio.create_task(rings(real_store.broker))
    await asyncio.sleep(0)
    ring()
    assert await waiting


async def test_a_ring_reaches_a_broker_of_another_process(shared_real_store: Store) -> None:
    away = shared_real_store.open_broker()
    hand = shared_real_store.hand()
    hand.put(new("a"))
    await silence(away, SHORT)
    waiting = asyncio.create_task(rings(away))
    await asyncio.sleep(0)
    hand.put(new("b"))
    assert await waiting
    hand.put(new("c"))
    assert await rings(away), "also when nobody was waiting"


async def test_a_ring_of_another_process_is_not_lost_behind_our_own_call(shared_real_store: Store) -> None:
    away, ours = shared_real_store.hand(runner=shared_real_store.open()), shared_real_store.hand()
    ours.put(new("a"))
    ours.claim()
    await silence(shared_real_store.broker, SHORT)
    away.put(new("b"))
    ours.say(Configure(QUEUE))
    ours.get("b")
    ours.say(Put(OTHER, (new("x"),)))
    assert await rings(shared_real_store.broker)


async def test_another_queue_does_not_ring(real_store: Store) -> None:
    real_store.hand().put(new("a"))
    await silence(real_store.broker)
    real_store.hand(OTHER).put(new("a"))
    assert await is_silent(real_store.broker)
    assert await rings(real_store.broker, OTHER)


async def test_any_of_several_queues_rings(real_store: Store) -> None:
    waiting = asyncio.create_task(rings(real_store.broker, QUEUE, OTHER))
    await asyncio.sleep(0)
    real_store.hand(OTHER).put(new("a"))
    assert await waiting


async def test_what_makes_nothing_claimable_does_not_ring(real_store: Store) -> None:
    hand = real_store.hand()
    hand.put(new("head", due=After(30_000)))
    leased = hand.take("a")
    await silence(real_store.broker)
    assert hand.claim().jobs == [], "an empty claim wakes nobody, or two idle workers would wake each other for ever"
    hand.put(new("later", due=After(40_000)))
    hand.say(Move(QUEUE, ("later",), After(50_000)))
    hand.put(new("a"))
    hand.cancel("later", "a")
    hand.extend()
    hand.end(leased, Finish("completed"))
    hand.say(Configure(QUEUE, paused="night"))
    assert await is_silent(real_store.broker)


async def test_a_ring_is_heard_once(real_store: Store) -> None:
    hand = real_store.hand()
    for id in "abc":
        hand.put(new(id))
    assert await rings(real_store.broker)
    assert await is_silent(real_store.broker)


async def test_each_listener_hears_every_ring_once(real_store: Store) -> None:
    broker, one, other = real_store.broker, Listener(), Listener()
    real_store.hand().put(new("a"))
    assert await broker.wait((QUEUE,), LONG, listener=one)
    assert not await broker.wait((QUEUE,), 0, listener=one)
    assert await broker.wait((QUEUE,), LONG, listener=other)
    waiting = [asyncio.create_task(broker.wait((QUEUE,), LONG, listener=listener)) for listener in (one, other)]
    await asyncio.sleep(0)
    real_store.hand().put(new("b"))
    assert await asyncio.gather(*waiting) == [True, True]


async def test_cancelling_a_wait_loses_no_ring(real_store: Store) -> None:
    hand = real_store.hand()
    for n in range(20):
        waiting = asyncio.create_task(rings(real_store.broker))
        for _ in range(n % 5):
            await asyncio.sleep(0)
        hand.put(new(f"early-{n}"))
        for _ in range(n // 5):
            await asyncio.sleep(0)
        waiting.cancel()
        assert await heard(waiting) or await rings(real_store.broker)


async def test_a_wait_that_was_cancelled_hears_nothing_more(real_store: Store) -> None:
    waiting = asyncio.create_task(rings(real_store.broker))
    await asyncio.sleep(0)
    waiting.cancel()
    assert not await heard(waiting)
    real_store.hand().put(new("a"))
    assert await rings(real_store.broker)


async def test_the_loop_may_run_calls_while_it_waits(real_store: Store) -> None:
    hand = real_store.hand()
    waiting = asyncio.create_task(rings(real_store.broker))
    await asyncio.sleep(0)
    await real_store.broker.run(hand.call(Put(QUEUE, (new("a"),))))
    assert await waiting
    assert ids(hand.claim()) == ["a"]


# Ended


def end_completed(hand: Hand) -> Callable[[], object]:
    leased = hand.take("a")
    return lambda: hand.end(leased, Finish("completed", b"1"))


def end_completed_and_forgotten(hand: Hand) -> Callable[[], object]:
    leased = hand.take("a")
    return lambda: hand.end(leased, Finish("completed"), keep_ms=0)


def end_dead(hand: Hand) -> Callable[[], object]:
    leased = hand.take("a")
    return lambda: hand.end(leased, Bury("exhausted"))


def end_expired(hand: Hand) -> Callable[[], object]:
    leased = hand.take("a")
    return lambda: hand.end(leased, Finish("expired"))


def end_cancelled(hand: Hand) -> Callable[[], object]:
    hand.put(new("a"))
    return lambda: hand.cancel("a")


def end_cancelled_while_running(hand: Hand) -> Callable[[], object]:
    leased = hand.take("a")
    hand.cancel("a")
    return lambda: hand.end(leased, Return(), None)


def end_buried_as_unknown(hand: Hand) -> Callable[[], object]:
    hand.end(hand.take("a"), Park("task:welcome"), None)
    hand.store.later(2)
    return lambda: hand.say(Prune(QUEUE, unknown_ms=1))


def end_replaced(hand: Hand) -> Callable[[], object]:
    hand.put(new("a", unique=Unique("welcome k")))
    return lambda: hand.put(new("b", unique=Unique("welcome k", replace=True)))


ENDS = {name.removeprefix("end_"): end for name, end in globals().copy().items() if name.startswith("end_")}


@pytest.fixture(params=ENDS)
def end(request: pytest.FixtureRequest, real_store: Store) -> Callable[[], object]:
    """Something that ends the job `a`, prepared but not yet done."""
    prepared: Callable[[], object] = ENDS[request.param](real_store.hand())
    return prepared


async def test_every_end_is_told_to_whoever_waits_for_the_job(end: Callable[[], object], real_store: Store) -> None:
    watcher = real_store.hand()
    with anyio.fail_after(LONG):
        told = asyncio.create_task(real_store.broker.ended(QUEUE, "a", 10 * LONG))
        await asyncio.sleep(0)
        end()
        await told
    assert watcher.state("a") in ("completed", "unknown", "dead", "expired", "cancelled")


async def test_an_end_in_another_process_is_told(shared_real_store: Store) -> None:
    away = shared_real_store.hand(runner=shared_real_store.open())
    leased = away.take("a")
    with anyio.fail_after(LONG):
        told = asyncio.create_task(shared_real_store.broker.ended(QUEUE, "a", 10 * LONG))
        await asyncio.sleep(0)
        away.end(leased, Finish("completed"))
        await told


async def test_waiting_for_an_end_stops_after_its_time(real_store: Store) -> None:
    real_store.hand().put(new("a"))
    with anyio.fail_after(LONG):
        await real_store.broker.ended(QUEUE, "a", SHORT)
    assert real_store.hand().state("a") == "pending"


async def test_a_lease_that_ends_beside_an_idle_worker_is_found_by_its_next_claim(real_store: Store) -> None:
    hand, idle = real_store.hand(), real_store.hand()
    hand.put(new("a"))
    waits_ms = [hand.claim().wait_ms, idle.claim().wait_ms]
    assert min(waits_ms) <= LEASE_MS, "one of two workers with free slots wakes in time"
    assert waits_ms[1] <= LEASE_MS + SLACK_MS, "and the other even if that one has died"
    real_store.later(LEASE_MS)
    assert ids(idle.claim()) == ["a"]
