"""docs/json.md: every command that knows --json has its keys and types there, and writes just these."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import click
import pytest
from tests.doors.cli_shop import Shop, at_work, eventually
from tests.doors.docs_runner import DOCS

from surefoot.cli.main import commands

PAGE: Final = (DOCS / "json.md").read_text()
ELSEWHERE: Final = {"dashboard", "bench", "top", "metrics", "demo"}
"""Whose pages say what they write, or which write no objects."""


def tables() -> dict[str, dict[str, str]]:
    """Types by key, by section."""
    found: dict[str, dict[str, str]] = {}
    for section in PAGE.split("\n## ")[1:]:
        title = section.partition("\n")[0]
        found[title] = {}
        for row in re.findall(r"^\| (`.*?) \| (.*?) \|", section, re.M):
            for key in re.findall(r"`(\w+)`", row[0]):
                assert key not in found[title], f"{title}: {key} stands there twice"
                found[title][key] = row[1]
    found["jobs show"] = found["jobs"] | found["jobs show"]
    return found


TABLES: Final = tables()


def fits(value: Any, kind: str) -> bool:
    if kind.endswith("?"):
        return value is None or fits(value, kind[:-1])
    match kind:
        case "anything":
            return True
        case "text":
            return isinstance(value, str)
        case "yes/no":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "list":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
        case "moment":
            return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
        case _:
            raise AssertionError(f"the page has a type {kind!r}")


def agrees(title: str, records: list[dict[str, Any]]) -> None:
    assert records, f"{title} wrote nothing"
    for record in records:
        assert list(record) != [] and set(record) == set(TABLES[title]), title
        wrong = {key: value for key, value in record.items() if not fits(value, TABLES[title][key])}
        assert not wrong, f"{title}: {wrong}"


APP: Final = ("-A", "shop", "--json")
CASES: Final = {
    "stats": ("stats", "shop", "--json"),
    "jobs": ("jobs", "shop", "--json"),
    "jobs show": ("jobs", "show", "{failed}", *APP),
    "explain": ("explain", "{later}", *APP),
    "enqueue": ("enqueue", "welcome", "address=a@b.example", *APP),
    "enqueue --dry-run": ("enqueue", "welcome", "address=a@b.example", "--dry-run", *APP),
    "cancel": ("cancel", "{later}", *APP),
    "pause": ("pause", "shop:mail", "--json"),
    "cron list": ("cron", "list", "shop", "--json"),
    "cron pause": ("cron", "pause", "nightly", *APP),
    "cron run": ("cron", "run", "nightly", *APP),
    "dead edit": ("dead", "edit", "{dead}", "month=june", *APP),
    "dead requeue": ("dead", "requeue", "{dead}", *APP),
    "doctor": ("doctor", "shop", "--json"),
    "worker --check": ("worker", "shop", "--check", "--json"),
    "completion": ("completion", "bash", "--json"),
    "version": ("version", "--json"),
}


@pytest.mark.parametrize("title", CASES)
def test_a_command_writes_the_keys_of_the_page(shop: Shop, ids: dict[str, str], title: str) -> None:
    ran = shop.here(*(word.format(**ids) for word in CASES[title]))
    assert ran.code == 0, ran.err
    agrees(title, ran.records())


def test_lines_that_need_something_before_them(shop: Shop, ids: dict[str, str]) -> None:
    assert shop.here("pause", "shop:mail").code == 0
    agrees("audit", shop.here("audit", "shop", "--json").records())
    agrees("pause", shop.here("resume", "shop:mail", "--json").records())
    agrees("dead requeue", shop.here("dead", "delete", ids["dead"], "--yes", *APP).records())
    agrees("jobs", shop.here("dead", "list", *APP).records())
    with at_work(shop):
        eventually(lambda: shop.here("workers", "shop").code == 0)
        agrees("workers", shop.here("workers", "shop", "--json").records())
    agrees("worker", shop.apart("worker", "shop", "--burst", "--json").records())


def test_a_wait_tells_what_became_of_it(shop: Shop) -> None:
    with at_work(shop):
        done = shop.here("enqueue", "welcome", "address=a@b.example", "--wait", *APP)
        died = shop.here("enqueue", "close_month", "month=may", "--wait", *APP)
    agrees("enqueue", done.records() + died.records())
    assert [record["state"] for record in done.records() + died.records()] == ["completed", "dead"]


def test_the_first_files(shop: Shop) -> None:
    agrees("init", shop.apart("init", "first", "--json").records())


def with_json(group: click.Group, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from with_json(command, f"{before}{name} ")
        if any(isinstance(one, click.Option) and "--json" in one.opts for one in command.params):
            yield f"{before}{name}"


def test_no_command_is_missing_from_the_page() -> None:
    told = PAGE.replace("\n", " ")
    missing = [
        name
        for name in with_json(commands)
        if name.split()[0] not in ELSEWHERE and f"## {name}" not in PAGE and f"`{name}`" not in told
    ]
    assert not missing
