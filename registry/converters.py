"""What may stand in an address."""

from __future__ import annotations

from django.urls import register_converter

from registry.machines import APPROVAL


class CommitSha:
    """40 lower-case hex digits and nothing else: no branch, tag or short SHA ever names a revision here."""

    regex = "[0-9a-f]{40}"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


class Action(CommitSha):
    """What a person can do to an approval."""

    regex = "|".join(action for action in APPROVAL.actions if action != "expire")


# Here and nowhere else: registering a name twice is an error in Django to come.
register_converter(CommitSha, "sha")
register_converter(Action, "action")
