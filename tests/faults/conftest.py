"""The fixtures of the fault tests: a fleet of real processes, and dice that the printed seed loads."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.processes import Fleet


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Processes of one test; their logs are shown if it fails."""
    one = Fleet(tmp_path)
    try:
        yield one
    finally:
        one.close()
        print(one.logs())


@pytest.fixture
def dice(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """The random choices of one test, the same for the same seed."""
    return random.Random(f"{seed} {request.node.name}")
