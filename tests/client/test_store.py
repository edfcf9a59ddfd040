"""Which store a queue lives in: the order of the ways to say it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from surefoot import ConfigError, Queue, UsageError, configure
from surefoot.client import store


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in which nobody has said anything yet."""
    monkeypatch.setattr(store, "_defaults", store._Defaults())
    monkeypatch.delenv("SUREFOOT_URL", raising=False)
    monkeypatch.delenv("SUREFOOT_NAMESPACE", raising=False)


def file(path: Path, name: str) -> str:
    return f"sqlite:///{path / name}"


def test_without_a_url_there_is_no_store() -> None:
    queue = Queue(name="mail")
    with pytest.raises(ConfigError) as missing:
        queue.stats_sync()
    assert str(missing.value) == (
        'queue \'mail\' has no store: write Queue("sqlite:///jobs.db", name="mail"), or set SUREFOOT_URL.'
    )


def test_the_nearest_url_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUREFOOT_URL", file(tmp_path, "environment.db"))
    assert Queue().broker.address.endswith("environment.db")
    monkeypatch.setattr(store, "_defaults", store._Defaults())
    configure(url=file(tmp_path, "configured.db"))
    assert Queue().broker.address.endswith("configured.db")
    assert Queue(file(tmp_path, "argument.db")).broker.address.endswith("argument.db")
    bound = Queue(file(tmp_path, "argument.db"))
    bound.bind(file(tmp_path, "bound.db"))
    assert bound.broker.address.endswith("bound.db")
    assert list(tmp_path.iterdir()) == [], "nothing is opened before the first use"


def test_the_url_is_looked_up_at_the_first_use(tmp_path: Path) -> None:
    queue = Queue(name="mail")
    queue.task(name="t")(lambda: None)
    configure(url=file(tmp_path, "late.db"), namespace="shop")
    assert queue.full_name == "shop:mail"
    assert queue.stats_sync().pending == 0


def test_the_nearest_namespace_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = file(tmp_path, "a.db")
    assert Queue(url).full_name == "surefoot:default"
    monkeypatch.setenv("SUREFOOT_NAMESPACE", "env")
    assert Queue(url).full_name == "env:default"
    monkeypatch.setattr(store, "_defaults", store._Defaults())
    configure(namespace="configured")
    assert Queue(url).full_name == "configured:default"
    assert Queue(f"{url}?namespace=in-url").full_name == "in-url:default"
    assert Queue(f"{url}?namespace=in-url", namespace="own").full_name == "own:default"


@pytest.mark.parametrize("namespace", ["", "a:b", "a b", "a{b}"])
def test_a_namespace_has_no_colon(namespace: str) -> None:
    for say in (lambda: Queue(namespace=namespace), lambda: configure(namespace=namespace)):
        with pytest.raises(ConfigError, match=r"give 1 to 128 letters, digits or _ \. -$"):
            say()


def test_bind_and_configure_come_before_the_first_use(tmp_path: Path) -> None:
    queue = Queue(file(tmp_path, "a.db"), name="mail")
    queue.stats_sync()
    with pytest.raises(UsageError) as late:
        queue.bind(file(tmp_path, "b.db"))
    assert str(late.value) == (
        f"queue 'mail' has been used with sqlite:///{tmp_path}/a.db already; bind it before its first use."
    )
    with pytest.raises(ConfigError, match="comes too late"):
        configure(url=file(tmp_path, "b.db"))


def test_configure_is_said_once(tmp_path: Path) -> None:
    configure(url=file(tmp_path, "a.db"))
    configure(url=file(tmp_path, "a.db"))
    with pytest.raises(ConfigError, match="was called before with another value"):
        configure(url=file(tmp_path, "b.db"))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            "redis//cache:6379",
            "cannot read the URL 'redis//cache:6379': the scheme is missing its colon; did you mean 'redis://cache:6379'?",
        ),
        (
            "postgres://db/jobs",
            "cannot read the URL 'postgres://...': surefoot stores jobs in sqlite, redis or valkey.",
        ),
    ],
)
def test_a_url_that_cannot_be_read_is_said_where_it_is_given(url: str, sentence: str) -> None:
    for say in (lambda: Queue(url).stats_sync(), lambda: Queue().bind(url), lambda: configure(url=url)):
        with pytest.raises(ConfigError) as wrong:
            say()
        assert str(wrong.value) == sentence


def test_replicas_need_a_server(tmp_path: Path) -> None:
    queue = Queue(file(tmp_path, "a.db"), name="mail", durable=1)
    with pytest.raises(ConfigError) as wrong:
        queue.stats_sync()
    assert str(wrong.value) == (
        "queue 'mail' says durable=1, and SQLite has no replicas; leave it out, or use Redis or Valkey."
    )


def test_the_time_to_try_is_the_urls(tmp_path: Path) -> None:
    assert Queue(file(tmp_path, "a.db")).sessions.timeout == 5
    assert Queue(file(tmp_path, "b.db") + "?timeout=2").sessions.timeout == 2


def test_a_queue_may_live_elsewhere_for_a_while(tmp_path: Path) -> None:
    queue, other = Queue(file(tmp_path, "a.db")), Queue(file(tmp_path, "b.db"), namespace="test")
    before = queue.lend(other.store)
    assert (queue.full_name, queue.broker) == ("test:default", other.broker)
    queue.lend(before)
    assert queue.full_name == "surefoot:default"
