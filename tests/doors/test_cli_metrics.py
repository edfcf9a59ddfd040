"""metrics: the store's figures once, or for whoever scrapes; in text that Prometheus reads."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.doors.cli_shop import Shop, clean_environment, eventually


@pytest.fixture
def shop(any_shop: Shop) -> Shop:
    return any_shop


def values(text: str) -> dict[str, float]:
    return {
        f"{sample.name} {' '.join(sorted(sample.labels.values()))}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_each_queue_is_told_with_or_without_its_application(shop: Shop) -> None:
    shop.queue("mail").by_name("welcome").enqueue_sync(address="ann@example.com")
    shop.queue("billing").pause_sync()
    for words in (["shop"], ["--url", shop.url]):
        ran = shop.here("metrics", *words)
        assert (ran.code, ran.err) == (0, "")
        told = values(ran.out)
        assert told["surefoot_queue_jobs mail pending"] == 1
        assert told["surefoot_queue_jobs billing pending"] == 0
        assert (told["surefoot_queue_paused mail"], told["surefoot_queue_paused billing"]) == (0, 1)
    assert "queue_jobs billing" not in "".join(values(shop.here("metrics", "shop:mail").out))


def answer(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as got:
            return str(got.read().decode())
    except OSError:
        return ""


def test_it_serves_until_ctrl_c(shop: Shop) -> None:
    shop.queue("mail").by_name("welcome").enqueue_sync(address="ann@example.com")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    words = [sys.executable, "-m", "surefoot.cli.main", "metrics", "shop", "--listen", str(port)]
    process = subprocess.Popen(words, cwd=shop.folder, env=clean_environment(), stderr=subprocess.PIPE, text=True)
    try:
        eventually(lambda: answer(port, "/healthz") == "ok\n")
        assert values(answer(port, "/metrics"))["surefoot_queue_jobs mail pending"] == 1
        shop.queue("mail").by_name("welcome").enqueue_sync(address="bob@example.com")
        assert values(answer(port, "/metrics"))["surefoot_queue_jobs mail pending"] == 2
    finally:
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert said == f"surefoot: http://127.0.0.1:{port}/metrics; Ctrl-C ends it.\n\n"


def test_a_port_that_is_taken_is_a_sentence(shop: Shop, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = shop.here("metrics", "shop", "--listen", str(port))
    assert ran.code == 2
    assert ran.err == (
        f"surefoot: nothing can listen on 127.0.0.1:{port} (Address already in use); give --listen another. "
        "See `surefoot metrics --help`.\n"
    )
    assert shop.here("metrics", "shop", "--listen", "http").err == (
        "surefoot: invalid value for '--listen': 'http' is not a port; write 8080, or 0.0.0.0:8080. "
        "See `surefoot metrics --help`.\n"
    )
