"""What the pages say: numbers, states, one job's life, groups of dead letters, workers, crons; hostile text as text."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

import pytest
from tests.dashboard.stage import HOSTILE, Shop, older, words

from surefoot import Key
from surefoot.brokers.broker import Beat
from surefoot.client.presence import CronLine, PresenceInfo
from surefoot.dashboard.app import PAGES


def beat(shop: Shop, **said: Any) -> None:
    """A worker that says this of itself."""
    known = {"name": "web-1", "host": "vm", "pid": 7, "version": "1", "queues": ("mail",), "concurrency": 4, **said}
    shop.mail.sessions.ask_sync([Beat(shop.mail.full_name, "w" * 16, PresenceInfo(**known).encode())])


def row(html: str, name: str) -> str:
    """The words of a queue's line on the first page."""
    return next(words(line) for line in re.findall(r"<tr id.*?</tr>", html, re.DOTALL) if f"name={name}" in line)


def test_the_first_page_has_all_that_is_asked_at_three_in_the_morning(shop: Shop) -> None:
    shop.dead("x1", "x2")
    shop.welcome.enqueue_sync("a@b.c")
    shop.welcome.options(delay=3600).enqueue_sync("later@b.c")
    shop.billing.pause_sync("card provider down")
    shop.close_month.enqueue_sync("may")
    beat(shop, running=3)
    with shop.site() as visitor:
        html = visitor.page("/")
    mail, billing = row(html, "mail"), row(html, "billing")
    assert re.fullmatch(r".*mail 1 [\d.]+ m?s 1 0 0 2 \d+ \d+ 1", mail), mail
    assert "billing paused: card provider down 1" in billing
    cards = words(html.partition("<main")[2].partition("</section>")[0])
    assert "Busy slots 3 of 4 1 worker" in cards
    assert re.search(r"Oldest waiting [\d.]+ m?s", cards)
    assert cards.endswith("Dead 2")


def test_a_queue_that_waits_for_a_worker_says_so(file_shop: Shop) -> None:
    file_shop.welcome.enqueue_sync("a@b.c")
    with file_shop.site() as visitor:
        assert "no worker" in row(visitor.page("/"), "mail")


def test_one_queue(shop: Shop) -> None:
    shop.dead("x")
    beat(shop, running=1, tasks=("welcome",))
    with shop.site() as visitor:
        said = visitor.words("/queue", name="mail")
        assert "web-1:7 vm" in said
        assert "1/4 welcome" in said
        assert "completed" in said
        assert "Pause" in said
        assert visitor.words("/queue", status=400, name="male").endswith(
            "there is no queue 'male' here; did you mean 'mail'? Overview"
        )


@pytest.mark.parametrize("state", ["pending", "scheduled", "dead", "completed", "cancelled"])
def test_jobs_by_state(shop: Shop, state: str) -> None:
    ids = {"dead": shop.dead("x")[0], "completed": shop.welcome.enqueue_sync("a@b.c").id}
    shop.work()
    ids["pending"] = shop.welcome.enqueue_sync("b@b.c").id
    ids["scheduled"] = shop.welcome.options(delay=99).enqueue_sync("c@b.c").id
    gone = shop.welcome.options(delay=99).enqueue_sync("d@b.c")
    gone.cancel_sync("not needed")
    ids["cancelled"] = gone.id
    with shop.site() as visitor:
        html = visitor.page("/jobs", queue="mail", state=state)
    assert [id for id in ids.values() if f"id={id}" in html] == [ids[state]]


def test_a_filter_reads_a_bounded_number_of_jobs_and_says_so(shop: Shop) -> None:
    shop.mail.enqueue_many_sync([shop.welcome.draft(f"a{n}@b.c") for n in range(1_250)])
    shop.billing.enqueue_sync(shop.close_month.draft("may"))
    with shop.site() as visitor:
        html = visitor.page("/jobs", queue="mail", state="pending", task="nothing")
        assert "1,000 jobs read on this page for the filter; older ones are not looked at yet." in words(html)
        link = older(html)
        assert link is not None
        rest = visitor.page(link)
        assert "250 jobs read on this page for the filter." in words(rest)
        assert older(rest) is None


