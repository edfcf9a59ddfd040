"""doctor --repair: what an eviction or a careless hand broke is put right, asked for first; nothing is lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest
from tests.doors.cli_shop import Shop, at_work, eventually, on_terminal
from tests.doors.doctor_ward import found
from tests.doors.test_cli_doctor import by_hand, dump, look, shop
from tests.servers import Server

from surefoot import Key

__all__ = ["dump", "shop"]


@pytest.fixture
def spoil(request: pytest.FixtureRequest) -> Callable[[Shop, str, str], None]:
    """Take away the body of one job, and the place of another."""

    def spoil(shop: Shop, bodiless: str, placeless: str) -> None:
        if shop.url.startswith("sqlite"):
            by_hand(
                shop,
                f"DELETE FROM body WHERE seq = (SELECT seq FROM job WHERE id = '{bodiless}')",
                f"DELETE FROM job WHERE id = '{placeless}'",
            )
            return
        server: Server = request.getfixturevalue("server")
        with server.conversation() as talk:
            talk.say("SELECT", shop.url.rpartition("/")[2])
            assert talk.say("HDEL", "{surefoot:mail}:jobs", bodiless) == 1
            assert talk.say("ZREM", "{surefoot:mail}:pending", placeless) == 1

    return spoil


Spoil = Callable[[Shop, str, str], None]


def spoilt(shop: Shop, spoil: Spoil) -> tuple[str, str]:
    """A shop with one queue and two broken jobs in it."""
    welcome = shop.queue("mail").by_name("welcome")
    bodiless, placeless = (welcome.enqueue_sync(address=f"{name}@example.org").id for name in ("ada", "bob"))
    spoil(shop, bodiless, placeless)
    return bodiless, placeless


def test_R15_what_is_broken_is_a_fail_and_changed_only_by_repair(
    any_shop: Shop, spoil: Spoil, dump: Callable[[Shop], object]
) -> None:
    bodiless, placeless = spoilt(any_shop, spoil)
    before = dump(any_shop)
    seen = look(any_shop, "shop:mail")
    ran = any_shop.here("doctor", "shop:mail", "--repair")
    assert dump(any_shop) == before
    assert (seen.code, seen.result("orphans")) == (1, "fail")
    assert seen.words("orphans") == (
        "queue 'mail': 1 job without a body, 1 body that stands in no place. "
        "Put it right: surefoot doctor shop:mail --repair"
    )
    assert seen.details("orphans") == {"queue": "mail", "lost": [bodiless], "strays": [placeless], "keys": []}
    assert ran.code == 2
    assert "2 broken records (mail 2) would be put right; without a terminal to ask on this needs --yes." in ran.err

    ran = any_shop.here("doctor", "shop:mail", "--repair", "--yes", "--json")
    seen = found(ran)
    assert (seen.code, seen.details("repair")) == (0, {"queue": "mail", "done": {"buried": 1, "returned": 1}})
    mail = any_shop.queue("mail")
    dead = mail.get_sync(bodiless)
    assert dead is not None
    assert (dead.state, dead.reason) == ("dead", "body_lost")
    assert mail.handle(placeless).status_sync() == "pending"
    assert look(any_shop, "shop:mail").result("orphans") == "ok"

    ran = any_shop.apart("worker", "shop:mail", "--burst", "--quiet")
    assert ran.code == 0
    assert mail.handle(placeless).status_sync() == "completed"
    ran = any_shop.here("doctor", "shop:mail", "--repair")
    assert (ran.code, ran.out.splitlines()[-1]) == (0, "ok    repair       there is nothing to repair.")


@pytest.mark.parametrize("answer", ["n", "y"])
def test_R15_a_person_is_asked(any_shop: Shop, spoil: Spoil, answer: str) -> None:
    _, placeless = spoilt(any_shop, spoil)
    with on_terminal(any_shop, "doctor", "shop:mail", "--repair") as (process, terminal):
        terminal.until("2 broken records (mail 2) will be put right. Go on?")
        terminal.type(answer.encode() + b"\n")
        rest = terminal.until(None)
        assert process.wait(60) == (0 if answer == "y" else 1)
    assert ("1 job without a body is a dead letter now, 1 body is a pending job again" in rest) == (answer == "y")
    assert ("nothing was changed" in rest) == (answer == "n")
    assert (any_shop.queue("mail").handle(placeless).status_sync() == "pending") == (answer == "y")


def test_R15_a_repair_beside_a_running_worker_runs_each_job_once(any_shop: Shop, spoil: Spoil) -> None:
    any_shop.write(
        "counting.py",
        f"""
