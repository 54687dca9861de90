"""People deciding: requests, answers, votes."""

from reviews.models.code_audits import CodeWaiver, FileVerdict
from reviews.models.requests import CHECKED, Answer, ReviewRequest, Vote

__all__ = ["CHECKED", "Answer", "CodeWaiver", "FileVerdict", "ReviewRequest", "Vote"]
