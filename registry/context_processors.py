"""What every page's frame shows: the person, the team, the teams to switch to, and whether something is wrong."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest


def frame(request: HttpRequest) -> dict[str, Any]:
    return {}
