"""Many at once: threads on one broker, and two brokers on one store. Each job goes to one, each verb happens whole."""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeVar

from tests.conformance.stores import QUEUE, Hand, Store, ids, new, words

from surefoot.brokers.broker import Cancel, Put
from surefoot.core.job import Unique
from surefoot.core.transition import Finish

T = TypeVar("T")

THREADS = 4


def at_once(hands: list[Hand], act: Callable[[Hand], T]) -> list[T]:
    """What each hand is answered when all act at the same time, each in a thread of its own."""
    start = Barrier(len(hands))

    def go(hand: Hand) -> T:
        start.wait(timeout=30)
        return act(hand)

    with ThreadPoolExecutor(len(hands)) as pool:
        return list(pool.map(go, hands))


def claims_until_empty(hand: Hand) -> list[str]:
    taken: list[str] = []
    while jobs := hand.claim(3).jobs:
        taken += [leased.id for leased in jobs]
        for leased in jobs:
            assert hand.end(leased, Finish("completed"), keep_ms=0) == "applied"
    return taken


def test_workers_at_once_never_get_the_same_job(real_store: Store) -> None:
    real_store.hand().say(Put(QUEUE, tuple(new(str(n)) for n in range(120))))
    taken = at_once([real_store.hand() for _ in range(THREADS)], claims_until_empty)
    assert Counter(id for some in taken for id in some) == Counter(str(n) for n in range(120))
    assert real_store.hand().stats().processing == 0


def test_workers_of_two_processes_never_get_the_same_job(shared_real_store: Store) -> None:
    away = shared_real_store.open()
    hands = [shared_real_store.hand(), shared_real_store.hand(runner=away), shared_real_store.hand(runner=away)]
    hands[0].say(Put(QUEUE, tuple(new(str(n)) for n in range(90))))
    taken = at_once(hands, claims_until_empty)
    assert Counter(id for some in taken for id in some) == Counter(str(n) for n in range(90))


async def test_calls_of_one_loop_at_the_same_time_each_have_their_own_answer(real_store: Store) -> None:
    hands = [real_store.hand() for _ in range(30)]
    calls = [hand.call(Put(QUEUE, (new(hand.caller), new(hand.caller)))) for hand in hands]
    answers = await asyncio.gather(*(real_store.broker.run(call) for call in calls))
    assert [words(answer) for (answer,) in answers] == [["created", "exists"]] * 30
    again = await asyncio.gather(*(real_store.broker.run(call) for call in calls))
    assert again == answers
    assert real_store.hand().stats().pending == 30


def test_of_many_puts_of_one_id_one_is_created(real_store: Store) -> None:
    answers = at_once([real_store.hand() for _ in range(THREADS)], lambda hand: hand.put(new("a"))[0].word)
    assert Counter(answers) == {"created": 1, "exists": THREADS - 1}


def test_of_many_puts_of_one_key_one_is_created(real_store: Store) -> None:
    def put(hand: Hand) -> str:
        return hand.put(new(hand.caller, unique=Unique("welcome k")))[0].word

    answers = at_once([real_store.hand() for _ in range(THREADS)], put)
    assert Counter(answers) == {"created": 1, "taken": THREADS - 1}


def test_D10_a_cancel_beside_a_claim_ends_the_job_or_asks_it(real_store: Store) -> None:
    for n in range(20):
        id = str(n)
        real_store.hand().put(new(id))
        claimer, canceller = real_store.hand(), real_store.hand()

        def act(hand: Hand, claimer: Hand = claimer, id: str = id) -> object:
            return ids(hand.claim()) if hand is claimer else hand.say(Cancel(QUEUE, (id,)))[0]

        taken, word = at_once([claimer, canceller], act)
        assert (taken, word) in (([id], "requested"), ([], "cancelled"))
        assert real_store.hand().state(id) == ("processing" if taken else "cancelled")
