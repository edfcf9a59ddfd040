"""Addresses that a cluster announces (R7): none, a name, one that nobody here reaches; and URLs of the wrong kind."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.faults.proxy import Proxy
from tests.servers import HOST, Server, one_node_cluster, start
from tests.servers.clusters import Cluster, cluster

from surefoot import Queue, StoreError, StoreUnavailable
from surefoot.core.errors import StoreUnsuitable

ELSEWHERE = "127.0.0.2"
"""Servers listen on 127.0.0.1 alone."""


def url_of(server: Server, query: str = "") -> str:
    return f"redis+cluster://{HOST}:{server.port}{query}"


def is_served(url: str, name: str = "jobs") -> bool:
    """Whether jobs can be stored, from a thread and from a loop."""
    queue = Queue(url, name=name)

    async def on_a_loop() -> int:
        await queue.enqueue(queue.by_name("work").draft())
        stats = await queue.stats()
        await queue.close()
        return stats.pending

    try:
        queue.enqueue_sync(queue.by_name("work").draft())
        return asyncio.run(on_a_loop()) == 2
    finally:
        queue.close_sync()


def sentence(url: str, kind: type[StoreError]) -> str:
    """What a producer is told, from a thread as on a loop."""
    queue = Queue(url, name="jobs")
    draft = queue.by_name("work").draft()
    with pytest.raises(kind) as told:
        queue.enqueue_sync(draft)
    with pytest.raises(kind) as told_on_a_loop:
        asyncio.run(queue.enqueue(draft))
    assert str(told.value) == str(told_on_a_loop.value)
    assert type(told.value) is kind
    return str(told.value)


def test_R7_a_node_that_does_not_know_its_address(tmp_path: Path) -> None:
    with one_node_cluster(tmp_path, options={"cluster-announce-ip": '""'}) as node:
        assert node.say("CLUSTER", "SLOTS")[0][2][0] in (None, b"")
        assert is_served(url_of(node))


@contextmanager
def announcing(folder: Path, **options: str) -> Iterator[Cluster]:
    with cluster(folder, options={name.replace("_", "-"): value for name, value in options.items()}) as nodes:
        yield nodes


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"cluster_preferred_endpoint_type": "hostname", "cluster_announce_hostname": "localhost"}, b"localhost"),
        ({"cluster_preferred_endpoint_type": "hostname"}, b"?"),
        ({"cluster_preferred_endpoint_type": "unknown-endpoint"}, None),
    ],
    ids=["a name", "no name", "nothing"],
)
def test_R7_nodes_that_are_known_by_something_else_than_an_address(
    tmp_path: Path, options: dict[str, str], told: bytes | None
) -> None:
    """Also while slots move, when one node points to another in the same words."""
    with announcing(tmp_path, **options) as nodes:
        assert nodes.servers[0].say("CLUSTER", "SLOTS")[0][2][0] == told
        for name in ("jobs", "mail", "billing"):
            assert is_served(url_of(nodes.servers[0]), name)
        queue = Queue(url_of(nodes.servers[0]), name="jobs")
        queue.enqueue_sync(queue.by_name("work").draft())
        slot = nodes.slot_of("surefoot:jobs")
        owner = nodes.owner(slot)
        nodes.move(slot, next(server for server in nodes.servers if server is not owner))
        queue.enqueue_sync(queue.by_name("work").draft())
        assert queue.stats_sync().pending == 4
        queue.close_sync()


def test_R7_an_address_that_nobody_here_reaches(tmp_path: Path) -> None:
    with one_node_cluster(tmp_path, options={"cluster-announce-ip": ELSEWHERE}) as node:
        url = url_of(node, "?timeout=1")
        told = sentence(url, StoreUnavailable)
        assert told.startswith(f"cannot reach the node {ELSEWHERE}:{node.port} of {url} (")
        assert told.endswith(
            "): so its cluster announces it; set cluster-announce-ip there to an address that clients can reach; "
            "the job was not accepted."
        )


def test_R7_a_node_behind_another_port(tmp_path: Path) -> None:
    with one_node_cluster(tmp_path) as node, Proxy(node.port) as proxy:
        node.say("CONFIG", "SET", "cluster-announce-port", proxy.port)
        assert is_served(url_of(node))
        assert proxy.connections > 0


def test_R7_the_url_of_one_node(tmp_path: Path) -> None:
    with cluster(tmp_path) as nodes:
        owner = nodes.owner(nodes.slot_of("surefoot:jobs"))
        other = next(server for server in nodes.servers if server is not owner)
        assert sentence(other.url, StoreUnsuitable) == (
            f"{other.url} is one node of a cluster, and queue 'surefoot:jobs' is on another: "
            f"write redis+cluster://{HOST}:{other.port}/0."
        )


def test_R7_the_url_of_a_server_that_is_no_cluster(tmp_path: Path) -> None:
    with start(tmp_path) as server:
        told = sentence(url_of(server), StoreUnsuitable)
        assert told == f"{url_of(server)} is no cluster: write redis://{HOST}:{server.port}."
