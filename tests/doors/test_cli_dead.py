"""dead list, show, requeue, edit and delete: what matches, what is asked, what changes."""

from __future__ import annotations

import re

import pytest
from tests.doors.cli_shop import Shop, interrupt, on_terminal

from surefoot.brokers.broker import Put
from surefoot.core.job import NewJob

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


def test_ctrl_c_at_the_question_changes_nothing(shop: Shop, ids: dict[str, str]) -> None:
    with on_terminal(shop, "dead", "delete", "--all", "-A", "shop") as (process, terminal):
        terminal.until("[y/N]: ")
        assert interrupt(process, terminal) == 130
        assert "Traceback" not in terminal.until(None)
    assert state(shop, "billing", ids["dead"]) == state(shop, "billing", ids["invalid"]) == "dead"


# --- requeueing slowly ---


def test_a_terminal_sees_how_far_a_slow_requeue_is(shop: Shop, ids: dict[str, str]) -> None:
    words = ("dead", "requeue", "--all", "--rate", "10", "--yes", "-A", "shop")
    with on_terminal(shop, *words) as (process, terminal):
        seen = terminal.until(None)
        assert process.wait(timeout=30) == 0
    assert re.split(r"[\r\n]+", seen.strip()) == ["2 of 2", "2 jobs requeued."]


def test_a_slow_requeue_goes_on_without_its_command(shop: Shop, ids: dict[str, str]) -> None:
    """The second job is due in 100 s, and nobody stays for it."""
    ran = shop.here("dead", "requeue", "--all", "--rate", "0.01", "--yes", "-A", "shop")
    assert (ran.code, ran.err) == (0, "2 jobs requeued; the last one is due in 100 s.\n")
    assert sorted(filter(None, (state(shop, "billing", ids[name]) for name in ("dead", "invalid")))) == [
        "pending",
        "scheduled",
    ]


