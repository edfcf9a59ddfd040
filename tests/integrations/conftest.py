"""A Django project of its own for each test, on each kind of store."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.client.kinds import kind as kind  # fixtures
from tests.client.kinds import url as url
from tests.integrations.project import Project, write_project


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the databases of a project, empty."""
    return write_project(tmp_path_factory.mktemp("tables") / "site", "sqlite:///:memory:").folder


@pytest.fixture
def project(tmp_path: Path, url: str, tables: Path) -> Project:
    """Its jobs live in the store of the fixture `url`."""
    return write_project(tmp_path / "site", url, tables)


@pytest.fixture
def file_project(tmp_path: Path, tables: Path) -> Project:
    """Its jobs live in a file: for what is the same on every store."""
    return write_project(tmp_path / "site", f"sqlite:///{tmp_path}/jobs.db", tables)
