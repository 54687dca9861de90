"""The review template of a revision, filled, as Markdown."""

from __future__ import annotations

from django.utils.translation import get_language

from registry.actors import Actor
from registry.exceptions import Conflict
from registry.models import Revision
from registry.words import gettext
from reviews.checklists import filled_template_markdown
from reviews.models import ReviewRequest


def as_markdown(actor: Actor, revision: Revision) -> bytes:
    """Of the revision's newest review, in the reader's language. Raises Conflict when there is none."""
    request = ReviewRequest.objects.filter(revision=revision).order_by("-pk").first()
    if request is None:
        raise Conflict(
            gettext("This revision has no review yet, so there is no template to fill."), code="no_review"
        )
    return filled_template_markdown(request, get_language() or "en").encode("utf-8")
