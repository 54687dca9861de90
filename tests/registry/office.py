"""An installation whose every row was made by a service, so that each has its event; and where its database is."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

from django.db import connection, transaction

from inference.services.golden_sets import create_golden_set
from registry import audit, checkpoints, signing
from registry.actors import Actor, actor_for
from registry.enums import EvidenceKind, Role
from registry.models import Approval, Evidence, Revision, User
from registry.services.approvals import change_approval
from registry.services.channels import move_channel
from registry.services.teams import console_actor, create_team, grant_role, remove_role
from registry.services.tokens import create_token, revoke_token
from reviews import machines
from reviews.checklists.template import shipped_source
from reviews.checklists.templates import add_version, shipped_version
from reviews.code_audits.judging import end_waiver as end_code_waiver
from reviews.models import ReviewRequest
from reviews.services.answering import save_answers
from reviews.services.checks import enter_review
from reviews.services.commenting import add_comment, settle_thread
from reviews.services.deciding import decide, request_changes
from reviews.services.policies import end_waiver, grant_waiver, save_policy
from reviews.services.recording import save_record
from tests.factories import World, an_answer, audit_code, make_evidence, make_review, make_revision, make_user
from tests.reviews.code import HELPER_2, code_revision

POLICY = """policy: house-rules
title: House rules
rules:
  - key: sure
    title: Sure of itself
    require: evaluation.accuracy >= 0.4
    effect: warn
    message: Too often wrong.
