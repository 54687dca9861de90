"""From a line of the manifest to an engine that takes work. Runs in a thread; nothing here touches the
event loop."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference.engine import Backend, ClassifierConfig, Engine, EngineLimits, ModelLoadError
from inference.engine.tasks import TASKS
from inference.server.artifacts import ArtifactCache, loadable_files
from inference.server.files import read_json, write_json
from inference.server.manifest import ModelKey, ServedModel
from inference.server.settings import ServerSettings

# One backend, or several copies that compute beside each other.
BackendLoader = Callable[[ClassifierConfig], Backend | Sequence[Backend]]


def engine_backend(config: ClassifierConfig) -> Backend | Sequence[Backend]:
    """The model in processes of its own: this one speaks HTTP, never imports torch, and outlives a crash
    there."""
    from inference.engine.process import load_in_processes

    try:
        return load_in_processes(config)
    except ModelLoadError as exc:
        if exc.code != "slow_tokenizer":
            raise
    # A tokenizer that only transformers can run: the whole engine has to be here.
    from inference.engine import load_backend

    return load_backend(config)


_numbers = itertools.count(1)


@dataclass(eq=False)
class LoadedModel:
    """A model in memory. `in_flight` is counted by the event loop, so it needs no lock; a web worker that knows
    the model is one use of it. `number` is never used again, also when the same revision is loaded anew. In a
    web worker the engine is a RemoteEngine."""

    key: ModelKey
    engine: Any
    snapshot: Path
    size_bytes: int
    in_flight: int = 0
    retired: bool = False
    number: int = field(default_factory=lambda: next(_numbers))


class ModelLoader:
    """Fetches, verifies, loads, warms up and checks. Models that allow it are driven by `loop`, from whose thread nothing
    here is called."""

    def __init__(
        self,
        settings: ServerSettings,
        artifacts: ArtifactCache,
        load_backend: BackendLoader,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._artifacts = artifacts
        self._load_backend = load_backend

    def load(self, served: ServedModel) -> LoadedModel:
        """A model ready to serve. Raises ArtifactError or ModelLoadError; nothing stays loaded then."""
        if served.task and served.task not in TASKS:
            raise ModelLoadError(f"The task {served.task[:60]!r} cannot be served.", code="unsupported_task")
        snapshot = self._artifacts.snapshot(served)
        try:
            engine = self._start(served, snapshot)
        except BaseException:
            self._artifacts.discard(snapshot)
            raise
        size = sum(entry.size for entry in loadable_files(served.files))
        return LoadedModel(served.key, engine, snapshot, size)

    def unload(self, model: LoadedModel) -> None:
        """Let the engine finish what waits, free its memory and its snapshot folder."""
        model.engine.close(self._settings.drain_timeout_s)
        self._artifacts.discard(model.snapshot)

    def _start(self, served: ServedModel, snapshot: Path) -> Engine:
        try:
            config = ClassifierConfig(
                snapshot,
                served.model_id,
                served.commit_sha,
                max_length=served.max_length,
                task=served.task,
                precision=self._settings.precision,
                layout=self._settings.cpu_layout,
                digest=served.manifest_sha256,
                canaries=self._settings.cache / "canary",
            )
        except ValueError as exc:
            raise ModelLoadError(str(exc), code="bad_config") from exc
        limits = self._settings.limits
        backend = self._load_backend(config)
        engine = Engine(
            backend,
            name=f"engine-{served.commit_sha[:8]}",
            limits=EngineLimits(max_queued_inputs=limits.max_queued_inputs, max_wait_s=limits.max_wait_s),
            loop=self._loop,
        )
        reference_file = self._reference_file(served, str(engine.variant))
        engine.canary = _reference(read_json(reference_file)) or []
        try:
            engine.start()
            if not reference_file.exists():
                write_json(reference_file, engine.canary)
        except BaseException:
            engine.close()
            raise
        return engine

    def _reference_file(self, served: ServedModel, variant: str) -> Path:
        """Where the canary's first answer is kept, for this content and what computes it."""
        name = hashlib.sha256(json.dumps([*served.key, variant]).encode()).hexdigest()
        return self._settings.cache / "canary" / f"{name}.json"


def _reference(value: object) -> list[float] | None:
    if isinstance(value, list) and value and all(isinstance(item, float | int) for item in value):
        return [float(item) for item in value]
    return None
