"""Which revision does this caller get for this name, and which of its files?

no revision, `main`   what the channel `production` points at, else the only active approval
a channel's name      what it points at
40 hex digits         that commit, if its approval is active or deprecated
anything else         refused: no branch, tag, short or upper-case SHA or pull request of the upstream means anything here
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.conf import settings

from registry import consumption, hot_path, remote_code
from registry.actors import Actor
from registry.enums import ApprovalStatus
from registry.exceptions import InvalidInput, NotFound
from registry.gateway.answers import REVISION, Refused, one_line
from registry.hub import check_model_id
from registry.models import Approval, Revision, RevisionFile
from registry.services.channels import NAME
from registry.store import safe_path

COMMIT = re.compile(r"[0-9a-f]{40}")
MAIN = "main"


@dataclass(frozen=True)
class Given:
    """What a name stands for, for one caller at one moment."""

    approval: Approval
    channel: str

    @property
    def revision(self) -> Revision:
        return self.approval.revision

    @property
    def commit_sha(self) -> str:
        return self.revision.commit_sha

    @property
    def model_id(self) -> str:
        return self.approval.model.model_id

    @property
    def notice(self) -> str:
        """What somebody who is served should know."""
        if self.approval.status != ApprovalStatus.DEPRECATED:
            return ""
        reason = self.approval.status_reason.strip().rstrip(".")
        return (
            f"{self.model_id}@{self.commit_sha[:12]} is deprecated{': ' + reason if reason else ''}. "
            f"It is still served; plan its replacement: {page_of(self.revision)}"
        )


def page_of(revision: Revision) -> str:
    return f"{settings.PUBLIC_URL}/revisions/{revision.pk}/"


def resolve(actor: Actor, model_id: str, revision: str) -> Given:
    """Raises NotFound, Conflict or InvalidInput with the sentence that a person reads in the terminal."""
    check_model_id(model_id)
    if revision in ("", MAIN):
        return Given(*consumption.approved(actor, model_id))
    if COMMIT.fullmatch(revision):
        return Given(*consumption.approved(actor, model_id, commit_sha=revision))
    if NAME.fullmatch(revision):
        return Given(*consumption.approved(actor, model_id, channel=revision))
    if COMMIT.fullmatch(revision.lower()):
        # Answered, it would work once: the clients take it for a branch, which they ask for anew each time and load from a
        # warm cache when they are refused. Only the lower-case pin is one to them.
        raise NotFound(
            f"{revision!r} is no revision here: a commit is written in lower case. Ask for {revision.lower()}. "
            f"See {settings.PUBLIC_URL}/models/.",
            code="revision_unknown",
        )
    raise NotFound(
        f"{one_line(revision)[:60]!r} is no revision here. Ask for no revision, a channel (for example production) or the "
        f"40 hex digits of an approved commit; {settings.PUBLIC_URL}/models/ lists them.",
        code="revision_unknown",
    )


def served_file(actor: Actor, model_id: str, revision: str, path: str) -> tuple[Given, RevisionFile] | None:
    """What `resolve` and `file_of` give together, in one query; None for everything that is not simply there.

    Those two then find out what is to be said: the only active approval of a model without `production`, or a refusal.
    """
    if revision in ("", MAIN):
        names = {"channel": consumption.DEFAULT_CHANNEL}
    elif COMMIT.fullmatch(revision):
        names = {"commit_sha": revision}
    elif NAME.fullmatch(revision):
        names = {"channel": revision}
    else:
        return None
    if "\0" in model_id + path:
        return None  # PostgreSQL takes no NUL
    found = hot_path.served_file(actor.in_team, model_id, path, **names)
    if found is None:
        return None
    approval, file, quarantined = found
    if path in quarantined or remote_code.withheld(approval.revision, path):
        return None
    return Given(approval, names.get("channel", "")), file


def hidden(revision: Revision, path: str) -> bool:
    """Quarantined at intake, or code whose audit has not passed. Such a file does not exist for consumers."""
    if path in revision.facts.get("formats", {}).get("quarantined", []):
        return True
    return remote_code.withheld(revision, path)


def files_of(given: Given) -> list[RevisionFile]:
    """What is listed and served of a revision, by path. One query, one more when there is code."""
    rows = RevisionFile.objects.filter(revision=given.revision.pk).select_related("blob").order_by("path")
    return [file for file in rows if not hidden(given.revision, file.path)]


def file_of(given: Given, path: str) -> RevisionFile | None:
    """One listed file, None for any other name. Names are looked up, never opened. Raises Refused for unaudited code."""
    try:
        safe_path(path)
    except InvalidInput:
        return None
    file = RevisionFile.objects.select_related("blob").filter(revision=given.revision.pk, path=path).first()
    if file is not None and remote_code.withheld(given.revision, path):
        # Not the code of a missing file: clients remember an absence, and would miss the code once its audit has
        # passed. This one stops those that have it in their cache, too.
        raise Refused(404, REVISION, remote_code.sentence(given.revision, path))
    return None if file is None or hidden(given.revision, path) else file
