"""Every address of the resolver, walked: what tests of completeness iterate over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import RoutePattern

from registry.access import Access, declared_access
from registry.middleware import THIRD_PARTY

VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")

# What a placeholder is filled with: well-formed, and nothing of that name exists.
SAMPLES = {
    "int": "999999",
    "str": "nobody",
    "slug": "nothing",
    "sha": "f" * 40,
    "path": "config.json",
    "action": "suspend",
    "name": "nobody",
    "anything": "config.json",
}


@dataclass(frozen=True)
class Address:
    """`route` as urls.py spells it, `url` with placeholders filled in."""

    route: str
    url: str
    view: Any
    namespace: str

    @property
    def rules(self) -> Access | None:
        return declared_access(self.view) or THIRD_PARTY.get(self.namespace)

    @property
    def is_api(self) -> bool:
        return self.route.startswith("api/")


def walk() -> list[Address]:
    return list(_walk(get_resolver().url_patterns, "", ""))


def _walk(patterns: list[Any], before: str, namespace: str) -> Iterator[Address]:
    for pattern in patterns:
        route = before + _spelling(pattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, route, namespace or (pattern.namespace or ""))
        elif isinstance(pattern, URLPattern):
            yield Address(route, "/" + _filled(route), pattern.callback, namespace)


def _spelling(pattern: Any) -> str:
    if isinstance(pattern.pattern, RoutePattern):
        return str(pattern.pattern)
    # Django's admin ends with one regular expression: the catch-all.
    return re.sub(r"\(\?P<(\w+)>\.\*\)\$", r"<str:\1>", str(pattern.pattern)).strip("^$")


def _filled(route: str) -> str:
    return re.sub(r"<(?:(\w+):)?\w+>", lambda match: SAMPLES[match[1] or "str"], route)
