"""cron: list, pause, resume and run; lines of the code here and of living workers."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from tests.doors.cli_shop import Shop, at_work, eventually

from surefoot.brokers.broker import Beat
from surefoot.client.presence import CronLine, PresenceInfo
from surefoot.core.schedule import parse_cron

KEYS = [
    "queue", "name", "task", "expression", "timezone", "overlap", "next_at", "last_at", "paused", "workers",
]  # fmt: skip

LINES = """
import shop
from shop import billing, mail

@mail.task(priority="high")
def report(region: str) -> None: ...

report.cron("0 6 * * *", name="report-eu", overlap="allow").with_args("eu")

@billing.every(0.5, keep_result=60)
def tick() -> None: ...

@billing.every(0.5)
def tock() -> None: ...

@billing.cron("@daily", overlap="queue")
def close_day() -> None: ...
"""


@pytest.fixture
def shop(any_shop: Shop) -> Shop:
    any_shop.write("lines.py", LINES)
    return any_shop


def line(shop: Shop, name: str, *target: str) -> dict[str, object]:
    found = shop.here("cron", "list", *(target or ("-A", "lines")), "--json").records()
    (record,) = [one for one in found if one["name"] == name]
    return record


def test_the_lines_of_the_code_are_listed_with_their_own_clock(shop: Shop) -> None:
    before = datetime.now(UTC)
    ran = shop.here("cron", "list", "lines")
    assert (ran.code, ran.err) == (0, "")
    header, *rows = ran.out.splitlines()
    assert header.split() == ["name", "queue", "task", "expression", "zone", "overlap", "next", "last"]
    cells = {row.split()[0]: re.split("  +", row) for row in rows}
    assert list(cells) == ["tick", "tock", "close_day", "nightly", "report-eu"]
    shown = cells["nightly"]
    assert shown[1:6] == ["mail", "nightly", "0 6 * * mon-fri", "Europe/Paris", "skip"]
    assert re.fullmatch(r"(Mon|Tue|Wed|Thu|Fri) 20\d\d-\d\d-\d\d 06:00:00", shown[6])
    assert shown[7:] == ["-", "no living worker has it"]
    assert [cells[name][5] for name in cells] == ["skip", "skip", "queue", "skip", "allow"]
    record = line(shop, "nightly")
    assert list(record) == KEYS
    at = datetime.fromisoformat(str(record["next_at"]))
    next_ms = parse_cron("0 6 * * mon-fri", "Europe/Paris").next_ms(round(before.timestamp() * 1000))
    assert next_ms is not None
    assert at.timestamp() == next_ms / 1000
    assert at.utcoffset() == datetime.fromtimestamp(next_ms / 1000, ZoneInfo("Europe/Paris")).utcoffset()
    assert (record["last_at"], record["paused"], record["workers"]) == (None, None, 0)


def test_list_may_be_left_out(shop: Shop) -> None:
    def told(*args: str) -> list[tuple[object, object]]:
        return [(one["queue"], one["name"]) for one in shop.here(*args, "--json").records()]

    assert (
        told("cron", "-A", "shop") == told("cron", "shop:mail") == told("cron", "list", "shop") == [("mail", "nightly")]
    )
    assert told("cron", "lines", "-q", "billing") == [
        ("billing", "tick"), ("billing", "tock"), ("billing", "close_day"),
    ]  # fmt: skip


def test_living_workers_tell_their_lines_where_there_is_no_application(shop: Shop) -> None:
    with at_work(shop, "lines"):
        eventually(lambda: line(shop, "tick")["last_at"] and line(shop, "nightly")["workers"])
        tick = line(shop, "tick", "--url", shop.url)
        assert (tick["expression"], tick["workers"], tick["overlap"]) == ("every 0.5 s", 1, None)
        assert line(shop, "nightly", "--url", shop.url)["workers"] == 1
    ran = shop.here("cron", "--url", shop.url)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == ("surefoot: there is no cron: neither in the code of the application nor on a living worker.\n")


def test_pause_and_resume(shop: Shop) -> None:
    ran = shop.here("cron", "pause", "nightly", "-A", "lines", "--reason", "rebuilt \x1b[31m")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "cron 'nightly' of queue 'mail' is paused (rebuilt \\x1b[31m).\n"
    record = line(shop, "nightly")
    assert isinstance(record["paused"], dict)
    assert record["paused"]["reason"] == "rebuilt \x1b[31m"
    row = next(row for row in shop.here("cron", "lines").out.splitlines() if row.startswith("nightly"))
    assert re.search(r"  paused since \d\d:\d\d: rebuilt \\x1b\[31m, no living worker has it$", row)
    assert line(shop, "report-eu")["paused"] is None
    ran = shop.here("cron", "resume", "nightly", "-A", "lines", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.records() == [{"queue": "mail", "cron": "nightly", "paused": None}]
    assert line(shop, "nightly")["paused"] is None
    ran = shop.here("cron", "pause", "nightly", "-A", "lines")
    assert ran.err == "cron 'nightly' of queue 'mail' is paused.\n"


def test_a_paused_line_does_not_tick_and_a_resumed_one_does(shop: Shop) -> None:
    assert shop.here("cron", "pause", "tick", "-A", "lines").code == 0
    with at_work(shop, "lines"):
        eventually(lambda: line(shop, "tock")["last_at"])
        first = line(shop, "tock")["last_at"]
        eventually(lambda: line(shop, "tock")["last_at"] != first)  # a tick of the other has gone by
        assert shop.queue("billing").find_sync(task="tick") == []
        assert shop.here("cron", "resume", "tick", "--url", shop.url).code == 0
        eventually(lambda: shop.queue("billing").find_sync(task="tick"))


def test_run_enqueues_the_job_of_a_tick_now(shop: Shop) -> None:
    ran = shop.here("cron", "run", "report-eu", "-A", "lines")
    assert (ran.code, ran.err) == (0, "report is enqueued on queue 'mail'.\n")
    job = shop.queue("mail").get_sync(ran.out.strip())
    assert job is not None
    assert (job.task, job.arguments, job.priority, job.state) == ("report", {"region": "eu"}, 2, "pending")
    ran = shop.here("cron", "run", "report-eu", "-A", "lines", "--json")
    (record,) = ran.records()
    assert list(record) == ["id", "queue", "task", "cron"]
    assert (ran.code, record["task"], record["cron"]) == (0, "report", "report-eu")
    assert line(shop, "report-eu")["last_at"] is None


def test_run_holds_to_the_overlap_of_the_line(shop: Shop) -> None:
    first = shop.here("cron", "run", "nightly", "-A", "lines")
    ran = shop.here("cron", "run", "nightly", "-A", "lines")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        f"surefoot: the last job of cron 'nightly' is not over, and its overlap is 'skip': {first.out.strip()}\n"
    )


def test_run_of_a_line_that_only_a_worker_has_is_refused(shop: Shop) -> None:
    with at_work(shop, "lines"):
        shop.here("pause", "lines")
        eventually(lambda: line(shop, "report-eu")["workers"])
        ran = shop.here("cron", "run", "report-eu", "--url", shop.url)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "surefoot: the cron 'report-eu' of queue 'mail' is known from a worker, which does not say its arguments: "
        "name the application that has it in its code (--app module:queue).\n"
    )


@pytest.mark.parametrize("verb", ["pause", "resume", "run"])
def test_an_unknown_name_is_answered_with_the_nearest(verb: str, shop: Shop) -> None:
    ran = shop.here("cron", verb, "nightl", "-A", "shop:mail")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "surefoot: queue 'mail' has no cron 'nightl'; did you mean 'nightly'? Known: nightly.\n"
    ran = shop.here("cron", verb, "xyz", "-A", "shop:billing")
    assert (ran.code, ran.err) == (2, "surefoot: queue 'billing' has no cron 'xyz'. Known: none.\n")


def test_an_empty_store_and_an_application_without_crons(shop: Shop) -> None:
    ran = shop.here("cron", "shop:billing")
    assert (ran.code, ran.out) == (1, "")
    ran = shop.here("cron", "run", "nightly", "--url", f"{shop.url}?namespace=other")
    assert (ran.code, ran.out) in ((2, ""), (4, ""))


def test_what_a_strange_worker_says_is_shown_and_steers_nothing(shop: Shop) -> None:
    billing = shop.queue("billing")
    lines = (
        CronLine("bad\x1b[2J", "t", "every \x1b", "Nowhere/Land", 0),
        CronLine("worse", "t", "not a line", "Europe/Paris"),
    )
    said = PresenceInfo(name="w", crons=("bad\x1b[2J", "worse"), cron_lines=lines)
    billing.sessions.ask_sync([Beat(billing.full_name, "w" * 16, said.encode())])
    ran = shop.here("cron", "shop:billing")
    assert ran.code == 0, ran.err
    assert "bad\\x1b[2J" in ran.out
    assert "\x1b" not in ran.out
    assert line(shop, "worse", "shop:billing")["next_at"] is None


def test_last_is_the_tick_in_the_zone_of_the_line(shop: Shop) -> None:
    with at_work(shop, "lines"):
        eventually(lambda: line(shop, "tick")["last_at"])
    record = line(shop, "tick")
    last = datetime.fromisoformat(str(record["last_at"]))
    assert last.utcoffset() == timedelta(0)
    assert last.timestamp() % 0.5 == 0
    row = next(row for row in shop.here("cron", "lines").out.splitlines() if row.startswith("tick"))
    assert f"  {last:%a %Y-%m-%d %H:%M:%S}  no living worker has it" in row


def test_a_server_that_is_away_and_a_broken_application(file_shop: Shop) -> None:
    for words in (["list", "--url"], ["pause", "x", "--url"], ["run", "x", "--url"]):
        ran = file_shop.here("cron", *words, "redis://127.0.0.1:1/0")
        assert (ran.code, ran.out, ran.err.count("\n")) == (4, "", 1)
    file_shop.write("broken.py", "1 / 0\n")
    assert file_shop.here("cron", "list", "broken").code == 3
    assert file_shop.here("cron", "run", "x", "-A", "broken").code == 3
    ran = file_shop.here("cron", "puase", "nightly")
    assert (ran.code, ran.err) == (
        2, "surefoot: there is no command 'puase'; did you mean 'pause'? See `surefoot cron --help`.\n",
    )  # fmt: skip
