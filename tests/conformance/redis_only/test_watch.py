"""The watch: one idle worker wakes for the next timer, the others sleep; and who passes the duty on. One test a rule.

The rules have the names that tests/models/wake.py gives them; what rings at all, every store shows in test_verbs_wake.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.stores import LEASE_MS, QUEUE, REDIS, Hand, Store, new

from surefoot.brokers.answers import Claimed
from surefoot.brokers.broker import Claim, Configure
from surefoot.core.job import After
from surefoot.core.transition import Finish

FLOOR_MS = 12_000
SLACK_MS = 2_000


@pytest.fixture
def hands(tmp_path: Path) -> Iterator[tuple[Hand, Hand, Hand]]:
    """Two workers and a producer."""
    store = Store(REDIS, tmp_path)
    yield store.hand(), store.hand(), store.hand()
    store.close()


def watcher(hand: Hand) -> tuple[str, int] | None:
    """Who watches, and for how many more milliseconds."""
    word = hand.store.server.say("HGET", f"{{{QUEUE}}}:meta", "watch")
    if word is None:
        return None
    caller, deadline = word.decode().split()
    return caller, int(deadline) - hand.store.now


def token(hand: Hand) -> bool:
    """Whether somebody is to be woken; takes the token."""
    return hand.store.server.say("LPOP", f"{{{QUEUE}}}:wake") is not None


def idle(hand: Hand, **words: bool) -> Claimed:
    return hand.claim(100, **words)


def test_rewatch_takes_a_free_watch(hands: tuple[Hand, Hand, Hand]) -> None:
    one, other, _ = hands
    assert idle(one).wait_ms == FLOOR_MS
    assert watcher(one) == (one.caller, FLOOR_MS)
    one.store.later(1_000)
    assert idle(other).wait_ms == FLOOR_MS
    assert watcher(one) == (one.caller, FLOOR_MS - 1_000), "a watch in time is left to whoever has it"


def test_rewatch_renews_its_own(hands: tuple[Hand, Hand, Hand]) -> None:
    one, _, _ = hands
    idle(one)
    one.store.later(1_000)
    idle(one)
    assert watcher(one) == (one.caller, FLOOR_MS)


def test_rewatch_takes_one_that_is_out_of_date(hands: tuple[Hand, Hand, Hand]) -> None:
    one, other, _ = hands
    idle(one)
    one.store.later(FLOOR_MS)
    idle(other)
    assert watcher(one) == (one.caller, 0), "until its last moment it counts"
    one.store.later(1)
    idle(other)
    assert watcher(one) == (other.caller, FLOOR_MS)


def test_rewatch_takes_one_that_would_be_too_late(hands: tuple[Hand, Hand, Hand]) -> None:
    one, other, producer = hands
    idle(one)
    producer.put(new("soon", due=After(3_000)))
    assert idle(other).wait_ms == 3_000
    assert watcher(one) == (other.caller, 3_000)


def test_timed_wait_of_the_watcher_ends_at_the_next_timer(hands: tuple[Hand, Hand, Hand]) -> None:
    one, other, producer = hands
    producer.put(new("soon", due=After(3_000)), new("later", due=After(4_000)))
    assert (idle(one).wait_ms, idle(other).wait_ms) == (3_000, FLOOR_MS)


def test_timed_wait_counts_leases(hands: tuple[Hand, Hand, Hand]) -> None:
    one, _, producer = hands
    producer.put(new("a"))
    assert idle(one).wait_ms == LEASE_MS


def test_lease_wait_of_the_others_ends_when_the_watcher_may_be_dead(hands: tuple[Hand, Hand, Hand]) -> None:
    one, other, producer = hands
    producer.put(new("a"))
    one.claim(1)
    one.store.later(4_000)
    assert idle(one).wait_ms == LEASE_MS - 4_000
    assert idle(other).wait_ms == LEASE_MS - 4_000 + SLACK_MS


def test_lease_wait_of_short_leases_has_a_short_slack(hands: tuple[Hand, Hand, Hand]) -> None:
    one, other, producer = hands
    producer.put(new("a"))
    for hand, wait_ms in ((one, 1_000), (other, 1_200)):
        assert hand.say(Claim(QUEUE, 9, 1_000, 0)).wait_ms == wait_ms


def test_an_ended_lease_beyond_trust_is_no_timer(hands: tuple[Hand, Hand, Hand]) -> None:
    one, other, producer = hands
    producer.put(new("a"))
    one.claim(1)
    one.store.later(LEASE_MS)
    assert idle(other, trusting=False).wait_ms == FLOOR_MS


def test_floor_is_the_longest_sleep(hands: tuple[Hand, Hand, Hand]) -> None:
    one, other, producer = hands
    producer.put(new("far", due=After(3_600_000)))
    assert (idle(one).wait_ms, idle(other).wait_ms) == (FLOOR_MS, FLOOR_MS)


def test_handover_of_a_worker_that_is_full(hands: tuple[Hand, Hand, Hand]) -> None:
    one, _, producer = hands
    producer.put(new("soon", due=After(3_000)))
    idle(one)
    producer.put(new("a"))
    token(one)
    one.claim(1)
    assert watcher(one) is None
    assert token(one), "somebody else must watch now"


def test_handover_is_silent_while_somebody_watches_in_time(hands: tuple[Hand, Hand, Hand]) -> None:
    one, other, producer = hands
    producer.put(new("soon", due=After(3_000)))
    idle(other)
    producer.put(new("a"))
    token(one)
    one.claim(1)
    assert watcher(one) == (other.caller, 3_000)
    assert not token(one)


def test_handover_does_not_count_on_a_watch_that_is_too_late(hands: tuple[Hand, Hand, Hand]) -> None:
    one, other, producer = hands
    idle(other)
    producer.put(new("soon", due=After(3_000)), new("a"))
    token(one)
    one.claim(1)
    assert token(one)


@pytest.mark.parametrize("late_ms", [0, 1])
def test_handover_does_not_count_on_a_watch_that_is_over(hands: tuple[Hand, Hand, Hand], late_ms: int) -> None:
    one, other, producer = hands
    idle(other)
    producer.put(new("soon", due=After(60_000)), new("a"))
    token(one)
    one.store.later(FLOOR_MS + late_ms)
    one.claim(1)
    assert token(one) == (late_ms == 1)


def test_leave_push_of_a_claim_that_wants_nothing(hands: tuple[Hand, Hand, Hand]) -> None:
    one, _, producer = hands
    producer.put(new("soon", due=After(3_000)))
    idle(one)
    token(one)
    one.claim(0)
    assert watcher(one) is None
    assert token(one)


def test_leave_push_has_nothing_to_say_where_nothing_waits(hands: tuple[Hand, Hand, Hand]) -> None:
    one, _, _ = hands
    idle(one)
    one.claim(0)
    assert watcher(one) is None
    assert not token(one)


def test_pass_on_of_a_claim_that_leaves_jobs(hands: tuple[Hand, Hand, Hand]) -> None:
    one, _, producer = hands
    producer.put(new("a"), new("b"))
    token(one)
    one.claim(1)
    assert token(one)


def test_timer_push_of_an_earlier_due_time_only(hands: tuple[Hand, Hand, Hand]) -> None:
    one, _, producer = hands
    for seconds, rings in ((50, True), (60, False), (50, False), (40, True)):
        producer.put(new(f"{seconds}-{rings}", due=After(1_000 * seconds)))
        assert token(one) is rings


def test_resume_push_and_a_paused_queue_has_no_timer(hands: tuple[Hand, Hand, Hand]) -> None:
    one, other, producer = hands
    producer.put(new("soon", due=After(3_000)), new("a"))
    other.claim(1)
    producer.say(Configure(QUEUE, paused="night"))
    token(one)
    assert (idle(one).wait_ms, idle(other).wait_ms) == (FLOOR_MS, FLOOR_MS)
    assert not token(one)
    producer.say(Configure(QUEUE, paused=None))
    assert token(one)


def test_a_token_lies_there_once(hands: tuple[Hand, Hand, Hand]) -> None:
    one, _, producer = hands
    for id in "abc":
        producer.put(new(id))
    assert token(one)
    assert not token(one)


def test_a_job_that_ends_rings_for_nobody(hands: tuple[Hand, Hand, Hand]) -> None:
    one, _, _ = hands
    leased = one.take("a")
    token(one)
    one.end(leased, Finish("completed"))
    assert not token(one)
