"""What the forms change: pause, cancel, mend and requeue, run again, bulk actions with their count, crons."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from tests.dashboard.stage import Shop, Visitor

from surefoot import Queue

MEND = '{"address": "mended@b.c"}'


def asked(html: str) -> dict[str, Any]:
    """What a confirmation sends again."""
    fields: dict[str, Any] = {}
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', html.partition("<main")[2]):
        fields.setdefault(name, []).append(value)
    return fields


def ended(visitor: Visitor, where: str) -> str:
    """The words of an operation's page once it is over."""
    until = time.monotonic() + 60
    while "Ended" not in (said := visitor.words(where)):
        assert time.monotonic() < until, said
        time.sleep(0.05)
    return said


def test_pause_with_a_reason_and_resume(shop: Shop) -> None:
    with shop.site() as visitor:
        where = visitor.send("/do/pause", queue="mail", reason="provider down")
        assert where == "/queue?name=mail&done=paused"
        paused = shop.mail.stats_sync().paused
        assert paused is not None
        assert paused.reason == "provider down"
        said = visitor.words(where)
        assert said.startswith("The queue is paused.")
        assert "provider down" in said
        visitor.send("/do/resume", queue="mail")
        assert shop.mail.stats_sync().paused is None
        assert "resume" in visitor.words("/changes")


def test_a_queue_that_is_not_shown_cannot_be_changed(shop: Shop) -> None:
    other = Queue(shop.url, name="secret")
    other.pause_sync()
    with shop.site() as visitor:
        assert "there is no queue 'secret' here" in visitor.send("/do/resume", status=400, queue="secret")
    assert other.stats_sync().paused is not None


def test_cancel_one(shop: Shop) -> None:
    handle = shop.welcome.options(delay=99).enqueue_sync("a@b.c")
    with shop.site() as visitor:
        where = visitor.send("/do/cancel", queue="mail", id=handle.id)
        assert visitor.words(where).startswith("1 job cancelled or asked to stop.")
    assert handle.status_sync() == "cancelled"


def test_cancel_those_chosen_after_a_confirmation_with_their_number(shop: Shop) -> None:
    handles = [shop.welcome.options(delay=99).enqueue_sync(f"{n}@b.c") for n in range(3)]
    chosen = [handle.id for handle in handles[:2]]
    with shop.site() as visitor:
        html = visitor.client.post(
            "/ask",
            data={"queue": "mail", "do": "cancel selected", "id": chosen},
            headers={"Origin": "http://testserver"},
        ).text
        assert "Cancel 2 jobs of queue mail?" in html
        assert [handle.status_sync() for handle in handles] == ["scheduled"] * 3
        visitor.send("/do/cancel", **asked(html))
    assert [handle.status_sync() for handle in handles] == ["cancelled", "cancelled", "scheduled"]


def test_mend_the_arguments_and_requeue(shop: Shop) -> None:
    (id,) = shop.dead("nobody")
    with shop.site() as visitor:
        where = visitor.send("/do/edit", queue="mail", id=id, arguments=MEND, then="requeue")
        assert visitor.words(where).startswith("1 job requeued.")
    shop.work()
    assert (shop.job(id).state, shop.job(id).arguments) == ("completed", {"address": "mended@b.c"})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("{", "the arguments are no JSON"),
        ("[1]", "the arguments are a JSON object"),
        ('{"address": 5}', "welcome() got 5 (an int) for 'address'"),
        ('{"address": "a", "lang": "x"}', "welcome() has no parameter 'lang'"),
        ("{}", "the argument 'address' cannot be taken out"),
        ('{"address": NaN}', "the arguments are no JSON"),
    ],
)
def test_arguments_that_do_not_fit_change_nothing(shop: Shop, arguments: str, said: str) -> None:
    (id,) = shop.dead("nobody")
    with shop.site() as visitor:
        assert said in visitor.send("/do/edit", status=400, queue="mail", id=id, arguments=arguments, then="requeue")
    assert (shop.job(id).state, shop.job(id).arguments) == ("dead", {"address": "nobody"})


def test_run_again_is_a_new_job(shop: Shop) -> None:
    handle = shop.welcome.options(headers={"trace": "1"}).enqueue_sync("a@b.c")
    shop.work()
    with shop.site() as visitor:
        where = visitor.send("/do/again", queue="mail", id=handle.id, arguments=MEND)
    again = shop.job(re.findall(r"id=(\w+)", where)[0])
    assert again.id != handle.id
    assert (again.arguments, again.headers, again.state) == ({"address": "mended@b.c"}, {"trace": "1"}, "pending")


def test_requeue_one_delete_one(shop: Shop) -> None:
    one, other = shop.dead("x", "y")
    with shop.site() as visitor:
        visitor.send("/do/requeue", queue="mail", id=one)
        assert shop.job(one).state == "pending"
        html = visitor.send("/ask", status=200, queue="mail", id=other, do="delete selected")
        assert "Delete 1 dead letter of queue mail?" in html
        assert shop.job(other).state == "dead"
        visitor.send("/do/delete", queue="mail", id=other)
    assert shop.mail.get_sync(other) is None


