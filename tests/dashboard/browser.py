"""A real Chromium of the system, without a window, and a dashboard in a process of its own for it to look at. No test.

Screenshots go to docs/images only when asked for: pytest tests/dashboard --screenshots
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import pytest
from tests.doors.cli_shop import clean_environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

T = TypeVar("T")

IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
LARGEST_IMAGE: Final = 150_000
_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def chromium() -> str | None:
    """The program, if there is one: CHROMIUM names another than the first on the path."""
    return os.environ.get("CHROMIUM") or next((found for name in _NAMES if (found := shutil.which(name))), None)


def no_browser() -> str | None:
    """Why the browser tests cannot run here; None if they can."""
    if find_spec("playwright") is None:
        return "playwright is not installed (the group browser)"
    return None if chromium() else "there is no Chromium here (Debian: apt install chromium)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a file of tests. While it is open a loop runs on this thread: see `apart`."""
    reason = no_browser()
    if reason:
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        flags = ["--no-sandbox"] if os.getuid() == 0 else []
        opened = driver.chromium.launch(executable_path=chromium(), args=[*flags, "--disable-dev-shm-usage"])
        yield opened
        opened.close()


def apart(call: Callable[[], T]) -> T:
    """Do this in a thread of its own: on this one runs the loop of the browser's driver, and blocking calls refuse."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(call).result(timeout=100)


class Seen:
    """A page, and all that went wrong in it: errors of scripts, what the policy blocked, other hosts."""

    def __init__(self, page: Page, base: str = "") -> None:
        self.page = page
        self.base = base
        self.faults: list[str] = []
        self.hosts: set[str] = set()
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda line: self.faults.append(line.text) if line.type == "error" else None)
        page.on("dialog", self._asked)
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2]))

    def _asked(self, dialog: Dialog) -> None:
        self.faults.append(dialog.message)
        dialog.dismiss()

    def go(self, path: str) -> Seen:
        """Open a page of the dashboard."""
        self.page.goto(self.base + path, wait_until="domcontentloaded")
        self.page.wait_for_selector("#main h1, #main .cards")
        return self

    def text(self) -> str:
        """What is seen of the page's content."""
        return str(self.page.inner_text("main"))

    def click(self, button: str) -> None:
        """Press the button of this name, and wait for the page that follows."""
        with self.page.expect_navigation(wait_until="domcontentloaded"):
            self.page.get_by_role("button", name=button, exact=True).first.click()

    def sound(self) -> None:
        """Fail with whatever went wrong."""
        assert self.faults == []
        assert self.hosts <= {self.base.split("/")[2]}


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Seen]:
    """A page in a context of its own; a mark or parametrization says dark, phone."""
    options: dict[str, Any] = {"viewport": {"width": 1180, "height": 760}, "timezone_id": "UTC"}
    options |= getattr(request, "param", {})
    context = browser.new_context(**options)
    context.set_default_timeout(20_000)
    seen = Seen(context.new_page())
    yield seen
    context.close()


@contextmanager
def dashboard(folder: Path, *args: str, **environment: str) -> Iterator[str]:
    """`surefoot dashboard` in this folder, on a free port; gives its address, and sees it end in order."""
    command = [sys.executable, "-m", "surefoot.cli.main", "dashboard", *args, "--port", "0", "--json"]
    with subprocess.Popen(
        command, cwd=folder, env=clean_environment() | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            assert line, process.communicate()[1].decode()
            yield msgspec.json.decode(line)["url"].rstrip("/")
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                _, told = process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    assert process.returncode == 0, told.decode()


def shoot(seen: Seen, name: str, config: pytest.Config) -> None:
    """Keep a picture of the page for the docs, if asked for."""
    if not config.getoption("--screenshots", default=False):
        return
    IMAGES.mkdir(exist_ok=True)
    path = IMAGES / f"{name}.png"
    seen.page.screenshot(path=path)
    _shrink(path)
    assert path.stat().st_size < LARGEST_IMAGE, f"{path} has {path.stat().st_size:,} bytes"


def _shrink(path: Path) -> None:
    """A picture of a page has few colours."""
    from PIL import Image

    with Image.open(path) as image:
        image.convert("RGB").quantize(128).save(path, optimize=True)
