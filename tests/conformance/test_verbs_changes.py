"""Changes: who cancelled, requeued, edited, deleted, paused, resumed, limited; once each, bounded, newest first."""

from collections.abc import Callable

import pytest
from tests.conformance.stores import QUEUE, START_MS, Hand, Store, envelope, new

from surefoot.brokers.answers import CHANGE_BYTES, CHANGES_KEPT, Change
from surefoot.brokers.broker import Amend, Cancel, Changes, Configure, Delete, Refused, Requeue

WHO = "ann@web 1"


def changes(hand: Hand, limit: int = 2_000) -> list[Change]:
    return hand.say(Changes(QUEUE, limit))


def test_a_queue_that_nobody_touched_has_none(store: Store) -> None:
    assert changes(store.hand()) == []


def test_a_cancel_says_who_why_when_and_which(store: Store) -> None:
    hand = store.hand()
    hand.take("running")
    hand.put(new("waits"))
    hand.kill("dead")
    store.later(5)
    hand.say(Cancel(QUEUE, ("waits", "dead", "running", "nobody"), "enough", who=WHO))
    assert changes(hand) == [Change(START_MS + 5, WHO, "cancel", 2, "enough", ("waits", "running"))]


def test_a_requeue_an_edit_and_a_deletion_are_told_newest_first(store: Store) -> None:
    hand = store.hand()
    hand.kill("a")
    hand.kill("b")
    hand.say(Amend(QUEUE, "a", envelope("a"), WHO))
    hand.say(Requeue(QUEUE, ("a", "nobody"), WHO))
    hand.say(Delete(QUEUE, ("b",), "bob@db"))
    assert changes(hand) == [
        Change(START_MS, "bob@db", "delete", 1, "", ("b",)),
        Change(START_MS, WHO, "requeue", 1, "", ("a",)),
        Change(START_MS, WHO, "edit", 1, "", ("a",)),
    ]
    assert changes(hand, 1) == changes(hand)[:1]


def test_pauses_and_limits_are_told_of_the_queue_and_of_cron_entries(store: Store) -> None:
    hand = store.hand()
    for verb in (
        Configure(QUEUE, paused="provider down", who=WHO),
        Configure(QUEUE, paused=None, who=WHO),
        Configure(QUEUE, max_length=9, who=WHO),
        Configure(QUEUE, max_length=None, who=WHO),
        Configure(QUEUE, cron=("nightly", ""), who=WHO),
        Configure(QUEUE, cron=("nightly", None), who=WHO),
    ):
        hand.say(verb)
    assert [(change.what, change.reason, change.names) for change in reversed(changes(hand))] == [
        ("pause", "provider down", ()),
        ("resume", "", ()),
        ("limit", "", ("9",)),
        ("limit", "", ("none",)),
        ("pause_cron", "", ("nightly",)),
        ("resume_cron", "", ("nightly",)),
    ]


@pytest.mark.parametrize(
    "verb",
    [Configure(QUEUE, paused="x"), Configure(QUEUE, max_length=3), Configure(QUEUE, cron=("nightly", ""))],
    ids=["pause", "limit", "pause_cron"],
)
def test_what_is_set_already_is_no_change(store: Store, verb: Configure) -> None:
    hand = store.hand()
    hand.say(verb)
    store.later(1_000)
    hand.say(verb)
    assert len(changes(hand)) == 1
    hand.say(Configure(QUEUE))
    assert len(changes(hand)) == 1


def test_a_resume_of_what_is_not_paused_is_no_change(store: Store) -> None:
    hand = store.hand()
    hand.say(Configure(QUEUE, paused=None, max_length=None, cron=("nightly", None)))
    assert changes(hand) == []


REPEATED: dict[str, Callable[[Hand], object]] = {
    "pause": lambda hand: hand.say(Configure(QUEUE, paused="x")),
    "cancel": lambda hand: hand.say(Cancel(QUEUE, ("a", "b"))),
    "requeue": lambda hand: hand.say(Requeue(QUEUE, ("c",))),
    "edit": lambda hand: hand.say(Amend(QUEUE, "c", envelope("c"))),
    "delete": lambda hand: hand.say(Delete(QUEUE, ("a", "b"))),
}


@pytest.mark.parametrize("what", REPEATED)
def test_a_request_whose_reply_was_lost_is_told_once(store: Store, what: str) -> None:
    hand, other = store.hand(), store.hand()
    other.kill("c")
    other.put(new("a"), new("b"))
    REPEATED[what](hand)
    hand.again()
    assert [change.what for change in changes(other)] == [what]


def test_what_changed_nothing_is_not_told(store: Store) -> None:
    hand = store.hand()
    hand.send(hand.call(Cancel(QUEUE, ("a",)), Requeue(QUEUE, ("a",)), Delete(QUEUE, ("a",)), Amend(QUEUE, "a", b"{}")))
    assert changes(hand) == []


def test_of_many_jobs_the_first_ten_are_named(store: Store) -> None:
    hand = store.hand()
    ids = tuple(f"job {n}" for n in range(25))
    hand.put(*map(new, ids))
    hand.say(Delete(QUEUE, ids))
    (change,) = changes(hand)
    assert (change.many, change.names) == (25, ids[:10])


def test_words_are_cut_and_stay_on_one_line(store: Store) -> None:
    hand = store.hand()
    hand.put(new("a"))
    hand.say(Cancel(QUEUE, ("a",), "first\nsecond\x7f" + "x" * 1_000, who="ann\nbob" + "\u00e9" * 1_000))
    (change,) = changes(hand)
    assert change.reason == ("first second " + "x" * 1_000)[:CHANGE_BYTES]
    assert change.who.startswith("ann bob\u00e9")
    assert len(change.who.encode()) <= CHANGE_BYTES + 2, (
        "a letter that was cut in its middle is shown as a sign of that"
    )


def test_only_the_last_thousand_are_remembered(store: Store) -> None:
    hand = store.hand()
    for n in range(CHANGES_KEPT + 20):
        hand.say(Configure(QUEUE, max_length=n))
    found = changes(hand)
    assert [change.names for change in found] == [(str(n),) for n in range(CHANGES_KEPT + 19, 19, -1)]


def test_each_queue_has_its_own(store: Store) -> None:
    mine, other = store.hand(), store.hand(queue="shop:other")
    mine.put(new("a"))
    mine.say(Cancel(QUEUE, ("a",)))
    assert other.say(Changes("shop:other")) == []


def test_a_pause_that_comes_late_undoes_no_resume(store: Store) -> None:
    """A request may hang in a dead connection for long: its caller has given it up, and said the contrary since."""
    hand = store.hand()
    late = hand.call(Configure(QUEUE, paused="night"))
    hand.say(Configure(QUEUE, paused=None))
    (answer,) = hand.send(late)
    assert isinstance(answer, Refused)
    assert store.hand().stats().paused_ms is None
