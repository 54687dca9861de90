"""The risk tier, said while a person fills in the question and on the review."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from registry.access import MEMBER, access
from reviews.models import ReviewRequest
from reviews.tiers import Tier, reason_for, tier_of


@dataclass(frozen=True)
class ShownTier:
    level: Tier
    reason: str


def shown_tier(data_class: str, environment: str, pipeline_tag: str) -> ShownTier:
    return ShownTier(
        tier_of(data_class, environment, pipeline_tag), reason_for(data_class, environment, pipeline_tag)
    )


def tier_of_request(review: ReviewRequest) -> ShownTier | None:
    """Nothing until the checks have found what the model is for."""
    if review.revision is None:
        return None
    return ShownTier(review.risk.tier, review.risk.reason)


@access(get=MEMBER)
def review_tier(request: HttpRequest) -> HttpResponse:
    """htmx: the tier of the question as it stands in the submission's form."""
    asked = (request.GET.get(name, "")[:80] for name in ("data_class", "environment", "pipeline_tag"))
    return render(request, "reviews/_tier.html", {"tier": shown_tier(*asked)})
