"""Roads that the other files do not take: schedules, twins, by_name, handles, letters, keys."""
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from surefoot import Draft, Explanation, Job, JobHandle, Key, Queue, State, Stats, SyncTask, Task

q = Queue(name="q", max_length=10, when_full="wait", before_enqueue=[lambda draft: draft.with_headers(trace="1")])

@q.task(keep_result=60, aliases=("old",))
async def load(source: str, /, *parts: int, strict: bool = False) -> dict[str, int]: return {source: len(parts)}

@q.every(timedelta(minutes=5), overlap="queue", timeout=10)
def tick(zone: str = "eu") -> None: ...

@q.cron("0 6 * * *", name="nightly", catch_up=timedelta(hours=2))
async def nightly() -> int: return 1

tick.cron("0 7 * * *", name="late").with_args("us")
load.cron("0 8 * * *", name="load-eu", timezone="Europe/Paris", overlap="allow").with_args("eu", 1, 2, strict=True)

async def use() -> None:
    assert_type(load.draft("a", 1, 2), Draft[dict[str, int]])
    assert_type(await load("a", 1), dict[str, int])
    assert_type(await load.options(key=Key("k", until=60, duplicate="raise"), at=datetime.now(UTC)).enqueue("a"), JobHandle[dict[str, int]])
    assert_type(load.handle("id"), JobHandle[dict[str, int]])
    assert_type(await load.handle("id").result(), dict[str, int])
    assert_type(await q.enqueue_many([load.draft("a")]), list[JobHandle[dict[str, int]]])
    assert_type(await q.enqueue(tick.draft("eu")), JobHandle[None])
    assert_type(q.by_name("load"), Task[..., Any])
    await q.by_name("anything").enqueue(a=1)
    assert_type(await q.get("id"), Job | None)
    assert_type(await q.explain("id"), Explanation)
    assert_type(await q.stats(), Stats)
    assert_type(await q.dead.find(task="load", reason="exhausted"), list[Job])
    assert_type(await q.dead.requeue(everything=True, per_second=2.5), int)
    assert_type(await q.cancel("a", "b", reason="no"), int)
    assert_type(await nightly.handle("id").status(), State | None)

def use_sync() -> None:
    assert_type(tick("eu"), None)
    assert_type(tick.enqueue_sync(zone="us"), JobHandle[None])
    assert_type(load.enqueue_sync("a", 1, strict=True).result_sync(timeout=timedelta(seconds=1)), dict[str, int])
    assert_type(q.enqueue_sync(load.draft("a")), JobHandle[dict[str, int]])
    assert_type(q.find_sync(state="pending", limit=3), list[Job])
    assert_type(q.explain_sync("id"), Explanation)
    assert_type(load.handle("id").reschedule_sync(delay=5), bool)
    q.pause_cron_sync("nightly")
    q.pause_sync("why")
    print([minute.failed for minute in q.history_sync(5)], q.dead.edit_sync("id", source="b").arguments)

def takes_any_object(task: SyncTask[..., object]) -> None: ...
takes_any_object(tick)
