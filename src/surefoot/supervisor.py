"""Several worker processes as one: fresh interpreters that are started, watched, replaced and told to leave together.

No rule about jobs lives here, and the application is never loaded here. A child whose supervisor is gone drains.
"""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, Final

from surefoot import clock
from surefoot.engine.meter import Figures, Meter, added, decode
from surefoot.health import Health, Page

LIFELINE: Final = "SUREFOOT_LIFELINE"
"""Names the descriptor by which a child hears that its parent is gone, and says that it is ready."""
BACKOFF_MOST_S: Final = 3.5
"""Below 4 s: a fresh worker recovers nothing for one lease (10 s), and a job must run again within 15 s."""

_BACKOFF_FIRST_S: Final = 0.1
_STEADY_S: Final = 10.0
_READY: Final = b"ready"
_FIGURES_S: Final = 1.0
_STOPS: Final = (signal.SIGTERM, signal.SIGINT)
_HOPELESS: Final = (2, 3, 4)
"""Exit codes of a child that another start does not cure: wrong usage, no application, no store."""


def held_by_a_parent() -> bool:
    """Whether this process is a child of a parent of ours. If so it drains when its parent is gone, in whatever way."""
    lifeline = os.environ.pop(LIFELINE, "")  # what the application starts is not our child
    if not lifeline:
        return False
    global _line
    _line = int(lifeline)
    os.set_inheritable(_line, False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])  # SIGINT stays blocked: our parent passes it on

    def wait() -> None:
        with contextlib.suppress(OSError):
            os.read(int(lifeline), 1)  # nothing is ever written: it returns when the other end is closed
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="surefoot-lifeline", daemon=True).start()
    return True


_line: int | None = None
_speaking = threading.Lock()
_never: Final = threading.Event()


def tell_ready() -> None:
    """Tell the parent that this worker serves; one without a parent tells the service manager."""
    if _line is None:
        notify("READY=1")
    else:
        _say(_line, _READY)


def tell_figures(meter: Meter) -> None:
    """Tell the parent every second what this worker has counted; nothing without one."""
    line = _line
    if line is None:
        return

    def go_on() -> None:
        said = b""
        while not _never.wait(_FIGURES_S):
            words = meter.figures().encode()
            if words != said:
                _say(line, words)
            said = words

    threading.Thread(target=go_on, name="surefoot-figures", daemon=True).start()


def tell_last_figures(meter: Meter) -> None:
    """The same once more, before this worker leaves."""
    if _line is not None:
        _say(_line, meter.figures().encode())


def _say(line: int, words: bytes) -> None:
    """One message is one line; a parent that is gone hears nothing."""
    rest = words + b"\n"
    with _speaking, contextlib.suppress(OSError):
        while rest:
            rest = rest[os.write(line, rest) :]


def notify(state: str) -> None:
    """Tell systemd (sd_notify): `READY=1`, `STOPPING=1`, `WATCHDOG=1`. Nothing where no service manager listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.connect(address)
        line.sendall(state.encode())


class _Slot:
    """One place for a worker process, and the process that is in it now."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.line: socket.socket | None = None
        self.ready = False
        self.was_ready = False
        self.began = 0.0
        self.failures = 0
        self.start_at = 0.0
        self.done = False
        self.said = b""
        self.figures = Figures()


