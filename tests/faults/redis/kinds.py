"""Every kind of server as the parameter of a fixture; all but the first are for the long form. No case here."""

from typing import Any

import pytest
from tests.servers import KINDS, why_not

EVERY_KIND: list[Any] = [KINDS[0], *[pytest.param(kind, marks=pytest.mark.faults_full) for kind in KINDS[1:]]]


def kind_of(request: pytest.FixtureRequest) -> str:
    """The kind that a fixture is to start; skips what this machine does not have."""
    if reason := why_not(request.param):
        pytest.skip(reason)
    return str(request.param)
