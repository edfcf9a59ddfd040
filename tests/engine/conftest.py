"""A store for each test, in memory and on a server, and one queue on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.client.kinds import Kind
from tests.client.kinds import kind as kind  # fixtures and a hook
from tests.client.kinds import pytest_itemcollected as pytest_itemcollected
from tests.client.kinds import url as url
from tests.engine.stage import Stage

from surefoot import Queue


@pytest.fixture
def stage(kind: Kind) -> Iterator[Stage]:
    made = Stage(kind)
    yield made
    made.close()


@pytest.fixture
def jobs(stage: Stage) -> Queue:
    return stage.queue()
