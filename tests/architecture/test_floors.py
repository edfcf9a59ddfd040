"""The floors hold: the contracts of pyproject.toml, and no circle of imports anywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]


def lint_imports(path: Path) -> subprocess.CompletedProcess[str]:
    """Run the contracts on the `surefoot` package found in `path`."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"
    environment = os.environ | {"PYTHONPATH": str(path), "NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)


def circle(imports: dict[str, set[str]]) -> str | None:
    """One circle of modules as `a -> b -> a`, if there is any."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return " -> ".join(reversed(error.args[1]))
    return None


def test_a_file_imports_only_from_lower_floors() -> None:
    run = lint_imports(ROOT / "src")
    assert run.returncode == 0, (
        "A file imports from its own or a higher floor, or stands on none. Move what it needs down, or pass it in; "
        f"a new module gets its place in [tool.importlinter] of pyproject.toml.\n{run.stdout}{run.stderr}"
    )


def test_no_import_circles_even_for_typing() -> None:
    graph = grimp.build_graph("surefoot", cache_dir=None)
    files = list((ROOT / "src" / "surefoot").rglob("*.py"))
    assert len(files) == len(graph.modules), "a folder without __init__.py is seen by no rule: give it one"
    found = circle({module: graph.find_modules_directly_imported_by(module) for module in graph.modules})
    assert found is None, (
        f"A circle of imports: {found}. Move what both need into a file below both. (The package itself counts: inside "
        "src nobody imports from `surefoot`, whose front door knows everybody.)"
    )


@pytest.fixture(scope="module")
def contracts_on_a_broken_house(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the contracts say about a package in which every floor is broken once."""
    top = tmp_path_factory.mktemp("house")
    files = {
        "__init__.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from surefoot.worker import Worker\n",
        "clock.py": "from surefoot.core import names\n",
        "chance.py": "",
        "worker.py": "from surefoot.supervisor import restart\n",
        "supervisor.py": "restart = 1\n",
        "shelf.py": "",
        "core/names.py": "def late():\n    from surefoot.core import events\n",
        "core/events.py": "from surefoot import clock\n",
        "execution/loop.py": "from surefoot.brokers import broker\n",
        "brokers/broker.py": "from surefoot import Worker\n",
        "client/session.py": "import typing\nif typing.TYPE_CHECKING:\n    from surefoot.client import queue\n",
        "client/queue.py": "",
        "client/corner.py": "",
        "cli/exits.py": "from surefoot.cli import main\n",
        "cli/main.py": "",
        "dashboard/app.py": "",
    }
    for name, text in files.items():
        path = top / "surefoot" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    run = lint_imports(top)
    assert run.returncode == 1, run.stdout + run.stderr
    return " ".join(run.stdout.split())


@pytest.mark.parametrize(
    "broken",
    [
        "surefoot.worker -> surefoot.supervisor",
        "surefoot.clock -> surefoot.core.names",
        "surefoot.core.events -> surefoot.clock",
        "surefoot.core.names -> surefoot.core.events",
        "surefoot.execution.loop -> surefoot.brokers.broker",
        "surefoot.cli.exits -> surefoot.cli.main",
        "surefoot.brokers.broker -> surefoot",
        "surefoot.client.session -> surefoot.client.queue",
        "surefoot.shelf",
        "surefoot.client.corner",
    ],
)
def test_the_contracts_catch(broken: str, contracts_on_a_broken_house: str) -> None:
    assert broken in contracts_on_a_broken_house


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) is None
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) in ("b -> c -> b", "c -> b -> c")
