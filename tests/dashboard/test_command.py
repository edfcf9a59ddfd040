"""`surefoot dashboard`: where it listens, what it refuses, how it ends, the live view over a real connection. S4."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError

import pytest
from tests.dashboard.browser import dashboard
from tests.dashboard.stage import Shop
from tests.doors.cli_shop import clean_environment, command

from surefoot.cli.main import run
from surefoot.dashboard.app import PAGES


@pytest.fixture
def url_only(file_shop: Shop, tmp_path: Path) -> Iterator[str]:
    """The dashboard of a bare store."""
    file_shop.welcome.enqueue_sync("a@b.c")
    with dashboard(tmp_path, "--url", file_shop.url) as base:
        yield base


def get(address: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


@contextmanager
def listening(base: str, page: str) -> Iterator[HTTPResponse]:
    """A live view that is open."""
    host, port = base.removeprefix("http://").split(":")
    connection = HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request("GET", f"/live/{page}")
        with connection.getresponse() as answer:
            yield answer
    finally:
        connection.close()


def heard(answer: HTTPResponse) -> tuple[str, str]:
    """The next event of a live view: its kind and its text."""
    kind, lines = "", []
    for raw in answer:
        line = raw.decode().rstrip("\r\n")
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            lines.append(line.removeprefix("data: "))
        elif not line and kind:
            return kind, "\n".join(lines)
    raise AssertionError("the live view ended")


def test_S4_it_listens_on_this_machine_only(url_only: str) -> None:
    assert url_only.startswith("http://127.0.0.1:")
    status, html = get(url_only)
    assert status == 200
    assert "/queue?name=mail" in html
    assert get(url_only, Host="localhost")[0] == 200
    assert get(url_only, Host="dash.evil.example")[0] == 400


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "somewhere.example"])
def test_S4_another_address_needs_a_password(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["dashboard", "--host", host, "--url", "sqlite:///nowhere.db"]) == 2
    assert "there is no password: set SUREFOOT_DASHBOARD_PASSWORD, or give --password-file" in capsys.readouterr().err


def test_a_password_from_a_file(file_shop: Shop, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("open sesame\n")
    file_shop.welcome.enqueue_sync("a@b.c")
    with dashboard(tmp_path, "--url", file_shop.url, "--password-file", str(secret)) as base:
        assert get(base)[0] == 401
        assert get(base, Authorization="Basic YW5uOm9wZW4gc2VzYW1l")[0] == 200
    secret.write_text("\n")
    ran = command(tmp_path, "dashboard", "--url", file_shop.url, "--password-file", str(secret))
    assert (ran.code, "the first line" in ran.err) == (2, True)
    ran = command(tmp_path, "dashboard", "--url", file_shop.url, "--password-file", "nowhere")
    assert (ran.code, "cannot read the password from nowhere" in ran.err) == (2, True)


def test_an_address_in_use_and_a_store_that_is_away_are_sentences(file_shop: Shop, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = command(tmp_path, "dashboard", "--url", file_shop.url, "--port", port)
    assert (ran.code, ran.err) == (
        2, f"surefoot: nothing can listen on 127.0.0.1:{port} (Address already in use); give --host or --port another."
        " See `surefoot dashboard --help`.\n",
    )  # fmt: skip
    assert command(tmp_path, "dashboard", "--url", "redis://127.0.0.1:1/0", "--port", "0").code == 4
    assert command(tmp_path, "dashboard", "nowhere:mail", "--port", "0").code == 3


def test_read_only(file_shop: Shop, tmp_path: Path) -> None:
    (id,) = file_shop.dead("x")
    with dashboard(tmp_path, "--url", file_shop.url, "--read-only") as base:
        assert "read-only" in get(base)[1]
        assert "Requeue" not in get(f"{base}/job?queue=mail&id={id}")[1]
        request = urllib.request.Request(f"{base}/do/requeue", data=f"queue=mail&id={id}".encode())
        request.add_header("Origin", base)
        with pytest.raises(HTTPError) as refused:
            urllib.request.urlopen(request)
        assert refused.value.code == 403
        refused.value.close()
    assert file_shop.job(id).state == "dead"


def test_the_live_view_tells_only_what_is_new(file_shop: Shop, tmp_path: Path) -> None:
    later = file_shop.welcome.options(delay=3600)  # of these nothing on the page changes by itself
    later.enqueue_sync("a@b.c")
    with dashboard(tmp_path, "--url", file_shop.url) as base, listening(base, "overview") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        kind, text = heard(answer)
        assert (kind, "<html" in text) == ("page", False)
        assert 'state=scheduled">1<' in text
        time.sleep(2 * PAGES["overview"].every_s + 1)
        later.enqueue_sync("b@b.c")
        assert 'state=scheduled">2<' in heard(answer)[1]


def test_an_open_live_view_does_not_hold_the_end(file_shop: Shop, tmp_path: Path) -> None:
    file_shop.welcome.enqueue_sync("a@b.c")
    with ExitStack() as later, dashboard(tmp_path, "--url", file_shop.url) as base:
        for page in ("overview", "workers"):
            heard(later.enter_context(listening(base, page)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_exit_code_0(file_shop: Shop, tmp_path: Path, number: signal.Signals) -> None:
    words = [sys.executable, "-m", "surefoot.cli.main", "dashboard", "--url", file_shop.url, "--port", "0"]
    file_shop.welcome.enqueue_sync("a@b.c")
    with subprocess.Popen(
        words, cwd=tmp_path, env=clean_environment(), stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("surefoot: dashboard at http://127.0.0.1:")
        get(line.split()[3].rstrip(";"))
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
        assert process.stderr.read() == ""


def test_json_says_where_it_is(file_shop: Shop, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "surefoot.cli.main", "dashboard", "--url", file_shop.url, "--port", "0", "--json"]
    file_shop.welcome.enqueue_sync("a@b.c")
    with subprocess.Popen(words, cwd=tmp_path, env=clean_environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        process.terminate()
    assert sorted(told) == ["read_only", "url"]
