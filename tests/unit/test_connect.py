"""From URLs to brokers: what can be read, what cannot and what is said then, and that no message holds a password."""

import os
from pathlib import Path

import pytest

from surefoot.brokers.connect import Address, connect, parse, shown
from surefoot.brokers.redis.broker import RedisBroker
from surefoot.brokers.redis.server import Server
from surefoot.core.errors import ConfigError


def said(url: str) -> str:
    with pytest.raises(ConfigError) as told:
        parse(url)
    return str(told.value)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////var/lib/jobs.db", "/var/lib/jobs.db"),
        ("sqlite:///:memory:", ":memory:"),
        ("sqlite:////tmp/a%20b%3Fc.db", "/tmp/a b?c.db"),
    ],
)
def test_a_file_is_named_after_three_slashes(url: str, path: str) -> None:
    assert (parse(url).scheme, parse(url).path) == ("sqlite", path)


def test_a_relative_file_is_made_absolute_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    address = parse("sqlite:///jobs.db")
    monkeypatch.chdir("/")
    assert address.path == os.path.join(tmp_path, "jobs.db")


def test_the_options_are_read() -> None:
    url = "sqlite:////tmp/jobs.db?namespace=shop&timeout=2.5&synchronous=normal&busy_timeout=10"
    assert parse(url) == Address(
        scheme="sqlite", url=url, path="/tmp/jobs.db", namespace="shop", timeout=2.5, synchronous="normal",
        busy_timeout=10,
    )  # fmt: skip


def test_what_is_not_given_is_none() -> None:
    assert parse("sqlite:////tmp/jobs.db") == Address(
        scheme="sqlite", url="sqlite:////tmp/jobs.db", path="/tmp/jobs.db"
    )


@pytest.mark.parametrize(
    ("url", "hosts", "path"),
    [
        ("redis://user:pass@cache:6379/0", "cache:6379", "/0"),
        ("rediss://cache", "cache", ""),
        ("valkey://cache:6379/1", "cache:6379", "/1"),
        ("valkeys://cache", "cache", ""),
        ("unix:///run/redis.sock?db=0", "", "/run/redis.sock"),
        ("redis+sentinel://h1:26379,h2:26379/mymaster/0", "h1:26379,h2:26379", "/mymaster/0"),
        ("rediss+sentinel://h1/mymaster/0", "h1", "/mymaster/0"),
        ("valkey+cluster://h1:7000,h2:7001?namespace=shop", "h1:7000,h2:7001", ""),
    ],
)
def test_servers_are_read_too(url: str, hosts: str, path: str) -> None:
    address = parse(url)
    assert (address.hosts, address.path) == (hosts, path)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "redis//cache:6379",
            "cannot read the URL 'redis//cache:6379': the scheme is missing its colon; did you mean 'redis://cache:6379'?",
        ),
        (
            "postgres://me:secret@host/db",
            "cannot read the URL 'postgres://...': surefoot stores jobs in sqlite, redis or valkey.",
        ),
        (
            "sqllite:///jobs.db",
            "cannot read the URL 'sqllite://...': surefoot stores jobs in sqlite, redis or valkey; did you mean "
            "'sqlite://...'?",
        ),
        ("jobs.db", "cannot read the URL 'jobs.db': it has no scheme; write sqlite:///jobs.db, or redis://host:6379."),
        (
            "sqlite://jobs.db",
            "cannot read the URL 'sqlite://jobs.db': a file has three slashes before it; did you mean 'sqlite:///jobs.db'?",
        ),
        ("sqlite:///", "cannot read the URL 'sqlite:///': it names no file; write sqlite:///jobs.db."),
        (
            "sqlite:///jobs.db?timout=3",
            "cannot read the URL 'sqlite:///jobs.db?timout=3': there is no option 'timout'; did you mean 'timeout'?",
        ),
        (
            "redis://cache?synchronous=full",
            "cannot read the URL 'redis://cache?synchronous=full': there is no option 'synchronous'; known: namespace, "
            "timeout.",
        ),
        ("redis://cache:port", "cannot read the URL 'redis://cache:***': its port is not a number from 1 to 65535."),
        (
            "redis://cache/jobs",
            "cannot read the URL 'redis://cache/jobs': 'jobs' is not a database; give its number, 0 on most servers.",
        ),
        (
            "unix:///run/redis.sock?db=x",
            "cannot read the URL 'unix:///run/redis.sock?db=x': 'x' is not a database; give its number, 0 on most "
            "servers.",
        ),
        (
            "redis+sentinel://h1,h2/0",
            "cannot read the URL 'redis+sentinel://h1,h2/0': it does not name the primary; write "
            "redis+sentinel://host:26379/mymaster/0.",
        ),
        (
            "redis+sentinel://h1,h2/mymaster/jobs",
            "cannot read the URL 'redis+sentinel://h1,h2/mymaster/jobs': 'jobs' is not a database; give its number, 0 "
            "on most servers.",
        ),
        (
            "redis+sentinel://h1,h2:99999/mymaster",
            "cannot read the URL 'redis+sentinel://h1,h2:99999/mymaster': its port is not a number from 1 to 65535.",
        ),
        (
            "redis+sentinel://h1/mymaster?sentinel_pasword=x",
            "cannot read the URL 'redis+sentinel://h1/mymaster?sentinel_pasword=***': there is no option "
            "'sentinel_pasword'; did you mean 'sentinel_password'?",
        ),
        (
            "redis+cluster://h1,h2/1",
            "cannot read the URL 'redis+cluster://h1,h2/1': a cluster has no databases; write redis+cluster://... "
            "without /1.",
        ),
        ("unix://", "cannot read the URL 'unix://': it names no socket; write unix:///run/redis.sock."),
        (
            "sqlite:///jobs.db?timeout=0",
            "cannot read the URL 'sqlite:///jobs.db?timeout=0': timeout='0' is not a duration; give seconds > 0.",
        ),
        (
            "sqlite:///jobs.db?busy_timeout=soon",
            "cannot read the URL 'sqlite:///jobs.db?busy_timeout=soon': busy_timeout='soon' is not a duration; give "
            "seconds > 0.",
        ),
        (
            "sqlite:///jobs.db?synchronous=off",
            "cannot read the URL 'sqlite:///jobs.db?synchronous=off': synchronous='off' is unknown; give full or "
            "normal.",
        ),
        (
            "sqlite:///jobs.db?namespace=a:b",
            "cannot read the URL 'sqlite:///jobs.db?namespace=a:b': namespace='a:b' is not a namespace; give letters, "
            "digits or _ . -",
        ),
    ],
)
def test_what_cannot_be_read_is_told_with_the_way_out(url: str, sentence: str) -> None:
    assert said(url) == sentence


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:secret@cache:6379/0",
        "redis://:secret@cache",
        "redis://user:se/cr?et:secret@cache",
        "redis//user:secret@cache",
        "user:secret@cache:6379",
        "redis://cache?password=secret",
        "redis+sentinel://user:secret@h1:26379,h2:26379/mymaster/0",
        "redis+sentinel://h1:26379,h2:26379/mymaster/0?sentinel_password=secret",
        "redis://secret@cache/0",
        "redis://cache?pasword=secret",
        "redis://:secreth/0",
        "redis://:sec\nsecret@cache",
        "redis://:sec[secret@cache",
        "redis://[::1:secret@cache",
    ],
)
def test_S6_a_password_is_never_shown(url: str) -> None:
    assert "secret" not in shown(url)
    try:
        told = str(parse(url).url)
    except ConfigError as refusal:
        told = str(refusal)
    assert "secret" not in told


