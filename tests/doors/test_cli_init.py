"""`surefoot init`: what it writes works at once, and what is there is never changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.doors.cli_shop import Ran, clean_environment, command
from tests.servers import KINDS, start, why_not

WRITTEN = ["jobs.py", "pyproject.toml", "test_jobs.py"]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tool(folder: Path, name: str, *args: str) -> Ran:
    """A tool of Python over the files there, with a home that is empty."""
    done = subprocess.run(
        [sys.executable, "-m", name, *args],
        cwd=folder, env=clean_environment() | {"HOME": str(folder)}, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


@contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """A worker as `surefoot worker` alone starts it, ready, and drained after."""
    with subprocess.Popen(
        [sys.executable, "-m", "surefoot.cli.main", "worker"],
        cwd=folder, env=clean_environment(), stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            assert process.stderr is not None
            assert any("Ctrl-C once to drain" in line for line in process.stderr), "the worker did not start"
            yield
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
            assert process.returncode == 0
        finally:
            process.kill()


def test_the_three_commands_that_it_names_work(tmp_path: Path) -> None:
    ran = command(tmp_path, "init")
    assert (ran.code, ran.err) == (0, "written: jobs.py, test_jobs.py, pyproject.toml\n")
    assert sorted(files(tmp_path)) == WRITTEN
    worker, enqueue, test = (line.split("   ")[0].split() for line in ran.out.splitlines())
    assert (worker, enqueue[:2], test) == (["surefoot", "worker"], ["surefoot", "enqueue"], ["pytest"])
    checked = command(tmp_path, *worker[1:], "--check")
    assert checked.out.startswith(
        "  default   count_words, greet        cron good_morning  0 6 * * mon-fri  Europe/Paris"
    )
    with at_work(tmp_path):
        waited = command(tmp_path, *enqueue[1:])
    assert (waited.code, waited.out.strip()) == (0, "Hello Ada, this is attempt 1"), waited.err


def test_its_tests_pass(tmp_path: Path) -> None:
    command(tmp_path, "init")
    ran = tool(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "-W", "error")
    assert (ran.code, "4 passed" in ran.out) == (0, True), ran.out + ran.err
    assert not (tmp_path / "jobs.db").exists()


def test_its_code_is_typed_and_in_shape(tmp_path: Path) -> None:
    command(tmp_path, "init")
    ran = tool(tmp_path, "mypy", "--strict", "--cache-dir", os.devnull, "jobs.py", "test_jobs.py")
    assert ran.code == 0, ran.out
    assert tool(tmp_path, "ruff", "check", "--isolated", "--select", "E,F,I,B,UP,SIM", "--line-length", "120").code == 0
    assert tool(tmp_path, "ruff", "format", "--isolated", "--check", "--line-length", "120").code == 0


@pytest.mark.skipif(why_not(KINDS[0]) is not None, reason="there is no server here")
def test_with_redis_the_same_files_live_on_a_server(tmp_path: Path) -> None:
    ran = command(tmp_path, "init", "app", "--redis")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert [line.split("   ")[0].strip() for line in lines] == [
        "cd app", "surefoot worker", "surefoot enqueue greet name=Ada --wait", "pytest"
    ]  # fmt: skip
    folder = tmp_path / "app"
    source = (folder / "jobs.py").read_text()
    assert 'Queue("redis://localhost:6379/0")' in source
    with start(tmp_path / "server", options={"appendonly": "yes"}) as server:
        (folder / "jobs.py").write_text(source.replace("redis://localhost:6379/0", server.url))
        sent = command(folder, "enqueue", "greet", "name=Ada")
        assert sent.code == 0, sent.err
        assert command(folder, "worker", "--burst").code == 0
        shown = command(folder, "jobs", "show", sent.out.strip())
        assert (shown.code, "completed" in shown.out) == (0, True), shown.err


def test_json_says_the_files_and_the_commands(tmp_path: Path) -> None:
    ran = command(tmp_path, "init", "--json")
    assert (ran.code, ran.err) == (0, "")
    (record,) = ran.records()
    assert record == {
        "written": ["jobs.py", "test_jobs.py", "pyproject.toml"],
        "next": ["surefoot worker", "surefoot enqueue greet name=Ada --wait", "pytest"],
    }


# --- where ---


def test_a_directory_is_made_if_it_is_not_there(tmp_path: Path) -> None:
    ran = command(tmp_path, "init", "new/shop")
    assert ran.code == 0, ran.err
    assert sorted(files(tmp_path / "new" / "shop")) == WRITTEN
    assert ran.out.startswith("  cd new/shop")


def test_a_second_time_nothing_is_written(tmp_path: Path) -> None:
    command(tmp_path, "init")
    before = files(tmp_path)
    ran = command(tmp_path, "init")
    assert (ran.code, ran.out) == (1, "")
    there = "jobs.py, test_jobs.py, [tool.surefoot] in pyproject.toml"
    assert ran.err == f"surefoot: nothing was written, because this is there already: {there}.\n"
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["jobs.py", "test_jobs.py", "jobs/__init__.py"])
def test_one_file_that_is_there_keeps_all_away(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    ran = command(tmp_path, "init")
    assert (ran.code, ran.err) == (1, f"surefoot: nothing was written, because this is there already: {name}.\n")
    assert files(tmp_path) == {name: b"mine"}


def test_a_link_that_leads_nowhere_is_there_too(tmp_path: Path) -> None:
    (tmp_path / "jobs.py").symlink_to(tmp_path / "absent.py")
    assert command(tmp_path, "init").code == 1
    assert files(tmp_path) == {}


def test_a_file_in_the_place_of_the_directory_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "shop").write_text("mine")
    ran = command(tmp_path, "init", "shop")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("surefoot: invalid value for '[DIR]': Directory 'shop' is a file.")
    ran = command(tmp_path, "init", "shop/below")
    assert (ran.code, ran.err) == (1, "surefoot: nothing was written: cannot write shop/below: Not a directory.\n")
    assert files(tmp_path) == {"shop": b"mine"}


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
from surefoot.cli.main import main
main()
"""


