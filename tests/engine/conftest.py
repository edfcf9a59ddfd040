"""A store in memory for each test, and one queue on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.engine.stage import Stage

from surefoot import Queue


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.store.close_sync()


@pytest.fixture
def jobs(stage: Stage) -> Queue:
    return stage.queue()
