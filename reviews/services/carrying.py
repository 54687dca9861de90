"""Delta review: what was answered about the approved commit still stands where nothing changed that it rests on."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from registry import audit
from registry.enums import SERVED_STATUSES
from reviews import checklists, delta
from reviews.checklists.reading import Suggestion
from reviews.enums import ReviewStatus
from reviews.models import Answer, ReviewRequest
from reviews.services.digests import answer_sha256, refresh


def followed(request: ReviewRequest) -> ReviewRequest | None:
    """The newest review of another commit whose approval is in force, for the same use, environment and data."""
    rows = ReviewRequest.objects.filter(
        model=request.model, environment=request.environment, data_class=request.data_class, use_case=request.use_case,
        status=ReviewStatus.APPROVED, approval__status__in=SERVED_STATUSES, approval__expires_at__gt=timezone.now(),
    ).exclude(revision=request.revision)  # fmt: skip
    return rows.select_related("revision").order_by("-approval__approved_at", "-pk").first()


def carry_over(request: ReviewRequest) -> int:
    """Finds the review that this one follows, says what changed, and carries the answers that still stand.

    `request` is locked, in review, in the caller's transaction. What an earlier round
    carried is worked out anew: the commit may be another one now. Returns how many answers were carried.
    """
    assert request.revision is not None
    request.answers.filter(carried_from__isnull=False).delete()
    before = followed(request)
    request.follows, request.delta = before, []
    if before is None or before.revision is None:
        _save(request)
        return 0
    changed = delta.classify(delta.side_of(before.revision), delta.side_of(request.revision))
    request.delta = delta.as_data(changed)
    made = Answer.objects.bulk_create(_carried(request, before, set(changed)))
    _save(request)
    audit.record(
        actor=None,
        team=request.team,
        verb="review.carried_over",
        subject=request,
        model_id=request.model.model_id,
        sha=request.revision.commit_sha,
        before=before.revision.short_sha,
        before_sha=before.revision.commit_sha,
        follows=before.pk,
        changed=", ".join(changed) or "nothing",
        carried=len(made),
        asked=len(request.checklist) - len(made),
        items=[answer.key for answer in made],
        answers={answer.key: answer_sha256(answer) for answer in made},
    )
    return len(made)


def _save(request: ReviewRequest) -> None:
    refresh(request)
    request.save(update_fields=["follows", "delta", "content_sha256"])


def _carried(request: ReviewRequest, before: ReviewRequest, changed: set[str]) -> list[Answer]:
    asked_then = {item["key"]: item for item in before.checklist}
    given = {answer.key: answer for answer in before.answers.select_related("carried_from")}
    standing = set(request.answers.values_list("key", flat=True))
    keys = [
        item["key"]
        for item in request.checklist
        if item["key"] in given
        and item["key"] not in standing
        and not delta.asked_again(item, asked_then.get(item["key"]), changed)
        # Nobody's own words answer for their own submission.
        and given[item["key"]].by_id not in (request.submitted_by_id, request.edited_by_id)
    ]
    offered = checklists.suggestions_for(request, keys=keys) if keys else {}
    return [
        Answer(
            request=request, key=key, verdict=was.verdict, value=was.value, text=was.text, suggestion=was.suggestion,
            suggestion_state=was.suggestion_state, carried_from=was.carried_from or was, by=was.by, at=was.at,
        )
        for key in keys
        if _says_the_same((was := given[key]).suggestion, offered.get(key))
    ]  # fmt: skip


def _says_the_same(then: dict[str, Any] | None, now: Suggestion | None) -> bool:
    """What the evidence offers is what it offered then: else the answer speaks of something else (the commit, a date)."""
    if then is None or now is None:
        return then is None and now is None
    offered = now.as_dict()
    return all(then.get(name) == offered[name] for name in ("verdict", "value", "text"))
