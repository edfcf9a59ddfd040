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
from tests.servers import HOST, KINDS, Server, start, why_not

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


PASSWORD = "open-sesame"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that is in use for something else, and asks for a password."""
    if reason := why_not(KINDS[0]):
        pytest.skip(reason)
    with start(tmp_path / "server", options={"requirepass": PASSWORD, "appendonly": "yes"}) as server:
        server.say("SET", "{demo:mail}:jobs", "somebody else's")
        yield server


def url_of(server: Server) -> str:
    return f"redis://:{PASSWORD}@{HOST}:{server.port}/0"


def others_keys(server: Server) -> bool:
    """Whether exactly what was there before is there."""
    return bool(server.say("KEYS", "*") == [b"{demo:mail}:jobs"])


def read_to(process: subprocess.Popen[str], words: str) -> None:
    """Read what it tells as far as the line with these words."""
    assert process.stdout is not None
    for line in process.stdout:
        if words in line:
            return
    raise AssertionError(f"it ended without {words!r}")


@pytest.mark.parametrize("place", ["file", "server"])
def test_the_whole_story(place: str, temporary: Path, request: pytest.FixtureRequest) -> None:
    server: Server | None = request.getfixturevalue("server") if place == "server" else None
    with demo(temporary, *COMMAND, *(["--redis", url_of(server)] if server else [])) as process:
        told, errors = process.communicate(timeout=110)
    assert process.returncode == 0, told + errors
    assert errors == ""
    first = re.sub("demo-[0-9a-f]{8}", "demo-X", told.partition("\n")[0])
    if server is None:
        assert re.fullmatch(r"One queue in \S+/jobs\.db; nothing else is used, nothing stays behind\.", first)
    else:
        assert first == (
            f"One queue at redis://:***@127.0.0.1:{server.port}/0 (Valkey {server.version}, a log of every change on "
            "disk), in a namespace of its own, demo-X: its keys are removed at the end."
        )
        assert others_keys(server)

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
        read_to(process, "two workers")
        assert len(workers(temporary)) == 2
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert workers(temporary) == []
    assert list(temporary.iterdir()) == []


def test_two_signals_in_the_middle_leave_nothing_on_a_server(temporary: Path, server: Server) -> None:
    with demo(temporary, *COMMAND, "--redis", url_of(server)) as process:
        read_to(process, "two workers")
        assert not others_keys(server)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (128 + signal.SIGINT, "")
    assert workers(temporary) == []
    assert list(temporary.iterdir()) == []
    assert others_keys(server)


def test_a_server_that_goes_away_ends_the_story_and_no_log_holds_its_password(temporary: Path, server: Server) -> None:
    with demo(temporary, *COMMAND, "--redis", url_of(server)) as process:
        read_to(process, "ten mails")
        server.kill()
        told, errors = process.communicate(timeout=110)
    assert (process.returncode, errors) == (1, "")
    (removal,) = [line for line in told.splitlines() if "remove them by hand" in line]
    assert re.fullmatch(
        r"FAILED  the keys \{demo-[0-9a-f]{8}:demo\}:\* were not removed \(cannot reach redis://\S+ "
        r"\(connection refused\)\); remove them by hand\.",
        removal,
    )
    (folder,) = temporary.iterdir()
    assert told.endswith(f"Kept: {folder}\n")
    logs = [told, *[log.read_text() for log in folder.glob("*.log")]]
    assert len(logs) > 2
    assert not any(PASSWORD in log for log in logs)
    assert workers(temporary) == []


def test_workers_leave_when_the_story_is_killed(temporary: Path) -> None:
    with demo(temporary) as process:
        read_to(process, "two workers")
        left = workers(temporary)
        assert len(left) == 2
        process.kill()
    gone, alive = psutil.wait_procs(left, timeout=60)
    assert (len(gone), alive) == (2, [])


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


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        (
            f"redis://:{PASSWORD}@127.0.0.1:1/0",
            "cannot reach redis://:***@127.0.0.1:1/0?namespace=demo-X (connection refused); nothing was done. "
            "Is the server running? Try `surefoot doctor`.",
        ),
        (
            f"redis//:{PASSWORD}@cache",
            "cannot read the URL 'redis//:***@cache': the scheme is missing its colon; did you mean "
            "'redis://:***@cache'?",
        ),
        (
            "sqlite:///jobs.db",
            "--redis takes the URL of a server, such as redis://localhost:6379/0, not sqlite:///jobs.db.",
        ),
        (
            "redis+cluster://a,b/1",
            "cannot read the URL 'redis+cluster://a,b/1': a cluster has no databases; write "
            "redis+cluster://... without /1.",
        ),
    ],
)
def test_a_server_that_cannot_be_used_is_one_sentence_and_nothing_is_begun(
    url: str, sentence: str, temporary: Path
) -> None:
    with demo(temporary, *COMMAND, "--redis", url) as process:
        told, errors = process.communicate(timeout=60)
    assert (process.returncode, told) == (4, "")
    assert re.sub("demo-[0-9a-f]{8}", "demo-X", errors) == f"surefoot: {sentence}\n"
    assert list(temporary.iterdir()) == []


def test_a_server_that_may_drop_jobs_is_refused_before_anything_is_begun(temporary: Path, server: Server) -> None:
    server.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lfu")
    with demo(temporary, *COMMAND, "--redis", url_of(server)) as process:
        told, errors = process.communicate(timeout=60)
    assert (process.returncode, told) == (4, "")
    assert "its maxmemory-policy is allkeys-lfu. Set it to noeviction" in errors
    assert errors.count("\n") == 1
    assert list(temporary.iterdir()) == []
    assert others_keys(server)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"appendonly": "no", "save": ""}, "nothing on disk"),
        ({"appendonly": "no", "save": "3600 1"}, "snapshots on disk"),
    ],
)
def test_what_a_server_keeps_is_told(options: dict[str, str], words: str, temporary: Path, server: Server) -> None:
    for name, value in options.items():
        server.say("CONFIG", "SET", name, value)
    with demo(temporary, *COMMAND, "--redis", url_of(server)) as process:
        read_to(process, f", {words}")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (128 + signal.SIGTERM, "")


def test_the_namespace_of_a_url_is_not_used(temporary: Path, server: Server) -> None:
    with demo(temporary, *COMMAND, "--redis", f"{url_of(server)}?namespace=shop&timeout=7") as process:
        read_to(process, "two workers")
        spaces = {key.partition(b":")[0] for key in server.say("KEYS", "*")} - {b"{demo"}
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    (space,) = spaces
    assert re.fullmatch(rb"\{demo-[0-9a-f]{8}", space)
    assert others_keys(server)


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
