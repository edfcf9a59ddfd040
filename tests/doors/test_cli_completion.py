"""Shell completion, asked by a real bash: commands, options, values, names of the application; silence in trouble."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.doors.cli_shop import Shop, clean_environment
from tests.doors.cli_shop import shop as shop  # a fixture

BASH = shutil.which("bash") or ""

pytestmark = pytest.mark.skipif(not BASH, reason="there is no bash here")

ASK = r"""
source ./script
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_surefoot_completion surefoot
printf '%s\n' "${COMPREPLY[@]}"
"""


def offered(shop: Shop, *words: str, **environment: str) -> list[str]:
    """What bash offers for the last of these words; neither it nor the command may say anything else."""
    folder = shop.folder
    if not (folder / "script").exists():
        (folder / "script").write_text(shop.here("completion", "bash").out)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [BASH, "--norc", "-c", ASK, "bash", "surefoot", *words],
        cwd=folder, env=clean_environment() | {"PATH": path} | environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("wor", ["worker", "workers"]),
        ("dead re", ["requeue"]),
        ("worker --log-", ["--log-level", "--log-format"]),
        ("worker --proc", ["--processes"]),
        ("worker --log-format ", ["text", "json"]),
        ("jobs --state p", ["pending", "parked", "processing"]),
        ("completion ", ["bash", "zsh", "fish"]),
        ("stats -A shop -q ", ["billing", "mail"]),
        ("jobs shop --task ", ["close_month", "nightly", "receipt", "welcome"]),
        ("dead requeue -A shop:mail --task w", ["welcome"]),
        ("cancel -A shop --task re", ["receipt"]),
        ("enqueue -A shop w", ["welcome"]),
        ("enqueue ", []),
        ("cron pause -A shop ", ["nightly"]),
        ("worker shop -n ", []),
    ],
)
def test_bash_offers_what_fits(line: str, words: list[str], shop: Shop) -> None:
    assert offered(shop, *line.split(" ")) == words


def test_names_come_from_the_application_that_is_set(shop: Shop) -> None:
    assert offered(shop, "cancel", "--task", "") == []
    assert offered(shop, "cancel", "--task", "c", SUREFOOT_APP="shop") == ["close_month"]
    shop.write("pyproject.toml", '[tool.surefoot]\napp = "shop:mail"\n')
    assert offered(shop, "enqueue", "") == ["nightly", "receipt", "welcome"]
    assert offered(shop, "enqueue", "w") == ["welcome"]


@pytest.mark.parametrize(
    "trouble",
    [
        "raise KeyError('no settings')",
        "raise SystemExit('set DATABASE_URL')",
        "def f(:",
        "import nowhere_installed",
        "import time\ntime.sleep(600)",
        "import os\nos.kill(os.getpid(), 2)",
    ],
)
def test_an_application_that_cannot_be_loaded_has_no_names_and_no_say(trouble: str, shop: Shop) -> None:
    shop.write("bad.py", f"print('noise')\n{trouble}\n")
    assert offered(shop, "stats", "-A", "bad", "-q", "") == []


def test_what_an_application_says_is_not_seen(shop: Shop) -> None:
    shop.write(
        "loud.py",
        "import atexit, os, threading\nprint('noise')\nos.write(1, b'raw')\nos.write(2, b'raw')\n"
        "atexit.register(print, 'bye')\nthreading.Thread(target=threading.Event().wait).start()\n"
        "from shop import mail\n",
    )
    assert offered(shop, "stats", "-A", "loud", "-q", "") == ["mail"]


@pytest.mark.parametrize("text", ["[tool", "[tool.surefoot]\nap = 5\n"])
def test_a_broken_pyproject_says_nothing_here(text: str, shop: Shop) -> None:
    assert offered(shop, "sta") == ["stats"]
    shop.write("pyproject.toml", text)
    assert offered(shop, "stats", "-q", "") == []
    assert offered(shop, "sta") == ["stats"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_begins_with_where_to_put_it(shell: str, shop: Shop) -> None:
    ran = shop.here("completion", shell)
    first, rest = ran.out.split("\n", 1)
    assert (ran.code, ran.err) == (0, "")
    assert first.startswith("# ") and f"surefoot completion {shell}" in first
    assert f"_SUREFOOT_COMPLETE={shell}_complete" in rest
    assert f"surefoot completion {shell}" in shop.here("completion", "--help").out


def test_an_unknown_shell_is_wrong_usage(shop: Shop) -> None:
    ran = shop.here("completion", "tcsh")
    assert (ran.code, ran.out) == (2, "")
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'." in ran.err
