"""What an open page costs the store, as the server itself counts it. Bounds on counts, never on time."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from tests.conformance.stores import server_of
from tests.dashboard.stage import Shop
from tests.redis_costs.test_costs import Cost
from tests.servers import why_not

from surefoot.dashboard.app import PAGES
from surefoot.dashboard.fresh import Fresh

KIND = "valkey-9"
DOCS = Path(__file__).parents[2] / "docs" / "dashboard.md"
LOOKS = {
    "overview": "/",
    "queue": "/queue?name=mail",
    "jobs": "/jobs?queue=mail&state=dead",
    "job": "/job?queue=mail&id={id}",
    "dead": "/dead",
    "workers": "/workers",
    "crons": "/crons",
    "history": "/history",
    "changes": "/changes",
}


@pytest.fixture
def server_shop() -> Shop:
    if reason := why_not(KIND):
        pytest.skip(reason)
    server = server_of(KIND)
    server.say("FLUSHALL")
    return Shop(server.url)


def costs(shop: Shop) -> dict[str, int]:
    """Commands of one look at each page, with two queues."""
    (id,) = shop.dead("nobody")
    shop.close_month.enqueue_sync("may")
    found: dict[str, int] = {}
    with shop.site() as visitor, server_of(KIND).conversation() as talk:
        visitor.page("/")  # connects
        for name, path in LOOKS.items():
            with Cost(talk) as cost:
                visitor.client.get(f"{path.format(id=id)}{'&' if '?' in path else '?'}again=1").raise_for_status()
            found[name] = sum(count for command, count in cost.commands.items() if count > 0)
    return found


def told() -> dict[str, tuple[int, int]]:
    """What the docs say of each page: commands of a look, and a minute."""
    rows = re.findall(r"^\| (\w+) \|[^|]*\| *([\d,]+) *\| *([\d,]+) *\|", DOCS.read_text(), re.MULTILINE)
    return {name: (int(look.replace(",", "")), int(minute.replace(",", ""))) for name, look, minute in rows}


def test_a_page_costs_no_more_than_the_docs_say(server_shop: Shop) -> None:
    assert set(LOOKS) == set(PAGES) == set(told())
    found, written = costs(server_shop), told()
    for name, (look, minute) in written.items():
        assert 0.7 * look <= found[name] <= look, f"{name} costs {found[name]} commands: docs/dashboard.md says {look}"
        every_s = PAGES[name].every_s
        assert minute == (round(look * 60 / every_s) if every_s else 0), name


def test_the_first_page_costs_the_same_however_many_jobs_there_are(server_shop: Shop) -> None:
    server_shop.mail.enqueue_many_sync([server_shop.welcome.draft(f"{n}@b.c") for n in range(100)])
    server_shop.close_month.enqueue_sync("may")
    with server_shop.site() as visitor, server_of(KIND).conversation() as talk:
        visitor.page("/")
        with Cost(talk) as few:
            visitor.page("/", again=1)
        for _ in range(4):
            server_shop.mail.enqueue_many_sync([server_shop.welcome.draft(f"{n}@b.c") for n in range(500)])
        with Cost(talk) as many:
            visitor.page("/", again=2)
    assert sum(many.commands.values()) <= sum(few.commands.values())


async def test_ten_who_look_at_once_cost_what_one_does() -> None:
    asked = 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)
        return asked

    fresh = Fresh()
    assert await asyncio.gather(*(fresh.get("page", 60, ask) for _ in range(10))) == [1] * 10
    assert await fresh.get("page", 60, ask) == 1
    assert await fresh.get("other page", 60, ask) == 2
    fresh.forget()
    assert await fresh.get("page", 60, ask) == 3


async def test_one_who_leaves_does_not_end_the_question_of_the_others() -> None:
    going = asyncio.Event()

    async def ask() -> str:
        await going.wait()
        return "told"

    fresh = Fresh()
    first, second = (asyncio.ensure_future(fresh.get("page", 60, ask)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    going.set()
    assert await second == "told"


async def test_a_fault_is_told_to_all_who_wait_and_not_kept() -> None:
    fresh = Fresh()

    async def fail() -> str:
        await asyncio.sleep(0)
        raise ConnectionError("away")

    async def answer() -> str:
        return "back"

    waiting = await asyncio.gather(*(fresh.get("page", 60, fail) for _ in range(3)), return_exceptions=True)
    assert [str(one) for one in waiting] == ["away"] * 3
    assert await fresh.get("page", 60, answer) == "back"
