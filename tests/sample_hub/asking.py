"""What a request asks for: who asks, which model, which revision. Shared by the API and the file routes."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request

from tests.sample_hub.errors import HubError, moved, unknown_repo, unknown_revision
from tests.sample_hub.lies import Lies
from tests.sample_hub.store import RepoMeta, RepoNotFound, RevisionNotFound, SampleHubStore


@dataclass(frozen=True)
class Hub:
    """What a server was started with. `tokens`: token -> user name; None = every token is user "sample"."""

    store: SampleHubStore
    tokens: dict[str, str] | None
    bare_401: bool
    xet: bool
    tree_page: int


def hub_of(request: Request) -> Hub:
    hub: Hub = request.app.state.hub
    return hub


def lies_of(request: Request) -> Lies:
    lies: Lies = request.app.state.lies
    return lies


def segments(request: Request) -> list[str]:
    """The path's segments, decoded one by one: `refs%2Fpr%2F1` stays one segment.

    scope["path"] is decoded already, and a revision with a slash could not be told from a path.
    """
    raw: bytes = request.scope["raw_path"]
    return [unquote(part) for part in raw.decode("ascii", "replace").split("?")[0].strip("/").split("/")]


def take_revision(parts: list[str]) -> tuple[str, list[str]]:
    """Splits [revision, *path]; also accepts refs/pr/N that was sent with plain slashes."""
    if parts[:2] == ["refs", "pr"] and len(parts) >= 3:
        return "/".join(parts[:3]), parts[3:]
    return parts[0], parts[1:]


def user_of(request: Request) -> str | None:
    """The user behind the bearer token, None for a stranger. Refuses a token that nobody issued."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        return None
    tokens = hub_of(request).tokens
    if tokens is None:
        return "sample"
    if token not in tokens:
        raise HubError(401, None, "Invalid credentials in Authorization header")
    return tokens[token]


def known_repo(request: Request, model_id: str) -> RepoMeta:
    """The model's facts. Refuses unknown models, and private ones to strangers in the same words."""
    if new_name := lies_of(request).new_name(model_id):
        raise moved(request, model_id, new_name)
    user = user_of(request)
    try:
        meta = hub_of(request).store.meta(model_id)
    except RepoNotFound:
        meta = None
    if meta is None or (meta.private and user is None):
        raise unknown_repo(anonymous=user is None, bare_401=hub_of(request).bare_401)
    return meta


def commit_of(request: Request, model_id: str, revision: str) -> str:
    """The commit that the revision means, or is said to mean."""
    store = hub_of(request).store
    try:
        said = lies_of(request).commit_for(model_id, revision, store.resolve(model_id, revision))
        # Again, because a lie may name a commit that this repository never had.
        return store.resolve(model_id, said)
    except RevisionNotFound as missing:
        raise unknown_revision(revision) from missing


def flag(value: Any) -> bool:
    """A query or body flag as the clients send it: true, True, 1."""
    return str(value).lower() in ("true", "1")
