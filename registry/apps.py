from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


def install_rules(using: str, **kwargs: Any) -> None:
    from registry import triggers

    triggers.install(connections[using])


class RegistryConfig(AppConfig):
    name = "registry"
    verbose_name = "Registry"

    def ready(self) -> None:
        from registry import access_log, intake, jobs, sign_in
        from registry.api import schema  # noqa: F401 - importing registers the security schemes
        from registry.enums import JobKind

        access_log.connect()
        sign_in.connect()
        jobs.register(JobKind.INTAKE, intake.run, queue="short")
        post_migrate.connect(install_rules, sender=self, dispatch_uid="registry.install_rules")
