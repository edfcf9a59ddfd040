"""SurefootBackend: Django's own tasks, stored by surefoot and run by its workers, on each kind of store."""

from __future__ import annotations

from typing import Any, cast

import pytest
from tests.integrations.project import MODELS, SETTINGS, Project

TASKS = """
import importlib
home = "django.tasks" if importlib.util.find_spec("django.tasks") else "django_tasks"
api = importlib.import_module(home)
base, signals, exceptions = (importlib.import_module(f"{home}.{name}") for name in ("base", "signals", "exceptions"))
task, backends = api.task, api.task_backends

class Boom(Exception):
    pass

@task
def add(a, b=1):
    return a + b

@task(takes_context=True)
def ask(context, word):
    result = context.task_result
    return [word, context.attempt, result.id, result.status, len(result.worker_ids)]

@task(queue_name="emails", priority=100)
async def send(address, *, copies=1):
    return {"to": address, "copies": copies}

@task
def fails(word):
    raise Boom(word)

@task(backend="patient", queue_name="patient", takes_context=True)
def at_the_second(context):
    if context.attempt == 1:
        raise OSError("not yet")
    return [context.attempt, [error.exception_class_path for error in context.task_result.errors]]

@task(takes_context=True)
async def ask_later(context):
    from shop.models import Order
    return [context.attempt, await Order.objects.acount()]

@task
def returns_a_set():
    return {1}

def watch(path):
    def told(sender, task_result, **rest):
        with open(path, "a") as file:
            name = next(word for word, one in vars(signals).items() if one is rest["signal"])
            print(name, sender.__name__, task_result.task.name, task_result.status, task_result.attempts, file=file)
    for one in (signals.task_enqueued, signals.task_started, signals.task_finished):
        one.connect(told, weak=False)
"""

QUEUES = "surefoot.integrations.django.queues"
PREPARED = """
from shop.tasks import *
def facts(result):
    return dict(
        id=result.id, status=str(result.status), attempts=result.attempts, backend=result.backend, args=result.args,
        kwargs=result.kwargs, queue=result.task.queue_name, priority=result.task.priority,
        errors=[error.exception_class_path for error in result.errors],
        value=result._return_value, when=[at is not None for at in (
            result.enqueued_at, result.started_at, result.last_attempted_at, result.finished_at)],
    )
"""


@pytest.fixture
def shop(project: Project) -> Project:
    project.add("shop/tasks.py", TASKS)
    return project


@pytest.fixture
def file_shop(file_project: Project) -> Project:
    file_project.add("shop/tasks.py", TASKS)
    return file_project


def said(project: Project, text: str, **more: str) -> dict[str, Any]:
    return cast("dict[str, Any]", project.script(PREPARED + text, **more).said)


def test_tasks_go_in_run_and_come_back(shop: Project) -> None:
    before = said(shop, """
results = [add.enqueue(1, b=2), ask.enqueue("hi"), send.enqueue("a@b.c", copies=2), ask_later.enqueue(),
           fails.enqueue("no"), returns_a_set.enqueue()]
import sys
say(new=[facts(one) for one in results], again=[facts(one.task.get_result(one.id)) for one in results],
    worker="surefoot.worker" in sys.modules)
""")  # fmt: skip
    assert not before["worker"]
    for new, again in zip(before["new"], before["again"], strict=True):
        assert new == again, "what enqueue gave is what the store has"
        assert (new["status"], new["attempts"], new["when"]) == ("READY", 0, [True, False, False, False])
    assert [one["args"] for one in before["new"]] == [[1], ["hi"], ["a@b.c"], [], ["no"], []]
    assert (before["new"][2]["queue"], before["new"][2]["priority"]) == ("emails", 100)
    shop.worker(QUEUES)
    ids = [one["id"] for one in before["new"]]
    after = said(
        shop,
        f"""
tasks = [add, ask, send, ask_later, fails, returns_a_set]
say(after=[facts(task.get_result(id)) for task, id in zip(tasks, {ids!r})])
failed = fails.get_result({ids[4]!r})
say(same=failed.errors[0].exception_class is Boom, traceback=failed.errors[0].traceback, finished=failed.is_finished)
""",
    )
    assert [one["status"] for one in after["after"]] == ["SUCCESSFUL"] * 4 + ["FAILED"] * 2
    assert [one["attempts"] for one in after["after"]] == [1] * 6
    assert all(one["when"] == [True] * 4 for one in after["after"])
    assert [one["value"] for one in after["after"]] == [
        3, ["hi", 1, ids[1], "RUNNING", 1], {"to": "a@b.c", "copies": 2}, [1, 0], None, None,
    ]  # fmt: skip
    assert [one["errors"] for one in after["after"][4:]] == [["shop.tasks.Boom"], ["builtins.TypeError"]]
    assert after["same"] and after["finished"] and after["traceback"].rstrip().endswith("Boom: no")


