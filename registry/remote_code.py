"""May consumers have the code of a revision now? Asked while serving, so that a waiver ends at its minute, not at a sweep.

The verdict itself is reached on the top floor (reviews/code_audits); here stands what it wrote on the revision.
"""

from __future__ import annotations

from django.conf import settings
from django.utils import timezone

from registry.enums import CodeAudit
from registry.models import Revision

SUFFIXES = (".py", ".pyi", ".pyx")


def is_code(path: str) -> bool:
    return path.lower().endswith(SUFFIXES)


def verdict(revision: Revision) -> CodeAudit:
    """As of now: a waiver past its end counts for nothing, whether or not the clock's job has noted it."""
    found = CodeAudit(revision.code_audit)
    until = revision.code_waived_until
    if found == CodeAudit.WAIVED and (until is None or until <= timezone.now()):
        return CodeAudit.PENDING
    return found


def allowed(revision: Revision) -> bool:
    """Whether a consumer may run the code: there is some, and its audit passed or is waived at this moment."""
    return verdict(revision) in (CodeAudit.PASSED, CodeAudit.WAIVED)


def withheld(revision: Revision, path: str) -> bool:
    return is_code(path) and not allowed(revision)


def page_of(revision: Revision) -> str:
    return f"{settings.PUBLIC_URL}/revisions/{revision.pk}/code/"


def sentence(revision: Revision, path: str) -> str:
    """Why this file is not given, and where that can be changed."""
    why = {
        CodeAudit.FAILED: "the code audit of this revision failed",
        CodeAudit.NOT_APPLICABLE: "intake did not list it as code that an audit could pass",
    }.get(verdict(revision), "the code audit of this revision has not passed")
    if revision.code_audit == CodeAudit.WAIVED and not allowed(revision):
        why = "the waiver of its code audit has ended"
    return f"{path} is code, and {why}, so nobody gets it. See {page_of(revision)}"


def answer(revision: Revision, digest: str | None) -> dict[str, object]:
    """What consumers are told of the audit, with an approval or in a lock."""
    until = revision.code_waived_until if verdict(revision) == CodeAudit.WAIVED else None
    return {
        "allowed": digest is not None and allowed(revision),
        "verdict": str(verdict(revision)),
        "digest": digest,
        **({"waived_until": until.isoformat()} if until else {}),
    }
