"""The pytest plugin: one fixture. It is loaded in every run of every user's tests, so it imports nothing but pytest."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from surefoot.testing.box import Sandbox


@pytest.fixture
def surefoot_sandbox() -> "Iterator[Sandbox]":
    """A sandbox for every queue of the process, for the time of one test; nothing runs until the test says so."""
    from surefoot.testing.box import sandbox

    with sandbox() as box:
        yield box
