"""Lives drawn from seeds: none of them breaks a promise, and each can be played again exactly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.simulation.crowd import crowd, portion, story
from tests.simulation.life import play
from tests.simulation.plan import MODES, Mode
from tests.simulation.sqlite_server import SqliteLife

ROOT = Path(__file__).parents[2]
MANY = 10_000
"""How many seeds have been played; a run of the suite takes some of them."""
SOME = 200
PARTS = 4
SQLITE_MANY = 500
SQLITE_SOME = 25

DIGEST = """
from hashlib import sha256
from tests.simulation.crowd import story
from tests.simulation.plan import MODES
told = [line for seed in range(12) for mode in MODES for line in story(seed, mode)[0]]
print(len(told), sha256("\\n".join(told).encode()).hexdigest())
"""


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("mode", MODES)
def test_no_life_breaks_a_promise(mode: Mode, part: int, seed: int) -> None:
    each = SOME // PARTS
    start = seed % (MANY - SOME) + part * each
    count, found = portion(mode, range(start, start + each))
    assert count == each
    assert not found, "\n".join(map(str, found))


FOUND: dict[str, tuple[Mode, int]] = {
    "a claim that waited out an outage took a living worker's job": ("safety", 4853),
    "a late pause undid a resume": ("liveness", 4858),
    "a job was started that a thawed worker had lost": ("safety", 4793),
    "the same, after its machine had slept": ("liveness", 5006),
}
"""What lives have found, each mended; test_mutants.py builds most of them in again."""


@pytest.mark.parametrize("what", FOUND)
def test_what_a_life_has_found_stays_mended(what: str) -> None:
    mode, seed = FOUND[what]
    _, broken = play(seed, mode)
    assert broken is None


@pytest.mark.parametrize("mode", MODES)
def test_no_life_on_sqlite_breaks_a_promise(mode: Mode, seed: int) -> None:
    start = seed % (SQLITE_MANY - SQLITE_SOME)
    _, found = portion(mode, range(start, start + SQLITE_SOME), SqliteLife)
    assert not found, "\n".join(map(str, found))


@pytest.mark.faults_full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", MODES)
def test_no_life_of_many_on_sqlite_breaks_a_promise(mode: Mode) -> None:
    _, found = portion(mode, range(SQLITE_MANY), SqliteLife)
    assert not found, "\n".join(map(str, found))


@pytest.mark.faults_full
@pytest.mark.timeout(3600)
def test_no_life_of_many_breaks_a_promise() -> None:
    broken = [str(one) for _, found in crowd(range(MANY)) for one in found]
    assert not broken, "\n".join(broken)


def test_a_seed_plays_again_exactly_in_another_process() -> None:
    """Other hashes, another order of sets: the same story, word for word."""

    def told(hashes: str) -> str:
        environment = os.environ | {"PYTHONHASHSEED": hashes, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        run = [sys.executable, "-c", DIGEST]
        return subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout

    first = told("1")
    assert int(first.split()[0]) > 1000
    assert first == told("2")


@pytest.mark.parametrize("mode", MODES)
def test_telling_a_life_does_not_change_it(mode: Mode) -> None:
    for seed in range(5):
        silent, told = play(seed, mode)[0], play(seed, mode, told=True)[0]
        assert not silent.story.lines
        assert told.story.lines
        assert (silent.kernel.steps, silent.kernel.now) == (told.kernel.steps, told.kernel.now)


def test_lives_differ_and_hold_what_they_should() -> None:
    """Among some seeds everything that can go wrong does, and every end is met."""
    told = "\n".join(line for seed in range(200) for line in story(seed, "safety")[0])
    for words in (
        "is killed", "has left", "freeze", "suspend", "apart", "down", "the store is back", "request lost",
        "reply lost", "(late)", "(repeated)", "not sent", "Refused('STALE')", "recovered", "event lease_lost",
        "event crashed", "crash_loop",
        "event completed", "event dead", "event retrying", "event snoozed", "event interrupted", "event timed_out",
        "event cancelled", "event expired", "taken", "replaced", "fenced", ":park", "lost on its way",
    ):  # fmt: skip
        assert words in told, f"no life among these has {words!r}"
