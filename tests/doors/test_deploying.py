"""What docs/deploying.md says of the world around the processes: units, containers, a server's settings and users."""

from __future__ import annotations

import configparser
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from tests.doors.cli_shop import clean_environment
from tests.doors.docs_runner import DOCS
from tests.servers import HOST, KINDS, Refusal, Server, start, why_not

from surefoot import Worker
from surefoot.cli.worker import worker as worker_command

PAGE = (DOCS / "deploying.md").read_text()
DRAIN_S = inspect.signature(Worker).parameters["drain"].default
PASSWORD = "pw"
HARMLESS = {"client|setinfo", "config|get"}
"""What redis-py and the first look at a server ask for; the page says that they may be refused."""
SELDOM = {"ping", "unsubscribe", "lpop"}
"""Granted for what no short test meets: a subscription that is quiet for long, or left; a wait without time."""


def block(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)
    return str(text)


# --- processes ---


def parses(words: list[str]) -> None:
    assert Path(words[0]).name == "surefoot"
    assert words[1] == "worker"
    context = worker_command.make_context("worker", words[2:])
    assert isinstance(context, click.Context)
    assert context.params["target"] == ("shop.worker:worker",)


def test_the_unit_starts_our_command_and_waits_longer_than_its_drain() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign, assignment]  # systemd's keys have capitals
    unit.read_string(block("ini"))
    service = unit["Service"]
    parses(service["ExecStart"].split())
    assert service.getint("TimeoutStopSec") > DRAIN_S
    assert f"the worker's drain ({DRAIN_S} s)" in PAGE
    assert service["Restart"] == "always"


def test_the_container_starts_our_command_and_waits_longer_than_its_drain() -> None:
    parses(json.loads(block("dockerfile").removeprefix("CMD ")))
    (grace,) = re.findall(r"terminationGracePeriodSeconds: (\d+)", block("yaml"))
    assert int(grace) > DRAIN_S


# --- a server ---

if reason := why_not(KINDS[0]):
    pytest.skip(reason, allow_module_level=True)

APP = """
import asyncio
import os

from surefoot import Job, Queue, Reject, Retry, current_job

mail = Queue(os.environ["SUREFOOT_URL"], name="mail")


def tell(job: Job) -> None: ...


@mail.task
async def good(number: int) -> int:
    current_job().progress(1)
    return number


@mail.task
def plain(number: int) -> int:
    return number


@mail.task(retry=Retry(max_attempts=2, base=0.01), on_dead=tell)
async def bad() -> None:
    raise ValueError("no")


@mail.task
async def long() -> None:
    await asyncio.sleep(1000)


@mail.every(0.5)
async def tick() -> None: ...
"""

WORKER = """
import asyncio

from app import bad, good, long, mail
from surefoot import Worker


async def main() -> None:
    worker = Worker(mail, lease=1)
    serving = asyncio.ensure_future(worker.serve())
    assert await (await good.enqueue(1)).result(timeout=30) == 1
    for _ in range(5):
        await bad.enqueue()
    running = await long.enqueue()
    while await running.status() != "processing":
        await asyncio.sleep(0.01)
    later = good.options(delay=0.3)
    assert await (await later.enqueue(2)).result(timeout=30) == 2
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, input)
    worker.stop()
    await serving


asyncio.run(main())
"""

PRODUCER = """
import asyncio

from app import bad, good, mail, plain
from surefoot import Key


async def main() -> None:
    async with mail:
        keyed = good.options(delay=100, key=Key("k", duplicate="replace"))
        await keyed.enqueue(1)
        job = await keyed.enqueue(2)
        assert await job.reschedule(delay=50)
        assert await job.status() == "scheduled"
        assert (await job.explain()).reasons == ("not_due",)
        assert await job.cancel() == "cancelled"
        jobs = await mail.enqueue_many([good.draft(number) for number in range(3)])
        assert await asyncio.gather(*[job.result(timeout=30) for job in jobs]) == [0, 1, 2]


asyncio.run(main())
assert plain.enqueue_sync(7).result_sync(timeout=30) == 7
"""

OPERATOR = """
import os
import sys
import time

from app import mail
from surefoot.cli.main import run

url = ["--url", os.environ["SUREFOOT_URL"]]
while len(letters := mail.dead.find_sync()) < 5:
    time.sleep(0.02)
id = letters[0].id
for line in ["stats", "jobs", f"jobs show {id}", f"explain {id}", "dead list", f"dead show {id}"]:
    assert run([*line.split(), *url]) == 0, line
mail.workers_sync(), mail.crons_sync(), mail.history_sync(), mail.changes_sync()
if sys.argv[1:] == ["changes"]:
    later = mail.by_name("good").options(delay=1000).enqueue_sync(number=1)
    assert later.reschedule_sync(delay=900)
    mail.pause_cron_sync("tick")
    mail.resume_cron_sync("tick")
    mail.dead.edit_sync(id)
    for line in ["pause -q mail", f"dead requeue {id}", "dead delete --task bad --yes", "resume -q mail"]:
        assert run([*line.split(), *url]) == 0, line
    mail.cancel_sync(everything=True)
"""

