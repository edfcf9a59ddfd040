"""Several worker processes as one: `surefoot worker --processes`, with real processes, signals and probes."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from surefoot import JobHandle, Queue

PATIENCE_S = 60.0


def eventually(what: str, condition: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, f"never happened: {what}"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Supervised:
    """One supervisor of an application, and the queue that it serves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/jobs.db"
        self.queue = Queue(self.url, name="jobs")
        self.process: subprocess.Popen[str] | None = None
        self.log = folder / "log"
        self.seen: set[int] = set()

    def start(self, *options: str, **environment: str) -> subprocess.Popen[str]:
        root = Path(__file__).parent.parent.parent
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "surefoot.cli.main", "worker", "tests.doors.supervised:jobs", *options],
                cwd=root, env={**os.environ, "SUREFOOT_URL": self.url, **environment}, stdout=log, stderr=log,
                text=True,
            )  # fmt: skip
        return self.process

    def task(self, name: str, **arguments: object) -> JobHandle[object]:
        return self.queue.by_name(name).options(keep_result=600).enqueue_sync(**arguments)

    def children(self) -> list[int]:
        assert self.process is not None
        found = [child.pid for child in psutil.Process(self.process.pid).children()]
        self.seen |= set(found)
        return found

    def serves(self, count: int) -> list[int]:
        eventually(f"{count} workers serve", lambda: len(self.queue.workers_sync()) == count)
        eventually(f"{count} children", lambda: len(self.children()) == count)
        return self.children()

    def left(self, code: int) -> None:
        assert self.process is not None
        assert self.process.wait(PATIENCE_S) == code, self.log.read_text()
        assert not any(alive(pid) for pid in self.seen)


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    one = Supervised(tmp_path)
    yield one
    if one.process is not None and one.process.poll() is None:
        one.process.kill()
        one.process.wait()
        eventually("no orphan is left", lambda: not any(alive(pid) for pid in one.seen))
    one.queue.close_sync()
    print(one.log.read_text())


def test_several_processes_share_the_work_and_leave_together(supervised: Supervised) -> None:
    supervised.start("--processes", "3", "-c", "1")
    children = supervised.serves(3)
    handles = [supervised.task("pid") for _ in range(60)]
    assert {handle.result_sync(timeout=30) for handle in handles} == set(children)
    assert supervised.process is not None
    supervised.process.terminate()
    supervised.left(0)


def test_W3_a_killed_process_is_replaced_and_its_jobs_run_again(supervised: Supervised, tmp_path: Path) -> None:
    supervised.start("--processes", "2", "--lease", "1s")
    supervised.serves(2)
    started = tmp_path / "started"
    job = supervised.task("waits", started=str(started), seconds=2)
    eventually("it runs", started.exists)
    found = job.job_sync()
    victim = next(one.pid for one in supervised.queue.workers_sync() if found is not None and one.id == found.worker)
    os.kill(victim, signal.SIGKILL)
    eventually("it is replaced", lambda: victim not in supervised.children() and len(supervised.children()) == 2)
    assert job.result_sync(timeout=30) == "ended"
    assert f"(pid {victim}) died of SIGKILL; it is replaced." in supervised.log.read_text()


def test_W3_a_job_that_kills_its_workers_ends_and_the_others_go_on(supervised: Supervised) -> None:
    supervised.start("--processes", "2", "--lease", "1s")
    supervised.serves(2)
    killer = supervised.task("kills_its_worker")
    assert isinstance(supervised.task("pid").result_sync(timeout=30), int)
    eventually("it is quarantined", lambda: killer.status_sync() == "dead")
    supervised.serves(2)


def test_W3_the_workers_of_a_killed_supervisor_drain_and_leave(supervised: Supervised, tmp_path: Path) -> None:
    process = supervised.start("--processes", "2")
    children = supervised.serves(2)
    started = tmp_path / "started"
    job = supervised.task("waits", started=str(started), seconds=600)
    eventually("it runs", started.exists)
    process.kill()
    process.wait()
    eventually("no orphan is left", lambda: not any(map(alive, children)))
    assert job.result_sync(timeout=5) == "stopping"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_hands_back_at_once(supervised: Supervised, tmp_path: Path, number: int, code: int) -> None:
    process = supervised.start("--processes", "2", "--drain", "10m")
    supervised.serves(2)
    started = tmp_path / "started"
    job = supervised.task("stubborn", started=str(started))
    eventually("it runs", started.exists)
    process.send_signal(number)
    eventually("they drain", lambda: all(one.draining for one in supervised.queue.workers_sync()))
    process.send_signal(number)
    supervised.left(code)
    found = job.job_sync()
    assert found is not None and (found.state, found.interruptions, found.failures) == ("pending", 1, 0)


