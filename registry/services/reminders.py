"""Reminders: an approval that ends soon, or is to be looked at again, is said 30, 14, 7 and 1 days before, once each."""

from __future__ import annotations

from datetime import UTC, date, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from registry import audit
from registry.enums import SERVED_STATUSES
from registry.models import Approval, Reminder

STEPS = (1, 7, 14, 30)


def step_of(day: date, today: date) -> int | None:
    """The step that is reached: the tightest one, so that a late start does not tell all of them at once."""
    left = (day - today).days
    return next((step for step in STEPS if left <= step), None) if left >= 0 else None


@transaction.atomic
def remind() -> int:
    """Called by beat; returns the number of reminders written."""
    now, written = timezone.now(), 0
    rows = Approval.objects.filter(status__in=SERVED_STATUSES, expires_at__gt=now)
    for approval in rows.select_for_update(of=("self",)).select_related("model__team", "revision"):
        days = {"expiry": approval.expires_at.astimezone(UTC).date(), "review": approval.review_by}
        for kind, day in days.items():
            step = step_of(day, now.date()) if day else None
            if day and step and _once(approval, kind, step):
                audit.record(
                    actor=None,
                    team=approval.model.team,
                    verb="approval.ends_soon" if kind == "expiry" else "approval.review_due",
                    subject=approval,
                    days=(day - now.date()).days,
                    model_id=approval.model.model_id,
                    sha=approval.revision.commit_sha,
                    day=day.isoformat(),
                )
                written += 1
    return written


def _once(approval: Approval, kind: str, step: int) -> bool:
    _, is_new = Reminder.objects.get_or_create(
        approval=approval, kind=kind, days=step, defaults={"at": timezone.now()}
    )
    return is_new


def ending_soon() -> Q:
    """Approvals in use that end, or are to be looked at again, within 30 days: what the home page names."""
    now = timezone.now()
    last = now + timedelta(days=max(STEPS))
    return Q(status__in=SERVED_STATUSES, expires_at__gt=now) & (
        Q(expires_at__lte=last) | Q(review_by__lte=last.date())
    )
