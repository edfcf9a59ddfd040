"""bench: a store measured by real jobs, and nothing of it left behind, however it ends."""

from __future__ import annotations

import os
import pty
import signal
import sqlite3
import subprocess
import sys

import pytest
from tests.doors.cli_shop import Shop, clean_environment, eventually, source
from tests.servers import Server

from surefoot.brokers.sqlite import schema

KEYS = [
    "url", "software", "keeps", "jobs", "concurrency", "payload", "ran", "enqueue_per_second", "drain_per_second",
    "latency_p50_ms", "latency_p99_ms",
]  # fmt: skip


@pytest.fixture
def shop(any_shop: Shop) -> Shop:
    return any_shop


def held(shop: Shop, server: Server) -> list[object]:
    """What the store holds: the files of its folder, or the keys of all databases of its server."""
    if shop.url.startswith("sqlite"):
        return [*sorted(path.name for path in shop.folder.iterdir() if path.name.startswith("jobs.db.bench"))]
    found: list[object] = []
    with server.conversation() as talk:
        for database in range(3):
            talk.say("SELECT", database)
            found += [(database, key) for key in sorted(talk.say("KEYS", "*bench*"))]
    return found


def begun(shop: Shop, server: Server) -> list[object]:
    """What it holds that a benchmark has put there: jobs that wait, or its file with something in its log."""
    if shop.url.startswith("sqlite"):
        return [path for path in shop.folder.glob("jobs.db.bench-*-wal") if path.stat().st_size > 100_000]
    return [key for key in held(shop, server) if isinstance(key, tuple) and key[1].endswith(b":pending")]


def test_it_measures_runs_every_job_and_leaves_nothing(shop: Shop, server: Server) -> None:
    before = held(shop, server)
    ran = shop.here("bench", "shop:mail", "--jobs", "300", "--concurrency", "10", "--payload", "50", "--json")
    assert (ran.code, ran.err) == (0, "")
    [record] = ran.records()
    assert list(record) == KEYS
    assert (record["jobs"], record["ran"], record["concurrency"], record["payload"]) == (300, 300, 10, 50)
    for figure in KEYS[-4:]:
        value = record[figure]
        assert isinstance(value, float)
        assert value > 0
    assert float(str(record["latency_p50_ms"])) <= float(str(record["latency_p99_ms"]))
    assert held(shop, server) == before
    assert shop.here("jobs", "list", "--app", "shop").code == 1  # its jobs were never among those of the application


def test_words_for_people(shop: Shop) -> None:
    ran = shop.here("bench", "shop:mail", "--jobs", "100")
    assert ran.code == 0, ran.err
    assert [line.split()[0] for line in ran.out.splitlines()] == ["enqueue", "drain", "pick-up"]
    assert ran.err.endswith(": 100 jobs of 100 bytes, 50 at once.\n")
    assert ran.err.count("\n") == 1


def test_a_store_that_holds_jobs_needs_a_yes(shop: Shop, server: Server) -> None:
    shop.queue("mail").by_name("receipt").enqueue_sync(number=1)
    before = held(shop, server)
    ran = shop.apart("bench", "shop:billing", "--jobs", "100")
    assert (ran.code, ran.out) == (2, "")
    assert "holds 1 job, and a benchmark takes time from their workers" in ran.err
    assert "without a terminal to ask on this needs --yes" in ran.err
    ran = shop.here("bench", "shop:billing", "--jobs", "100", "--yes", "--json")
    assert (ran.code, ran.records()[0]["ran"]) == (0, 100)
    assert held(shop, server) == before
    assert shop.queue("mail").stats_sync().pending == 1