def test_SIGHUP_replaces_one_after_the_other(supervised: Supervised) -> None:
    process = supervised.start("--processes", "2")
    before = set(supervised.serves(2))
    process.send_signal(signal.SIGHUP)
    eventually("both are new", lambda: len(now := supervised.children()) == 2 and not before & set(now))
    supervised.serves(2)
    process.terminate()
    supervised.left(0)


def test_SIGUSR1_tells_what_runs(supervised: Supervised, tmp_path: Path) -> None:
    process = supervised.start("--processes", "1")
    supervised.serves(1)
    started = tmp_path / "started"
    job = supervised.task("stubborn", started=str(started))
    eventually("it runs", started.exists)
    process.send_signal(signal.SIGUSR1)
    eventually("it is told", lambda: f"job {job.id} stubborn in hand" in supervised.log.read_text())


def test_a_process_is_replaced_after_so_many_jobs_or_MiB(supervised: Supervised) -> None:
    supervised.start("--processes", "1", "--recycle-after", "5", "-c", "1")
    supervised.serves(1)
    handles = [supervised.task("pid") for _ in range(12)]
    seen = [handle.result_sync(timeout=30) for handle in handles]
    assert len(set(seen)) == 3, seen
    assert supervised.process is not None
    supervised.process.terminate()
    supervised.process.wait(PATIENCE_S)
    supervised.start("--recycle-at", "200", "-c", "1")
    first = supervised.task("grows", megabytes=300).result_sync(timeout=30)
    assert supervised.task("grows", megabytes=1).result_sync(timeout=30) != first
    assert "it is replaced" not in supervised.log.read_text(), "nothing failed"


def test_burst_ends_when_every_process_found_nothing(supervised: Supervised) -> None:
    handles = [supervised.task("pid") for _ in range(20)]
    supervised.start("--processes", "2", "--burst")
    supervised.left(0)
    assert all(handle.status_sync() == "completed" for handle in handles)


def test_what_no_start_cures_ends_with_its_own_code(supervised: Supervised) -> None:
    supervised.start("--processes", "2", "-q", "jibs")
    supervised.left(2)
    supervised.process = None
    assert supervised.log.read_text().count("has no queue 'jibs'") >= 1


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def asked(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def test_probes_tell_alive_and_ready(supervised: Supervised, tmp_path: Path) -> None:
    port = free_port()
    process = supervised.start("--processes", "2", "--health", str(port))
    eventually("it is alive", lambda: asked(port, "/healthz") == 200)
    eventually("it is ready", lambda: asked(port, "/readyz") == 200)
    assert asked(port, "/other") == 404
    started = tmp_path / "started"
    supervised.serves(2)
    supervised.task("stubborn", started=str(started))
    eventually("it runs", started.exists)
    process.terminate()
    eventually("it is not ready any more", lambda: asked(port, "/readyz") == 503)
    assert asked(port, "/healthz") == 200
    process.terminate()
    supervised.left(143)


def figures_of(port: int) -> dict[str, float]:
    """What a scrape reads, by name with labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {f"{sample.name}{sorted(sample.labels.items())}": sample.value for one in families for sample in one.samples}


def test_metrics_are_the_sum_of_all_workers_and_never_go_back(supervised: Supervised) -> None:
    port = free_port()
    process = supervised.start("--processes", "2", "--health", str(port))
    supervised.serves(2)
    handles = [supervised.task("pid") for _ in range(40)]
    assert len({handle.result_sync(timeout=PATIENCE_S) for handle in handles}) == 2, "both workers had jobs"
    completed = "surefoot_jobs_settled_total[('outcome', 'completed'), ('queue', 'jobs'), ('task', 'pid')]"
    ran = "surefoot_job_duration_seconds_count[('queue', 'jobs'), ('task', 'pid')]"
    waited = "surefoot_job_wait_seconds_count[('queue', 'jobs'), ('task', 'pid')]"
    eventually("all are counted", lambda: {figures_of(port).get(one) for one in (completed, ran, waited)} == {40})
    died = "surefoot_worker_trouble_total[('kind', 'worker_died')]"
    assert figures_of(port)[died] == 0
    os.kill(supervised.children()[0], signal.SIGKILL)
    eventually("its death is counted", lambda: figures_of(port)[died] == 1)
    assert figures_of(port)[completed] == 40
    process.terminate()
    supervised.left(0)


def test_systemd_is_told(supervised: Supervised, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_S)
        process = supervised.start("--processes", "2", NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="200000")
        supervised.serves(2)
        told: set[bytes] = set()
        while not {b"READY=1", b"WATCHDOG=1"} <= told:
            told.add(manager.recv(100))
        process.terminate()
        while b"STOPPING=1" not in told:
            told.add(manager.recv(100))
        supervised.left(0)
