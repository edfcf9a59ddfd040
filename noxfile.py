"""The tests on every Python that is here, with the oldest and the newest of what surefoot depends on: `nox`.

What is tested is the built wheel, installed into an environment of its own. `nox -s full` runs the whole suite.
"""

import os
import shutil
import subprocess

import nox

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
CORE = ["tests/unit", "tests/conformance", "tests/client", "tests/engine", "tests/testing", "tests/architecture"]
WHAT_TESTS_NEED = [".[dashboard,demo,django,metrics,otel,redis,reload,sentry]", "--group", "test"]
WHAT_ALL_TESTS_NEED = [*WHAT_TESTS_NEED, "--group", "dev"]

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"  # a Python that is not here is skipped
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["tests"]
nox.options.stop_on_first_error = False

if pyenv := shutil.which("pyenv"):  # its python3.12 answers only if 3.12 is one of the chosen versions
    found = subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True, check=True).stdout.split()
    ours = [version for version in found if version.startswith(tuple(f"{python}." for python in PYTHONS))]
    os.environ["PYENV_VERSION"] = ":".join(ours) or "system"  # a shim that started us has set it to one of them


@nox.session(python=PYTHONS)
@nox.parametrize("versions", ["lowest", "newest"])
def tests(session: nox.Session, versions: str) -> None:
    """Both stores, the client and the worker."""
    resolution = {"lowest": "lowest-direct", "newest": "highest"}[versions]
    session.install("--resolution", resolution, *WHAT_TESTS_NEED)
    session.run("pytest", "-n", "auto", *(session.posargs or CORE))


@nox.session(python=PYTHONS)
def full(session: nox.Session) -> None:
    """The whole suite, with the newest versions."""
    session.install(*WHAT_ALL_TESTS_NEED)
    session.run("pytest", "-n", "auto", *session.posargs)