DIES = """
from app import bad

for _ in range(5):
    bad.enqueue_sync()
"""

WANTS_IN = """
from app import good

good.enqueue_sync(1)
"""


class Ground:
    """A server with the page's users, and the application in a folder."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.words: dict[str, list[str]] = {}
        for line in block("acl").splitlines():
            _, name, *words = line.split()
            self.words[name] = words
            server.say("ACL", "SETUSER", name, *[f">{PASSWORD}" if word.startswith(">") else word for word in words])
        for name, text in (("app", APP), ("worker", WORKER), ("producer", PRODUCER), ("operator_", OPERATOR)):
            (folder / f"{name}.py").write_text(text)
        (folder / "wants_in.py").write_text(WANTS_IN)
        (folder / "dies.py").write_text(DIES)

    def environment(self, user: str) -> dict[str, str]:
        url = f"redis://{user}:{PASSWORD}@{HOST}:{self.server.port}/0"
        return clean_environment() | {"SUREFOOT_URL": url}

    def run(self, user: str, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=self.environment(user), capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip

    def refused(self) -> set[tuple[str, str]]:
        """(user, command or key) of what the server did not let anybody do."""
        entries = [dict(zip(flat[::2], flat[1::2], strict=True)) for flat in self.server.say("ACL", "LOG", 1000)]
        return {(text(entry[b"username"]), text(entry[b"object"])) for entry in entries}

    def without_parts(self, commands: set[str]) -> set[str]:
        """The commands as Redis 6.2 names them: `client` for `client|id`. None on a newer server."""
        old = self.server.version.startswith("6.")
        return {name.partition("|")[0] for name in commands} if old else set()

    def used(self) -> set[str]:
        """The commands that anybody has run."""
        lines = self.server.say("INFO", "commandstats").decode().split()
        return {line.partition(":")[0].removeprefix("cmdstat_") for line in lines if ":calls=" in line}


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


@pytest.fixture(scope="module", params=[KINDS[0], "redis-6.2"])
def ground(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    if reason := why_not(request.param):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("users")
    with start(folder / "server", request.param, options={"appendonly": "yes"}) as server:
        yield Ground(server, folder)


@pytest.fixture(scope="module")
def lived(ground: Ground) -> Ground:
    """Everybody has done all that they are there for."""
    with subprocess.Popen(
        [sys.executable, "worker.py"], cwd=ground.folder, env=ground.environment("worker"), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as worker:  # fmt: skip
        try:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
            for user, words in (
                ("producer", ["producer.py"]), ("viewer", ["operator_.py"]), ("operator", ["operator_.py", "changes"]),
                ("producer", ["dies.py"]), ("dashboard", ["operator_.py", "changes"]),
            ):  # fmt: skip
                done = ground.run(user, *words)
                assert done.returncode == 0, f"{user}: {done.stderr}"
            _, said = worker.communicate("\n", timeout=60)
            assert worker.returncode == 0, said
        finally:
            worker.kill()
    return ground


def test_R20_every_user_can_do_what_it_is_there_for(lived: Ground) -> None:
    assert set(lived.words) == {"producer", "worker", "operator", "dashboard", "viewer"}
    harmless = HARMLESS | lived.without_parts(HARMLESS)
    assert {(user, what) for user, what in lived.refused() if what not in harmless} == set()


def test_R20_no_user_may_do_more(lived: Ground) -> None:
    used = lived.used()
    granted = {word[1:] for words in lived.words.values() for word in words if word.startswith("+")}
    for word in granted - SELDOM:
        commands = {text(one) for one in lived.server.say("ACL", "CAT", word[1:])} if word[0] == "@" else {word}
        commands |= lived.without_parts(commands)
        assert commands & used, f"+{word} is granted and nobody uses it"


@pytest.mark.parametrize("user", ["producer", "worker", "operator", "dashboard", "viewer"])
def test_R20_nobody_reaches_what_is_not_the_queues(ground: Ground, user: str) -> None:
    for command in (["FLUSHALL"], ["KEYS", "*"], ["GET", "another"], ["CONFIG", "GET", "*"], ["ACL", "LIST"]):
        with ground.server.conversation() as talk:
            talk.say("AUTH", user, PASSWORD)
            with pytest.raises(Refusal, match="NOPERM"):
                talk.say(*command)


def test_R20_who_may_only_look_cannot_enqueue(ground: Ground) -> None:
    done = ground.run("viewer", "wants_in.py")
    assert done.returncode == 1
    assert "does not let this user do what surefoot needs" in done.stderr


def test_a_server_with_the_page_s_settings_draws_no_remark(ground: Ground, tmp_path: Path) -> None:
    settings = dict(line.split(maxsplit=1) for line in block("redis").splitlines())
    with start(tmp_path / "server", options=settings) as server:
        (tmp_path / "app.py").write_text(APP)
        done = subprocess.run(
            [sys.executable, "-m", "surefoot.cli.main", "worker", "app:mail", "--burst", "--quiet"],
            cwd=tmp_path, env=clean_environment() | {"SUREFOOT_URL": server.url}, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
