"""Reading a queue's jobs in portions that cost no more than is said, however many jobs there are."""

from collections.abc import Callable

import msgspec

from surefoot.brokers.answers import Page, Record
from surefoot.brokers.broker import Find
from surefoot.client.queue import Queue
from surefoot.core.names import State

_PORTION = 100


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What a scan found, how many records it read for it, and where to go on: None at the end."""

    records: list[Record]
    read: int
    cursor: str | None


async def scan(
    queue: Queue,
    state: State | None,
    wanted: Callable[[Record], bool] | None = None,
    *,
    cursor: str | None = None,
    enough: int = 50,
    most: int = 1_000,
) -> Scan:
    """Records that are wanted, newest first in each state: until `enough` are found or `most` are read.

    It stops where a page of the store ends, so that the cursor leaves nothing out; so it may find a few more.
    """
    found: list[Record] = []
    read = 0
    portion = enough if wanted is None else _PORTION
    while True:
        page: Page
        (page,) = await queue.sessions.ask([Find(queue.full_name, state, cursor, min(portion, most - read))])
        read += len(page.records)
        found += page.records if wanted is None else [record for record in page.records if wanted(record)]
        cursor = page.cursor
        if cursor is None or len(found) >= enough or read >= most:
            return Scan(records=found, read=read, cursor=cursor)
