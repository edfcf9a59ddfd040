"""One server for all cases of this folder that can share one, empty for each. No case lives here."""

from collections.abc import Iterator

import pytest
from tests.conformance.stores import REDIS, server_of
from tests.servers import Conversation


@pytest.fixture
def talk() -> Iterator[Conversation]:
    """A plain conversation with an empty server."""
    assert REDIS.server is not None
    with server_of(REDIS.server).conversation() as talk:
        talk.say("FLUSHALL")
        yield talk
