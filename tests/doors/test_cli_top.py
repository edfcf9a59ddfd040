"""top: what it draws under a real terminal, its keys, a store that goes away, the terminal put right at every end."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.doors.cli_shop import Shop, at_work, clean_environment, eventually
from tests.servers import KINDS, start, why_not

ALTERNATE, NORMAL = "\x1b[?1049h", "\x1b[?1049l"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]")


class Screen:
    """The command on a terminal of ours: all that it printed, and the last picture of it."""

    def __init__(self, process: subprocess.Popen[bytes], ours: int, theirs: int) -> None:
        self.process = process
        self.before = termios.tcgetattr(theirs)
        self._ours, self._theirs = ours, theirs
        self.printed = ""

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def read(self, seconds: float) -> None:
        if select.select([self._ours], [], [], seconds)[0]:
            self.printed += os.read(self._ours, 65_536).decode(errors="replace")

    @property
    def picture(self) -> str:
        """What was drawn last, in words."""
        return _ESCAPES.sub("", self.printed.rpartition("surefoot top")[2])

    def shows(self, question: str | Callable[[str], object]) -> str:
        """Wait for words in the picture."""
        until = time.monotonic() + 60
        while not (question in self.picture if isinstance(question, str) else question(self.picture)):
            assert time.monotonic() < until, self.picture
            assert self.process.poll() is None, self.printed
            self.read(0.1)
        return self.picture

    def ended(self) -> int:
        """Its exit code; the terminal is as it was."""
        until = time.monotonic() + 60
        while self.process.poll() is None:
            assert time.monotonic() < until, "it does not end"
            self.read(0.1)
        self.read(0.1)
        assert self.printed.count(ALTERNATE) == 1
        assert self.printed.rstrip().rfind(NORMAL) > self.printed.find(ALTERNATE)
        assert termios.tcgetattr(self._theirs) == self.before
        return self.process.returncode


@contextmanager
def screen(folder: Path, *args: str) -> Iterator[Screen]:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (30, 150))
    environment = clean_environment() | {"TERM": "xterm-256color"}
    with subprocess.Popen(
        [sys.executable, "-m", "surefoot.cli.main", "top", *args],
        cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            yield Screen(process, ours, theirs)
        finally:
            process.kill()
            os.close(ours)
            os.close(theirs)


def test_queues_and_workers_live_over_both_stores(any_shop: Shop) -> None:
    mail = any_shop.queue("mail")
    with screen(any_shop.folder, "shop", "--every", "0.2s") as seen:
        line = re.compile(r"mail +0 +- +0 +0 +0 +0 +0 +0 +0")
        seen.shows(lambda picture: line.search(picture))
        mail.by_name("welcome").enqueue_sync(address="a@b.c")
        seen.shows(lambda picture: re.search(r"mail +1 +[\d.]+ s", picture))
        with at_work(any_shop, "shop:worker"):
            seen.shows("web-1:")
            seen.shows(lambda picture: re.search(r"0/4 .*mail, billing", picture))
        seen.press("q")
        assert seen.ended() == 0


def test_pause_and_resume_ask_first(file_shop: Shop) -> None:
    mail = file_shop.queue("mail")
    with screen(file_shop.folder, "shop", "-q", "mail", "--every", "0.2s") as seen:
        seen.shows("p pause")
        seen.press("p")
        seen.shows("pause queue mail? y / n")
        seen.press("n")
        seen.shows("p pause")
        time.sleep(1)  # long enough for an order that should not be there
        assert mail.stats_sync().paused is None
        seen.press("p")
        seen.shows("pause queue mail? y / n")
        seen.press("y")
        seen.shows("paused since")
        eventually(lambda: mail.stats_sync().paused)
        seen.press("r")
        seen.shows("resume queue mail? y / n")
        seen.press("y")
        eventually(lambda: mail.stats_sync().paused is None)
        seen.press("q")
        assert seen.ended() == 0


def test_choose_and_filter(file_shop: Shop) -> None:
    with screen(file_shop.folder, "shop", "--every", "0.2s") as seen:
        seen.shows("billing")
        seen.press("/")
        seen.shows("/_")
        seen.press("BILLq")  # a letter here, not the key that leaves
        seen.shows("/BILLq_")
        seen.press("\x7f")
        seen.press("\r")
        seen.shows(lambda picture: "showing 'BILL'" in picture and not re.search(r"^ *mail ", picture, re.MULTILINE))
        seen.press("p")
        seen.shows("pause queue billing? y / n")
        seen.press("n")
        seen.press("\x1b")
        seen.shows(lambda picture: "showing" not in picture)
        seen.press("\x1b[B")
        seen.press("p")
        seen.shows("pause queue billing? y / n")
        seen.press("n")
        seen.press("k")
        seen.press("p")
        seen.shows("pause queue mail? y / n")
        seen.press("n")
        seen.press("q")
        assert seen.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_in_order(file_shop: Shop, number: signal.Signals) -> None:
    with screen(file_shop.folder, "shop") as seen:
        seen.shows("p pause")
        seen.process.send_signal(number)
        assert seen.ended() == 0


def test_the_terminal_is_put_right_after_a_mistake_of_ours(file_shop: Shop) -> None:
    """Drawing fails in the middle: the traceback is printed on the ordinary screen."""
    file_shop.write(
        "broken.py", "import surefoot.cli.top as top\ntop.age = lambda seconds: 1 / 0\nfrom shop import mail\n"
    )
    with screen(file_shop.folder, "broken:mail") as seen:
        assert seen.ended() == 1
        assert "ZeroDivisionError" in seen.printed.rpartition(NORMAL)[2]


def test_a_server_that_goes_and_comes_back(file_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> None:
    if reason := why_not(KINDS[0]):
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("server")
    with start(folder) as server:
        url = f"{server.url}?timeout=1"
        file_shop.write("shop.py", (file_shop.folder / "shop.py").read_text().replace("sqlite:///jobs.db", url))
        with screen(file_shop.folder, "shop", "--every", "0.2s") as seen:
            seen.shows(lambda picture: re.search(r"mail +0", picture))
            server.freeze()
            seen.shows(lambda picture: "not up to date" in picture or "does not answer" in picture)
            seen.press("j")  # keys are heard meanwhile
            seen.press("p")
            seen.shows("pause queue billing? y / n")
            seen.press("n")
            server.thaw()
            seen.shows("2 queues")
            seen.press("q")
            assert seen.ended() == 0


def test_without_a_terminal_it_says_what_to_use(file_shop: Shop) -> None:
    for words in (["shop"], ["shop", "--json"]):
        ran = file_shop.here("top", *words)
        assert (ran.code, ran.out) == (2, "")
        assert "surefoot stats --watch --json" in ran.err
    away = file_shop.apart("top", "--url", "redis://127.0.0.1:1/0")
    assert away.code == 2
