"""Which template a team's requests are asked, and how a new version comes in."""

from __future__ import annotations

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from registry import audit
from registry.actors import Actor
from registry.exceptions import Conflict
from registry.models import Team
from registry.permissions import Action, check
from registry.words import gettext
from reviews.checklists.template import Template, diff, parse, shipped, shipped_source
from reviews.models import ChecklistTemplate, ChecklistTemplateVersion


def versions_of(team: Team) -> QuerySet[ChecklistTemplateVersion]:
    """The team's own versions and the shipped ones, newest first."""
    rows = ChecklistTemplateVersion.objects.select_related("template", "by")
    return (rows.filter(template__team=team) | rows.filter(template__team__isnull=True)).order_by(
        "-at", "-pk"
    )


@transaction.atomic
def shipped_version() -> ChecklistTemplateVersion:
    """The row of the template that this release ships, written on its first use."""
    template, _ = ChecklistTemplate.objects.get_or_create(team=None, slug=shipped().slug)
    last = template.versions.select_related("template").order_by("-number").first()
    if last and last.sha256 == shipped().sha256:
        return last
    template = ChecklistTemplate.objects.select_for_update().get(pk=template.pk)
    made = _add(template, shipped(), shipped_source(), actor=None, note="Shipped with Assay")
    changed = len(diff(last.items if last else [], made.items))
    audit.record(
        actor=None,
        verb="template.version_added",
        subject=made,
        name=made.label,
        sha256=made.sha256,
        changes=changed,
    )
    return made


def own_version(team: Team) -> ChecklistTemplateVersion | None:
    own = ChecklistTemplateVersion.objects.filter(template__team=team).select_related("template")
    return own.order_by("-at", "-pk").first()


def current_version(team: Team) -> ChecklistTemplateVersion:
    """What a request that is submitted now is asked: the team's newest version, else the shipped one (written if new)."""
    return own_version(team) or shipped_version()


def shown_version(team: Team) -> ChecklistTemplateVersion:
    """The same for pages: reading writes nothing, so a shipped one that nobody has used yet has no row."""
    shipped_rows = ChecklistTemplateVersion.objects.filter(
        template__team__isnull=True, sha256=shipped().sha256
    )
    found = own_version(team) or shipped_rows.select_related("template").first()
    return found or ChecklistTemplateVersion(
        template=ChecklistTemplate(slug=shipped().slug), number=1, source=shipped_source(), name=shipped().name,
        items=shipped().items, sha256=shipped().sha256,
    )  # fmt: skip


@transaction.atomic
def add_version(*, actor: Actor, source: str, note: str = "") -> ChecklistTemplateVersion:
    """An admin's new version for the own team. Open requests keep what they were submitted with.

    Raises NotAllowed, InvalidInput (what is wrong with the YAML), Conflict (nothing changed).
    """
    check(actor, Action.MANAGE_TEMPLATES)
    parsed = parse(source)
    current = current_version(actor.in_team)
    if parsed.sha256 == current.sha256:
        raise Conflict(
            gettext("This is what %(current)s says already: nothing changed.", current=current.label),
            code="same_template",
        )
    template, _ = ChecklistTemplate.objects.get_or_create(team=actor.in_team, slug=parsed.slug)
    template = ChecklistTemplate.objects.select_for_update().get(pk=template.pk)
    made = _add(template, parsed, source, actor=actor, note=note)
    audit.record(
        actor=actor,
        verb="template.version_added",
        subject=made,
        name=made.label,
        sha256=made.sha256,
        changes=len(diff(current.items, parsed.items)),
    )
    return made


def _add(
    template: ChecklistTemplate, parsed: Template, source: str, *, actor: Actor | None, note: str
) -> ChecklistTemplateVersion:
    last = template.versions.order_by("-number").first()
    return ChecklistTemplateVersion.objects.create(
        template=template,
        number=last.number + 1 if last else 1,
        source=source,
        name=parsed.name,
        items=parsed.items,
        sha256=parsed.sha256,
        by=actor.user if actor else None,
        at=timezone.now(),
        note=note.strip()[:500],
    )
