"""Tables for spreadsheets: CSV in which no cell can act."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.utils import translation

from registry import audit, queries
from registry.actors import Actor
from registry.models import AuditEvent
from registry.permissions import Action, check

# A cell that begins so is a formula to some spreadsheet (full-width forms included); a tab or line end hides one.
ACTIVE = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "|", "%")
MOST = 100_000
APPROVALS = (
    "id", "model", "commit", "environment", "status", "use case", "data class", "conditions", "submitted by",
    "approved by", "approved at", "expires at", "policy version", "content sha256",
)  # fmt: skip
EVENTS = ("seq", "at", "by", "verb", "what happened", "object", "hash")


def inert(value: Any) -> str:
    """The value as text that a spreadsheet shows and never computes."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.lstrip(" ").startswith(ACTIVE) else text


def as_csv(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    """UTF-8 with a byte-order mark, so that spreadsheets read Vietnamese; every cell quoted."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(head)
    writer.writerows([inert(cell) for cell in row] for row in rows)
    return b"\xef\xbb\xbf" + out.getvalue().encode("utf-8")


@transaction.atomic
def export_approvals(*, actor: Actor) -> bytes:
    """All approvals of the team. Raises NotAllowed."""
    check(actor, Action.EXPORT_RECORD)
    rows = queries.approvals_of(actor).select_related("submitted_by", "approved_by").order_by("pk")[:MOST]
    content = as_csv(
        APPROVALS,
        (
            (a.pk, a.model.model_id, a.revision.commit_sha, a.environment, a.status, a.use_case, a.data_class, a.conditions,
             a.submitted_by.display_name, a.approved_by.display_name, a.approved_at.isoformat(), a.expires_at.isoformat(),
             a.policy_version, a.content_sha256)
            for a in rows
        ),
    )  # fmt: skip
    audit.record(actor=actor, verb="table.exported", subject=None, what="approvals")
    return content


def _shown(events: list[AuditEvent]) -> list[audit.ShownEvent]:
    with translation.override("en"):  # an export reads the same whoever takes it
        return audit.shown(events)


@transaction.atomic
def export_events(*, actor: Actor) -> bytes:
    """The newest 100,000 events of the team, oldest first. Raises NotAllowed."""
    check(actor, Action.EXPORT_RECORD)
    events = list(queries.events_of(actor).order_by("-seq")[:MOST])[::-1]
    content = as_csv(
        EVENTS,
        (
            (e.seq, e.at.isoformat(), s.actor, e.verb, s.sentence, f"{e.object_type} {e.object_id or ''}".strip(),
             bytes(e.hash).hex())
            for e, s in zip(events, _shown(events), strict=True)
        ),
    )  # fmt: skip
    audit.record(actor=actor, verb="table.exported", subject=None, what="audit events")
    return content
