"""dead list, show, requeue and delete: what matches, what is asked, what changes."""

from __future__ import annotations

import pytest
from tests.doors.cli_shop import Shop, on_terminal

NEVER = "0" * 28


@pytest.fixture
def shop(any_shop: Shop) -> Shop:
    """Whatever is not about files or URLs is the same on every store."""
    return any_shop


def state(shop: Shop, queue: str, id: str) -> str | None:
    job = shop.queue(queue).get_sync(id)
    return None if job is None else job.state


def test_dead_list_names_reason_and_error(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("dead", "list", "--app", "shop")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert len(lines) == 3
    assert any(ids["dead"] in line and "exhausted, RuntimeError: card provider down" in line for line in lines)
    assert any(ids["invalid"] in line and "invalid" in line for line in lines)


def test_dead_letters_are_filtered(shop: Shop, ids: dict[str, str]) -> None:
    def found(*args: str) -> set[object]:
        ran = shop.here("dead", "list", "--url", shop.url, "--json", *args)
        return {record["id"] for record in ran.records()}

    both = {ids["dead"], ids["invalid"]}
    assert found() == both
    assert found("--reason", "exhausted") == {ids["dead"]}
    assert found("--error", "CARD PROVIDER") == {ids["dead"]}
    assert found("--task", "close_month") == both
    assert found("--since", "1h") == both
    assert found("-q", "mail") == set()
    assert found("--until", "1h") == set()
    assert shop.here("dead", "list", "--url", shop.url, "--reason", "crash_loop").code == 1


def test_dead_show_is_for_the_dead(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("dead", "show", ids["dead"], "-A", "shop")
    assert ran.code == 0
    assert "state     dead (exhausted)\n" in ran.out
    assert "RuntimeError: card provider down" in ran.out
    assert "Traceback" in ran.out
    ran = shop.here("dead", "show", ids["later"], "-A", "shop")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"surefoot: job {ids['later']} is not dead but scheduled: surefoot jobs show {ids['later']}\n"


def test_requeue_by_id(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("dead", "requeue", ids["dead"], "-A", "shop")
    assert (ran.code, ran.out, ran.err) == (0, "", "1 job requeued.\n")
    assert state(shop, "billing", ids["dead"]) == "pending"
    assert state(shop, "billing", ids["invalid"]) == "dead"


def test_an_id_that_is_not_dead_is_exit_1_and_the_others_are_done(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("dead", "requeue", ids["dead"], ids["later"], NEVER, "-A", "shop", "--json")
    assert (ran.code, ran.records()) == (1, [{"verb": "requeue", "matched": 3, "changed": 1}])
    assert ran.err == "surefoot: 2 of 3 jobs not requeued: unknown, not dead, or its key is taken.\n"
    assert state(shop, "billing", ids["dead"]) == "pending"


def test_delete_by_id_spares_what_is_not_dead(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("dead", "delete", ids["dead"], ids["later"], "-A", "shop")
    assert (ran.code, ran.out) == (1, "")
    assert (
        ran.err == "1 of 2 jobs deleted.\nsurefoot: 1 of 2 jobs not deleted: unknown, not dead, or its key is taken.\n"
    )
    assert state(shop, "billing", ids["dead"]) is None
    assert state(shop, "mail", ids["later"]) == "scheduled"


def test_many_need_yes_without_a_terminal(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.apart("dead", "requeue", "--all", "-A", "shop", typed="y\n")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "surefoot: 2 dead jobs (billing 2) would be requeued; without a terminal to ask on this needs --yes. "
        "See `surefoot dead requeue --help`.\n"
    )
    assert state(shop, "billing", ids["dead"]) == "dead"


def test_yes_changes_all_that_match(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("dead", "requeue", "--error", "card", "--yes", "-A", "shop")
    assert (ran.code, ran.out, ran.err) == (0, "", "1 job requeued.\n")
    assert state(shop, "billing", ids["dead"]) == "pending"
    ran = shop.here("dead", "delete", "--all", "--yes", "-A", "shop", "--json")
    assert (ran.code, ran.records()) == (0, [{"verb": "delete", "matched": 1, "changed": 1}])
    assert state(shop, "billing", ids["invalid"]) is None
    assert state(shop, "billing", ids["paused"]) == "pending"


def test_a_rate_is_taken(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("dead", "requeue", "--all", "--rate", "1000", "--yes", "-A", "shop")
    assert (ran.code, ran.err) == (0, "2 jobs requeued.\n")
    assert shop.here("dead", "requeue", "--all", "--rate", "0", "--yes", "-A", "shop").code == 2


def test_a_dry_run_shows_and_changes_nothing(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("dead", "delete", "--all", "--dry-run", "-A", "shop")
    assert ran.code == 0
    assert ids["dead"] in ran.out
    assert ids["invalid"] in ran.out
    assert ran.err == "2 dead jobs would be deleted; nothing was changed.\n"
    ran = shop.here("dead", "requeue", ids["dead"], ids["later"], "--dry-run", "-A", "shop", "--json")
    assert [record["id"] for record in ran.records()] == [ids["dead"]]
    assert state(shop, "billing", ids["dead"]) == "dead"


@pytest.mark.parametrize(
    "line", ["requeue --task nothing --yes", "delete --task nothing --yes", "requeue --all -q mail"]
)
def test_nothing_that_matches_is_exit_1(line: str, shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("dead", *line.split(), "-A", "shop")
    assert (ran.code, ran.out, ran.err) == (1, "", "surefoot: no dead job matches.\n")


@pytest.mark.parametrize(
    ("typed", "code", "said", "after"),
    [
        (b"y\n", 0, "2 jobs requeued.", "pending"),
        (b"n\n", 1, "surefoot: nothing was changed.", "dead"),
        (b"\n", 1, "surefoot: nothing was changed.", "dead"),
        (b"\x04", 130, "", "dead"),
    ],
)
def test_on_a_terminal_it_shows_the_count_and_asks(
    typed: bytes, code: int, said: str, after: str, shop: Shop, ids: dict[str, str]
) -> None:
    with on_terminal(shop, "dead", "requeue", "--all", "-A", "shop") as (process, terminal):
        seen = terminal.until("Go on?")
        assert "2 dead jobs (billing 2) will be requeued. Go on? [y/N]:" in seen
        terminal.type(typed)
        rest = terminal.until(None)
        assert process.wait(timeout=30) == code
    assert said in rest
    assert "Traceback" not in rest
    assert state(shop, "billing", ids["dead"]) == after
