"""Models and revisions: the pages that put all floors together."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from inference.models import GoldenSet
from inference.services.measurements import request_benchmark, request_evaluation
from registry import audit, lock, queries
from registry.access import MEMBER, access, actor_of, member
from registry.actors import Actor
from registry.consumption import approval_payload
from registry.enums import SERVED_STATUSES, ApprovalStatus, EvidenceKind, Scope
from registry.enums import STATUSES as APPROVAL_STATUSES
from registry.exceptions import DomainError
from registry.forms import ReasonForm
from registry.gateway.consumers import affected_sentence, consumers_of
from registry.machines import APPROVAL
from registry.models import Approval, AuditEvent, Channel, Evidence, Job, RegisteredModel, Revision
from registry.permissions import Action, reason_against
from registry.probes import differing, tokenizer_probe
from registry.rendering import card_html
from registry.services.approvals import change_approval
from registry.views.channels import channel_rows
from registry.views.pages import page_of
from registry.words import both, gettext, joined, lowered
from reviews.changes import changes_between, last_approved_before
from reviews.models import ReviewRequest
from reviews.policies.panel import panel_lines
from reviews.queries import newest_evidence, requests_of
from reviews.views.decisions import record_rows, shown_votes
from reviews.views.measurements import benchmark_context, evaluation_context
from reviews.views.proof import proof_context


@access(get=MEMBER)
def model_list(request: HttpRequest) -> HttpResponse:
    actor, query = actor_of(request), request.GET.get("q", "").strip()[:200]
    rows = queries.models_of(actor).order_by("model_id")
    page = page_of(request, rows.filter(model_id__icontains=query) if query else rows)
    models = list(page.object_list)
    latest = {
        r.model_id: r for r in Revision.objects.filter(model__in=models).defer("card_text").order_by("pk")
    }
    reviews = {r.model_id: r for r in requests_of(actor).filter(model__in=models).order_by("pk")}
    live: dict[int, list[dict[str, str]]] = {}
    for channel in (
        queries.channels_of(actor).filter(model__in=models, current__isnull=False).order_by("name")
    ):
        if channel.current:
            sha = channel.current.revision.commit_sha
            live.setdefault(channel.model_id, []).append({"name": channel.name, "sha": sha})
    page.object_list = [
        {
            "model": model,
            "latest_revision": latest.get(model.pk),
            "review_status": reviews[model.pk].shown_status if model.pk in reviews else None,
            "live": live.get(model.pk, []),
        }
        for model in models
    ]
    return render(request, "registry/model_list.html", {"page_obj": page, "query": query})


@access(get=MEMBER)
def model_detail(request: HttpRequest, pk: int) -> HttpResponse:
    actor = actor_of(request)
    model = queries.get_or_404(queries.models_of(actor).select_related("team"), pk=pk)
    revisions = list(Revision.objects.filter(model=model).order_by("-pk")[:100])
    evidence = newest_evidence([r.pk for r in revisions])
    reviews = {r.revision_id: r for r in requests_of(actor).filter(model=model).order_by("pk")}
    approvals = {a.revision_id: a for a in Approval.objects.filter(model=model).order_by("pk")}
    channels = list(queries.channels_of(actor).filter(model=model).order_by("name"))
    live: dict[int, list[Channel]] = {}
    for channel in channels:
        if channel.current:
            live.setdefault(channel.current.revision_id, []).append(channel)

    def data_of(revision: Revision, kind: EvidenceKind) -> dict[str, Any] | None:
        row = evidence.get((revision.pk, kind))
        return row.data if row else None

    rows = [
        {
            "revision": revision,
            "review": reviews.get(revision.pk),
            "approval": approvals.get(revision.pk),
            "status": _revision_status(reviews.get(revision.pk), approvals.get(revision.pk)),
            "channels": live.get(revision.pk, []),
            "evaluation": data_of(revision, EvidenceKind.EVALUATION),
            "benchmark": data_of(revision, EvidenceKind.BENCHMARK),
        }
        for revision in revisions
    ]
    context = {
        "model": model,
        "revisions": rows,
        "channels": channel_rows(channels),
        "snippets": _snippets(model, channels),
    }
    return render(request, "registry/model_detail.html", context)


def _revision_status(review: ReviewRequest | None, approval: Approval | None) -> Any:
    if approval:
        return APPROVAL_STATUSES[approval.status]
    return review.shown_status if review else None


def _snippets(model: RegisteredModel, channels: list[Channel]) -> dict[str, str] | None:
    """Lines to paste, for what is live in production (else in the first channel)."""
    live = _live_first(channels)
    if live is None or live.current is None:
        return None
    payload = approval_payload(live.current, live.name)
    auto = payload["snippet"].split(".")[0]
    tokenizer = f'AutoTokenizer.from_pretrained("{model.model_id}", revision="{payload["commit_sha"]}")'
    return {
        "transformers": (
            f"from transformers import {auto}, AutoTokenizer\n\n"
            f"tokenizer = {tokenizer}\nmodel = {payload['snippet']}"
        ),
        "curl": (
            f"curl {settings.INFERENCE_URL}/v1/predict/{model.model_id}@{live.name} \\\n"
            '  -H "Authorization: Bearer $ASSAY_TOKEN" \\\n'
            "  -H 'Content-Type: application/json' \\\n"
            '  -d \'{"inputs": ["Giao hàng nhanh, sẽ mua lại."]}\''
        ),
        "lock": (
            f"curl -fsS '{settings.PUBLIC_URL}/api/v1/lock?model={model.model_id}&channel={live.name}' \\\n"
            f'  -H "Authorization: Bearer $ASSAY_TOKEN" -o {lock.FILE_NAME}\n\n'
            f"assay verify --lock {lock.FILE_NAME} --registry {settings.PUBLIC_URL} --sources ."
        ),
    }


def _live_first(channels: list[Channel]) -> Channel | None:
    """The channel that copy-paste lines speak of: production when it serves something, else the first that does."""
    live = [c for c in channels if c.current and c.current.status in SERVED_STATUSES]
    return min(live, key=lambda c: (c.name != "production", c.name), default=None)


@access(get=MEMBER)
def model_lock(request: HttpRequest, pk: int) -> HttpResponse:
    """Downloads assay.lock.yaml for the revision that the page's lines name; refusals are the API's sentences."""
    actor = actor_of(request)
    model = queries.get_or_404(queries.models_of(actor), pk=pk)
    live = _live_first(list(queries.channels_of(actor).filter(model=model)))
    document = lock.lock_of(actor, [model.model_id], live.name if live else "")
    answer = HttpResponse(lock.as_yaml(document), content_type="application/yaml; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{lock.FILE_NAME}"'
    return answer


@access(get=MEMBER)
def revision_detail(request: HttpRequest, pk: int) -> HttpResponse:
    actor = actor_of(request)
    revision = queries.get_or_404(queries.revisions_of(actor), pk=pk)
    return render(request, "registry/revision_detail.html", _revision_context(actor, revision))


def _revision_context(actor: Actor, revision: Revision) -> dict[str, Any]:
    model = revision.model
    approvals = list(
        Approval.objects.filter(model=model)
        .select_related("revision", "approved_by", "submitted_by", "rollback_approval__revision")
        .order_by("-approved_at")
    )
    approval = next((a for a in approvals if a.revision_id == revision.pk), None)
    others = [a for a in approvals if a.revision_id != revision.pk]
    reviews = list(requests_of(actor).filter(revision=revision).order_by("-pk"))
    review = reviews[0] if reviews else None
    channels = list(queries.channels_of(actor).filter(model=model, current__isnull=False).order_by("name"))
    incumbent = _incumbent(revision, channels)
    evidence = newest_evidence([revision.pk, *([incumbent.pk] if incumbent else [])])
    mine = {kind: row for (owner, kind), row in evidence.items() if owner == revision.pk}
    before = others[0].revision if others else None
    jobs = queries.jobs_of(actor).filter(subject__startswith=f"revision:{revision.pk}:").order_by("-pk")[:10]
    lines, summary = panel_lines(actor, revision, review)
    votes = shown_votes(review) if review else []
    return {
        "model": model,
        "revision": revision,
        "headline": _headline(revision, approval, review, channels),
        "readiness": lines,
        "readiness_summary": summary,
        "evaluation": evaluation_context(mine.get(EvidenceKind.EVALUATION), _of(evidence, incumbent)),
        "benchmark": benchmark_context(mine.get(EvidenceKind.BENCHMARK)),
        "consumers": consumers_of(revision),
        "files": list(revision.files.select_related("blob")),
        "card_html": card_html(revision.card_text),
        "labels": _labels(revision, before),
        "labels_changed": bool(before and before.label_mapping != revision.label_mapping),
        "config_facts": _config_facts(revision),
        "tokenizer": _tokenizer_facts(revision),
        "tokenizer_changes": differing(tokenizer_probe(before), tokenizer_probe(revision)) if before else [],
        "changes": changes_between(last_approved_before(revision), revision),
        "findings": _by_severity(revision.findings),
        "votes": votes,
        "reviews": reviews,
        "approval": approval,
        "record": record_rows(approval) if approval else [],
        "events": _events(revision, approval, reviews, [row.pk for row in mine.values()]),
        "jobs": list(jobs),
        "actions": _actions(actor, revision, approval),
        **proof_context(actor, approval),
    }


def _incumbent(revision: Revision, channels: list[Channel]) -> Revision | None:
    """What a candidate is compared with: what production serves now, unless that is the candidate itself."""
    for channel in channels:
        if channel.name == "production" and channel.current and channel.current.revision_id != revision.pk:
            return channel.current.revision
    return None


def _of(evidence: dict[tuple[int, str], Evidence], revision: Revision | None) -> Evidence | None:
    return evidence.get((revision.pk, EvidenceKind.EVALUATION)) if revision else None


def _headline(
    revision: Revision, approval: Approval | None, review: ReviewRequest | None, channels: list[Channel]
) -> dict[str, str]:
    """The top line answers the question in words."""
    live = [c.name for c in channels if c.current and c.current.revision_id == revision.pk]
    serving = gettext("It is live on %(live)s.", live=both(live)) if live else gettext("It is live nowhere.")
    if approval:
        status = APPROVAL_STATUSES[approval.status]
        if approval.status in SERVED_STATUSES:
            sentence = gettext(
                "%(status)s for %(environment)s until %(day)s. %(code)s.",
                status=status.label,
                environment=approval.environment,
                day=f"{approval.expires_at:%Y-%m-%d}",
                code=revision.get_code_audit_display(),
            )
            return {"sentence": joined([sentence, serving]), "tone": status.tone, "icon": status.icon}
        sentence = gettext(
            "%(status)s: %(reason)s. Nobody can load it.",
            status=status.label,
            reason=approval.status_reason.rstrip(".") or gettext("its time is over"),
        )
        return {"sentence": sentence, "tone": status.tone, "icon": status.icon}
    if review:
        shown = review.shown_status
        reason = f": {review.decision_reason}" if review.decision_reason else "."
        sentence = gettext(
            "Not approved. The review is %(shown)s%(reason)s Nobody can load this revision.",
            shown=lowered(shown.label),
            reason=reason,
        )
        return {"sentence": sentence, "tone": shown.tone, "icon": shown.icon}
    return {
        "sentence": gettext("Not approved: nobody has asked for a review."),
        "tone": "neutral",
        "icon": "info-circle",
    }


def _labels(revision: Revision, before: Revision | None) -> list[dict[str, Any]]:
    was = before.label_mapping if before else {}
    keys = sorted({*revision.label_mapping, *was}, key=lambda k: (len(k), k))
    return [{"id": key, "label": revision.label_mapping.get(key), "was": was.get(key)} for key in keys]


def _config_facts(revision: Revision) -> list[tuple[str, Any]]:
    config, weights = revision.facts.get("config", {}), revision.facts.get("weights", {})
    return [
        (gettext("Architecture"), ", ".join(config.get("architectures", [])) or None),
        (gettext("Parameters"), f"{weights.get('parameters', 0):,}"),
        (gettext("Number format"), ", ".join(weights.get("dtypes", {})) or None),
        (gettext("Layers and width"), f"{config.get('layers')} x {config.get('hidden_size')}"),
        (gettext("Longest input"), gettext("%(n)s tokens", n=config.get("max_position_embeddings"))),
    ]


def _tokenizer_facts(revision: Revision) -> list[tuple[str, Any]]:
    tokenizer = revision.facts.get("tokenizer", {})
    return [
        (
            gettext("Tokenizer"),
            "{} ({})".format(
                tokenizer.get("algorithm") or gettext("unknown"),
                tokenizer.get("class") or gettext("no class"),
            ),
        ),
        (gettext("Vocabulary"), gettext("%(n)s tokens", n=tokenizer.get("vocab_size"))),
        (
            gettext("Lower-cases"),
            {True: gettext("yes"), False: gettext("no")}.get(tokenizer.get("lowercase")),
        ),
        (gettext("Pads on the"), tokenizer.get("padding_side")),
        (gettext("Contract digest"), str(tokenizer.get("sha256", ""))[:12]),
        (gettext("Digest of the encoded probe texts"), _probed(tokenizer.get("probe"))),
    ]


def _probed(probe: dict[str, Any] | None) -> str | None:
    if not probe:
        return None
    if "digest" not in probe:
        return gettext("could not be tried out; the findings say why")
    return gettext(
        "%(digest)s (%(n)s texts, list %(version)s)",
        digest=probe["digest"][:12],
        n=probe["texts"],
        version=probe["version"],
    )


def _by_severity(findings: list[dict[str, str]]) -> list[dict[str, str]]:
    order = {"fail": 0, "warn": 1, "info": 2}
    return sorted(findings, key=lambda f: order.get(f.get("severity", ""), 3))


def _events(
    revision: Revision, approval: Approval | None, reviews: list[ReviewRequest], evidence: list[int]
) -> list[audit.ShownEvent]:
    wanted = Q(object_type="revision", object_id=revision.pk)
    wanted |= Q(object_type="reviewrequest", object_id__in=[r.pk for r in reviews])
    wanted |= Q(object_type="evidence", object_id__in=evidence)
    if approval:
        wanted |= Q(object_type="approval", object_id=approval.pk)
    return audit.shown(
        list(AuditEvent.objects.filter(wanted, team_id=revision.model.team_id).order_by("-seq")[:30])
    )


ACTION_WORDS = {
    "suspend": (
        _("Suspend"),
        _("Consumers are refused within seconds; another person can resume it."),
        "danger",
    ),
    "resume": (_("Resume"), _("Consumers can load it again."), "primary"),
    "deprecate": (_("Deprecate"), _("It stays available, with a warning."), "plain"),
    "retire": (_("Retire"), _("It is gone for consumers, for good."), "danger"),
    "revoke": (_("Revoke"), _("It is gone for consumers, for good."), "danger"),
}


def _actions(actor: Actor, revision: Revision, approval: Approval | None) -> list[dict[str, Any]]:
    measuring = reason_against(actor, Action.RUN_MEASUREMENT)
    found: list[dict[str, Any]] = [
        {
            "label": gettext("Run a benchmark"),
            "url": reverse("revision_benchmark", args=[revision.pk]),
            "method": "post",
            "allowed": not measuring,
            "reason": measuring,
        }
    ]
    sets = GoldenSet.objects.filter(team=revision.model.team_id, model_id=revision.model.model_id).order_by(
        "-pk"
    )[:5]
    found += [
        {
            "label": gettext("Evaluate on %(golden_set)s", golden_set=golden_set.name),
            "url": reverse("revision_evaluate", args=[revision.pk, golden_set.pk]),
            "method": "post",
            "allowed": not measuring,
            "reason": measuring,
        }
        for golden_set in sets
    ]
    if not sets:
        found.append(
            {
                "label": gettext("Add a golden set"),
                "url": f"{reverse('goldenset_new')}?model={revision.model.model_id}",
                "method": "get",
                "allowed": True,
            }
        )
    for action, (label, consequence, tone) in ACTION_WORDS.items():
        if approval and APPROVAL.allows(approval.status, action):
            needed = Action.REVOKE_APPROVAL if action in ("revoke", "retire") else Action.SUSPEND_APPROVAL
            reason = reason_against(actor, needed)
            # Several on one page: each label needs its own field.
            form = ReasonForm(auto_id=f"id_{action}_%s")
            found.append(
                {"label": label, "url": reverse("approval_change", args=[approval.pk, action]), "method": "post",
                 "allowed": not reason, "reason": reason, "tone": tone, "consequence": consequence, "form": form}
            )  # fmt: skip
    return found


@access(post=member(Scope.SUBMIT))
def revision_benchmark(request: HttpRequest, pk: int) -> HttpResponse:
    actor = actor_of(request)
    job = request_benchmark(actor=actor, revision=queries.get_or_404(queries.revisions_of(actor), pk=pk))
    return redirect("run_detail", job.pk)


@access(post=member(Scope.SUBMIT))
def revision_evaluate(request: HttpRequest, pk: int, set_pk: int) -> HttpResponse:
    actor = actor_of(request)
    revision = queries.get_or_404(queries.revisions_of(actor), pk=pk)
    golden_set = queries.get_or_404(GoldenSet.objects.filter(team=actor.in_team), pk=set_pk)
    job: Job = request_evaluation(actor=actor, revision=revision, golden_set=golden_set)
    return redirect("run_detail", job.pk)


@access(post=member(Scope.RELEASE, Scope.ADMIN))
def approval_change(request: HttpRequest, pk: int, action: str) -> HttpResponse:
    actor = actor_of(request)
    approval = queries.get_or_404(queries.approvals_of(actor), pk=pk)
    try:
        changed = change_approval(
            actor=actor, approval=approval, action=action, reason=request.POST.get("reason", "")
        )
    except DomainError as error:
        if error.status in (403, 404):
            raise
        messages.error(request, error.message)
    else:
        state = lowered(ApprovalStatus(changed.status).label)
        sentence = gettext("%(revision)s is %(state)s now.", revision=changed.revision, state=state)
        if changed.status not in SERVED_STATUSES:
            sentence += f" {affected_sentence(consumers_of(changed.revision))}"
        messages.success(request, sentence)
    return redirect("revision_detail", approval.revision_id)
