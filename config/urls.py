"""Every address of the control plane."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, JsonResponse
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from registry.access import ANYONE, MEMBER, access, rules


@access(get=ANYONE)
def healthz(request: HttpRequest) -> JsonResponse:
    """The process answers. It asks neither database nor broker: a restart would not mend those."""
    return JsonResponse({"status": "ok"})


class SchemaView(SpectacularAPIView):
    access = rules(get=MEMBER)


class DocsView(SpectacularSwaggerSplitView):
    access = rules(get=MEMBER)


API: list[Any] = [
    path("", include("registry.api.urls")),
    path("", include("inference.api.urls")),
    path("", include("reviews.api.urls")),
    path("schema", SchemaView.as_view(), name="schema"),
    path("docs", DocsView.as_view(url_name="schema"), name="api_docs"),
]

urlpatterns: list[Any] = [
    path("api/v1/", include(API)),  # first: the resolver tries patterns in order, and this is the hot path
    path("", include("reviews.urls")),
    path("", include("registry.urls")),
    path("", include("inference.urls")),
    path("hub/", include("registry.gateway.urls")),
    path("healthz", healthz, name="healthz"),
    path("admin/", admin.site.urls),
]

handler404 = "config.errors.not_found"