def test_letters_are_grouped_by_what_they_died_of(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("dead", "list", "--group", "-A", "shop")
    header, *lines = ran.out.splitlines()
    assert (ran.code, ran.err) == (0, "")
    assert header.split() == ["dead", "queue", "task", "reason", "last", "died", "newest", "error"]
    assert len(lines) == 2 and all(line.split()[0] == "1" for line in lines)
    records = shop.here("dead", "list", "--group", "-A", "shop", "--json").records()
    assert list(records[0]) == [
        "queue", "task", "kind", "message", "reason", "count", "first_at", "last_at", "newest",
    ]  # fmt: skip
    assert {record["newest"] for record in records} == {ids["dead"], ids["invalid"]}
    ran = shop.here("dead", "list", "--group", "--task", "nobody", "-A", "shop")
    assert (ran.code, ran.err) == (1, "surefoot: no dead job matches.\n")


def test_without_a_terminal_nothing_is_drawn(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.apart("dead", "requeue", "--all", "--rate", "50", "--yes", "-A", "shop")
    assert (ran.code, ran.out, ran.err) == (0, "", "2 jobs requeued.\n")


# --- edit ---


def test_edit_changes_the_named_arguments_and_shows_both(shop: Shop, ids: dict[str, str]) -> None:
    id = ids["invalid"]
    ran = shop.here("dead", "edit", id, "month=ju\x1bne", "-A", "shop")
    assert (ran.code, ran.out) == (0, 'month  5 -> "ju\\u001bne"\n')
    assert ran.err == f"job {id} (close_month) is edited: surefoot dead requeue {id}\n"
    job = shop.queue("billing").get_sync(id)
    assert job is not None
    assert (job.state, job.reason, job.arguments) == ("dead", "invalid", {"month": "ju\x1bne"})
    ran = shop.here("dead", "edit", id, 'month:="july"', "-A", "shop", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.records() == [
        {
            "id": id, "queue": "billing", "task": "close_month", "old": {"month": "ju\x1bne"}, "new": {"month": "july"},
            "dry_run": False,
        }
    ]  # fmt: skip


def test_a_rehearsed_edit_checks_and_changes_nothing(shop: Shop, ids: dict[str, str]) -> None:
    id = ids["invalid"]
    ran = shop.here("dead", "edit", id, "month=june", "--dry-run", "-A", "shop")
    assert (ran.code, ran.out) == (0, 'month  5 -> "june"\n')
    assert ran.err == f"job {id} (close_month) would be edited; nothing was changed.\n"
    ran = shop.here("dead", "edit", id, "month:=6", "--dry-run", "-A", "shop")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "surefoot: close_month() got 6 (an int) for 'month', which is a str.\n"
    job = shop.queue("billing").get_sync(id)
    assert job is not None
    assert job.arguments == {"month": 5}


FIRST = """
from shop import Retry, billing

@billing.task(retry=Retry(max_attempts=1))
def close(month: str) -> None:
    raise ValueError(month)
"""

UPCAST = """
from shop import billing as till

@till.task(schema=2, upcast=lambda old, arguments: {"period": arguments["month"]})
def close(period: str, deep: bool = False) -> None: ...
"""


@pytest.mark.parametrize("rehearsal", [(), ("--dry-run",)])
def test_a_letter_of_an_older_version_is_brought_up_first(rehearsal: tuple[str, ...], shop: Shop) -> None:
    shop.write("upcast.py", UPCAST)
    shop.write("first.py", FIRST)
    assert shop.apart("enqueue", "close", "month=may", "-A", "first").code == 0
    shop.apart("worker", "first:billing", "--burst", "--quiet")
    (letter,) = shop.queue("billing").dead.find_sync(task="close")
    ran = shop.here("dead", "edit", letter.id, "deep=true", "-A", "upcast:till", "--json", *rehearsal)
    (record,) = ran.records()
    assert (record["old"], record["new"]) == ({"month": "may"}, {"period": "may", "deep": True})
    ran = shop.here("dead", "edit", letter.id, "dep=true", "-A", "upcast:till", *rehearsal)
    assert (ran.code, ran.err) == (2, "surefoot: close() has no parameter 'dep'; did you mean 'deep'?\n")


@pytest.mark.parametrize("rehearsal", [(), ("--dry-run",)])
def test_an_upcast_that_raises_is_the_applications_own_traceback(
    rehearsal: tuple[str, ...], shop: Shop, ids: dict[str, str]
) -> None:
    source = shop.folder / "shop.py"
    options = 'max_attempts=1), schema=2, upcast=lambda old, arguments: arguments["nothing"])'
    source.write_text(source.read_text().replace("max_attempts=1))", options))
    ran = shop.here("dead", "edit", ids["invalid"], "month=june", "-A", "shop", *rehearsal)
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith(
        "surefoot: the code that reads arguments of close_month raised; nothing was stored:\n  File "
    )
    assert ran.err.endswith("KeyError: 'nothing'\n")
    assert "src/surefoot" not in ran.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["mnth=june"], "close_month() has no parameter 'mnth'; did you mean 'month'?"),
        (["month:=[1]"], "close_month() got [1] (a list) for 'month', which is a str."),
        (["month"], "'month' is no argument: write KEY=VALUE, or KEY:=JSON. See `surefoot dead edit --help`."),
        ([], "say what changes: surefoot dead edit {id} KEY=VALUE. See `surefoot dead edit --help`."),
    ],
)
def test_an_edit_that_does_not_fit_is_refused(words: list[str], sentence: str, shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("dead", "edit", ids["invalid"], *words, "-A", "shop")
    assert (ran.code, ran.out, ran.err) == (2, "", f"surefoot: {sentence.format(id=ids['invalid'])}\n")
    job = shop.queue("billing").get_sync(ids["invalid"])
    assert job is not None
    assert job.arguments == {"month": 5}


def test_a_letter_that_cannot_be_read_is_not_edited(shop: Shop) -> None:
    billing = shop.queue("billing")
    billing.sessions.ask_sync([Put(billing.full_name, (NewJob("junk", b"no envelope"),))])
    shop.apart("worker", "shop:billing", "--burst", "--quiet")
    assert state(shop, "billing", "junk") == "dead"
    for words in ([], ["--dry-run"]):
        ran = shop.here("dead", "edit", "junk", "month=x", "-A", "shop", *words)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == "surefoot: job junk cannot be read here, so its arguments cannot be changed.\n"


def test_only_the_dead_are_edited(shop: Shop, ids: dict[str, str]) -> None:
    for words in ([], ["--dry-run"]):
        ran = shop.here("dead", "edit", ids["later"], "address=x", "-A", "shop", *words)
        assert (ran.code, ran.out) == (1, "")
        assert ran.err == f"surefoot: job {ids['later']} is not dead but scheduled; only a dead job can be edited.\n"
    ran = shop.here("dead", "edit", NEVER, "address=x", "-A", "shop")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"surefoot: there is no job {NEVER} (mail, billing)")


def test_without_an_application_what_follows_the_sign_is_text(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("dead", "edit", ids["invalid"], "month=7", "more:=7", "--url", shop.url)
    assert (ran.code, ran.out) == (0, 'month  5 -> "7"\nmore   (not given) -> 7\n')
    job = shop.queue("billing").get_sync(ids["invalid"])
    assert job is not None
    assert job.arguments == {"month": "7", "more": 7}
