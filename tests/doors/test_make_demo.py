"""`make demo` in its three forms, and the small door beside it that starts a server for a command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from tests.servers import KINDS, why_not

ROOT = Path(__file__).parent.parent.parent
DEMO = f'"{ROOT}/.venv/bin/surefoot" demo'
ON_A_FILE = f"cd / && exec {DEMO}"
STAY = """
import os, time
owner = os.getppid()
print("here", flush=True)
while os.getppid() == owner:
    time.sleep(0.05)
"""
SLOW = """
import os, signal, sys, time, redis
came, owner = [], os.getppid()
signal.signal(signal.SIGINT, lambda *_: came.append(1))
print("here", flush=True)
while not came and os.getppid() == owner:
    time.sleep(0.05)
print(redis.Redis.from_url(sys.argv[1], protocol=2).ping(), len(came))
sys.exit(3)
"""

needs_a_server = pytest.mark.skipif(why_not(KINDS[0]) is not None, reason=str(why_not(KINDS[0])))


def made(*words: str, **environment: str) -> tuple[int, str]:
    """What make would do for `make demo` and these words, without doing it; the last line."""
    own = {name: value for name, value in os.environ.items() if name not in ("REDIS", "URL") and "MAKE" not in name}
    done = subprocess.run(
        ["make", "-n", "demo", *words], cwd=ROOT, env=own | environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.splitlines()[-1]


def test_make_demo_needs_no_server() -> None:
    assert made() == (0, ON_A_FILE)


def test_make_demo_on_a_server_of_its_own() -> None:
    starts = "exec .venv/bin/python -m tests.servers --set appendonly=yes"
    expected = (0, f"{starts} {DEMO} --redis '{{url}}'")
    assert made("REDIS=1") == expected
    assert made(REDIS="1") == expected


def test_make_demo_on_a_server_of_yours() -> None:
    assert made("URL=redis://cache") == (0, f'cd / && exec {DEMO} --redis "$URL"')
    assert made("REDIS=1", "URL=redis://cache") == (0, f'cd / && exec {DEMO} --redis "$URL"')


def test_what_the_environment_calls_so_is_not_meant_for_us() -> None:
    assert made(URL="https://example.com", REDIS="redis://production") == (0, ON_A_FILE)


def test_a_url_behind_the_wrong_word_is_told_the_right_one() -> None:
    code, line = made("REDIS=redis://cache")
    assert code == 0
    assert line == (
        'echo "REDIS=1 starts a server for the demo; for a server of yours say make demo URL=redis://..." >&2; exit 1'
    )


# --- the door ---


@contextmanager
def served(temporary: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The door in a process of its own, whatever becomes of the test."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.servers", *words],
        cwd=ROOT, env=os.environ | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def all_gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=60)
    return not alive


@needs_a_server
def test_a_command_gets_the_url_of_a_server_and_an_empty_folder(tmp_path: Path) -> None:
    code = (
        "import os, sys, redis; server = redis.Redis.from_url(sys.argv[1], protocol=2); "
        "print(server.ping(), server.config_get('appendonly'), os.listdir()); sys.exit(7)"
    )
    with served(tmp_path, "--set", "appendonly=yes", sys.executable, "-c", code, "{url}") as process:
        told, said = process.communicate(timeout=60)
    assert (process.returncode, told) == (7, "True {'appendonly': 'yes'} []\n")
    assert re.fullmatch(r"A private valkey-9 \(9\.[\d.]+, appendonly yes\) serves redis://127\.0\.0\.1:\d+/0\.\n", said)
    assert list(tmp_path.iterdir()) == []


@needs_a_server
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_the_command_and_ends_the_server(number: signal.Signals, tmp_path: Path) -> None:
    with served(tmp_path, sys.executable, "-c", STAY) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        started = below(process)
        assert any("valkey-server" in part for child in started for part in child.cmdline())
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    assert all_gone(started)
    assert list(tmp_path.iterdir()) == []


@needs_a_server
def test_a_command_may_finish_after_a_signal_while_its_server_lives(tmp_path: Path) -> None:
    with served(tmp_path, sys.executable, "-c", SLOW, "{url}") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGINT)
        told, said = process.communicate(timeout=60)
    assert (process.returncode, told) == (3, "True 1\n"), said


@needs_a_server
def test_without_a_command_it_serves_until_a_signal(tmp_path: Path) -> None:
    with served(tmp_path) as process:
        assert process.stderr is not None
        assert "serves redis://" in process.stderr.readline()
        started = below(process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert all_gone(started)
    assert list(tmp_path.iterdir()) == []


@needs_a_server
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("no-such-command",), "No such file or directory: 'no-such-command'"),
        (("--set", "no-such-option=1", "true"), "no-such-option"),
    ],
)
def test_what_cannot_be_started_is_told_and_leaves_nothing(
    words: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    with served(tmp_path, *words) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert sentence in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
