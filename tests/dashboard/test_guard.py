"""Who may come in, from where, and what they may do: hosts, passwords, origins, rights, headers. S4."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount
from starlette.testclient import TestClient
from tests.dashboard.stage import OURS, Shop

from surefoot import Queue
from surefoot.core.errors import ConfigError, UsageError
from surefoot.dashboard import Dashboard
from surefoot.dashboard.actions import DOORS
from surefoot.dashboard.app import PAGES

FORM: dict[str, Any] = {"queue": "mail", "reason": "because"}
SOURCE = Path(__file__).parents[2] / "src" / "surefoot" / "dashboard"
PATHS = ["/", "/queue?name=mail", "/jobs?queue=mail", "/dead", "/workers", "/crons", "/history", "/changes", "/nope"]


def paused(shop: Shop) -> bool:
    return shop.mail.stats_sync().paused is not None


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize("path", PATHS)
def test_S4_every_answer_has_a_strict_policy_and_nothing_inline(file_shop: Shop, path: str) -> None:
    with file_shop.site() as visitor:
        answer = visitor.client.get(path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", answer.text)
    assert re.findall(r"<script[^>]*>(.*?)</script>", answer.text, re.DOTALL) == [""]
    assert not re.search(r"""(?:src|href|action)=["'](?:https?:)?//""", answer.text)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://testserver"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://testserver"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://testserver:81"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"},
    ],
)
def test_S4_a_change_from_elsewhere_is_refused(file_shop: Shop, headers: dict[str, str]) -> None:
    with file_shop.site() as visitor:
        said = visitor.send("/do/pause", status=403, headers=headers, **FORM)
        assert "This change" in said
        visitor.send("/ask", status=403, headers=headers, queue="mail", do="delete matching")
    assert not paused(file_shop)


@pytest.mark.parametrize(
    "headers",
    [OURS, {"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://testserver"}, {"Origin": "https://testserver"}],
)
def test_S4_a_change_from_a_page_of_ours_is_made(file_shop: Shop, headers: dict[str, str]) -> None:
    with file_shop.site() as visitor:
        visitor.send("/do/pause", headers=headers, **FORM)
    assert paused(file_shop)


def test_S4_nothing_changes_by_get(file_shop: Shop) -> None:
    (dead,) = file_shop.dead("x")
    with file_shop.site() as visitor:
        for door in DOORS:
            for query in (FORM, {"queue": "mail", "id": dead}):
                answer = visitor.client.get(f"/do/{door}", params=query, headers=OURS)
                assert answer.status_code in (404, 405), door
        assert visitor.client.get("/ask", params={"queue": "mail", "do": "delete matching"}).status_code in (404, 405)
    assert not paused(file_shop)
    assert file_shop.job(dead).state == "dead"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(file_shop: Shop, method: str) -> None:
    with file_shop.site() as visitor:
        assert visitor.client.request(method, "/", headers=OURS).status_code == 405


def test_a_change_is_a_form_of_a_bounded_size(file_shop: Shop) -> None:
    with file_shop.site() as visitor:
        as_json = visitor.client.post("/do/pause", json=FORM, headers=OURS)
        assert as_json.status_code == 415
        large = visitor.client.post("/do/pause", data={"queue": "x" * 3_000_000}, headers=OURS)
        assert large.status_code == 413
    assert not paused(file_shop)


@pytest.mark.parametrize(
    ("host", "status"),
    [("dash.example", 200), ("DASH.example:8420", 200), ("evil.example", 400), ("", 400), ("dash.example.evil", 400),
     ("[::1]:80", 400), ("[", 400)],
)  # fmt: skip
def test_S4_a_forged_host_is_refused(file_shop: Shop, host: str, status: int) -> None:
    with file_shop.site(hosts=["dash.example"]) as visitor:
        assert visitor.client.get("/", headers={"Host": host}).status_code == status


@pytest.mark.parametrize(
    "headers",
    [{}, basic("ann", "wrong"), basic("ann", ""), basic("ann", "secret "), {"Authorization": "Basic ?"},
     {"Authorization": "Bearer secret"}, {"Authorization": "secret"}],
)  # fmt: skip
def test_S4_without_the_password_nothing_is_told(file_shop: Shop, headers: dict[str, str]) -> None:
    with file_shop.site(password="secret") as visitor:
        for path in (*PATHS, "/static/dashboard.css", "/live/overview"):
            answer = visitor.client.get(path, headers=headers)
            assert (answer.status_code, "mail" in answer.text) == (401, False)
            assert answer.headers["www-authenticate"].startswith("Basic")
        visitor.send("/do/pause", status=401, headers=OURS | headers, **FORM)
    assert not paused(file_shop)


def test_with_the_password_any_user_comes_in_and_the_trail_names_it(shop: Shop) -> None:
    with shop.site(password="secrét") as visitor:
        assert visitor.client.get("/", headers=basic("ann", "secrét")).status_code == 200
        visitor.send("/do/pause", headers=OURS | basic("ann", "secrét"), **FORM)
        answer = visitor.client.get("/changes", headers=basic("ann", "secrét"))
    assert paused(shop)
    assert "ann@testclient" in answer.text
    assert "because" in answer.text


