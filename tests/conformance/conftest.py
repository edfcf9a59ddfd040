"""The stores as fixtures: `store` is every kind, the others those that can do what a case needs. No case lives here."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conformance.stores import KINDS, MODEL, Hand, Kind, Store
from tests.servers import why_not


def kinds_of(item: pytest.Item) -> list[Kind]:
    """The kinds of stores that a case runs on, whoever chose them."""
    chosen = item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    return [value for value in chosen if isinstance(value, Kind)]


def pytest_itemcollected(item: pytest.Item) -> None:
    if any(kind.full for kind in kinds_of(item)):
        item.add_marker("faults_full")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for kind in kinds_of(item):
        if kind.server is not None and (reason := why_not(kind.server)):
            pytest.skip(reason)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Every kind of store, and the model."""
    yield from opened(request, tmp_path)


@pytest.fixture(params=[kind for kind in KINDS if kind is not MODEL], ids=lambda kind: kind.name)
def real_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Every kind but the model: for paging, waiting and whatever else the model does not say."""
    yield from opened(request, tmp_path)


@pytest.fixture(params=[kind for kind in KINDS if kind.shared], ids=lambda kind: kind.name)
def shared_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Stores that outlive their brokers, and that two brokers may have at once."""
    yield from opened(request, tmp_path)


@pytest.fixture(params=[kind for kind in KINDS if kind.shared and kind is not MODEL], ids=lambda kind: kind.name)
def shared_real_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Stores that two processes may have at once."""
    yield from opened(request, tmp_path)


@pytest.fixture(params=[kind for kind in KINDS if kind.lose_body is not None], ids=lambda kind: kind.name)
def damaged_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Stores that offer a way to lose a body."""
    yield from opened(request, tmp_path)


def opened(request: pytest.FixtureRequest, place: Path) -> Iterator[Store]:
    store = Store(request.param, place)
    yield store
    store.close()


@pytest.fixture
def producer(store: Store) -> Hand:
    return store.hand()


@pytest.fixture
def worker(store: Store) -> Hand:
    return store.hand()
