"""The one door to `Revision.code_audit`: verdicts, waivers, their end. What follows from them is always computed again.

Locks, in this order: the requests of the revision (as decisions do), then revisions by number.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from registry import audit, remote_code
from registry.actors import Actor
from registry.enums import CodeAudit
from registry.exceptions import Conflict, InvalidInput, NotAllowed, NotFound
from registry.inspection.python_code import MAX_PYTHON_BYTES
from registry.models import Membership, Revision, RevisionFile
from registry.permissions import Action, check
from registry.services.channels import check_reason
from registry.words import gettext
from reviews.code_audits.manifest import CodeFile, code_files
from reviews.code_audits.states import ENDED, judged_files, living_waiver, state_of, submitters_of
from reviews.enums import Decision, FileMark, ReviewStatus
from reviews.models import CodeWaiver, FileVerdict, ReviewRequest, Vote

MAX_WAIVER_DAYS = 90


def check_judge(actor: Actor, revision: Revision) -> None:
    """Role, scope, four eyes. Raises NotAllowed."""
    check(actor, Action.JUDGE_CODE)
    if actor.user.pk in submitters_of(revision):
        raise NotAllowed(
            gettext("You submitted this model, so somebody else must audit its code."), code="four_eyes"
        )
    _check_not_approver(actor, revision)


def check_waive(actor: Actor, revision: Revision) -> None:
    """Role, scope, four eyes, and that there is something to waive. Raises NotAllowed or Conflict."""
    check(actor, Action.WAIVE_CODE_AUDIT)
    if actor.user.pk in submitters_of(revision):
        raise NotAllowed(
            gettext("You submitted this model, so somebody else must waive its audit."), code="four_eyes"
        )
    _check_not_approver(actor, revision)
    found = remote_code.verdict(revision)
    if found != CodeAudit.PENDING:
        why = {
            CodeAudit.FAILED: gettext(
                "A file of it failed; a waiver is for code that nobody has read yet, not against a verdict."
            ),
            CodeAudit.WAIVED: gettext("Its audit is waived already. End that waiver first."),
        }.get(found, gettext("Its audit needs no waiver."))
        raise Conflict(why, code="nothing_to_waive")


def _check_not_approver(actor: Actor, revision: Revision) -> None:
    digests = [file.sha256 for file in code_files(revision)]
    carrying = RevisionFile.objects.filter(
        blob_id__in=digests, revision__model__team=revision.model.team_id
    ).values("revision_id")
    votes = Vote.objects.filter(
        reviewer=actor.user, decision=Decision.APPROVED, request__revision__in=[revision.pk]
    ) | Vote.objects.filter(reviewer=actor.user, decision=Decision.APPROVED, request__revision__in=carrying)
    for vote in votes.exclude(request__status__in=ENDED).select_related(
        "request__model", "request__revision"
    ):
        if vote.round == vote.request.round:
            raise NotAllowed(
                gettext(
                    "You voted to approve %(revision)s, which carries this code, so another security auditor "
                    "must judge it.",
                    revision=vote.request.revision,
                ),
                code="four_eyes",
            )


@transaction.atomic
def judge_file(
    *,
    actor: Actor,
    revision: Revision,
    path: str,
    sha256: str,
    verdict: str,
    reason: str = "",
    seen: int | None = None,
) -> FileVerdict:
    """Writes a verdict on these bytes and moves every revision of the team that carries them.

    `seen`: the newest verdict on them that the auditor has seen (0: none). The same verdict of the same person once more
    writes nothing. Raises NotAllowed, NotFound (no such file), InvalidInput, Conflict (another verdict came meanwhile).
    """
    file = _file(revision, path, sha256)
    carrying = _carrying(revision, file)
    locked = _lock(revision, carrying)
    check_judge(actor, locked)
    text = _checked(file, verdict, reason)
    last = FileVerdict.objects.filter(team=actor.in_team, sha256=sha256).select_related("by").first()
    if last and (last.by_id, last.verdict, last.reason) == (actor.user.pk, verdict, text):
        return last
    if seen is not None and seen != (last.pk if last else 0):
        who = (
            gettext(
                "%(by)s judged this file as %(verdict)s",
                by=last.by.display_name,
                verdict=gettext(str(last.verdict)),
            )
            if last
            else gettext("The verdict changed")
        )
        raise Conflict(
            gettext("%(who)s after you opened it. Look at the reason, then judge again.", who=who),
            code="changed_since_seen",
        )
    made = FileVerdict.objects.create(
        team=actor.in_team, revision=locked, path=path, sha256=sha256, verdict=verdict, reason=text, by=actor.user,
        at=timezone.now(),
    )  # fmt: skip
    audit.record(
        actor=actor,
        verb="code.judged",
        subject=locked,
        model_id=locked.model.model_id,
        sha=locked.commit_sha,
        path=path,
        sha256=sha256,
        verdict=verdict,
        reason=f", {text}" if text else "",
        judged=made.pk,
    )
    for pk in carrying:
        settle(pk)
    return made


def _lock(revision: Revision, others: list[int] | None = None) -> Revision:
    """The revision as of now; decisions on it wait until this transaction ends. `others` are locked in the same order."""
    list(ReviewRequest.objects.select_for_update().filter(revision=revision).order_by("pk").values_list("pk"))
    rows = Revision.objects.select_for_update(no_key=True).filter(pk__in=[*(others or []), revision.pk])
    list(rows.order_by("pk").values_list("pk"))
    return _locked(revision.pk)


def _locked(pk: int) -> Revision:
    # no_key: an approval that refers to the row need not wait.
    rows = Revision.objects.select_for_update(of=("self",), no_key=True).select_related("model__team")
    return rows.get(pk=pk)


def _file(revision: Revision, path: str, sha256: str) -> CodeFile:
    for file in code_files(revision):
        if (file.path, file.sha256) == (path, sha256):
            return file
    raise NotFound(
        gettext(
            "%(revision)s has no code file %(path)r with that digest. Open its code audit again.",
            revision=revision,
            path=path[:80],
        ),
        code="no_such_file",
    )


def _checked(file: CodeFile, verdict: str, reason: str) -> str:
    if verdict not in FileMark.values:
        raise InvalidInput(
            gettext("A verdict is one of: %(known)s.", known=", ".join(FileMark.values)),
            code="bad_verdict",
            field="verdict",
        )
    if verdict == FileMark.FAILED:
        return check_reason(reason)
    if file.size > MAX_PYTHON_BYTES:
        raise InvalidInput(
            gettext(
                "%(path)s is larger than %(limit)s MiB, so nobody can have read it: it cannot "
                "pass. Ask the author to split it.",
                path=file.path,
                limit=MAX_PYTHON_BYTES // 1024 // 1024,
            ),
            code="too_large_to_pass",
        )
    if len(reason) > 2000:
        raise InvalidInput(
            gettext("A reason has at most 2,000 characters."), code="reason_too_long", field="reason"
        )
    return reason.strip()


def _carrying(revision: Revision, file: CodeFile) -> list[int]:
    """Revisions of the team with these bytes, by number."""
    team = revision.model.team_id
    if file.is_keys:
        rows = Revision.objects.filter(model__team=team, remote_code_sha256__isnull=False).select_related(
            "model"
        )
        same = {r.pk for r in rows.defer("card_text", "findings") if _has(r, file)}
        return sorted(same | {revision.pk})
    pks = RevisionFile.objects.filter(blob_id=file.sha256, revision__model__team=team)
    coded = pks.filter(revision__remote_code_sha256__isnull=False)
    return sorted({*coded.values_list("revision_id", flat=True), revision.pk})


def _has(revision: Revision, wanted: CodeFile) -> bool:
    return any(file.is_keys and file.sha256 == wanted.sha256 for file in code_files(revision))


@transaction.atomic
def settle(revision_pk: int) -> CodeAudit:
    """Computes the state of a revision's code audit again and writes it if it moved. Ends a waiver that is over."""
    revision = _locked(revision_pk)
    if revision.remote_code_sha256 is None:
        return CodeAudit.NOT_APPLICABLE
    waiver, now = living_waiver(revision), timezone.now()
    in_force = waiver if waiver and waiver.expires_at > now else None
    state = state_of(revision, judged_files(revision), in_force)
    if waiver and state != CodeAudit.WAIVED:
        why = {
            CodeAudit.PASSED: gettext("the audit has passed"),
            CodeAudit.FAILED: gettext("the audit has failed"),
        }
        _end(waiver, revision, None, why.get(state, gettext("its time is over")))
    until = waiver.expires_at if waiver and state == CodeAudit.WAIVED else None
    if (revision.code_audit, revision.code_waived_until) != (state, until):
        moved = revision.code_audit != state
        # Both columns in one statement: the database lets no state pass where they contradict each other.
        Revision.objects.filter(pk=revision.pk).update(code_audit=state, code_waived_until=until)
        if moved:
            audit.record(
                actor=None, team=revision.model.team, verb="code.moved", subject=revision,
                model_id=revision.model.model_id, sha=revision.commit_sha, state=str(state), before=revision.code_audit,
            )  # fmt: skip
    return state


