"""`manage.py surefoot ...`, the setting SUREFOOT, and connections that stay fresh in a worker."""

from __future__ import annotations

import re
import signal

import msgspec
import pytest
from tests.integrations.project import SETTINGS, Project

STALE = """
from django.db import connection, connections
from surefoot import Queue, Retry
from shop.models import Order

stale = Queue(name="stale", retry=Retry(max_attempts=1))

@stale.task
def breaks() -> str:
    Order.objects.count()
    connection.connection.close()   # as a database does after a while, or a restart
    return str(Order.objects.count())

@stale.task
def opened() -> bool:
    return connection.connection is not None

@stale.task
def counts() -> int:
    return Order.objects.count()

@stale.task
async def breaks_async() -> str:
    from asgiref.sync import sync_to_async
    await Order.objects.acount()
    await sync_to_async(lambda: connection.connection.close())()
    return str(await Order.objects.acount())

@stale.task
async def counts_async() -> int:
    return await Order.objects.acount()
"""


def test_it_is_the_command_line_with_django_set_up(project: Project) -> None:
    project.script("from shop.queues import confirm; confirm.enqueue_sync(1)")
    ran = project.manage("surefoot", "stats", "shop.queues:mail", "--json", "--settings", "settings", "--pythonpath=.")
    assert (ran.code, msgspec.json.decode(ran.out)["pending"]) == (0, 1)
    assert (ran := project.manage("surefoot", "statz")).code == 2 and "did you mean 'stats'?" in ran.err
    assert project.manage("surefoot", "worker", "shop.nothing").code == 3
    assert "Usage: surefoot" in project.manage("surefoot", "--help").out
    assert "surefoot" in project.manage("help").out


def test_call_command_raises_what_is_not_done(file_project: Project) -> None:
    said = file_project.script("""
from django.core.management import CommandError, call_command
call_command("surefoot", "worker", "shop.queues:mail", "--check", "--quiet")
try:
    call_command("surefoot", "worker", "shop.nothing", "--check")
except CommandError as fault:
    say(error=str(fault), code=fault.returncode)
""").said
    assert said == {"error": "`surefoot worker shop.nothing --check` ended with exit code 3.", "code": 3}


def test_a_worker_of_manage_py_drains_at_a_signal(project: Project) -> None:
    with project.running("surefoot", "worker", "shop.queues:mail") as worker:
        assert worker.stdout is not None
        assert any("Ctrl-C once to drain" in line for line in iter(worker.stdout.readline, ""))
        said = project.script("""
from shop.models import Order
from shop.queues import confirm, greet
Order.objects.create(number=5)
jobs = confirm.enqueue_sync(5), greet.enqueue_sync(5)
say(results=[job.result_sync(timeout=60) for job in jobs])
""").said
        worker.send_signal(signal.SIGTERM)
        rest, _ = worker.communicate(timeout=60)
    assert said["results"] == ["5 confirmed", "hello 5"]
    assert worker.returncode == 0, rest


def test_a_broken_connection_fails_one_job_and_no_other(file_project: Project) -> None:
    """Plain functions in their threads, coroutines through Django's own thread."""
    file_project.add("shop/stale.py", STALE)
    said = file_project.script("""
from shop.stale import *
jobs = [task.enqueue_sync() for task in (breaks, counts, opened, breaks_async, counts_async, counts_async)]
say(ids=[job.id for job in jobs])
""").said
    file_project.worker("shop.stale:stale", "--threads", "1", "-c", "1")
    told = file_project.script(f"""
from shop.stale import stale
jobs = [stale.get_sync(id) for id in {said["ids"]!r}]
say(states=[job.state for job in jobs], error=jobs[0].error.kind)
""").said
    assert told["states"] == ["dead", "completed", "completed", "dead", "completed", "completed"]
    assert told["error"] == "ProgrammingError"


APART = """
from shop.models import Order
from surefoot import Queue, Retry

apart = Queue(name="apart", retry=Retry(max_attempts=1))

@apart.task(executor="process")
def breaks() -> str:
    from django.db import connection
    Order.objects.count()
    connection.connection.close()
    return str(Order.objects.count())

@apart.task(executor="process")
async def counts() -> int:
    return await Order.objects.acount()

@apart.task(executor="process")
def opened() -> bool:
    from django.db import connection
    return connection.connection is not None
"""


def test_a_child_process_has_django_set_up_and_its_connections_kept_fresh(file_project: Project) -> None:
    file_project.add("shop/apart.py", APART)
    said = file_project.script("""
from shop.apart import *
jobs = [task.enqueue_sync() for task in (breaks, opened, counts, opened)]
say(ids=[job.id for job in jobs])
""").said
    file_project.worker("shop.apart:apart", "-c", "1")
    told = file_project.script(f"""
from shop.apart import apart
jobs = [apart.get_sync(id) for id in {said["ids"]!r}]
say(states=[job.state for job in jobs], error=jobs[0].error.kind, opened=apart.handle(jobs[1].id).result_sync())
""").said
    assert told == {
        "states": ["dead", "completed", "completed", "completed"], "error": "ProgrammingError", "opened": False
    }  # fmt: skip


@pytest.mark.parametrize(("max_age", "kept"), [("0", False), ("None", True)])
def test_a_connection_is_kept_between_jobs_only_where_the_settings_say_so(
    file_project: Project, max_age: str, kept: bool
) -> None:
    file_project.add("shop/stale.py", STALE)
    file_project.add("settings.py", SETTINGS + f"\nDATABASES['default']['CONN_MAX_AGE'] = {max_age}\n")
    id = file_project.script("from shop.stale import *; counts.enqueue_sync(); say(id=opened.enqueue_sync().id)").said[
        "id"
    ]
    file_project.worker("shop.stale:stale", "--threads", "1", "-c", "1")
    told = file_project.script(f"from shop.stale import stale; say(kept=stale.handle({id!r}).result_sync())").said
    assert told["kept"] == kept


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ('{"urll": "sqlite:///a.db"}', "SUREFOOT has no key 'urll'; did you mean 'url'? Known: url, namespace."),
        ('{"broker": "sqlite:///a.db"}', "SUREFOOT has no key 'broker'. Known: url, namespace."),
        ('{"url": 5}', "SUREFOOT['url'] is 5; give text."),
        ('"sqlite:///a.db"', "SUREFOOT = 'sqlite:///a.db': give a dict, SUREFOOT = {\"url\": \"sqlite:///jobs.db\"}."),
        ('{"url": "postgres:x"}', "cannot read the URL 'postgres:x'"),
        ('{"namespace": "a:b"}', "configure(namespace='a:b'): give 1 to 128 letters, digits or _ . -"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_a_sentence(file_project: Project, setting: str, sentence: str) -> None:
    file_project.add("settings.py", SETTINGS + f"\nSUREFOOT = {setting}\n")
    ran = file_project.manage("check")
    assert ran.code == 1
    assert ran.err.strip().splitlines()[-1].startswith(f"surefoot.core.errors.ConfigError: {sentence}")


def test_without_the_setting_the_environment_says_where_jobs_live(file_project: Project) -> None:
    file_project.add("settings.py", SETTINGS + "\ndel SUREFOOT\n")
    text = "from shop.queues import mail; say(address=mail.broker.address, name=mail.full_name)"
    said = file_project.script(text, SUREFOOT_URL="sqlite:///env.db", SUREFOOT_NAMESPACE="env").said
    assert re.fullmatch(r"sqlite:///.*/env\.db", str(said["address"])) and said["name"] == "env:mail"
