"""The simulation finds mistakes: each, built into a store, a network or a worker, breaks a promise in some life."""

from __future__ import annotations

import pytest
from tests.simulation.crowd import first
from tests.simulation.mutants import MUTANTS
from tests.simulation.plan import Mode

WITHIN = 300
KNOWN: dict[str, tuple[Mode, int]] = {
    "settle without the token check": ("liveness", 122),
    "promote in two steps": ("safety", 0),
    "wake before the push": ("liveness", 0),
    "an empty answer is not remembered": ("liveness", 605),
    "a put is not remembered": ("safety", 39),
    "no handover of the timer": ("liveness", 167),
    "nobody looks when the first lease ends": ("liveness", 1),
    "recovery without trust": ("liveness", 135),
    "an old claim recovers": ("safety", 4853),
    "a late pause undoes a resume": ("liveness", 4858),
    "what was read too late is started": ("safety", 4793),
    "a drain that forgets the reply in flight": ("liveness", 36),
}
"""A life that notices it. Where the code has moved on, the next ones are played too."""


@pytest.mark.parametrize("mistake", MUTANTS)
def test_a_mistake_is_noticed(mistake: str) -> None:
    mode, seed = KNOWN[mistake]
    found = first(MUTANTS[mistake], range(seed, seed + WITHIN), (mode,))
    assert found is not None, f"none of {WITHIN} lives noticed: {mistake}"
