"""A process and those it started: how they end together. Linux and macOS; nothing here knows of jobs."""

import contextlib
import fcntl
import os
import signal
import sys
import threading
from typing import Final

_F_SETSIG: Final = 10
"""Linux: the number of the fcntl that names the signal of O_ASYNC; the standard library has no word for it."""


def kill(pid: int) -> None:
    """Kill the leader `pid` of a session, its process group, and what left the group but still descends from it.

    Only while `pid` has not been waited for: until then the number is nobody else's.
    """
    import psutil

    strays: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):
        strays = psutil.Process(pid).children(recursive=True)
    kill_group(pid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)  # before it has a session of its own there is no group
    for stray in strays:
        with contextlib.suppress(psutil.Error):  # psutil compares start times: a number used again is left alone
            stray.kill()


def kill_group(pid: int) -> None:
    """Kill what is left of the group that `pid` leads or led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def die_with(life: int) -> None:
    """Have this process and its group killed when the other end of the pipe `life` is gone.

    On Linux the kernel does it, also while a C function holds the interpreter lock; elsewhere a thread does.
    """
    if sys.platform == "linux":
        fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(life, _F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    # Here too, for a pipe whose other end was gone before the lines above.
    threading.Thread(target=_watch, args=(life,), name="surefoot-life", daemon=True).start()


def _watch(life: int) -> None:
    with contextlib.suppress(OSError):
        os.read(life, 1)
    os.killpg(0, signal.SIGKILL)


def cause_of_death(status: int, *, killed: bool = False) -> str:
    """How a process ended, in words. `status` as subprocess gives it: the exit code, or minus the signal.

    `killed`: by this worker itself.
    """
    if status >= 0:
        return f"left with exit code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    if name == "SIGKILL" and not killed:
        return "was killed by SIGKILL; the system does that when memory runs out"
    words = signal.strsignal(-status)
    return f"died of {name} ({words.lower()})" if words else f"died of {name}"
