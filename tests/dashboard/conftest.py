"""A shop in each kind of store, and a browser where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.client.kinds import kind as kind  # fixtures
from tests.client.kinds import url as url
from tests.dashboard.browser import browser as browser
from tests.dashboard.browser import page as page
from tests.dashboard.stage import Shop


@pytest.fixture
def shop(url: str) -> Iterator[Shop]:
    """In a file and on a server."""
    made = Shop(url)
    yield made
    made.close()


@pytest.fixture
def file_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """In a file: for what is the same on every store."""
    made = Shop(f"sqlite:///{tmp_path_factory.mktemp('shop')}/jobs.db")
    yield made
    made.close()
