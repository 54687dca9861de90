"""One JSON line for each record. No exception message is ever written: it may quote what a caller sent."""

from __future__ import annotations

import hmac
import json
import logging
import logging.config
import secrets
from datetime import UTC, datetime

from inference.engine.errors import describe_error

# What every LogRecord has; the rest came in as `extra` and belongs in the line.
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}


_encode = json.JSONEncoder(ensure_ascii=True, default=str).encode


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


class JsonLines(logging.Formatter):
    """time (UTC), level, logger, event, then whatever was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            # A foreign library's traceback text comes as a message of several lines; its first line is
            # enough.
            "event": record.getMessage().split("\n", 1)[0],
        }
        given = vars(record)
        line |= {key: value for key, value in given.items() if key not in _STANDARD}
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = describe_error(record.exc_info[1])
        return _encode(line)


class TextHasher:
    """Short keyed digests of texts: equal texts can be found in the log, a guessed text cannot be confirmed
    from it.

    Without a key of its own the digests are comparable only within one process's life.
    """

    def __init__(self, key: str) -> None:
        self._key = key.encode() or secrets.token_bytes(32)

    def __call__(self, text: str) -> str:
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), "sha256").hex()[:16]


def configure_logging() -> None:
    """All loggers to stdout as JSON lines; request lines of HTTP clients and of uvicorn are left out (we
    write ours)."""
    # Where a record was made, and by which thread and task, is not written: it costs more than the line.
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": JsonLines}},
            "handlers": {
                "out": {
                    "class": "logging.StreamHandler",
                    "stream": "ext://sys.stdout",
                    "formatter": "json",
                }
            },
            "root": {"handlers": ["out"], "level": "INFO"},
            "loggers": {
                "httpx": {"level": "WARNING"},
                "httpcore": {"level": "WARNING"},
                "uvicorn.access": {"level": "WARNING"},
            },
        }
    )
