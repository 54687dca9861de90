"""People deciding: checklist templates, requests, answers, comments, votes, attestations."""

from reviews.models.attestations import Attestation
from reviews.models.code_audits import CodeWaiver, FileVerdict
from reviews.models.comments import CommentKind, Mention, ReviewComment
from reviews.models.policies import Policy, PolicyState, PolicyVersion, Waiver
from reviews.models.requests import CHECKED, Answer, ReviewRequest, Vote
from reviews.models.templates import ChecklistTemplate, ChecklistTemplateVersion

__all__ = [
    "CHECKED",
    "Answer",
    "Attestation",
    "ChecklistTemplate",
    "ChecklistTemplateVersion",
    "CodeWaiver",
    "CommentKind",
    "FileVerdict",
    "Mention",
    "Policy",
    "PolicyState",
    "PolicyVersion",
    "ReviewComment",
    "ReviewRequest",
    "Vote",
    "Waiver",
]
