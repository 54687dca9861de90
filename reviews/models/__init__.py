"""People deciding: requests, answers, votes."""

from reviews.models.attestations import Attestation
from reviews.models.code_audits import CodeWaiver, FileVerdict
from reviews.models.policies import Policy, PolicyState, PolicyVersion, Waiver
from reviews.models.requests import CHECKED, Answer, ReviewRequest, Vote

__all__ = [
    "CHECKED",
    "Answer",
    "Attestation",
    "CodeWaiver",
    "FileVerdict",
    "Policy",
    "PolicyState",
    "PolicyVersion",
    "ReviewRequest",
    "Vote",
    "Waiver",
]
