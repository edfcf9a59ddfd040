"""The SQLite store: one file, or one process's memory. Nothing in this folder knows a worker or a client."""

from surefoot.brokers.sqlite.broker import SqliteBroker as SqliteBroker
