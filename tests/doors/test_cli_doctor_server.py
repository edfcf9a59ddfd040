"""doctor on servers that are made unfit one by one, and on what their users may not do. It changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from tests.doors.cli_shop import Shop, database
from tests.doors.docs_runner import DOCS
from tests.doors.doctor_ward import Found, found, server_dump
from tests.servers import HOST, KINDS, Server, start, why_not

from surefoot.brokers.redis.exam import ServerFacts
from surefoot.cli.doctor.findings import Finding
from surefoot.cli.doctor.server import judge_server
from surefoot.client.queue import Queue

if reason := why_not(KINDS[0]):
    pytest.skip(reason, allow_module_level=True)

PASSWORD = "geheim"
FIT = ("url", "version", "role", "persistence", "eviction", "memory", "clock", "write", "commands")
OF_QUEUES = ("workers", "tasks", "leases", "paused", "dead", "orphans")


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose settings nobody else needs."""
    with start(tmp_path_factory.mktemp("valkey"), options={"appendonly": "yes"}) as server:
        Queue(database(server, 0), name="mail").pause_sync()
        Queue(database(server, 0), name="mail").resume_sync()
        yield server


def look(shop: Shop, url: str, *options: str) -> Found:
    """The doctor's findings; whatever it finds, nothing is changed."""
    return found(shop.here("doctor", "--url", url, "--json", *options))


def unchanged(shop: Shop, server: Server) -> Found:
    before = server_dump(server)
    seen = look(shop, database(server, 0))
    assert server_dump(server) == before
    return seen


@contextmanager
def with_settings(server: Server, **settings: str | int) -> Iterator[None]:
    with server.conversation() as talk:
        before = {name: talk.say("CONFIG", "GET", name)[1] for name in settings}
        for name, value in settings.items():
            talk.say("CONFIG", "SET", name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                talk.say("CONFIG", "SET", name, value)


def test_a_fit_server_is_ok_line_by_line_and_nothing_is_changed(file_shop: Shop, own_server: Server) -> None:
    seen = unchanged(file_shop, own_server)
    assert (seen.code, seen.bad(), tuple(seen.checks)) == (0, {}, FIT + OF_QUEUES)
    assert seen.details("version")["software"].startswith("Valkey 9.")
    assert seen.details("persistence")["log"] == "everysec"
    assert seen.details("commands") == {"refused": {}}
    assert seen.details("write")["median_ms"] > 0
    assert abs(seen.details("clock")["offset_ms"]) < 1_000
    ran = file_shop.here("doctor", "--url", database(own_server, 0))
    assert [line.split()[:2] for line in ran.out.splitlines()] == [["ok", check] for check in FIT + OF_QUEUES]
    assert (ran.code, ran.err) == (0, "15 checks: 0 failed, 0 warnings.\n")


@pytest.mark.parametrize(("policy", "result"), [("allkeys-lru", "fail"), ("volatile-ttl", "ok"), ("noeviction", "ok")])
def test_R14_an_eviction_policy_that_may_drop_jobs(
    file_shop: Shop, own_server: Server, policy: str, result: str
) -> None:
    with with_settings(own_server, **{"maxmemory-policy": policy}):
        seen = unchanged(file_shop, own_server)
    assert (seen.result("eviction"), seen.code) == (result, int(result == "fail"))
    assert policy in seen.words("eviction")
    assert ("Set maxmemory-policy noeviction." in seen.words("eviction")) == (result == "fail")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"appendonly": "no", "save": ""}, "nothing on disk: when the server stops, every job in it is lost."),
        ({"appendonly": "no", "save": "3600 1"}, "snapshots only: when the server dies, what came after"),
        ({"appendfsync": "no"}, "a power cut may take half a minute. Set appendfsync everysec, or always."),
    ],
)
def test_R1_what_the_server_keeps_on_disk(
    file_shop: Shop, own_server: Server, settings: dict[str, str], words: str
) -> None:
    with with_settings(own_server, **settings):
        seen = unchanged(file_shop, own_server)
    assert (seen.code, seen.bad()) == (0, {"persistence": "warn"})
    assert words in seen.words("persistence")
    with with_settings(own_server, appendfsync="always"):
        assert look(file_shop, database(own_server, 0)).result("persistence") == "ok"


