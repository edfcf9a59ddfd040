"""Put: what becomes of a job on its way in. Keys have a file of their own."""

from tests.conformance.stores import QUEUE, Hand, Store, envelope, ids, new, words

from surefoot.brokers.broker import Put
from surefoot.core.job import NO_COUNTS, After, At, NewJob
from surefoot.core.transition import Finish, Park


def test_a_job_is_pending_as_it_came(producer: Hand, store: Store) -> None:
    assert words(producer.put(new("a", priority=2))) == ["created"]
    record = producer.record("a")
    assert (record.state, record.body, record.enqueued_ms) == ("pending", envelope("a"), store.now)
    assert (record.priority, record.key, record.counts) == (2, None, NO_COUNTS)
    assert (record.due_ms, record.lease_ms, record.finished_ms, record.parked_ms) == (None, None, None, None)
    assert (record.reason, record.cancel, record.note, record.errors, record.result) == (None, None, None, (), None)


def test_the_body_is_opaque_to_the_store(producer: Hand, worker: Hand) -> None:
    for place, body in enumerate((b"\x00\xff\xfe", b"", b"a\nb c\n", '{"ä":[]}'.encode())):
        producer.put(NewJob(str(place), body))
        assert producer.record(str(place)).body == body
        assert worker.claim().jobs[0].body == body


def test_a_body_of_a_megabyte_comes_back_whole(producer: Hand, worker: Hand) -> None:
    body = bytes(range(256)) * 4_096
    producer.put(NewJob("a", body))
    assert worker.claim().jobs[0].body == producer.record("a").body == body


def test_an_id_may_hold_spaces_quotes_and_any_letter(producer: Hand, worker: Hand) -> None:
    strange = ("a b", "it's", '"', "%", "ü/→", "{x}", "-1", "x" * 128)
    assert words(producer.put(*(new(id) for id in strange))) == ["created"] * len(strange)
    assert ids(worker.claim()) == list(strange)
    assert [producer.record(id).id for id in strange] == list(strange)


def test_an_empty_put_is_answered_with_nothing(producer: Hand) -> None:
    assert producer.put() == []


def test_D9_the_same_id_is_stored_once_wherever_it_stands(producer: Hand) -> None:
    producer.kill("dead")
    producer.complete("completed")
    producer.take("processing")
    producer.end(producer.take("parked"), Park("task:welcome"), None)
    producer.end(producer.take("expired"), Finish("expired"), None)
    producer.put(new("cancelled"))
    producer.cancel("cancelled")
    producer.put(new("pending"), new("scheduled", due=After(9_000)))
    states = ("dead", "completed", "processing", "parked", "expired", "cancelled", "pending", "scheduled")
    for id in states:
        assert producer.state(id) == id
        before = producer.get(id)
        assert words(producer.put(NewJob(id, b"other"))) == ["exists"]
        assert producer.get(id) == before


def test_an_id_that_comes_twice_in_one_put_is_stored_once(producer: Hand) -> None:
    assert words(producer.put(new("a"), NewJob("a", b"other"))) == ["created", "exists"]
    assert producer.record("a").body == envelope("a")


def test_an_id_is_free_again_when_its_job_is_forgotten(producer: Hand, worker: Hand) -> None:
    producer.complete("a", keep_ms=0)
    assert producer.state("a") == "unknown"
    assert words(producer.put(new("a"))) == ["created"]


def test_a_job_due_later_is_scheduled(producer: Hand, store: Store) -> None:
    producer.put(new("after", due=After(5_000)), new("at", due=At(store.now + 1)))
    assert [producer.record(id).due_ms for id in ("after", "at")] == [store.now + 5_000, store.now + 1]
    assert [producer.state(id) for id in ("after", "at")] == ["scheduled", "scheduled"]


def test_a_due_time_that_is_over_is_now(producer: Hand, store: Store) -> None:
    producer.put(new("after", due=After(0)), new("at", due=At(store.now)), new("past", due=At(store.now - 9_000)))
    for id in ("after", "at", "past"):
        record = producer.record(id)
        assert (record.state, record.due_ms, record.counts.due_set_ms) == ("pending", None, None)


def test_a_higher_priority_goes_first_and_within_one_the_first(producer: Hand, worker: Hand) -> None:
    producer.put(*(new(f"{priority}-{n}", priority=priority) for n in (1, 2) for priority in (9, 5, 0, 8, 2)))
    producer.put(new("2-3", priority=2))
    expected = ["0-1", "0-2", "2-1", "2-2", "2-3", "5-1", "5-2", "8-1", "8-2", "9-1", "9-2"]
    assert ids(worker.claim(4)) + ids(worker.claim()) == expected


def test_a_full_queue_refuses_what_is_beyond_and_stores_the_rest(producer: Hand) -> None:
    assert words(producer.put(new("a"), new("b"), new("c"), max_length=2)) == ["created", "created", "full"]
    assert producer.state("c") == "unknown"
    assert words(producer.put(new("a"), new("c"), max_length=2)) == ["exists", "full"]


def test_scheduled_and_parked_jobs_take_room_and_running_ones_do_not(producer: Hand, worker: Hand) -> None:
    producer.put(new("runs"))
    worker.claim()
    assert words(producer.put(new("later", due=After(9_000)), new("now"), max_length=2)) == ["created", "created"]
    assert words(producer.put(new("more", due=After(9_000)), max_length=2)) == ["full"]


def test_a_length_of_zero_lets_nothing_in(producer: Hand) -> None:
    assert words(producer.put(new("a"), max_length=0)) == ["full"]


def test_an_id_that_was_refused_does_not_count_as_stored(producer: Hand) -> None:
    assert words(producer.put(new("a"), new("a"), max_length=0)) == ["full", "full"]
    assert words(producer.put(new("a"))) == ["created"]


def test_queues_do_not_see_each_other(store: Store) -> None:
    mail, images = store.hand("shop:mail"), store.hand("shop:images")
    mail.put(new("a"))
    assert images.get("a") is None
    assert words(images.put(NewJob("a", b"other"))) == ["created"]
    assert (mail.record("a").body, images.record("a").body) == (envelope("a"), b"other")
    assert ids(images.claim()) == ["a"]
    assert mail.state("a") == "pending"


def test_five_hundred_jobs_go_in_one_put(producer: Hand, worker: Hand) -> None:
    many = [new(f"{n:03}") for n in range(500)]
    assert words(producer.say(Put(QUEUE, tuple(many)))) == ["created"] * 500
    assert ids(worker.claim(500)) == [job.id for job in many]
