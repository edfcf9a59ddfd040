"""Every block of every page of docs/ runs and comes to what the page shows, or it stands here with the reason."""

from __future__ import annotations

import fnmatch
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.doors.docs_runner import DOCS, SERVER, Page
from tests.servers import KINDS, Server, why_not

from surefoot.brokers import connect

PAGES: Final = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md") if "_build" not in path.parts)

NOT_RUN: Final = {
    ("protocol.md", "*"): "another language's view; tests/doors/test_protocol_page.py and tests/doors/foreign run it",
    ("coming-from/*.md", "text"): "a program for another queue, which is not installed here",
    ("first-steps.md", "$ pip install*"): "needs a package index",
    ("limits.md", "t =  0.0 s*"): "a drawing in time; the test named below it measures the whole",
    ("deploying.md", "ini"): "no systemd here; tests/doors/test_deploying.py reads it",
    ("deploying.md", "dockerfile"): "no containers here; tests/doors/test_deploying.py parses its command",
    ("deploying.md", "yaml"): "no containers here; tests/doors/test_deploying.py compares its time",
    ("deploying.md", "redis"): "tests/doors/test_deploying.py starts a server with it",
    ("deploying.md", "acl"): "tests/doors/test_deploying.py works under these users",
    ("deploying.md", "sentinel"): "tests/doors/test_deploying_further.py asks sentinels as this user",
    ("deploying.md", "server"): "tests/doors/test_deploying_further.py fails over with sentinels that are this user",
    ("deploying.md", "url"): "tests/doors/test_deploying_further.py reads it",
    ("deploying.md", "tls"): "tests/doors/test_deploying_further.py starts a server with these options",
}
"""(pages, a language or the first words of a block): why nothing runs it."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that is the current one, importable, and forgotten afterwards."""
    for name in [name for name in os.environ if name.startswith("SUREFOOT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SUREFOOT_URL", "")  # so that a page's own is forgotten too
    monkeypatch.delenv("SUREFOOT_URL")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield tmp_path
    for address, broker in list(connect._brokers.values()):
        if address.path.startswith(str(tmp_path)) or address.scheme == "redis":
            broker.close_sync()
    for name in set(sys.modules) - before:
        module = sys.modules[name]  # a folder without __init__.py is a module without a file
        file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "")
        if file.startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_shows_is_so(name: str, folder: Path, request: pytest.FixtureRequest) -> None:
    text = (DOCS / name).read_text()
    rows = [row for row in NOT_RUN if fnmatch.fnmatch(name, row[0])]
    used = set()

    def left_out(language: str, source: str) -> bool:
        for row in rows:
            if row[1] in ("*", language) or fnmatch.fnmatch(source.partition("\n")[0], row[1]):
                used.add(row)
                return True
        return False

    def server_url() -> str:
        server: Server = request.getfixturevalue("server")
        return server.url

    if SERVER in text and (reason := why_not(KINDS[0])):
        pytest.skip(reason)
    if SERVER in text:
        with request.getfixturevalue("server").conversation() as talk:
            talk.say("FLUSHALL")
    page = Page(DOCS / name, folder, server_url, left_out)
    page.run()
    stale = [row for row in rows if row not in used and row[0] == name]
    assert stale == [], "NOT_RUN names blocks that are no longer there"


WRONG: Final = {
    "another output": "```python\nprint(1)\n```\n\n```text\n2\n```",
    "less output": "```python\nprint(1)\nprint(2)\n```\n\n```text\n1\n```",
    "an error": "```python\nraise ValueError\n```",
    "nobody runs it": "```ruby\nputs 1\n```",
    "no language": "```\n1\n```",
    "text of nobody": "```text\n1\n```",
    "another exit code": "```console\n$ surefoot jobs show x --url sqlite:///:memory: -q mail\n...\n```",
    "another line": "```console\n$ echo one two\none  three\n```",
    "a line too much": "```console\n$ echo one\none\ntwo\n```",
    "another word for an id": "```console\n$ echo 01999c0e7d1a9b1f0d7e5a1c2f4z\n01999c0e7d1a9b1f0d7e5a1c2f44\n```",
    "two ids for one": (
        "```console\n$ echo 01a20e349caa5cd00fb474e0e8cf; echo 01a20e34aa44b0e7df0e11554170\n"
        "01999c0e7d1a9b1f0d7e5a1c2f44\n01999c0e7d1a9b1f0d7e5a1c2f44\n```"
    ),
    "no such application": "```console\n$ surefoot worker nothing:here\nsurefoot ...\n```",
}


@pytest.mark.parametrize("what", WRONG)
def test_a_page_that_is_wrong_is_caught(what: str, folder: Path) -> None:
    path = folder / "page.md"
    path.write_text(f"# Page\n\n{WRONG[what]}\n")
    with pytest.raises((AssertionError, ValueError)):
        Page(path, folder, str, lambda language, source: False).run()


def test_what_varies_may_vary(folder: Path) -> None:
    path = folder / "page.md"
    path.write_text(
        "# Page\n\n```console\n$ echo 01a20e349caa5cd00fb474e0e8cf at 2026-11-24 15:16:17 in 3.5 s\n"
        "01999c0e7d1a9b1f0d7e5a1c2f44   at 2020-01-01 09:12:00 in 12 min\n"
        "$ echo 01999c0e7d1a9b1f0d7e5a1c2f44 | cut -c1-4\n01a2\n```\n"
    )
    assert Page(path, folder, str, lambda language, source: False).run() == 1
