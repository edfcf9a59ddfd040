"""enqueue: arguments by type, options, dry run, waiting for the end, and every way in which it refuses."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from tests.doors.cli_shop import Shop, at_work, command, eventually, on_terminal, source
from tests.faults.proxy import Proxy
from tests.servers import HOST, KINDS, Server, why_not

from surefoot import Queue
from surefoot.core.job import Job

TYPED = """
import enum, uuid
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
import pydantic

from surefoot import Queue

desk = Queue("sqlite:///jobs.db", name="desk")


class Colour(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    SMALL = 1


@dataclass
class Row:
    price: float


class Order(pydantic.BaseModel):
    day: date
    rows: list[int]


@desk.task
def kinds(
    whole: int = 0, real: float = 0, flag: bool = False, text: str = "", perhaps: int | None = None,
    either: int | str = 0,
    day: date | None = None, moment: datetime | None = None, hour: time | None = None, span: timedelta | None = None,
    id: uuid.UUID | None = None, money: Decimal | None = None, colour: Colour | None = None, size: Size = Size.SMALL,
    word: Literal["x", "y"] = "x", digit: Literal[1, 2] = 1, raw: bytes = b"", anything: Any = None, bare=None,
    rows: list[Row] | None = None, numbers: set[int] | None = None, small: Annotated[int, msgspec.Meta(lt=10)] = 0,
    smaller: Annotated[int, pydantic.Field(lt=5)] = 0, order: Order | None = None,
) -> None: ...


@desk.task
def starred(first: int, /, second: str, *rest: int, **more: float) -> None: ...


@desk.task
def optioned(delay: int) -> None: ...


@desk.task(name="renamed", aliases=("older",))
def named() -> None: ...
"""


@pytest.fixture
def shop(any_shop: Shop) -> Shop:
    return any_shop


@pytest.fixture
def desk(file_shop: Shop) -> Shop:
    file_shop.write("typed.py", TYPED)
    return file_shop


def rehearsed(shop: Shop, *words: str) -> object:
    """The arguments as they would be stored."""
    ran = shop.here("enqueue", *words, "-A", "typed", "--dry-run", "--json")
    assert (ran.code, ran.err) == (0, ""), ran.err
    (record,) = ran.records()
    return record["arguments"]


def stored(shop: Shop, queue: str, id: str) -> Job:
    job = shop.queue(queue).get_sync(id.strip())
    assert job is not None
    return job


def test_the_id_is_the_answer_and_the_rest_a_message(shop: Shop) -> None:
    ran = shop.here("enqueue", "welcome", "address=a@b.c", "language=fr", "-A", "shop:mail")
    assert (ran.code, ran.err) == (0, "welcome is enqueued on queue 'mail'.\n")
    job = stored(shop, "mail", ran.out)
    assert (job.task, job.state, job.arguments) == ("welcome", "pending", {"address": "a@b.c", "language": "fr"})
    quiet = shop.here("enqueue", "receipt", "number=5", "-A", "shop", "--quiet")
    assert (quiet.code, quiet.err, stored(shop, "mail", quiet.out).arguments) == (0, "", {"number": 5})


def test_as_json_it_is_one_object_with_stable_keys(shop: Shop) -> None:
    ran = shop.here("enqueue", "receipt", "number=5", "-A", "shop", "--json")
    (record,) = ran.records()
    assert (ran.code, ran.err) == (0, "")
    assert list(record) == ["id", "queue", "task", "duplicate", "state", "result", "error"]
    assert stored(shop, "mail", str(record["id"])).arguments == {"number": 5}
    assert (record["queue"], record["task"], record["duplicate"], record["state"]) == ("mail", "receipt", False, None)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("whole=5", 5),
        ("whole=-5", -5),
        ("real=5", 5.0),
        ("real=1e3", 1000.0),
        ("flag=true", True),
        ("flag=0", False),
        ("text=5", "5"),
        ("text=", ""),
        ("text=a=b:=c\nd", "a=b:=c\nd"),
        ("text:=\"quoted\"", "quoted"),
        ("perhaps=5", 5),
        ("perhaps=null", None),
        ("either=5", "5"),
        ("either:=5", 5),
        ("day=2026-11-01", "2026-11-01"),
        ("moment=2026-11-01T09:00:00+01:00", "2026-11-01T09:00:00+01:00"),
        ("hour=09:30:00", "09:30:00"),
        ("span=90", "PT90S"),
        ("span=5m", "PT300S"),
        ("span=1d", "P1D"),
        ("span=PT5M", "PT300S"),
        ("id=75b7a7b6-abe1-423c-a808-b7788456fd65", "75b7a7b6-abe1-423c-a808-b7788456fd65"),
        ("money=1.50", "1.50"),
        ("colour=red", "red"),
        ("size=1", 1),
        ("word=y", "y"),
        ("digit=2", 2),
        ("raw=aGk=", "aGk="),
        ("anything=5", "5"),
        ("anything:=[1,{\"a\":null}]", [1, {"a": None}]),
        ("bare=5", "5"),
        ('rows:=[{"price": 5}]', [{"price": 5.0}]),
        ("numbers:=[1]", [1]),
        ("small=9", 9),
        ("smaller=4", 4),
        ('order:={"day": "2026-11-01", "rows": [1]}', {"day": "2026-11-01", "rows": [1]}),
    ],
)  # fmt: skip
def test_a_value_is_read_by_the_type_of_its_parameter(word: str, value: object, desk: Shop) -> None:
    assert rehearsed(desk, "kinds", word) == {re.split("[:=]", word)[0]: value}


def test_arguments_that_a_call_gives_by_position_or_by_any_name(desk: Shop) -> None:
    assert rehearsed(desk, "starred", "first=1", "second=2") == {"first": 1, "second": "2"}
    assert rehearsed(desk, "starred", "second=2", "first=1", "rest:=[3, 4]", "z=1.5") == {
        "first": 1, "second": "2", "rest": [3, 4], "more": {"z": 1.5},
    }  # fmt: skip


def test_arguments_as_one_object(desk: Shop) -> None:
    assert rehearsed(desk, "kinds", "--args", '{"whole": 5, "day": "2026-11-01"}', "flag=1") == {
        "whole": 5, "flag": True, "day": "2026-11-01",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["kinds", "whole=x"], "kinds() got 'x' for 'whole', which is an int."),
        (["kinds", "whole=5.5"], "kinds() got '5.5' for 'whole', which is an int."),
        (["kinds", "flag=yes"], "kinds() got 'yes' for 'flag', which is a bool."),
        (["kinds", "real=nan"], "kinds() got 'nan' for 'real', which is a float."),
        (["kinds", "text:=5"], "kinds() got 5 for 'text', which is a str."),
        (["kinds", "word=z"], "kinds() got 'z' for 'word', which is one of 'x', 'y': invalid enum value 'z'."),
        (["kinds", "whle=5"], "kinds() has no parameter 'whle'; did you mean 'whole'?"),
        (["starred", "second=2"], "starred() is missing 'first'."),
        (["kinds", 'rows:=[{"price": "x"}]'], "kinds() got 'x' inside 'rows[0].price', which is a float."),
        (
            ["kinds", "rows=[1]"],
            "kinds() got '[1]' for 'rows', which is a list[Row] or None. JSON is written with :=, rows:=[1]",
        ),
        (["kinds", "delay=5"], "kinds() has no parameter 'delay'; it is an option: --delay 5"),
        (["optioned", "delay=x"], "optioned() got 'x' for 'delay', which is an int."),
        (
            ["kinds", "timeout=5"],
            "kinds() has no parameter 'timeout'; it is an option: kinds.options(timeout='5').enqueue(...).",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused_as_at_enqueue(words: list[str], sentence: str, desk: Shop) -> None:
    ran = desk.here("enqueue", *words, "-A", "typed")
    assert (ran.code, ran.out, ran.err) == (2, "", f"surefoot: {sentence}\n")
    assert desk.queue("desk").find_sync() == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["kinds", "whole"], "'whole' is no argument: write KEY=VALUE, or KEY:=JSON."),
        (["kinds", "5=x"], "'5=x' is no argument: write KEY=VALUE, or KEY:=JSON."),
        (["kinds", "whole=1", "whole=2"], "'whole' is given twice."),
        (["kinds", "whole=1", "--args", '{"whole": 1}'], "'whole' is given twice."),
        (
            ["kinds", "rows:=[1"],
            "rows:='[1' is no JSON: Input data was truncated. Text is written rows=TEXT; quote the whole for the "
            "shell.",
        ),
        (
            ["kinds", "--args", "[1]"],
            "--args '[1]' is no JSON object by parameter name: Expected `object`, got `array`.",
        ),
        (
            ["kinds", "--delay", "soon"],
            "invalid value for '--delay': 'soon' is not a duration; write 90, 90s, 5m, 2h or 1d.",
        ),
        (
            ["kinds", "--delay", "5", "--at", "2030-01-01T00:00Z"],
            "--delay and --at both say when; give one of them.",
        ),
        (
            ["kinds", "--at", "noon"],
            "invalid value for '--at': 'noon' is no moment; write it like 2026-12-24T18:00+01:00.",
        ),
        (
            ["kinds", "--at", "2030-01-01T18:00"],
            "invalid value for '--at': '2030-01-01T18:00' has no time zone; write {local} for this machine's.",
        ),
        (
            ["kinds", "--priority", "hihg"],
            "invalid value for '--priority': 'hihg' is no priority; did you mean 'high'?",
        ),
        (
            ["kinds", "--priority", "10"],
            "invalid value for '--priority': '10' is no priority; give high, normal, low, or a number from 0 (first) "
            "to 9.",
        ),
        (["kinds", "--wait", "5x"], "invalid value for '--wait': '5x' is not a duration; write 90, 90s, 5m, 2h or 1d."),
        (["kinds", "--wiat"], "there is no option '--wiat'; did you mean '--wait'?"),
        ([], "missing argument 'TASK'."),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_sentence(words: list[str], sentence: str, desk: Shop) -> None:
    ran = desk.here("enqueue", *words, "-A", "typed")
    local = datetime(2030, 1, 1, 18).astimezone().isoformat(timespec="minutes")
    sentence = sentence.replace("{local}", local)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"surefoot: {sentence} See `surefoot enqueue --help`.\n"
    assert desk.queue("desk").find_sync() == []


def test_a_command_without_a_word_names_what_is_missing(file_shop: Shop) -> None:
    for verb, word in (("enqueue", "TASK"), ("cron run", "NAME"), ("dead edit", "ID")):
        ran = file_shop.here(*verb.split())
        sentence = f"surefoot: missing argument '{word}'. See `surefoot {verb} --help`.\n"
        assert (ran.code, ran.out, ran.err) == (2, "", sentence)


def test_a_key_that_cannot_be_one_is_refused(desk: Shop) -> None:
    ran = desk.here("enqueue", "renamed", "--key", "", "-A", "typed")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("surefoot: key='' is not a key; ")


# --- which task, which queue ---


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["welcom", "address=a@b.c", "-A", "shop:mail"],
            "queue 'mail' has no task 'welcom'; did you mean 'welcome'? Known: nightly, receipt, welcome.",
        ),
        (["xyz", "-A", "shop:mail"], "queue 'mail' has no task 'xyz'. Known: nightly, receipt, welcome."),
        (
            ["welcom", "-A", "shop"],
            "none of the queues 'mail', 'billing' has a task 'welcom'; did you mean 'welcome'? Known: close_month, "
            "nightly, receipt, welcome.",
        ),
    ],
)
def test_an_unknown_task_is_answered_with_the_nearest(words: list[str], sentence: str, shop: Shop) -> None:
    ran = shop.here("enqueue", *words)
    assert (ran.code, ran.out, ran.err) == (2, "", f"surefoot: {sentence}\n")


def test_a_task_of_two_queues_needs_a_queue(shop: Shop) -> None:
    shop.write("two.py", "from shop import mail, billing, welcome\nbilling.add(welcome)\n")
    ran = shop.here("enqueue", "welcome", "address=a@b.c", "-A", "two")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "surefoot: 'welcome' is a task of the queues 'mail', 'billing': name one of them with -q.\n"
    ran = shop.here("enqueue", "welcome", "address=a@b.c", "-A", "two", "-q", "billing")
    assert (ran.code, ran.err) == (0, "welcome is enqueued on queue 'billing'.\n")
    assert stored(shop, "billing", ran.out).task == "welcome"


def test_an_older_name_is_the_task_itself(desk: Shop) -> None:
    ran = desk.here("enqueue", "older", "-A", "typed")
    assert (ran.code, stored(desk, "desk", ran.out).task) == (0, "renamed")


def test_without_an_application_the_task_is_taken_as_it_is(shop: Shop) -> None:
    shop.here("pause", "shop")  # the store knows its queues from now on
    ran = shop.here("enqueue", "of_another_language", "number=5", "rows:=[1]", "--url", shop.url, "-q", "mail")
    assert (ran.code, ran.err) == (0, "of_another_language is enqueued on queue 'mail'.\n")
    job = stored(shop, "mail", ran.out)
    assert (job.task, job.arguments) == ("of_another_language", {"number": "5", "rows": [1]})


@pytest.mark.parametrize("queues", [[], ["-q", "mail,billing"]])
def test_without_an_application_one_queue_must_be_named(queues: list[str], shop: Shop) -> None:
    ran = shop.here("enqueue", "welcome", "--url", shop.url, *queues)
    assert (ran.code, ran.out) == (2, "")
    sentence = "without an application one queue must be named: -q NAME."
    assert ran.err == f"surefoot: {sentence} See `surefoot enqueue --help`.\n"


def test_without_an_application_a_name_that_no_task_can_have_is_refused(shop: Shop) -> None:
    shop.here("pause", "shop")
    ran = shop.here("enqueue", "wel come", "--url", shop.url, "-q", "mail")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "surefoot: by_name('wel come'): a task's name has 1 to 128 letters, digits or _ . : -.\n"


def test_without_an_application_a_queue_is_known_by_its_worker(shop: Shop) -> None:
    with at_work(shop, "shop:billing"):
        eventually(lambda: shop.queue("billing").workers_sync())
        ran = shop.here("enqueue", "close_month", "month=may", "--url", shop.url, "-q", "billing", "--wait", "--quiet")
    assert (ran.code, ran.out) == (1, "")
    assert "(close_month) is dead (exhausted)" in ran.err


def test_without_an_application_a_misspelt_queue_is_refused(shop: Shop) -> None:
    shop.here("pause", "shop")
    ran = shop.here("enqueue", "close_month", "--url", shop.url, "-q", "biling")
    assert (ran.code, ran.out) == (2, "")
    assert "the store has no queue 'biling'; did you mean 'billing'?" in ran.err
    way_out = "One begins with its first worker, or the first job of its application: --app module:queue."
    assert way_out in ran.err
    queue = Queue(shop.url, name="brand-new")
    queue.by_name("close_month").enqueue_sync()
    assert shop.here("enqueue", "close_month", "--url", shop.url, "-q", "brand-new").code == 0


# --- options ---


def test_delay_and_at_say_when(shop: Shop) -> None:
    ran = shop.here("enqueue", "receipt", "number=1", "-A", "shop", "--delay", "2h")
    job = stored(shop, "mail", ran.out)
    assert job.state == "scheduled"
    assert abs(job.due_at - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=5)
    assert re.fullmatch(r"receipt is enqueued on queue 'mail', due \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\n", ran.err)
    ran = shop.here("enqueue", "receipt", "number=1", "-A", "shop", "--at", "2100-12-24T18:00+01:00")
    assert stored(shop, "mail", ran.out).due_at == datetime(2100, 12, 24, 17, tzinfo=UTC)
    ran = shop.here("enqueue", "receipt", "number=1", "-A", "shop", "--at", "2020-12-24T18:00Z")
    assert stored(shop, "mail", ran.out).state == "pending"


@pytest.mark.parametrize(("word", "number"), [("high", 2), ("normal", 5), ("low", 8), ("0", 0), ("9", 9)])
def test_a_priority_is_a_word_or_a_digit(word: str, number: int, shop: Shop) -> None:
    ran = shop.here("enqueue", "receipt", "number=1", "-A", "shop", "--priority", word)
    assert stored(shop, "mail", ran.out).priority == number


def test_a_taken_key_is_told_and_its_holder_is_the_answer(shop: Shop) -> None:
    first = shop.here("enqueue", "receipt", "number=1", "-A", "shop", "--key", "k\x1b")
    assert first.code == 2
    first = shop.here("enqueue", "receipt", "number=1", "-A", "shop", "--key", "k1")
    second = shop.here("enqueue", "receipt", "number=2", "-A", "shop", "--key", "k1")
    assert (second.code, second.out) == (0, first.out)
    assert second.err == "nothing was stored: the key 'k1' is taken by this job of receipt.\n"
    (record,) = shop.here("enqueue", "receipt", "number=2", "-A", "shop", "--key", "k1", "--json").records()
    assert (record["id"], record["duplicate"]) == (first.out.strip(), True)
    assert stored(shop, "mail", first.out).arguments == {"number": 1}


def test_a_dry_run_shows_the_job_and_stores_nothing(shop: Shop) -> None:
    ran = shop.here(
        "enqueue", "receipt", "number=5", "-A", "shop", "--dry-run", "--key", "k1", "--priority", "3",
        "--at", "2100-12-24T18:00Z",
    )  # fmt: skip
    assert (ran.code, ran.err) == (0, "nothing was stored.\n")
    due = datetime(2100, 12, 24, 18, tzinfo=UTC).astimezone()
    assert ran.out == (
        "queue     mail\ntask      receipt\npriority  3\nkey       k1\n"
        f'due       {due:%Y-%m-%d %H:%M:%S}\narguments\n  {{\n    "number": 5\n  }}\n'
    )
    ran = shop.here("enqueue", "receipt", "number=5", "-A", "shop", "--dry-run", "--json")
    assert ran.err == ""
    assert ran.records() == [
        {
            "queue": "mail", "task": "receipt", "arguments": {"number": 5}, "priority": 5, "key": None, "due_at": None,
            "dry_run": True,
        }
    ]  # fmt: skip
    assert shop.queue("mail").find_sync() == []


def test_a_full_queue_is_exit_1(shop: Shop) -> None:
    source = shop.folder / "shop.py"
    source.write_text(source.read_text().replace('name="mail")', 'name="mail", max_length=1)'))
    assert shop.here("enqueue", "receipt", "number=1", "-A", "shop").code == 0
    ran = shop.here("enqueue", "receipt", "number=2", "-A", "shop")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("surefoot: queue 'mail' is full: 1 of 1 jobs wait")
    assert ran.err.endswith("Nothing was stored.\n")


# --- waiting ---

WAITING = """
import shop
from shop import mail, billing
from surefoot import Cancel

@mail.task
def echo(value) -> object:
    return value

@mail.task
def stop() -> None:
    raise Cancel("not \\x1b[31mtoday")
"""


def test_wait_prints_the_result(shop: Shop) -> None:
    shop.write("waits.py", WAITING)
    with at_work(shop, "waits"):
        for words, out in (
            (["echo", "value=two\nlines \x1b[31m"], "two\nlines \\x1b[31m\n"),
            (["echo", "value:=[1]"], "[\n  1\n]\n"),
            (["echo", "value:=true"], "true\n"),
        ):
            ran = shop.here("enqueue", *words, "-A", "waits", "--wait")
            assert (ran.code, ran.out) == (0, out), ran.err
            said, _, more = ran.err.partition("\n")
            assert re.fullmatch(r"job \w+: echo is enqueued on queue 'mail'\.", said)
            assert more == "" or more.startswith("no worker is alive"), more  # it may be slow to say so the first time
        ran = shop.here("enqueue", "--wait", "echo", 'value:={"a":1}', "-A", "waits", "--json", "--quiet")
        assert (ran.code, ran.err) == (0, "")
        (record,) = ran.records()
        assert list(record) == ["id", "queue", "task", "duplicate", "state", "result", "error"]
        assert (record["state"], record["result"], record["error"]) == ("completed", {"a": 1}, None)


def test_wait_for_a_task_that_keeps_no_result_says_so(shop: Shop) -> None:
    with at_work(shop):
        ran = shop.here("enqueue", "receipt", "number=1", "-A", "shop", "--wait", "60s")
        assert (ran.code, ran.out) == (0, "")
        assert ran.err.endswith("receipt is completed; it returned nothing.\n")
        ran = shop.here("enqueue", "receipt", "number:=1", "--url", shop.url, "-q", "mail", "--wait", "60", "--json")
        (record,) = ran.records()
        assert (ran.code, record["state"], record["result"]) == (0, "completed", None)


def test_wait_for_a_job_that_dies_is_exit_1_with_its_error(shop: Shop) -> None:
    with at_work(shop):
        ran = shop.here("enqueue", "close_month", "month=may", "-A", "shop", "--wait", "--quiet")
        assert (ran.code, ran.out) == (1, "")
        assert re.fullmatch(
            r"surefoot: job (\w+) \(close_month\) is dead \(exhausted\) after 1 run: RuntimeError: card provider down "
            r"\\x1b\[31m \(surefoot jobs show \1\)\n",
            ran.err,
        )
        ran = shop.here("enqueue", "close_month", "month=may", "-A", "shop", "--wait", "--json")
        (record,) = ran.records()
        assert (ran.code, record["state"], record["result"]) == (1, "dead", None)
        assert isinstance(record["error"], dict)
        assert record["error"]["kind"] == "RuntimeError"


def test_wait_for_a_job_that_is_cancelled_is_exit_1(shop: Shop) -> None:
    shop.write("waits.py", WAITING)
    with at_work(shop, "waits"):
        ran = shop.here("enqueue", "stop", "-A", "waits", "--wait", "--json", "--quiet")
    (record,) = ran.records()
    assert (ran.code, record["state"]) == (1, "cancelled")
    assert "was cancelled: not \\x1b[31mtoday" in ran.err


def test_wait_whose_time_runs_out_is_exit_5_and_the_job_goes_on(shop: Shop) -> None:
    ran = shop.here("enqueue", "welcome", "address=a@b.c", "-A", "shop", "--wait", "0.1s")
    assert (ran.code, ran.out) == (5, "")
    told, nobody, sentence = ran.err.splitlines()
    id = told.split()[1].rstrip(":")
    assert nobody == "no worker is alive on queue 'mail': the job waits for one."
    assert sentence.startswith(f"surefoot: job {id} is still pending after 0.1 s; it goes on. Pending for ")
    assert stored(shop, "mail", id).state == "pending"
    ran = shop.here("enqueue", "welcome", "address=a@b.c", "-A", "shop", "--wait", "0", "--json", "--quiet")
    (record,) = ran.records()
    assert (ran.code, record["state"]) == (5, "pending")


def test_ctrl_c_while_waiting_says_that_the_job_goes_on(shop: Shop) -> None:
    with on_terminal(shop, "enqueue", "welcome", "address=a@b.c", "-A", "shop", "--wait") as (process, terminal):
        seen = terminal.until("the job waits for one.")
        found = re.search(r"job (\w+): welcome is enqueued", seen)
        assert found is not None
        terminal.type(b"\x03")
        rest = terminal.until(None)
        assert process.wait(timeout=30) == 130
    assert f"job {found[1]} goes on: surefoot explain {found[1]}" in rest
    assert "Traceback" not in rest
    assert stored(shop, "mail", found[1]).state == "pending"


# --- the store, the application ---


def test_a_server_that_is_away_is_one_sentence_and_exit_4(file_shop: Shop) -> None:
    for words in (["--url", "redis://127.0.0.1:1/0", "-q", "mail"], ["-A", "far"]):
        file_shop.write(
            "far.py", (file_shop.folder / "shop.py").read_text().replace(file_shop.url, "redis://127.0.0.1:1/0")
        )
        ran = file_shop.here("enqueue", "receipt", "number:=1", *words)
        assert (ran.code, ran.out, ran.err.count("\n")) == (4, "", 1)
        assert ran.err.startswith("surefoot: cannot reach redis://127.0.0.1:1/0 (connection refused)")


def test_when_no_answer_comes_the_id_is_told_before_anybody_tries_again(
    file_shop: Shop, request: pytest.FixtureRequest
) -> None:
    if reason := why_not(KINDS[0]):
        pytest.skip(reason)
    server: Server = request.getfixturevalue("server")
    with Proxy(server.port) as proxy:
        url = f"{proxy.url()}/7?timeout=0.9"
        file_shop.write("far.py", source(url))
        assert file_shop.here("pause", "-A", "far").code == 0
        lost = proxy.swallow_reply(b"EVALSHA", times=100), proxy.swallow_reply(b"EVAL", times=100)
        ran = file_shop.here("enqueue", "receipt", "number=1", "-A", "far")
        assert any(fault.struck for fault in lost)
        proxy.heal()
    assert (ran.code, ran.out) == (4, "")
    found = re.fullmatch(
        rf"surefoot: no answer from {re.escape(url)} within 0.9 s; it may or may not have been stored. "
        r"Before you enqueue it again, see whether it is: surefoot explain (\w+)\n",
        ran.err,
    )
    assert found is not None, ran.err
    assert Queue(f"redis://{HOST}:{server.port}/7", name="mail").get_sync(found[1]) is not None


def test_a_broken_application_is_exit_3(file_shop: Shop) -> None:
    file_shop.write("broken.py", "1 / 0\n")
    ran = file_shop.here("enqueue", "welcome", "-A", "broken")
    assert (ran.code, ran.out) == (3, "")
    assert "ZeroDivisionError" in ran.err
    ran = file_shop.here("enqueue", "welcome", "-A", "shpo")
    assert (ran.code, ran.out) == (3, "")


def test_the_application_comes_from_pyproject_and_words_from_a_real_shell(shop: Shop) -> None:
    shop.write("pyproject.toml", '[tool.surefoot]\napp = "shop:mail"\n')
    ran = command(shop.folder, "enqueue", "welcome", "address=naïve@exämple.org", "--json")
    (record,) = ran.records()
    assert stored(shop, "mail", str(record["id"])).arguments == {"address": "naïve@exämple.org"}
    assert msgspec.json.decode(ran.out)["task"] == "welcome"


def test_what_the_application_raises_on_the_way_is_its_own_traceback(shop: Shop) -> None:
    source = shop.folder / "shop.py"
    hook = "def stamp(draft):\n    raise KeyError('no \\x1b[31m trace id')\n\nmail = "
    text = (
        source.read_text()
        .replace("\nmail = ", "\n" + hook, 1)
        .replace(', name="mail")', ', name="mail", before_enqueue=[stamp])')
    )
    source.write_text(text)
    for words in (["enqueue", "receipt", "number=1"], ["cron", "run", "nightly"]):
        ran = shop.here(*words, "-A", "shop")
        assert (ran.code, ran.out) == (3, "")
        assert ran.err.startswith("surefoot: before_enqueue of queue 'mail' raised; nothing was stored:\n  File ")
        assert "in stamp\n" in ran.err
        assert "src/surefoot" not in ran.err
    assert shop.queue("mail").find_sync() == []


def test_bytes_that_are_no_text_are_refused(shop: Shop) -> None:
    ran = shop.apart("enqueue", "welcome", "address=\udcff", "-A", "shop")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("surefoot: welcome() got '\\udcff' for 'address': half of a surrogate pair")
    assert "Traceback" not in ran.err


def test_options_come_from_variables_and_pyproject_too(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write(
        "pyproject.toml", '[tool.surefoot]\napp = "shop"\n[tool.surefoot.enqueue]\nwait = "0.1s"\npriority = 0\n'
    )
    ran = shop.here("enqueue", "receipt", "number=1")
    assert ran.code == 5
    assert [job.priority for job in shop.queue("mail").find_sync()] == [0]
    monkeypatch.setenv("SUREFOOT_ENQUEUE_DRY_RUN", "1")
    assert shop.here("enqueue", "receipt", "number=1").err == "nothing was stored.\n"
