"""Both checkers agree with the files beside this one: each line marked BAD is an error, and no other line is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FILES = sorted([*HERE.glob("ok_*.py"), *HERE.glob("bad_*.py")])

Lines = dict[str, set[int]]


def marked() -> Lines:
    """The lines that must be errors, by file."""
    found: Lines = {}
    for path in FILES:
        lines = {number for number, line in enumerate(path.read_text().splitlines(), 1) if "# BAD" in line}
        if lines:
            found[path.name] = lines
    return found


def said(reports: list[tuple[str, int, str]]) -> tuple[Lines, str]:
    """The lines that a checker flags, by file, and what it says of each."""
    found: Lines = {}
    for name, line, _ in reports:
        found.setdefault(name, set()).add(line)
    return found, "\n".join(f"{name}:{line}: {words}" for name, line, words in reports)


def mypy() -> list[tuple[str, int, str]]:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context"]
    settings = ["--config-file=", "--python-version=3.11", "--show-absolute-path", "--no-pretty", "--no-color-output"]
    run = subprocess.run([*command, *settings, *map(str, FILES)], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode in (0, 1), run.stdout + run.stderr
    reports = re.findall(r"^(.+?):(\d+): error: (.*)$", run.stdout, re.MULTILINE)
    return [(Path(name).name, int(line), words) for name, line, words in reports]


def pyright() -> list[tuple[str, int, str]]:
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, *map(str, FILES)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode in (0, 1), run.stdout + run.stderr
    reports = json.loads(run.stdout)["generalDiagnostics"]
    return [
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1, one["message"])
        for one in reports
        if one["severity"] == "error"
    ]


def test_there_is_something_to_check() -> None:
    assert len(FILES) >= 11
    assert sum(map(len, marked().values())) >= 70


@pytest.mark.timeout(300)
def test_mypy_flags_exactly_the_marked_lines() -> None:
    lines, words = said(mypy())
    assert lines == marked(), words


@pytest.mark.timeout(300)
def test_pyright_flags_exactly_the_marked_lines() -> None:
    lines, words = said(pyright())
    assert lines == marked(), words
