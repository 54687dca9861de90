"""The Hub-compatible read endpoint, first brick: `/hub/{org}/{name}/resolve/{sha}/{path}` of approved revisions.

The bytes come from the store only and are re-hashed before the first one leaves. Refusals follow the protocol notes:
404 with `X-Error-Code: RevisionNotFound` is the one answer that also stops a client with a warm cache.
"""

from __future__ import annotations

from typing import IO, Any

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse

from registry import store
from registry.access import ANYONE, access
from registry.actors import Actor
from registry.consumption import served
from registry.enums import Scope
from registry.exceptions import DomainError, IntegrityFailure
from registry.models import Approval, RevisionFile, Team
from registry.services.tokens import actor_of_token


def _refuse(status: int, code: str, message: str) -> HttpResponse:
    answer = JsonResponse({"error": message}, status=status)
    line = message.encode("latin-1", "replace").decode("latin-1").replace("\n", " ")
    answer["X-Error-Code"], answer["X-Error-Message"] = code, line
    answer["X-HF-Warning"] = f"registry; {line}"
    return answer


def _team(request: HttpRequest, actor: Actor) -> Team | None:
    """A service account serves every team and names the one it means; anybody else has their token's team."""
    if actor.user.is_service_account and actor.has_scope(Scope.SERVE):
        return Team.objects.filter(slug=request.GET.get("team", "")).first()
    return actor.team if actor.has_scope(Scope.READ) else None


@access(
    get=ANYONE
)  # the Hub's clients speak with a token and read its own error codes, so the door is inside
def resolve(request: HttpRequest, org: str, name: str, commit_sha: str, path: str) -> HttpResponseBase:
    """One file of an approved revision. HEAD answers from the manifest."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    actor = actor_of_token(token.strip()) if scheme.lower() == "bearer" else None
    if actor is None:
        return _refuse(401, "RepoNotFound", "Send an Assay token (HF_TOKEN) that is valid.")
    model_id = f"{org}/{name}"
    team = _team(request, actor)
    approval = (
        Approval.objects.filter(
            served(), model__team=team, model__model_id=model_id, revision__commit_sha=commit_sha
        ).first()
        if team
        else None
    )
    if approval is None:
        return _refuse(
            404,
            "RevisionNotFound",
            f"{model_id}@{commit_sha[:12]} is not approved for your team; ask for its review.",
        )
    file = (
        RevisionFile.objects.select_related("blob", "revision")
        .filter(revision=approval.revision_id, path=path)
        .first()
    )
    if file is None or path in _quarantined(file):
        return _refuse(404, "EntryNotFound", f"{path[:200]} is not among the approved files of {model_id}.")
    return _answer(request, file, commit_sha)


def _quarantined(file: RevisionFile) -> list[str]:
    facts: dict[str, Any] = file.revision.facts
    return list(facts.get("formats", {}).get("quarantined", []))


def _answer(request: HttpRequest, file: RevisionFile, commit_sha: str) -> HttpResponseBase:
    answer: HttpResponseBase
    if request.method == "HEAD":
        answer = HttpResponse(content_type="application/octet-stream")
    else:
        try:
            source: IO[bytes] = store.verified(file.blob_id, file.blob.size)
        except IntegrityFailure as error:
            return _integrity(error)
        answer = FileResponse(source, content_type="application/octet-stream")
    answer["Content-Length"] = str(file.blob.size)
    answer["X-Repo-Commit"] = commit_sha
    answer["ETag"] = f'"{file.blob_id if file.is_lfs else file.git_oid}"'
    answer["Content-Disposition"] = "attachment"
    answer["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer["Accept-Ranges"] = "none"
    return answer


def _integrity(error: DomainError) -> HttpResponse:
    answer = _refuse(503, "IntegrityError", error.message)
    answer["Retry-After"] = "60"
    return answer
