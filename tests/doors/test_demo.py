"""`surefoot demo` as a user meets it: it ends well, counts right, says what it missed, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("aiosmtpd")
pytest.importorskip("aiosmtplib")
pytest.importorskip("PIL")

from surefoot.cli.demo.account import judge, summary
from surefoot.cli.demo.ledger import Run

COMMAND = ("-m", "surefoot.cli.main", "demo", "--fast")
TELL = "import sys; from surefoot.cli.demo import run; sys.exit(run(fast=True))"


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """Where the demo makes its folder. Whatever a failed test leaves running there is ended."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    yield folder
    for process in workers(folder):
        process.kill()


def workers(temporary: Path) -> list[psutil.Process]:
    """Processes that a demo started whose folder is in `temporary`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("DEMO_FOLDER", "").startswith(str(temporary)):
                found.append(process)
        except psutil.Error:
            continue
    return found


def demo(temporary: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *(arguments or COMMAND)],
        cwd=temporary,
        env=os.environ | {"TMPDIR": str(temporary), "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_whole_story(temporary: Path) -> None:
    with demo(temporary) as process:
        told, errors = process.communicate(timeout=110)
    assert process.returncode == 0, told + errors
    assert errors == ""

    steps = re.findall(r"^ok +(.+?)  ", told, re.MULTILINE)
    assert sorted(steps) == sorted(
        [
            "two workers", "ten mails", "four pictures", "a report", "a delayed job", "a recurring job",
            "a failing job", "a timeout", "kill -9", "SIGTERM", "the end",
        ]
    )  # fmt: skip
    assert "10 of 10 arrived over SMTP" in told

    count = {name.strip(): int(figure) for name, figure in re.findall(r"^([a-z ]{10}) *(\d+)", told, re.MULTILINE)}
    ours, ticks = map(int, re.findall(r"(\d+) by this story, (\d+) by the recurring job", told)[0])
    assert ours == 10 + 4 + 1 + 1 + 1 + 1 + 4 + 4
    assert ticks >= 3
    assert count["accepted"] == ours + ticks
    assert count["completed"] == count["accepted"] - 1
    assert (count["dead"], count["cancelled"], count["expired"], count["lost"]) == (1, 0, 0, 0)
    assert count["run twice"] >= 2
    assert "its worker was killed (SIGKILL)" in told
    assert "its worker had to leave (SIGTERM)" in told

    assert workers(temporary) == []
    assert list(temporary.iterdir()) == []


def test_a_signal_in_the_middle_leaves_nothing_behind(temporary: Path) -> None:
    with demo(temporary) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "two workers" in line:
                break
        assert len(workers(temporary)) == 2
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert workers(temporary) == []
    assert list(temporary.iterdir()) == []


def test_a_worker_that_cannot_start_fails_the_story(temporary: Path) -> None:
    broken = "import sys; from surefoot.cli.demo import crew; crew.COMMAND = (sys.executable, '-c', 'no_such_name'); "
    with demo(temporary, "-c", broken + TELL) as process:
        told, errors = process.communicate(timeout=60)
    assert process.returncode == 1, told + errors
    assert re.search(
        r"^FAILED two workers +expected every worker to go on; seen: worker \d+ left by itself", told, re.MULTILINE
    )
    log = re.search(r"\S+worker-1\.log", told)
    assert log is not None
    assert "NameError" in Path(log[0]).read_text()
    assert workers(temporary) == []


@pytest.mark.parametrize(("module", "package"), [("aiosmtpd", "aiosmtpd"), ("PIL", "pillow")])
def test_without_the_extra_one_sentence_says_how_to_get_it(temporary: Path, module: str, package: str) -> None:
    with demo(temporary, "-c", f"import sys; sys.modules[{module!r}] = None; {TELL}") as process:
        told, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert told == ""
    assert errors == f"surefoot: the demo needs {package}: run `pip install 'surefoot[demo]'` first.\n"


def test_redis_is_not_in_this_release(temporary: Path) -> None:
    with demo(temporary, *COMMAND, "--redis", "redis://localhost") as process:
        told, errors = process.communicate(timeout=60)
    assert (process.returncode, told) == (2, "")
    assert errors == "surefoot: this release stores jobs in sqlite only; write `surefoot demo` without --redis.\n"


KILLED, DRAINED, OTHER = 1, 2, 3
DONE = Run(2, OTHER, 0, "returned", 0)


def test_the_account_knows_why_a_job_ran_twice() -> None:
    runs = {
        "killed": [Run(1, KILLED, 0), DONE],
        "killed before it could say so": [Run(1, KILLED, 0, "returned", 0), DONE],
        "drained": [Run(1, DRAINED, 0, "stopped", 0), DONE],
        "raised": [Run(1, DRAINED, 0, "raised", 0), DONE],
        "timed out": [Run(1, OTHER, 0, "stopped", 0), DONE],
        "once": [DONE],
    }
    account = judge(dict.fromkeys(runs, "completed"), runs, killed={KILLED}, drained={DRAINED}, told=6)
    assert account.faults == ()
    assert account.again == {
        "killed": "its worker was killed (SIGKILL)",
        "killed before it could say so": "its worker was killed (SIGKILL)",
        "drained": "its worker had to leave (SIGTERM)",
    }
    assert summary(account, ticks=2) == [
        "accepted     6  4 by this story, 2 by the recurring job",
        "completed    6",
        "dead         0",
        "cancelled    0",
        "expired      0",
        "lost         0",
        "run twice    3  1: its worker had to leave (SIGTERM), 2: its worker was killed (SIGKILL)",
    ]


@pytest.mark.parametrize("first", [Run(1, OTHER, 0, "returned", 0), Run(1, OTHER, 0), Run(1, DRAINED, 0)])
def test_the_account_finds_a_run_without_a_cause(first: Run) -> None:
    account = judge({"job": "completed"}, {"job": [first, DONE]}, killed={KILLED}, drained={DRAINED}, told=1)
    (fault,) = account.faults
    assert fault.startswith("run twice without a cause: job job, attempt 1")


def test_the_account_finds_what_is_lost() -> None:
    states = {"gone": None, "waiting": "pending", "never run": "completed", "dead": "dead", "done": "completed"}
    account = judge(states, {"done": [DONE], "dead": [Run(1, OTHER, 0, "raised", 0)]}, killed=(), drained=(), told=6)  # type: ignore[arg-type]
    assert account.lost == 4
    assert account.faults == (
        "lost: 1 of 6 accepted jobs are nowhere",
        "lost: job gone is unknown, and no run of it returned",
        "lost: job waiting is pending, and no run of it returned",
        "lost: job never run is completed, and no run of it returned",
    )


def test_the_account_finds_a_run_of_a_job_nobody_enqueued() -> None:
    account = judge({}, {"stranger": [DONE]}, killed=(), drained=(), told=0)
    assert account.faults == ("run but never accepted: job stranger",)
