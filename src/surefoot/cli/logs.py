"""How the command line sets up logging: one readable line or one JSON object an event. The library never does."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO, Any, Final

from surefoot.cli.output import clean

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("text", "json")

_WORKER_LOG: Final = "surefoot.worker"
_COLOURS: Final = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m"}
_PLAIN: Final = "\x1b[0m"


class Lines(logging.Formatter):
    """Time, level, words. Only a traceback has lines of its own; nothing breaks a line or steers the terminal."""

    def __init__(self, *, coloured: bool) -> None:
        super().__init__()
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        level = f"{record.levelname:<7}"
        if self._coloured and record.levelname in _COLOURS:
            level = f"{_COLOURS[record.levelname]}{level}{_PLAIN}"
        at = datetime.fromtimestamp(record.created).astimezone()
        lines = [f"{at:%Y-%m-%d %H:%M:%S} {level} {clean(record.getMessage())}"]
        if record.exc_info:
            lines += [clean(line) for line in self.formatException(record.exc_info).splitlines()]
        return "\n".join(lines)


def set_up(level: str, form: str, stream: IO[str], *, coloured: bool) -> None:
    """A handler on the root logger, so that the application's own lines are seen too."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_json_lines() if form == "json" else Lines(coloured=coloured))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())


def already_set_up() -> bool:
    """Whether the application has set up logging itself."""
    own = [*logging.getLogger().handlers, *logging.getLogger("surefoot").handlers]
    return any(not isinstance(handler, logging.NullHandler) for handler in own)


def at_start(tell: Callable[[str], None]) -> None:
    """Call `tell` with the worker's id once it has one, in place of the log line that says so, at any level."""
    log = logging.getLogger(_WORKER_LOG)
    own, wanted = log.level, log.getEffectiveLevel()

    def first(record: logging.LogRecord) -> bool:
        if getattr(record, "event", None) != "worker_started":
            return record.levelno >= wanted
        log.removeFilter(first)
        log.setLevel(own)
        tell(str(getattr(record, "worker", "")))
        return False

    log.addFilter(first)
    log.setLevel(min(wanted, logging.INFO))


def _json_lines() -> logging.Formatter:
    from pythonjsonlogger.msgspec import MsgspecFormatter

    class JsonLines(MsgspecFormatter):
        """time, level, logger, message, and the fields of `extra` that have a value."""

        def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
            log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
            super().add_fields(log_data, record, message_dict)

        def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in log_data.items() if value is not None}

    names = {"levelname": "level", "name": "logger", "exc_info": "traceback"}
    return JsonLines("%(levelname)s %(name)s %(message)s", rename_fields=names)
