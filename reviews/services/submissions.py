"""Submitting a model for review: lookup, submit, submit again, withdraw."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from registry import hub, jobs
from registry.actors import Actor
from registry.enums import JobKind
from registry.exceptions import Conflict, InvalidInput
from registry.hub import HubRevision
from registry.models import Job, RegisteredModel, Team
from registry.permissions import Action, check
from registry.words import gettext, joined
from reviews import machines, permissions
from reviews.checklists.templates import current_version
from reviews.enums import OPEN_STATUSES, DataClass, Environment, ReviewStatus
from reviews.models import ReviewRequest


@dataclass(frozen=True)
class Submission:
    """What a person fills in, checked."""

    model_id: str
    requested_revision: str
    use_case: str
    environment: str
    data_class: str
    owner: str


def check_submission(
    *, model_id: str, revision: str, use_case: str, environment: str, data_class: str, owner: str = ""
) -> Submission:
    """Raises InvalidInput that names the field and the cure."""
    typed_id, typed_revision = hub.parse_reference(model_id)
    if len(use_case.strip()) < 10:
        raise InvalidInput(
            gettext("Describe the use case in a sentence (at least 10 characters): reviewers decide on it."),
            code="use_case_missing", field="use_case",
        )  # fmt: skip
    if len(use_case) > 4000:
        raise InvalidInput(
            gettext("The use case has at most 4,000 characters."), code="too_long", field="use_case"
        )
    if environment not in Environment.values:
        raise InvalidInput(
            gettext("The environment is one of: %(environment)s.", environment=", ".join(Environment.values)),
            field="environment",
        )
    if data_class not in DataClass.values:
        raise InvalidInput(
            gettext("The data class is one of: %(dataclass)s.", dataclass=", ".join(DataClass.values)),
            field="data_class",
        )
    return Submission(
        model_id=typed_id,
        requested_revision=hub.check_revision(revision or typed_revision),
        use_case=use_case.strip(),
        environment=environment,
        data_class=data_class,
        owner=owner.strip()[:120],
    )


def look_up(*, actor: Actor, model_id: str, revision: str = "") -> HubRevision:
    """What the Hub says of it now, before anything is written. Raises what `hub.resolve` raises."""
    check(actor, Action.SUBMIT_MODEL)
    typed_id, typed_revision = hub.parse_reference(model_id)
    return hub.resolve(typed_id, revision or typed_revision or "main")


def submit_model(*, actor: Actor, submission: Submission) -> ReviewRequest:
    """Opens a review request and starts its checks.

    1. role, 2. ask the Hub (outside the transaction: it may be slow), 3. write request and job, 4. audit. The job resolves
    again and is the one that counts. Raises NotAllowed, InvalidInput (what blocks an intake), HubError and its kinds,
    Conflict (the same question is already open).
    """
    check(actor, Action.SUBMIT_MODEL)
    found = hub.resolve(submission.model_id, submission.requested_revision)
    if found.blockers:
        raise InvalidInput(joined(found.blockers), code="incomplete_repository", field="model_id")
    with transaction.atomic():
        team = actor.in_team
        model, _ = RegisteredModel.objects.get_or_create(team=team, model_id=submission.model_id)
        _check_not_open(model, submission, found.commit_sha)
        now = timezone.now()
        template = current_version(team)
        request = ReviewRequest.objects.create(
            team=team,
            model=model,
            requested_revision=submission.requested_revision,
            use_case=submission.use_case,
            environment=submission.environment,
            data_class=submission.data_class,
            owner=submission.owner or actor.user.display_name,
            checklist=template.items,
            checklist_version=template.label,
            template=template,
            submitted_by=actor.user,
            submitted_at=now,
            edited_by=actor.user,
        )
        _start_checks(actor, request, "review.submitted")
    return request


def _check_not_open(model: RegisteredModel, submission: Submission, commit_sha: str) -> None:
    twin = (
        ReviewRequest.objects.filter(
            model=model, environment=submission.environment, status__in=OPEN_STATUSES
        )
        .filter(revision__commit_sha=commit_sha)
        .first()
    )
    if twin:
        raise Conflict(
            gettext(
                "%(model_id)s@%(commit_sha)s is already under review for %(environment)s (review %(twin)s). "
                "Follow that one, or withdraw it first.",
                model_id=model.model_id,
                commit_sha=commit_sha[:7],
                environment=submission.environment,
                twin=twin.pk,
            ),
            code="already_open",
            review=twin.pk,
        )


def _start_checks(actor: Actor, request: ReviewRequest, verb: str) -> None:
    request = machines.lock(request.pk)
    job = request_intake(
        actor=actor, team=request.team, model=request.model, revision=request.requested_revision
    )
    asked = {"environment": request.environment, "data_class": request.data_class}
    machines.move(request, "submit", actor=actor, verb=verb, data=asked, intake_job=job, problem="")


def request_intake(*, actor: Actor, team: Team, model: RegisteredModel, revision: str) -> Job:
    """The intake job of a model's revision as typed; an open one for the same is joined."""
    job, _ = jobs.enqueue(
        actor=actor,
        team=team,
        kind=JobKind.INTAKE,
        subject=f"model:{model.pk}@{revision}",
        title=f"Intake of {model.model_id} at {revision}",
        params={"model": model.pk, "requested_revision": revision},
    )
    return job


@transaction.atomic
def resubmit(*, actor: Actor, request_pk: int, use_case: str = "", revision: str = "") -> ReviewRequest:
    """Starts the next round after changes were requested: votes of the earlier round do not count any more."""
    request = machines.lock(request_pk)
    permissions.check_resubmit(actor, request)
    if use_case.strip():
        request.use_case = use_case.strip()[:4000]
    if revision.strip():
        request.requested_revision = hub.check_revision(revision)
    if request.status == ReviewStatus.CHANGES_REQUESTED:
        request.round += 1
    request.revision, request.edited_by = None, actor.user
    request.save(update_fields=["use_case", "requested_revision", "round", "revision", "edited_by"])
    _start_checks(actor, request, "review.resubmitted")
    return machines.lock(request_pk)


@transaction.atomic
def withdraw(*, actor: Actor, request_pk: int) -> ReviewRequest:
    """The submitter takes the question back. Raises NotAllowed, Conflict."""
    request = machines.lock(request_pk)
    permissions.check_withdraw(actor, request)
    return machines.move(request, "withdraw", actor=actor)


@transaction.atomic
def supersede_older(request: ReviewRequest) -> None:
    """Open requests of the same model and environment for another commit give way to the newer one."""
    older = ReviewRequest.objects.filter(
        model=request.model, environment=request.environment, status=ReviewStatus.IN_REVIEW, pk__lt=request.pk
    ).exclude(revision=request.revision)
    assert request.revision is not None
    for pk in list(older.values_list("pk", flat=True)):
        newer = f"{request.model.model_id}@{request.revision.short_sha}"
        machines.move(machines.lock(pk), "supersede", actor=None, data={"newer": newer})
