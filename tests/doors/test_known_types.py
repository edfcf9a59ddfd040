"""A user's type checker knows the type of everything in the package, whichever checker it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

UNTYPED = "surefoot.integrations.django."
"""Django has no types: what stands on its classes cannot have all of its own."""


def symbols(folder: Path) -> list[dict[str, Any]]:
    """What pyright knows of each symbol of the installed package."""
    command = [sys.executable, "-m", "pyright", "--verifytypes", "surefoot", "--ignoreexternal", "--outputjson"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    run = subprocess.run(command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True)
    report: list[dict[str, Any]] = json.loads(run.stdout)["typeCompleteness"]["symbols"]
    assert any(one["name"] == "surefoot.client.queue.Queue" for one in report), run.stdout[:2000]
    return report


def test_every_type_is_known_and_none_is_left_to_be_guessed(tmp_path: Path) -> None:
    unknown: list[str] = []
    for one in symbols(tmp_path):
        name: str = one["name"]
        if name.startswith(UNTYPED) or one["isTypeKnown"]:
            continue
        said = [note["message"].replace("\n", " ") for note in one["diagnostics"]]
        if not one["isTypeAmbiguous"]:
            unknown.append(f"{name}: {said}")
        # A twin is made by `name_sync = twin(name)` from a method of known types: all checkers agree.
        elif not name.endswith("_sync") and any("missing type annotation" in words for words in said):
            unknown.append(f"{name}: write its type where it is first set. {said}")
    assert not unknown, "\n".join(unknown)
