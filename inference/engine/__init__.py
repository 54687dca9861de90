"""Running a text model: load -> tokenise -> admit -> queue -> batch -> forward -> postprocess. No
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
    from inference.engine.tasks import Classify, Compare, Embed, Entail, Head, Input, Options, Rank, Tag
    from inference.engine.types import (
        Answer,
        BatchResult,
        ClassifierConfig,
        Embedding,
        EngineLimits,
        Entities,
        Entity,
        LabelScore,
        Prediction,
        Result,
        Score,
        Variant,
    )

_HOME = {
    "Answer": "types",
    "Backend": "backend",
    "BatchResult": "types",
    "ClassifierConfig": "types",
    "Classify": "tasks",
    "Compare": "tasks",
    "Embed": "tasks",
    "Embedding": "types",
    "Encoding": "backend",
    "Engine": "engine",
    "EngineBusy": "errors",
    "EngineClosed": "errors",
    "EngineDeadline": "errors",
    "EngineLimits": "types",
    "Entail": "tasks",
    "Entities": "types",
    "Entity": "types",
    "Head": "tasks",
    "InferenceError": "errors",
    "InferenceInputError": "errors",
    "InferenceOutputError": "errors",
    "Input": "tasks",
    "LabelScore": "types",
    "ModelLoadError": "errors",
    "Options": "tasks",
    "Prediction": "types",
    "Rank": "tasks",
    "Result": "types",
    "Score": "types",
    "Tag": "tasks",
    "TextClassifier": "classifier",
    "Variant": "types",
    "load_backend": "load",
    "pick_device": "device",
}

__all__ = [
    "Answer",
    "Backend",
    "BatchResult",
    "ClassifierConfig",
    "Classify",
    "Compare",
    "Embed",
    "Embedding",
    "Encoding",
    "Engine",
    "EngineBusy",
    "EngineClosed",
    "EngineDeadline",
    "EngineLimits",
    "Entail",
    "Entities",
    "Entity",
    "Head",
    "InferenceError",
    "InferenceInputError",
    "InferenceOutputError",
    "Input",
    "LabelScore",
    "ModelLoadError",
    "Options",
    "Prediction",
    "Rank",
    "Result",
    "Score",
    "Tag",
    "TextClassifier",
    "Variant",
    "load_backend",
    "pick_device",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
