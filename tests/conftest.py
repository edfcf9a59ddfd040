"""How the suite chooses fast or full, its seed, and the two event loops. No fixture of a single folder lives here."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("fast", max_examples=40, stateful_step_count=30, deadline=None)
settings.register_profile(
    "full", max_examples=2_000, stateful_step_count=80, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="run the long forms too: faults_full, the large profile")
    parser.addoption("--screenshots", action="store_true", help="keep pictures of the dashboard in docs/images")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # Through the environment: the processes of pytest-xdist must draw what the one that prints the seed says.
    seed = os.environ.setdefault("SUREFOOT_SEED", str(random.SystemRandom().randrange(2**32)))
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = seed
    settings.load_profile("full" if config.getoption("--full") else "fast")


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {os.environ['SUREFOOT_SEED']} (set SUREFOOT_SEED to repeat), full: {config.getoption('--full')}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full"):
        return
    long = [item for item in items if item.get_closest_marker("faults_full")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Loud, because a skipped test is easily overlooked: nothing looked at the dashboard in a browser."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if "test_browser" in report.nodeid]
    if skipped:
        reason = skipped[0].longrepr[2] if isinstance(skipped[0].longrepr, tuple) else ""
        words = f"NO BROWSER: {len(skipped)} tests of the dashboard did not run. {reason}"
        terminalreporter.write_sep("!", words, red=True)
    reasons = [
        str(one.longrepr[2]) for one in terminalreporter.stats.get("skipped", []) if isinstance(one.longrepr, tuple)
    ]
    for reason in sorted({one for one in reasons if "LOUD: " in one}):
        words = f"{reasons.count(reason)} tests did not run: {reason.partition('LOUD: ')[2]}"
        terminalreporter.write_sep("!", words, red=True)


@pytest.fixture(scope="session")
def seed() -> int:
    """The number every random choice of this run starts from; printed in the header."""
    return int(os.environ["SUREFOOT_SEED"])


@pytest.fixture(
    scope="module",
    params=[("asyncio", {"use_uvloop": False}), ("asyncio", {"use_uvloop": True})],
    ids=["asyncio", "uvloop"],
)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Both loops; module scope, or async fixtures of wider scope than a function fail."""
    return request.param
