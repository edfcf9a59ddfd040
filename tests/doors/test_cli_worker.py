"""`surefoot worker` as a process: what it says at its start, its log lines, signals and exit codes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest
from tests.doors.cli_shop import Shop, clean_environment
from tests.doors.cli_shop import shop as shop  # a fixture
from tests.servers import start, why_not

from surefoot import __version__
from surefoot.client.queue import Queue

URL = "sqlite:///jobs.db"
LAST_START_LINE = "Ctrl-C once to drain, twice to stop now."


@contextmanager
def running(shop: Shop, *args: str) -> Iterator[subprocess.Popen[str]]:
    """A worker in a process of its own, from its last start-up line on."""
    with subprocess.Popen(
        [sys.executable, "-m", "surefoot.cli.main", "worker", *args],
        cwd=shop.folder, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            read_past(process, LAST_START_LINE)
            yield process
        finally:
            process.kill()


def read_past(process: subprocess.Popen[str], words: str) -> str:
    """What the process says, up to the line with these words; the suite's own limit bounds the wait."""
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"the worker ended without {words!r}; it said:\n{seen}")


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code, and what was said until then."""
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def test_the_start_up_lines_are_those_of_the_page(shop: Shop) -> None:
    ran = shop.apart("worker", "shop:worker", "--burst")
    assert (ran.code, ran.out) == (0, "")
    lines = ran.err.splitlines()
    begin = next(place for place, line in enumerate(lines) if line.startswith("surefoot "))
    first, mail, billing, last = lines[begin : begin + 4]
    path = re.escape(str(shop.folder / "jobs.db"))
    who = rf"surefoot {re.escape(__version__)}  worker web-1:\d+ \([a-z2-7]{{16}}\)"
    assert re.fullmatch(rf"{who}  sqlite:///{path}  namespace surefoot", first)
    assert re.fullmatch(
        r"  mail      receipt, welcome          cron nightly  0 6 \* \* mon-fri  Europe/Paris  next \w{3} 06:00", mail
    )
    assert billing == "  billing   close_month"
    assert last == f"  4 at once (2 threads), drain 3 s. {LAST_START_LINE}"


def test_options_make_a_worker_for_queues(shop: Shop) -> None:
    options = "-c 7 --threads 3 --drain 1m -n night --lease 5s --burst"
    ran = shop.apart("worker", "shop:billing", *options.split())
    assert ran.code == 0
    assert "  worker night:" in ran.err
    assert f"  7 at once (3 threads), drain 60 s. {LAST_START_LINE}\n" in ran.err


def test_the_environment_makes_a_worker_too(shop: Shop) -> None:
    ran = shop.apart("worker", SUREFOOT_APP="shop:billing", SUREFOOT_WORKER_CONCURRENCY="9", SUREFOOT_WORKER_BURST="1")
    assert ran.code == 0
    assert "  9 at once (9 threads), drain 25 s." in ran.err


def test_json_at_start_is_one_object(shop: Shop) -> None:
    ran = shop.apart("worker", "shop:worker", "--burst", "--json")
    (record,) = ran.records()
    assert list(record) == [
        "id", "name", "pid", "version", "url", "namespace", "queues", "concurrency", "threads", "drain"
    ]  # fmt: skip
    assert (record["name"], record["concurrency"], record["threads"], record["drain"]) == ("web-1", 4, 2, 3)
    assert record["queues"] == [
        {
            "queue": "mail",
            "tasks": ["nightly", "receipt", "welcome"],
            "crons": [
                {"name": "nightly", "task": "nightly", "expression": "0 6 * * mon-fri", "timezone": "Europe/Paris"}
            ],
            "declared": [],
        },
        {"queue": "billing", "tasks": ["close_month"], "crons": [], "declared": []},
    ]
    assert LAST_START_LINE not in ran.err


def test_check_prints_what_would_be_served_and_asks_no_store(shop: Shop) -> None:
    shop.write(
        "more.py",
        "from shop import mail\n@mail.every(30)\nasync def beat() -> None: ...\n"
        "@mail.declare\ndef elsewhere() -> None: ...\n",
    )
    ran = shop.here("worker", "shop", "--import", "more", "--check")
    assert ran.code == 0
    first, second, third = ran.out.splitlines()
    assert re.fullmatch(r"  mail {6}receipt, welcome {10}cron nightly  0 6 .* next \w{3} 06:00", first)
    assert second == " " * 38 + "cron beat  every 30 s"
    assert third == "  billing   close_month"
    assert (
        ran.err
        == "  mail declares what nothing here implements: elsewhere\n  2 queues, 5 tasks, 2 crons: all loaded.\n"
    )
    assert not (shop.folder / "jobs.db").exists()


# --- log lines ---


def test_a_log_line_is_time_level_words(shop: Shop) -> None:
    queue = Queue(URL, name="billing")
    id = queue.by_name("close_month").enqueue_sync(month="may").id
    ran = shop.apart("worker", "shop:billing", "--burst")
    (dead,) = [line for line in ran.err.splitlines() if " ERROR " in line]
    assert re.match(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d ERROR   job {id} close_month dead \(attempt=1 ", dead)
    assert "\x1b" not in ran.err
    assert "worker_started" not in ran.err
    assert "worker started" not in ran.err


FIRST_KEYS = ["time", "level", "logger", "message"]


def json_lines(text: str) -> list[dict[str, object]]:
    """Each line as an object; all begin with the same keys, and no value is null."""
    lines: list[dict[str, object]] = [msgspec.json.decode(line) for line in text.splitlines()]
    assert all(list(line)[:4] == FIRST_KEYS and None not in line.values() for line in lines)
    return lines


def test_json_log_lines_carry_the_fields(shop: Shop) -> None:
    queue = Queue(URL, name="billing")
    id = queue.by_name("close_month").enqueue_sync(month="may").id
    ran = shop.apart("worker", "shop:billing", "--burst", "--log-format", "json")
    assert (ran.code, ran.out) == (0, "")
    events = {str(line["event"]): line for line in json_lines(ran.err) if "event" in line}
    assert {"worker_started", "failed", "dead", "worker_stopped"} <= set(events)
    dead = events["dead"]
    ordered = ["event", "job", "task", "queue", "attempt", "duration_ms", "worker", "reason"]
    assert list(dead) == [*FIRST_KEYS, *ordered]
    assert (dead["level"], dead["logger"], dead["job"], dead["task"]) == ("ERROR", "surefoot.worker", id, "close_month")
    assert (dead["queue"], dead["attempt"], dead["reason"]) == ("billing", 1, "exhausted")
    assert isinstance(dead["duration_ms"], float)
    assert events["failed"]["error"] == "RuntimeError: card provider down \x1b[31m"


def test_the_first_json_line_says_who_works_where_and_on_what(shop: Shop) -> None:
    ran = shop.apart("worker", "shop:worker", "--burst", "--log-format", "json")
    first, *_, last = [line for line in json_lines(ran.err) if line["logger"] == "surefoot.worker"]
    told = [first[key] for key in ("event", "worker_name", "version", "url", "namespace", "queues")]
    path = shop.folder / "jobs.db"
    assert told == ["worker_started", "web-1", __version__, f"sqlite:///{path}", "surefoot", ["mail", "billing"]]
    assert [first[key] for key in ("concurrency", "threads", "drain_ms")] == [4, 2, 3000]
    assert (last["event"], last["worker"]) == ("worker_stopped", first["worker"])
    both = shop.apart("worker", "shop:worker", "--burst", "--log-format", "json", "--json")
    (record,) = both.records()
    started = json_lines(both.err)[0]
    assert (started["event"], started["worker"], started["url"]) == ("worker_started", record["id"], record["url"])


def test_every_line_is_json_whatever_the_application_says_through_logging_or_warnings(shop: Shop) -> None:
    shop.write(
        "chatty.py",
        "import logging, warnings\nfrom shop import mail\n@mail.task\ndef talk() -> None:\n"
        "    logging.getLogger('chatty').info('one\\ntwo', extra={'duration': 5, 'what': {1, 2}})\n"
        "    warnings.warn('old', DeprecationWarning)\n"
        "    try:\n        1 / 0\n    except ZeroDivisionError:\n        logging.exception('oh')\n",
    )
    id = Queue(URL, name="mail").by_name("talk").enqueue_sync().id
    ran = shop.apart("worker", "chatty:mail", "--burst", "--log-format", "json", PYTHONWARNINGS="default")
    lines = {str(line["message"]): line for line in json_lines(ran.err)}
    own = lines["one\ntwo"]
    assert [own[key] for key in ("logger", "job", "task", "queue", "attempt", "duration")] == [
        "chatty", id, "talk", "mail", 1, 5
    ]  # fmt: skip
    assert lines["oh"]["job"] == id
    assert str(lines["oh"]["traceback"]).endswith("ZeroDivisionError: division by zero")
    assert any("DeprecationWarning: old" in message for message in lines)


CHATTY_CHILD = """
import logging
from surefoot import Queue
apart = Queue("URL", name="apart")
logging.getLogger("chatty").info("loaded")

