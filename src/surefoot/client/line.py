"""Jobs on their way in: drafts as the store takes them, which of them may travel in one Put, and the line in front of a
session, where what producers ask for waits while a call is on its way.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from surefoot.brokers.broker import BYTES_LIMIT, PUT_LIMIT, Put, Verb
from surefoot.client.caller import for_verbs
from surefoot.core.codec import encode_envelope
from surefoot.core.errors import StoreError
from surefoot.core.job import Draft, NewJob


def new_job(draft: Draft[Any], created_ms: int) -> NewJob:
    """A draft as a put or a tick carries it. `created_ms` is for people: ages are told by the store's clock."""
    key = draft.key
    unique = None if key is None else key.unique(draft.task)
    return NewJob(draft.id, encode_envelope(draft, created_ms), draft.due, draft.priority, unique)


class Parcel:
    """Jobs that may travel in one Put: so many, so many bytes, and no replacement beside what it replaces."""

    __slots__ = ("_bytes", "_keys", "jobs")

    def __init__(self) -> None:
        self.jobs: list[NewJob] = []
        self._bytes = 0
        self._keys: set[str] = set()

    def add(self, jobs: Sequence[NewJob]) -> bool:
        """Take all of these jobs in, or none of them. The first that are added always fit."""
        size = self._bytes
        for job in jobs:
            size += len(job.envelope)
            if job.unique is not None and job.unique.replace and job.unique.key in self._keys:
                return False
        if self.jobs and (len(self.jobs) + len(jobs) > PUT_LIMIT or size > BYTES_LIMIT):
            return False
        for job in jobs:
            if job.unique is not None:
                self._keys.add(job.unique.key)
        self._bytes = size
        self.jobs.extend(jobs)
        return True


class Asked:
    """One verb in line, and whoever waits for its answer. `until` is on the clock that counts a suspended machine."""

    __slots__ = ("answer", "until", "verb")

    def __init__(self, verb: Verb[Any], answer: "asyncio.Future[list[Any]]", until: float) -> None:
        self.verb: Verb[Any] = verb
        self.answer: asyncio.Future[list[Any]] = answer
        self.until: float = until


class Bundle:
    """What of a line becomes one call: one verb of a kind a queue, and all Puts of a queue that fit as one of them."""

    def __init__(self, line: Sequence[Asked]) -> None:
        self.verbs: list[Verb[Any]] = []
        self.taken: list[Asked] = []
        self.rest: list[Asked] = []
        self._shares: list[tuple[int, slice | None]] = []
        self._kinds: set[tuple[type[Verb[Any]], str]] = set()
        self._parcels: dict[str, tuple[int, Put, Parcel]] = {}
        self._closed: set[str] = set()
        for asked in line:
            if asked.answer.done():  # cancelled while it stood in line
                continue
            share = self._put(asked.verb) if type(asked.verb) is Put else self._other(asked.verb)
            if share is None:
                self.rest.append(asked)
            else:
                self.taken.append(asked)
                self._shares.append(share)
        for place, first, parcel in self._parcels.values():
            if len(parcel.jobs) > len(first.jobs):
                self.verbs[place] = msgspec.structs.replace(first, jobs=tuple(parcel.jobs))

    def _put(self, put: Put) -> tuple[int, slice] | None:
        """Once a Put of a queue has to wait, the later ones wait behind it: jobs keep their order."""
        queue = put.queue
        if queue in self._closed:
            return None
        found = self._parcels.get(queue)
        if found is None:
            found = self._parcels[queue] = (len(self.verbs), put, Parcel())
            self.verbs.append(put)
        place, first, parcel = found
        start = len(parcel.jobs)
        alike = first.max_length == put.max_length and first.keep_ms == put.keep_ms and first.replicas == put.replicas
        if not alike or not parcel.add(put.jobs):
            self._closed.add(queue)
            return None
        return place, slice(start, len(parcel.jobs))

    def _other(self, verb: Verb[Any]) -> tuple[int, None] | None:
        kind = (type(verb), verb.queue)
        if kind in self._kinds:
            return None
        self._kinds.add(kind)
        self.verbs.append(verb)
        return len(self.verbs) - 1, None

    def deliver(self, answers: Sequence[Any]) -> None:
        """To each who waits its own answer, out of the answers of the call."""
        for asked, (place, share) in zip(self.taken, self._shares, strict=True):
            if not asked.answer.done():
                answer = answers[place]
                if isinstance(answer, StoreError):
                    answer = for_verbs(answer, [asked.verb])
                elif share is not None and not isinstance(answer, Exception):
                    answer = answer[share]
                asked.answer.set_result([answer])

    def until(self) -> float:
        """When the last of those who wait loses patience."""
        return max(asked.until for asked in self.taken)
