"""`surefoot top`: queues and workers on the whole screen, live, with keys to pause and resume.

One thread asks the store, the main one reads keys and draws: a store that is away never holds a key.
"""

import os
import re
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from surefoot import clock
from surefoot.brokers.broker import Stats
from surefoot.cli.exits import AnswerIsNo
from surefoot.cli.options import duration_above_zero, scoped
from surefoot.cli.output import Column, Output, age, clean, counted, grid, since
from surefoot.cli.target import Scope
from surefoot.core.errors import SurefootError
from surefoot.core.job import moment

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from surefoot.brokers.answers import QueueStats
    from surefoot.client.presence import PresenceInfo
    from surefoot.client.queue import Queue

_QUEUES: Final = (
    Column("queue", least=8),
    *(Column(title, right=True) for title in ("pending", "oldest", "scheduled", "parked", "running", "dead")),
    *(Column(title, right=True) for title in ("done/min", "failed/min", "workers")),
    Column(""),
)
_WORKERS: Final = (
    *(Column(title) for title in ("worker", "host")), Column("busy", right=True), Column("seen", right=True),
    Column("queues"), Column(""),
)  # fmt: skip
_KEYS: Final = {
    "\x1b[A": "up",
    "\x1bOA": "up",
    "\x1b[B": "down",
    "\x1bOB": "down",
    "k": "up",
    "j": "down",
    "\x1b": "escape",
}
_KEY: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Z]|.", re.DOTALL)
_LOOK_S: Final = 0.1
_SILENT_S: Final = 5.0

_EXAMPLES: Final = """\b
Examples:
  surefoot top app:mail
  surefoot top --url redis://localhost:6379/0 --every 1s

\b
Keys: up and down (k, j) choose a queue, p pauses it, r resumes it, / filters by name, q leaves.
For a program or a pipe: surefoot stats --watch.
"""


class View(msgspec.Struct, frozen=True):
    """What the store said last, and when; `trouble` says why it is not newer."""

    queues: tuple[tuple[str, "QueueStats"], ...] = ()
    at_s: float = 0.0
    trouble: str = ""


@click.command("top", epilog=_EXAMPLES, short_help="Queues and workers, full screen, live.")
@click.option(
    "--every", metavar="D", default="2s", show_default=True, callback=duration_above_zero, help="Ask so often."
)
@scoped(target=True)
def top(out: Output, scope: Scope, *, every: float) -> int:
    """Queues and workers on the whole screen, until q."""
    console = out.console()
    if out.json or not (sys.stdin.isatty() and sys.stdout.isatty()) or console.is_dumb_terminal:
        raise click.UsageError("top draws on a terminal and reads its keys; elsewhere: surefoot stats --watch --json")
    queues = scope.queues()
    if not queues:
        raise AnswerIsNo("there is no queue in this store yet.")
    asker = _Asker(queues, every)
    asker.start()
    try:
        with _ended_by_signal(), _single_keys(sys.stdin.fileno()) as keyboard:
            _Screen(console, asker, queues[0].broker.address).run(keyboard)
    except KeyboardInterrupt:
        pass
    finally:
        asker.stop()
    return 0


class _Asker(threading.Thread):
    """Asks the store again and again, and does what the keys say."""

    def __init__(self, queues: Sequence["Queue"], every: float) -> None:
        super().__init__(name="surefoot-top", daemon=True)
        self._queues = {queue.name: queue for queue in queues}
        self.every = every
        self._orders: list[tuple[str, str]] = []
        self._rung = threading.Event()
        self._over = False
        self.view = View()

    def run(self) -> None:
        """Until `stop`."""
        while not self._over:
            self._rung.clear()
            self.view = self._looked()
            self._rung.wait(self.every)

    def order(self, verb: str, queue: str) -> None:
        """Pause or resume a queue as soon as possible."""
        self._orders.append((verb, queue))
        self._rung.set()

    def stop(self) -> None:
        """Ask no more. A question that is under way is not waited for."""
        self._over = True
        self._rung.set()

    def _looked(self) -> View:
        try:
            while self._orders:
                verb, name = self._orders[0]
                queue = self._queues[name]
                queue.pause_sync() if verb == "pause" else queue.resume_sync()
                self._orders.pop(0)
            told = [
                (name, queue.sessions.ask_sync([Stats(queue.full_name, 2)])[0]) for name, queue in self._queues.items()
            ]
        except SurefootError as fault:
            return msgspec.structs.replace(self.view, trouble=str(fault))
        return View(tuple(told), clock.monotonic())