@apart.task(executor="process")
def talk() -> None:
    logging.getLogger("chatty").debug("too quiet")
    logging.getLogger("chatty").info("here")
"""


def test_a_child_process_logs_as_the_worker_does(shop: Shop) -> None:
    shop.write("apart.py", CHATTY_CHILD.replace("URL", shop.url))
    queue = Queue(shop.url, name="apart")
    id = queue.by_name("talk").enqueue_sync().id
    ran = shop.apart("worker", "apart:apart", "--burst", "--log-format", "json")
    own = [line for line in json_lines(ran.err) if line["logger"] == "chatty"]
    assert [line["message"] for line in own] == ["loaded", "here"]
    assert [own[1][key] for key in ("level", "job", "task", "queue", "attempt")] == ["INFO", id, "talk", "apart", 1]
    queue.by_name("talk").enqueue_sync()
    ran = shop.apart("worker", "apart:apart", "--burst", "--log-level", "debug")
    assert re.search(r"^[-\d]{10} [:\d]{8} DEBUG   too quiet$", ran.err, re.MULTILINE), ran.err


def test_a_child_process_of_a_worker_in_python_logs_too(shop: Shop) -> None:
    shop.write("apart.py", CHATTY_CHILD.replace("URL", shop.url))
    shop.write("main.py", "import apart\nfrom surefoot import Worker\nWorker(apart.apart).run(burst=True)\n")
    Queue(shop.url, name="apart").by_name("talk").enqueue_sync()
    ran = subprocess.run(
        [sys.executable, "-c", "import apart; from surefoot import Worker; Worker(apart.apart).run(burst=True)"],
        cwd=shop.folder, env=clean_environment(), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert re.search(r"^\S+ \S+ INFO    here$", ran.stderr, re.MULTILINE), ran.stderr


def test_signals_leave_only_json_lines_too(shop: Shop) -> None:
    shop.write("slow.py", SLOW)
    Queue(URL, name="mail").by_name("slow").enqueue_sync(seconds=600)
    with subprocess.Popen(
        [sys.executable, "-m", "surefoot.cli.main", "worker", "slow:mail", "-l", "debug", "--log-format", "json"],
        cwd=shop.folder, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            said = read_past(process, '"event":"started"')
            process.send_signal(signal.SIGINT)
            said += read_past(process, '"event":"worker_draining"')
            process.send_signal(signal.SIGINT)
            code, rest = ended(process)
        finally:
            process.kill()
    assert code == 130
    assert json_lines(said + rest)[-1]["event"] == "worker_stopped"


@pytest.mark.parametrize(
    ("source", "code", "begin", "traceback"),
    [
        ("from surefoot import Queue\nmail = Queue('sqlite:///absent/jobs.db')\n", 4, "", ""),
        ("from surefoot import Queue\nmail = Queue()\n", 3, "queue 'default' has no store: write ", ""),
        ("raise KeyError('no settings')\n", 3, "cannot load 'lost:mail': lost raised while", "KeyError: 'no settings'"),
    ],
)
def test_the_reason_why_it_does_not_start_is_a_json_line(
    source: str, code: int, begin: str, traceback: str, shop: Shop
) -> None:
    shop.write("lost.py", source)
    ran = shop.apart("worker", "lost:mail", "--log-format", "json")
    assert (ran.code, ran.out) == (code, "")
    (line,) = json_lines(ran.err)
    assert (line["level"], line["logger"], line["exit_code"]) == ("ERROR", "surefoot.worker", code)
    assert str(line["message"]).startswith(begin)
    assert str(line.get("traceback", "")).endswith(traceback)


def test_what_needs_a_parent_is_refused_in_a_sentence_where_it_cannot_be(shop: Shop) -> None:
    for words, sentence in (
        (("-p", "0"), "invalid value for '-p' / '--processes': 0 is not in the range x>=1."),
        (("--health", "web"), "invalid value for '--health': 'web' is not a port; write 8080, or 0.0.0.0:8080."),
        (
            ("-p", "2", "--reload"),
            "--reload is for one worker that you work on; leave out --processes and what needs it.",
        ),
    ):
        ran = shop.here("worker", "shop:mail", *words)
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == f"surefoot: {sentence} See `surefoot worker --help`.\n"


def test_hands_that_know_other_queues_are_understood(shop: Shop) -> None:
    ran = shop.apart(*"worker -A shop -c 3 -Q billing -n night -l error --burst --json".split())
    (record,) = ran.records()
    queues = record["queues"]
    assert isinstance(queues, list)
    assert ([queue["queue"] for queue in queues], record["concurrency"], record["name"]) == (["billing"], 3, "night")


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        (("--quiet",), set()),
        (("-l", "warning"), set()),
        ((), {"completed"}),
        (("--verbose",), {"started", "completed"}),
        (("--log-level", "DEBUG"), {"started", "completed"}),
    ],
)
def test_the_level_is_chosen(options: tuple[str, ...], lines: set[str], shop: Shop) -> None:
    Queue(URL, name="mail").by_name("receipt").enqueue_sync(number=1)
    ran = shop.apart("worker", "shop:mail", "--burst", *options)
    assert ran.code == 0
    assert {word for word in ("started", "completed") if f" receipt {word}" in ran.err} == lines
    assert (LAST_START_LINE in ran.err) == ("--quiet" not in options)


def test_logging_that_the_application_has_set_up_stays(shop: Shop) -> None:
    shop.write(
        "logged.py",
        "import logging\nlogging.basicConfig(level='INFO', format='OWN %(message)s')\nfrom shop import mail\n",
    )
    Queue(URL, name="mail").by_name("receipt").enqueue_sync(number=1)
    ran = shop.apart("worker", "logged:mail", "--burst", "--log-format", "json")
    assert re.search(r"^OWN job \w+ receipt completed", ran.err, re.MULTILINE)
    assert ran.err.startswith(
        "surefoot: the application has set up logging itself; --log-level and --log-format are not used.\n"
    )
    assert LAST_START_LINE in ran.err


def test_the_applications_own_lines_are_seen(shop: Shop) -> None:
    shop.write(
        "chatty.py",
        "import logging\nfrom shop import mail\n@mail.task\ndef talk() -> None:\n"
        "    logging.getLogger('chatty').info('one\\ntwo \\x1b[2J')\n",
    )
    Queue(URL, name="mail").by_name("talk").enqueue_sync()
    ran = shop.apart("worker", "chatty:mail", "--burst")
    assert re.search(r"^\S+ \S+ INFO    one\\ntwo \\x1b\[2J$", ran.err, re.MULTILINE)


# --- signals and exit codes ---


SLOW = """
import asyncio
from shop import mail


