"""A file of an older release gets the tables that it lacks, once, and the older release can go on using it."""

import sqlite3
from pathlib import Path

from tests.conformance.stores import FILE, QUEUE, Store, new

from surefoot.brokers.broker import Cancel, Changes
from surefoot.brokers.sqlite.schema import TABLES

YOUNGER = ("audit", "hour", "times")


def tables(path: Path) -> set[str]:
    with sqlite3.connect(path) as connection:
        found = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    connection.close()
    return found


def aged(path: Path) -> None:
    """As the first release left it."""
    with sqlite3.connect(path) as connection:
        for name in tables(path) & set(YOUNGER):
            connection.execute(f"DROP TABLE {name}")
        connection.execute("PRAGMA user_version = 0")
    connection.close()


def test_an_older_file_gets_what_it_lacks_and_keeps_its_jobs(tmp_path: Path) -> None:
    store = Store(FILE, tmp_path)
    hand = store.hand()
    hand.put(new("a"), new("b"))
    store.close()
    aged(tmp_path / "jobs.db")
    assert not tables(tmp_path / "jobs.db") & set(YOUNGER)
    store.restart()
    assert [job.id for job in hand.claim(1).jobs] == ["a"]
    hand.say(Cancel(QUEUE, ("b",), who="ann@web"))
    assert [change.who for change in hand.say(Changes(QUEUE))] == ["ann@web"]
    store.close()
    with sqlite3.connect(tmp_path / "jobs.db") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (TABLES,)
    connection.close()


def test_a_reader_of_an_older_file_finds_its_tables_too(tmp_path: Path) -> None:
    store = Store(FILE, tmp_path)
    store.hand().put(new("a"))
    store.close()
    aged(tmp_path / "jobs.db")
    store.restart()
    assert store.hand().say(Changes(QUEUE)) == []
    store.close()
