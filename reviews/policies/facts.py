"""What a rule can ask about: typed facts of a revision, the request for it and its evidence. Each has a name, a type, a
unit and a source; a fact that is not known is left out, and a rule that reads it then fails closed.

Everything that many revisions need is read in a fixed number of queries (`gather`), so the simulator can look at hundreds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext_noop as _

from registry.enums import SERVED_STATUSES, ApprovalStatus, EvidenceKind
from registry.models import Approval, Channel, Evidence, Revision
from reviews import checklists
from reviews.models import Answer, ReviewRequest
from reviews.queries import newest_evidence
from reviews.tiers import risk_of, widest_of

MAX_LIST = 200
PROVENANCE = (
    "This commit is not in the history of the default branch"  # the finding that has a rule of its own
)


@dataclass(frozen=True)
class Subject:
    """What is judged: a revision, and the question asked about it (a request, or what was approved)."""

    revision: Revision
    request: ReviewRequest | None = None
    approval: Approval | None = None
    conditions: str = ""  # as they stand in the decision being made
    as_environment: str = ""  # “what if it were asked for …”: the panel asks about production

    @property
    def environment(self) -> str:
        if self.as_environment:
            return self.as_environment
        asked = self.request or self.approval
        return asked.environment if asked else "production"

    @property
    def environments(self) -> frozenset[str]:
        """Where it may be used if this is approved: what was asked for, and what the decision record allows besides. A
        request for staging whose record says production answers for production."""
        asked = self.request or self.approval
        if self.as_environment or asked is None:
            return frozenset({self.environment})
        return frozenset({asked.environment, *asked.allowed_environments})

    @property
    def widest(self) -> tuple[str, str]:
        return widest_of(self.request or self.approval, self.as_environment)

    @property
    def tier(self) -> str:
        return risk_of(self.request or self.approval, self.revision.pipeline_tag, self.as_environment).tier


@dataclass
class Gathered:
    """What lies beside the revisions, read once for all of them."""

    evidence: dict[tuple[int, str], Evidence] = field(default_factory=dict)
    answers: dict[int, list[Answer]] = field(default_factory=dict)
    active: dict[int, list[Approval]] = field(default_factory=dict)  # by model
    production: dict[int, int] = field(default_factory=dict)  # model -> revision that production serves


def gather(subjects: Iterable[Subject]) -> Gathered:
    """Four queries, whatever the number of subjects."""
    found, rows = Gathered(), list(subjects)
    models = {row.revision.model_id for row in rows}
    for channel in Channel.objects.filter(model__in=models, name="production", current__isnull=False):
        if channel.current_id:
            found.production[channel.model_id] = channel.current_id
    living = Approval.objects.filter(model__in=models, status__in=SERVED_STATUSES).select_related(
        "revision__model"
    )
    for approval in living.defer("revision__card_text", "revision__facts", "revision__findings").order_by(
        "-pk"
    ):
        if approval.expires_at > timezone.now():
            found.active.setdefault(approval.model_id, []).append(approval)
    served = {a.pk: a.revision_id for rows_ in found.active.values() for a in rows_}
    found.production = {model: served[pk] for model, pk in found.production.items() if pk in served}
    found.evidence = newest_evidence([*{r.revision.pk for r in rows}, *found.production.values()])
    requests = [row.request.pk for row in rows if row.request]
    for answer in Answer.objects.filter(request__in=requests).select_related("by"):
        found.answers.setdefault(answer.request_id, []).append(answer)
    return found


@dataclass(frozen=True)
class Source:
    """One revision with what lies beside it: what the catalogue's functions read."""

    subject: Subject
    gathered: Gathered

    @property
    def revision(self) -> Revision:
        return self.subject.revision

    @property
    def request(self) -> ReviewRequest | None:
        return self.subject.request

    def part(self, name: str) -> dict[str, Any]:
        found = self.revision.facts.get(name)
        return found if isinstance(found, dict) else {}

    def run(self, kind: EvidenceKind, revision: int | None = None) -> Evidence | None:
        return self.gathered.evidence.get((revision or self.revision.pk, kind))

    def figure(self, kind: EvidenceKind, key: str) -> Any:
        row = self.run(kind)
        return row.data.get(key) if row else None

    @property
    def answers(self) -> list[Answer] | None:
        return self.gathered.answers.get(self.request.pk, []) if self.request else None

    @property
    def others(self) -> list[Approval]:
        """Approvals of the model's other revisions that may go live now."""
        mine = self.gathered.active.get(self.revision.model_id, [])
        return [a for a in mine if a.revision_id != self.revision.pk and a.status == ApprovalStatus.ACTIVE]

    @property
    def incumbent(self) -> Evidence | None:
        """The evaluation of what production serves, when it was made on the same golden set."""
        own, serving = self.run(EvidenceKind.EVALUATION), self.gathered.production.get(self.revision.model_id)
        row = self.run(EvidenceKind.EVALUATION, serving) if serving and serving != self.revision.pk else None
        same = own and row and own.data["golden_set"]["sha256"] == row.data["golden_set"]["sha256"]
        return row if same else None

    def decided(self, name: str) -> Any:
        """A field of the decision record: of the request, else of the approval; None where there is none yet."""
        for holder in (self.request, self.subject.approval):
            value = getattr(holder, name, None)
            if value:
                return value
        return None


