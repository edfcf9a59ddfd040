"""Dead letters: found, counted, tried again, mended, deleted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from tests.client.shop import Hand, queue_on

from surefoot import ConfigError, InvalidArguments, JobNotFound, Queue, Retry, Task, UsageError, clock
from surefoot.brokers.broker import Requeue
from surefoot.client import look


async def welcome(address: str, *, language: str = "en") -> str:
    return address


def resize(path: str) -> None: ...


def letters(queue: Queue) -> list[str]:
    """Four letters: two of each task, with different errors."""
    first: Task[[str], Any] = queue.task(welcome)
    second: Task[[str], Any] = queue.task(resize)
    hand = Hand(queue)
    ids = []
    for task, message, kind, reason in [
        (first, "no such address", "SMTPError", "exhausted"),
        (second, "disk FULL", "OSError", "exhausted"),
        (first, "no thanks", "Reject", "rejected"),
        (second, "disk full", "OSError", "exhausted"),
    ]:
        ids.append(task.enqueue_sync("a").id)
        now_ms = clock.wall_ms()
        while clock.wall_ms() == now_ms:  # two deaths in one millisecond have no order on a server
            pass
        hand.kill(message, kind, reason)
    return ids


@pytest.mark.parametrize(
    ("filters", "places"),
    [
        ({}, [3, 2, 1, 0]),
        ({"task": "welcome"}, [2, 0]),
        ({"error": "full"}, [3, 1]),
        ({"error": "smtp"}, [0]),
        ({"reason": "rejected"}, [2]),
        ({"task": "welcome", "reason": "exhausted"}, [0]),
        ({"since": datetime(2090, 1, 1, tzinfo=UTC)}, []),
        ({"until": datetime(2090, 1, 1, tzinfo=UTC), "limit": 2}, [3, 2]),
    ],
)
def test_letters_are_found_and_counted(mail: Queue, filters: Any, places: list[int]) -> None:
    ids = letters(mail)
    found = mail.dead.find_sync(**filters)
    assert sorted(job.id for job in found) == sorted(ids[place] for place in places)
    assert {job.state for job in found} <= {"dead"}
    counted = {word: value for word, value in filters.items() if word != "limit"}
    assert mail.dead.count_sync(**counted) == (len(places) if "until" not in filters else 4)


def test_a_letter_tells_why(mail: Queue) -> None:
    letters(mail)
    [job] = mail.dead.find_sync(reason="rejected")
    assert job.error is not None
    assert (job.reason, job.error.kind, job.error.message, job.failures, job.runs) == (
        "rejected", "Reject", "no thanks", 1, 1,
    )  # fmt: skip
    assert job.finished_at is not None and job.finished_at <= datetime.now(UTC) + timedelta(seconds=1)


def test_letters_are_tried_again(mail: Queue) -> None:
    ids = letters(mail)
    assert mail.dead.requeue_sync(ids[0], "nobody") == 1
    job = mail.get_sync(ids[0])
    assert job is not None and (job.state, job.failures, job.runs) == ("pending", 0, 1)
    assert mail.dead.requeue_sync(error="disk") == 2
    assert mail.dead.count_sync() == 1
    assert mail.dead.requeue_sync(everything=True) == 1
    order = [leased.id for leased in Hand(mail).claim()]
    assert order == [ids[0], ids[1], ids[3], ids[2]], "the oldest death first"


def test_a_letter_whose_key_is_taken_stays_dead(mail: Queue) -> None:
    task = mail.task(welcome).options(key="k")
    first = task.enqueue_sync("a")
    Hand(mail).kill()
    second = task.enqueue_sync("b")
    assert not second.duplicate
    assert mail.dead.requeue_sync(first.id) == 0
    assert first.status_sync() == "dead"


def test_requeue_may_go_slowly(mail: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    task, hand = mail.task(welcome), Hand(mail)
    for _ in range(25):
        task.enqueue_sync("a")
        hand.kill()
    pauses: list[float] = []
    monkeypatch.setattr(clock, "sleep_blocking", pauses.append)
    monkeypatch.setattr(look.chunks, "__defaults__", (10,))
    assert mail.dead.requeue_sync(everything=True, per_second=0.5) == 25
    assert pauses == [], "the store keeps the pace: nobody waits for it"
    spans = [(len(verb.ids), verb.first_ms, verb.every_us) for verb in _wire(mail).verbs(Requeue)]
    assert spans == [(10, 0, 2_000_000), (10, 20_000, 2_000_000), (5, 40_000, 2_000_000)]
    due = sorted(job.due_at for job in mail.find_sync(state="scheduled"))
    assert len(due) == 24 and mail.stats_sync().pending == 1
    gaps = [(later - sooner).total_seconds() for sooner, later in pairwise(due)]
    assert all(gap >= 2 for gap in gaps), "never faster than asked"
    assert sum(gaps) < 60
    with pytest.raises(ConfigError, match="give a number > 0"):
        mail.dead.requeue_sync(everything=True, per_second=0)


def _wire(queue: Queue) -> Any:
    return queue.broker


@pytest.mark.parametrize("verb", ["requeue", "delete"])
def test_a_verb_for_many_wants_to_be_told_which(mail: Queue, verb: str) -> None:
    ids = letters(mail)
    function: Any = getattr(mail.dead, f"{verb}_sync")
    with pytest.raises(UsageError) as wrong:
        function()
    assert str(wrong.value) == (
        f"queue.dead.{verb}() without ids or filters is for all jobs; if you mean that, say everything=True."
    )
    with pytest.raises(UsageError, match="takes ids or filters, not both"):
        function(ids[0], task="welcome")
    with pytest.raises(UsageError, match="there is no such reason; did you mean 'rejected'"):
        function(reason="rejectd")
    assert mail.dead.count_sync() == 4


def test_letters_are_deleted(mail: Queue) -> None:
    ids = letters(mail)
    waiting = mail.tasks["welcome"].enqueue_sync("b")
    assert mail.dead.delete_sync(ids[0], waiting.id, "nobody") == 1, "what is not dead is no letter"
    assert waiting.status_sync() == "pending"
    assert mail.dead.delete_sync(task="resize") == 2
    assert mail.dead.delete_sync(everything=True) == 1
    assert mail.dead.count_sync() == 0


def test_a_letter_is_mended(mail: Queue) -> None:
    id = letters(mail)[0]
    job = mail.dead.edit_sync(id, address="b@c")
    assert (job.id, job.state, dict(job.arguments), job.failures) == (id, "dead", {"address": "b@c"}, 1)
    job = mail.dead.edit_sync(id, language="fr")
    assert dict(job.arguments) == {"address": "b@c", "language": "fr"}
    with pytest.raises(InvalidArguments) as wrong:
        mail.dead.edit_sync(id, adress="x")
    assert "did you mean 'address'?" in str(wrong.value)
    with pytest.raises(InvalidArguments, match="'address'"):
        mail.dead.edit_sync(id, address=3)
    with pytest.raises(JobNotFound):
        mail.dead.edit_sync("nobody", address="x")
    waiting = mail.tasks["welcome"].enqueue_sync("b")
    with pytest.raises(UsageError, match="is pending; only a dead letter can be edited"):
        mail.dead.edit_sync(waiting.id, address="x")
    assert mail.dead.requeue_sync(id) == 1
    found = mail.get_sync(id)
    assert found is not None and dict(found.arguments) == {"address": "b@c", "language": "fr"}


def test_a_letter_of_an_older_schema_is_mended_in_the_present_one(mail: Queue) -> None:
    async def greet(address: str) -> str:
        return address

    old = mail.by_name("greet").enqueue_sync(mail="a@b")
    Hand(mail).kill()
    newer = queue_on(mail.broker)
    newer.task(name="greet", schema=2, upcast=lambda schema, given: {"address": given["mail"]})(greet)
    job = newer.dead.edit_sync(old.id)
    assert dict(job.arguments) == {"address": "a@b"}
    assert dict(newer.dead.edit_sync(old.id, address="c").arguments) == {"address": "c"}


def test_a_letter_that_cannot_be_read_is_not_mended(mail: Queue) -> None:
    from surefoot.brokers.broker import Put
    from surefoot.core.job import NewJob

    hand = Hand(mail)
    hand.session.ask([Put(mail.full_name, (NewJob("x", b"no envelope"),))])
    hand.kill()
    with pytest.raises(UsageError, match="job x cannot be read"):
        mail.dead.edit_sync("x", address="a")
    [job] = mail.dead.find_sync()
    assert (job.id, job.task) == ("x", "?")


def test_a_letter_of_unknown_code_takes_any_arguments(mail: Queue) -> None:
    handle = mail.by_name("elsewhere").enqueue_sync(a=1)
    Hand(mail).kill()
    assert dict(mail.dead.edit_sync(handle.id, b=[2]).arguments) == {"a": 1, "b": [2]}


async def test_all_of_it_on_a_loop(mail: Queue) -> None:
    handle = await mail.task(retry=Retry(max_attempts=1))(welcome).enqueue("a")
    Hand(mail).kill()
    assert await mail.dead.count(task="welcome") == 1
    assert [job.id for job in await mail.dead.find(error="BOOM")] == [handle.id]
    assert dict((await mail.dead.edit(handle.id, address="z")).arguments) == {"address": "z"}
    assert await mail.dead.requeue(handle.id) == 1
    Hand(mail).kill()
    assert await mail.dead.delete(handle.id) == 1
