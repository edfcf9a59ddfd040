"""The dashboard in a real Chromium: each page and action, hostile text, keys, dark, phone, the live view. S3, S4."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from tests.dashboard.browser import Seen, apart, dashboard, no_browser, shoot
from tests.dashboard.stage import HOSTILE, Shop
from tests.dashboard.test_pages import hostile, pages_of

from surefoot import Worker, current_job

pytestmark = pytest.mark.skipif(no_browser() is not None, reason=str(no_browser()))

DARK = {"color_scheme": "dark", "viewport": {"width": 1180, "height": 760}}
KNOWN = {"http_credentials": {"username": "ann", "password": "secret", "send": "unauthorized"}}
PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True}
APP = """
from tests.dashboard.stage import Shop
shop = Shop("URL")
mail, billing = shop.mail, shop.billing
"""


@pytest.fixture
def site(file_shop: Shop, page: Seen, tmp_path: Path) -> Iterator[Seen]:
    """The page at a dashboard that has the application's code."""
    (tmp_path / "app.py").write_text(APP.replace("URL", file_shop.url))
    with dashboard(tmp_path, "app", PYTHONPATH=str(Path(__file__).parents[2])) as base:
        page.base = base
        yield page
        page.page.close()  # its live view, before the server ends


def background(seen: Seen) -> str:
    return str(seen.page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_S3_hostile_words_run_nothing_on_any_page(file_shop: Shop, site: Seen) -> None:
    ids = apart(lambda: hostile(file_shop))
    shown = 0
    for path, query in pages_of(ids):
        asked = site.page.evaluate("query => new URLSearchParams(query).toString()", query)
        site.page.goto(f"{site.base}{path}?{asked}", wait_until="domcontentloaded")
        site.page.wait_for_timeout(60)
        assert "broken" not in site.page.title(), path
        assert site.page.query_selector("img") is None, path
        shown += HOSTILE.split(" ")[0] in site.text()
    assert shown >= 12
    # A fault page is an error of the server's, which the console repeats.
    site.faults = [line for line in site.faults if "Failed to load resource" not in line]
    site.sound()


def test_mend_a_dead_letter_and_run_it_again(file_shop: Shop, site: Seen, request: pytest.FixtureRequest) -> None:
    apart(lambda: file_shop.dead("nobody1", "nobody2", "nobody3"))
    (id,) = apart(lambda: file_shop.dead("ann.example.com"))
    site.go("/")
    site.page.get_by_role("link", name="4", exact=True).click()
    site.page.wait_for_url("**/dead?queue=mail")
    shoot(site, "dead", request.config)
    site.page.get_by_role("link", name=id).click()
    site.page.wait_for_url("**/job?**")
    site.page.wait_for_selector(".life .bad")
    shoot(site, "job", request.config)
    site.page.get_by_text("Traceback", exact=True).first.click()
    assert "Traceback (most recent call last)" in site.text()
    site.page.fill("textarea", '{"address": "ann@example.com"}')
    site.click("Save and requeue")
    assert "1 job requeued." in site.text()
    apart(lambda: file_shop.work())
    site.page.wait_for_selector(".state.completed")  # the live view shows it
    assert '"sent to ann@example.com"' in site.text()
    site.page.reload()
    site.click("Run again as a new job")
    assert "The job is enqueued." in site.text()
    site.sound()


def test_requeue_chosen_ones_and_all_that_match(file_shop: Shop, site: Seen, request: pytest.FixtureRequest) -> None:
    ids = apart(lambda: file_shop.dead(*(f"nobody{n}" for n in range(5)), "x"))
    site.go("/dead?queue=mail")
    button = site.page.get_by_role("button", name="Requeue chosen")
    assert button.is_disabled()
    site.page.check(f'input[value="{ids[0]}"]')
    site.page.check(f'input[value="{ids[1]}"]')
    site.click("Requeue chosen (2)")
    assert "Requeue 2 dead letters of queue mail?" in site.text()
    site.click("Requeue 2 dead letters")
    assert "2 jobs requeued." in site.text()
    site.page.fill('input[name="error"]', "nobody")
    site.click("Filter")
    site.click("Requeue all that match")
    assert "Requeue 3 dead letters of queue mail?" in site.text()
    shoot(site, "confirm", request.config)
    site.page.fill('input[name="per_second"]', "30")
    site.click("Requeue 3 dead letters")
    site.page.wait_for_selector("text=3 of 3 requeued.")  # progress, live
    assert apart(lambda: file_shop.mail.dead.count_sync()) == 1
    site.go("/dead?queue=mail")
    site.page.check("[data-all]")
    site.click("Delete chosen (1)")
    site.click("Delete 1 dead letter")
    assert apart(lambda: file_shop.mail.dead.count_sync()) == 0
    site.sound()


def test_pause_resume_cancel_and_crons(file_shop: Shop, site: Seen, request: pytest.FixtureRequest) -> None:
    handle = apart(lambda: file_shop.welcome.options(delay=900).enqueue_sync("a@b.c"))
    site.go("/queue?name=mail")
    site.page.fill('input[name="reason"]', "card provider down")
    site.click("Pause")
    assert "The queue is paused." in site.text()
    assert "card provider down" in site.text()
    site.click("Resume")
    assert "The queue goes on." in site.text()
    site.go("/jobs?queue=mail&state=scheduled")
    site.page.check("[data-all]")
    site.click("Cancel chosen (1)")
    site.page.fill('input[name="reason"]', "no longer needed")
    site.click("Cancel 1 job")
    assert apart(lambda: handle.status_sync()) == "cancelled"
    assert "no longer needed" in site.text()
    site.go("/crons")
    assert "At 06:00 on Monday through Friday" in site.text()
    shoot(site, "crons", request.config)
    site.click("Pause")
    assert "The cron is paused" in site.text()
    site.click("Resume")
    site.click("Run now")
    assert "The job is enqueued." in site.text()
    site.go("/changes")
    assert site.text().count("dashboard@127.0.0.1") == 5
    site.sound()


def test_the_live_view_its_pause_and_a_worker_at_work(
    file_shop: Shop, site: Seen, request: pytest.FixtureRequest
) -> None:
    site.go("/")
    apart(lambda: file_shop.welcome.enqueue_sync("a@b.c"))
    site.page.wait_for_selector('a[href*="state=pending"]:has-text("1")')  # without a reload
    site.page.click("#pause-live")
    assert site.page.inner_text("#live-state") == "paused"
    apart(lambda: file_shop.welcome.enqueue_sync("b@b.c"))
    site.page.wait_for_timeout(3_000)
    assert site.page.query_selector('a[href*="state=pending"]:has-text("2")') is None
    site.page.keyboard.press("p")
    site.page.wait_for_selector('a[href*="state=pending"]:has-text("2")')
    site.sound()


def test_what_runs_now_is_seen(file_shop: Shop, site: Seen, request: pytest.FixtureRequest) -> None:
    shop = file_shop

    @shop.mail.task(name="export")
    async def export(pages: int) -> None:
        current_job().progress(pages // 3, pages, "pages")
        await asyncio.sleep(600)

    drafts = [shop.close_month.draft(month) for month in ("april", "may", "june")]
    apart(lambda: shop.billing.enqueue_many_sync(drafts))
    apart(lambda: shop.dead("nobody", "x", "y"))
    apart(lambda: shop.billing.pause_sync("card provider down"))
    apart(lambda: shop.close_month.enqueue_sync("july"))
    handle = apart(lambda: export.enqueue_sync(300))

    async def looked_at() -> None:
        async with Worker(shop.mail, concurrency=8, name="web-1", drain=0):
            await asyncio.get_running_loop().run_in_executor(None, ran.wait, 60)

    import threading

    ran = threading.Event()
    working = threading.Thread(target=lambda: asyncio.run(looked_at()))
    working.start()
    try:
        site.go(f"/job?queue=mail&id={handle.id}")
        site.page.wait_for_selector("text=Attempt 1 is running")
        site.page.wait_for_selector("text=100 of 300 pages", timeout=30_000)
        site.go("/")
        site.page.wait_for_selector("text=1 of 8")
        shoot(site, "overview", request.config)
        site.go("/workers")
        assert "export" in site.text()
        shoot(site, "workers", request.config)
        site.go("/history")
        shoot(site, "history", request.config)
        site.go("/queue?name=mail")
        shoot(site, "queue", request.config)
    finally:
        ran.set()
        working.join(60)
    site.sound()


def test_by_keys_alone(file_shop: Shop, site: Seen) -> None:
    ids = apart(lambda: file_shop.dead("nobody1", "nobody2"))
    press = site.page.keyboard.press
    site.go("/")
    press("?")
    assert site.page.is_visible("#keys")
    press("Escape")
    press("g")
    press("d")
    site.page.wait_for_url("**/dead")
    site.go("/dead?queue=mail")
    site.page.wait_for_selector("tr[tabindex]")
    for _ in range(2):
        press("j")
    press("x")
    assert site.page.get_by_role("button", name="Requeue chosen (1)").is_enabled()
    press("Enter")
    site.page.wait_for_url("**/job?**")
    press("/")
    site.page.keyboard.type(ids[0])
    press("Enter")
    site.page.wait_for_url(f"**/job?queue=mail&id={ids[0]}")
    site.page.keyboard.press("Tab")
    assert site.page.evaluate("document.activeElement !== document.body")
    site.sound()


@pytest.mark.parametrize("page", [DARK], indirect=True)
def test_dark(file_shop: Shop, site: Seen, request: pytest.FixtureRequest) -> None:
    apart(lambda: file_shop.dead("x"))
    site.go("/")
    red, green, blue = (int(part) for part in background(site).removeprefix("rgb(").rstrip(")").split(","))
    assert red + green + blue < 150
    shoot(site, "overview-dark", request.config)
    site.page.emulate_media(color_scheme="light")
    assert background(site) != f"rgb({red}, {green}, {blue})"
    site.sound()


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_on_a_phone_nothing_is_wider_than_the_screen(
    file_shop: Shop, site: Seen, request: pytest.FixtureRequest
) -> None:
    (id,) = apart(lambda: file_shop.dead("nobody-with-a-very-long-name" * 12))
    for path in ("/", "/dead?queue=mail", f"/job?queue=mail&id={id}", "/workers", "/crons", "/history", "/changes",
                 "/queue?name=mail", "/jobs?queue=mail&state=dead"):  # fmt: skip
        site.go(path)
        wide = site.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 390, (path, wide)
    site.go("/")
    shoot(site, "phone", request.config)
    site.sound()


def test_without_scripts_everything_can_be_read_and_changed(file_shop: Shop, site: Seen) -> None:
    (id,) = apart(lambda: file_shop.dead("x"))
    browser = site.page.context.browser
    assert browser is not None
    context = browser.new_context(java_script_enabled=False)
    bare = Seen(context.new_page(), site.base)
    bare.go("/dead?queue=mail")
    assert "UTC" in bare.text()
    bare.page.check(f'input[value="{id}"]')
    bare.click("Requeue chosen")
    bare.click("Requeue 1 dead letter")
    assert apart(lambda: file_shop.job(id).state) == "pending"
    context.close()


def test_S4_a_page_of_another_site_changes_nothing(file_shop: Shop, site: Seen, tmp_path: Path) -> None:
    """A form and a fetch of a page that the same browser has open, from another origin (a file)."""
    apart(lambda: file_shop.welcome.enqueue_sync("a@b.c"))
    evil = tmp_path / "evil.html"
    evil.write_text(
        f'<form method="post" action="{site.base}/do/pause"><input name="queue" value="mail"></form>'
        "<script>document.forms[0].submit()</script>"
    )
    with site.page.expect_navigation(url="**/do/pause"):
        site.page.goto(evil.as_uri())
    assert "This change" in site.page.inner_text("body")
    assert apart(lambda: file_shop.mail.stats_sync()).paused is None


@pytest.mark.parametrize("page", [KNOWN], indirect=True)
def test_S4_with_a_password_the_browser_asks_for_it(file_shop: Shop, page: Seen, tmp_path: Path) -> None:
    apart(lambda: file_shop.welcome.enqueue_sync("a@b.c"))
    secret = {"SUREFOOT_DASHBOARD_PASSWORD": "secret"}
    with dashboard(tmp_path, "--url", file_shop.url, "--host", "0.0.0.0", **secret) as base:
        page.base = base.replace("0.0.0.0", "127.0.0.1")
        with pytest.raises(HTTPError) as refused:
            urlopen(page.base)
        assert refused.value.code == 401
        refused.value.close()
        page.go("/queue?name=mail")
        page.click("Pause")
        page.go("/changes")
        assert "ann@127.0.0.1" in page.text()
        page.page.close()
    assert apart(lambda: file_shop.mail.stats_sync()).paused is not None
