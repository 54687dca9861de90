"""The seed's eight-item checklist as versioned data, and what the card says to each item, with its source.

The items are frozen into each request (`ReviewRequest.checklist`), so an edit here touches no open review.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from registry.enums import CodeAudit, EvidenceKind
from registry.inspection.card import find_section, sections_of, split_card
from registry.models import Evidence, Revision

VERSION = "seed-8/1"


@dataclass(frozen=True)
class Fact:
    """Something that the repository or a run says. `lines` are 1-based lines of README.md, when it comes from there."""

    value: str
    source: str
    lines: tuple[int, int] | None = None


@dataclass(frozen=True)
class Item:
    key: str
    title: str
    question: str
    guidance: str
    facts: Callable[[Reading], list[Fact]]

    def frozen(self) -> dict[str, str]:
        return {"key": self.key, "title": self.title, "question": self.question, "guidance": self.guidance}


class Reading:
    """A revision opened for citing: its card's header lines and sections, its facts and its evidence."""

    def __init__(self, revision: Revision, evidence: list[Evidence]) -> None:
        self.revision = revision
        self.at = revision.short_sha
        self.sections = sections_of(revision.card_text)
        self.evidence = evidence
        _, self.header_lines = split_card(revision.card_text)
        self.lines = revision.card_text.splitlines()

    def header(self, key: str, label: str) -> list[Fact]:
        """What the YAML header says under `key`, cited with the lines it takes."""
        value = self.revision.card_data.get(key)
        if value in (None, "", [], {}):
            return []
        start = next(
            (n for n, line in enumerate(self.lines[: self.header_lines], 1) if line.startswith(f"{key}:")),
            None,
        )
        lines = None
        if start:
            end = start
            while (
                end < self.header_lines
                and self.lines[end].startswith((" ", "-"))
                and self.lines[end].strip() != "---"
            ):
                end += 1
            lines = (start, end)
        shown = ", ".join(str(v) for v in value) if isinstance(value, list) else str(value)
        return [Fact(f"{label}: {shown[:300]}", self._card(lines), lines)]

    def section(self, *keys: str) -> list[Fact]:
        """The first of these template sections that the card has."""
        for key in keys:
            found = find_section(self.sections, key)
            if found:
                text = found.text if len(found.text) <= 500 else found.text[:500].rsplit(" ", 1)[0] + " …"
                lines = (found.start, found.end)
                return [Fact(text, self._card(lines), lines)]
        return []

    def fact(self, value: str, source: str) -> list[Fact]:
        return [Fact(value, f"{source} @{self.at}")]

    def _card(self, lines: tuple[int, int] | None) -> str:
        if lines is None:
            return f"README.md header @{self.at}"
        where = f"line {lines[0]}" if lines[0] == lines[1] else f"lines {lines[0]}-{lines[1]}"
        return f"README.md {where} @{self.at}"

    def latest(self, kind: EvidenceKind) -> Evidence | None:
        return next((row for row in self.evidence if row.kind == kind), None)

    def run(self, kind: EvidenceKind) -> list[Fact]:
        row = self.latest(kind)
        return [Fact(row.summary, f"run {row.job_id}")] if row else []


def _license(r: Reading) -> list[Fact]:
    files = [f.path for f in r.revision.files.all() if f.path.lower().startswith(("license", "licence"))]
    facts = r.revision.facts.get("licence", {})
    judged = []
    for entry in facts.get("declared", []):
        bans = [
            what
            for key, what in (("non_commercial", "commercial use"), ("no_derivatives", "derivatives"))
            if entry.get(key)
        ]
        name = entry.get("spdx") or entry.get("id")
        text = f"{name}: {entry.get('category')}" + (f"; forbids {' and '.join(bans)}" if bans else "")
        judged += r.fact(f"{text}.", "licence table")
    for path, family in facts.get("files", {}).items():
        judged += r.fact(f"{path} reads like {family or 'no licence that Assay knows'}.", path)
    for base, licence in facts.get("bases", {}).items():
        judged += r.fact(f"Base model {base}: {licence or 'licence not known'}.", "Hub metadata")
    return [
        *r.header("license", "Declared licence"),
        *judged,
        *(r.fact(f"The repository carries {', '.join(files)}.", "file list") if files else []),
    ]


def _intended(r: Reading) -> list[Fact]:
    task = r.revision.pipeline_tag
    stated = r.fact(f"Task: {task}", "Hub metadata") if task else []
    return [*stated, *r.section("direct_use"), *r.section("out_of_scope")]


def _limitations(r: Reading) -> list[Fact]:
    return r.section("limitations") + r.section("recommendations")


def _language(r: Reading) -> list[Fact]:
    tokenizer = r.revision.facts.get("tokenizer", {})
    size = tokenizer.get("vocab_size")
    described = f"{tokenizer.get('algorithm') or 'Unknown'} tokenizer, {size} tokens, lower-case: {tokenizer.get('lowercase')}"
    return r.header("language", "Languages") + (r.fact(described, "tokenizer.json") if size else [])


