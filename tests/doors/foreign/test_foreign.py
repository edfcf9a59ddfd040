"""Jobs that other languages enqueue, by docs/protocol.md alone, are run by a real worker with what they say."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.leaks import leaks
from tests.doors.foreign import by_hand, page
from tests.faults.ledger import Ledger
from tests.servers import HOST, Conversation, Refusal, Server, start

ROOT = Path(__file__).parents[3]
NODE = shutil.which("node")
PATIENCE_S = 60.0
QUEUE = "surefoot:jobs"

Call = dict[str, Any]
Producer = Callable[[int, str, Call], Call]

ARGUMENTS = {
    "number": 2**53 - 1,
    "total": "12.50",
    "due": "2026-12-24",
    "lines": [{"text": "Zoë's tea ☂", "count": 2}],
    "names": ["a", "b"],
    "paid": True,
    "waits": {"grace": "PT90S"},
}
GIVEN = (
    "(9007199254740991, Decimal('12.50'), datetime.date(2026, 12, 24), [Line(text=\"Zoë's tea ☂\", count=2)], "
    "('a', 'b'), True, {'grace': datetime.timedelta(seconds=90)})"
)
LITTLE = {"number": 1, "total": "1", "due": "2026-12-24", "lines": []}
DELAY_MS = 1_500

CALL: Call = {
    "caller": "aaaabbbbccccdddd",
    "call": 7,
    "tag": "q2w3",
    "jobs": [
        {"id": "plain", "task": "invoice", "payload": ARGUMENTS},
        {"id": "late", "task": "invoice", "payload": LITTLE, "delayMs": DELAY_MS, "priority": 0},
        {"id": "high", "task": "invoice", "payload": LITTLE, "priority": 2, "headers": {"tenant": "Łódź"}},
        {"id": "holder", "task": "invoice", "payload": LITTLE, "key": "k 1", "priority": 8},
        {"id": "second", "task": "invoice", "payload": LITTLE, "key": "k 1"},
        {"id": "endless", "task": "endless", "payload": {}, "options": {"timeout_ms": 100, "max_attempts": 1}},
        {"id": "wrong", "task": "invoice", "payload": {**LITTLE, "number": "one"}},
        {"id": "plain", "task": "invoice", "payload": LITTLE},
    ],
}
ANSWERS = ["created", "created", "created", "created", "taken:holder", "created", "created", "exists"]


def from_node(port: int, queue: str, call: Call) -> Call:
    if NODE is None:
        pytest.skip("THERE IS NO node ON PATH: that another language can enqueue is not tested here")
    program = Path(__file__).parent / "enqueue.mjs"
    done = subprocess.run(
        [NODE, program, page.PAGE, str(port), queue], input=json.dumps(call), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    said: Call = json.loads(done.stdout)
    return said


@pytest.fixture(params=[from_node, by_hand.enqueue], ids=["node", "socket"])
def producer(request: pytest.FixtureRequest) -> Producer:
    chosen: Producer = request.param
    return chosen


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with start(tmp_path / "server") as server:
        yield server


@pytest.fixture
def notes(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "notes")


@contextlib.contextmanager
def worker(server: Server, notes: Ledger) -> Iterator[None]:
    """One worker process, which drains and leaves at the end."""
    environment = {**os.environ, "FOREIGN_URL": server.url, "FOREIGN_NOTES": str(notes.path)}
    with (server.folder / "worker.log").open("w+b") as log:
        command = [sys.executable, "-m", "tests.doors.foreign.app"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            yield
            process.terminate()
            assert process.wait(PATIENCE_S) == 0, (server.folder / "worker.log").read_text()
        finally:
            process.kill()
            process.wait()


def key(name: str) -> str:
    return f"{{{QUEUE}}}:{name}"


def contents(server: Server) -> dict[bytes, bytes]:
    """Every key and what is in it."""
    with server.conversation() as talk:
        return {name: talk.say("DUMP", name) for name in talk.say("KEYS", "*")}


def results(server: Server, ids: list[str]) -> list[list[str]]:
    """The records of finished jobs: words of the first line, and what follows it."""
    found = [record.decode().split("\n") for record in server.say("HMGET", key("results"), *ids)]
    return [[*line.split(" "), rest] for line, rest in found]


def test_P12_jobs_from_elsewhere_are_run_with_what_they_say(producer: Producer, server: Server, notes: Ledger) -> None:
    expected = {"plain", "late", "high", "holder", "endless", "wrong"}
    heard: list[str] = []
    with by_hand.Listener(server.port) as listener:
        listener.listen(QUEUE)
        assert producer(server.port, QUEUE, CALL) == {"answers": ANSWERS}
        enqueued = int(server.say("HGET", key("jobs"), "late").partition(b"\n")[0])
        assert server.say("ZSCORE", key("scheduled"), "late") == b"%d" % (enqueued + DELAY_MS)
        with worker(server, notes):
            until = time.monotonic() + PATIENCE_S
            while not expected <= set(heard):
                assert time.monotonic() < until, f"only these have ended: {heard}"
                heard += listener.hear()
    assert sorted(heard) == sorted(expected)

    ran = {line["job"]: line for line in notes.of("ran")}
    assert set(ran) == expected - {"wrong"}
    assert ran["plain"]["given"] == GIVEN
    assert [ran[id]["headers"] for id in ("plain", "high")] == [{}, {"tenant": "Łódź"}]
    assert [ran[id]["key"] for id in ("plain", "holder")] == [None, "k 1"]
    in_order = [line["job"] for line in notes.of("ran") if line["job"] != "late"]
    assert in_order == ["high", "plain", "endless", "holder"]

    plain, late = results(server, ["plain", "late"])
    assert (plain[0], plain[3], plain[5]) == ("completed", "1", '"invoice 9007199254740991"')
    assert int(late[2]) >= enqueued + DELAY_MS

    dead = server.say("HMGET", key("errors"), "endless", "wrong")
    newest = [json.loads(lines.partition(b"\n")[0]) for lines in dead]
    assert [line["reason"] for line in newest] == ["exhausted", "invalid"]
    assert newest[0]["message"] == "endless did not finish within 0.1 s"
    assert sorted(server.say("ZRANGE", key("dead"), 0, -1)) == [b"endless", b"wrong"]
    with server.conversation() as talk:
        assert leaks(talk) == []


def test_a_repeat_is_answered_the_same_and_stores_nothing(producer: Producer, server: Server) -> None:
    assert producer(server.port, QUEUE, CALL) == {"answers": ANSWERS}
    before = contents(server)
    assert producer(server.port, QUEUE, CALL) == {"answers": ANSWERS}
    assert contents(server) == before


def test_a_number_that_is_not_the_caller_s_own_is_refused(producer: Producer, server: Server) -> None:
    producer(server.port, QUEUE, CALL)
    before = contents(server)
    other, older = {**CALL, "tag": "zzzz"}, {**CALL, "call": 6}
    assert producer(server.port, QUEUE, other)["error"].startswith("CALLER ")
    assert producer(server.port, QUEUE, older)["error"].startswith("STALE ")
    assert contents(server) == before


def test_a_key_is_passed_on_if_the_later_job_says_so(producer: Producer, server: Server) -> None:
    one = {"id": "one", "task": "invoice", "payload": LITTLE, "key": "k", "until": "start"}
    two = {"id": "two", "task": "invoice", "payload": LITTLE, "key": "k", "until": 60_000, "duplicate": "replace"}
    assert producer(server.port, QUEUE, {**CALL, "jobs": [one]}) == {"answers": ["created"]}
    assert producer(server.port, QUEUE, {**CALL, "call": 8, "jobs": [two]}) == {"answers": ["replaced:one"]}
    assert server.say("HGET", key("unique"), "invoice k") == b"two"
    traits = [json.loads(found) for found in server.say("HMGET", key("traits"), "one", "two")]
    assert traits[0] == {"unique": "invoice k", "unique_until": "start"}
    assert traits[1] == {"unique": "invoice k", "unique_until": 60_000}
    with server.conversation() as talk:
        assert leaks(talk) == []


def test_a_server_in_another_layout_is_left_alone(producer: Producer, server: Server) -> None:
    server.say("HSET", key("meta"), "layout", "2")
    before = contents(server)
    assert producer(server.port, QUEUE, CALL) == {"error": "LAYOUT 2"}
    assert contents(server) == before


def test_R13_a_full_server_refuses_the_whole_call(producer: Producer, server: Server) -> None:
    server.say("CONFIG", "SET", "maxmemory", 1)
    assert producer(server.port, QUEUE, CALL)["error"].startswith("OOM ")
    assert contents(server) == {}


def test_R19_a_server_that_has_forgotten_the_script_is_told_it_again(producer: Producer, server: Server) -> None:
    for number in range(1, 4):
        assert "answers" in producer(server.port, QUEUE, {**CALL, "call": number})
    stats = server.say("INFO", "commandstats").decode()
    assert "cmdstat_eval:calls=1," in stats
    assert "cmdstat_evalsha:calls=3," in stats
    server.say("SCRIPT", "FLUSH")
    assert "answers" in producer(server.port, QUEUE, {**CALL, "call": 4})


def test_the_call_that_the_page_shows_does_what_it_says(server: Server) -> None:
    section = page.section("Redis: calling put")
    [example] = page.fenced(section, "json")
    [script] = page.fenced(section, "lua")
    command: list[str] = json.loads(example)
    with Conversation(server.port) as talk:
        with pytest.raises(Refusal, match="NOSCRIPT"):
            talk.say(*command)
        assert talk.say("SCRIPT", "LOAD", script.removesuffix("\n")).decode() == command[1]
        assert [talk.say(*command), talk.say(*command)] == [b"created", b"created"]
        names = {name: kind for name, kind, *_ in page.tables()["name", "type", "content", "absent when"]}
        for found in talk.say("KEYS", "*"):
            assert talk.say("TYPE", found).decode() == names[found.decode().removeprefix(f"{{{page.QUEUE}}}:")]
        [id] = talk.say("HKEYS", f"{{{page.QUEUE}}}:jobs")
        enqueued = int(talk.say("HGET", f"{{{page.QUEUE}}}:jobs", id).partition(b"\n")[0])
        assert talk.say("ZSCORE", f"{{{page.QUEUE}}}:scheduled", id) == b"%d" % (enqueued + 60_000)
        assert json.loads(talk.say("HGET", f"{{{page.QUEUE}}}:traits", id)) == {"priority": 2}
    assert server.url.startswith(f"redis://{HOST}:")
