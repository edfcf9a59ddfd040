"""The site is built from docs/ with warnings as errors; every page is in it and in a table of contents, every link
leads somewhere, and nothing is fetched from elsewhere.
"""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from tests.doors.docs_runner import DOCS

import surefoot

LEFT_OUT = {"README.md"}
"""For readers of the source tree: the site has index.md."""

PAGES = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md") if "_build" not in path.parts} - LEFT_OUT


class Links(HTMLParser):
    """What one page of the site points to, what it loads, and the places in it that others may point to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value is not None}
        if "id" in found:
            self.places.add(found["id"])
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "link" and found.get("rel") in ("stylesheet", "preload"):
            self.loads.append(found["href"])
        if "src" in found:
            self.loads.append(found["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    words: list[str | Path] = [
        "-W",
        "-n",
        "--keep-going",
        "-q",
        "-b",
        "html",
        "-d",
        folder / "trees",
        DOCS,
        folder / "html",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder / "html"


def test_every_page_is_in_the_site_and_in_its_contents(site: Path) -> None:
    assert {name for name in PAGES if not (site / name).with_suffix(".html").is_file()} == set()
    contents = Links((site / "index.html").read_text()).links
    first_words = {name for name in PAGES if "/" not in name and name != "index.md"} | {"coming-from/index.md"}
    assert {name for name in first_words if name.removesuffix(".md") + ".html" not in contents} == set()


def test_every_link_inside_the_site_leads_somewhere(site: Path) -> None:
    found = {path: Links(path.read_text()) for path in site.rglob("*.html")}
    broken = []
    for path, page in found.items():
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = unquote(parts.fragment)
            if not target.is_file() or (place and target in found and place not in found[target].places):
                broken.append(f"{path.name}: {link}")
    assert broken == []


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loads = {one for path in site.rglob("*.html") for one in Links(path.read_text()).loads}
    assert loads
    assert {one for one in loads if urlsplit(one).netloc} == set()


def test_the_reference_names_every_public_name() -> None:
    named = re.findall(r"^\.\. auto\w+:: (\w+)", (DOCS / "reference.md").read_text(), re.M)
    assert sorted(named) == sorted(surefoot.__all__)


def test_the_list_for_readers_of_the_source_tree_names_every_page() -> None:
    text = (DOCS / "README.md").read_text()
    assert {name for name in PAGES - {"index.md"} if f"({name})" not in text and "/" not in name} == set()