def test_R13_a_full_server_and_one_that_will_soon_be(file_shop: Shop, own_server: Server) -> None:
    with with_settings(own_server, maxmemory=1):
        seen = unchanged(file_shop, own_server)
    assert (seen.code, seen.bad()) == (1, {"memory": "fail", "write": "fail"})
    assert "it is full, and takes no jobs. Raise maxmemory" in seen.words("memory")
    assert "Make room, or raise maxmemory." in seen.words("write")
    with with_settings(own_server, maxmemory=int(int(own_server.info()["used_memory"]) * 1.15)):
        seen = look(file_shop, database(own_server, 0))
    assert (seen.code, seen.bad()) == (0, {"memory": "warn"})


def test_R16_a_replica_is_named_with_its_primary(file_shop: Shop, own_server: Server, tmp_path: Path) -> None:
    with start(tmp_path / "replica") as replica:
        replica.say("REPLICAOF", HOST, own_server.port)
        seen = look(file_shop, database(replica, 0))
    assert (seen.code, seen.result("role")) == (1, "fail")
    assert seen.words("role") == (
        f"a replica of {HOST}:{own_server.port}, which takes no writes. Give the URL of its primary."
    )
    assert seen.result("write") == "fail"
    assert not seen.checks.keys() & set(OF_QUEUES)


def test_a_server_that_is_away_or_refuses_the_password_is_one_line_and_exit_4(
    file_shop: Shop, own_server: Server, tmp_path: Path
) -> None:
    for url, why in (
        (f"redis://:{PASSWORD}@{HOST}:1/0", "connection refused"),
        (f"redis://ann:{PASSWORD}@{HOST}:{own_server.port}/0", "the server refuses the password"),
        (f"unix://{tmp_path}/no.sock", "no such file or directory"),
    ):
        ran = file_shop.here("doctor", "--url", url)
        (line,) = ran.out.splitlines()
        assert ran.code == 4
        assert re.match(r"fail +reach +cannot reach ", line)
        assert f"({why}). Is it running, and is the URL right?" in line
        assert PASSWORD not in ran.out + ran.err
        seen = look(file_shop, url)
        assert (seen.code, tuple(seen.checks)) == (4, ("reach",))


def test_a_url_that_cannot_be_read_is_one_line_and_exit_4(file_shop: Shop) -> None:
    ran = file_shop.here("doctor", "--url", f"redis//:{PASSWORD}@cache:6379")
    assert ran.code == 4
    assert ran.out.startswith("fail  url          cannot read the URL 'redis//:***@cache:6379': ")
    assert ran.out.count("\n") == 1
    assert PASSWORD not in ran.out + ran.err


# --- users ---


def users() -> dict[str, list[str]]:
    """The users of the page on deploying, with their rules."""
    lines = re.findall(r"^user (\w+) (.*)$", (DOCS / "deploying.md").read_text(), re.M)
    return {name: rules.replace("SECRET", PASSWORD).split() for name, rules in lines}


def url_of(server: Server, user: str, *rules: str) -> str:
    server.say("ACL", "SETUSER", user, "reset", *rules)
    return f"redis://{user}:{PASSWORD}@{HOST}:{server.port}/0"


@pytest.mark.parametrize("user", users())
def test_R20_a_user_of_the_page_lacks_only_what_it_is_not_for(file_shop: Shop, own_server: Server, user: str) -> None:
    url = url_of(own_server, user, *users()[user])
    before = server_dump(own_server)
    seen = look(file_shop, url, "-q", "mail")
    assert server_dump(own_server) == before
    lacks = {
        "producer": {"for a worker": ["BLPOP", "CLIENT ID", "CLIENT UNBLOCK"], "to list the queues": ["SCAN"]},
        "worker": {"to list the queues": ["SCAN"]},
        "operator": {
            "to wait for results": ["SUBSCRIBE"],
            "for a worker": ["BLPOP", "CLIENT ID", "CLIENT UNBLOCK"],
        },
        "dashboard": {
            "to wait for results": ["SUBSCRIBE"],
            "for a worker": ["BLPOP", "CLIENT ID", "CLIENT UNBLOCK"],
        },
        "viewer": {"to change": ["EVAL"]},
    }
    assert (seen.code, seen.result("commands"), seen.details("commands")["refused"]) == (0, "warn", lacks[user])
    assert seen.bad() == {"commands": "warn"} | ({"write": "warn"} if user == "viewer" else {})
    assert PASSWORD not in seen.words("url")


