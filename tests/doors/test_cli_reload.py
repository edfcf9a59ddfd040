"""`surefoot worker --reload`: a new worker after each save, the old one drained; no orphan, whatever happens."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import psutil
import pytest
from tests.doors.cli_shop import Shop, clean_environment
from tests.doors.cli_shop import shop as shop  # a fixture

from surefoot.client.queue import Queue

pytest.importorskip("watchfiles")

URL = "sqlite:///jobs.db"
READY = "Ctrl-C once to drain, twice to stop now."

APP = """
import asyncio
from pathlib import Path
from surefoot import Queue

mail = Queue("sqlite:///jobs.db", name="mail")


@mail.task
async def wait_for(file: str) -> str:
    Path("started").touch()
    while not Path(file).exists():
        await asyncio.sleep(0.01)
    return "VERSION"
"""


class Reloading:
    """A parent with its lines, read one by one; the suite's own limit bounds each wait."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def until(self, words: str) -> str:
        """All that is said up to the line with these words."""
        assert self.process.stderr is not None
        seen = ""
        for line in self.process.stderr:
            seen += line
            if words in line:
                return seen
        raise AssertionError(f"it ended without {words!r}; it said:\n{seen}")

    def worker(self) -> int:
        """The process id of the worker that starts now."""
        found = re.search(r"  worker \S+:(\d+) \(", self.until(READY))
        assert found is not None
        return int(found[1])

    def ended(self) -> tuple[int, str]:
        """The exit code, and what was said until then."""
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@contextmanager
def reloading(shop: Shop, *args: str, reload: bool = True) -> Iterator[Reloading]:
    shop.write("app.py", APP)
    environment = clean_environment()
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # as a user's shell is
    with subprocess.Popen(
        [sys.executable, "-m", "surefoot.cli.main", "worker", *(args or ("app:mail",)), *["--reload"][:reload]],
        cwd=shop.folder, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield Reloading(process)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def started(shop: Shop) -> None:
    """Wait until the handler runs."""
    while not (shop.folder / "started").exists():
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether this process ends; waits for it within a generous bound."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        process.wait(timeout=60)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


def test_a_save_starts_a_new_worker_with_the_new_code(shop: Shop) -> None:
    with reloading(shop) as parent:
        first = parent.worker()
        shop.write("app.py", APP + "\n@mail.task\ndef more() -> None: ...\n")
        said = parent.until(READY)
        assert "surefoot: app.py changed: the worker starts again.\n" in said
        assert "worker stopped" in said
        assert "  mail   more, wait_for\n" in said
        assert gone(first)
        parent.process.send_signal(signal.SIGINT)
        code, said = parent.ended()
    assert (code, "Traceback" in said) == (0, False), said


def test_two_saves_within_a_second_are_two_versions(shop: Shop) -> None:
    with reloading(shop) as parent:
        parent.worker()
        mail = Queue(URL, name="mail")
        saved = (shop.folder / "app.py").stat().st_mtime
        for version in ("VERSIO1", "VERSIO2", "VERSIO3"):
            os.utime(shop.write("app.py", APP.replace("VERSION", version)), (saved, saved))
            parent.until(READY)
            job = mail.by_name("wait_for").enqueue_sync(file="app.py")
            assert job.result_sync(timeout=60) == version
        mail.close_sync()


def test_a_half_saved_file_shows_its_error_and_the_next_save_goes_on(shop: Shop) -> None:
    with reloading(shop) as parent:
        parent.worker()
        shop.write("app.py", APP + "\ndef half(:\n")
        said = parent.until("after the next change")
        assert "surefoot: cannot load 'app:mail': app raised while it was imported:\n" in said
        assert "SyntaxError" in said
        assert said.endswith("surefoot: the worker left with 3; it starts again after the next change.\n")
        shop.write("app.py", APP)
        parent.worker()


def test_a_save_drains_what_runs(shop: Shop) -> None:
    mail = Queue(URL, name="mail")
    with reloading(shop) as parent:
        parent.worker()
        job = mail.by_name("wait_for").enqueue_sync(file="done")
        started(shop)
        shop.write("app.py", APP.replace("VERSION", "NEXT"))
        parent.until("worker draining")
        (shop.folder / "done").touch()
        assert job.result_sync(timeout=60) == "VERSION"
        parent.worker()
        found = mail.get_sync(job.id)
        assert found is not None
        assert (found.runs, found.interruptions) == (1, 0)
    mail.close_sync()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_drains(number: signal.Signals, shop: Shop) -> None:
    mail = Queue(URL, name="mail")
    with reloading(shop) as parent:
        child = parent.worker()
        job = mail.by_name("wait_for").enqueue_sync(file="done")
        started(shop)
        parent.process.send_signal(number)
        parent.until("worker draining")
        (shop.folder / "done").touch()
        code, said = parent.ended()
        assert code == 0, said
        assert gone(child)
        assert job.result_sync(timeout=60) == "VERSION"
    mail.close_sync()


def test_ctrl_c_on_a_terminal_which_reaches_both_counts_once(shop: Shop) -> None:
    mail = Queue(URL, name="mail")
    with reloading(shop) as parent:
        parent.worker()
        parent.process.send_signal(signal.SIGSTOP)
        os.killpg(parent.process.pid, signal.SIGINT)
        job = mail.by_name("wait_for").enqueue_sync(file="app.py")
        assert job.result_sync(timeout=20) == "VERSION", "the worker itself has not heard it"
        parent.process.send_signal(signal.SIGCONT)
        code, said = parent.ended()
        assert (code, "worker draining" in said) == (0, True), said
    mail.close_sync()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_hands_back(number: signal.Signals, code: int, shop: Shop) -> None:
    mail = Queue(URL, name="mail")
    with reloading(shop) as parent:
        child = parent.worker()
        job = mail.by_name("wait_for").enqueue_sync(file="never")
        started(shop)
        parent.process.send_signal(number)
        parent.until("worker draining")
        parent.process.send_signal(number)
        left, said = parent.ended()
        assert (left, "Traceback" in said) == (code, False), said
        assert gone(child)
        found = mail.get_sync(job.id)
        assert found is not None
        assert (found.state, found.failures, found.interruptions) == ("pending", 0, 1)
    mail.close_sync()


def test_a_parent_that_is_killed_leaves_no_orphan(shop: Shop) -> None:
    with reloading(shop) as parent:
        child = parent.worker()
        parent.process.kill()
        parent.process.wait()
        assert gone(child)
        assert "worker stopped" in parent.until("worker stopped")


def test_a_worker_that_dies_is_started_again_after_the_next_save(shop: Shop) -> None:
    with reloading(shop) as parent:
        os.kill(parent.worker(), signal.SIGKILL)
        parent.until("surefoot: the worker left with -9; it starts again after the next change.")
        shop.write("pyproject.toml", "")
        parent.worker()


def test_what_a_handler_starts_is_not_taken_for_a_worker_of_ours(shop: Shop) -> None:
    with reloading(shop) as parent:
        child = parent.worker()
        assert "SUREFOOT_LIFELINE" in psutil.Process(child).environ(), "it came this way"
        job = Queue(URL, name="mail").by_name("environment").enqueue_sync()
        shop.write(
            "app.py",
            APP + "\nimport os\n@mail.task\ndef environment() -> bool:\n    return 'SUREFOOT_LIFELINE' in os.environ\n",
        )
        assert job.result_sync(timeout=60) is False


def test_json_lines_only(shop: Shop) -> None:
    with reloading(shop, "app:mail", "--log-format", "json") as parent:
        said = parent.until("worker_started")
        shop.write("app.py", "def half(:\n")
        said += parent.until("after the next change")
        shop.write("app.py", APP)
        said += parent.until("worker_started")
        parent.process.send_signal(signal.SIGTERM)
        code, rest = parent.ended()
    lines = [msgspec.json.decode(line) for line in (said + rest).splitlines()]
    assert code == 0
    assert all(list(line)[:4] == ["time", "level", "logger", "message"] for line in lines)
    (fault,) = [line for line in lines if line["level"] == "ERROR"]
    assert (fault["exit_code"], "SyntaxError" in fault["traceback"]) == (3, True)


def test_a_worker_that_is_no_longer_told_to_reload_can_still_be_stopped(shop: Shop) -> None:
    shop.write("pyproject.toml", "[tool.surefoot.worker]\nreload = true\n")
    with reloading(shop, reload=False) as parent:
        parent.worker()
        shop.write("pyproject.toml", "")
        child = parent.worker()
        parent.process.send_signal(signal.SIGTERM)
        code, said = parent.ended()
        assert (code, "worker draining" in said) == (0, True), said
        assert gone(child)


# --- how it is called ---


def test_without_watchfiles_a_sentence_says_how_to_get_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    ran = shop.here("worker", "shop:mail", "--reload")
    assert (ran.code, ran.out) == (2, "")
    sentence = "--reload needs watchfiles; install it with: pip install 'surefoot[reload]'."
    assert ran.err == f"surefoot: {sentence} See `surefoot worker --help`.\n"


@pytest.mark.parametrize("option", ["--burst", "--check"])
def test_it_does_not_go_with_what_leaves_by_itself(option: str, shop: Shop) -> None:
    ran = shop.here("worker", "shop:mail", "--reload", option)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"surefoot: --reload runs until it is stopped, and {option} leaves by itself; give one.")


def test_wrong_usage_of_the_worker_ends_it(shop: Shop) -> None:
    with reloading(shop, "shop:worker", "-c", "5") as parent:
        code, said = parent.ended()
    assert code == 2
    assert said.startswith("surefoot: --concurrency does not apply: 'shop:worker' is a Worker")
    assert said.count("\n") == 1