"""


class Office:
    """Two teams' worth of history in one: three approvals, moves, code that was read, waivers, policies, a template."""

    def __init__(self, folder: Path) -> None:
        root = console_actor(make_user("root", is_superuser=True))
        self.team = create_team(actor=root, slug="acme", name="Acme")
        self.people: dict[str, Actor] = {}
        for role in Role:
            user = make_user(role.value)
            grant_role(actor=root, user=user, team=self.team, role=role)
            self.people[role] = actor_for(user, self.team, auth_method="session")
        self.world = World(team=self.team, other=None, server=None, **self.people)  # type: ignore[arg-type]
        remove_role(actor=root, user=self.user("viewer"), team=self.team, role="viewer")
        create_token(actor=self.people["submitter"], name="kept", scopes=["read"], days=9)
        gone, _ = create_token(actor=self.people["submitter"], name="gone", scopes=["read", "infer"], days=9)
        revoke_token(actor=self.people["submitter"], token_pk=gone.pk)
        rows = "text,label\ngood,positive\nbad,negative\n"
        create_golden_set(
            actor=self.people["reviewer"], model_id="acme/other", name="two", data=rows.encode()
        )
        self._rules()
        self.approvals = [self.approve(sha * 40) for sha in "abc"]
        for approval in self.approvals[:2]:
            self.move(approval)
        change_approval(
            actor=self.people["admin"], approval=self.approvals[2], action="suspend", reason="A finding came in.",
        )  # fmt: skip
        self._code()
        checkpoints.write_all()
        self.pem = folder / "key.pub.pem"
        self.pem.write_text(signing.public_key_pem())

    def user(self, role: str) -> User:
        return User.objects.get(username=role)

    def _rules(self) -> None:
        admin = self.people["admin"]
        shipped_version()
        words = shipped_source().replace("en: Model Card Review", "en: Our Review", 1)
        add_version(actor=admin, source=words)
        save_policy(actor=admin, source=POLICY, state="in_force")
        save_policy(actor=admin, source=POLICY.replace("0.4", "0.45"), state="dry_run")

    def recorded(self, revision: Revision) -> Revision:
        """What intake writes down with a revision, and a worker with a run."""
        with transaction.atomic():
            audit.record(
                actor=None, team=self.team, verb="revision.recorded", subject=revision, model_id=revision.model.model_id,
                sha=revision.commit_sha, manifest_sha256=revision.manifest_sha256, files=1, megabytes="0.1", job=0,
                code_audit=str(revision.code_audit),
            )  # fmt: skip
            for kind in EvidenceKind:
                run: Evidence = make_evidence(self.people["submitter"], revision, kind)
                audit.record(
                    actor=None, team=self.team, verb="evidence.published", subject=run, kind=str(kind.label),
                    model_id=revision.model.model_id, sha=revision.commit_sha, summary=run.summary,
                    evidence_sha256=run.sha256, job=run.job_id,
                )  # fmt: skip
        return revision

    @transaction.atomic
    def submit(self, revision: Revision) -> ReviewRequest:
        """Through every state up to the review, as the services do when the checks have finished."""
        draft = make_review(self.world, revision, status="draft", environment="staging")
        request = machines.lock(draft.pk)
        asked = {"environment": request.environment, "data_class": request.data_class}
        machines.move(request, "submit", actor=self.people["submitter"], data=asked)
        machines.move(request, "start_checks", actor=None)
        enter_review(request, revision)
        return request

    def answer(self, request: ReviewRequest) -> None:
        for role in ("reviewer", "security_auditor"):
            mine = {i["key"]: an_answer(i) for i in request.checklist if i.get("role", "reviewer") == role}
            audited = request.revision is not None and request.revision.remote_code_sha256 is not None
            person = self.people["reviewer" if not audited else role]
            save_answers(actor=person, request_pk=request.pk, answers=mine)

    def approve(self, sha: str) -> Approval:
        """With a wider record than was asked for, so that two people vote."""
        request = self.submit(self.recorded(make_revision(self.team, sha)))
        self.answer(request)
        self.talk(request)
        wider = {
            "data_classes": ["public", "internal", "confidential"],
            "rollback_target": "People sort by hand.",
        }
        save_record(actor=self.people["reviewer"], request_pk=request.pk, record=wider)
        decide(
            actor=self.people["security_auditor"],
            request_pk=request.pk,
            decision="approved",
            reason="It is sound.",
        )
        approval = decide(actor=self.people["reviewer"], request_pk=request.pk, decision="approved").approval
        assert approval is not None
        return approval

    def talk(self, request: ReviewRequest) -> None:
        """A thread that is answered, settled and opened again, and people who are named in it."""
        first = add_comment(
            actor=self.people["reviewer"], request_pk=request.pk, text="Ask @submitter and @admin.", key="license",
        )  # fmt: skip
        add_comment(
            actor=self.people["submitter"], request_pk=request.pk, text="It is @admin's.", thread_pk=first.pk
        )
        for resolved in (True, False):
            settle_thread(
                actor=self.people["reviewer"], request_pk=request.pk, thread_pk=first.pk, resolved=resolved
            )

    def move(self, approval: Approval) -> None:
        move_channel(
            actor=self.people["release_manager"], model=approval.model, name="staging", approval=approval,
            reason="It is approved.",
        )  # fmt: skip

    def _code(self) -> None:
        """One commit whose audit was waived for a while, and the next that was read; a rule that was waived, twice."""
        first = self.recorded(code_revision(self.world, "d" * 40, model_id="acme/coded"))
        sent_back = self.submit(first)
        request_changes(
            actor=self.people["reviewer"], request_pk=sent_back.pk, changes={"license": "Name the licence, @submitter."},
        )  # fmt: skip
        audit_code(self.world, first, "waived")
        end_code_waiver(actor=self.people["security_auditor"], revision=first, reason="The trial is over.")
        second = self.recorded(
            code_revision(self.world, "e" * 40, model_id="acme/coded", helper__py=HELPER_2)
        )
        audit_code(self.world, second, "passed")
        third = self.recorded(
            code_revision(self.world, "f" * 40, model_id="acme/coded", helper__py=b"import os")
        )
        audit_code(self.world, third, "waived")
        for _ in range(2):
            waiver = grant_waiver(
                actor=self.people["reviewer"],
                revision=second,
                rule="house-rules/sure",
                reason="Known and watched.",
                days=7,
            )
            end_waiver(actor=self.people["admin"], waiver=waiver)
        grant_waiver(
            actor=self.people["reviewer"], revision=second, rule="house-rules/sure", reason="Known and watched.", days=7,
            owner="admin",
        )  # fmt: skip


def address() -> str:
    """What `--database` takes."""
    if connection.vendor == "sqlite":
        return str(connection.settings_dict["NAME"])
    connection.ensure_connection()
    info = connection.connection.info
    parts = {
        "host": info.host,
        "port": info.port,
        "user": info.user,
        "password": info.password,
        "dbname": info.dbname,
    }
    return f"postgresql://?{urlencode({key: value for key, value in parts.items() if value})}"
