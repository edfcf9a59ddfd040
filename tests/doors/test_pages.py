"""What the pages show and name is true: the drawing of the states, the files and folders that they mention, the
commands.
"""

import re
from pathlib import Path

import pytest
from tests.doors.drawing import drawing, shown

ROOT = Path(__file__).parent.parent.parent
PAGES = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]


def test_the_drawing_of_the_states_is_made_from_the_table_of_moves() -> None:
    assert shown() == drawing(), "run: python -m tests.doors.drawing --write"


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    named = re.findall(r"`([\w./-]+(?:\.(?:py|md|sql|toml)|/))(?:`|:)", text)
    missing = [
        name
        for name in named
        if not any((base / name).exists() for base in (ROOT, ROOT / "src/surefoot", ROOT / "tests"))
    ]
    assert missing == [], f"{page} names what is not there"


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_a_page_names_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / page).read_text()))
    sentences = {"it", "sure", "two", "a"}
    assert named - sentences <= targets
