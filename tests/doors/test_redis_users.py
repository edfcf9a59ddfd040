"""Producers and workers on a server as users write them: web processes that fork, scripts that wait, the README.

Each is a program of its own. What was accepted and what ran is counted from outside.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.doors.cli_shop import clean_environment, command, database
from tests.servers import KINDS, Server, why_not

from surefoot import Queue

if reason := why_not(KINDS[0]):
    pytest.skip(reason, allow_module_level=True)

ROOT = Path(__file__).parent.parent.parent
DATABASE = 2

APP = """
import os

from surefoot import Queue

mail = Queue(name="mail")  # the URL comes from SUREFOOT_URL


@mail.task
async def welcome(address: str) -> str:
    with open("ran", "a") as ran:
        ran.write(f"{address}\\n")
    return f"welcome {address}, from process {os.getpid()}"
"""

# One process of a web server that loads the application before it forks, and goes on itself.
FORKED_AFTER_A_CALL = """
import os
import sys

from app import welcome



def serve(name: str) -> None:
    for number in range(100):
        job = welcome.enqueue_sync(f"{name} {number}").job_sync()
        assert job.arguments == {"address": f"{name} {number}"}, f"{name} was given the answer of another process"


welcome.enqueue_sync("before")
child = os.fork()
try:
    serve("parent" if child else "child")
finally:
    if not child:
        os._exit(sys.exc_info()[0] is not None)
assert os.waitpid(child, 0)[1] == 0
welcome.enqueue_sync("parent afterwards")
"""

# The same one after the other: whoever took the other's connection would go unnoticed by both.
FORKED_IN_TURN = """
import os

from app import welcome

welcome.enqueue_sync("before")
child = os.fork()
if child == 0:
    welcome.enqueue_sync("child")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
welcome.enqueue_sync("parent afterwards")
"""

# gunicorn --preload: what was opened before the fork, by whatever kind of code, is there in every child.
PRELOADED = """
import asyncio
import os
import sys
import threading

from app import mail, welcome

CHILDREN, EACH = 2, 40


def serve(name: str) -> None:
    for number in range(EACH):
        job = welcome.enqueue_sync(f"{name} sync {number}").job_sync()
        assert job.arguments == {"address": f"{name} sync {number}"}, f"{name} was given the answer of another process"

    async def at_once() -> None:
        await asyncio.gather(*[welcome.enqueue(f"{name} async {number}") for number in range(EACH)])

    asyncio.run(at_once())
    threads = [threading.Thread(target=welcome.enqueue_sync, args=(f"{name} thread {n}",)) for n in range(EACH)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def connect() -> None:
    async with mail:
        await welcome.enqueue("preload async")
        await mail.stats()


asyncio.run(connect())
asyncio.run(welcome.enqueue("preload left open"))
welcome.enqueue_sync("preload sync")
ready, go = os.pipe()
children = []
for name in range(CHILDREN):
    child = os.fork()
    if child == 0:
        try:
            os.read(ready, 1)  # so that all serve at once
            serve(f"child {name}")
        finally:
            os._exit(sys.exc_info()[0] is not None)
    children.append(child)
os.write(go, b"x" * CHILDREN)
serve("parent")
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
welcome.enqueue_sync("parent afterwards")
"""

# A fork in the middle of a loop that has connections open: the parent's loop goes on, the child makes its own.
FORKED_IN_A_LOOP = """
import asyncio
import os

from app import welcome


async def main() -> None:
    await welcome.enqueue("before")
    child = os.fork()
    if child == 0:
        try:
            welcome.enqueue_sync("child")
            asyncio.run(welcome.enqueue("child's own loop"))
        except BaseException:
            os._exit(1)
        os._exit(0)
    await asyncio.gather(*[welcome.enqueue(f"parent {number}") for number in range(20)])
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        await asyncio.sleep(0.01)
    assert status == 0
    await welcome.enqueue("parent afterwards")


asyncio.run(main())
"""

WAITS = """
import asyncio
import os
import sys

from app import mail, welcome


async def main() -> None:
    async with mail:
        jobs = [await welcome.enqueue(f"reader{number}@example.com") for number in range(20)]
        results = await asyncio.gather(*[job.result(timeout=60) for job in jobs])
    for number, result in enumerate(results):
        assert result.startswith(f"welcome reader{number}@example.com, from process "), result
    (process,) = {result.rpartition(" ")[2] for result in results}
    assert int(process) != os.getpid()
    print("all answered by", process)


asyncio.run(main())
"""

WAITS_BLOCKING = """
from app import welcome

for number in range(5):
    job = welcome.enqueue_sync(f"{number}@example.com")
    assert job.result_sync(timeout=60).startswith(f"welcome {number}@example.com")
"""


class Site:
    """A folder with an application, and a server that is empty for it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        (folder / "app.py").write_text(APP)

    def run(self, program: str) -> str:
        """Run a program to its good end; what it printed."""
        (self.folder / "program.py").write_text(program)
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "program.py"],
            cwd=self.folder, env=clean_environment() | {"SUREFOOT_URL": self.url},
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    def stored(self) -> Counter[str]:
        """The arguments of all jobs that wait, each as often as it is stored."""
        with Queue(self.url, name="mail") as mail:
            jobs = mail.find_sync(state="pending", limit=1000)
            assert len(jobs) == mail.stats_sync().pending
        return Counter(str(job.arguments["address"]) for job in jobs)

    def work(self) -> Counter[str]:
        """Have a worker do all there is; what ran, each as often as it did."""
        ran = command(self.folder, "worker", "app:mail", "--burst", "--quiet", SUREFOOT_URL=self.url)
        assert (ran.code, ran.out, ran.err) == (0, "", "")
        return Counter((self.folder / "ran").read_text().splitlines())

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[bytes]]:
        """A worker process for as long as the block runs; it has to leave well."""
        with subprocess.Popen(
            [sys.executable, "-m", "surefoot.cli.main", "worker", "app:mail", "--quiet"],
            cwd=self.folder, env=clean_environment() | {"SUREFOOT_URL": self.url},
        ) as process:  # fmt: skip
            try:
                yield process
                process.terminate()
                assert process.wait(60) == 0
            finally:
                process.kill()


