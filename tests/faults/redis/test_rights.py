"""Users that lack a command or two (R20): found before anything is written, and all that is missing in one sentence."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.doors.cli_shop import clean_environment
from tests.faults.redis.stage import at
from tests.servers import HOST, KINDS, Server, start, why_not

from surefoot import Queue, StoreUnsuitable
from surefoot.brokers.redis import rights
from surefoot.brokers.redis.connection import Connections
from surefoot.brokers.redis.steps import Steps

PASSWORD = "secret"
ALL = ("on", f">{PASSWORD}", "~{surefoot:*", "&*", "+@all")
LACKS = ("-hincrby", "-zadd", "-publish", "-blpop")

APP = """
import os

from surefoot import Queue

jobs = Queue(os.environ["SUREFOOT_URL"], name="jobs")


@jobs.task
async def work() -> None:
    print("it ran", flush=True)
"""


@pytest.fixture(params=["valkey-9", "redis-6.2"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """One that can be asked what a user may do, and one that cannot."""
    if reason := why_not(request.param):
        pytest.skip(reason)
    with start(tmp_path / "server", request.param, options={"appendonly": "yes"}) as one:
        yield one


def user(server: Server, *rules: str) -> str:
    """Give the user of this test these rules alone; the URL that names it."""
    server.say("ACL", "SETUSER", "ann", "reset", *rules)
    return f"redis://ann:{PASSWORD}@{HOST}:{server.port}/0"


def queue_of(url: str) -> Queue:
    return Queue(url, name="jobs")


def enqueue(queue: Queue) -> None:
    queue.enqueue_sync(queue.by_name("work").draft())


def stored(server: Server) -> list[bytes]:
    return sorted(server.say("KEYS", "*"))


def burst(folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    (folder / "app.py").write_text(APP)
    return subprocess.run(
        [sys.executable, "-m", "surefoot.cli.main", "worker", "app:jobs", "--burst", "--quiet"],
        cwd=folder, env=clean_environment() | {"SUREFOOT_URL": url}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def test_R20_a_worker_that_lacks_commands_does_not_start_and_names_all_of_them(server: Server, tmp_path: Path) -> None:
    with queue_of(server.url) as queue:
        enqueue(queue)
    before = stored(server)
    url = user(server, *ALL, *LACKS)
    done = burst(tmp_path, url)
    assert (done.returncode, done.stdout) == (4, "")
    assert (
        "does not let this user do what surefoot needs: 'ann' may not use BLPOP, HINCRBY, PUBLISH, ZADD." in done.stderr
    )
    assert done.stderr.count("may not use") == 1
    assert PASSWORD not in done.stderr
    assert stored(server) == before
    [grant] = re.findall(r"ACL SETUSER ann (\+[^(]*)", done.stderr.replace("\n", " "))
    server.say("ACL", "SETUSER", "ann", *grant.split())
    mended = burst(tmp_path, url)
    assert (mended.returncode, mended.stdout, mended.stderr) == (0, "it ran\n", ""), "the sentence says what to do"


def test_R20_a_producer_that_lacks_commands_writes_nothing_until_it_has_them(server: Server) -> None:
    with queue_of(user(server, *ALL, *LACKS)) as queue:
        for _ in range(2):
            with pytest.raises(StoreUnsuitable, match="'ann' may not use HINCRBY, PUBLISH, ZADD"):
                enqueue(queue)
        assert stored(server) == []
        server.say("ACL", "SETUSER", "ann", "+hincrby", "+publish", "+zadd")
        enqueue(queue)
    assert b"{surefoot:jobs}:pending" in stored(server)


async def test_R20_so_does_one_on_an_event_loop(server: Server) -> None:
    async with queue_of(user(server, *ALL, *LACKS)) as queue:
        with pytest.raises(StoreUnsuitable, match="'ann' may not use HINCRBY, PUBLISH, ZADD"):
            await queue.enqueue(queue.by_name("work").draft())
    assert stored(server) == []


def test_R20_a_user_who_may_put_and_no_more_can_put(server: Server) -> None:
    words = [f"+{name.lower()}" for name in rights.called("put") | set(rights.SAYS)]
    with queue_of(user(server, "on", f">{PASSWORD}", "~{surefoot:*", "&*", "+@read", *words)) as queue:
        enqueue(queue)
        with pytest.raises(StoreUnsuitable, match=r"'ann' may not use .*HSETNX"):
            queue.cancel_sync("some")
        enqueue(queue)
    with queue_of(server.url) as queue:
        assert queue.stats_sync().pending == 2


def test_R20_a_user_of_other_keys_is_told_to_look_at_them(server: Server) -> None:
    queue = queue_of(user(server, "on", f">{PASSWORD}", "~{shop:*", "&*", "+@all"))
    with pytest.raises(StoreUnsuitable, match="look at the keys it may use"):
        enqueue(queue)
    queue.close_sync()


def test_R20_what_a_user_may_do_is_asked_once(server: Server) -> None:
    def evals() -> int:
        found = re.search(r"cmdstat_eval:calls=(\d+)", server.say("INFO", "commandstats").decode())
        return int(found[1]) if found else 0

    with queue_of(user(server, *ALL)) as queue:
        for _ in range(5):
            enqueue(queue)
    tried = 1 if server.kind == "redis-6.2" else 0
    assert evals() == 2 + tried, "one question, and the script of put"


def answer(connections: Connections, steps: Steps[frozenset[str]]) -> frozenset[str]:
    try:
        commands = next(steps)
        while True:
            commands = steps.send(connections.send_sync(*commands))
    except StopIteration as end:
        found: frozenset[str] = end.value
        return found


def test_R20_each_command_of_a_script_has_a_line_to_be_tried_with() -> None:
    assert rights.of_workers() | rights.all_called() <= rights._WORDS.keys()


@pytest.mark.parametrize("kind", [KINDS[0], *[pytest.param(kind, marks=pytest.mark.faults_full) for kind in KINDS[1:]]])
def test_R20_each_command_that_is_missing_is_found_asked_and_tried(tmp_path: Path, kind: str) -> None:
    if reason := why_not(kind):
        pytest.skip(reason)
    names = sorted(rights.of_workers().union(rights.LOOKS, rights.all_called()))
    with start(tmp_path / "each", kind) as server:
        for name in names:
            command, _, part = name.lower().partition(" ")
            parts = bool(part) and not server.version.startswith("6.")  # there a whole command is refused, or none
            user(server, *ALL, f"-{command}|{part}" if parts else f"-{command}")
            connections = Connections(at(server.port, username="ann", password=PASSWORD))
            lacks = {name} if parts or not part else {one for one in names if one.startswith("CLIENT ")}
            assert answer(connections, rights.lacking(["surefoot:jobs"], names)) == lacks, name
            assert answer(connections, rights._tried("surefoot:jobs", names)) == lacks, name
            connections.close_sync()
        assert stored(server) == []
