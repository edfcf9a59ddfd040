"""stats, jobs, explain, pause and resume over a real store, as tables for people and as JSON lines."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from tests.doors.cli_shop import Shop, clean_environment, on_terminal

from surefoot.cli.output import age, clean, counted

HEADER = "queue     scheduled  pending  parked  processing  dead   oldest   done/min  failed/min  workers"
STATS_KEYS = [
    "queue", "scheduled", "pending", "parked", "processing", "dead", "oldest_pending", "done_per_minute",
    "failed_per_minute", "workers", "paused",
]  # fmt: skip
NEVER = "0" * 28


@pytest.fixture
def shop(any_shop: Shop) -> Shop:
    """Whatever is not about files or URLs is the same on every store."""
    return any_shop


def test_stats_is_the_table_of_the_page(shop: Shop, ids: dict[str, str]) -> None:
    shop.here("pause", "shop:billing", "--reason", "card provider down")
    ran = shop.here("stats", "shop")
    header, mail, billing = ran.out.splitlines()
    assert (ran.code, ran.err, header) == (0, "", HEADER)
    assert re.fullmatch(r"mail +1 +1 +0 +0 +0 +\d+(\.\d)? [sm] +\d+ +\d+ +\d", mail)
    assert re.fullmatch(
        r"billing +0 +1 +0 +0 +2 +\d+(\.\d)? [sm] +\d+ +\d+ +\d  paused since \d\d:\d\d: card provider down", billing
    )
    # Right-aligned under their titles, as wide as the widest.
    for title in ("scheduled", "pending", "parked", "processing", "dead"):
        end = header.index(title) + len(title)
        assert mail[end - 1].isdigit()
        assert mail[end] == " "


def test_stats_as_json_has_stable_keys(shop: Shop, ids: dict[str, str]) -> None:
    shop.here("pause", "shop:billing", "--reason", "down")
    mail, billing = shop.here("stats", "shop", "--json").records()
    assert list(mail) == list(billing) == STATS_KEYS
    assert (mail["queue"], mail["scheduled"], mail["pending"], mail["dead"]) == ("mail", 1, 1, 0)
    assert (billing["queue"], billing["pending"], billing["dead"]) == ("billing", 1, 2)
    assert mail["paused"] is None
    assert isinstance(billing["paused"], dict)
    assert billing["paused"]["reason"] == "down"


def test_without_an_application_all_queues_of_the_store_are_told(
    shop: Shop, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def queues(*args: str) -> list[object]:
        return [record["queue"] for record in shop.here("stats", *args, "--json").records()]

    assert queues("--url", shop.url) == ["billing", "mail"]
    assert queues("--url", shop.url, "-q", "mail") == ["mail"]
    assert queues("--url", shop.url, "-q", "mail,billing") == ["mail", "billing"]
    monkeypatch.setenv("SUREFOOT_URL", shop.url)
    assert queues() == ["billing", "mail"]
    monkeypatch.setenv("SUREFOOT_APP", "shop:mail")
    assert queues() == ["mail"]
    assert queues("--url", shop.url) == ["billing", "mail"]


def test_a_queue_that_the_store_does_not_hold_is_refused(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("pause", "--url", shop.url, "-q", "mial")
    assert (ran.code, ran.out) == (2, "")
    sentence = "the store has no queue 'mial'; did you mean 'mail'? Known: billing, mail."
    new = "One begins with its first worker, or the first job of its application: --app module:queue."
    assert ran.err == f"surefoot: {sentence} {new} See `surefoot pause --help`.\n"


def test_an_empty_store_has_no_queue_and_the_answer_is_no(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("stats", "--url", f"{shop.url}?namespace=other")
    assert (ran.code, ran.out, ran.err) == (1, "", "surefoot: there is no queue in this store yet.\n")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///absent/jobs.db", "absent"),
        ("sqlite:///typo.db", "there is no file"),
        (
            "postgres://db/jobs",
            "cannot read the URL 'postgres://...': surefoot stores jobs in sqlite, redis or valkey.",
        ),
        ("sqlite:///jobs.db?tiemout=3", "timeout"),
        ("redis//cache:6379", "did you mean 'redis://cache:6379'?"),
    ],
)
def test_a_store_that_cannot_be_used_is_one_sentence_and_exit_4(url: str, words: str, file_shop: Shop) -> None:
    ran = file_shop.here("stats", "--url", url)
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith("surefoot: ")
    assert ran.err.count("\n") == 1
    assert words in ran.err
    assert not Path("typo.db").exists()


def test_a_queue_without_a_store_is_exit_4(file_shop: Shop) -> None:
    file_shop.write("lost.py", "from surefoot import Queue\nmail = Queue(name='mail')\n")
    ran = file_shop.here("stats", "lost:mail")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err == (
        'surefoot: queue \'mail\' has no store: write Queue("sqlite:///jobs.db", name="mail"), or set SUREFOOT_URL.\n'
    )


def test_a_file_that_is_no_store_is_exit_4(file_shop: Shop) -> None:
    file_shop.write("jobs.db", "this is a diary, and a long one\n" * 400)
    ran = file_shop.here("stats", "shop")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith("surefoot: ")
    assert "Traceback" not in ran.err


def test_watch_draws_again_until_ctrl_c_and_leaves_with_0(shop: Shop, ids: dict[str, str]) -> None:
    with on_terminal(shop, "stats", "shop", "--watch", "0.05s") as (process, terminal):
        for _ in range(3):
            assert "failed/min" in terminal.until("billing")
        terminal.type(b"\x03")
        assert "Traceback" not in terminal.until(None)
        assert process.wait(timeout=30) == 0


def test_colours_come_by_themselves_on_a_terminal(shop: Shop, ids: dict[str, str]) -> None:
    with on_terminal(shop, "jobs", "shop") as (process, terminal):
        seen = terminal.until(None)
        assert process.wait(timeout=30) == 0
    assert "\x1b[31mdead" in seen


# --- jobs ---


def test_jobs_list_is_a_table_and_list_may_be_left_out(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("jobs", "list", "shop", "--state", "scheduled")
    header, line = ran.out.splitlines()
    assert (ran.code, ran.err) == (0, "")
    assert header.split() == ["id", "queue", "task", "state", "enqueued", "runs"]
    assert line.split()[:4] == [ids["later"], "mail", "welcome", "scheduled"]
    assert "  due 20" in line
    for short in (["jobs", "shop"], ["jobs", "--app", "shop"], ["jobs", "--url", shop.url]):
        assert shop.here(*short, "--state", "scheduled").out == ran.out


def test_jobs_are_filtered(shop: Shop, ids: dict[str, str]) -> None:
    def found(*args: str) -> set[object]:
        return {record["id"] for record in shop.here("jobs", "shop", "--json", *args).records()}

    everything = set(ids.values())
    assert found() == everything
    assert found("--state", "dead") == {ids["dead"], ids["invalid"]}
    assert found("--task", "receipt") == {ids["waits"]}
    assert found("--since", "1h") == everything
    assert found("-q", "billing") == {ids["dead"], ids["invalid"], ids["paused"]}
    assert len(found("--limit", "1")) == 2


def test_a_list_that_is_cut_says_so_unless_quiet(shop: Shop, ids: dict[str, str]) -> None:
    note = "there are more: of each queue 1 at most are shown; --limit shows more.\n"
    assert shop.here("jobs", "shop", "--limit", "1").err == note
    assert shop.here("jobs", "shop", "--limit", "1", "--quiet").err == ""
    assert shop.here("jobs", "shop", "--limit", "3").err == ""


def test_no_job_is_exit_1(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("jobs", "shop", "--task", "nothing", "--json")
    assert (ran.code, ran.out, ran.err) == (1, "", "surefoot: no job matches.\n")


def test_group_is_reserved(shop: Shop) -> None:
    ran = shop.here("jobs", "shop", "--group", "acme\x1b")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "surefoot: --group acme\\x1b: 'group' is reserved and not in this release; use --task.\n"
    assert "--group" not in shop.here("jobs", "list", "--help").out


def test_jobs_show_has_facts_arguments_and_each_error(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("jobs", "show", ids["failed"], "--app", "shop")
    assert (ran.code, ran.err) == (0, "")
    facts = dict(line.split(maxsplit=1) for line in ran.out.split("arguments\n")[0].splitlines())
    assert (facts["job"], facts["queue"], facts["task"]) == (ids["failed"], "mail", "welcome")
    assert facts["state"] == "completed"
    assert facts["runs"] == "2 (1 failure), at most 2 may fail"
    assert '"address": "ada"' in ran.out


def test_jobs_show_as_json_carries_the_record_and_its_errors(shop: Shop, ids: dict[str, str]) -> None:
    (record,) = shop.here("jobs", "show", ids["dead"], "--app", "shop", "--json").records()
    assert (record["id"], record["state"], record["reason"]) == (ids["dead"], "dead", "exhausted")
    assert record["arguments"] == {"month": "may"}
    assert isinstance(record["errors"], list)
    (error,) = record["errors"]
    assert list(error) == ["kind", "message", "traceback", "attempt", "started_at", "ended_at", "worker", "reason"]
    assert (error["kind"], error["attempt"]) == ("RuntimeError", 1)
    assert "close_month" in error["traceback"]


def test_S3_no_stored_text_steers_the_terminal(shop: Shop, ids: dict[str, str]) -> None:
    for args in (["jobs", "show", ids["dead"], "-A", "shop"], ["explain", ids["dead"], "-A", "shop"], ["jobs", "shop"]):
        ran = shop.here(*args)
        assert ran.code == 0
        assert "card provider down \\x1b[31m" in ran.out
        assert "\x1b" not in ran.out


@pytest.mark.parametrize("command", [("jobs", "show"), ("explain",), ("dead", "show")])
def test_an_unknown_job_is_exit_1(command: tuple[str, ...], shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here(*command, NEVER, "--app", "shop")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        f"surefoot: there is no job {NEVER} (mail, billing): it ended and keeps no outcome, or it never was.\n"
    )


# --- explain ---


def test_explain_is_one_sentence_then_the_facts(shop: Shop, ids: dict[str, str]) -> None:
    shop.here("pause", "shop:billing", "--reason", "card provider down")
    ran = shop.here("explain", ids["paused"], "--app", "shop")
    sentence, *facts = ran.out.splitlines()
    assert (ran.code, ran.err) == (0, "")
    assert re.fullmatch(
        r"Pending for \d+(\.\d)? (s|min): queue billing is paused since \d\d:\d\d \(card provider down\)\. "
        r"`surefoot resume -q billing`",
        sentence,
    )
    assert all(line.startswith("  ") for line in facts)
    assert ["task", "close_month"] in [line.split() for line in facts]


def test_explain_as_json(shop: Shop, ids: dict[str, str]) -> None:
    (record,) = shop.here("explain", ids["later"], "--url", shop.url, "--json").records()
    assert list(record) == ["job", "queue", "state", "sentence", "reasons", "details"]
    assert (record["job"], record["queue"], record["state"]) == (ids["later"], "mail", "scheduled")
    assert record["reasons"] == ["not_due"]


# --- pause, resume ---


def test_pause_and_resume(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("pause", "shop:billing", "--reason", "card provider down")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "queue 'billing' is paused (card provider down); 1 job pending.\n"
    assert shop.queue("billing").stats_sync().paused is not None
    assert shop.queue("mail").stats_sync().paused is None
    ran = shop.here("resume", "--url", shop.url, "-q", "billing", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.records() == [{"queue": "billing", "paused": None, "pending": 1}]
    assert shop.queue("billing").stats_sync().paused is None


def test_all_queues_are_paused_and_quiet_says_nothing(shop: Shop, ids: dict[str, str]) -> None:
    ran = shop.here("pause", "shop", "--quiet")
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert all(record["paused"] for record in shop.here("stats", "shop", "--json").records())


# --- colours, streams ---


def test_colours_only_where_they_are_wanted(shop: Shop, ids: dict[str, str]) -> None:
    plain = shop.apart("jobs", "shop")
    coloured = shop.apart("jobs", "shop", FORCE_COLOR="1")
    assert "\x1b[" not in plain.out
    assert "\x1b[" in coloured.out
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured.out) == plain.out
    assert shop.apart("jobs", "shop", "--no-color", FORCE_COLOR="1").out == plain.out
    assert shop.apart("jobs", "shop", FORCE_COLOR="1", NO_COLOR="1").out == plain.out


def test_json_never_has_colours(shop: Shop, ids: dict[str, str]) -> None:
    assert shop.apart("jobs", "shop", "--json", FORCE_COLOR="1").records()


def test_lines_are_not_cut_when_they_are_piped(shop: Shop) -> None:
    queue = shop.queue("x" * 128)
    queue.pause_sync("y" * 400)
    assert f"{'x' * 128}  " in shop.here("stats", "--url", shop.url).out
    assert f": {'y' * 400}\n" in shop.here("stats", "--url", shop.url).out


def test_a_closed_pipe_is_no_error(shop: Shop, ids: dict[str, str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "surefoot.cli.main", "stats", "shop", "--json", "--watch", "0.01s"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment(), cwd=shop.folder,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert msgspec.json.decode(process.stdout.readline())["queue"] == "mail"
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait(timeout=30)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain", "plain"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b2J", "\\x9b2J"),
        ("right\u202eleft", "right\\u202eleft"),
        ("1\xa0000 €", "1\xa0000 €"),
        ("\ud800", "\\ud800"),
    ],
)
def test_text_is_cleaned(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


def test_ages_and_counts_in_words() -> None:
    assert [age(seconds) for seconds in (None, 0.21, 840, 3 * 3600)] == ["-", "0.2 s", "14 m", "3 h"]
    assert [counted(number, "job") for number in (0, 1, 2000)] == ["0 jobs", "1 job", "2,000 jobs"]
    assert counted(2, "crash") == "2 crashes"
    assert age(timedelta(days=3).total_seconds()) == "3 d"
