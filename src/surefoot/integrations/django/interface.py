"""Django's tasks as this process has them: `django.tasks` since Django 6, else the package django-tasks.

Both have the same interface under other names. Where both are installed, INSTALLED_APPS says which is meant.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from django_tasks import base as base
    from django_tasks import exceptions as exceptions
    from django_tasks import signals as signals
    from django_tasks import task_backends as task_backends
    from django_tasks.backends.base import BaseTaskBackend as BaseTaskBackend
    from django_tasks.utils import normalize_json as normalize_json
else:
    _apart = any(app.partition(".")[0] == "django_tasks" for app in settings.INSTALLED_APPS)
    _built_in = find_spec("django.tasks") is not None and not _apart
    _home = "django.tasks" if _built_in else "django_tasks"
    base, exceptions, signals = (import_module(f"{_home}.{name}") for name in ("base", "exceptions", "signals"))
    task_backends = import_module(_home).task_backends
    BaseTaskBackend = import_module(f"{_home}.backends.base").BaseTaskBackend
    normalize_json = import_module("django.utils.json" if _built_in else "django_tasks.utils").normalize_json
