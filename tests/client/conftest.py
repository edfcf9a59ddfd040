"""A store in memory for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.client.shop import Wire, queue_on, store

from surefoot import Queue


@pytest.fixture
def wire() -> Iterator[Wire]:
    with store() as made:
        yield made


@pytest.fixture
def mail(wire: Wire) -> Queue:
    return queue_on(wire)
