"""The code audit's API: what is to be judged and by whom it was, the text of a file, verdicts, waivers."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from registry import queries, remote_code
from registry.access import MEMBER, member, rules
from registry.api.serializers import ErrorAnswer
from registry.api.views import actor_in, valid
from registry.enums import Scope
from registry.exceptions import NotFound
from registry.models import Revision
from registry.permissions import Action, check
from reviews.code_audits import blocking, judging, sources
from reviews.code_audits.states import Judged, judged_files, living_waiver
from reviews.enums import FileMark


class VerdictInput(serializers.Serializer[Any]):
    path = serializers.CharField(max_length=500, trim_whitespace=False)
    sha256 = serializers.RegexField("^[0-9a-f]{64}$", help_text="Of the bytes that were read.")
    verdict = serializers.ChoiceField(choices=FileMark.choices)
    reason = serializers.CharField(max_length=2000, required=False, allow_blank=True, default="")
    seen = serializers.IntegerField(
        min_value=0, required=False, allow_null=True, default=None,
        help_text="Id of the newest verdict on these bytes that was seen, 0 for none: refused with 409 when there is another.",
    )  # fmt: skip


class WaiverInput(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=2000)
    owner = serializers.CharField(max_length=150, help_text="Username of who answers for the risk.")
    expires_at = serializers.DateTimeField()


class WaiverEndInput(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=2000)


class CodeVerdictAnswer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    verdict = serializers.ChoiceField(choices=FileMark.choices)
    reason = serializers.CharField()
    by = serializers.CharField()
    at = serializers.DateTimeField()
    commit_sha = serializers.CharField(help_text="The commit that it was read at.")


class CodeFlagAnswer(serializers.Serializer[Any]):
    line = serializers.IntegerField()
    call = serializers.CharField()
    why = serializers.CharField()


class CodeFileAnswer(serializers.Serializer[Any]):
    path = serializers.CharField()
    sha256 = serializers.CharField()
    size = serializers.IntegerField()
    reachable = serializers.BooleanField(help_text="A loader would import it.")
    flagged = CodeFlagAnswer(many=True)
    mark = serializers.ChoiceField(choices=["open", "passed", "failed"])
    verdict = CodeVerdictAnswer(allow_null=True)
    unchanged_since = serializers.CharField(
        allow_null=True, help_text="The commit whose audit its verdict comes from, when it is another."
    )
    last_audited_sha256 = serializers.CharField(
        allow_null=True, help_text="What was judged last under this path, when it is other bytes."
    )


class CodeWaiverAnswer(serializers.Serializer[Any]):
    reason = serializers.CharField()
    owner = serializers.CharField()
    by = serializers.CharField()
    at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class CodeAuditAnswer(serializers.Serializer[Any]):
    state = serializers.CharField(help_text="not_applicable, pending, passed, failed or waived, as of now.")
    remote_code_sha256 = serializers.CharField(allow_null=True)
    missing = serializers.ListField(child=serializers.CharField())
    files = CodeFileAnswer(many=True)
    waiver = CodeWaiverAnswer(allow_null=True)
    url = serializers.CharField()


class CodeSourceAnswer(serializers.Serializer[Any]):
    path = serializers.CharField()
    sha256 = serializers.CharField()
    text = serializers.CharField(trim_whitespace=False, help_text="As UTF-8, at most 2 MiB.")
    notes = serializers.ListField(
        child=serializers.CharField(), help_text="What to know before believing the text."
    )


def _revision(request: Request, org: str, name: str, commit_sha: str) -> Revision:
    model = queries.model_by_id(actor_in(request), f"{org}/{name}")
    rows = queries.revisions_of(actor_in(request)).filter(model=model)
    return queries.get_or_404(rows, commit_sha=commit_sha)


def _file(judged: Judged) -> dict[str, Any]:
    file, verdict = judged.file, judged.verdict
    return {
        "path": file.path,
        "sha256": file.sha256,
        "size": file.size,
        "reachable": file.reachable,
        "flagged": file.flagged,
        "mark": judged.mark,
        "verdict": {
            "id": verdict.pk,
            "verdict": verdict.verdict,
            "reason": verdict.reason,
            "by": verdict.by.username,
            "at": verdict.at.isoformat(),
            "commit_sha": verdict.revision.commit_sha,
        }
        if verdict
        else None,
        "unchanged_since": judged.inherited_from.commit_sha if judged.inherited_from else None,
        "last_audited_sha256": judged.before.sha256 if judged.before else None,
    }


def _answer(revision: Revision, status: int = 200) -> Response:
    revision.refresh_from_db(fields=["code_audit", "code_waived_until"])
    waiver = living_waiver(revision)
    return Response(
        {
            "state": str(remote_code.verdict(revision)),
            "remote_code_sha256": revision.remote_code_sha256,
            "missing": blocking(revision),
            "files": [_file(judged) for judged in judged_files(revision)],
            "waiver": {
                "reason": waiver.reason,
                "owner": waiver.owner.username,
                "by": waiver.by.username,
                "at": waiver.at.isoformat(),
                "expires_at": waiver.expires_at.isoformat(),
            }
            if waiver
            else None,
            "url": remote_code.page_of(revision),
        },
        status=status,
    )


class CodeAuditView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(
        responses=CodeAuditAnswer, summary="The code of a revision: files, flagged calls, verdicts"
    )
    def get(self, request: Request, org: str, name: str, commit_sha: str) -> Response:
        return _answer(_revision(request, org, name, commit_sha))


class CodeSourceView(APIView):
    access = rules(get=member(Scope.ARTIFACTS))

    @extend_schema(responses={200: CodeSourceAnswer, 404: ErrorAnswer}, summary="The text of one code file")
    def get(self, request: Request, org: str, name: str, commit_sha: str, sha256: str) -> Response:
        revision = _revision(request, org, name, commit_sha)
        found = next((j.file for j in judged_files(revision) if j.file.sha256 == sha256), None)
        if found is None:
            raise NotFound(f"{revision} has no code file with that digest.", code="no_such_file")
        source = sources.read(found)
        text = "".join(f"{line}\n" for line in source.lines)
        return Response({"path": found.path, "sha256": sha256, "text": text, "notes": source.notes})


class CodeVerdictsView(APIView):
    access = rules(post=member(Scope.REVIEW))

    @extend_schema(
        request=VerdictInput,
        responses={
            201: CodeAuditAnswer,
            403: ErrorAnswer,
            404: ErrorAnswer,
            409: ErrorAnswer,
            422: ErrorAnswer,
        },
        summary="Judge one file of code",
    )
    def post(self, request: Request, org: str, name: str, commit_sha: str) -> Response:
        revision = _revision(request, org, name, commit_sha)
        actor = actor_in(request)
        judging.check_judge(actor, revision)
        given = valid(VerdictInput(data=request.data))
        judging.judge_file(actor=actor, revision=revision, **given)
        return _answer(revision, 201)


class CodeWaiverView(APIView):
    access = rules(post=member(Scope.REVIEW), delete=member(Scope.REVIEW))

    @extend_schema(
        request=WaiverInput,
        responses={201: CodeAuditAnswer, 403: ErrorAnswer, 409: ErrorAnswer, 422: ErrorAnswer},
        summary="Waive the code audit for a while",
    )
    def post(self, request: Request, org: str, name: str, commit_sha: str) -> Response:
        revision = _revision(request, org, name, commit_sha)
        actor = actor_in(request)
        check(actor, Action.WAIVE_CODE_AUDIT)
        given = valid(WaiverInput(data=request.data))
        judging.waive_audit(actor=actor, revision=revision, **given)
        return _answer(revision, 201)

    @extend_schema(
        request=WaiverEndInput,
        responses={200: CodeAuditAnswer, 403: ErrorAnswer, 409: ErrorAnswer},
        summary="End the waiver before its time",
    )
    def delete(self, request: Request, org: str, name: str, commit_sha: str) -> Response:
        revision = _revision(request, org, name, commit_sha)
        actor = actor_in(request)
        check(actor, Action.WAIVE_CODE_AUDIT)
        reason = valid(WaiverEndInput(data=request.data))["reason"]
        judging.end_waiver(actor=actor, revision=revision, reason=reason)
        return _answer(revision)
