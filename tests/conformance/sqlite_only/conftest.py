"""One file in a folder of its own, and brokers on it. No case lives here."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from surefoot.brokers.sqlite import SqliteBroker


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def open_store(path: Path) -> Iterator[Callable[..., SqliteBroker]]:
    """Opens brokers on one file; two of them are to each other as two processes are."""
    opened: list[SqliteBroker] = []

    def open_one(**options: Any) -> SqliteBroker:
        opened.append(SqliteBroker(str(path), **options))
        return opened[-1]

    yield open_one
    for broker in opened:
        broker.close_sync()
