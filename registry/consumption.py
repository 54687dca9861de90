"""What consumers get: the approved revision, the serving manifest, the bytes. One record answers all of them.

`approved` is the hot path: token check aside it is one query when it succeeds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.module_loading import import_string

from registry import hot_path, remote_code
from registry.actors import Actor
from registry.canonical import sha256_json
from registry.enums import SERVED_STATUSES, ApprovalStatus
from registry.exceptions import Conflict, NotAllowed, NotFound
from registry.models import Approval, Channel, RegisteredModel, Revision, RevisionFile
from registry.terms import Use, check_use, covers, terms_payload
from registry.words import english, lowered

DEFAULT_CHANNEL = "production"


def served() -> Q:
    """Approvals that consumers may have now."""
    return Q(status__in=SERVED_STATUSES, expires_at__gt=timezone.now())


def living(rows: QuerySet[Approval]) -> QuerySet[Approval]:
    return rows.filter(served())


# Columns of a revision that no consumer's answer needs.
HEAVY = ("revision__card_text", "revision__card_data", "revision__findings")


def _rows(actor: Actor, model_id: str, commit_sha: str = "") -> QuerySet[Approval]:
    rows = Approval.objects.filter(served()).defer(*HEAVY)
    if commit_sha:
        # The revision first, over its unique index: joined the other way round, every approval of the model is read.
        rows = rows.filter(
            revision__in=Revision.objects.filter(
                model__team=actor.team, model__model_id=model_id, commit_sha=commit_sha
            ).values("pk")
        )
    else:
        rows = rows.filter(model__team=actor.team, model__model_id=model_id)
    return rows.select_related("model", "revision", "approved_by", "submitted_by")


def approved_for(
    actor: Actor, model_id: str, use: Use, channel: str = "", commit_sha: str = ""
) -> tuple[Approval, str]:
    """As `approved`, for a stated use. Raises NotAllowed when the terms of the approval do not cover it.

    A commit that is approved several times is answered by the approval that covers the use, if one does.
    """
    found, where = approved(actor, model_id, channel, commit_sha)
    try:
        check_use(found, use)
    except NotAllowed:
        others = (
            _rows(actor, model_id).filter(revision__commit_sha=commit_sha).exclude(pk=found.pk)
            if commit_sha
            else []
        )
        for other in others:
            if covers(other, use):
                return other, where
        raise
    return found, where


def approved(actor: Actor, model_id: str, channel: str = "", commit_sha: str = "") -> tuple[Approval, str]:
    """(approval, channel name or "") for a model: by commit, by channel, else production, else the only one.

    Raises NotFound with the reason a person understands, Conflict when the answer would be a guess.
    """
    if commit_sha:
        rows = _rows(actor, model_id, commit_sha)
        # "active" sorts before "deprecated": a commit approved twice is served by its better approval.
        if found := rows.order_by("status", "-approved_at").first():
            return found, ""
        raise _why_not(actor, model_id, commit_sha=commit_sha)
    live = hot_path.live_approval(actor.in_team, model_id, channel or DEFAULT_CHANNEL)
    if live:
        return live, channel or DEFAULT_CHANNEL
    if channel:
        raise _why_not(actor, model_id, channel=channel)
    withdrawn = Channel.objects.filter(
        model__team=actor.team, model__model_id=model_id, name=DEFAULT_CHANNEL, current__isnull=False
    )
    if withdrawn.exists():
        # What production pointed at was suspended, revoked or has expired. Another approval, perhaps made for another
        # environment, must not take its place before a person has moved the channel.
        raise _why_not(actor, model_id, channel=DEFAULT_CHANNEL)
    rows = _rows(actor, model_id)
    several = list(rows.filter(status=ApprovalStatus.ACTIVE)[:2])
    if len(several) == 1:
        return several[0], ""
    if several:
        raise Conflict(
            f"{model_id} has several approved revisions and no production channel. Ask with ?channel=... or "
            "?commit_sha=..., or have the release manager move the channel production.",
            code="ambiguous",
        )
    raise _why_not(actor, model_id)


def _why_not(actor: Actor, model_id: str, *, channel: str = "", commit_sha: str = "") -> NotFound:
    """Finds out, off the hot path, why there is nothing to give, and names the page where it can be changed."""
    model = RegisteredModel.objects.filter(team=actor.team, model_id=model_id).first()
    if model is None:
        return NotFound(
            f"{model_id} was never submitted by your team. Submit it for review at {settings.PUBLIC_URL}/reviews/new/.",
            code="model_unknown",
        )
    where = f"See {settings.PUBLIC_URL}/models/{model.pk}/."
    if commit_sha:
        revision = Revision.objects.filter(model=model, commit_sha=commit_sha).first()
        if revision is None:
            return NotFound(
                f"{model_id} has no revision {commit_sha[:12]} in Assay. {where} "
                f"Submit it for review at {settings.PUBLIC_URL}/reviews/new/.",
                code="revision_unknown",
            )
        last = Approval.objects.filter(revision=revision).order_by("-approved_at").first()
        state = f"its approval is {_state(last)}" if last else _never_approved(revision)
        return NotFound(
            f"{model_id}@{commit_sha[:7]} may not be used: {state}. See {settings.PUBLIC_URL}/revisions/{revision.pk}/.",
            code="not_approved",
        )
    if channel:
        row = Channel.objects.filter(model=model, name=channel).select_related("current").first()
        if row is None or row.current is None:
            names = ", ".join(
                Channel.objects.filter(model=model, current__isnull=False).values_list("name", flat=True)
            )
            return NotFound(
                f"{model_id} has no channel {channel!r}. "
                + (f"It has: {names}. " if names else "Nothing is live yet. ")
                + where,
                code="channel_unknown",
            )
        return NotFound(
            f"{channel} of {model_id} points at an approval that is {_state(row.current)}. "
            f"See {settings.PUBLIC_URL}/revisions/{row.current.revision_id}/.",
            code="not_approved",
        )
    return NotFound(
        f"{model_id} has no approved revision: its review is not decided, or was refused. {where}",
        code="not_approved",
    )


def _never_approved(revision: Revision) -> str:
    """How its review stands, which the floor above knows."""
    ask: Callable[[Revision], str] = import_string(settings.WHY_NOT_APPROVED)
    return ask(revision) or "nobody has approved it"


def _state(approval: Approval) -> str:
    """`revoked: the reason that was given`; an approval past its date reads as expired before the clock's job notes it."""
    if approval.status in SERVED_STATUSES:
        return "expired"
    reason = approval.status_reason.strip().rstrip(".")
    return str(english(lowered(ApprovalStatus(approval.status).label))) + (f": {reason}" if reason else "")


