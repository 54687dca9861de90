"""Pin closure: every other repository that this revision leads to, at one commit, and whether the team approved that commit."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from registry import hub
from registry.enums import ApprovalStatus
from registry.exceptions import DomainError
from registry.inspecting import Content
from registry.inspection.findings import Severity
from registry.inspection.licence import contradiction_with_base
from registry.models import Approval, RegisteredModel
from registry.words import gettext

MAX_RESOLVED = 20  # repositories asked for at the Hub; a revision that leads to more is nobody's to approve


def trace(model: RegisteredModel, content: Content) -> None:
    """Resolves `content.references` and writes facts.pins, with findings for edges that stay open.

    facts.pins: [{"role", "repo", "requested_revision", "commit_sha" | null, "approved", "why", "path", "key", "followed"}].
    A Hub that does not answer leaves the commit null; that blocks the approval, not the intake.
    """
    known: dict[tuple[str, str], tuple[str | None, str, str]] = {}
    pins: list[dict[str, Any]] = []
    for reference in content.references:
        edge = (str(reference["repo"]), str(reference["requested_revision"]))
        if edge not in known:
            known[edge] = (
                _resolve(*edge) if len(known) < MAX_RESOLVED else (None, "Too many repositories.", "")
            )
        commit_sha, why, licence = known[edge]
        approved = commit_sha is not None and is_approved(model.team_id, edge[0], commit_sha)
        pins.append({**reference, "commit_sha": commit_sha, "approved": approved, "why": why})
        if reference["role"] == "lineage" and reference["key"] == "base_model":
            _compare_licences(content, edge[0], licence)
    content.facts["pins"] = pins
    for sentence in dict.fromkeys(open_edges(model.team_id, content.facts)):
        # What may be approved tomorrow only warns: the gate asks `open_edges` anew, a finding stays for ever.
        severity = Severity.FAIL if "could not be pinned" in sentence else Severity.WARN
        content.say(
            severity, "", sentence, "Submit that repository for review first, at the commit named here."
        )


def _resolve(repo: str, revision: str) -> tuple[str | None, str, str]:
    """(commit or None, why not, declared licence)."""
    try:
        found = hub.resolve(repo, revision or "main")
    except DomainError as error:
        return None, error.message, ""
    return found.commit_sha, "", found.license


def _compare_licences(content: Content, base: str, licence: str) -> None:
    sentence = contradiction_with_base(content.facts["licence"]["declared"], base, licence)
    content.facts["licence"].setdefault("bases", {})[base] = licence
    if sentence:
        content.say(Severity.WARN, "README.md", sentence, "Let legal read both licences.")


def is_approved(team_id: int, repo: str, commit_sha: str) -> bool:
    """Whether the team has a living approval of exactly this commit."""
    return Approval.objects.filter(
        model__team_id=team_id,
        model__model_id=repo,
        revision__commit_sha=commit_sha,
        status=ApprovalStatus.ACTIVE,
        expires_at__gt=timezone.now(),
    ).exists()


def open_edges(team_id: int, facts: dict[str, Any]) -> list[str]:
    """A sentence for each edge that a loader would follow and that is not pinned or not approved now. Empty: none."""
    found = []
    pins = facts.get("pins") if isinstance(facts, dict) else None
    for pin in pins if isinstance(pins, list) else []:
        if not pin.get("followed"):
            continue
        where = f"{pin['path']} ({pin['key']})" if pin.get("key") else pin["path"]
        if not pin.get("commit_sha"):
            found.append(
                gettext(
                    "%(where)s leads to %(repo)s, which could not be pinned to a commit. %(why)s",
                    where=where,
                    repo=pin["repo"],
                    why=pin.get("why", ""),
                ).strip()
            )
        elif not is_approved(team_id, pin["repo"], pin["commit_sha"]):
            found.append(
                gettext(
                    "%(where)s leads to %(repo)s@%(sha)s, which this team has not approved.",
                    where=where,
                    repo=pin["repo"],
                    sha=pin["commit_sha"][:7],
                )
            )
    return list(dict.fromkeys(found))