@pytest.mark.parametrize(("limit", "failed"), [(300, "jobs.py"), (1200, "test_jobs.py"), (4000, "pyproject.toml")])
def test_a_disk_that_gets_full_leaves_everything_as_it_was(limit: int, failed: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("#" * 3990 + "\n")
    before = files(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED.replace("LIMIT,", f"{limit},").replace("LIMIT)", f"{limit})"), "init"],
        cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == f"surefoot: nothing was written: cannot write {failed}: File too large.\n"
    assert files(tmp_path) == before


@pytest.mark.parametrize("target", ["absent.toml", "/dev/full", "."])
def test_a_pyproject_that_is_no_file_keeps_all_away(target: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").symlink_to(target)
    ran = command(tmp_path, "init")
    assert (ran.code, ran.err) == (1, "surefoot: nothing was written: pyproject.toml is not a file.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["pyproject.toml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        ran = command(tmp_path, "init")
    finally:
        tmp_path.chmod(0o700)
    assert (ran.code, ran.err) == (1, "surefoot: nothing was written: cannot write jobs.py: Permission denied.\n")


# --- a pyproject.toml that is there ---


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[project]\nname = 'mine'  # a comment\n",
        "[project]\nname = 'mine'",
        "[project]\r\nname = 'mine'\r\n",
        "[tool.ruff]\nline-length = 100\n\n\n",
        "# ünïcode\n[tool.other]\nx = 1\n",
    ],
)
def test_a_table_is_added_and_the_rest_stays_as_it_is(text: str, tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_bytes(text.encode())
    assert command(tmp_path, "init").code == 0
    after = path.read_bytes()
    assert after.startswith(text.encode())
    read = tomllib.loads(after.decode())
    assert read["tool"].pop("surefoot") == {"app": "jobs:queue"}
    before = tomllib.loads(text)
    assert read == before | {"tool": before.get("tool", {})}
    if "\r\n" in text:
        assert after.count(b"\n") == after.count(b"\r\n")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[tool.surefoot.worker]\nthreads = 5\n", "this is there already: [tool.surefoot] in pyproject.toml."),
        ("tool = {ruff = {}}\n", "cannot add [tool.surefoot] to pyproject.toml: "),
        ("[tool\n", "cannot add [tool.surefoot] to pyproject.toml: "),
    ],
)
def test_a_pyproject_that_takes_no_table_keeps_all_away(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    ran = command(tmp_path, "init", "--quiet")
    assert ran.code == 1 or text == "[tool\n"  # what nobody can read is found before the command
    assert sentence in ran.err or ran.err.startswith("surefoot: cannot read ")
    assert files(tmp_path) == {"pyproject.toml": text.encode()}


def test_a_pyproject_of_a_parent_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.surefoot]\napp = "other"\n')
    assert command(tmp_path, "init", "below").code == 0
    assert (tmp_path / "pyproject.toml").read_text() == '[tool.surefoot]\napp = "other"\n'
    assert "greet" in command(tmp_path / "below", "worker", "--check").out
