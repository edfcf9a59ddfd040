"""`surefoot worker --reload`: a parent watches the source and runs the worker in a child, a new one after each change.

The parent never loads the application. The child drains when it is told to, and also when its parent is gone.
"""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

import click

from surefoot.cli.exits import USAGE

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_LOOK_MS: Final = 200
_SHOWN: Final = 3


def run_again(words: Sequence[str], folders: Sequence[Path], say: Callable[[str], None]) -> int:
    """Run `surefoot WORDS` again after each change below `folders`, until a signal; gives the exit code."""
    if importlib.util.find_spec("watchfiles") is None:
        raise click.UsageError("--reload needs watchfiles; install it with: pip install 'surefoot[reload]'.")
    return _Parent(words, folders, say).run()


class _Parent:
    """One worker process at a time, and the signals that it is passed."""

    def __init__(self, words: Sequence[str], folders: Sequence[Path], say: Callable[[str], None]) -> None:
        self._words = words
        self._folders = folders
        self._say = say
        self._stop = threading.Event()
        self._count = 0
        self._last = 0
        self._replacing = False
        self._lifeline, self._held = os.pipe()
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Start, watch, replace; the first signal drains the child and ends this."""
        before = {number: signal.signal(number, self._came) for number in _SIGNALS}
        try:
            for place, changed in enumerate(self._changes()):
                if place == 0:
                    self._start()  # from here on no change is missed
                elif self._child is not None and self._child.poll() is not None:
                    if self._child.returncode == USAGE:
                        return USAGE  # no change of the source mends how it was called
                    self._say(f"the worker left with {self._child.returncode}; it starts again after the next change.")
                    self._child = None
                if place and changed:
                    self._replace(changed)
            return self._leave()
        finally:
            os.close(self._held)  # whatever happened here, the child drains
            os.close(self._lifeline)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self) -> None:
        """A child that no Ctrl-C reaches from the terminal: each stop comes from here, and once."""
        from surefoot.supervisor import LIFELINE

        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            if not self._stop.is_set():
                # -B: a file saved twice within a second would be taken from its old bytecode.
                self._child = subprocess.Popen(
                    [sys.executable, "-P", "-B", "-m", "surefoot.cli.main", *self._words],
                    env=os.environ | {LIFELINE: str(self._lifeline)},
                    pass_fds=(self._lifeline,),
                )
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)

    def _changes(self) -> Iterator[list[str]]:
        """The files that changed, an empty list after each short time without a change; ends with the first signal."""
        from watchfiles import PythonFilter, watch

        for found in watch(
            *self._folders, watch_filter=PythonFilter(extra_extensions=(".toml",)), stop_event=self._stop,
            rust_timeout=_LOOK_MS, yield_on_timeout=True, raise_interrupt=False,
        ):  # fmt: skip
            yield sorted({os.path.relpath(path) for _, path in found})

    def _replace(self, changed: Sequence[str]) -> None:
        more = f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        self._say(f"{', '.join(changed[:_SHOWN])}{more} changed: the worker starts again.")
        if self._child is not None:
            self._replacing = True
            self._child.terminate()
            self._child.wait()
            self._replacing = False
        self._start()

    def _leave(self) -> int:
        code = 0 if self._child is None else self._child.wait()
        if self._count > 1:
            return 128 + self._last
        return 0 if code == -signal.SIGTERM else code  # it had not begun yet

    def _came(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        self._last = number
        self._stop.set()
        drains_already = self._replacing and self._count == 1
        if self._child is not None and not drains_already:
            self._child.send_signal(signal.SIGTERM)
