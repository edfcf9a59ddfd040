"""Django: `on_commit`, the backend for its tasks, the command `manage.py surefoot`, connections that do not go stale.

"surefoot.integrations.django" in INSTALLED_APPS reads `SUREFOOT = {"url": ..., "namespace": ...}` from the settings.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from surefoot.integrations.django.commit import on_commit as on_commit
    from surefoot.integrations.django.tasks import SurefootBackend as SurefootBackend

__all__ = ["SurefootBackend", "on_commit"]

_HOMES = {"SurefootBackend": "tasks", "on_commit": "commit"}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found
    return found
