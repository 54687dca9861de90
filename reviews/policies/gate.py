"""All policies in force for a subject -> a verdict a rule. Waivers subtract; what is not known fails closed.

A team's own version in force of `production-minimum` takes the place of the shipped one, so the minimum is never absent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone

from registry.canonical import sha256_json
from registry.models import Revision
from registry.words import gettext
from reviews.models import PolicyState, PolicyVersion, ReviewRequest, Waiver
from reviews.policies.documents import Document, Rule, default_policy, filled, read_policy
from reviews.policies.facts import BY_NAME, Gathered, Subject, facts_of, gather
from reviews.policies.language import holds

MET, VIOLATED, UNKNOWN = "met", "violated", "unknown"


@dataclass(frozen=True)
class InForce:
    """A policy as it applies: its document, and the version's number (0: the shipped one)."""

    document: Document
    number: int
    state: str = PolicyState.IN_FORCE


def in_words(text: str) -> str:
    """A rule's words in the reader's language where the catalogue has them: those of the shipped set (words.py)."""
    return gettext(text) if text else ""


@dataclass(frozen=True)
class Outcome:
    """What one rule says of one subject."""

    policy: str
    rule: Rule
    state: str
    sentence: str
    number: int = 0
    dry_run: bool = False
    waiver: Waiver | None = None
    missing: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return f"{self.policy}/{self.rule.key}"

    @property
    def is_violation(self) -> bool:
        return self.state != MET and self.waiver is None

    @property
    def blocks(self) -> bool:
        return self.is_violation and self.rule.effect == "fail" and not self.dry_run

    @property
    def effect(self) -> str:
        """What stands after waivers: ok, info, warn or fail."""
        return self.rule.effect if self.is_violation else "ok"


@dataclass
class Judge:
    """Judges many subjects; a rule on the same facts is computed once."""

    policies: list[InForce]
    gathered: Gathered
    waivers: dict[tuple[int, str], Waiver]
    seen: dict[str, bool | None] = field(default_factory=dict)

    def outcomes(self, subject: Subject, policies: list[InForce] | None = None) -> list[Outcome]:
        facts = facts_of(subject, self.gathered)
        return [
            self._outcome(policy, rule, subject, facts)
            for policy in (self.policies if policies is None else policies)
            for rule in policy.document.rules
            if self._applies(rule, subject, facts)
        ]

    def _applies(self, rule: Rule, subject: Subject, facts: dict[str, Any]) -> bool:
        if rule.environments and not rule.environments & subject.environments:
            return False
        if rule.tiers and subject.tier not in rule.tiers:
            return False
        # A scope that cannot be computed applies: a rule does not step aside because nobody knows.
        return rule.when is None or self._holds(rule.when, facts) is not False

    def _outcome(self, policy: InForce, rule: Rule, subject: Subject, facts: dict[str, Any]) -> Outcome:
        missing = tuple(sorted(name for name in rule.require.reads if name not in facts))
        held = None if missing else self._holds(rule.require, facts)
        if held:
            state, sentence = MET, filled(in_words(rule.met) or gettext("It holds."), facts)
        elif held is None:
            names = ", ".join(f"“{gettext(BY_NAME[name].title)}” ({name})" for name in missing) or gettext(
                "what it computes"
            )
            state = UNKNOWN
            sentence = (
                filled(in_words(rule.missing), facts)
                if rule.missing
                else gettext("%(title)s: not known is %(names)s.", title=in_words(rule.title), names=names)
            )
        else:
            state, sentence = VIOLATED, filled(in_words(rule.message), facts)
        key = f"{policy.document.key}/{rule.key}"
        waiver = self.waivers.get((subject.revision.pk, key)) if state != MET and rule.waivable else None
        return Outcome(
            policy.document.key,
            rule,
            state,
            sentence,
            policy.number,
            policy.state == PolicyState.DRY_RUN,
            waiver,
            missing,
        )

    def _holds(self, expression: Any, facts: dict[str, Any]) -> bool | None:
        """None: it cannot be computed from what is known."""
        used = expression.reads | expression.asked
        if any(name not in facts for name in expression.reads):
            return None
        key = sha256_json([expression.source, {name: facts[name] for name in sorted(used) if name in facts}])
        if key not in self.seen:
            try:
                self.seen[key] = holds(expression, facts)
            except ValueError:
                self.seen[key] = None
        return self.seen[key]


def policies_in_force(team_id: int, *, dry_run: bool = False) -> list[InForce]:
    """The shipped minimum (unless the team has its own) and the team's versions, by name; one query."""
    states = [PolicyState.IN_FORCE, *([PolicyState.DRY_RUN] if dry_run else [])]
    rows = PolicyVersion.objects.filter(policy__team=team_id, state__in=states).select_related("policy")
    found = [
        InForce(read_policy(row.source), row.number, row.state)
        for row in rows.order_by("policy__key", "state")
    ]
    shipped = default_policy()
    own = any(p.document.key == shipped.key and p.state == PolicyState.IN_FORCE for p in found)
    return found if own else [InForce(shipped, 0), *found]


def waivers_now(revisions: Iterable[int]) -> dict[tuple[int, str], Waiver]:
    """{(revision id, rule): the living waiver that lasts longest}: the clock decides, no task has to have run."""
    now = timezone.now()
    rows = Waiver.objects.filter(revision__in=set(revisions), ended_at__isnull=True, expires_at__gt=now)
    return {(w.revision_id, w.rule): w for w in rows.select_related("by", "owner").order_by("expires_at")}


def judge_for(team_id: int, subjects: list[Subject], *, dry_run: bool = False) -> Judge:
    return Judge(
        policies_in_force(team_id, dry_run=dry_run),
        gather(subjects),
        waivers_now(subject.revision.pk for subject in subjects),
    )


def outcomes_of(subject: Subject, *, dry_run: bool = False) -> list[Outcome]:
    team_id = subject.request.team_id if subject.request else subject.revision.model.team_id
    return judge_for(team_id, [subject], dry_run=dry_run).outcomes(subject)


def violations_blocking(
    revision: Revision, request: ReviewRequest, conditions: str = "", told: Collection[str] = ()
) -> list[str]:
    """The sentences of every rule that stands between this request and an approval. Empty: none.

    `told` are facts whose lack the caller has said in more detail: a rule over nothing else is not said a second time.
    """
    found = outcomes_of(Subject(revision, request, conditions=conditions))
    return [
        o.sentence
        for o in found
        if o.blocks and not (o.rule.require.reads and o.rule.require.reads <= set(told))
    ]


def policies_digest(team_id: int) -> str:
    """What an approval is bound to: which versions were in force, as one digest (40 hexadecimal digits)."""
    rows = [[p.document.key, p.number, p.document.sha256] for p in policies_in_force(team_id)]
    return sha256_json(rows)[:40]


def policies_named(team_id: int) -> list[dict[str, Any]]:
    """The versions behind `policies_digest`, for the audit event of a decision and its attestation."""
    return [
        {"policy": p.document.key, "version": p.number, "sha256": p.document.sha256}
        for p in policies_in_force(team_id)
    ]


def waivers_named(revision: Revision) -> list[dict[str, Any]]:
    """The waivers that a decision on this revision rests on."""
    return [
        {"id": w.pk, "rule": w.rule, "owner": w.owner.username, "until": w.expires_at.isoformat()}
        for w in waivers_now([revision.pk]).values()
    ]
