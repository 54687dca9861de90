"""Approvals: granted by a decided review, and moved through their machine afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from registry import audit
from registry.actors import Actor
from registry.enums import Role
from registry.exceptions import Conflict, NotAllowed
from registry.machines import APPROVAL, PAST
from registry.models import Approval, Revision, User
from registry.permissions import Action, check
from registry.services.channels import check_reason
from registry.words import gettext


@transaction.atomic
def grant_approval(
    *,
    actor: Actor,
    revision: Revision,
    submitted_by: User,
    environment: str,
    use_case: str,
    data_class: str,
    conditions: str,
    content_sha256: str,
    evidence_ids: list[int],
    policy_version: str,
    policies: list[dict[str, Any]],
    waivers: list[dict[str, Any]],
    expires_at: datetime,
    owner: str = "",
    terms: Mapping[str, Any] | None = None,
) -> Approval:
    """Writes the record that every consumer path answers from. Called by the review that decided, in its transaction.

    `terms` are those of the request (`Terms.terms()`); where it names none, the question itself is the limit. `policies`
    are the versions behind `policy_version`, `waivers` those the decision rests on: both are kept in the audit event.

    Raises NotAllowed (four eyes), Conflict (a living approval for this revision and environment exists already, or the
    code of the repository is not audited).
    """
    check(actor, Action.DECIDE_REVIEW)
    if actor.user.pk == submitted_by.pk:
        raise NotAllowed(
            gettext("You submitted this model, so somebody else must approve it."), code="four_eyes"
        )
    now = timezone.now()
    written = dict(terms or {})
    rollback = written.pop("rollback_approval", None)
    if isinstance(written.get("review_by"), str):
        written["review_by"] = date.fromisoformat(written["review_by"])
    try:
        with transaction.atomic():
            approval = Approval.objects.create(
                **written,
                rollback_approval_id=rollback,
                owner=owner,
                model=revision.model,
                revision=revision,
                environment=environment,
                use_case=use_case,
                data_class=data_class,
                conditions=conditions,
                manifest_sha256=revision.manifest_sha256,
                remote_code_sha256=revision.remote_code_sha256,
                content_sha256=content_sha256,
                evidence_ids=evidence_ids,
                policy_version=policy_version,
                submitted_by=submitted_by,
                approved_by=actor.user,
                approved_at=now,
                expires_at=expires_at,
                status_at=now,
                status_by=actor.user,
            )
    except IntegrityError as error:
        raise Conflict(
            gettext(
                "%(revision)s already has an approval for %(environment)s, or its code has not been audited.",
                revision=revision,
                environment=environment,
            ),
            code="approval_exists",
        ) from error
    audit.record(
        actor=actor,
        verb="approval.granted",
        subject=approval,
        model_id=revision.model.model_id,
        sha=revision.commit_sha,
        manifest_sha256=revision.manifest_sha256,
        environment=environment,
        content_sha256=content_sha256,
        evidence=evidence_ids,
        policies=policies,
        waivers=waivers,
        expires_at=approval.expires_at.isoformat(),
        terms=dict(terms or {}),
        owner=owner,
        use_case=use_case,
        data_class=data_class,
        conditions=conditions,
        policy_version=policy_version,
        remote_code_sha256=revision.remote_code_sha256,
        submitted_by=submitted_by.pk,
    )
    return approval


def check_change(actor: Actor, action: str) -> None:
    """Raises NotAllowed: taking back for good is the admins' act, and a reviewer may suspend, not resume."""
    check(actor, Action.REVOKE_APPROVAL if action in ("revoke", "retire") else Action.SUSPEND_APPROVAL)
    if action == "resume" and not actor.has_role(Role.ADMIN, Role.RELEASE_MANAGER):
        raise NotAllowed(
            gettext("To resume an approval you need the role admin or release manager."), code="role_missing"
        )


@transaction.atomic
def change_approval(*, actor: Actor, approval: Approval, action: str, reason: str) -> Approval:
    """suspend, resume, deprecate, retire or revoke. Resuming needs somebody else than who suspended.

    Raises NotAllowed, InvalidInput (reason), Conflict (the machine has no such move).
    """
    check_change(actor, action)
    text = check_reason(reason)
    locked = Approval.objects.select_for_update().select_related("revision", "model").get(pk=approval.pk)
    target = APPROVAL.target(locked.status, action)
    if action == "resume" and locked.status_by_id == actor.user.pk:
        raise NotAllowed(gettext("You suspended it, so somebody else must resume it."), code="four_eyes")
    locked.status, locked.status_reason = target, text
    locked.status_at, locked.status_by = timezone.now(), actor.user
    locked.save(update_fields=["status", "status_reason", "status_at", "status_by"])
    audit.record(
        actor=actor,
        verb=f"approval.{PAST[action]}",
        subject=locked,
        model_id=locked.model.model_id,
        sha=locked.revision.commit_sha,
        reason=text,
    )
    return locked


@transaction.atomic
def expire_approvals() -> int:
    """Moves approvals past their date to `expired`; called by beat."""
    expired = 0
    for approval in (
        Approval.objects.select_for_update()
        .filter(status__in=["active", "deprecated"], expires_at__lte=timezone.now())
        .select_related("model__team", "revision")
    ):
        approval.status = APPROVAL.target(approval.status, "expire")
        approval.status_at, approval.status_by = timezone.now(), None
        approval.save(update_fields=["status", "status_at", "status_by"])
        audit.record(
            actor=None, team=approval.model.team, verb="approval.expired", subject=approval,
            model_id=approval.model.model_id, sha=approval.revision.commit_sha,
        )  # fmt: skip
        expired += 1
    return expired