from surefoot import Queue

mail = Queue("{any_shop.url}", name="mail")


@mail.task(keep_result=3600)
async def count(number: int) -> int:
    with open("ran", "a") as ran:
        ran.write(f"{{number}}\\n")
    return number
""",
    )
    mail = any_shop.queue("mail")
    count = mail.by_name("count")
    mail.pause_sync()
    jobs = [count.enqueue_sync(number=number) for number in range(60)]
    for number in range(0, 20, 2):
        spoil(any_shop, jobs[number].id, jobs[number + 1].id)
    with at_work(any_shop, "counting:mail"):
        mail.resume_sync()
        ran = any_shop.apart("doctor", "counting:mail", "--repair", "--yes")
        assert ran.code == 0, ran.out
        eventually(lambda: mail.stats_sync().pending + mail.stats_sync().processing == 0)
    states = [job.status_sync() for job in jobs]
    assert states == ["dead" if number % 2 == 0 and number < 20 else "completed" for number in range(60)]
    ran_once = sorted(int(line) for line in (any_shop.folder / "ran").read_text().splitlines())
    assert ran_once == [number for number in range(60) if states[number] == "completed"]


def test_R15_a_key_that_nobody_holds_any_more_is_free(
    any_shop: Shop, request: pytest.FixtureRequest, ids: dict[str, str]
) -> None:
    dead = ids["dead"]
    if any_shop.url.startswith("sqlite"):
        by_hand(any_shop, f"UPDATE job SET unique_key = 'close_month k' WHERE id = '{dead}'")
    else:
        server: Server = request.getfixturevalue("server")
        with server.conversation() as talk:
            talk.say("SELECT", any_shop.url.rpartition("/")[2])
            talk.say("HSET", "{surefoot:billing}:unique", "close_month k", dead)
    keyed = any_shop.queue("billing").by_name("close_month").options(key=Key("k"))
    assert keyed.enqueue_sync(month="may").duplicate
    assert "queue 'billing': 1 key whose holder is gone" in look(any_shop, "shop:billing").words("orphans")
    ran = any_shop.here("doctor", "shop:billing", "--repair", "--yes")
    assert (ran.code, "queue 'billing': 1 key is free." in ran.out) == (0, True)
    assert not keyed.enqueue_sync(month="may").duplicate


def test_R15_bodies_in_a_file_of_several_queues_wait_to_be_told_which(file_shop: Shop, spoil: Spoil) -> None:
    _, placeless = spoilt(file_shop, spoil)
    file_shop.queue("billing").resume_sync()
    seen = look(file_shop, "shop")
    assert seen.code == 1
    assert "1 body that stands in no place; nothing says of which queue. Say which one: surefoot doctor -q NAME" in (
        seen.words("orphans")
    )
    ran = file_shop.here("doctor", "shop", "--repair", "--yes")
    assert (ran.code, file_shop.queue("mail").handle(placeless).status_sync()) == (1, None)
    ran = file_shop.here("doctor", "shop", "-q", "mail", "--repair", "--yes")
    assert (ran.code, file_shop.queue("mail").handle(placeless).status_sync()) == (0, "pending")
    connection = sqlite3.connect(file_shop.folder / "jobs.db")
    assert connection.execute("SELECT count(*) FROM job").fetchone() == (2,)
    connection.close()
