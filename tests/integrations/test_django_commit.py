"""on_commit: stored with the transaction, never if it is rolled back; the id is known before."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from urllib.error import HTTPError

import pytest
from tests.integrations.project import Project


def test_a_job_is_stored_when_its_transaction_commits_and_not_before(project: Project) -> None:
    said = project.script("""
from django.db import transaction
from shop.models import Order
from shop.queues import confirm, mail
from surefoot.integrations.django import on_commit
with transaction.atomic():
    Order.objects.create(number=1)
    handle = on_commit(confirm.draft(1))
    before = mail.get_sync(handle.id)
import sys
say(before=before, id=handle.id, after=handle.status_sync(), duplicate=handle.duplicate,
    worker="surefoot.worker" in sys.modules)
""").said
    assert (said["before"], said["after"], said["duplicate"]) == (None, "pending", False)
    assert not said["worker"], "what only enqueues never loads the worker"
    project.worker("shop.queues:mail")
    told = project.script(f"""
from shop.models import Order
from shop.queues import confirm
order = Order.objects.get(number=1)
say(state=order.state, job=order.job, result=confirm.handle({said["id"]!r}).result_sync(timeout=5))
""").said
    assert told == {"state": "confirmed", "job": said["id"], "result": "1 confirmed"}


def test_what_is_rolled_back_is_never_stored(project: Project) -> None:
    said = project.script("""
from django.db import transaction
from shop.queues import confirm, mail
from surefoot.integrations.django import on_commit
def rolled_back(**options):
    try:
        with transaction.atomic(**options):
            handles.append(on_commit(confirm.draft(len(handles))))
            raise ValueError
    except ValueError:
        pass
handles = []
rolled_back()
with transaction.atomic():
    handles.append(on_commit(confirm.draft(1)))
    rolled_back()
    handles.append(on_commit(confirm.draft(3)))
say(states=[handle.status_sync() for handle in handles], pending=mail.stats_sync().pending)
""").said
    assert said == {"states": [None, "pending", None, "pending"], "pending": 2}


def test_outside_a_transaction_it_is_stored_at_once_and_the_handle_is_the_enqueues(project: Project) -> None:
    said = project.script("""
from shop.queues import confirm
from surefoot.integrations.django import on_commit
draft = confirm.options(key="k").draft(1)
first, again, other = on_commit(draft), on_commit(draft), on_commit(confirm.options(key="k").draft(2))
say(first=first.duplicate, again=again.duplicate, other=other.duplicate, same=other.id == first.id,
    state=first.status_sync())
""").said
    assert said == {"first": False, "again": True, "other": True, "same": True, "state": "pending"}


def test_using_names_the_database_whose_transaction_it_is(file_project: Project) -> None:
    said = file_project.script("""
from django.db import transaction
from shop.queues import confirm
from surefoot.integrations.django import on_commit
with transaction.atomic():
    with transaction.atomic(using="other"):
        one, other = on_commit(confirm.draft(1)), on_commit(confirm.draft(1), using="other")
    inside = one.status_sync(), other.status_sync()
say(inside=inside, after=[one.status_sync(), other.status_sync()])
""").said
    assert said == {"inside": [None, "pending"], "after": ["pending", "pending"]}


def test_views_over_http(file_project: Project) -> None:
    """A view commits, a view rolls back, an async view is told what to do and does it."""

    def ask(path: str) -> dict[str, object]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
                told: dict[str, object] = json.load(answer)
        except HTTPError as refused:
            told = json.load(refused)
        return told

    with file_project.running("runserver", "127.0.0.1:0", "--noreload", "--nothreading") as server:
        assert server.stdout is not None
        lines = iter(server.stdout.readline, "")
        port = next(found[1] for line in lines if (found := re.search(r"http://127.0.0.1:(\d+)/", line)))
        bought = [ask(path)["ids"] for path in ("/buy/1", "/buy/2?fail=1", "/later/3")]
        told = ask("/ask")
    assert told["error"] == (
        "SyncInsideLoop: on_commit() was called on the thread of a running event loop, where Django has no "
        "transaction; call it in the function that opens the transaction, and await that with sync_to_async."
    )
    said = file_project.script(f"""
from shop.queues import mail
say(states=[mail.handle(id).status_sync() for id in sum({bought!r}, [])])
""").said
    assert said["states"] == ["pending", None, "pending"]


def test_a_store_that_is_away_fails_at_the_commit_and_the_rows_stay(file_project: Project) -> None:
    said = file_project.script(
        """
from django.db import transaction
from shop.models import Order
from shop.queues import confirm
from surefoot import StoreError
from surefoot.integrations.django import on_commit
try:
    with transaction.atomic():
        Order.objects.create(number=7)
        on_commit(confirm.draft(7))
except StoreError as away:
    say(error=type(away).__name__, rows=Order.objects.filter(number=7).count())
""",
        SHOP_URL="redis://127.0.0.1:1/0?timeout=0.3",
    ).said
    assert said == {"error": "StoreUnavailable", "rows": 1}


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("on_commit(confirm)", "on_commit() takes a draft, not <SyncTask confirm of queue mail>: write "
         "on_commit(task.draft(...))."),
        ("on_commit(confirm.draft(1), queue=Queue(name='x'))",
         "the draft ID of confirm is for queue 'mail', not 'x'."),
        ("on_commit(far.tasks['confirm'].draft(1))",
         "on_commit(): 2 queues of this process are named 'mail'; write on_commit(confirm.draft(...), queue=...)."),
        ("on_commit(Draft(id='ID', queue='gone', task='confirm', payload=b'{}'))",
         "on_commit(): no queue of this process is named 'gone'; write on_commit(confirm.draft(...), queue=...)."),
    ],
)  # fmt: skip
def test_a_draft_without_a_queue_is_refused_in_a_sentence(file_project: Project, call: str, sentence: str) -> None:
    said = file_project.script(f"""
from shop.queues import confirm, mail
from surefoot import Draft, Queue, UsageError
from surefoot.integrations.django import on_commit
far = Queue("sqlite:///:memory:", name="mail")
far.add(confirm)
near = Queue(name="mail")
ids = [on_commit(confirm.draft(1), queue=mail).id]
try:
    {call}
except UsageError as wrong:
    say(error=str(wrong))
""").said
    assert re.sub(r"\b[0-9a-f]{28}\b", "ID", str(said["error"])) == sentence


def test_two_queue_objects_of_one_queue_are_one_queue(file_project: Project) -> None:
    said = file_project.script("""
from shop.queues import confirm
from surefoot import Queue
from surefoot.integrations.django import on_commit
again = Queue(name="mail")
again.add(confirm)
say(state=on_commit(confirm.draft(1)).status_sync())
""").said
    assert said["state"] == "pending"


def test_django_is_imported_only_by_those_who_ask() -> None:
    names = "surefoot, surefoot.worker, surefoot.cli.main, surefoot.integrations, surefoot.integrations.django"
    code = f"import {names}, sys; assert surefoot.Queue and surefoot.configure; assert 'django' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
