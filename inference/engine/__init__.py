"""Running a text classifier: load -> tokenise -> admit -> queue -> batch -> forward -> postprocess. No
Django.

The names below are the library's face. They are resolved on first use, because importing torch takes
seconds and the job child must set its own limits before that happens.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inference.engine.backend import Backend, Encoding
    from inference.engine.classifier import TextClassifier
    from inference.engine.device import pick_device
    from inference.engine.engine import Engine
    from inference.engine.errors import (
        EngineBusy,
        EngineClosed,
        EngineDeadline,
        InferenceError,
        InferenceInputError,
        InferenceOutputError,
        ModelLoadError,
    )
    from inference.engine.load import load_backend
    from inference.engine.types import (
        Answer,
        BatchResult,
        ClassifierConfig,
        EngineLimits,
        LabelScore,
        Prediction,
    )

_HOME = {
    "Answer": "types",
    "Backend": "backend",
    "BatchResult": "types",
    "ClassifierConfig": "types",
    "Encoding": "backend",
    "Engine": "engine",
    "EngineBusy": "errors",
    "EngineClosed": "errors",
    "EngineDeadline": "errors",
    "EngineLimits": "types",
    "InferenceError": "errors",
    "InferenceInputError": "errors",
    "InferenceOutputError": "errors",
    "LabelScore": "types",
    "ModelLoadError": "errors",
    "Prediction": "types",
    "TextClassifier": "classifier",
    "load_backend": "load",
    "pick_device": "device",
}

__all__ = [
    "Answer",
    "Backend",
    "BatchResult",
    "ClassifierConfig",
    "Encoding",
    "Engine",
    "EngineBusy",
    "EngineClosed",
    "EngineDeadline",
    "EngineLimits",
    "InferenceError",
    "InferenceInputError",
    "InferenceOutputError",
    "LabelScore",
    "ModelLoadError",
    "Prediction",
    "TextClassifier",
    "load_backend",
    "pick_device",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