@mail.task
async def slow(seconds: float) -> None:
    open(f"started-{seconds:g}", "x").close()
    await asyncio.sleep(seconds)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_W7_a_drained_worker_leaves_with_0(number: signal.Signals, shop: Shop) -> None:
    with running(shop, "shop:mail") as process:
        process.send_signal(number)
        code, said = ended(process)
    assert code == 0, said


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_W9_a_second_signal_hands_back_and_leaves_with_its_code(number: signal.Signals, code: int, shop: Shop) -> None:
    shop.write("slow.py", SLOW)
    mail = Queue(URL, name="mail")
    id = mail.by_name("slow").enqueue_sync(seconds=600).id
    with running(shop, "slow:mail", "-l", "debug") as process:
        read_past(process, f"job {id} slow started")
        process.send_signal(number)
        read_past(process, "worker draining")
        process.send_signal(number)
        left, said = ended(process)
    assert left == code, said
    assert "Traceback" not in said
    job = mail.get_sync(id)
    assert job is not None
    assert (job.state, job.failures, job.interruptions) == ("pending", 0, 1)


def test_W12_as_many_stuck_threads_as_there_may_be_is_exit_75(shop: Shop) -> None:
    shop.write(
        "stuck.py",
        "import threading\nfrom shop import mail\n@mail.task(timeout=0.1)\ndef stuck() -> None:\n"
        "    threading.Event().wait()\n",
    )
    Queue(URL, name="mail").by_name("stuck").enqueue_sync()
    ran = shop.apart("worker", "stuck:mail", "--threads", "1", "--drain", "0")
    assert (ran.code, ran.out) == (75, ""), ran.err
    assert "Traceback" not in ran.err


