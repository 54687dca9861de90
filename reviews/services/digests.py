"""The digest that votes bind to: content, question, answers, evidence and record. Any edit gives another one."""

from __future__ import annotations

from registry.canonical import sha256_json
from registry.models import Evidence
from reviews import records
from reviews.models import Answer, ReviewRequest


def content_sha256(request: ReviewRequest) -> str:
    """What a vote is cast on, as it is in the database now."""
    revision = request.revision
    return sha256_json(
        {
            "model_id": request.model.model_id,
            "commit_sha": revision.commit_sha if revision else "",
            "manifest_sha256": revision.manifest_sha256 if revision else "",
            "remote_code_sha256": revision.remote_code_sha256 if revision else None,
            "code_audit": revision.code_audit if revision else "",
            "use_case": request.use_case,
            "environment": request.environment,
            "data_class": request.data_class,
            "checklist": [request.checklist_version, request.checklist],
            "answers": sorted(
                (
                    [a.key, a.verdict, a.value, a.text, a.suggestion_state, a.carried_from_id]
                    for a in request.answers.all()
                ),
                key=lambda answer: str(answer[0]),
            ),
            "evidence": sorted(
                Evidence.objects.filter(revision=revision).values_list("sha256", flat=True)
                if revision
                else []
            ),
            "record": records.record_of(request),
            "delta": [request.follows_id, request.delta],
            "legal_asked": request.legal_asked,
            "round": request.round,
        }
    )


def answer_sha256(answer: Answer) -> str:
    """The answer as the audit log keeps it: its words stay out of the log, a change of them does not (docs/audit.md)."""
    return sha256_json([answer.verdict, answer.value, answer.text, answer.version, answer.by_id])


def refresh(request: ReviewRequest) -> str:
    """Sets the digest on the (locked, unsaved) row; the caller saves it."""
    request.content_sha256 = content_sha256(request)
    return request.content_sha256
