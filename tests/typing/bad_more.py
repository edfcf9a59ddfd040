"""Roads that the other files do not take: twins, options, registering, letters."""
from datetime import datetime

from surefoot import Key, Queue, Retry

q = Queue(name="q")
Queue(names="q")                                                # BAD misspelt option
Queue(when_full="drop")                                         # BAD not a word
Queue(max_length="10")                                          # BAD

@q.task(retries=3)                                              # BAD another library's word
def one(a: int) -> int: return a

@q.task(timeout="30s")                                          # BAD
def two(a: int) -> int: return a

@q.task(retry=3)                                                # BAD
def three(a: int) -> int: return a

@q.cron("* * * * *", overlap="never")                           # BAD
def four() -> None: ...

@q.task
def work(a: int, *, b: str = "") -> int: return a

q.add(len)                                                      # BAD not a task
work.options(priority="urgent")                                 # BAD
work.options(delay="5")                                         # BAD
work.options(countdown=5)                                       # BAD
work.options(key=3)                                             # BAD
Key("k", until="never")                                         # BAD
Retry(max_attempts="3")                                         # BAD
work.delay(1)                                                   # BAD another library's method
work.handle(3)                                                  # BAD
work.cron("* * * * *").with_args(1)                             # BAD a name is needed
value: str = work.enqueue_sync(1).result_sync()                 # BAD
q.enqueue_sync(work)                                            # BAD a task is no draft
q.enqueue_many_sync([work])                                     # BAD
q.find_sync(state="waiting")                                    # BAD
q.cancel_sync(1)                                                # BAD
q.dead.find_sync(reason="tired")                                # BAD
q.dead.find_sync(since="1d")                                    # BAD
work.handle("id").reschedule_sync(at="now")                     # BAD
q.stats_sync().waiting                                          # BAD
work.draft(1).id = "x"                                          # BAD frozen

async def use() -> None:
    q.stats()                                                   # BAD a forgotten await
    q.dead.delete("id")                                         # BAD
    work.handle("id").status()                                  # BAD
    await q.explain()                                           # BAD
    await work.options(at=datetime(2026, 1, 1)).enqueue("a")    # BAD
