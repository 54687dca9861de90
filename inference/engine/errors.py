"""What can go wrong in the engine. No message holds a text that was to be classified, nor a path of the
machine."""

from __future__ import annotations

import traceback
from pathlib import Path


class ModelLoadError(RuntimeError):
    """The snapshot cannot become a model that may serve. `code` names the reason for programs."""

    def __init__(self, message: str, *, code: str = "load_failed") -> None:
        super().__init__(message)
        self.code = code


class InferenceInputError(ValueError):
    """The caller's input cannot be classified. `details` may name the index and the limit, never the text."""

    def __init__(
        self, message: str, *, code: str = "invalid_input", details: dict[str, int] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.details = details or {}


class InferenceError(RuntimeError):
    """The model failed on a valid input."""

    code = "inference_failed"


class InferenceOutOfMemory(InferenceError):
    """The forward pass needed more memory than there was; fewer tokens at once may pass."""

    code = "out_of_memory"


class BackendLost(InferenceError):
    """The process that computed is gone; the next forward pass starts another."""

    code = "backend_lost"


class InferenceOutputError(InferenceError):
    """The model answered with something that is no answer (NaN, Inf, a wrong shape)."""

    code = "invalid_output"


class EngineBusy(RuntimeError):
    """The queue is full, or the request waited too long in it. Try again after `retry_after_s` seconds."""

    def __init__(self, message: str, *, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class EngineDeadline(TimeoutError):
    """The request's deadline passed before its batch ran; nothing was computed for it."""


class EngineClosed(RuntimeError):
    """The engine no longer takes work (it is being replaced, or its thread ended)."""


def ran_out_of_memory(exc: BaseException | None) -> bool:
    """Whether the library failed for want of memory."""
    # torch raises a plain RuntimeError from its CPU allocator; only there is the message looked at, never
    # shown.
    return (
        isinstance(exc, MemoryError | InferenceOutOfMemory)
        or type(exc).__name__ == "OutOfMemoryError"
        or "allocate memory" in str(exc)
    )


def describe_error(exc: BaseException) -> str:
    """An exception as a log may show it: its class and the places it passed, innermost last.

    The message is left out on purpose: a tokenizer's or a codec's message can quote the text it failed on.
    """
    frames = traceback.extract_tb(exc.__traceback__)[-4:]
    places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(exc).__name__} at {places}" if places else type(exc).__name__
