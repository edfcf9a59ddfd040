"""The kinds of stores that the tests of the producers' door and of the worker meet, and on which loops. No case."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from tests import servers
from tests.conformance.leaks import leaks
from tests.conformance.stores import server_of

from surefoot.brokers.redis.broker import RedisBroker
from surefoot.brokers.redis.server import Server

Kind = Literal["sqlite", "redis"]
SERVER = "valkey-9"


def broker_of(server: servers.Server, username: str | None = None, password: str | None = None) -> RedisBroker:
    """A broker of its own, as another process would have it."""
    return RedisBroker(
        Server(shown=server.url, host=servers.HOST, port=server.port, username=username, password=password)
    )


def emptied() -> RedisBroker:
    """A broker of this process's server, with nothing in it."""
    server = server_of(SERVER)
    server.say("FLUSHALL")
    return broker_of(server)


def left_clean() -> None:
    """Nothing is left on the server that should not be."""
    with server_of(SERVER).conversation() as talk:
        found = leaks(talk)
    assert not found, "\n".join(found)


def pytest_itemcollected(item: pytest.Item) -> None:
    """For a conftest: a server is met on one of the two loops, on both only in the long form."""
    chosen: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    if chosen.get("kind") != "redis" or "anyio_backend" not in chosen:
        return
    chose_a_loop = any("anyio_backend" in mark.args[0] for mark in item.iter_markers("parametrize"))
    if not chose_a_loop and not chosen["anyio_backend"][1]["use_uvloop"]:
        item.add_marker("faults_full")


@pytest.fixture(params=["sqlite", "redis"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """The kind of store that a test meets."""
    if request.param == "sqlite":
        return "sqlite"
    if reason := servers.why_not(SERVER):
        pytest.skip(reason)
    return "redis"


@pytest.fixture
def url(kind: Kind, tmp_path: Path) -> str:
    """A store that other processes can open too; empty."""
    if kind == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    server = server_of(SERVER)
    server.say("FLUSHALL")
    return server.url
