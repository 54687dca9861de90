"""Writing policies and waivers. A change is a new version; each step is one locked row and one audit event."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from registry import audit
from registry.actors import Actor
from registry.exceptions import Conflict, InvalidInput, NotAllowed
from registry.models import Membership, Revision, User
from registry.permissions import Action, check
from registry.services.channels import check_reason
from registry.words import gettext, lowered
from reviews.models import Policy, PolicyState, PolicyVersion, ReviewRequest, Waiver
from reviews.policies.documents import read_policy
from reviews.policies.gate import policies_in_force

MAX_WAIVER_DAYS = 366
MOVES: dict[str, tuple[str, ...]] = {
    PolicyState.DRY_RUN: (PolicyState.DRAFT,),
    PolicyState.IN_FORCE: (PolicyState.DRAFT, PolicyState.DRY_RUN),
    PolicyState.RETIRED: (PolicyState.DRAFT, PolicyState.DRY_RUN, PolicyState.IN_FORCE),
}


@transaction.atomic
def save_policy(
    *, actor: Actor, source: str, state: str = PolicyState.DRAFT, seen: int | None = None
) -> PolicyVersion:
    """A new version of the policy that the YAML names, in the asked state.

    `seen` is the number of the version that the writer started from. Raises NotAllowed, PolicyError (with the line),
    Conflict when somebody wrote a newer one meanwhile.
    """
    check(actor, Action.EDIT_POLICY)
    document = read_policy(source)
    policy, _ = Policy.objects.get_or_create(team=actor.in_team, key=document.key)
    Policy.objects.select_for_update().get(pk=policy.pk)
    newest = policy.versions.order_by("-number").first()
    number = newest.number if newest else 0
    if seen is not None and seen != number:
        raise Conflict(
            gettext("Somebody saved version %(number)s of this policy meanwhile; you started from %(seen)s. "
                    "Compare the two, then save again.", number=number, seen=seen),
            code="changed_since_seen", newest=number,
        )  # fmt: skip
    now = timezone.now()
    version = PolicyVersion.objects.create(
        policy=policy, number=number + 1, title=document.title, source=source, sha256=document.sha256, author=actor.user,
        at=now, state=PolicyState.DRAFT, state_at=now, state_by=actor.user,
    )  # fmt: skip
    audit.record(
        actor=actor,
        verb="policy.saved",
        subject=version,
        policy=policy.key,
        number=version.number,
        title=version.title,
        sha256=version.sha256,
    )
    return (
        version
        if state == PolicyState.DRAFT
        else move_policy(actor=actor, version_pk=version.pk, state=state)
    )


@transaction.atomic
def move_policy(*, actor: Actor, version_pk: int, state: str) -> PolicyVersion:
    """Puts a version on a dry run, in force, or retires it. What was there before is retired with it."""
    check(actor, Action.EDIT_POLICY)
    # The policy's row is the lock of all its versions: two of them must not come into force side by side.
    Policy.objects.select_for_update().get(versions=version_pk)
    version = PolicyVersion.objects.select_related("policy").get(pk=version_pk)
    if version.state not in MOVES.get(state, ()):
        raise Conflict(
            gettext(
                "Version %(number)s is %(shown_state)s, so it cannot become that. Save a new version.",
                number=version.number,
                shown_state=lowered(version.shown_state.label),
            ),
            code="wrong_state",
        )
    if state in (PolicyState.IN_FORCE, PolicyState.DRY_RUN):
        for other in PolicyVersion.objects.filter(policy=version.policy, state=state).select_related(
            "policy"
        ):
            _move(actor, other, PolicyState.RETIRED)
    return _move(actor, version, state)


def _move(actor: Actor, version: PolicyVersion, state: str) -> PolicyVersion:
    version.state, version.state_at, version.state_by = state, timezone.now(), actor.user
    version.save(update_fields=["state", "state_at", "state_by"])
    audit.record(
        actor=actor,
        verb={
            PolicyState.DRY_RUN.value: "policy.dry_run",
            PolicyState.IN_FORCE.value: "policy.in_force",
            PolicyState.RETIRED.value: "policy.retired",
        }[state],
        subject=version,
        policy=version.policy.key,
        number=version.number,
        sha256=version.sha256,
    )
    return version


def check_waive(actor: Actor, revision: Revision) -> None:
    """Role and four eyes. Raises NotAllowed."""
    if ReviewRequest.objects.filter(revision=revision, submitted_by=actor.user).exists():
        raise NotAllowed(
            gettext("You submitted this model, so somebody else must waive its violations."), code="four_eyes"
        )
    check(actor, Action.WAIVE)


@transaction.atomic
def grant_waiver(
    *, actor: Actor, revision: Revision, rule: str, reason: str, days: int, owner: str = ""
) -> Waiver:
    """For `days`, `rule` ("policy/rule") does not stand in this revision's way; `owner` (a user name) answers for it.

    Raises NotAllowed, InvalidInput, Conflict (the same rule is waived already).
    """
    check_waive(actor, revision)
    _check_rule(actor, rule)
    text = check_reason(reason)
    if not 1 <= days <= MAX_WAIVER_DAYS:
        raise InvalidInput(
            gettext("A waiver lasts 1 to %(max_waiver_days)s days.", max_waiver_days=MAX_WAIVER_DAYS),
            code="bad_expiry",
            field="days",
        )
    answering = _owner(actor, owner, revision)
    Revision.objects.select_for_update().get(pk=revision.pk)
    now = timezone.now()
    if Waiver.objects.filter(
        revision=revision, rule=rule, ended_at__isnull=True, expires_at__gt=now
    ).exists():
        raise Conflict(
            gettext("This rule is waived for this revision already. End that waiver first."),
            code="already_waived",
        )
    waiver = Waiver.objects.create(
        revision=revision, rule=rule, reason=text, owner=answering, by=actor.user, at=now,
        expires_at=now + timedelta(days=days),
    )  # fmt: skip
    audit.record(
        actor=actor, verb="waiver.granted", subject=waiver, rule=rule, model_id=revision.model.model_id,
        sha=revision.commit_sha, owner=answering.pk, until=waiver.expires_at.date().isoformat(), reason=text,
        revision=revision.pk, expires_at=waiver.expires_at.isoformat(),
    )  # fmt: skip
    return waiver


def _check_rule(actor: Actor, rule: str) -> None:
    known = {
        f"{p.document.key}/{r.key}": r
        for p in policies_in_force(actor.in_team.pk, dry_run=True)
        for r in p.document.rules
    }
    if rule not in known:
        raise InvalidInput(
            gettext("No policy in force has this rule. Choose one of the revision's page."), field="rule"
        )
    if not known[rule].waivable:
        raise InvalidInput(
            gettext("“%(title)s” cannot be waived: it has a way of its own.", title=known[rule].title),
            field="rule",
        )


def _owner(actor: Actor, name: str, revision: Revision) -> User:
    if not name or name == actor.user.username:
        return actor.user
    member = Membership.objects.filter(team=actor.in_team, user__username=name).select_related("user").first()
    if member is None:
        raise InvalidInput(
            gettext("%(name)s is no member of this team.", name=name[:60]),
            code="owner_unknown",
            field="owner",
        )
    if ReviewRequest.objects.filter(revision=revision, submitted_by=member.user).exists():
        raise InvalidInput(
            gettext(
                "%(person)s submitted this model, so somebody else must answer for the waiver.",
                person=member.user.display_name,
            ),
            code="owner_is_submitter", field="owner",
        )  # fmt: skip
    return member.user


@transaction.atomic
def end_waiver(*, actor: Actor, waiver: Waiver) -> Waiver:
    """Ends it before its date: the violation is back at once."""
    check(actor, Action.WAIVE)
    row = Waiver.objects.select_for_update(of=("self",)).select_related("revision__model").get(pk=waiver.pk)
    now = timezone.now()
    if row.ended_at or row.expires_at <= now:
        raise Conflict(gettext("This waiver has ended already."), code="wrong_state")
    row.ended_at, row.ended_by = now, actor.user
    row.save(update_fields=["ended_at", "ended_by"])
    _note(actor, row, verb="waiver.ended")
    return row


def _note(actor: Actor | None, row: Waiver, *, verb: str) -> None:
    audit.record(
        actor=actor, team=row.revision.model.team, verb=verb, subject=row, rule=row.rule,
        model_id=row.revision.model.model_id, sha=row.revision.commit_sha,
    )  # fmt: skip


def note_expired_waivers() -> int:
    """Takes expiries down in the audit log. Nothing waits for it: a waiver's date is looked at whenever a rule is."""
    due = Waiver.objects.filter(
        expires_at__lte=timezone.now(), ended_at__isnull=True, expiry_noted_at__isnull=True
    )
    noted = 0
    for pk in list(due.values_list("pk", flat=True)[:500]):
        with transaction.atomic():
            row = (
                Waiver.objects.select_for_update(of=("self",))
                .select_related("revision__model__team")
                .filter(pk=pk, expiry_noted_at__isnull=True)
                .first()
            )
            if row is None:
                continue
            row.expiry_noted_at = timezone.now()
            row.save(update_fields=["expiry_noted_at"])
            _note(None, row, verb="waiver.expired")
            noted += 1
    return noted