@pytest.mark.parametrize(
    "url",
    [
        "redis://cache:6379/0?timeout=3&namespace=shop", "redis://[::1]:6379/0", "unix:///run/redis.sock?db=0",
        "redis+sentinel://h1:26379,h2:26379/mymaster/0", "valkey://cache",
    ],
)  # fmt: skip
def test_a_url_without_a_password_is_shown_as_it_is(url: str) -> None:
    assert shown(url) == url


def test_a_path_with_an_at_sign_is_shown_as_it_is() -> None:
    assert shown("sqlite:////home/me@work/jobs.db") == "sqlite:////home/me@work/jobs.db"


def test_a_process_has_one_broker_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    broker = connect("sqlite:///jobs.db")
    assert connect(f"sqlite:///{tmp_path}/jobs.db?namespace=shop") is broker
    assert connect("sqlite:///other.db") is not broker
    assert connect("sqlite:///:memory:") is connect("sqlite:///:memory:")
    assert broker.address == f"sqlite:///{tmp_path}/jobs.db"
    assert list(tmp_path.iterdir()) == [], "nothing is opened before the first use"


def test_one_store_has_one_set_of_options(tmp_path: Path) -> None:
    connect(f"sqlite:///{tmp_path}/jobs.db")
    with pytest.raises(ConfigError, match="are one store with different options"):
        connect(f"sqlite:///{tmp_path}/jobs.db?synchronous=normal")


def server_of(url: str) -> Server:
    broker = connect(url)
    assert isinstance(broker, RedisBroker)
    return broker.server


def test_nodes_of_a_cluster_are_read() -> None:
    server = server_of("valkeys+cluster://user:secret@h1:7000,[::1]")
    assert [(node.host, node.port) for node in server.nodes] == [("h1", 7000), ("::1", 6379)]
    assert (server.username, server.password, server.tls, server.sentinels) == ("user", "secret", True, ())


def test_sentinels_and_their_primary_are_read() -> None:
    url = "rediss+sentinel://user:a%40b@h1,[::1]:5000/my%2Fmaster/2?sentinel_username=ann&sentinel_password=c%26d"
    server = server_of(url)
    assert (server.primary, server.db, server.username, server.password, server.tls) == (
        "my/master", 2, "user", "a@b", True,
    )  # fmt: skip
    assert [(one.host, one.port, one.username, one.password, one.tls) for one in server.sentinels] == [
        ("h1", 26379, "ann", "c&d", True), ("::1", 5000, "ann", "c&d", True),
    ]  # fmt: skip
    assert connect(url) is connect(url)
    assert server_of("valkey+sentinel://h1/mymaster").sentinels[0].password is None
    assert server_of("redis+sentinel://h1/mymaster?sentinel_password=x") != server_of("redis+sentinel://h1/mymaster")


def test_one_server_has_one_broker_whatever_it_is_called() -> None:
    broker = connect("redis://cache")
    assert connect("valkey://cache:6379/0?namespace=shop") is broker
    assert broker.address == "redis://cache"
    for other in ("redis://cache/1", "redis://other", "rediss://cache", "redis://me:secret@cache", "unix:///cache"):
        assert connect(other) is not broker
    with pytest.raises(ConfigError, match="are one store with different options"):
        connect("redis://cache?timeout=1")