def test_async_views_enqueue_and_ask_on_their_loop(shop: Project) -> None:
    told = said(
        shop,
        """
import asyncio
async def main():
    result = await send.aenqueue("a@b.c")
    again = await send.aget_result(result.id)
    await again.arefresh()
    try:
        add.enqueue(1)
    except Exception as error:
        say(error=f"{type(error).__name__}: {error}")
    say(new=facts(result), again=facts(again))
asyncio.run(main())
""",
    )
    assert told["new"] == told["again"]
    assert told["error"] == (
        "SyncInsideLoop: add.enqueue() would block the event loop that is running here; write "
        "`await add.aenqueue(...)`."
    )


def test_a_failure_is_tried_again_where_the_backend_says_so(shop: Project) -> None:
    first = said(shop, "say(id=at_the_second.enqueue().id)")
    shop.worker(QUEUES)
    waiting = said(
        shop,
        f"""
from surefoot.integrations.django.tasks import SurefootBackend
result = at_the_second.get_result({first["id"]!r})
say(facts=facts(result), finished=result.is_finished)
backends["patient"].queue_of("patient").handle(result.id).reschedule_sync(delay=0)
""",
    )
    assert waiting["facts"]["status"] == "READY" and waiting["facts"]["errors"] == ["builtins.OSError"]
    assert (waiting["facts"]["attempts"], waiting["finished"]) == (1, False)
    shop.worker(QUEUES)
    after = said(shop, f"say(facts=facts(at_the_second.get_result({first['id']!r})))")["facts"]
    assert (after["status"], after["attempts"], after["value"]) == ("SUCCESSFUL", 2, [2, ["builtins.OSError"]])


def test_run_after_and_priority_order(shop: Project) -> None:
    told = said(
        shop,
        """
from datetime import timedelta
from django.utils import timezone
from surefoot.integrations.django.queues import SurefootBackend
later = add.using(run_after=timezone.now() + timedelta(hours=1)).enqueue(1)
queue = backends["default"].queue_of("default")
say(state=queue.handle(later.id).status_sync(), same=add.get_result(later.id).task.run_after == later.task.run_after)
jobs = [add.using(priority=p).enqueue(1) for p in (-100, -87, -60, -12, 0, 12, 13, 60, 100)]
say(levels=[queue.get_sync(job.id).priority for job in jobs], names=[queue.name for queue in
    (queue, backends["default"].queue_of("emails"), backends["patient"].queue_of("patient"))])
""",
    )
    assert (told["state"], told["same"]) == ("scheduled", True)
    assert told["levels"] == [9, 8, 7, 5, 5, 5, 4, 3, 1]
    assert told["names"] == ["django.default", "django.emails", "django.patient.patient"]


