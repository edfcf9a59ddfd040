"""The real servers that other tests stand on: they start, keep what they should, and never outlive us."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.servers import (
    KINDS,
    Missing,
    NotUp,
    PortTaken,
    Refusal,
    Server,
    one_node_cluster,
    program,
    start,
    why_not,
)
from tests.servers.server import ATTEMPTS, PORTS

ROOT = Path(__file__).parent.parent
LONG_S = 60.0
SHORT_S = 0.2

OWNER = """
import sys, time
from pathlib import Path
from tests.servers import start
server = start(Path(sys.argv[1]))
print(server.pid, flush=True)
time.sleep(600)
"""


def eventually(what: str, condition: Callable[[], object]) -> None:
    until = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < until, f"never happened: {what}"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether this process has ended; nobody may have asked how."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def children() -> list[str]:
    return [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with start(tmp_path) as server:
        yield server


@pytest.mark.parametrize(
    "kind", [KINDS[0], *(pytest.param(kind, marks=pytest.mark.faults_full) for kind in KINDS if kind != KINDS[0])]
)
def test_each_kind_starts_and_is_what_it_says(kind: str, tmp_path: Path) -> None:
    if reason := why_not(kind):
        pytest.skip(reason)
    product, _, version = kind.partition("-")
    with start(tmp_path, kind) as server:
        assert server.version.startswith("" if version == "system" else version + ".")
        assert ("valkey_version" in server.info()) == (product == "valkey")
        server.say("SET", "k", "v")
        server.stop()
        server.again()
        assert server.say("EXISTS", "k") == 0


def test_every_kind_of_reply_is_understood(server: Server) -> None:
    with server.conversation() as talk:
        assert talk.say("SET", "k", b"\r\n\x00\xff") == b"OK"
        assert talk.say("GET", "k") == b"\r\n\x00\xff"
        assert talk.say("EVAL", "return {1, '', false, {ARGV[1]}, {}}", 0, "a") == [1, b"", None, [b"a"], []]
        with pytest.raises(Refusal, match="WRONGTYPE"):
            talk.say("LPUSH", "k", "v")
        assert talk.say("DBSIZE") == 1, "an error reply ends a command, not the conversation"


def test_it_listens_where_its_url_says_and_only_on_this_machine(server: Server) -> None:
    assert server.url == f"redis://127.0.0.1:{server.port}/0"
    listening = [at.laddr for at in psutil.Process(server.pid).net_connections() if at.status == psutil.CONN_LISTEN]
    assert listening == [("127.0.0.1", server.port)]


def test_after_a_kill_it_starts_again_on_its_port_and_has_forgotten_everything(server: Server) -> None:
    server.say("SET", "k", "v")
    first = server.pid
    server.kill()
    assert is_gone(first) and not server.running
    with pytest.raises(ConnectionRefusedError):
        server.say("PING")
    server.again()
    assert (server.say("EXISTS", "k"), server.pid != first) == (0, True)


def test_with_a_log_on_disk_it_keeps_what_it_had(tmp_path: Path) -> None:
    with start(tmp_path / "a folder", options={"appendonly": "yes", "appendfsync": "always"}) as server:
        server.say("SET", "k", "v")
        server.kill()
        server.again()
        assert server.say("GET", "k") == b"v"
        server.stop()
        server.again()
        assert server.say("GET", "k") == b"v"


def test_a_stop_is_orderly(server: Server) -> None:
    server.stop()
    assert not server.running
    assert "ready to exit" in server.log


def test_a_frozen_server_keeps_its_connections_and_answers_when_it_thaws(server: Server) -> None:
    with server.conversation(seconds=SHORT_S) as talk:
        talk.say("PING")
        server.freeze()
        assert server.running
        with pytest.raises(TimeoutError):
            talk.say("SET", "k", "v")
    server.thaw()
    eventually("what it was told while frozen is done", lambda: server.say("GET", "k") == b"v")


def test_a_frozen_server_can_be_ended(tmp_path: Path) -> None:
    for end in (Server.kill, Server.stop):
        with start(tmp_path / end.__name__) as server:
            server.freeze()
            end(server)
            assert not server.running


def test_it_does_not_outlive_an_owner_that_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert not is_gone(pid)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    try:
        eventually("the server is gone", lambda: is_gone(pid))
    finally:
        if not is_gone(pid):
            os.kill(pid, signal.SIGKILL)


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    before = children()
    with start(tmp_path, unix=True) as server:
        assert len(children()) == len(before) + 2, "the server, and what watches over us"
        server.kill()
        assert children() == before
        server.again()
    assert children() == before
    assert server.socket is not None and not server.socket.exists()


def test_a_server_can_be_reached_through_a_socket_in_the_file_system(tmp_path: Path) -> None:
    with start(tmp_path, unix=True) as server, socket.socket(socket.AF_UNIX) as client:
        assert server.url == f"unix://{server.socket}?db=0"
        client.connect(str(server.socket))
        client.sendall(b"PING\r\n")
        assert client.recv(100) == b"+PONG\r\n"


def test_a_password_is_asked_of_others_and_known_to_us(tmp_path: Path) -> None:
    with start(tmp_path, options={"requirepass": "open-sesame"}) as server:
        assert server.say("PING") == b"PONG"
        server.password = None
        with pytest.raises(Refusal, match="NOAUTH"):
            server.say("PING")


def test_a_taken_port_is_said_and_not_mistaken_for_ours(server: Server, tmp_path: Path) -> None:
    with pytest.raises(PortTaken, match="Address already in use"):
        start(tmp_path / "other", port=server.port)


def test_when_a_chosen_port_is_taken_another_is_tried(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.SystemRandom.sample", lambda _, ports, count: [server.port, *ports[-count:]])
    with start(tmp_path / "other") as other:
        assert other.port in PORTS[-ATTEMPTS:]


def test_the_log_says_why_a_server_did_not_come_up(tmp_path: Path) -> None:
    before = children()
    with pytest.raises(NotUp, match="no-such-option"):
        start(tmp_path, options={"no-such-option": "yes"})
    assert children() == before


def test_a_kind_that_is_not_here_is_missing_for_a_plain_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    program.cache_clear()
    try:
        assert why_not("redis-system") == "redis-system: there is no redis-server on PATH"
        with pytest.raises(Missing):
            program("redis-system")
    finally:
        program.cache_clear()


def test_a_server_that_cannot_run_here_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\necho 'it lacks a library' >&2\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    program.cache_clear()
    try:
        assert "does not run here: it lacks a library" in (why_not("redis-system") or "")
    finally:
        program.cache_clear()


def test_a_cluster_of_one_node_serves_every_slot(tmp_path: Path) -> None:
    with one_node_cluster(tmp_path) as server:
        for key in ("{shop:mail}:jobs", "a", "b", "c"):
            server.say("SET", key, "v")
        with pytest.raises(Refusal, match="CROSSSLOT"):
            server.say("MGET", "a", "b")
        server.kill()
        server.again()
        assert server.say("SET", "a", "v") == b"OK"
