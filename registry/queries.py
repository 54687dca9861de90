"""What a team can see, and the reads that pages and the API share. Objects of other teams do not exist here."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Model, Q, QuerySet
from django.utils.translation import gettext_noop as _

from registry.actors import Actor
from registry.exceptions import NotFound
from registry.models import Approval, AuditEvent, Channel, Job, RegisteredModel, Revision, User
from registry.words import gettext


def models_of(actor: Actor) -> QuerySet[RegisteredModel]:
    return RegisteredModel.objects.filter(team=actor.in_team)


def revisions_of(actor: Actor) -> QuerySet[Revision]:
    return Revision.objects.filter(model__team=actor.in_team).select_related("model")


def approvals_of(actor: Actor) -> QuerySet[Approval]:
    return Approval.objects.filter(model__team=actor.in_team).select_related("model", "revision")


def channels_of(actor: Actor) -> QuerySet[Channel]:
    return Channel.objects.filter(model__team=actor.in_team).select_related("model", "current__revision")


def jobs_of(actor: Actor) -> QuerySet[Job]:
    return Job.objects.filter(team=actor.in_team).select_related("requested_by")


def events_of(actor: Actor) -> QuerySet[AuditEvent]:
    return AuditEvent.objects.filter(team_id=actor.in_team.pk)


M = TypeVar("M", bound=Model)

# What the rows are called in the sentence of `get_or_404`.
NOUNS = (
    _("registered model"), _("revision"), _("approval"), _("channel"), _("job"), _("golden set"), _("review request"),
    _("policy version"), _("waiver"), _("checklist template"), _("template version"), _("api token"), _("code waiver"),
    _("audit event"), _("access event"),
)  # fmt: skip


def get_or_404(rows: QuerySet[M], **lookup: object) -> M:
    """The one row. Raises NotFound with the same words whether it is missing or another team's."""
    found = rows.filter(**lookup).first()
    if found is None:
        name = str(rows.model._meta.verbose_name)
        raise NotFound(
            gettext(
                "There is no such %(name)s in your team. Check the address, or switch the team.",
                name=gettext(name),
            )
        )
    return found


def model_by_id(actor: Actor, model_id: str) -> RegisteredModel:
    """Raises NotFound with what to do next."""
    model = models_of(actor).filter(model_id=model_id).first()
    if model is None:
        raise NotFound(
            gettext(
                "%(model_id)s is not registered in the team %(team)s. Submit it for review first.",
                model_id=model_id,
                team=actor.in_team.name,
            ),
            code="model_unknown",
            model_id=model_id,
        )
    return model


def people_named(text: str) -> QuerySet[User, int]:
    """Ids of people whose name contains `text`, for filters on events of the actor's own team."""
    named = Q(username__icontains=text) | Q(first_name__icontains=text) | Q(last_name__icontains=text)
    return User.objects.filter(named).values_list("pk", flat=True)
