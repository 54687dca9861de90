from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


def install_rules(using: str, **kwargs: Any) -> None:
    from inference.triggers import RULES
    from registry import triggers

    triggers.install(connections[using], RULES)


class InferenceConfig(AppConfig):
    name = "inference"
    verbose_name = "Inference"

    def ready(self) -> None:
        from inference import benchmarks, evaluations
        from registry import jobs
        from registry.enums import JobKind

        jobs.register(JobKind.BENCHMARK, benchmarks.run, queue="cpu")
        jobs.register(JobKind.EVALUATION, evaluations.run, queue="cpu")
        post_migrate.connect(install_rules, sender=self, dispatch_uid="inference.install_rules")
