"""DeadLetters: the jobs of one queue that will not be tried again by themselves: find, requeue, edit, delete."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, get_args

import msgspec
from msgspec import Raw

from surefoot.brokers.answers import Page, Record
from surefoot.brokers.broker import VERB_LIMIT, Amend, Delete, Find, Get, Requeue
from surefoot.client.groups import DeadGroup, Groups
from surefoot.client.handle import Home
from surefoot.client.look import ask_stats, choose, chunks, count_of, pages, span
from surefoot.client.operation import Ask, Sessions, Steps, operation, twin
from surefoot.client.records import job_of, newest_error, task_of
from surefoot.client.who import who
from surefoot.core.codec import NewerEnvelope, UnreadableEnvelope, amend_envelope, decode_envelope, encode_json
from surefoot.core.errors import ConfigError, JobNotFound, UsageError
from surefoot.core.job import Job
from surefoot.core.names import DeadReason, did_you_mean

_REASONS: tuple[DeadReason, ...] = get_args(DeadReason)
_SPREAD_MOST_US = 100 * 365 * 86_400 * 1_000_000


class _Filter:
    """Which letters are meant. `error` is a part of the kind or the message, in any case; the span is of the deaths."""

    def __init__(
        self,
        door: str,
        task: str | None,
        error: str | None,
        reason: DeadReason | None,
        since: datetime | None,
        until: datetime | None,
    ) -> None:
        if reason is not None and reason not in _REASONS:
            raise UsageError(
                f"{door}(reason={reason!r}): there is no such reason{did_you_mean(reason, _REASONS) or '.'}"
            )
        self._task, self._reason = task, reason
        self._error = None if error is None else error.casefold()
        self._since_ms, self._until_ms = span(door, since, until)
        self.given = {"task": task, "error": error, "reason": reason, "since": since, "until": until}

    def wants(self, record: Record) -> bool:
        """Whether this letter is meant."""
        died_ms = record.finished_ms or 0
        return (
            (self._reason is None or record.reason == self._reason)
            and (self._since_ms is None or died_ms >= self._since_ms)
            and (self._until_ms is None or died_ms <= self._until_ms)
            and (self._task is None or task_of(record) == self._task)
            and (self._error is None or self._says(record, self._error))
        )

    def _says(self, record: Record, words: str) -> bool:
        error = newest_error(record)
        return error is not None and (words in error.kind.casefold() or words in error.message.casefold())

    @property
    def open(self) -> bool:
        """Whether all letters are meant."""
        return all(value is None for value in self.given.values())


class DeadLetters:
    """The jobs of one queue that will not be tried again by themselves.

    A verb for many without ids or filters needs everything=True.
    """

    def __init__(self, home: Home) -> None:
        self._home = home

    @property
    def sessions(self) -> Sessions:
        """The ways to the store."""
        return self._home.sessions

    @property
    def spoken(self) -> str:
        """How this is written in code."""
        return f"{self._home.spoken}.dead"

    @operation
    def find(
        self,
        *,
        task: str | None = None,
        error: str | None = None,
        reason: DeadReason | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
    ) -> Steps[list[Job]]:
        """Dead letters, newest first; reads at most 10,000. `error`: a part of the kind or the message, any case."""
        chosen = _Filter("find", task, error, reason, since, until)
        records = yield from pages(self._home, "dead", chosen.wants, count_of("find", limit))
        return [job_of(record, self._home.name, self._home.specs) for record in records]

    find_sync = twin(find)

    @operation
    def count(
        self,
        *,
        task: str | None = None,
        error: str | None = None,
        reason: DeadReason | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Steps[int]:
        """How many dead letters there are; with a filter all are read."""
        chosen = _Filter("count", task, error, reason, since, until)
        if chosen.open:
            return (yield from ask_stats(self._home)).dead
        count, cursor = 0, None
        while True:
            page: Page
            [page] = yield Ask((Find(self._home.full_name, "dead", cursor, VERB_LIMIT),))
            count += sum(map(chosen.wants, page.records))
            cursor = page.cursor
            if cursor is None:
                return count

    count_sync = twin(count)

    @operation
    def groups(
        self,
        *,
        task: str | None = None,
        error: str | None = None,
        reason: DeadReason | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
    ) -> Steps[list[DeadGroup]]:
        """What they died of, the most frequent first: by task and error, numbers and ids in it aside. All are read."""
        chosen = _Filter("groups", task, error, reason, since, until)
        most, found = count_of("groups", limit), Groups()
        cursor = None
        while True:
            page: Page
            [page] = yield Ask((Find(self._home.full_name, "dead", cursor, VERB_LIMIT),))
            found.take(record for record in page.records if chosen.wants(record))
            cursor = page.cursor
            if cursor is None:
                return found.largest(most)

    groups_sync = twin(groups)

    @operation
    def requeue(
        self,
        *ids: str,
        task: str | None = None,
        error: str | None = None,
        reason: DeadReason | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        everything: bool = False,
        per_second: float | None = None,
    ) -> Steps[int]:
        """Try dead letters again: failures and crashes start at 0; how many. At most `per_second` of them a second come
        due; until then they are scheduled, so that their pace outlives this process.

        One whose key another job took meanwhile stays dead and is not counted.
        """
        chosen = _Filter("requeue", task, error, reason, since, until)
        choose(f"{self.spoken}.requeue", ids, chosen.given, everything)
        if per_second is not None and not per_second > 0:
            raise ConfigError(f"requeue(per_second={per_second!r}): give a number > 0.")
        letters = ids or (yield from self._ids(chosen))
        apart_us = 0 if per_second is None else max(1, math.ceil(1_000_000 / per_second))
        if len(letters) * apart_us > _SPREAD_MOST_US:
            raise ConfigError(
                f"requeue(per_second={per_second!r}): {len(letters):,} letters would need over 100 years."
            )
        count = 0
        for some in chunks(letters):
            first_ms = count * apart_us // 1_000
            [words] = yield Ask((Requeue(self._home.full_name, some, who(), apart_us, first_ms),))
            count += sum(one.word == "requeued" for one in words)
        return count

    requeue_sync = twin(requeue)

    @operation
    def edit(self, id: str, /, **arguments: Any) -> Steps[Job]:
        """Change the named arguments of a letter, checked as at enqueue. It stays dead, with its id and its counts."""
        home = self._home
        [[record]] = yield Ask((Get(home.full_name, (id,)),))
        if record is None:
            raise JobNotFound(f"queue '{home.name}' does not know job {id}.", job_id=id, queue=home.name)
        if record.state != "dead":
            raise _not_dead(id, record.state)
        payload, schema = self._edited(record, arguments)
        [word] = yield Ask((Amend(home.full_name, id, amend_envelope(record.body, payload, schema), who()),))
        if word != "amended":
            raise _not_dead(id, "no longer dead")
        [[record]] = yield Ask((Get(home.full_name, (id,)),))
        if record is None:
            raise JobNotFound(f"queue '{home.name}' no longer knows job {id}.", job_id=id, queue=home.name)
        return job_of(record, home.name, home.specs)

    edit_sync = twin(edit)

    @operation
    def delete(
        self,
        *ids: str,
        task: str | None = None,
        error: str | None = None,
        reason: DeadReason | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        everything: bool = False,
    ) -> Steps[int]:
        """Forget dead letters for good; how many."""
        chosen = _Filter("delete", task, error, reason, since, until)
        choose(f"{self.spoken}.delete", ids, chosen.given, everything)
        letters = (yield from self._dead_of(ids)) if ids else (yield from self._ids(chosen))
        count = 0
        for some in chunks(letters):
            [gone] = yield Ask((Delete(self._home.full_name, some, who()),))
            count += sum(gone)
        return count

    delete_sync = twin(delete)

    def _ids(self, chosen: _Filter) -> Steps[list[str]]:
        """All letters that are meant, the oldest first: they died in this order and go back in it."""
        ids: list[str] = []
        cursor = None
        while True:
            page: Page
            [page] = yield Ask((Find(self._home.full_name, "dead", cursor, VERB_LIMIT),))
            ids += [record.id for record in page.records if chosen.wants(record)]
            cursor = page.cursor
            if cursor is None:
                return ids[::-1]

    def _dead_of(self, ids: Sequence[str]) -> Steps[list[str]]:
        """Those of these ids that are dead: Delete itself would take a waiting job too."""
        dead: list[str] = []
        for some in chunks(ids):
            [records] = yield Ask((Get(self._home.full_name, some),))
            dead += [record.id for record in records if record is not None and record.state == "dead"]
        return dead

    def _edited(self, record: Record, arguments: dict[str, Any]) -> tuple[bytes, int]:
        """The arguments of a letter with these changes, and the version they have then."""
        try:
            envelope = decode_envelope(record.body)
            merged: dict[str, Any] = msgspec.json.decode(envelope.payload, type=dict[str, Any])
        except (NewerEnvelope, UnreadableEnvelope, msgspec.MsgspecError):
            raise UsageError(f"job {record.id} cannot be read here, so its arguments cannot be changed.") from None
        spec = self._home.specs.get(envelope.task) or self._home.declared.get(envelope.task)
        schema = envelope.schema
        if spec is not None and spec.upcast is not None and schema < spec.schema:
            merged = spec.upcast(schema, merged)
            schema = spec.schema
        merged |= {name: Raw(encode_json(value)) for name, value in arguments.items()}
        payload = encode_json(merged)
        if spec is not None:
            spec.signature.load(payload)
            schema = spec.schema
        return payload, schema


def _not_dead(id: str, state: str) -> UsageError:
    return UsageError(f"job {id} is {state}; only a dead letter can be edited.")
