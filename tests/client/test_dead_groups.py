"""What dead letters died of, counted; and every attempt of one with its start, end and worker."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.client.shop import Hand

from surefoot import Queue
from surefoot.client.groups import first_line
from surefoot.core.codec import encode_error
from surefoot.core.errors import ErrorInfo
from surefoot.core.transition import Bury, Delay


async def welcome(address: str) -> str:
    return address


def resize(path: str) -> None: ...


def die(mail: Queue, message: str, kind: str = "ValueError", task: str = "welcome") -> str:
    handle = (mail.task(welcome) if task == "welcome" else mail.task(resize)).enqueue_sync("a")
    Hand(mail).kill(message, kind, "exhausted")
    return handle.id


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("timed out after 3.5 s", "timed out after # s"),
        ("no user 4711\nsecond line", "no user #"),
        ("job 01999c0e7d1a9b1f0d7e5a1c2f44 is gone", "job # is gone"),
        ("id 7a0b5a2e-4a1c-4f53-9d7e-0c5d6b1f2a3c", "id #"),
        ("facade is a word, not a number", "facade is a word, not a number"),
        ("10.0.0.7:6379 refused", "# refused"),
        ("", ""),
        ("x" * 500, "x" * 200),
    ],
)
def test_a_message_without_what_differs(message: str, line: str) -> None:
    assert first_line(message) == line


def test_letters_are_counted_by_task_and_error_the_most_frequent_first(mail: Queue) -> None:
    for n in range(3):
        die(mail, f"no such user: {n}")
    last = die(mail, "no such user: 99")
    die(mail, "no such user: 99", task="resize")
    die(mail, "disk full", "OSError")
    groups = mail.dead.groups_sync()
    assert [(one.task, one.kind, one.message, one.count) for one in groups[:1]] == [
        ("welcome", "ValueError", "no such user: #", 4)
    ]
    assert {(one.task, one.kind, one.count) for one in groups[1:]} == {
        ("resize", "ValueError", 1), ("welcome", "OSError", 1),
    }  # fmt: skip
    assert groups[0].newest == last and groups[0].reason == "exhausted"
    assert groups[0].first_at <= groups[0].last_at
    assert mail.dead.groups_sync(task="resize")[0].count == 1
    assert mail.dead.groups_sync(error="disk")[0].kind == "OSError"
    assert len(mail.dead.groups_sync(limit=2)) == 2
    assert mail.dead.groups_sync(since=groups[0].last_at + timedelta(hours=1)) == []


async def test_a_group_of_more_than_one_page_is_counted_whole(mail: Queue) -> None:
    task = mail.task(welcome)
    await mail.enqueue_many([task.draft(str(n)) for n in range(1_200)])
    hand = Hand(mail)
    line = encode_error(ErrorInfo(kind="ValueError", message="bad"), reason="exhausted")
    while jobs := hand.claim():
        for leased in jobs:
            hand.settle(leased, Bury("exhausted"), "failures", error=line)
    [group] = await mail.dead.groups()
    assert group.count == await mail.dead.count() == 1_200


def test_each_attempt_has_its_start_its_end_and_its_worker(mail: Queue) -> None:
    id = mail.task(welcome).enqueue_sync("a").id
    hand, worker = Hand(mail), ""
    for attempt, move in ((1, Delay(0, "retry")), (2, Bury("exhausted"))):
        [leased] = hand.claim()
        worker = leased.token.partition(".")[0]
        line = encode_error(
            ErrorInfo(kind="ValueError", message=f"no {attempt}", traceback="here"), attempt=attempt,
            started_ms=1_800_000_000_000 + attempt, ended_ms=1_800_000_005_000 + attempt, caller=worker,
            reason="exhausted" if attempt == 2 else None,
        )  # fmt: skip
        hand.settle(leased, move, "failures", error=line)
    second, first = mail.attempts_sync(id)
    assert [(one.attempt, one.kind, one.message, one.worker) for one in (first, second)] == [
        (1, "ValueError", "no 1", worker), (2, "ValueError", "no 2", worker),
    ]  # fmt: skip
    assert first.started_at is not None and first.ended_at is not None
    assert first.ended_at - first.started_at == timedelta(seconds=5)
    assert (first.reason, second.reason, second.traceback) == (None, "exhausted", "here")
    job = mail.get_sync(id)
    assert job is not None
    assert (job.started_at, job.worker) == (second.started_at, worker), "a dead job says where it ran last"


def test_a_job_that_nobody_knows_has_no_attempts(mail: Queue) -> None:
    assert mail.attempts_sync("nobody") == []