def test_a_store_that_is_not_there_at_the_start_is_exit_4(shop: Shop) -> None:
    shop.write("lost.py", "from surefoot import Queue\nmail = Queue('sqlite:///absent/jobs.db', name='mail')\n")
    ran = shop.apart("worker", "lost:mail")
    assert (ran.code, ran.out) == (4, "")
    *notices, sentence = ran.err.splitlines()
    waiting = "surefoot: waiting for sqlite:///absent/jobs.db, which does not answer yet; up to 5 s."
    assert notices in ([], [waiting])  # nothing is said where the answer is no before anybody waits
    assert sentence.startswith("surefoot: ") and "absent" in sentence


def test_who_waits_for_a_store_at_the_start_is_told_so_before_it_is_given_up(shop: Shop) -> None:
    shop.write("lost.py", "from surefoot import Queue\nmail = Queue('redis://u:secret@127.0.0.1:1/0', name='mail')\n")
    ran = shop.apart("worker", "lost:mail")
    notice, sentence = ran.err.splitlines()
    assert (ran.code, ran.out) == (4, "")
    assert notice == "surefoot: waiting for redis://u:***@127.0.0.1:1/0, which does not answer yet; up to 5 s."
    assert sentence.startswith("surefoot: cannot reach redis://u:***@127.0.0.1:1/0 (connection refused)")
    ran = shop.apart("worker", "lost:mail", "--log-format", "json")
    waiting, error = json_lines(ran.err)
    assert (waiting["level"], str(waiting["message"])[:11], error["level"]) == ("INFO", "waiting for", "ERROR")
    assert shop.apart("worker", "lost:mail", "--quiet").err.count("\n") == 1


