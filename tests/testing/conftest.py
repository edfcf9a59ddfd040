"""Each test begins with an empty diary."""

from __future__ import annotations

import pytest
from tests.testing.shop import buried, diary


@pytest.fixture(autouse=True)
def empty_diary() -> None:
    diary.lines.clear()
    buried.clear()
