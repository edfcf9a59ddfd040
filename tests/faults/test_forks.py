"""Forks after the store was used (W20): a child shares nothing, sends nothing twice, and loses nothing."""

import pytest
from tests.faults.processes import Fleet

WAYS = ["busy", "reading", "preload", "pool", "loop", "worker"]


def accepted_by(fleet: Fleet) -> list[str]:
    """What all producers were told is stored."""
    refused = [line["error"] for line in fleet.ledger.lines() if line["what"] in ("refused", "child_failed")]
    assert refused == []
    ids = [line["job"] for line in fleet.ledger.of("accepted")]
    assert len(set(ids)) == len(ids)
    return ids


@pytest.mark.timeout(180)
@pytest.mark.parametrize("way", WAYS)
def test_W20_fork_after_connecting(fleet: Fleet, way: str) -> None:
    fleet.left(fleet.run("tests.faults.forks", way), 0)
    fleet.accepted = accepted_by(fleet)
    missing = [id for id, record in zip(fleet.accepted, fleet.records(), strict=True) if record is None]
    assert missing == [], f"{len(missing)} of {len(fleet.accepted)} accepted jobs are not in the store"
    fleet.start()
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert verdict.doubled == {}


def test_W20_clone_becomes_a_caller_of_its_own(fleet: Fleet) -> None:
    fleet.left(fleet.run("tests.faults.forks", "clone"), 0)
    fleet.accepted = accepted_by(fleet)
    assert len(fleet.accepted) == 20
    assert len({line["caller"] for line in fleet.ledger.of("caller")}) == 2, "one of the two took another name"
    fleet.start()
    verdict = fleet.all_over()
    verdict.assert_nothing_lost()
    assert verdict.started == 20
