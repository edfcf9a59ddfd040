"""The models hold with all rules and break without each: a rule is there because something fails without it.

A few small worlds here; all of them under the marker `faults_full`. A red test is a finding about the protocol.
"""

from __future__ import annotations

import pytest

from . import Finding, lease, local_wake, wake

LEASE_BREAKS = {
    "lane_put": "I3",
    "lane_claim": "I5",
    "lane_settle": "I4",
    "monotone": "I3",
    "token": "I2",
    "gone_token": "I4",
    "empty_again": "I5",
}
WAKE_BREAKS = dict.fromkeys(wake.RULES, "P1") | {"lease_wait": "P3", "floor": "P2"}
LOCAL_BREAKS = dict.fromkeys([*local_wake.RULES, *local_wake.SHORTCUTS], "P1") | {
    "counter_only": "P4",
    "lease_timer": "P3",
    "floor": "P2",
}


def assert_held(finding: Finding) -> None:
    assert finding.broken is None, str(finding)


def assert_broken(finding: Finding, kind: str) -> None:
    assert finding.broken, f"still fine: the rule is not needed ({finding})"
    assert finding.broken.startswith(kind + " "), str(finding)
    assert finding.trace


# Small worlds


@pytest.mark.parametrize("run", ["three lost replies", "crash, two jobs"])
def test_lease_holds_in_a_small_world(run: str) -> None:
    assert_held(lease.explore(lease.EVERY_RULE, lease.RUNS[run]))


@pytest.mark.parametrize("run", ["a drain", "3 workers, 2 slots, two kills, drop"])
def test_wake_holds_in_a_small_world(run: str) -> None:
    assert_held(wake.explore(wake.EVERY_RULE, wake.RUNS[run]))


def test_local_wake_holds_in_a_small_world() -> None:
    assert_held(local_wake.explore(local_wake.EVERY_RULE, local_wake.RUNS["one process and a producer"]))


def test_local_wake_recovers_after_a_lease_without_the_slack() -> None:
    finding = local_wake.explore(local_wake.EVERY_RULE, local_wake.RUNS["2 slots, a kill"])
    assert_held(finding)
    assert finding.recovery == wake.LEASE


# Each rule is needed


@pytest.mark.parametrize("rule", lease.RULES)
def test_lease_breaks_without(rule: str) -> None:
    assert_broken(lease.explore(lease.EVERY_RULE - {rule}, lease.BREAKS[rule]), LEASE_BREAKS[rule])


@pytest.mark.parametrize("shortcut", lease.SHORTCUTS)
def test_lease_breaks_with(shortcut: str) -> None:
    assert_broken(lease.explore(lease.EVERY_RULE | {shortcut}, lease.BREAKS[shortcut]), LEASE_BREAKS[shortcut])


@pytest.mark.parametrize("rule", wake.RULES)
def test_wake_breaks_without(rule: str) -> None:
    assert_broken(wake.explore(wake.EVERY_RULE - {rule}, wake.BREAKS[rule]), WAKE_BREAKS[rule])


@pytest.mark.parametrize("rule", local_wake.RULES)
def test_local_wake_breaks_without(rule: str) -> None:
    finding = local_wake.explore(local_wake.EVERY_RULE - {rule}, local_wake.BREAKS[rule])
    assert_broken(finding, LOCAL_BREAKS[rule])


@pytest.mark.parametrize("shortcut", local_wake.SHORTCUTS)
def test_local_wake_breaks_with(shortcut: str) -> None:
    """Not even a claim that passes on what it leaves behind makes up for them."""
    rules = local_wake.EVERY_RULE | local_wake.SPARE.keys() | {shortcut}
    assert_broken(local_wake.explore(rules, local_wake.BREAKS[shortcut]), LOCAL_BREAKS[shortcut])


def test_without_the_counter_idle_claims_wake_each_other_for_ever() -> None:
    finding = local_wake.explore(local_wake.EVERY_RULE - {"counter_only"}, local_wake.Bounds())
    assert_broken(finding, "P4")
    assert not any(step.startswith(("put", "delay", "resume")) for step in finding.trace)


# Everything: the largest takes minutes, the suite's own limit is for tests that hang


@pytest.mark.faults_full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("run", lease.RUNS)
def test_lease_holds(run: str) -> None:
    assert_held(lease.explore(lease.EVERY_RULE, lease.RUNS[run]))


@pytest.mark.faults_full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("run", wake.RUNS)
def test_wake_holds(run: str) -> None:
    assert_held(wake.explore(wake.EVERY_RULE, wake.RUNS[run]))


@pytest.mark.faults_full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("run", local_wake.RUNS)
@pytest.mark.parametrize("spare", [frozenset(), frozenset(local_wake.SPARE)], ids=["", "pass_on"])
def test_local_wake_holds(run: str, spare: frozenset[str]) -> None:
    assert_held(local_wake.explore(local_wake.EVERY_RULE | spare, local_wake.RUNS[run]))
