"""A server for each fault test on Redis, which may be killed, filled and locked, and what must be true at its end."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.leaks import leaks
from tests.faults.conftest import KEEPS_ALL
from tests.servers import Server, start


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """The server that the test's store stands on, which keeps what it acknowledged; checked for leaks at the end."""
    with start(tmp_path / "server", options=KEEPS_ALL) as server:
        yield server
        check(server)


def check(server: Server) -> None:
    """Every job in the store is whole and in one place."""
    with server.conversation() as talk:
        found = leaks(talk)
    assert not found, "\n".join(found)
