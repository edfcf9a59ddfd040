"""The fixtures of the fault tests: real processes on each kind of store, and dice that the printed seed loads."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.leaks import leaks
from tests.faults.processes import Fleet
from tests.servers import Server, start

KEEPS_ALL = {"appendonly": "yes", "appendfsync": "always"}
"""What a server acknowledged survives its kill -9, as what is in a file survives that of a process."""


@pytest.fixture(params=[None, "valkey-9"], ids=["sqlite", "valkey"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server | None]:
    """The server that the test's store stands on, for this test alone; None if the store is a file."""
    if request.param is None:
        yield None
        return
    with start(tmp_path / "server", request.param, options=KEEPS_ALL) as server:
        yield server
        with server.conversation() as talk:
            found = leaks(talk)
        assert not found, "\n".join(found)


@pytest.fixture
def store_url(server: Server | None, tmp_path: Path) -> str:
    """Where the test's store is."""
    return f"sqlite:///{tmp_path}/jobs.db" if server is None else server.url


@pytest.fixture
def fleet(store_url: str, server: Server | None, tmp_path: Path) -> Iterator[Fleet]:
    """Processes of one test; their logs are shown if it fails."""
    one = Fleet(tmp_path, store_url, server)
    try:
        yield one
    finally:
        one.close()
        print(one.logs())


@pytest.fixture
def dice(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """The random choices of one test, the same for the same seed."""
    return random.Random(f"{seed} {request.node.name}")