def test_older_pages_show_every_job_once(shop: Shop) -> None:
    handles = shop.mail.enqueue_many_sync([shop.welcome.draft(f"a{n}@b.c") for n in range(130)])
    seen: list[str] = []
    with shop.site() as visitor:
        path: str | None = "/jobs?queue=mail&state=pending"
        while path is not None:
            html = visitor.page(path)
            seen += re.findall(r'name="id" value="([^"]*)"', html)
            path = older(html)
    assert sorted(seen) == sorted(handle.id for handle in handles)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/jobs", {"queue": "mail", "state": "gone"}),
        ("/jobs", {"queue": "mail", "cursor": "zzz"}),
        ("/jobs", {"queue": "mail", "since": "1y"}),
        ("/dead", {"queue": "mail", "cursor": "["}),
        ("/history", {"span": "-1"}),
        ("/operation", {"id": "zz"}),
    ],
)
def test_words_that_make_no_sense_are_refused_in_a_sentence(shop: Shop, path: str, query: dict[str, str]) -> None:
    shop.welcome.enqueue_sync("a@b.c")
    with shop.site() as visitor:
        assert "Not done" in visitor.words(path, status=400, **query)


def test_the_life_of_a_job(shop: Shop) -> None:
    (id,) = shop.dead("nobody")
    with shop.site() as visitor:
        said = visitor.words("/job", queue="mail", id=id)
    order = ["Enqueued", "Attempt 1 failed", "Attempt 2 failed", "Dead"]
    places = [said.partition("Life")[2].index(word) for word in order]
    assert places == sorted(places)
    assert said.count("ValueError: no address: nobody") >= 2
    assert "Traceback (most recent call last)" in said
    assert "exhausted" in said
    assert '"address": "nobody"' in said


def test_a_completed_job_has_its_result_and_can_be_found_by_its_id(shop: Shop) -> None:
    handle = shop.welcome.options(headers={"trace": "abc"}).enqueue_sync("a@b.c")
    shop.work()
    with shop.site() as visitor:
        answer = visitor.client.get("/find", params={"id": f" {handle.id} "})
        assert answer.headers["location"] == f"/job?queue=mail&id={handle.id}"
        said = visitor.words("/job", queue="mail", id=handle.id)
        assert 'Result "sent to a@b.c"' in said
        assert '"trace": "abc"' in said
        assert "Run again" in said
        visitor.page("/find", status=404, id="nothing")
        visitor.page("/job", status=404, queue="mail", id="nothing")


def test_dead_letters_are_grouped_by_what_killed_them(shop: Shop) -> None:
    shop.dead(*(f"nobody{n}" for n in range(5)), "x")
    for month in ("may", "june"):
        shop.close_month.enqueue_sync(month)
    shop.reject.enqueue_sync("not ours")
    shop.work()
    with shop.site() as visitor:
        html = visitor.page("/dead")
        groups = [words(line) for line in re.findall(r"<tr tabindex.*?</tr>", html, re.DOTALL)]
        assert any(re.match(r"5 welcome ValueError no address: nobody# exhausted", line) for line in groups), groups
        link = re.search(r'href="(/dead\?queue=mail[^"]*)">5<', html)
        assert link is not None
        inside = visitor.page(unescape(link[1]))
        assert len(re.findall(r'name="id" value', inside)) == 5
        assert "Requeue all that match" in inside
        assert len(re.findall(r'name="id" value', visitor.page("/dead", queue="mail", error="nobody3"))) == 1
        assert "No dead letter matches" in visitor.words("/dead", queue="mail", error="teapot")


def test_workers_and_what_they_have_in_hand(shop: Shop) -> None:
    beat(shop, running=1, tasks=("welcome", "nightly"))
    with shop.site() as visitor:
        said = visitor.words("/workers")
        assert "web-1:7" in said
        assert "2 tasks nightly, welcome" in said
        assert "Nothing in hand" in said