def test_an_empty_password_is_refused(file_shop: Shop) -> None:
    with pytest.raises(ConfigError, match="keeps nobody out"):
        Dashboard(file_shop.mail, password="")


def test_read_only_is_the_default_and_is_decided_on_the_server(file_shop: Shop) -> None:
    (dead,) = file_shop.dead("x")
    with TestClient(Dashboard(file_shop.mail), follow_redirects=False) as client:
        for door, (right, _) in DOORS.items():
            answer = client.post(f"/do/{door}", data={"queue": "mail", "id": dead, "arguments": "{}"}, headers=OURS)
            assert (answer.status_code, f"You may not do that ({right})" in answer.text) == (403, True), door
        answer = client.post("/ask", data={"queue": "mail", "do": "delete matching"}, headers=OURS)
        assert answer.status_code == 403
        for path in (f"/job?queue=mail&id={dead}", "/dead?queue=mail", "/queue?name=mail", "/crons"):
            assert 'method="post" action="/do' not in client.get(path).text
    assert file_shop.job(dead).state == "dead"
    assert not paused(file_shop)


def test_rights_are_asked_for_each_action(file_shop: Shop) -> None:
    asked: list[tuple[str, str]] = []

    async def authorise(request: Request, action: str) -> bool:
        asked.append((request.url.path, action))
        return action in ("look", "requeue") or request.headers.get("x-boss") == "yes"

    (dead,) = file_shop.dead("x")
    with file_shop.site(authorise=authorise) as visitor:
        html = visitor.page("/job", queue="mail", id=dead)
        assert "Requeue" in html
        assert "Delete" not in html
        visitor.send("/ask", status=403, queue="mail", do="delete matching")
        visitor.send("/do/delete", status=403, queue="mail", id=dead)
        visitor.send("/do/edit", status=403, queue="mail", id=dead, arguments="{}", then="requeue")
        assert ("/do/delete", "delete") in asked
        visitor.send("/do/delete", headers=OURS | {"x-boss": "yes"}, queue="mail", id=dead)
    assert file_shop.mail.get_sync(dead) is None


def test_an_edit_that_requeues_needs_both_rights(file_shop: Shop) -> None:
    (dead,) = file_shop.dead("x")
    arguments = '{"address": "a@b.c"}'
    with file_shop.site(authorise=lambda request, action: action != "requeue") as visitor:
        visitor.send("/do/edit", status=403, queue="mail", id=dead, arguments=arguments, then="requeue")
        assert file_shop.job(dead).arguments == {"address": "x"}
        visitor.send("/do/edit", queue="mail", id=dead, arguments=arguments)
    assert (file_shop.job(dead).state, file_shop.job(dead).arguments) == ("dead", {"address": "a@b.c"})


def test_who_may_not_look_sees_nothing(file_shop: Shop) -> None:
    with file_shop.site(authorise=lambda request, action: False) as visitor:
        for name in PAGES:
            assert "billing" not in visitor.page(f"/{name}", status=403, name="mail", queue="mail")
        assert visitor.client.get("/live/overview").status_code in (403, 404)
        visitor.page("/find", status=403, id="x")


def test_mounted_in_an_application_whose_start_it_never_hears(file_shop: Shop) -> None:
    file_shop.welcome.enqueue_sync("a@b.c")
    outer = Starlette(routes=[Mount("/admin/queues", Dashboard(file_shop.mail, read_only=False))])
    with TestClient(outer, follow_redirects=False) as client:
        html = client.get("/admin/queues/").text
        links = re.findall(r'(?:href|src|action)="([^"]*)"', html)
        assert {link for link in links if not link.startswith(("/admin/queues/", "#"))} == set()
        assert client.get("/admin/queues/static/dashboard.js").status_code == 200
        answer = client.post("/admin/queues/do/pause", data=FORM, headers=OURS)
        assert answer.headers["location"] == "/admin/queues/queue?name=mail&done=paused"
    assert paused(file_shop)


@pytest.mark.parametrize("given", [{}, {"url": "sqlite:///x.db", "queues": True}])
def test_queues_or_a_url(given: dict[str, Any]) -> None:
    queues = [Queue("sqlite:///:memory:", name="one")] if given.pop("queues", False) else []
    with pytest.raises(UsageError, match="give one of them"):
        Dashboard(*queues, **given)


def test_all_queues_of_a_url_also_those_that_come_later(shop: Shop) -> None:
    shop.welcome.enqueue_sync("a@b.c")
    dashboard = Dashboard(url=shop.url)
    with TestClient(dashboard) as client:
        assert "/queue?name=mail" in client.get("/").text
        assert "/queue?name=billing" not in client.get("/").text
        assert client.get("/queue?name=bulling").status_code == 400
        assert client.portal is not None
        client.portal.call(dashboard.close)


def test_no_file_outside_static_is_served(file_shop: Shop) -> None:
    with file_shop.site() as visitor:
        for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/"):
            answer = visitor.client.get(path)
            assert answer.status_code in (400, 404, 405), path
            assert "import" not in answer.text
        assert visitor.client.get("/static/dashboard.css").headers["content-type"].startswith("text/css")


def test_templates_never_switch_escaping_off() -> None:
    for path in SOURCE.glob("templates/*.html"):
        assert not re.search(r"\|\s*safe|autoescape", path.read_text()), path
