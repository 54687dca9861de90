"""Answers that are files rather than JSON: the lock as YAML."""

from __future__ import annotations

from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer

from registry import lock


class LockYAMLRenderer(BaseRenderer):
    media_type = "application/yaml"
    format = "yaml"
    charset = "utf-8"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None
    ) -> bytes:
        return lock.as_yaml(data).encode("utf-8")


class LockNegotiation(DefaultContentNegotiation):
    """Leaves an unknown ?format= to the view, which refuses it in the one shape (DRF would answer a bare 404)."""

    def filter_renderers(self, renderers: Any, format: str) -> Any:  # noqa: A002 - DRF's name
        return [renderer for renderer in renderers if renderer.format == format] or renderers