def test_crons_in_words(shop: Shop) -> None:
    beat(shop, crons=("pulse",), cron_lines=(CronLine("pulse", "beat", "every 30 s", interval_ms=30_000),))
    with shop.site() as visitor:
        said = visitor.words("/crons")
    assert "nightly mail At 06:00 on Monday through Friday 0 6 * * mon-fri Europe/Paris" in said
    assert "no worker has it Pause Run now" in said
    assert "pulse beat mail Every 30 s" in said


@pytest.mark.parametrize("span", ["1h", "6h", "1d", "7d", "30d"])
def test_history_with_the_times_of_waiting_and_running(shop: Shop, span: str) -> None:
    shop.dead("x")
    with shop.site() as visitor:
        html = visitor.page("/history", span=span)
    assert "dead 1" in words(html)
    assert re.search(r"waiting p50 [\d.]+ m?s waiting p95 .* running p99 [\d.]+ m?s", words(html))
    assert re.findall(r'aria-label="([a-z]+)[^"]*last', html) == ["jobs", "jobs", "waiting", "running"]


def hostile(shop: Shop) -> dict[str, str]:
    """Hostile words in every field that takes words; the ids of jobs in which they are."""
    ids = {"dead": shop.dead(HOSTILE)[0]}
    wild = shop.welcome.options(id=f"id-{HOSTILE}", key=Key(HOSTILE), headers={HOSTILE: HOSTILE}, delay=99)
    ids["wild"] = wild.enqueue_sync(HOSTILE).id
    done = shop.welcome.options().enqueue_sync(f"{HOSTILE}@b.c")
    shop.work()
    ids["done"] = done.id
    rejected = shop.reject.enqueue_sync(HOSTILE)
    shop.work()
    ids["rejected"] = rejected.id
    gone = shop.welcome.options(delay=99).enqueue_sync("d@b.c")
    gone.cancel_sync(HOSTILE)
    ids["cancelled"] = gone.id
    shop.mail.pause_sync(HOSTILE)
    lines = (CronLine(HOSTILE, HOSTILE, HOSTILE, HOSTILE), CronLine("soon", HOSTILE, "* * * * *"))
    beat(
        shop, name=HOSTILE, host=HOSTILE, version=HOSTILE, queues=(HOSTILE,), tasks=(HOSTILE,), crons=("soon",),
        cron_lines=lines[1:],
    )  # fmt: skip
    return ids


def pages_of(ids: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
    """Every page that could show them."""
    jobs = [("/job", {"queue": "billing" if name == "rejected" else "mail", "id": id}) for name, id in ids.items()]
    states = [("/jobs", {"queue": "mail", "state": state}) for state in ("scheduled", "dead", "completed", "cancelled")]
    words = {"task": HOSTILE, "error": HOSTILE, "queue": "mail"}
    rest = [("/dead", words), ("/dead", {}), ("/dead", {"queue": "billing"}), ("/queue", {"name": "mail"})]
    wrong = [("/queue", {"name": HOSTILE}), ("/jobs", {"queue": "mail", "state": HOSTILE}), ("/find", {"id": HOSTILE})]
    return [
        *jobs,
        *states,
        *rest,
        *wrong,
        *((f"/{name}", {}) for name in PAGES if name not in ("queue", "job", "jobs")),
    ]


def test_S3_hostile_words_are_text_on_every_page(shop: Shop) -> None:
    ids = hostile(shop)
    shown = 0
    with shop.site() as visitor:
        for path, query in pages_of(ids):
            html = visitor.client.get(path, params=query).text
            assert "<img" not in html, (path, query)
            assert "49" not in re.findall(r"onerror[^<]{0,80}", html), (path, query)
            assert '"document.title=' not in html, (path, query)
            shown += "&lt;img" in html
    assert shown >= 12


def test_a_message_cannot_be_put_on_a_page_by_a_link(file_shop: Shop) -> None:
    with file_shop.site() as visitor:
        queries: list[dict[str, Any]] = [
            {"done": "call 0800 evil"},
            {"done": "requeued", "count": "1 <b>"},
            {"done": "requeued"},
        ]
        for query in queries:
            assert 'class="notice"' not in visitor.page("/", **query)
        assert "3 jobs requeued." in visitor.page("/", done="requeued", count="3")