@pytest.fixture
def site(tmp_path: Path, server: Server) -> Site:
    with server.conversation() as talk:
        talk.say("SELECT", DATABASE)
        talk.say("FLUSHDB")
    return Site(tmp_path, database(server, DATABASE))


def once_each(*names: str) -> Counter[str]:
    return Counter(dict.fromkeys(names, 1))


def test_a_web_process_that_forked_after_a_call_and_its_child_both_store_once(site: Site) -> None:
    site.run(FORKED_AFTER_A_CALL)
    both = [f"{name} {number}" for name in ("child", "parent") for number in range(100)]
    expected = once_each("before", *both, "parent afterwards")
    assert site.stored() == expected
    assert site.work() == expected


def test_a_forked_child_speaks_on_a_connection_of_its_own(site: Site, server: Server) -> None:
    def opened() -> int:
        return int(server.info()["total_connections_received"])

    before = opened()
    site.run(FORKED_IN_TURN)
    assert opened() - before == 2 + 1, "one of each process, and the one that this question came on"
    assert site.stored() == once_each("before", "child", "parent afterwards")


def test_processes_that_were_forked_from_a_connected_one_store_exactly_what_they_enqueue(site: Site) -> None:
    site.run(PRELOADED)
    expected = once_each(
        "preload async", "preload left open", "preload sync", "parent afterwards",
        *[
            f"{name} {way} {number}"
            for name in ("child 0", "child 1", "parent")
            for way in ("sync", "async", "thread")
            for number in range(40)
        ],
    )  # fmt: skip
    assert site.stored() == expected
    assert site.work() == expected


def test_a_loop_goes_on_after_a_fork_in_its_middle(site: Site) -> None:
    site.run(FORKED_IN_A_LOOP)
    expected = once_each(
        "before", "child", "child's own loop", *[f"parent {number}" for number in range(20)], "parent afterwards"
    )
    assert site.stored() == expected


def test_a_producer_waits_for_results_from_a_worker_in_another_process(site: Site) -> None:
    with site.worker() as worker:
        assert site.run(WAITS) == f"all answered by {worker.pid}\n"


def test_a_blocking_producer_waits_for_results_too(site: Site) -> None:
    with site.worker():
        site.run(WAITS_BLOCKING)


def test_the_readme_s_example_runs_on_a_server_when_its_url_is_changed(site: Site) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    changed = example.replace("sqlite:///jobs.db", site.url)
    assert changed != example
    assert site.run(changed).startswith("welcome ann@example.com in fr, job ")
    with Queue(site.url, name="mail") as mail:
        (reminder,) = mail.find_sync(state="scheduled")
    assert reminder.key == "remind:ann"
