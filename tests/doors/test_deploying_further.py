"""What docs/deploying.md adds to the users of a server: replicas, a cluster, sentinels, TLS. Tried on real ones."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.doors.cli_shop import clean_environment
from tests.doors.test_deploying import APP, HARMLESS, PAGE, PASSWORD, block, text
from tests.faults.redis.stage import meanwhile
from tests.servers import HOST, KINDS, Refusal, Server, start, why_not
from tests.servers.clusters import Cluster, cluster
from tests.servers.sentinels import NAME, Watched, watched
from tests.servers.tls import NO_TLS, Authority, start_tls, tls_kind

from surefoot import Queue
from surefoot.brokers.connect import TLS_KEYS, parse

if reason := why_not(KINDS[0]):
    pytest.skip(reason, allow_module_level=True)


def rules(name: str, *more: str) -> list[str]:
    """The page's rules for a user."""
    [words] = re.findall(rf"^(?:user|ACL SETUSER) {name} (.*)$", PAGE, re.M)
    return [f">{PASSWORD}" if word == ">SECRET" else word for word in words.split()] + list(more)


def refused(server: Server) -> set[tuple[str, str]]:
    entries = [dict(zip(flat[::2], flat[1::2], strict=True)) for flat in server.say("ACL", "LOG", 1000)]
    found = {(text(entry[b"username"]), text(entry[b"object"])) for entry in entries}
    return {(user, what) for user, what in found if what not in HARMLESS}


def enqueue(url: str, durable: int = 0) -> str:
    queue = Queue(url, name="mail", durable=durable)
    try:
        return queue.enqueue_sync(queue.by_name("plain").draft(number=1)).id
    finally:
        queue.close_sync()


def burst(folder: Path, url: str) -> None:
    (folder / "app.py").write_text(APP)
    done = subprocess.run(
        [sys.executable, "-m", "surefoot.cli.main", "worker", "app:mail", "--burst", "--quiet"],
        cwd=folder, env=clean_environment() | {"SUREFOOT_URL": url}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def completed(url: str, id: str) -> None:
    with Queue(url, name="mail") as queue:
        assert queue.handle(id).status_sync() == "completed"


def test_R20_who_enqueues_durably_may_wait(tmp_path: Path) -> None:
    assert "whoever enqueues in such a queue needs `+wait`" in PAGE
    with start(tmp_path / "primary") as primary, start(tmp_path / "replica") as replica:
        replica.follow(primary)
        primary.say("ACL", "SETUSER", "producer", *rules("producer", "+wait"))
        enqueue(f"redis://producer:{PASSWORD}@{HOST}:{primary.port}/0", durable=1)
        assert refused(primary) == set()


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path / "cluster") as one:
        yield one


def test_R20_users_of_a_cluster(three: Cluster, tmp_path: Path) -> None:
    [more] = re.findall(r"each user needs (.*?), on every node", PAGE.replace("\n", " "))
    words = [word for word in re.findall(r"`(\+\S+)`", more) if word != "+cluster"]  # that one is for Redis 6.2
    assert words == ["+cluster|slots", "+asking"]
    for server in three.servers:
        for name in ("producer", "worker"):
            server.say("ACL", "SETUSER", name, *rules(name, *words))
    place = three.url.partition("://")[2]
    producer, worker = (f"redis+cluster://{name}:{PASSWORD}@{place}" for name in ("producer", "worker"))
    enqueue(producer)
    slot = three.slot_of("surefoot:mail")
    heir = next(server for server in three.servers if server is not three.owner(slot))
    movers: list[tuple[threading.Thread, list[object]]] = []

    def between() -> None:
        """One that comes while the keys are in two places: it is sent on, and waits until they are together."""
        if not movers:
            movers.append(meanwhile(lambda: enqueue(producer)))
        time.sleep(0.1)

    three.move(slot, heir, between=between)
    [(thread, ids)] = movers
    thread.join()
    burst(tmp_path, worker)
    completed(three.url, str(ids[0]))
    assert set().union(*map(refused, three.servers)) == set()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Watched]:
    """Servers that sentinels know as the page's user, and who all have the page's producer."""
    login = {"user": f"sentinel {' '.join(rules('sentinel'))}"}
    ways = {"sentinel auth-user": f"{NAME} sentinel", "sentinel auth-pass": f"{NAME} {PASSWORD}"}
    with watched(tmp_path / "watched", options=login, sentinel_options={}) as one:
        for sentinel in one.sentinels:
            for way in ways.values():
                name, value = way.split()
                option = "auth-pass" if value == PASSWORD else "auth-user"
                sentinel.say("SENTINEL", "SET", name, option, value)
        yield one


def test_R20_the_user_of_the_sentinels_and_the_one_that_asks_them(guarded: Watched) -> None:
    for server in guarded.servers:
        server.say("ACL", "SETUSER", "producer", *rules("producer"))
        server.say("ACL", "LOG", "RESET")
    for sentinel in guarded.sentinels:
        sentinel.say("ACL", "SETUSER", "guide", *rules("guide"))
    url = guarded.url_with(f"producer:{PASSWORD}@", f"?sentinel_username=guide&sentinel_password={PASSWORD}")
    enqueue(url)
    new = guarded.fail_over()
    enqueue(url)
    clients = new.say("CLIENT", "LIST").decode()
    assert "user=sentinel" in clients, "they log in as the page says"
    assert set().union(*map(refused, guarded.servers)) == set()
    with guarded.sentinels[0].conversation() as talk:
        talk.say("AUTH", "guide", PASSWORD)
        with pytest.raises(Refusal, match="NOPERM"):
            talk.say("SENTINEL", "MASTER", NAME)


def test_the_page_names_every_option_for_TLS() -> None:
    table = PAGE[PAGE.index("### TLS") :]
    assert re.findall(r"^\| `(\w+)` \|", table, re.M)[:3] == list(TLS_KEYS)
    assert parse(block("url").strip()).scheme == "rediss"


def test_R23_a_server_with_the_page_s_settings_for_TLS(tmp_path: Path) -> None:
    if tls_kind() is None:
        pytest.skip(NO_TLS)
    authority = Authority(tmp_path / "authority")
    pair = authority.sign("localhost", HOST)
    settings = dict(line.split(maxsplit=1) for line in block("tls").splitlines())
    secure = start_tls(tmp_path / "server", authority, pair, clients=True)
    with secure.server as server:
        ours = {name: text(server.say("CONFIG", "GET", name)[1]) for name in settings}
        assert ours["tls-auth-clients"] == settings["tls-auth-clients"]
        assert all(ours[name] for name in settings), "each of them is an option of a server"
        server.say("ACL", "SETUSER", "worker", *rules("worker"))
        url = secure.url(authority.query, authority.sign("client").query).replace("//", f"//worker:{PASSWORD}@", 1)
        id = enqueue(url)
        burst(tmp_path, url)
        completed(url, id)
