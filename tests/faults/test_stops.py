"""A process on a SQLite file that is stopped at any point of a job's life (R10, Q3): a call is stored whole or not at
all, and whoever says it again is told the same.
"""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.processes import ROOT

STEP = 7
PLACES = ("statement", "reply", "byte", "checkpoint")


def tried(folder: Path, first: int, step: int) -> dict[str, int]:
    """How many points there are, and what came of those that were tried."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.faults.stops", str(folder), str(first), str(step)], cwd=ROOT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, f"{run.stderr}\n{run.stdout}"
    found: dict[str, int] = json.loads(run.stdout)
    return found


def test_R10_stopped_at_any_point_of_a_life(tmp_path: Path, dice: random.Random) -> None:
    found = tried(tmp_path, dice.randrange(STEP), STEP)
    points = found.pop("points")
    assert points > 1_000
    assert sum(found.values()) >= points // STEP
    assert {what.partition(":")[0] for what in found} == set(PLACES)


@pytest.mark.faults_full
@pytest.mark.timeout(1_800)
def test_R10_stopped_at_every_point_of_a_life(tmp_path: Path) -> None:
    found = tried(tmp_path, 0, 1)
    points = found.pop("points")
    assert sum(found.values()) == points
    assert found["reply: executed"] > 20, "almost every call changes the store"
