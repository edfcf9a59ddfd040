"""audit: who changed what by hand, over all queues of the target."""

from __future__ import annotations

import pytest
from tests.doors.cli_shop import Shop

from surefoot.client.who import who


@pytest.fixture
def shop(any_shop: Shop) -> Shop:
    return any_shop


def test_nothing_changed_is_exit_1(shop: Shop) -> None:
    ran = shop.here("audit", "shop")
    assert (ran.code, ran.out, ran.err) == (1, "", "surefoot: nothing was changed by hand yet.\n")


def test_changes_of_all_queues_are_shown_newest_first(shop: Shop, ids: dict[str, str]) -> None:
    shop.here("pause", "shop:mail", "--reason", "provider\ndown")
    shop.here("cancel", ids["later"], "--app", "shop")
    shop.here("pause", "shop:billing")
    ran = shop.here("audit", "shop")
    assert ran.code == 0
    header, *lines = ran.out.splitlines()
    assert header.split() == ["at", "queue", "who", "what", "jobs", "of", "reason"]
    assert [line.split()[2:5] for line in lines if "billing" in line] == [["billing", who(), "pause"]]
    cancelled = next(line for line in lines if ids["later"] in line)
    assert cancelled.split()[3:6] == [who(), "cancel", "1"]
    assert any("provider down" in line for line in lines)
    records = shop.here("audit", "shop", "--json").records()
    assert list(records[0]) == ["queue", "at", "who", "what", "many", "reason", "names"]
    assert {(record["queue"], record["what"]) for record in records} >= {
        ("mail", "pause"), ("mail", "cancel"), ("billing", "pause"),
    }  # fmt: skip
    assert len(shop.here("audit", "shop:mail", "--limit", "1", "--json").records()) == 1