def test_R20_all_that_is_missing_is_named_in_one_sentence(file_shop: Shop, own_server: Server) -> None:
    url = url_of(own_server, "half", "on", f">{PASSWORD}", "~*", "&*", "+@all", "-hincrby", "-zadd", "-scan", "-zscore")
    seen = look(file_shop, url, "-q", "mail")
    assert (seen.code, seen.result("commands")) == (1, "fail")
    assert seen.words("commands").startswith(
        "this user may not use HINCRBY, ZADD, ZSCORE (to change); SCAN (to list the queues). Allow what it is for: "
    )


def test_R20_a_user_of_other_keys_is_told_which(file_shop: Shop, own_server: Server) -> None:
    url = url_of(own_server, "other", "on", f">{PASSWORD}", "~{shop:*", "&*", "+@all")
    seen = look(file_shop, url)
    assert (seen.code, seen.result("commands")) == (1, "fail")
    assert "and the keys ~{surefoot:*: the page on deploying has the lines" in seen.words("commands")


def test_R20_what_a_server_does_not_say_of_itself_is_a_warning(file_shop: Shop, own_server: Server) -> None:
    url = url_of(own_server, "blind", "on", f">{PASSWORD}", "~*", "&*", "+@all", "-info", "-config")
    seen = look(file_shop, url)
    unknown = ("version", "role", "persistence", "eviction", "memory")
    assert (seen.code, seen.bad()) == (0, dict.fromkeys(unknown, "warn"))


def test_a_user_that_may_not_list_the_queues_is_told(file_shop: Shop, own_server: Server) -> None:
    url = url_of(own_server, "producer", *users()["producer"])
    seen = look(file_shop, url)
    assert (seen.code, seen.result("queues")) == (1, "fail")
    assert "scan" in seen.words("queues").lower()


@pytest.mark.faults_full
def test_a_server_that_cannot_say_what_a_user_may_do_is_not_blamed(file_shop: Shop, tmp_path: Path) -> None:
    if why := why_not("redis-6.2"):
        pytest.skip(why)
    with start(tmp_path / "old", "redis-6.2", options={"appendonly": "yes"}) as server:
        Queue(database(server, 0), name="mail").resume_sync()
        seen = unchanged(file_shop, server)
    assert (seen.code, seen.bad()) == (0, {})
    assert seen.words("commands").startswith("not checked:")


# --- what no test can make of a real server ---


def judged(check: str, **facts: object) -> Finding:
    sound = ServerFacts(
        software="Redis 7.2.1", round_trip_ms=0.1, log="everysec", snapshots=False, eviction="noeviction", evicted=0,
        used_bytes=1, max_bytes=0, offset_ms=0, write_ms=0.2, refused={},
    )  # fmt: skip
    (finding,) = [
        one for one in judge_server(msgspec.structs.replace(sound, **facts), "surefoot") if one.check == check
    ]
    return finding


def test_R21_a_clock_that_is_off_is_told_with_its_side() -> None:
    assert judged("clock", offset_ms=-1_999).result == "ok"
    ahead = judged("clock", offset_ms=3_600_000)
    assert ahead.result == "warn"
    assert ahead.sentence == (
        "the server's clock is 3600.000 s ahead of this machine's. Its clock rules due times, leases and crons."
    )
    assert "behind" in judged("clock", offset_ms=-3_600_000).sentence
    assert judged("clock", offset_ms=None).result == "fail"


def test_a_disk_that_fails_an_old_version_and_slow_writes() -> None:
    assert judged("persistence", failing=("the append-only file",)).result == "fail"
    assert judged("version", software="Redis 6.0.20").result == "fail"
    assert judged("version", software="Valkey 8.0.1").result == "ok"
    assert judged("write", write_ms=80.0).result == "warn"
    assert judged("write", write_ms=None, write_refused="MISCONF").result == "fail"
    dropped = judged("eviction", eviction="allkeys-lfu", evicted=1_200)
    assert "1,200 keys of this server were dropped already." in dropped.sentence
