"""People deciding: checklist templates, requests, answers, comments, votes, attestations."""

from reviews.models.attestations import Attestation
from reviews.models.comments import CommentKind, Mention, ReviewComment
from reviews.models.requests import CHECKED, Answer, ReviewRequest, Vote
from reviews.models.templates import ChecklistTemplate, ChecklistTemplateVersion

__all__ = [
    "CHECKED",
    "Answer",
    "Attestation",
    "ChecklistTemplate",
    "ChecklistTemplateVersion",
    "CommentKind",
    "Mention",
    "ReviewComment",
    "ReviewRequest",
    "Vote",
]
