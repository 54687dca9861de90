from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


def install_rules(using: str, **kwargs: Any) -> None:
    from registry import triggers
    from reviews.triggers import RULES

    triggers.install(connections[using], RULES)


class ReviewsConfig(AppConfig):
    name = "reviews"
    verbose_name = "Reviews"

    def ready(self) -> None:
        from reviews.services import checks

        checks.connect()
        post_migrate.connect(install_rules, sender=self, dispatch_uid="reviews.install_rules")