def test_all_that_match_are_requeued_and_later_deaths_are_not_meant(shop: Shop) -> None:
    before = shop.dead("nobody1", "nobody2", "x")
    with shop.site() as visitor:
        answer = visitor.client.post(
            "/ask",
            data={"queue": "mail", "do": "requeue matching", "error": "nobody"},
            headers={"Origin": "http://testserver"},
        )
        assert "Requeue 2 dead letters of queue mail?" in answer.text
        (later,) = shop.dead("nobody3")
        where = visitor.send("/do/requeue", **asked(answer.text))
        assert where.startswith("/operation?id=")
        assert "2 of 2 requeued." in ended(visitor, where)
    assert [shop.job(id).state for id in (*before, later)] == ["pending", "pending", "dead", "dead"]


def test_at_a_rate_with_progress(shop: Shop) -> None:
    ids = shop.dead(*(f"nobody{n}" for n in range(8)))
    with shop.site() as visitor:
        answer = visitor.client.post(
            "/ask", data={"queue": "mail", "do": "requeue matching"}, headers={"Origin": "http://testserver"}
        )
        where = visitor.send("/do/requeue", **asked(answer.text), per_second="40")
        assert "8 of 8 requeued." in ended(visitor, where)
    assert {shop.job(id).state for id in ids} <= {"pending", "scheduled"}


def test_delete_all_of_a_queue(shop: Shop) -> None:
    shop.dead("x", "y")
    with shop.site() as visitor:
        answer = visitor.client.post(
            "/ask", data={"queue": "mail", "do": "delete matching"}, headers={"Origin": "http://testserver"}
        )
        assert "They are forgotten for good." in answer.text
        where = visitor.send("/do/delete", **asked(answer.text))
        assert "2 of 2 deleted." in ended(visitor, where)
    assert shop.mail.dead.count_sync() == 0


@pytest.mark.parametrize(
    ("path", "form", "said"),
    [
        ("/ask", {"queue": "mail", "do": "requeue selected"}, "no job is chosen"),
        ("/ask", {"queue": "mail", "do": "requeue everything"}, "does not say what is to be done"),
        ("/do/requeue", {"queue": "mail"}, "does not say which dead letters are meant"),
        ("/do/delete", {"queue": "mail"}, "does not say which dead letters are meant"),
        ("/do/requeue", {"queue": "mail", "id": "x", "per_second": "fast"}, "'fast' is not a number"),
        ("/do/requeue", {"queue": "mail", "id": "x", "per_second": "-1", "until_ms": "1", "count": "1"}, ""),
        ("/do/edit", {"queue": "mail"}, "names no job"),
        ("/do/again", {"queue": "mail", "id": "zz", "arguments": "{}"}, "does not know job zz"),
        ("/do/cron-run", {"queue": "mail", "cron": "nothing"}, "does not say its arguments"),
        ("/do/pause", {"queue": "mail", "reason": "x" * 501}, "longer than 500"),
    ],
)
def test_forms_that_make_no_sense_change_nothing(shop: Shop, path: str, form: dict[str, str], said: str) -> None:
    (id,) = shop.dead("x")
    with shop.site() as visitor:
        answer = visitor.client.post(path, data=form, headers={"Origin": "http://testserver"})
        if said:
            assert (answer.status_code, said.replace("'", "&#39;") in answer.text) == (400, True), answer.text
        else:
            assert "give a number" in ended(visitor, answer.headers["location"])
    assert shop.job(id).state == "dead"


def test_crons(shop: Shop) -> None:
    with shop.site() as visitor:
        visitor.send("/do/cron-pause", queue="mail", cron="nightly", reason="rebuilt")
        assert "paused: rebuilt Resume" in visitor.words("/crons")
        visitor.send("/do/cron-resume", queue="mail", cron="nightly")
        assert "paused" not in visitor.words("/crons")
        where = visitor.send("/do/cron-run", queue="mail", cron="nightly")
        assert visitor.words(where).startswith("The job is enqueued.")
        again = visitor.send("/do/cron-run", status=400, queue="mail", cron="nightly")
        assert "the last job of cron 'nightly' is not over" in again
    assert [job.task for job in shop.mail.find_sync(state="pending")] == ["nightly"]


def test_the_trail_names_each_change(shop: Shop) -> None:
    (id,) = shop.dead("x")
    with shop.site() as visitor:
        visitor.send("/do/edit", queue="mail", id=id, arguments=MEND)
        visitor.send("/do/requeue", queue="mail", id=id)
        said = visitor.words("/changes")
    assert re.search(rf"dashboard@testclient requeue 1 mail {id} .*dashboard@testclient edit 1 mail {id}", said), said
