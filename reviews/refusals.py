"""What consumers read when a revision has no approval: how its review stands (setting `WHY_NOT_APPROVED`).

The ground floor refuses; only this floor knows whether people have looked at the revision and what they said.
"""

from __future__ import annotations

from registry.models import Revision
from reviews.enums import ReviewStatus
from reviews.models import ReviewRequest

REASON_CHARS = 300
SENTENCES: dict[str, str] = {
    ReviewStatus.DRAFT: "nobody has approved it: its request is a draft",
    ReviewStatus.SUBMITTED: "nobody has approved it: its review has not begun",
    ReviewStatus.CHECKS_RUNNING: "nobody has approved it: its checks are running",
    ReviewStatus.IN_REVIEW: "nobody has approved it yet: it is in review",
    ReviewStatus.CHANGES_REQUESTED: "nobody has approved it: its reviewers asked for changes",
    ReviewStatus.REJECTED: "it was reviewed and rejected",
    ReviewStatus.WITHDRAWN: "nobody has approved it: the request was withdrawn",
    ReviewStatus.SUPERSEDED: "nobody has approved it: another request took its place",
}


def why_not_approved(revision: Revision) -> str:
    """Half a sentence after "may not be used: ", from the newest request about this revision; empty when there is none."""
    newest = ReviewRequest.objects.filter(revision=revision).order_by("-pk").first()
    sentence = SENTENCES.get(newest.status, "") if newest else ""
    if newest and newest.status == ReviewStatus.REJECTED:
        reason = " ".join(newest.decision_reason.split()).rstrip(".")[:REASON_CHARS]
        return sentence + (f": {reason}" if reason else "")
    return sentence
