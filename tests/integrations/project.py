"""A Django project as a user writes one, in a folder of its own, and the ways to run it. Other processes run it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

import surefoot

MANAGE = """
import os, sys
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
if __name__ == "__main__":
    from django.core.management import execute_from_command_line
    execute_from_command_line(sys.argv)
"""

SETTINGS = """
import importlib.util
import os
SECRET_KEY = "x" * 50
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
HAS_TASKS = importlib.util.find_spec("django.tasks") is not None
INSTALLED_APPS = ["surefoot.integrations.django", "shop"] + ([] if HAS_TASKS else ["django_tasks"])
DATABASES = {
    name: {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{name}.sqlite3", "OPTIONS": {"timeout": 20}}
    for name in ("default", "other")
}
SUREFOOT = {"url": os.environ["SHOP_URL"], "namespace": "shop"}
TASKS = {
    "default": {"BACKEND": "surefoot.integrations.django.SurefootBackend", "QUEUES": ["default", "emails"]},
    "patient": {
        "BACKEND": "surefoot.integrations.django.SurefootBackend", "QUEUES": ["patient"],
        "OPTIONS": {"max_attempts": 3, "keep_result": 60},
    },
}
"""

MODELS = """
from django.db import models

class Order(models.Model):
    number = models.IntegerField()
    state = models.CharField(max_length=20, default="new")
    job = models.CharField(max_length=40, default="")
"""

QUEUES = """
from surefoot import Queue, current_job

mail = Queue(name="mail")

@mail.task
def confirm(number: int) -> str:
    from shop.models import Order
    order = Order.objects.get(number=number)
    Order.objects.filter(number=number).update(state="confirmed", job=current_job().id)
    return f"{order.number} confirmed"

@mail.task
async def greet(number: int) -> str:
    from shop.models import Order
    order = await Order.objects.aget(number=number)
    return f"hello {order.number}"
"""

URLS = """
from django.db import transaction
from django.http import JsonResponse
from django.urls import path
from shop.models import Order
from shop.queues import confirm
from surefoot.integrations.django import on_commit

def buy(request, number):
    ids = []
    try:
        with transaction.atomic():
            Order.objects.create(number=number)
            ids.append(on_commit(confirm.draft(number)).id)
            if "fail" in request.GET:
                raise ValueError("no money")
    except ValueError:
        return JsonResponse({"ids": ids}, status=402)
    return JsonResponse({"ids": ids})

async def ask(request):
    try:
        on_commit(confirm.draft(1))
    except Exception as error:
        return JsonResponse({"error": f"{type(error).__name__}: {error}"})

async def buy_later(request, number):
    from asgiref.sync import sync_to_async
    return await sync_to_async(buy)(request, number)

urlpatterns = [path("buy/<int:number>", buy), path("ask", ask), path("later/<int:number>", buy_later)]
"""

FILES = {
    "manage.py": MANAGE,
    "settings.py": SETTINGS,
    "shop/__init__.py": "",
    "shop/models.py": MODELS,
    "shop/queues.py": QUEUES,
    "shop/urls.py": URLS,
}

PREAMBLE = """
import json, os
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
django.setup()
def say(**facts): print("SAID " + json.dumps(facts))
"""


class Ran(msgspec.Struct, frozen=True):
    """A process that has ended; `said` is what a script told with say()."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> dict[str, object]:
        lines = [line.removeprefix("SAID ") for line in self.out.splitlines() if line.startswith("SAID ")]
        assert lines, f"it said nothing (exit code {self.code}):\n{self.out}\n{self.err}"
        told: dict[str, object] = {}
        for line in lines:
            told |= msgspec.json.decode(line)
        return told


class Project(msgspec.Struct, frozen=True):
    """The folder of a Django project; its tables exist."""

    folder: Path
    url: str

    def environment(self, **more: str) -> dict[str, str]:
        """Nothing of this process's own but the way to surefoot."""
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
        source = str(Path(surefoot.__file__).parents[1])
        return {**kept, "HOME": str(self.folder), "PYTHONPATH": source, "SHOP_URL": self.url, **more}

    def run(self, *words: str, **more: str) -> Ran:
        """Python with these words, to its end."""
        ran = subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=self.environment(**more), capture_output=True, text=True,
            timeout=100, check=False,
        )  # fmt: skip
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def manage(self, *words: str, **more: str) -> Ran:
        """`python manage.py ...`."""
        return self.run("manage.py", *words, **more)

    def script(self, text: str, **more: str) -> Ran:
        """A script inside the project; it says facts with say(word=...)."""
        ran = self.run("-c", PREAMBLE + text, **more)
        assert ran.code == 0, ran.err
        return ran

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """`python manage.py ...` while the block runs."""
        with subprocess.Popen(
            [sys.executable, "manage.py", *words], cwd=self.folder, env=self.environment(PYTHONUNBUFFERED="1"),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.kill()

    def worker(self, *words: str) -> Ran:
        """A worker until there is nothing to do."""
        ran = self.manage("surefoot", "worker", *words, "--burst")
        assert ran.code == 0, ran.err
        return ran

    def add(self, path: str, text: str) -> None:
        """One more file of the user's, or another text for one."""
        (self.folder / path).write_text(text)


def write_project(folder: Path, url: str, tables: Path | None = None) -> Project:
    """The project. `tables`: a folder with its databases; without it they are made."""
    (folder / "shop").mkdir(parents=True)
    project = Project(folder, url)
    for path, text in FILES.items():
        project.add(path, text)
    for database in ("default", "other"):
        if tables is not None:
            shutil.copy(tables / f"{database}.sqlite3", folder)
            continue
        made = project.manage("migrate", "--run-syncdb", "--verbosity", "0", "--database", database)
        assert made.code == 0, made.err
    return project
