"""A store for each test, in memory and on a server, behind a wire."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.client.kinds import Kind
from tests.client.kinds import kind as kind  # fixtures and a hook
from tests.client.kinds import pytest_itemcollected as pytest_itemcollected
from tests.client.kinds import url as url
from tests.client.shop import Wire, queue_on, store

from surefoot import Queue


@pytest.fixture
def wire(kind: Kind) -> Iterator[Wire]:
    with store(kind) as made:
        yield made


@pytest.fixture
def mail(wire: Wire) -> Queue:
    return queue_on(wire)
