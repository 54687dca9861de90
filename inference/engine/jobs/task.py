"""What a job is given, checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# progress(step, done, total)
Progress = Callable[[str, int, int], None]


class JobError(Exception):
    """The job cannot give a result. The message is a sentence without any input text."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Task:
    """One job as it came on stdin. `started` is when the process began, on the clock of
    `time.monotonic()`."""

    kind: str
    snapshot: Path
    model_id: str
    commit_sha: str
    params: dict[str, Any]
    started: float

    def texts(self, name: str) -> list[str]:
        """The parameter `name` as a non-empty list of strings. Raises JobError (bad_request)."""
        value = self.params.get(name)
        if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
            raise JobError("bad_request", f"The parameter {name} must be a non-empty list of strings.")
        return value

    def sizes(self, name: str, default: list[int]) -> list[int]:
        """The parameter `name` as a non-empty list of whole numbers from 1. Raises JobError (bad_request)."""
        value = self.params.get(name, default)
        if not isinstance(value, list) or not value or not all(_is_size(item) for item in value):
            raise JobError("bad_request", f"The parameter {name} must be a list of whole numbers from 1.")
        return value

    def size(self, name: str, default: int, *, least: int = 1) -> int:
        """The parameter `name` as a whole number from `least`. Raises JobError (bad_request)."""
        value = self.params.get(name, default)
        if not _is_size(value, least):
            raise JobError("bad_request", f"The parameter {name} must be a whole number from {least}.")
        return int(value)


def _is_size(value: object, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