def test_signals_are_sent_where_it_happens(shop: Project) -> None:
    shop.add(
        "shop/apps.py",
        """
from django.apps import AppConfig
class Shop(AppConfig):
    name = "shop"
    def ready(self):
        from shop.tasks import watch
        watch("signals.txt")
""",
    )
    said(
        shop,
        """
add.enqueue(1); fails.enqueue("x"); at_the_second.enqueue(); send.enqueue("a"); say(done=True)
""",
    )
    shop.worker(QUEUES)
    lines = (shop.folder / "signals.txt").read_text().splitlines()
    assert lines[:4] == [
        f"task_enqueued SurefootBackend {name} READY 0" for name in ("add", "fails", "at_the_second", "send")
    ]
    assert sorted(lines[4:]) == sorted([
        "task_started SurefootBackend add RUNNING 1", "task_finished SurefootBackend add SUCCESSFUL 1",
        "task_started SurefootBackend fails RUNNING 1", "task_finished SurefootBackend fails FAILED 1",
        "task_started SurefootBackend at_the_second RUNNING 1",
        "task_started SurefootBackend send RUNNING 1", "task_finished SurefootBackend send SUCCESSFUL 1",
    ])  # fmt: skip


def test_what_cannot_go_in_is_refused_before_it_does(file_shop: Project) -> None:
    told = said(
        file_shop,
        """
def refused(call):
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
say(errors=[refused(call) for call in (
    lambda: add.enqueue({1}), lambda: add.using(priority=101), lambda: add.using(queue_name="x"), lambda: task(len),
    lambda: add.get_result("nobody"), lambda: add.get_result("a" * 500), lambda: send.get_result(add.enqueue(1).id),
    lambda: add.enqueue("x" * 1_100_000),
)], pending=backends["default"].queue_of("default").stats_sync().pending)
""",
    )
    kinds = [str(error).partition(":")[0] for error in told["errors"]]
    assert [kind.removesuffix("Error") for kind in kinds] == [
        "Type", "InvalidTask", "InvalidTask", "InvalidTask", "TaskResultDoesNotExist", "TaskResultDoesNotExist",
        "TaskResultMismatch", "PayloadTooLarge",
    ]  # fmt: skip
    assert told["pending"] == 1


def test_checks_say_what_is_missing(file_project: Project) -> None:
    backend = '{"BACKEND": "surefoot.integrations.django.SurefootBackend"'
    file_project.add("shop/models.py", MODELS + "\nimport contextlib\nwith contextlib.suppress(ImportError):\n"
                     "    import django.tasks\n")  # fmt: skip  # as a project that has tasks
    file_project.add(
        "settings.py",
        SETTINGS
        + f"""
del SUREFOOT
INSTALLED_APPS = ["shop"] + ([] if HAS_TASKS else ["django_tasks"])
TASKS = {{"default": {backend}, "QUEUES": []}}, "other": {backend}}}}}
""",
    )
    ran = file_project.manage("check")
    assert ran.code == 1
    for words in (
        "(surefoot.E001) TASKS['default']: surefoot is no installed application.",
        "(surefoot.E002) TASKS['default'] has an empty QUEUES.",
        "(surefoot.E003) TASKS['other']: queue 'django.other.default' has no store: write Queue(",
    ):
        assert words in ran.err
    file_project.add(
        "settings.py",
        SETTINGS
        + f"""
TASKS = {{"default": {backend}, "OPTIONS": {{"max_attempt": 3}}}}}}
""",
    )
    ran = file_project.manage("check")
    words = "TASKS['default']['OPTIONS'] has no option 'max_attempt'; did you mean 'max_attempts'?"
    assert ran.code == 1 and words in ran.err


def test_times_are_naive_where_the_project_has_no_time_zones(file_shop: Project) -> None:
    file_shop.add("settings.py", SETTINGS + '\nUSE_TZ = False\nTIME_ZONE = "Asia/Tokyo"\n')
    told = said(
        file_shop,
        """
from datetime import datetime, timedelta
run_after = datetime.now() + timedelta(hours=1)
later = add.using(run_after=run_after).enqueue(1)
again = add.get_result(later.id)
job = backends["default"].queue_of("default").get_sync(later.id)
say(same=again.task.run_after == run_after, naive=again.enqueued_at.tzinfo is None,
    near=abs((again.enqueued_at - datetime.now()).total_seconds()) < 600,
    hours=round((job.due_at - job.enqueued_at).total_seconds() / 3600, 1))
""",
    )
    assert told == {"same": True, "naive": True, "near": True, "hours": 1.0}
