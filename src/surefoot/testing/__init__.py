"""The testing kit: a sandbox whose clock you move, single runs, and the inside of a job. Names load at first touch."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from surefoot.testing.box import Sandbox as Sandbox
    from surefoot.testing.box import sandbox as sandbox
    from surefoot.testing.records import Drained as Drained
    from surefoot.testing.records import Ran as Ran
    from surefoot.testing.single import Inside as Inside
    from surefoot.testing.single import inside_job as inside_job
    from surefoot.testing.single import run_job as run_job
    from surefoot.testing.single import run_job_sync as run_job_sync

__all__ = ["Drained", "Inside", "Ran", "Sandbox", "inside_job", "run_job", "run_job_sync", "sandbox"]

_HOME_OF = {
    "Drained": "records", "Inside": "single", "Ran": "records", "Sandbox": "box", "inside_job": "single",
    "run_job": "single", "run_job_sync": "single", "sandbox": "box",
}  # fmt: skip


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'surefoot.testing' has no attribute {name!r}")
    found: object = getattr(import_module(f"surefoot.testing.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
