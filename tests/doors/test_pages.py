"""What the pages show and name is true: the drawing of the states, the files and folders that they mention, the
commands.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.doors.drawing import drawing, shown
from tests.servers import KINDS, start, why_not

from surefoot.brokers.redis.gate import judge
from surefoot.brokers.redis.server import Server
from surefoot.cli.main import commands
from surefoot.core.errors import StoreUnsuitable

ROOT = Path(__file__).parent.parent.parent
BASES = ["", "src/surefoot", "src/surefoot/brokers/redis", "src/surefoot/brokers/sqlite", "tests"]
PAGES = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/README.md", "docs/protocol.md"]
SITE = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)


def test_the_drawing_of_the_states_is_made_from_the_table_of_moves() -> None:
    assert shown() == drawing(), "run: python -m tests.doors.drawing --write"


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    named = re.findall(r"`([\w./-]+(?:\.(?:py|md|sql|lua|toml)|/))(?:`|:)", text)
    missing = [name for name in named if not any((ROOT / base / name).exists() for base in BASES)]
    assert missing == [], f"{page} names what is not there"


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_a_page_names_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"\bmake ([a-z]+)\b", (ROOT / page).read_text()))
    sentences = {"it", "sure", "two", "a"}
    assert named - sentences <= targets


@pytest.mark.parametrize("page", sorted({*PAGES, *SITE}))
def test_every_test_that_a_page_names_exists(page: str) -> None:
    missing = []
    for path, name in re.findall(r"(tests/[\w/]+\.py)::(\w+)", (ROOT / page).read_text()):
        file = ROOT / path
        if not file.is_file() or not re.search(rf"^(?:(?:async )?def|class) {name}\b", file.read_text(), re.M):
            missing.append(f"{path}::{name}")
    assert missing == []


def test_every_promise_of_the_limits_names_its_test() -> None:
    text = (ROOT / "docs/limits.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| promise")]
    assert len(rows) > 10
    assert [row for row in rows if not re.search(r"\| `tests/[\w/]+\.py::test_\w+` \|$", row)] == []


@pytest.mark.parametrize("page", sorted({*PAGES, *SITE}))
def test_every_relative_link_of_a_page_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", (ROOT / page).read_text())
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


@pytest.mark.parametrize("page", sorted({*PAGES, *SITE}))
def test_every_command_that_a_page_names_in_a_sentence_exists(page: str) -> None:
    prose = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.M | re.S)
    for named in re.findall(r"`surefoot ([^`]+)`", prose):
        known(shlex.split(named))


def known(words: list[str]) -> None:
    """Follow the words into the command and its options, as far as they are words of ours."""
    command: click.Command = commands
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.commands.get(words[0])
        if found is None:  # `surefoot jobs app` is `surefoot jobs list app`
            assert command is not commands, f"there is no command {words[0]}"
            found = command.commands["list"]
            words = ["list", *words]
        command, words = found, words[1:]
    options = {name for one in command.params for name in one.opts} | {"--help", "--version"}
    for word in words:
        name = word.partition("=")[0]
        assert not word.startswith("-") or name in options, f"{command.name} has no option {name}"


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the README's example as app.py, run once."""
    folder = tmp_path_factory.mktemp("readme")
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    (folder / "app.py").write_text(example)
    return folder


def surefoot(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "surefoot.cli.main", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_the_readme_s_example_runs(application: Path) -> None:
    run = subprocess.run(
        [sys.executable, "app.py"], cwd=application, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("welcome ann@example.com in fr, job ")


def test_every_command_that_the_readme_shows_works_on_its_example(application: Path) -> None:
    shown = re.findall(r"^    surefoot (.*?)  ", (ROOT / "README.md").read_text(), re.M)
    assert len(shown) == 5
    id = surefoot(application, "jobs", "list", "--app", "app", "--json").stdout.partition('"id":"')[2].partition('"')[0]
    for line in shown:
        words = [id if word == "ID" else word for word in line.split()]
        if words[0] == "worker":
            words.append("--burst")
        run = surefoot(application, *words)
        assert run.returncode in (0, 1), f"surefoot {line}: {run.stderr}"
        assert "Traceback" not in run.stderr


# --- on a server ---


def told(page: str = "README.md") -> set[str]:
    """The sentences between backticks that a page gives as a worker's words about redis://localhost:6379/0."""
    return set(re.findall(r"`(redis://localhost:6379/0 [^`]+)`", (ROOT / page).read_text()))


def test_only_the_url_of_the_readme_s_example_changes_on_a_server() -> None:
    readme = (ROOT / "README.md").read_text()
    (on_a_file,) = re.findall(r'^mail = Queue\("sqlite.*$', readme, re.M)
    (on_a_server,) = re.findall(r'^    (mail = Queue\("redis.*)$', readme, re.M)
    assert on_a_server == on_a_file.replace("sqlite:///jobs.db", "redis://localhost:6379/0")


@pytest.mark.skipif(why_not(KINDS[0]) is not None, reason=str(why_not(KINDS[0])))
def test_the_readme_says_what_a_worker_says_about_its_server(application: Path, tmp_path: Path) -> None:
    said = set()
    for name, options, code in (
        ("nothing", {"save": '""', "appendonly": "no"}, 0),
        ("snapshots", {"save": "3600 1", "appendonly": "no"}, 0),
        ("evicting", {"appendonly": "yes", "maxmemory-policy": "allkeys-lru"}, 4),
        ("fit", {"appendonly": "yes", "maxmemory-policy": "noeviction"}, 0),
    ):
        with start(tmp_path / name, options=options) as server:
            text = (application / "app.py").read_text().replace("sqlite:///jobs.db", server.url)
            (tmp_path / "app.py").write_text(text)
            run = surefoot(tmp_path, "worker", "app:mail", "--burst", "--quiet")
            assert run.returncode == code, run.stderr
            lines = [line.replace(server.url, "redis://localhost:6379/0") for line in run.stderr.splitlines()]
        assert len(lines) == (name != "fit")
        said |= {line[line.index("redis://") :] for line in lines}
    with pytest.raises(StoreUnsuitable) as refused:
        judge(Server(shown="redis://localhost:6379/0"), [b"redis_version:6.0.16\r\n", []])
    assert said | {str(refused.value)} == told()
