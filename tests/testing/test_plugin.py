"""The pytest plugin, and whole projects of users as their own pytest runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = "import json, sys; print(json.dumps(sorted(sys.modules)))"

APPLICATION = """
from surefoot import Queue, Retry, current_job

mail = Queue("sqlite:///never-made.db", name="mail", retry=Retry(max_attempts=3, base=10, jitter=0))
sent: list[str] = []


@mail.task
async def welcome(address: str) -> str:
    if address == "down" and current_job().attempt < 3:
        raise ConnectionError(address)
    sent.append(address)
    return address


@mail.task
def receipt(number: int) -> int:
    welcome.enqueue_sync(f"receipt-{number}")
    return number


@mail.cron("0 * * * *")
async def hourly() -> None:
    sent.append("hourly")
"""

FIXTURE = """
from app import hourly, mail, receipt, sent, welcome
from surefoot.testing import Drained, Sandbox


def test_in_a_plain_test(surefoot_sandbox: Sandbox) -> None:
    receipt.enqueue_sync(1)
    surefoot_sandbox.assert_enqueued(receipt)
    assert surefoot_sandbox.drain_sync() == Drained(runs=2, completed=2)


async def test_in_an_async_test(surefoot_sandbox: Sandbox) -> None:
    assert surefoot_sandbox.jobs() == []
    await receipt.enqueue(2)
    assert (await surefoot_sandbox.drain()).runs == 2
"""

KINDS = {
    "drain": '''
def test_drain_{n}(box):
    job = receipt.enqueue_sync({n})
    assert box.drain_sync().runs == 2
    assert job.result_sync() == {n}
''',
    "retry": '''
async def test_retry_{n}(box):
    job = await welcome.enqueue("down")
    assert await box.advance(30) == Drained(runs=3, completed=1)
    assert await job.result() == "down"
''',
    "cron": '''
async def test_cron_{n}(box):
    assert (await box.advance(12 * 3600)).runs == 12
''',
    "assert": '''
def test_assert_{n}(box):
    welcome.options(delay=60, key="k").enqueue_sync("a{n}")
    box.assert_enqueued(welcome.draft("a{n}"), times=1, delay=60, key="k")
    box.assert_not_enqueued(receipt)
''',
}  # fmt: skip
HEAD = """
import pytest
from app import hourly, mail, receipt, welcome
from surefoot.testing import Drained, sandbox


@pytest.fixture
def box():
    with sandbox() as box:
        yield box
"""


def project(folder: Path, **files: str) -> Path:
    """A project of a user: an application, its tests, anyio's plugin for the async ones."""
    (folder / "app.py").write_text(APPLICATION)
    (folder / "pyproject.toml").write_text('[tool.pytest.ini_options]\nanyio_mode = "auto"\n')
    (folder / "conftest.py").write_text(
        'import pytest\n\n\n@pytest.fixture\ndef anyio_backend():\n    return "asyncio"\n'
    )
    for name, source in files.items():
        (folder / f"{name}.py").write_text(source)
    return folder


def run_pytest(folder: Path, *options: str) -> str:
    """What pytest says in a process of its own, as a user starts it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "SUREFOOT"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    run = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=100,
        env=environment | {"HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    return run.stdout + run.stderr


def loaded(code: str) -> set[str]:
    """The modules of a fresh process after this code."""
    run = subprocess.run([sys.executable, "-c", f"{code}; {MODULES}"], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout))


def test_the_plugin_costs_nothing_until_it_is_used() -> None:
    more = loaded("import pytest, surefoot.testing.plugin") - loaded("import pytest")
    assert {name for name in more if name.startswith("surefoot")} == {
        "surefoot", "surefoot.testing", "surefoot.testing.plugin",
    }  # fmt: skip
    assert len(more) < 10, more


def test_the_kit_never_loads_the_worker() -> None:
    modules = loaded("from surefoot.testing import *; import surefoot.testing as t; [getattr(t, n) for n in t.__all__]")
    assert "surefoot.testing.box" in modules
    assert not {"surefoot.worker", "pytest", "surefoot.cli"} & modules


def test_the_fixture_holds_every_queue_in_plain_and_async_tests(tmp_path: Path) -> None:
    assert "2 passed" in run_pytest(project(tmp_path, test_it=FIXTURE))
    assert not (tmp_path / "never-made.db").exists()


def test_a_failed_assertion_is_shown_without_the_kits_own_lines(tmp_path: Path) -> None:
    failing = FIXTURE + '''

def test_that_fails(surefoot_sandbox):
    welcome.enqueue_sync("a")
    surefoot_sandbox.assert_enqueued(welcome.draft("b"))


def test_whose_handler_fails(surefoot_sandbox):
    welcome.enqueue_sync("down")
    surefoot_sandbox.drain_sync(raise_errors=True)
'''  # fmt: skip
    said = run_pytest(project(tmp_path, test_it=failing))
    assert "2 failed, 2 passed" in said
    assert "E       AssertionError: welcome(address='b') is not enqueued." in said
    assert "welcome(address='a') pending: address is 'a', not 'b'" in said
    assert "raise ConnectionError(address)" in said
    assert "testing/wanted.py" not in said and "testing/box.py" not in said


@pytest.mark.timeout(200)
def test_a_project_with_two_hundred_tests_passes(tmp_path: Path) -> None:
    files = {
        f"test_{kind}": HEAD + "".join(source.replace("{n}", str(number)) for number in range(50))
        for kind, source in KINDS.items()
    }
    said = run_pytest(project(tmp_path, **files))
    assert "200 passed" in said, said[-3_000:]
