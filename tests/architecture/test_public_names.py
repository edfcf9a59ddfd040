"""The front door: the public names are these, each says what it is, and looking in loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import surefoot

PUBLIC_NAMES = """
    AsyncTask CallNext Cancel Concurrency ConfigError Draft DuplicateJob DuplicateTask ErrorInfo Event Explanation
    InvalidArguments Job JobCancelled JobContext JobError JobExpired JobFailed JobHandle JobNotFound Key LeaseLost
    Middleware NotInJob NotReplicated OutcomeUnknown PayloadError PayloadTooLarge Priority Progress Queue QueueFull Rate
    Reject ResultNotKept ResultTimeout Retry RetryLater Signal Snooze State StateMissing Stats StoreError
    StoreUnavailable StoreUnsuitable SurefootError SyncInsideLoop SyncTask Task TaskDefinitionError UsageError Worker
    configure current_job in_job
""".split()
HEAVY = (
    "surefoot.worker surefoot.engine surefoot.supervisor surefoot.cli surefoot.integrations surefoot.testing "
    "redis rich click psutil uvloop aiosmtpd aiosmtplib PIL django pytest watchfiles"
).split()


def test_public_names_are_sorted_and_exactly_these() -> None:
    assert list(surefoot.__all__) == PUBLIC_NAMES, (
        "surefoot.__all__ and this list differ: a new public name is added to both on purpose; a name that goes needs "
        "a deprecation first"
    )


def said_below_aliases() -> set[str]:
    """Type aliases cannot carry a docstring: for them it is the text on the line below."""
    found: set[str] = set()
    for path in Path(surefoot.__file__).parent.rglob("*.py"):
        for line, below in pairwise(ast.parse(path.read_text()).body):
            text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and below.value.value
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(text, str):
                found.add(line.target.id)
    return found


def test_every_public_name_is_there_and_has_a_docstring() -> None:
    aliases = said_below_aliases()
    silent = [
        name for name in PUBLIC_NAMES if not (getattr(surefoot, name).__doc__ or "").strip() and name not in aliases
    ]
    assert not silent, f"say in a docstring what each of these is: {silent}"


def test_a_library_says_nothing_where_nobody_listens(tmp_path: Path) -> None:
    code = "import logging, surefoot; logging.getLogger('surefoot.worker').warning('unheard')"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stderr == ""


def test_the_version_is_told() -> None:
    assert surefoot.__version__[0].isdigit()


@pytest.mark.parametrize("touch", ["surefoot", "surefoot.Queue", "surefoot.Queue, surefoot.Retry, surefoot.JobHandle"])
def test_the_producers_side_loads_nothing_heavy(touch: str, tmp_path: Path) -> None:
    code = f"import sys, surefoot; {touch}; print(*sys.modules)"
    loaded = loads(code, tmp_path) & set(HEAVY)
    assert not loaded, f"`import surefoot; {touch}` loads {sorted(loaded)}: import them where they are used"


def test_the_pytest_plugin_of_everybody_s_tests_loads_nothing_heavy(tmp_path: Path) -> None:
    loaded = loads("import sys, surefoot.testing.plugin; print(*sys.modules)", tmp_path) & set(HEAVY)
    assert loaded <= {"surefoot.testing", "pytest"}, f"the plugin loads {sorted(loaded)}: import them in its fixtures"


def loads(code: str, folder: Path) -> set[str]:
    """The modules that a program says it has."""
    run = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())
