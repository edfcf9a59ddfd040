"""Wheels without a network: surefoot's own, built from the source, and those of what it needs, packed again from what
is installed here. An environment that is filled from them holds what our metadata asks for and nothing else.
"""

import subprocess
import sys
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
OF_THE_INSTALLER = {"INSTALLER", "REQUESTED", "direct_url.json"}


def build(source: Path, into: Path, *targets: str) -> None:
    """Build the project in `source`: "wheel", "sdist"."""
    words = [word for target in targets for word in ("-t", target)]
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(into), *words]
    run = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel by their paths."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def needed(wanted: Iterable[str]) -> dict[str, Distribution]:
    """Everything that is installed here for these requirements, by name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    queue = [Requirement(word) for word in wanted]
    while queue:
        one = queue.pop()
        name = canonicalize_name(one.name)
        for extra in ("", *one.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            found[name] = distribution(name)
            below = (Requirement(line) for line in found[name].requires or ())
            queue += [more for more in below if more.marker is None or more.marker.evaluate({"extra": extra})]
    return found


def pack(one: Distribution, into: Path) -> None:
    """The wheel that a distribution was installed from, as far as pip needs it."""
    tags = [
        line.split()[1].split("-") for line in (one.read_text("WHEEL") or "").splitlines() if line.startswith("Tag:")
    ]
    tag = "-".join(".".join(dict.fromkeys(part)) for part in zip(*tags, strict=True))
    name = canonicalize_name(one.name).replace("-", "_")
    with zipfile.ZipFile(into / f"{name}-{one.version}-{tag}.whl", "w") as archive:
        for file in one.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts and file.name not in OF_THE_INSTALLER:
                archive.write(str(file.locate()), file.as_posix())