class Supervisor:
    """Keeps `processes` children of one command running, until a signal was drained.

    `burst`: a child that leaves with 0 has done its work, and is not replaced. `health`: the address of /healthz,
    /readyz and, where `metrics` makes a page of the workers' figures, /metrics.
    """

    def __init__(
        self,
        command: Sequence[str],
        processes: int,
        *,
        say: Callable[[str], None],
        burst: bool = False,
        health: tuple[str, int] | None = None,
        metrics: Callable[[Figures], Page] | None = None,
    ) -> None:
        self._command = tuple(command)
        self._slots = [_Slot(number) for number in range(1, processes + 1)]
        self._say = say
        self._burst = burst
        self._metrics = metrics
        self._past = Figures()
        """What the workers counted that have ended: a counter never goes back."""
        self._counting = threading.Lock()
        pages = {} if metrics is None else {"/metrics": lambda: metrics(self._figures())}
        self._health = None if health is None else Health(*health, alive=self._alive, ready=self._ready, pages=pages)
        self._signals: deque[int] = deque()
        self._selector = selectors.DefaultSelector()
        self._stops = 0
        self._code = 0
        self._rolling: list[_Slot] = []
        self._told_ready = False
        self._watchdog_s = int(os.environ.get("WATCHDOG_USEC", "0")) / 2_000_000

    def run(self) -> int:
        """Serve until all have left; gives the exit code."""
        wake, waker = socket.socketpair()
        for end in (wake, waker):
            end.setblocking(False)
        self._selector.register(wake, selectors.EVENT_READ)
        before: dict[int, Any] = {
            number: signal.signal(number, self._came)
            for number in (*_STOPS, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)
        }
        woken = signal.set_wakeup_fd(waker.fileno())
        try:
            if self._health is not None:
                self._health.start()
            while self._step(wake):
                pass
        finally:
            for slot in self._slots:
                if slot.line is not None:
                    slot.line.close()  # whatever happened here, the children drain
            if self._health is not None:
                self._health.close()
            signal.set_wakeup_fd(woken)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            wake.close()
            waker.close()
        return self._code

    def _came(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    def _step(self, wake: socket.socket) -> bool:
        """Start what is due, wait for news, hear it. False: all have left."""
        now = clock.monotonic()
        if not self._stops:
            for slot in self._slots:
                if slot.process is None and not slot.done and now >= slot.start_at:
                    self._start(slot)
        for key, _ in self._selector.select(self._patience(now)):
            if key.fileobj is wake:
                with contextlib.suppress(BlockingIOError):
                    wake.recv(4096)
            else:
                self._heard(key.data)
        while self._signals:
            self._signalled(self._signals.popleft())
        for slot in self._slots:
            if slot.process is not None and slot.process.poll() is not None:
                self._ended(slot, slot.process.returncode)
        if self._watchdog_s and not self._stops and self._alive():
            notify("WATCHDOG=1")
        if self._stops:
            return any(slot.process is not None for slot in self._slots)
        return not all(slot.done for slot in self._slots)

    def _patience(self, now: float) -> float | None:
        """Seconds until something is to be done although nothing happens; None: until something happens."""
        times = [slot.start_at - now for slot in self._slots if slot.process is None and not slot.done]
        if self._watchdog_s:
            times.append(self._watchdog_s)
        return max(0.0, min(times)) if times and not self._stops else None

    def _start(self, slot: _Slot) -> None:
        """A fresh interpreter that no Ctrl-C reaches from the terminal: each stop comes from here, and once."""
        ours, theirs = socket.socketpair()
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        try:
            slot.process = subprocess.Popen(
                self._command, env=os.environ | {LIFELINE: str(theirs.fileno())}, pass_fds=(theirs.fileno(),)
            )
        except OSError as error:
            ours.close()
            self._say(f"worker {slot.number} cannot be started ({error}).")
            self._later(slot)
            return
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
        ours.setblocking(False)
        slot.line, slot.ready, slot.began = ours, False, clock.monotonic()
        self._selector.register(ours, selectors.EVENT_READ, slot)

    def _heard(self, slot: _Slot) -> None:
        """A child said that it is ready, or closed its end: then it is about to end."""
        assert slot.line is not None
        try:
            said = slot.line.recv(65_536)
        except OSError:
            said = b""
        if not said:
            self._selector.unregister(slot.line)
            slot.line.close()
            slot.line = None
            return
        *lines, slot.said = (slot.said + said).split(b"\n")
        for line in lines:
            self._understood(slot, line)

    def _understood(self, slot: _Slot, line: bytes) -> None:
        if line != _READY:
            with contextlib.suppress(ValueError):
                slot.figures = decode(line)
        elif not slot.ready and slot.process is not None:
            slot.ready = slot.was_ready = True
            self._roll_on()
            if not self._told_ready and self._ready():
                self._told_ready = True
                notify("READY=1")

    def _ended(self, slot: _Slot, code: int) -> None:
        """A child has ended: replace it, now if it left as it should, else a little later each time."""
        pid = slot.process.pid if slot.process else 0
        slot.process, slot.ready = None, False
        while slot.line is not None:  # its last words
            self._heard(slot)
        with self._counting:
            died = {} if code == 0 or self._stops else {"worker_died": 1}
            self._past = added([self._past, slot.figures, Figures(trouble=died)])
            slot.figures, slot.said = Figures(), b""
        if self._stops:
            if code and not self._code and code != -signal.SIGTERM:  # that one had not begun
                self._code = code if code > 0 else 128 - code
            return
        if code == 0:
            slot.done = self._burst
            slot.failures = 0
            return
        if code in _HOPELESS and not slot.was_ready:
            self._code = code
            self._stop(signal.SIGTERM)
            return
        self._say(f"worker {slot.number} (pid {pid}) {_ending(code)}; it is replaced.")
        self._later(slot)

    def _later(self, slot: _Slot) -> None:
        now = clock.monotonic()
        if slot.began and now - slot.began > _STEADY_S:
            slot.failures = 0
        slot.start_at = now + min(BACKOFF_MOST_S, _BACKOFF_FIRST_S * 2**slot.failures)
        slot.failures = min(slot.failures + 1, 10)

    def _signalled(self, number: int) -> None:
        match number:
            case signal.SIGTERM | signal.SIGINT:
                self._stop(number)
            case signal.SIGHUP if not self._stops:
                self._rolling = [slot for slot in self._slots if slot.process is not None]
                self._roll_on(first=True)
            case signal.SIGUSR1:
                self._pass_on(signal.SIGUSR1)

    def _stop(self, number: int) -> None:
        """The first lets the children drain, the second has them hand everything back, the third leave as they are."""
        self._stops += 1
        if self._stops == 1:
            notify("STOPPING=1")
        else:
            self._code = 128 + number
        self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        for slot in self._slots:
            if slot.process is not None:
                slot.process.send_signal(signal.SIGTERM if number == signal.SIGINT else number)

    def _roll_on(self, *, first: bool = False) -> None:
        """Replace one child after the other: the next one when the last one's successor is ready."""
        if self._rolling and not self._stops and (first or all(slot.ready for slot in self._slots)):
            slot = self._rolling.pop(0)
            if slot.process is not None:
                slot.process.terminate()

    def _figures(self) -> Figures:
        """What all workers counted, those that have ended too. Asked for by a thread of the health server."""
        with self._counting:
            return added([self._past, *(slot.figures for slot in self._slots)])

    def _alive(self) -> bool:
        """Whether at least one worker runs, and none was given up."""
        return any(slot.process is not None for slot in self._slots)

    def _ready(self) -> bool:
        """Whether every worker serves, and none was told to leave."""
        return not self._stops and all(slot.ready for slot in self._slots)


def command(words: Sequence[str]) -> list[str]:
    """The command line of a child: this interpreter, `surefoot` and these words."""
    return [sys.executable, "-P", "-m", "surefoot.cli.main", *words]


def _ending(code: int) -> str:
    if code >= 0:
        return f"left with {code}"
    try:
        return f"died of {signal.Signals(-code).name}"
    except ValueError:
        return f"died of signal {-code}"