def test_a_queue_of_the_same_name_is_left_alone(shop: Shop) -> None:
    theirs = shop.queue("bench")
    theirs.by_name("note").enqueue_sync(n=-1, filling="theirs")
    assert shop.here("bench", "shop:mail", "--jobs", "100", "--yes").code == 0
    assert [job.arguments["filling"] for job in theirs.find_sync(state="pending")] == ["theirs"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_nothing_is_left(shop: Shop, server: Server, number: signal.Signals) -> None:
    before = held(shop, server)
    with subprocess.Popen(
        [sys.executable, "-m", "surefoot.cli.main", "bench", "shop:mail", "--jobs", "1000000"],
        cwd=shop.folder, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            eventually(lambda: begun(shop, server))
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out) == (128 + number, "")
    assert "Traceback" not in err
    assert held(shop, server) == before


def test_declined_on_a_terminal(file_shop: Shop) -> None:
    file_shop.queue("mail").by_name("receipt").enqueue_sync(number=1)
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "surefoot.cli.main", "bench", "shop:mail", "--jobs", "100"],
        cwd=file_shop.folder, env=clean_environment(), stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        os.write(master, b"n\n")
        out, err = process.communicate(timeout=60)
    os.close(master)
    os.close(slave)
    assert (process.returncode, out) == (1, "")
    assert "Go on? [y/N]" in err
    assert err.endswith("surefoot: nothing was measured.\n")


def test_without_an_application_and_on_a_server_that_is_empty(shop: Shop, server: Server) -> None:
    if shop.url.startswith("sqlite"):
        ran = shop.here("bench", "--url", "sqlite:///nowhere.db")
        assert (ran.code, ran.out) == (4, "")
        assert "there is no file" in ran.err
        return
    with server.conversation() as talk:
        talk.say("SELECT", 2)
        talk.say("FLUSHDB")
        ran = shop.here("bench", "--url", f"redis://127.0.0.1:{server.port}/2", "--jobs", "100", "--json")
        assert (ran.code, ran.records()[0]["ran"]) == (0, 100)
        assert talk.say("DBSIZE") == 0


@pytest.mark.parametrize("synchronous", ["full", "normal"])
def test_its_file_is_flushed_as_that_of_the_application(
    file_shop: Shop, monkeypatch: pytest.MonkeyPatch, synchronous: schema.Synchronous
) -> None:
    file_shop.write("shop.py", source(f"{file_shop.url}?synchronous={synchronous}"))
    seen = set()
    connect = schema.connect

    def watched(path: str, *, synchronous: schema.Synchronous) -> sqlite3.Connection:
        seen.add((".bench-" in path, synchronous))
        return connect(path, synchronous=synchronous)

    monkeypatch.setattr(schema, "connect", watched)
    ran = file_shop.here("bench", "shop:mail", "--jobs", "100")
    assert ran.code == 0, ran.err
    assert (True, synchronous) in seen
    assert len({how for _, how in seen}) == 1


def test_what_cannot_be(file_shop: Shop) -> None:
    for words, said in (
        (["--jobs", "10"], "10 is not in the range x>=100"),
        (["--concurrency", "0"], "0 is not in the range x>=1"),
        (["--jobs", "100000", "--payload", "100000"], "are more than 1 GiB at once; lower --jobs or --payload."),
        (["--job", "100"], "there is no option '--job'; did you mean '--jobs'?"),
    ):
        ran = file_shop.here("bench", "shop:mail", *words)
        assert (ran.code, ran.out) == (2, "")
        assert said in ran.err
    assert file_shop.here("bench", "--url", "redis://127.0.0.1:1/0").code == 4
    file_shop.write("two.py", 'from surefoot import Queue\na = Queue("sqlite:///a.db")\nb = Queue("sqlite:///b.db")\n')
    ran = file_shop.here("bench", "two")
    assert ran.code == 2
    assert "has queues in several stores; name one of them with --queue" in ran.err


def test_it_is_quick_to_ask_for_help(file_shop: Shop) -> None:
    code = "import sys, surefoot.cli.main; print(sorted({'redis', 'surefoot.worker', 'rich'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
