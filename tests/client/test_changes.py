"""Who changed what by hand: every door says who asks, and a dashboard may say another name."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from tests.client.shop import Hand

from surefoot import Queue
from surefoot.client.who import speaking_as, who


async def welcome(address: str) -> str:
    return address


def dead_letter(mail: Queue) -> str:
    id = mail.task(welcome).enqueue_sync("a@b.c").id
    Hand(mail).kill()
    return id


DOORS: dict[str, Callable[[Queue, str], object]] = {
    "pause": lambda mail, id: mail.pause_sync("provider down"),
    "requeue": lambda mail, id: mail.dead.requeue_sync(id),
    "edit": lambda mail, id: mail.dead.edit_sync(id, address="x@y.z"),
    "delete": lambda mail, id: mail.dead.delete_sync(id),
}


@pytest.mark.parametrize("what", DOORS)
def test_each_door_says_who_asks(mail: Queue, what: str) -> None:
    id = dead_letter(mail)
    DOORS[what](mail, id)
    [change] = mail.changes_sync()
    assert (change.what, change.who, change.many) == (what, who(), 1)
    assert change.reason == ("provider down" if what == "pause" else None)
    assert list(change.names) == ([] if what == "pause" else [id])
    assert change.at.tzinfo is not None


def test_cancels_of_a_queue_and_of_a_handle(mail: Queue) -> None:
    task = mail.task(welcome)
    first, second, third = [task.enqueue_sync(str(n)) for n in range(3)]
    first.cancel_sync("enough")
    mail.cancel_sync(second.id, third.id)
    told = [(change.what, change.reason, change.many, set(change.names)) for change in mail.changes_sync()]
    assert told == [("cancel", None, 2, {second.id, third.id}), ("cancel", "enough", 1, {first.id})]
    assert {change.who for change in mail.changes_sync()} == {who()}


async def test_the_newest_come_first_and_only_as_many_as_asked(mail: Queue) -> None:
    await mail.pause()
    await mail.resume()
    assert [change.what for change in await mail.changes()] == ["resume", "pause"]
    assert [change.what for change in await mail.changes(limit=1)] == ["resume"]


def test_a_dashboard_speaks_for_its_user(mail: Queue) -> None:
    with speaking_as("ann (10.0.0.7)"):
        mail.pause_sync()
    mail.resume_sync()
    assert [change.who for change in mail.changes_sync()] == [who(), "ann (10.0.0.7)"]
    assert who().endswith(f"@{socket.gethostname()}")


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    import getpass
    import os

    from surefoot.client import who as module

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 4711")

    module._here.cache_clear()
    monkeypatch.setattr(getpass, "getuser", nameless)
    try:
        assert who() == f"{os.getuid()}@{socket.gethostname()}"
    finally:
        module._here.cache_clear()
