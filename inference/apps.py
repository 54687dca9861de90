from __future__ import annotations

from django.apps import AppConfig


class InferenceConfig(AppConfig):
    name = "inference"
    verbose_name = "Inference"

    def ready(self) -> None:
        from inference import benchmarks, evaluations
        from registry import jobs
        from registry.enums import JobKind

        jobs.register(JobKind.BENCHMARK, benchmarks.run, queue="cpu")
        jobs.register(JobKind.EVALUATION, evaluations.run, queue="cpu")
