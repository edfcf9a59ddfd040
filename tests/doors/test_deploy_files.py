"""The files of deploy/: read as their tools read them, and held against what the worker really says and does."""

from __future__ import annotations

import configparser
import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import promql_parser
import pytest
import yaml
from prometheus_client.core import Metric

from surefoot import Event, Queue, Worker
from surefoot.cli.main import commands
from surefoot.core.job import moment
from surefoot.health import Health
from surefoot.metrics import StoreMetrics, WorkerMetrics

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
DRAIN_S = inspect.signature(Worker).parameters["drain"].default
PROBES = {"/healthz", "/readyz", "/metrics"}


def parsed(words: list[str]) -> dict[str, Any]:
    """The options of a command line of ours, as it would understand them."""
    assert Path(words[0]).name == "surefoot"
    command = commands.commands[words[1]]
    context = command.make_context(words[1], words[2:])
    assert isinstance(context, click.Context)
    assert context.params["target"] in ("shop.worker:worker", ("shop.worker:worker",))
    return dict(context.params)


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def seconds(text: str) -> float:
    (number,) = re.findall(r"^(\d+)s?$", str(text))
    return float(number)


# --- the unit ---


def test_the_unit_is_understood_by_systemd(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not here")
    unit = tmp_path / "surefoot-worker.service"
    unit.write_text((DEPLOY / unit.name).read_text().replace("/srv/shop/.venv/bin/surefoot", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if unit.name in line]
    assert not ours, done.stderr


def test_the_unit_starts_our_command_and_waits_longer_than_its_drain() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign] # the names of systemd have capitals
    unit.read(DEPLOY / "surefoot-worker.service")
    service = unit["Service"]
    options = parsed(service["ExecStart"].split())
    assert options["health"] == ("127.0.0.1", 8080) and options["processes"] == 2
    assert seconds(service["TimeoutStopSec"]) > DRAIN_S
    assert service["Type"] == "notify" and service["KillMode"] == "mixed"


# --- containers ---


def test_the_dockerfile_has_no_fault() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    if hadolint.exists():
        subprocess.run([hadolint, "--failure-threshold", "warning", DEPLOY / "Dockerfile"], check=True)
    (command,) = re.findall(r"^CMD (.*)$", (DEPLOY / "Dockerfile").read_text(), re.M)
    assert parsed(json.loads(command))["health"] == ("0.0.0.0", 8080)


def test_compose_starts_our_commands_and_waits_longer_than_the_drain() -> None:
    [compose] = documents("compose.yaml")
    services = compose["services"]
    assert seconds(services["worker"]["stop_grace_period"]) > DRAIN_S
    assert parsed(services["metrics"]["command"])["listen"] == ("0.0.0.0", 9464)
    for name in ("worker", "metrics"):
        assert services[name]["environment"] == {"SUREFOOT_URL": "redis://store:6379/0"}
        assert services[name]["depends_on"] == {"store": {"condition": "service_healthy"}}
    probe = services["worker"]["healthcheck"]["test"]
    assert probe[:3] == ["CMD", "python", "-c"]
    compile(probe[3], "compose.yaml", "exec")
    store = services["store"]["command"]
    settings = dict(zip(store[1::2], store[2::2], strict=True))
    assert settings["--appendonly"] == "yes" and settings["--maxmemory-policy"] == "noeviction"


def test_the_probe_of_compose_fails_where_the_worker_is_not_alive() -> None:
    [compose] = documents("compose.yaml")
    probe = compose["services"]["worker"]["healthcheck"]["test"][3]
    alive = True
    health = Health("127.0.0.1", 0, alive=lambda: alive, ready=lambda: True, pages={})
    health.start()
    asked = [sys.executable, "-c", probe.replace("8080", str(health.port))]
    try:
        assert subprocess.run(asked, check=False).returncode == 0
        alive = False
        assert subprocess.run(asked, check=False, capture_output=True).returncode == 1
    finally:
        health.close()


# --- Kubernetes ---


@pytest.mark.parametrize("place", range(len(documents("kubernetes.yaml"))))
def test_the_manifests_are_what_kubernetes_knows(place: int) -> None:
    kubernetes_validate.validate(documents("kubernetes.yaml")[place], "1.33", strict=True)


def pods() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for document in documents("kubernetes.yaml"):
        if document["kind"] == "Deployment":
            spec = document["spec"]["template"]["spec"]
            yield document, spec
            assert document["spec"]["selector"]["matchLabels"] == document["spec"]["template"]["metadata"]["labels"]


def test_probes_ask_what_the_worker_answers_and_the_grace_is_longer_than_its_drain() -> None:
    names = []
    for document, spec in pods():
        [container] = spec["containers"]
        options = parsed(container["command"])
        listens = options["health"] if container["name"] == "worker" else options["listen"]
        [port] = container["ports"]
        assert listens == ("0.0.0.0", port["containerPort"])
        probes = [value for key, value in container.items() if key.endswith("Probe")]
        assert probes and {probe["httpGet"]["path"] for probe in probes} <= PROBES
        assert {probe["httpGet"]["port"] for probe in probes} == {port["name"]}
        annotations = document["spec"]["template"]["metadata"]["annotations"]
        assert annotations["prometheus.io/path"] in PROBES
        assert annotations["prometheus.io/port"] == str(port["containerPort"])
        names.append(container["name"])
    assert names == ["worker", "metrics"]
    worker = next(pods())[1]
    assert worker["terminationGracePeriodSeconds"] > DRAIN_S


# --- metrics: what rules and boards ask for exists ---


def exported() -> dict[str, set[str]]:
    """All that is exported, by the names of its samples, with their labels."""
    queue = Queue("sqlite:///:memory:", name="mail")
    workers = WorkerMetrics()
    for kind, details in (("started", {"waited": 0.1}), ("failed", {}), ("dead", {"duration": 0.1})):
        workers(Event(kind=kind, at=moment(0), queue="mail", job_id="1", task="welcome", details=details))  # type: ignore[arg-type] # three words of the kinds
    families: list[Metric] = [*workers.collect(), *StoreMetrics(queue).collect()]
    queue.close_sync()
    return {
        name: set(sample.labels)
        for family in families
        for sample in family.samples
        for name in (sample.name, sample.name.removesuffix("_created"))
    }


def expressions() -> list[str]:
    rules = [rule["expr"] for group in documents("alerts.yaml")[0]["groups"] for rule in group["rules"]]
    board = json.loads((DEPLOY / "grafana.json").read_text())
    panels = [target["expr"].replace("$queue", ".*") for panel in board["panels"] for target in panel["targets"]]
    scaled = [trigger["metadata"]["query"] for trigger in documents("keda.yaml")[0]["spec"]["triggers"]]
    return rules + panels + scaled


def selectors(node: Any) -> Iterator[Any]:
    """All vector selectors below a node of a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for word in ("expr", "lhs", "rhs", "vector_selector", "args", "param"):
        below = getattr(node, word, None)
        for one in below if isinstance(below, list) else [below]:
            if one is not None:
                yield from selectors(one)


@pytest.mark.parametrize("expression", expressions())
def test_what_a_rule_asks_for_is_exported(expression: str) -> None:
    known = exported()
    found = list(selectors(promql_parser.parse(expression)))
    assert found
    for selector in found:
        assert selector.name in known, f"{selector.name} is not exported"
        for matcher in selector.matchers.matchers:
            assert matcher.name in known[selector.name], f"{selector.name} has no label {matcher.name}"


def test_labels_that_rules_group_by_and_write_about_exist() -> None:
    for group in documents("alerts.yaml")[0]["groups"]:
        for rule in group["rules"]:
            grouped = set(re.findall(r"\w+", " ".join(re.findall(r" by \(([^)]*)\)", rule["expr"]))))
            written = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
            assert written <= grouped, rule["alert"]


def test_promtool_agrees(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not here")
    subprocess.run(["promtool", "check", "rules", DEPLOY / "alerts.yaml"], check=True, capture_output=True)


def test_the_board_has_a_place_for_each_panel() -> None:
    board = json.loads((DEPLOY / "grafana.json").read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24
        taken |= cells


def test_workers_are_scaled_by_what_waits_and_what_runs() -> None:
    [scaled] = documents("keda.yaml")
    [trigger] = scaled["spec"]["triggers"]
    assert "pending|processing" in trigger["metadata"]["query"]
    assert scaled["spec"]["scaleTargetRef"]["name"] == documents("kubernetes.yaml")[0]["metadata"]["name"]
    assert float(trigger["metadata"]["threshold"]) <= inspect.signature(Worker).parameters["concurrency"].default