def approval_payload(approval: Approval, channel: str) -> dict[str, Any]:
    """The answer of `GET /api/v1/models/{org}/{name}/approved`, from one loaded row."""
    revision, model = approval.revision, approval.model
    loaders = revision.config.get("architectures") if isinstance(revision.config, dict) else None
    auto = _auto_class(loaders[0] if isinstance(loaders, list) and loaders else "")
    return {
        "model_id": model.model_id,
        "commit_sha": revision.commit_sha,
        "channel": channel or None,
        "manifest_sha256": approval.manifest_sha256,
        "label_mapping": revision.label_mapping,
        "task": revision.pipeline_tag,
        "max_length": max_length_of(revision),
        "license": revision.license,
        "trust_remote_code": approval.remote_code_sha256 is not None and remote_code.allowed(revision),
        "code_audit": {
            **remote_code.answer(revision, approval.remote_code_sha256),
            **({"url": remote_code.page_of(revision)} if approval.remote_code_sha256 else {}),
        },
        "approval": {
            "id": approval.pk,
            "status": approval.status,
            "environment": approval.environment,
            "use_case": approval.use_case,
            "data_class": approval.data_class,
            **terms_payload(approval),
            "submitted_by": approval.submitted_by.username,
            "approved_by": approval.approved_by.username,
            "approved_at": approval.approved_at.isoformat(),
            "expires_at": approval.expires_at.isoformat(),
            "evidence": approval.evidence_ids,
        },
        "snippet": f'{auto}.from_pretrained("{model.model_id}", revision="{revision.commit_sha}")',
        "review_url": f"{settings.PUBLIC_URL}/revisions/{revision.pk}/",
    }


def _auto_class(architecture: str) -> str:
    for suffix in ("ForSequenceClassification", "ForTokenClassification", "ForMaskedLM", "ForCausalLM"):
        if architecture.endswith(suffix):
            return f"AutoModel{suffix}"
    return "AutoModel"


def max_length_of(revision: Revision) -> int:
    """Tokens the server truncates at: 128 (the seed's default), or less when the model is shorter."""
    limits = [128]
    for part, key in (("tokenizer", "max_length"), ("config", "max_position_embeddings")):
        value = revision.facts.get(part, {}).get(key) if isinstance(revision.facts, dict) else None
        if isinstance(value, int) and value > 0:
            limits.append(value)
    return min(limits)


def serving_manifest() -> dict[str, Any]:
    """What inference servers shall serve: every channel that points at a living approval, with every file's digest."""
    channels = list(
        Channel.objects.filter(current__status__in=SERVED_STATUSES, current__expires_at__gt=timezone.now())
        .select_related("model__team", "current__revision")
        .order_by("model__team__slug", "model__model_id", "name")
    )
    revisions = {channel.current.revision_id for channel in channels if channel.current}
    files: dict[int, list[dict[str, Any]]] = {}
    for row in RevisionFile.objects.filter(revision_id__in=revisions).select_related("blob").order_by("path"):
        files.setdefault(row.revision_id, []).append(
            {"path": row.path, "size": row.blob.size, "sha256": row.blob_id}
        )
    models = []
    for channel in channels:
        assert channel.current is not None
        revision = channel.current.revision
        quarantined = set(revision.facts.get("formats", {}).get("quarantined", []))
        models.append(
            {
                "team": channel.model.team.slug,
                "model_id": channel.model.model_id,
                "channel": channel.name,
                "commit_sha": revision.commit_sha,
                "manifest_sha256": revision.manifest_sha256,
                "task": revision.pipeline_tag,
                "max_length": max_length_of(revision),
                "files": [
                    f
                    for f in files.get(revision.pk, [])
                    if f["path"] not in quarantined and not remote_code.withheld(revision, f["path"])
                ],
            }
        )
    blocked = _blocked()
    return {"generation": sha256_json([models, blocked])[:16], "models": models, "blocked": blocked}


def _blocked() -> list[dict[str, str]]:
    """Revisions that consumers had and may not have any more, and that no team has a living approval of.

    A server whose new model fails to load keeps the old one; this is what it must not keep.
    """
    gone = Approval.objects.exclude(served()).values_list("model__model_id", "revision__commit_sha")
    alive = set(living(Approval.objects.all()).values_list("model__model_id", "revision__commit_sha"))
    return [{"model_id": m, "commit_sha": sha} for m, sha in sorted(set(gone) - alive)]
