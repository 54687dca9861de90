"""Addresses of the Hub-compatible endpoint, below `/hub`: point HF_ENDPOINT there."""

from __future__ import annotations

from django.urls import path, register_converter

from registry.gateway import files, listing, metadata, names, pushing


class Anything:
    """A path below `/hub`, empty or with line breaks too: nothing may fall through to pages in another shape."""

    regex = r"(?s:.*)"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


class Name(Anything):
    """One part of an address, whatever is in it."""

    regex = r"(?s:[^/]+)"


register_converter(Anything, "anything")
register_converter(Name, "name")

_MODEL = "api/models/<name:org>/<name:name>"

urlpatterns = [
    path(
        "<name:org>/<name:name>/resolve/<name:revision>/<anything:path>",
        files.resolve_file,
        name="hub_resolve",
    ),
    path(_MODEL, metadata.model_info),
    path(f"{_MODEL}/revision/<anything:revision>", metadata.model_info),
    path(f"{_MODEL}/tree/<name:revision>", metadata.tree),
    path(f"{_MODEL}/tree/<name:revision>/<anything:folder>", metadata.tree),
    path(f"{_MODEL}/paths-info/<name:revision>", metadata.paths_info),
    path(f"{_MODEL}/refs", names.refs),
    path(f"{_MODEL}/commits/<name:revision>", names.commits),
    path("api/models", listing.list_models),
    path("api/whoami-v2", listing.whoami),
    path("api/agent-harnesses", listing.agent_harnesses),
    # Writing: these are what the clients call first, so that the sentence is the last thing they print.
    path("api/repos/<anything:rest>", pushing.push),
    path("api/validate-yaml", pushing.push),
    path(f"{_MODEL}/preupload/<name:revision>", pushing.push),
    path(f"{_MODEL}/commit/<name:revision>", pushing.push),
    path(f"{_MODEL}/xet-write-token/<name:revision>", pushing.push),
    path("<name:org>/<name:name>/info/lfs/<anything:rest>", pushing.push),
    path("<anything:rest>", pushing.elsewhere),
]