def _end(waiver: CodeWaiver, revision: Revision, actor: Actor | None, reason: str) -> None:
    waiver.ended_at, waiver.ended_by = timezone.now(), actor.user if actor else None
    waiver.save(update_fields=["ended_at", "ended_by"])
    audit.record(
        actor=actor, team=revision.model.team, verb="code.waiver_ended", subject=revision,
        model_id=revision.model.model_id, sha=revision.commit_sha, reason=reason, waiver=waiver.pk,
    )  # fmt: skip


@transaction.atomic
def inherit(revision_pk: int) -> CodeAudit:
    """At the end of checks: what was judged before on the same bytes counts at once, and the log says so."""
    state = settle(revision_pk)
    revision = _locked(revision_pk)
    kept = [file.file.path for file in judged_files(revision) if file.mark != "open" and file.inherited_from]
    if kept:
        audit.record(
            actor=None, team=revision.model.team, verb="code.inherited", subject=revision,
            model_id=revision.model.model_id, sha=revision.commit_sha, files=len(kept), paths=kept[:100],
        )  # fmt: skip
    return state


@transaction.atomic
def waive_audit(
    *, actor: Actor, revision: Revision, owner: str, reason: str, expires_at: datetime | None
) -> CodeWaiver:
    """Lets the code count as audited until `expires_at`. `owner`: the username of who answers for the risk.

    Raises NotAllowed, Conflict (nothing to waive), InvalidInput (reason, owner, end).
    """
    locked = _lock(revision)
    settle(locked.pk)
    locked.refresh_from_db(fields=["code_audit", "code_waived_until"])
    check_waive(actor, locked)
    text, now = check_reason(reason), timezone.now()
    if expires_at is None or not now < expires_at <= now + timedelta(days=MAX_WAIVER_DAYS + 1):
        raise InvalidInput(
            gettext(
                "Say when the waiver ends: a time to come, at most %(limit)s days from now.",
                limit=MAX_WAIVER_DAYS,
            ),
            code="bad_end",
            field="expires_at",
        )
    member = (
        Membership.objects.filter(team=actor.in_team, user__username=owner.strip(), user__is_active=True)
        .select_related("user")
        .first()
    )
    if member is None:
        raise InvalidInput(
            gettext("The owner of a waiver is a member of your team; give the username."),
            code="bad_owner",
            field="owner",
        )
    if member.user_id in submitters_of(locked):
        raise InvalidInput(
            gettext(
                "%(user)s submitted this model, so somebody else must answer for the waiver.",
                user=member.user.display_name,
            ),
            code="owner_is_submitter",
            field="owner",
        )
    made = CodeWaiver.objects.create(
        revision=locked, reason=text, owner=member.user, by=actor.user, at=now, expires_at=expires_at
    )
    audit.record(
        actor=actor, verb="code.waived", subject=locked, model_id=locked.model.model_id, sha=locked.commit_sha,
        reason=text, until=expires_at.isoformat(), owner=member.user.pk, waiver=made.pk,
    )  # fmt: skip
    settle(locked.pk)
    return made


@transaction.atomic
def end_waiver(*, actor: Actor, revision: Revision, reason: str) -> None:
    """Takes a waiver back before its time. Raises NotAllowed, InvalidInput (reason), Conflict (there is none)."""
    locked = _lock(revision)
    check(actor, Action.WAIVE_CODE_AUDIT)
    text = check_reason(reason)
    waiver = living_waiver(locked)
    if waiver is None:
        raise Conflict(gettext("There is no waiver to end."), code="no_waiver")
    _end(waiver, locked, actor, text)
    settle(locked.pk)


def sweep() -> int:
    """Called by beat. Writes down the end of waivers, which consumers met at its minute already; and settles what is under
    review, in case a verdict and the end of an intake passed each other. Returns how many waivers were over."""
    over = CodeWaiver.objects.filter(ended_at__isnull=True, expires_at__lte=timezone.now())
    ended = set(over.values_list("revision_id", flat=True))
    waiting = ReviewRequest.objects.filter(
        status=ReviewStatus.IN_REVIEW, revision__code_audit=CodeAudit.PENDING
    ).values_list("revision_id", flat=True)
    for pk in sorted({*ended, *(pk for pk in waiting if pk)}):
        settle(pk)
    return len(ended)
