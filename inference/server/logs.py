"""One JSON line for each record. No exception message is ever written: it may quote what a caller sent."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import logging.config
import secrets
import time
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import lru_cache
from typing import TextIO

import orjson

from inference.engine.errors import describe_error

# What every LogRecord has; the rest came in as `extra` and belongs in the line.
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "color_message"}


def _encode(line: dict[str, object]) -> str:
    return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


@lru_cache(4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _utc(seconds: float) -> str:
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1000):03d}+00:00"


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


class Bundles(logging.StreamHandler[TextIO]):
    """Writes lines of the event loop in bundles, at most `PATIENCE_S` late: a call to the kernel for each request
    would let the interpreter's lock go each time. A warning, and what comes from another thread, is written at
    once."""

    PATIENCE_S = 0.05

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._lines: list[str | tuple[float, dict[str, object]]] = []

    def add(self, line: dict[str, object]) -> None:
        """A request's line, from the event loop: it becomes text only when it is written."""
        self._lines.append((time.time(), line))
        if len(self._lines) == 1:
            asyncio.get_running_loop().call_later(self.PATIENCE_S, self.flush)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record) + self.terminator)
            if record.levelno < logging.WARNING:
                if len(self._lines) > 1:
                    return  # Whoever wrote the first line has seen to it.
                asyncio.get_running_loop().call_later(self.PATIENCE_S, self.flush)
                return
        except RuntimeError:
            pass  # No event loop here: write it now.
        except Exception:
            self.handleError(record)
        self.flush()

    def flush(self) -> None:
        with self.lock or nullcontext():
            lines, self._lines = self._lines, []
            if lines:
                self.stream.write(
                    "".join([one if isinstance(one, str) else _request_line(*one) for one in lines])
                )
            super().flush()


_REQUESTS = logging.getLogger("inference.server.requests")
_out: Bundles | None = None


def log_request(level: int, line: dict[str, object]) -> None:
    """The one line of a request. The usual ones go past the machinery of `logging`, which costs more than the line."""
    if _out is not None and level < logging.WARNING:
        _out.add(line)
    else:
        _REQUESTS.log(level, "request", extra=line)


def _request_line(seconds: float, line: dict[str, object]) -> str:
    head = {"time": _utc(seconds), "level": "info", "logger": _REQUESTS.name, "event": "request"}
    return _encode({**head, **line}) + "\n"


class TextHasher:
    """Short keyed digests of texts: equal texts can be found in the log, a guessed text cannot be confirmed
    from it.

    Without a key of its own the digests are comparable only within one process's life.
    """

    def __init__(self, key: str) -> None:
        # A keyed hash takes so much of a key and no more.
        self._key = hashlib.sha256(key.encode()).digest() if key else secrets.token_bytes(32)

    def __call__(self, text: str) -> str:
        return hashlib.blake2b(
            text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8
        ).hexdigest()


def configure_logging() -> None:
    """All loggers to stdout as JSON lines; request lines of HTTP clients and of uvicorn are left out (we
    write ours)."""
    # Where a record was made, and by which thread and task, is not written: it costs more than the line.
    logging._srcfile = None
    global _out
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"json": {"()": JsonLines}},
            "handlers": {
                "out": {
                    "()": Bundles,
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
    _out = next(handler for handler in logging.getLogger().handlers if isinstance(handler, Bundles))