def _dataset(r: Reading) -> list[Fact]:
    return r.header("datasets", "Data sets") + r.section("training_data") + r.section("evaluation_data")


def _metrics(r: Reading) -> list[Fact]:
    declared = r.revision.facts.get("card", {}).get("metrics", [])
    shown = "; ".join(f"{m['type']} {m['value']} on {m['dataset'] or 'an unnamed set'}" for m in declared[:6])
    return [
        *(
            [Fact(f"Reported: {shown}", f"README.md model-index @{r.at}")]
            if shown
            else r.section("metrics", "results")
        ),
        *r.run(EvidenceKind.EVALUATION),
    ]


def _safety(r: Reading) -> list[Fact]:
    revision = r.revision
    quarantined = revision.facts.get("formats", {}).get("quarantined", [])
    code = (
        "No Python code and no code keys in the configuration."
        if revision.code_audit == CodeAudit.NOT_APPLICABLE
        else "The repository carries code: "
        + ", ".join(
            [
                *revision.facts.get("config", {}).get("python_files", []),
                *revision.facts.get("config", {}).get("code_keys", []),
            ][:5]
        )
    )
    found = r.fact(code, "inspection")
    flagged = [
        f"{entry['path']}:{flag['line']} {flag['call']}"
        for entry in revision.facts.get("code", [])
        for flag in entry.get("flagged", [])
    ]
    if flagged:
        found += r.fact(f"Calls to read: {', '.join(flagged[:5])}", "inspection")
    for pin in revision.facts.get("pins", []):
        if pin.get("followed"):
            at = (pin.get("commit_sha") or "")[:7] or "no commit"
            found += r.fact(f"It leads to {pin['repo']} at {at} ({pin['role']}).", pin["path"])
    scan = revision.facts.get("hub_scan", {})
    if scan:
        found += r.fact(
            f"The Hub's own scan: {str(scan.get('status')).replace('_', ' ')}, seen {str(scan.get('at'))[:10]}.",
            "Hub",
        )
    if quarantined:
        found += r.fact(f"Quarantined files: {', '.join(quarantined[:5])}", "inspection")
    return found + r.section("limitations")


def _inference(r: Reading) -> list[Fact]:
    weights = r.revision.facts.get("weights", {})
    size = (
        f"{weights.get('parameters', 0) / 1e6:.1f} M parameters, {r.revision.total_size / 1e6:.1f} MB in all"
    )
    length = r.revision.facts.get("config", {}).get("max_position_embeddings")
    return [
        *r.fact(size + (f", at most {length} tokens" if length else ""), "weights and config.json"),
        *r.run(EvidenceKind.BENCHMARK),
        *r.section("inference", "technical"),
    ]


ITEMS: tuple[Item, ...] = (
    Item(
        "license", "Licence", "May we use it commercially or internally? Is attribution required?",
        "Compare the declared licence with the licence file; unclear or non-commercial means: ask legal.", _license,
    ),
    Item(
        "intended_use", "Intended use", "Which task was the model made for, and is ours the same?",
        "Classification, embedding, generation or reranking; look at what is out of scope.", _intended,
    ),
    Item(
        "limitations", "Limitations", "Where is the model weak: domains, languages, kinds of input?",
        "A card without limitations has not looked for them.", _limitations,
    ),
    Item(
        "language", "Language", "Does it support our users' languages, and does it need preprocessing?",
        "For Vietnamese: is word segmentation expected, are diacritics kept?", _language,
    ),
    Item(
        "dataset", "Dataset", "What was it trained and evaluated on, and how near is that to our domain?",
        "Look for the source, the collection and possible personal data.", _dataset,
    ),
    Item(
        "metrics", "Metrics", "Which metric on which split? How does our golden set compare?",
        "A number without its split and data set is not comparable.", _metrics,
    ),
    Item(
        "safety", "Safety", "Are bias, toxicity, privacy, misuse and code settled?",
        "Code in the repository is a dependency that runs on our machines.", _safety,
    ),
    Item(
        "inference", "Inference requirements", "GPU or CPU, how much memory, which sequence length, trust_remote_code?",
        "Use the benchmark on our hardware, not the card's promise.", _inference,
    ),
)  # fmt: skip


def frozen_checklist() -> list[dict[str, str]]:
    return [item.frozen() for item in ITEMS]


def facts_for(key: str, reading: Reading) -> list[Fact]:
    """What is known to an item; empty means that the card does not say."""
    for item in ITEMS:
        if item.key == key:
            return item.facts(reading)
    return []


def suggestion(facts: list[Fact]) -> dict[str, Any]:
    """The prefilled answer of an item: the facts as text, or the finding that the card is silent."""
    if not facts:
        return {"verdict": "not_stated", "text": "The card does not say."}
    return {"verdict": "", "text": ""}
