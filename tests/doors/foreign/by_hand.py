"""Enqueues jobs over a plain socket as docs/protocol.md says: script, keys and arguments are the page's.

A program in another language, written in Python: it uses nothing of surefoot.
"""

import hashlib
import json
from typing import Any

from tests.doors.foreign import page
from tests.servers import Conversation, Refusal

Words = dict[str, Any]


def enqueue(port: int, queue: str, call: Words) -> Words:
    """Say a call; its answers, or its error."""
    [script] = page.fenced(page.section("Redis: calling put"), "lua")
    script = script.removesuffix("\n")
    tables = page.tables()
    keys = [f"{{{queue}}}:{name}" for _, name in tables["place", "key"]]
    named = {"now": 0, "max_length": -1, "keep_ms": 300_000, "many": len(call["jobs"]), **call}
    given = [named[name] for _, name, *_ in tables["place", "name", "type", "meaning"] if name != "rest"]
    rest = [len(keys), *keys, *given, *[word for job in call["jobs"] for word in words(**job)]]
    with Conversation(port) as talk:
        try:
            try:
                answer = talk.say("EVALSHA", hashlib.sha1(script.encode()).hexdigest(), *rest)
            except Refusal as refusal:
                if not str(refusal).startswith("NOSCRIPT"):
                    raise
                answer = talk.say("EVAL", script, *rest)
        except Refusal as refusal:
            return {"error": str(refusal)}
    return {"answers": answer.decode().split("\n")}


def words(
    *,
    id: str,
    task: str,
    payload: Words,
    options: Words | None = None,
    headers: dict[str, str] | None = None,
    key: str | None = None,
    delayMs: int | None = None,
    priority: int = 5,
    until: str | int = "done",
    duplicate: str = "",
) -> list[str | int]:
    """The eight words of a job."""
    options = {**(options or {}), **({} if delayMs is None else {"delay_ms": delayMs})}
    said = {"options": options, "headers": headers, "key": key}
    envelope = {"version": 1, "id": id, "task": task, "payload": payload, **{a: b for a, b in said.items() if b}}
    unique = "" if key is None else f"{task} {key}"
    traits: Words = {} if priority == 5 else {"priority": priority}
    if unique:
        traits["unique"] = unique
        if until != "done":
            traits["unique_until"] = until
    due = "" if delayMs is None else f"+{delayMs}"
    plain = "" if not traits else json.dumps(traits)
    return [id, json.dumps(envelope), due, priority, unique, until if unique else "", duplicate, plain]


class Listener(Conversation):
    """A connection that hears of the end of jobs."""

    def listen(self, queue: str) -> None:
        """Subscribe, and wait until the server has confirmed it."""
        confirmed = self.say("SUBSCRIBE", f"{{{queue}}}:done")
        assert confirmed[0] == b"subscribe"

    def hear(self) -> list[str]:
        """The ids of the next message."""
        kind, _, ids = self._reply()
        assert kind == b"message"
        return str(ids.decode()).split("\n")
