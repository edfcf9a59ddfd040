"""workers: who is alive, once each, however many queues it serves."""

from __future__ import annotations

import os
import signal
from datetime import datetime

import pytest
from tests.doors.cli_shop import Shop, at_work, eventually

from surefoot.brokers.broker import Beat
from surefoot.client.presence import PresenceInfo

NOBODY = "surefoot: no worker is alive: none was seen in the last 45 s.\n"


@pytest.fixture
def shop(any_shop: Shop) -> Shop:
    return any_shop


def tasks_seen(shop: Shop) -> int:
    """How many tasks all living workers say they have: each queue of a worker tells its own."""
    told = [queue.workers_sync() for queue in (shop.queue("mail"), shop.queue("billing"))]
    return sum(len(one.tasks) for found in told for one in found)


def test_nobody_is_exit_1(shop: Shop, ids: dict[str, str]) -> None:
    for words in (["shop"], ["--url", shop.url], ["shop", "--json"]):
        ran = shop.here("workers", *words)
        assert (ran.code, ran.out, ran.err) == (1, "", NOBODY)


def test_a_worker_of_two_queues_is_one_line(shop: Shop) -> None:
    with at_work(shop, "shop:worker") as pid:
        eventually(lambda: tasks_seen(shop) == 4)
        ran = shop.here("workers", "shop")
        (record,) = shop.here("workers", "shop", "--json").records()
    assert (ran.code, ran.err) == (0, "")
    header, line = ran.out.splitlines()
    assert header.split() == ["name", "id", "host", "pid", "version", "queues", "running", "seen"]
    host = os.uname().nodename
    assert line.split()[:8] == [
        "web-1", record["id"], host, str(pid), record["version"], "mail,", "billing", "0/4",
    ]  # fmt: skip
    assert list(record) == [
        "id", "name", "host", "pid", "version", "queues", "tasks", "crons", "running", "concurrency", "draining",
        "seen_at",
    ]  # fmt: skip
    assert (record["name"], record["pid"], record["queues"]) == ("web-1", pid, ["mail", "billing"])
    assert record["tasks"] == ["close_month", "nightly", "receipt", "welcome"]
    assert record["crons"] == ["nightly"]
    assert (record["running"], record["concurrency"], record["draining"]) == (0, 4, False)
    assert datetime.fromisoformat(str(record["seen_at"])).tzinfo is not None
    assert shop.here("workers", "shop").err == NOBODY  # it said goodbye


def test_only_the_workers_of_a_queue(shop: Shop) -> None:
    with at_work(shop, "shop:billing"):
        eventually(lambda: tasks_seen(shop) == 1)
        assert shop.here("workers", "shop", "-q", "mail").err == NOBODY
        (record,) = shop.here("workers", "shop", "-q", "billing", "--json").records()
        assert record["tasks"] == ["close_month"]


def test_who_was_killed_is_still_seen_for_a_while(shop: Shop) -> None:
    with at_work(shop, "shop:worker") as pid:
        eventually(lambda: tasks_seen(shop))
        os.kill(pid, signal.SIGKILL)
    (record,) = shop.here("workers", "shop", "--json").records()
    assert record["pid"] == pid


def test_what_a_worker_says_of_itself_does_not_steer_the_terminal(shop: Shop) -> None:
    mail = shop.queue("mail")
    said = PresenceInfo(name="evil\x1b[2J", host="h\x9b", queues=("mail\n",), running=3, concurrency=5, draining=True)
    mail.sessions.ask_sync([Beat(mail.full_name, "w" * 16, said.encode())])
    ran = shop.here("workers", "shop")
    assert ran.code == 0
    line = ran.out.splitlines()[1]
    assert line.split()[:5] == ["evil\\x1b[2J", "w" * 16, "h\\x9b", "0", "mail\\n"]
    assert "3/5" in line
    assert line.endswith("draining")
    assert "\x1b" not in ran.out


def test_a_server_that_is_away_and_a_broken_application(file_shop: Shop) -> None:
    ran = file_shop.here("workers", "--url", "redis://127.0.0.1:1/0")
    assert (ran.code, ran.out, ran.err.count("\n")) == (4, "", 1)
    file_shop.write("broken.py", "1 / 0\n")
    assert file_shop.here("workers", "broken").code == 3
    ran = file_shop.here("workers", "shop", "--jsn")
    assert (ran.code, ran.err) == (
        2, "surefoot: there is no option '--jsn'; did you mean '--json'? See `surefoot workers --help`.\n",
    )  # fmt: skip
