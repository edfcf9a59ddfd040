"""How the command line sets up logging: one readable line or one JSON object an event. The library never does."""

import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO, Any, Final

from surefoot.cli.output import clean

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("text", "json")

_WORKER_LOG: Final = "surefoot.worker"
_FIRST: Final = (
    *("time", "level", "logger", "message", "event", "job", "task", "queue", "attempt"),
    *("duration_ms", "delay_ms", "worker", "worker_name"),
)
_SECONDS: Final = frozenset({"duration", "delay"})
"""Fields of the log in seconds, which become milliseconds in JSON, where no unit is shown beside them."""

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
    """A handler on the root logger, so that the application's own lines and Python's warnings are seen too; in the
    worker's child processes as well.
    """
    from surefoot.execution.outfit import errands

    handler = logging.StreamHandler(stream)
    handler.setFormatter(_json_lines() if form == "json" else Lines(coloured=coloured))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    errands[f"{__name__}:set_up_child"] = {"level": level, "form": form, "coloured": coloured}


def set_up_child(level: str, form: str, *, coloured: bool) -> None:
    """The same in a child process of the worker, by what it was told at its start."""
    set_up(level, form, sys.stderr, coloured=coloured)


def json_line(level: int, message: str, **fields: object) -> str:
    """One line as the log has it, from where no log is set up: before the application is loaded, or without one."""
    record = logging.makeLogRecord(
        {"name": _WORKER_LOG, "levelno": level, "levelname": logging.getLevelName(level), "msg": message, **fields}
    )
    return _json_lines().format(record)


def already_set_up() -> bool:
    """Whether the application has set up logging itself."""
    own = [*logging.getLogger().handlers, *logging.getLogger("surefoot").handlers]
    return any(not isinstance(handler, logging.NullHandler) for handler in own)


def at_start(tell: Callable[[str], None], *, beside: bool = False) -> None:
    """Call `tell` with the worker's id once it has one, at any level: in place of, or beside, the log line."""
    log = logging.getLogger(_WORKER_LOG)
    own, wanted = log.level, log.getEffectiveLevel()

    def first(record: logging.LogRecord) -> bool:
        if getattr(record, "event", None) != "worker_started":
            return record.levelno >= wanted
        log.removeFilter(first)
        log.setLevel(own)
        tell(str(getattr(record, "worker", "")))
        return beside and record.levelno >= wanted

    log.addFilter(first)
    log.setLevel(min(wanted, logging.INFO))


def start_fields(**fields: object) -> None:
    """Put these fields into the log line that says that the worker started."""
    log = logging.getLogger(_WORKER_LOG)

    def first(record: logging.LogRecord) -> bool:
        if getattr(record, "event", None) == "worker_started":
            vars(record).update(fields)
        return True

    log.addFilter(first)


def _trace() -> dict[str, str]:
    """The current span, for whoever looks from a line to its trace; nothing where nobody traces."""
    api = sys.modules.get("opentelemetry.trace")
    span = None if api is None else api.get_current_span().get_span_context()
    if span is None or not span.is_valid:
        return {}
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}


def _json_lines() -> logging.Formatter:
    from pythonjsonlogger.msgspec import MsgspecFormatter

    from surefoot.execution.context import current_job, in_job

    class JsonLines(MsgspecFormatter):
        """The keys of _FIRST in that order, then the other fields of `extra`; only those that have a value."""

        def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
            log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
            super().add_fields(log_data, record, message_dict)
            if in_job():  # a line that a handler wrote
                job = current_job()
                own = {"job": job.id, "task": job.task, "queue": job.queue, "attempt": job.attempt}
                log_data.update({key: value for key, value in (own | _trace()).items() if key not in log_data})

        def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
            if log_data.get("logger") == _WORKER_LOG:
                for word in _SECONDS & log_data.keys():
                    log_data[f"{word}_ms"] = round(log_data.pop(word) * 1000, 3)
                if "name_" in log_data:  # `name` is the logger's
                    log_data["worker_name"] = log_data.pop("name_")
            ordered = {key: log_data[key] for key in _FIRST if key in log_data} | log_data
            return {key: value for key, value in ordered.items() if value is not None}

    names = {"levelname": "level", "name": "logger", "exc_info": "traceback", "stack_info": "stack"}
    return JsonLines("%(levelname)s %(name)s %(message)s", rename_fields=names)
