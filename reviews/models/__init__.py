"""People deciding: requests, answers, votes."""

from reviews.models.requests import CHECKED, Answer, ReviewRequest, Vote

__all__ = ["CHECKED", "Answer", "ReviewRequest", "Vote"]
