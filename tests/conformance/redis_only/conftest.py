"""The servers of this folder: one that all cases share, empty for each, and one a module. No case lives here."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.conformance.redis_only.stage import Make, opening
from tests.conformance.stores import REDIS, server_of
from tests.servers import Conversation, start
from tests.servers import Server as Running


@pytest.fixture
def talk() -> Iterator[Conversation]:
    """A plain conversation with an empty server."""
    assert REDIS.server is not None
    with server_of(REDIS.server).conversation() as talk:
        talk.say("FLUSHALL")
        yield talk


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of the module's own."""
    with start(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
async def opened() -> AsyncIterator[Make]:
    """Makes connections that are closed at the end."""
    async with opening() as make:
        yield make
