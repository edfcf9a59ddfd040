"""What users get: the wheel holds what it should and works in an environment that holds nothing else."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from tests.doors.wheels import ROOT, build, contents, needed, pack

import surefoot

PACKAGE = ROOT / "src" / "surefoot"


def source_files() -> set[str]:
    found = {path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    return {f"surefoot/{path.relative_to(PACKAGE).as_posix()}" for path in found}


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    build(ROOT, tmp_path, "wheel")
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name == f"surefoot-{surefoot.__version__}-py3-none-any.whl"
    files = contents(wheel)
    about = f"surefoot-{surefoot.__version__}.dist-info"
    assert {name for name in files if not name.startswith(about)} == source_files()
    for name in ("py.typed", "brokers/sqlite/sql/claim.sql", "brokers/redis/lua/claim.lua"):
        assert f"surefoot/{name}" in files
    assert files[f"{about}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    doors = configparser.ConfigParser()
    doors.read_string(files[f"{about}/entry_points.txt"].decode())
    assert {group: dict(doors[group]) for group in doors.sections()} == {
        "console_scripts": {"surefoot": "surefoot.cli.main:main"},
        "pytest11": {"surefoot": "surefoot.testing.plugin"},
    }


def test_the_source_archive_builds_the_same_wheel(tmp_path: Path) -> None:
    build(ROOT, tmp_path, "wheel", "sdist")
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        known = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.4
        files.extractall(tmp_path / "unpacked", **known)  # type: ignore[arg-type]  # the types do not know older ones
    (source,) = (tmp_path / "unpacked").iterdir()
    build(source, tmp_path / "again", "wheel")
    (first,), (second,) = tmp_path.glob("*.whl"), (tmp_path / "again").glob("*.whl")
    assert contents(first) == contents(second)
    top = {path.name for path in source.iterdir()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "pyproject.toml", "src"} <= top
    assert not top & {"tests", "benchmarks", "docs", "examples", ".venv", ".git"}
    assert not [path for path in source.rglob("*") if path.suffix == ".pyc" or path.name.endswith("_cache")]


class Empty:
    """An environment of its own. It starts with nothing: no pip, no settings, no home."""

    def __init__(self, folder: Path, house: Path) -> None:
        self._house = str(house)
        self._home = folder / "home"
        self._home.mkdir()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
        self._programs = folder / "venv" / "bin"

    def install(self, what: str) -> None:
        """From the wheels in the house alone; resolved by pip as it resolves an index."""
        pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check"]
        done = subprocess.run(
            [*pip, "--python", self._python, "install", "--quiet", "--no-index", "--find-links", self._house, what],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    @property
    def _python(self) -> str:
        return str(self._programs / "python")

    def run(self, program: str, *words: str) -> tuple[int, str, str]:
        path = os.pathsep.join([str(self._programs), os.defpath])
        done = subprocess.run(
            [self._programs / program, *words],
            cwd=self._home, env={"PATH": path, "HOME": str(self._home)}, timeout=200,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr


@pytest.mark.timeout(300)
def test_the_wheel_works_in_an_empty_environment(tmp_path: Path) -> None:
    house = tmp_path / "house"
    build(ROOT, house, "wheel")
    for name, one in needed(["surefoot[demo]"]).items():
        if name != "surefoot":
            pack(one, house)
    empty = Empty(tmp_path, house)

    empty.install("surefoot")
    assert empty.run("python", "-W", "error", "-c", "import surefoot; surefoot.Queue, surefoot.Worker") == (0, "", "")
    code, told, said = empty.run("surefoot", "version")
    assert (code, said) == (0, "")
    assert told.startswith(f"surefoot {surefoot.__version__} (Python ")
    assert empty.run("surefoot", "demo", "--fast") == (
        1, "", "surefoot: the demo needs aiosmtpd, aiosmtplib, pillow: run `pip install 'surefoot[demo]'` first.\n",
    )  # fmt: skip
    code, told, said = empty.run("surefoot", "stats", "--url", "redis://localhost:6379/0")
    assert (code, told) != (0, "")
    assert "pip install 'surefoot[redis]'" in said and "Traceback" not in said

    empty.install("surefoot[demo]")
    code, told, said = empty.run("surefoot", "demo", "--fast")
    assert code == 0, told + said
    assert "lost         0" in told