TYPES: dict[type, str] = {
    bool: _("yes/no"), int: _("whole number"), float: _("decimal"), str: _("text"), list: _("list"),
}  # fmt: skip
# What a fact comes from and is counted in: said in the editor.
WORDS = (
    _("registry"), _("card or Hub"), _("Hub"), _("card"), _("intake"), _("request"), _("review"), _("licence table"),
    _("inspection"), _("weights"), _("code audit"), _("benchmark"), _("evaluation"), _("approvals"), _("decision record"),
    _("runs"), _("days"),
)  # fmt: skip


@dataclass(frozen=True)
class Fact:
    """`sample` is a value of its type: rules are tried out on it before they are kept."""

    name: str
    title: str
    source: str
    sample: Any
    read: Callable[[Source], Any]
    unit: str = ""

    @property
    def type(self) -> str:
        return TYPES[type(self.sample)]


def _licence_category(s: Source) -> str | None:
    declared = s.part("licence").get("declared")
    if declared is None:
        return None
    categories = [str(entry.get("category")) for entry in declared]
    open_kinds = ("Permissive", "Public Domain")
    return next((c for c in categories if c not in open_kinds), categories[0] if categories else "none")


def _licence_answer(s: Source) -> Answer | None:
    """The decision over the licence; a template without one asks about the licence itself."""
    given = {answer.key: answer for answer in s.answers or []}
    asked = {item["key"] for item in s.request.checklist} if s.request else set()
    return given.get("license_decision" if "license_decision" in asked else "license")


def _licence_verdict(s: Source) -> str | None:
    found = _licence_answer(s)
    if found is None:
        return None
    return found.value if found.value in ("rejected", "needs_legal_review") else found.verdict


def _licence_by(s: Source) -> str | None:
    found = _licence_answer(s)
    return found.by.display_name if found else None


def _findings(severity: str) -> Callable[[Source], int]:
    return lambda s: sum(
        f.get("severity") == severity and not str(f.get("message", "")).startswith(PROVENANCE)
        for f in s.revision.findings
    )


def _finding_list(s: Source) -> list[dict[str, str]]:
    keys = ("severity", "path", "key", "message")
    return [{key: str(f.get(key, "")) for key in keys} for f in s.revision.findings[:MAX_LIST]]


def _first_fail(s: Source) -> str | None:
    failed = (f for f in s.revision.findings if f.get("severity") == "fail")
    return next((m for f in failed if not (m := str(f.get("message", ""))).startswith(PROVENANCE)), None)


def _default_branch(s: Source) -> str | None:
    provenance = s.part("provenance")
    if "on_default_branch" not in provenance:
        return None
    return {True: "yes", False: "no"}.get(provenance["on_default_branch"], "unknown")


def _open_items(s: Source) -> int | None:
    if s.request is None or s.answers is None:
        return None
    return len(checklists.missing_answers(s.request, s.answers))


def _items(s: Source) -> int | None:
    if s.request is None:
        return None
    risk = s.request.risk.tier
    return sum(checklists.is_required(item, risk) for item in s.request.checklist)


def _doubts(s: Source) -> int | None:
    return None if s.request is None or s.answers is None else len(checklists.doubts(s.request, s.answers))


def _conditions(s: Source) -> bool | None:
    if s.request is None:
        return None
    return bool(s.subject.conditions.strip() or s.request.conditions.strip())


def _drop(s: Source) -> float | None:
    own, before = s.run(EvidenceKind.EVALUATION), s.incumbent
    return None if own is None or before is None else round(before.data["accuracy"] - own.data["accuracy"], 6)