class _Screen:
    """What is drawn, and what each key means now."""

    def __init__(self, console: "Console", asker: _Asker, address: str) -> None:
        self._console = console
        self._asker = asker
        self._address = address
        self._chosen = 0
        self._filter = ""
        self._typing = False
        self._asking: tuple[str, str] | None = None

    def run(self, keyboard: int) -> None:
        """Draw, read keys, until q."""
        from rich.live import Live

        with Live(console=self._console, screen=True, auto_refresh=False, redirect_stderr=False) as live:
            drawn: Any = None
            while True:
                now = (self._asker.view, self._console.size, self._silent())
                if now != drawn:
                    live.update(self._picture(), refresh=True)
                    drawn = now
                if select.select([keyboard], [], [], _LOOK_S)[0]:
                    pressed = _KEY.findall(os.read(keyboard, 1024).decode(errors="ignore"))
                    if not pressed or any(self._leaves(key) for key in pressed):
                        return
                    drawn = None

    def _leaves(self, pressed: str) -> bool:
        """Act on a key; whether it was the one that ends."""
        if self._typing:
            self._type(pressed)
            return False
        if self._asking is not None:
            if pressed in ("y", "Y"):
                self._asker.order(*self._asking)
            self._asking = None
            return False
        key = _KEYS.get(pressed, pressed)
        shown = self._shown()
        match key:
            case "q" | "Q":
                return True
            case "up" | "down":
                self._chosen = max(0, min(len(shown) - 1, self._chosen + (1 if key == "down" else -1)))
            case "p" | "r" if shown:
                self._asking = ("pause" if key == "p" else "resume", shown[min(self._chosen, len(shown) - 1)][0])
            case "/":
                self._typing, self._filter = True, ""
            case "escape":
                self._filter = ""
        return False

    def _type(self, pressed: str) -> None:
        if pressed in ("\r", "\n"):
            self._typing = False
        elif pressed == "\x1b":
            self._typing, self._filter = False, ""
        elif pressed in ("\x7f", "\b"):
            self._filter = self._filter[:-1]
        else:
            self._filter += pressed if pressed.isprintable() else ""
        self._chosen = 0

    def _shown(self) -> list[tuple[str, "QueueStats"]]:
        return [pair for pair in self._asker.view.queues if self._filter.casefold() in pair[0].casefold()]

    def _silent(self) -> bool:
        view = self._asker.view
        return bool(view.at_s) and clock.monotonic() - view.at_s > _SILENT_S + self._asker.every

    def _picture(self) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        shown, view = self._shown(), self._asker.view
        head = Text(f"surefoot top  {clean(self._address)}  {moment(clock.wall_ms()).astimezone():%H:%M:%S}", "bold")
        parts: list[RenderableType] = [head, self._news(view), Text()]
        told = _workers([stats for _, stats in view.queues])
        room = max(3, self._console.size.height - 7)
        most = max(1, room - min(len(told) + 2, room // 2))
        first = max(0, min(self._chosen - most + 1, len(shown) - most))
        table = grid(_QUEUES, [_queue_row(name, stats) for name, stats in shown[first : first + most]])
        if shown:
            table.rows[min(self._chosen, len(shown) - 1) - first].style = "reverse"
        parts.append(table)
        left = room - min(len(shown), most) - 2
        if told and left > 1:
            parts += [Text(), grid(_WORKERS, told[: left - 1])]
        return Group(*parts, Text(), self._foot())

    def _news(self, view: View) -> "RenderableType":
        from rich.text import Text

        if view.trouble:
            return Text(f"not up to date: {clean(view.trouble)}", "red", no_wrap=True, overflow="ellipsis")
        if not view.at_s:
            return Text("asking the store")
        if self._silent():
            return Text("the store does not answer; asking again", "red")
        every = [stats for _, stats in view.queues]
        sums = [f"{sum(getattr(one, word) for one in every):,} {word}" for word in ("pending", "processing", "dead")]
        return Text(f"{counted(len(every), 'queue')}  {'  '.join(sums)}")

    def _foot(self) -> "RenderableType":
        from rich.text import Text

        if self._asking is not None:
            verb, queue = self._asking
            return Text(f"{verb} queue {clean(queue)}? y / n", "bold yellow")
        if self._typing:
            return Text(f"/{self._filter}_", "bold")
        told = f"  showing {clean(self._filter)!r}, escape shows all" if self._filter else ""
        return Text(f"p pause  r resume  / filter  q leave{told}", "dim")


def _queue_row(name: str, stats: "QueueStats") -> tuple[str, ...]:
    from surefoot.client.presence import living

    seconds = 60 + stats.now_ms % 60_000 / 1000
    last = stats.now_ms // 60_000 - 1
    recent = [row for row in stats.minutes if row.minute >= last]
    done, failed = (round(sum(getattr(row, word) for row in recent) * 60 / seconds) for word in ("completed", "failed"))
    paused = ""
    if stats.paused_ms is not None:
        paused = f"paused since {since(moment(stats.paused_ms))}" + (
            f": {stats.pause_reason}" if stats.pause_reason else ""
        )
    numbers = (stats.scheduled, stats.parked, stats.processing, stats.dead, done, failed, len(living(stats)))
    oldest = age(None if stats.oldest_ms is None else stats.oldest_ms / 1000)
    return name, f"{stats.pending:,}", oldest, *(f"{number:,}" for number in numbers), paused


def _workers(every: Sequence["QueueStats"]) -> list[tuple[str, ...]]:
    """A line a worker, the busiest first; one that serves several queues is told once."""
    from surefoot.client.presence import living

    found: dict[str, tuple[PresenceInfo, int]] = {}
    for stats in every:
        for presence, info in living(stats):
            found[presence.caller] = (info, stats.now_ms - presence.seen_ms)
    lines = sorted(found.values(), key=lambda pair: (-pair[0].running, pair[0].name, pair[0].pid))
    return [
        (f"{info.name}:{info.pid}", info.host, f"{info.running:,}/{info.concurrency:,}", age(max(0, seen_ms) / 1000),
         ", ".join(info.queues), "draining" if info.draining else "")
        for info, seen_ms in lines
    ]  # fmt: skip


@contextmanager
def _single_keys(keyboard: int) -> Iterator[int]:
    """Each key at once and unseen; the terminal is as before afterwards, whatever happens."""
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard)
        yield keyboard
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """SIGTERM and SIGHUP end it as Ctrl-C does: by an exception, so that the terminal is put right."""

    def ended(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, ended) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
