"""cancel: by id, by task, all; what is asked, what is rehearsed, what runs and what is not found."""

from __future__ import annotations

import pytest
from tests.doors.cli_shop import Shop, at_work, eventually, interrupt, on_terminal

NEVER = "0" * 28

SLOW = """
import asyncio
import shop
from shop import mail

@mail.task(keep_result=60)
async def sleep() -> str:
    await asyncio.sleep(600)
    return "slept"
"""


@pytest.fixture
def shop(any_shop: Shop) -> Shop:
    return any_shop


def state(shop: Shop, queue: str, id: str) -> str | None:
    job = shop.queue(queue).get_sync(id)
    return None if job is None else job.state


def test_by_id_in_whichever_queue_it_is(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("cancel", ids["later"], ids["paused"], "-A", "shop", "--reason", "wrong month")
    assert (ran.code, ran.out, ran.err) == (0, "", "2 jobs cancelled.\n")
    assert state(shop, "mail", ids["later"]) == state(shop, "billing", ids["paused"]) == "cancelled"
    told = shop.queue("mail").explain_sync(ids["later"])
    assert "wrong month" in told.sentence
    assert state(shop, "mail", ids["waits"]) == "pending"


def test_what_was_not_cancelled_is_named(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("cancel", ids["later"], ids["dead"], NEVER, ids["later"], "--url", shop.url)
    assert (ran.code, ran.out) == (0, "")
    left = f"2 of 3 jobs not cancelled: {ids['dead']} (dead), {NEVER} (unknown)."
    assert ran.err == f"1 job cancelled.\n{left}\n"
    assert state(shop, "billing", ids["dead"]) == "dead"


def test_nothing_cancelled_is_exit_1(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("cancel", NEVER, "bad\x1b[31m", "-A", "shop")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == f"surefoot: 2 of 2 jobs not cancelled: {NEVER} (unknown), bad\\x1b[31m (unknown).\n"
    ran = shop.here("cancel", NEVER, ids["failed"], "-A", "shop", "--json")
    assert (ran.code, ran.records()) == (
        1,
        [
            {
                "verb": "cancel", "matched": 2, "cancelled": 0, "requested": 0, "finished": [ids["failed"]],
                "unknown": [NEVER],
            }
        ],
    )  # fmt: skip


def test_a_list_of_many_is_cut_in_the_sentence(shop: Shop, ids: dict[str, str]) -> None:
    many = [f"{number:028}" for number in range(1200)]
    ran = shop.here("cancel", *many, ids["later"], "-A", "shop")
    assert ran.code == 0
    assert ran.err.startswith(f"1 job cancelled.\n1,200 of 1,201 jobs not cancelled: {many[0]} (unknown), ")
    assert ran.err.endswith(" and 1,190 more.\n")


def test_a_running_job_is_asked(shop: Shop) -> None:
    shop.write("slow.py", SLOW)
    with at_work(shop, "slow:mail"):
        job = shop.queue("mail").by_name("sleep").enqueue_sync()
        eventually(lambda: job.status_sync() == "processing")
        ran = shop.here("cancel", job.id, "-A", "slow", "--reason", "enough")
        assert (ran.code, ran.out, ran.err) == (0, "", "1 running job asked to stop.\n")
        eventually(lambda: job.status_sync() == "cancelled")


def test_by_task_and_all_need_yes_without_a_terminal(shop: Shop, ids: dict[str, str]) -> None:
    for words in (["--task", "close_month"], ["--all", "-q", "billing"]):
        ran = shop.apart("cancel", *words, "-A", "shop", typed="y\n")
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == (
            "surefoot: 1 job (billing 1) would be cancelled; without a terminal to ask on this needs --yes. "
            "See `surefoot cancel --help`.\n"
        )
    assert state(shop, "billing", ids["paused"]) == "pending"


def test_by_task(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("cancel", "--task", "welcome", "--yes", "-A", "shop")
    assert (ran.code, ran.out, ran.err) == (0, "", "1 job cancelled.\n")
    assert state(shop, "mail", ids["later"]) == "cancelled"
    assert state(shop, "mail", ids["waits"]) == state(shop, "billing", ids["paused"]) == "pending"


def test_all_spares_what_is_over(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("cancel", "--all", "--yes", "-A", "shop", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.records() == [
        {"verb": "cancel", "matched": 3, "cancelled": 3, "requested": 0, "finished": [], "unknown": []}
    ]
    assert state(shop, "billing", ids["dead"]) == "dead"
    assert state(shop, "mail", ids["failed"]) == "completed"


def test_all_of_more_jobs_than_a_page_holds(shop: Shop) -> None:
    mail = shop.queue("mail")
    receipt = mail.by_name("receipt")
    mail.enqueue_many_sync([receipt.draft(number=number) for number in range(1001)])
    mail.enqueue_many_sync([receipt.options(delay=60).draft(number=number) for number in range(1001)])
    mail.by_name("other").enqueue_sync()
    ran = shop.here("cancel", "--task", "receipt", "--yes", "-A", "shop")
    assert (ran.code, ran.err) == (0, "2,002 jobs cancelled.\n")
    now = mail.stats_sync()
    assert (now.pending, now.scheduled) == (1, 0)


def test_a_dry_run_shows_and_changes_nothing(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("cancel", "--all", "--dry-run", "-A", "shop")
    assert (ran.code, ran.err) == (0, "3 jobs would be cancelled; nothing was changed.\n")
    assert {line.split()[0] for line in ran.out.splitlines()[1:]} == {ids["later"], ids["waits"], ids["paused"]}
    ran = shop.here("cancel", ids["later"], ids["dead"], NEVER, "--dry-run", "-A", "shop", "--json")
    assert (ran.code, ran.err, [record["id"] for record in ran.records()]) == (0, "", [ids["later"]])
    ran = shop.here("cancel", NEVER, "--dry-run", "-A", "shop")
    assert (ran.code, ran.err) == (1, "surefoot: no waiting or running job matches.\n")
    assert state(shop, "mail", ids["later"]) == "scheduled"


@pytest.mark.parametrize("words", [["--task", "nothing"], ["--all", "-q", "mail"]])
def test_nothing_that_matches_is_exit_1(words: list[str], shop: Shop) -> None:
    ran = shop.here("cancel", *words, "--yes", "-A", "shop")
    assert (ran.code, ran.out, ran.err) == (1, "", "surefoot: no waiting or running job matches.\n")


@pytest.mark.parametrize(
    ("typed", "code", "said", "after"),
    [
        (b"y\n", 0, "3 jobs cancelled.", "cancelled"),
        (b"n\n", 1, "surefoot: nothing was changed.", "scheduled"),
    ],
)
def test_on_a_terminal_it_shows_the_count_and_asks(
    typed: bytes, code: int, said: str, after: str, shop: Shop, ids: dict[str, str]
) -> None:
    with on_terminal(shop, "cancel", "--all", "-A", "shop") as (process, terminal):
        assert "3 jobs (mail 2, billing 1) will be cancelled. Go on? [y/N]:" in terminal.until("[y/N]: ")
        terminal.type(typed)
        rest = terminal.until(None)
        assert process.wait(timeout=30) == code
    assert said in rest
    assert "Traceback" not in rest
    assert state(shop, "mail", ids["later"]) == after


def test_ctrl_c_at_the_question_changes_nothing(shop: Shop, ids: dict[str, str]) -> None:
    with on_terminal(shop, "cancel", "--all", "-A", "shop") as (process, terminal):
        terminal.until("[y/N]: ")
        assert interrupt(process, terminal) == 130
        assert "Traceback" not in terminal.until(None)
    assert state(shop, "mail", ids["later"]) == "scheduled"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "say which: surefoot cancel ID, or a filter such as --task, or --all. See `surefoot cancel --help`."),
        (
            [NEVER, "--all"],
            "give ids, or filters, or --all: not ids and others together. See `surefoot cancel --help`.",
        ),
        (["--group", "acme"], "--group acme: 'group' is reserved and not in this release; use --task."),
        (["--al"], "there is no option '--al'; did you mean '--all'? See `surefoot cancel --help`."),
    ],
)
def test_wrong_usage(words: list[str], sentence: str, shop: Shop) -> None:
    ran = shop.here("cancel", *words, "-A", "shop")
    assert (ran.code, ran.out, ran.err) == (2, "", f"surefoot: {sentence}\n")


def test_a_server_that_is_away_and_a_broken_application(file_shop: Shop) -> None:
    ran = file_shop.here("cancel", NEVER, "--url", "redis://127.0.0.1:1/0")
    assert (ran.code, ran.out, ran.err.count("\n")) == (4, "", 1)
    assert ran.err.startswith("surefoot: cannot reach redis://127.0.0.1:1/0 (connection refused)")
    file_shop.write("broken.py", "1 / 0\n")
    assert file_shop.here("cancel", NEVER, "-A", "broken").code == 3