def _rollback(s: Source) -> str | None:
    if named := s.decided("rollback_target") or s.decided("fallback"):
        return str(named)
    if (chosen := s.decided("rollback_approval")) and isinstance(chosen, Approval):
        return chosen.revision.short_sha
    return s.others[0].revision.short_sha if s.others else None


def _hardware(s: Source) -> str | None:
    hardware = s.figure(EvidenceKind.BENCHMARK, "hardware") or {}
    return str(hardware.get("cpu") or hardware.get("device") or "") or None


def _days(key: str) -> Callable[[Source], int | None]:
    def read(s: Source) -> int | None:
        at = getattr(s.revision, key)
        return (timezone.now() - at).days if at else None

    return read


def _run_days(kind: EvidenceKind) -> Callable[[Source], int | None]:
    def read(s: Source) -> int | None:
        row = s.run(kind)
        return (timezone.now() - row.created_at).days if row else None

    return read


def _run_summary(kind: EvidenceKind) -> Callable[[Source], str | None]:
    def read(s: Source) -> str | None:
        row = s.run(kind)
        return row.summary if row else None

    return read


_B, _E = EvidenceKind.BENCHMARK, EvidenceKind.EVALUATION

CATALOGUE: tuple[Fact, ...] = (
    Fact("model.id", _("Model"), "registry", "acme/x", lambda s: s.revision.model.model_id),
    Fact("model.task", _("Task"), "card or Hub", "text-classification", lambda s: s.revision.pipeline_tag),
    Fact("revision.sha", _("Commit SHA"), "Hub", "a" * 40, lambda s: s.revision.commit_sha),
    Fact("revision.pinned", _("Pinned to one commit with every file's digest"), "intake", True,
         lambda s: len(s.revision.commit_sha) == 40 and bool(s.revision.manifest_sha256)),
    Fact("revision.size_mb", _("Size of all files"), "intake", 1.0, lambda s: s.revision.total_size / 1e6, "MB"),
    Fact("revision.age_days", _("Age of the commit"), "Hub", 1, _days("committed_at"), "days"),
    Fact("request.environment", _("Environment: of those asked for and allowed the nearest to production"), "request",
         "production", lambda s: s.subject.widest[0]),
    Fact("request.data_class", _("Data class: of those asked for and allowed the most sensitive"), "request", "internal",
         lambda s: s.subject.widest[1] or None),
    Fact("request.tier", _("Risk tier: low, medium, high"), "request", "low", lambda s: s.subject.tier),
    Fact("review.status", _("State of the review"), "review", "in_review", lambda s: s.request.status if s.request else None),
    Fact("review.open_items", _("Checklist items that the risk tier asks for and nobody has answered"), "review", 0,
         _open_items),
    Fact("review.items", _("Checklist items that the risk tier asks for"), "review", 8, _items),
    Fact("review.doubts", _("Answers that ask for conditions"), "review", 0, _doubts),
    Fact("review.conditions", _("Conditions of use are written"), "review", True, _conditions),
    Fact("licence.declared", _("Licence as declared"), "card", "apache-2.0", lambda s: s.revision.license or "none"),
    Fact("licence.category", _("Category: Permissive, Copyleft, Proprietary Free ...; the strictest declared"),
         "licence table", "Permissive", _licence_category),
    Fact("licence.needs_review", _("Legal must look at it"), "licence table", False,
         lambda s: s.part("licence").get("needs_review")),
    Fact("licence.verdict", _("Said of the licence: acceptable, concern, not_stated, needs_legal_review, rejected"),
         "review", "acceptable", _licence_verdict),
    Fact("licence.judged_by", _("Who judged the licence"), "review", "Lan", _licence_by),
    Fact("findings.fail", _("Findings `fail` (the default branch has a rule of its own)"), "inspection", 0, _findings("fail")),
    Fact("findings.warn", _("Findings `warn`"), "inspection", 0, _findings("warn")),
    Fact("findings.info", _("Findings `info`"), "inspection", 0, _findings("info")),
    Fact("findings.first_fail", _("The first `fail` finding's words"), "inspection", "x", _first_fail),
    Fact("findings.list", _("Findings as {severity, path, key, message}"), "inspection",
         [{"severity": "warn", "path": "config.json", "key": "x", "message": "x"}], _finding_list),
    Fact("formats.quarantined", _("Files that are never served"), "inspection", ["x.bin"],
         lambda s: s.part("formats").get("quarantined")),
    Fact("weights.parameters", _("Parameters"), "weights", 1, lambda s: s.part("weights").get("parameters")),
    Fact("card.sections", _("Sections the card has"), "card", ["limitations"],
         lambda s: sorted(s.part("card")["sections"]) if "sections" in s.part("card") else None),
    Fact("card.completeness", _("How much of the card template is there"), "card", 50,
         lambda s: s.part("card").get("completeness"), "%"),
    Fact("code.audit", _("Code audit: not_applicable, pending, passed, failed, waived"), "code audit", "passed",
         lambda s: s.revision.code_audit),
    Fact("code.present", _("The repository carries code"), "inspection", False,
         lambda s: s.revision.remote_code_sha256 is not None),
    Fact("provenance.on_default_branch", _("In the default branch's history: yes, no, unknown"), "Hub", "yes",
         _default_branch),
    Fact("wrapper.loaded", _("Loaded from verified files and answered, without remote code"), "runs", True,
         lambda s: bool(s.run(_B) or s.run(_E)) or None),
    Fact("benchmark.present", _("A benchmark was run"), "benchmark", True, lambda s: s.run(_B) is not None),
    Fact("benchmark.summary", _("The benchmark in words"), "benchmark", "x", _run_summary(_B)),
    Fact("benchmark.hardware", _("Hardware it was measured on"), "benchmark", "CPU", _hardware),
    Fact("benchmark.age_days", _("Age of the benchmark"), "benchmark", 1, _run_days(_B), "days"),
    Fact("latency.p50_ms", _("Median latency of a text"), "benchmark", 1.0, lambda s: s.figure(_B, "latency_p50_ms"), "ms"),
    Fact("latency.p95_ms", _("95th percentile"), "benchmark", 1.0, lambda s: s.figure(_B, "latency_p95_ms"), "ms"),
    Fact("memory.peak_mb", _("Peak memory"), "benchmark", 1.0, lambda s: s.figure(_B, "max_rss_mb"), "MB"),
    Fact("throughput.texts_s", _("Throughput"), "benchmark", 1.0, lambda s: s.figure(_B, "throughput_texts_s"), "texts/s"),
    Fact("evaluation.present", _("A golden set was run"), "evaluation", True, lambda s: s.run(_E) is not None),
    Fact("evaluation.summary", _("The evaluation in words"), "evaluation", "x", _run_summary(_E)),
    Fact("evaluation.accuracy", _("Accuracy"), "evaluation", 0.9, lambda s: s.figure(_E, "accuracy")),
    Fact("evaluation.macro_f1", _("Macro F1"), "evaluation", 0.9, lambda s: s.figure(_E, "macro_f1")),
    Fact("evaluation.examples", _("Examples of the golden set"), "evaluation", 30,
         lambda s: (s.figure(_E, "golden_set") or {}).get("size")),
    Fact("evaluation.age_days", _("Age of the evaluation"), "evaluation", 1, _run_days(_E), "days"),
    Fact("regression.accuracy_drop", _("Accuracy lost against what production serves, on the same golden set; not known "
         "when nothing can be compared"), "evaluation", 0.0, _drop),
    Fact("regression.incumbent_accuracy", _("Accuracy of what production serves"), "evaluation", 0.9,
         lambda s: s.incumbent.data["accuracy"] if s.incumbent else None),
    Fact("rollback.target", _("What takes over: named in the decision, else another approved revision"), "approvals", "x",
         _rollback),
    Fact("monitoring.thresholds", _("Metrics watched, with a threshold"), "decision record", 0,
         lambda s: len(s.decided("monitoring") or [])),
    Fact("data_policy.stated", _("The decision says which data it may see"), "decision record", True,
         lambda s: bool(s.decided("data_policy"))),
)  # fmt: skip
BY_NAME = {fact.name: fact for fact in CATALOGUE}
SAMPLES = {fact.name: fact.sample for fact in CATALOGUE}


def facts_of(subject: Subject, gathered: Gathered | None = None) -> dict[str, Any]:
    """{name: value} of everything that is known of the subject."""
    source = Source(subject, gathered or gather([subject]))
    found = {fact.name: _typed(fact, fact.read(source)) for fact in CATALOGUE}
    return {name: value for name, value in found.items() if value is not None}


def _typed(fact: Fact, value: Any) -> Any:
    """In the type that the catalogue promises: a JSON `1` of an accuracy is 1.0. Anything else is not known."""
    if value is None or (isinstance(fact.sample, bool) != isinstance(value, bool)):
        return None
    if isinstance(fact.sample, list):
        return list(value)[:MAX_LIST] if isinstance(value, list) else None
    try:
        return type(fact.sample)(value)
    except (TypeError, ValueError):
        return None