@pytest.mark.skipif(why_not("valkey-9") is not None, reason="there is no server here")
@pytest.mark.parametrize("target", ["eviction:mail", "eviction:worker"])
def test_R14_a_server_that_may_drop_jobs_is_exit_4_unless_it_is_allowed(target: str, shop: Shop) -> None:
    with start(shop.folder / "server", options={"maxmemory-policy": "allkeys-lru", "appendonly": "yes"}) as server:
        shop.write(
            "eviction.py",
            f"from surefoot import Queue, Worker\nmail = Queue({server.url!r}, name='mail')\nworker = Worker(mail)\n",
        )
        ran = shop.apart("worker", target, "--burst")
        assert (ran.code, ran.out) == (4, "")
        assert ran.err.startswith(
            f"surefoot: {server.url} may drop jobs when its memory is full: its maxmemory-policy "
        )
        assert "allkeys-lru" in ran.err and "--allow-eviction" in ran.err
        assert ran.err.count("\n") == 1
        allowed = shop.apart("worker", target, "--burst", "--allow-eviction")
        assert (allowed.code, allowed.out) == (0, ""), allowed.err
        assert LAST_START_LINE in allowed.err and "allkeys-lru" in allowed.err


def test_queues_of_two_stores_are_exit_3(shop: Shop) -> None:
    shop.write(
        "two.py", "from shop import mail\nfrom surefoot import Queue\nother = Queue('sqlite:///b.db', name='other')\n"
    )
    ran = shop.apart("worker", "two")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("surefoot: queues 'mail' and 'other' live in different stores (")
    assert ran.err.count("\n") == 1


def test_a_lifespan_that_raises_shows_the_applications_lines_only(shop: Shop) -> None:
    shop.write(
        "services.py",
        "from contextlib import asynccontextmanager\nfrom shop import mail\nfrom surefoot import Worker\n"
        "@asynccontextmanager\nasync def services():\n    raise OSError('the database is away')\n    yield\n"
        "worker = Worker(mail, lifespan=services)\n",
    )
    ran = shop.apart("worker", "services:worker")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("surefoot: the application raised:\n")
    assert ran.err.endswith("OSError: the database is away\n")
    assert "in services" in ran.err
    assert "surefoot/" not in ran.err


def test_a_burst_runs_what_is_there_and_leaves(shop: Shop) -> None:
    job = Queue(URL, name="mail").by_name("welcome").enqueue_sync(address="a@b.c")
    assert shop.apart("worker", "shop", "--burst", "--quiet").code == 0
    assert job.result_sync(timeout=30) == "a@b.c"
    assert os.listdir(shop.folder)
