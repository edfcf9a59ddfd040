"""What the tests of the doctor share: its findings by check, and dumps of whole stores. No case lives here."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
from tests.doors.cli_shop import Ran
from tests.servers import Server


class Found(msgspec.Struct, frozen=True):
    """What one run of the doctor found: its exit code, and the findings of each check."""

    code: int
    checks: dict[str, list[dict[str, Any]]]

    def result(self, check: str) -> str:
        (finding,) = self.checks[check]
        return str(finding["result"])

    def words(self, check: str) -> str:
        """Sentences and ways out of a check."""
        said = [(one["sentence"], one["way_out"]) for one in self.checks[check]]
        return " ".join(word for words in said for word in words if word)

    def details(self, check: str) -> dict[str, Any]:
        (finding,) = self.checks[check]
        details: dict[str, Any] = finding["details"]
        return details

    def bad(self) -> dict[str, str]:
        """The worst result of each check that is not ok."""
        worst = {
            check: max((str(one["result"]) for one in some), key=ORDER.index) for check, some in self.checks.items()
        }
        return {check: result for check, result in worst.items() if result != "ok"}


ORDER = ["ok", "warn", "fail"]


def found(ran: Ran) -> Found:
    """The findings of `surefoot doctor --json`."""
    checks: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in ran.records():
        assert list(record) == ["check", "result", "sentence", "way_out", "details"]
        checks[str(record["check"])].append(record)
        assert record["result"] == "ok" or record["way_out"] or str(record["sentence"]).count(" ") > 3
    assert ran.err == ""
    return Found(ran.code, dict(checks))


def file_dump(path: Path) -> list[str]:
    """Everything in a file."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def server_dump(server: Server) -> dict[tuple[int, bytes], bytes]:
    """Everything in the first databases of a server, as it would write it for another one."""
    dump: dict[tuple[int, bytes], bytes] = {}
    with server.conversation() as talk:
        for number in range(4):
            talk.say("SELECT", number)
            dump |= {(number, key): talk.say("DUMP", key) for key in talk.say("KEYS", "*")}
    return dump
