"""A revision opened for citing: every statement comes with the file, the lines, the commit and the words it rests on."""

from __future__ import annotations

import functools
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from registry import store
from registry.canonical import sha256_json
from registry.enums import EvidenceKind
from registry.exceptions import IntegrityFailure
from registry.inspection.card import find_section, sections_of, split_card
from registry.models import Evidence, Revision
from reviews.enums import Verdict

MAX_CONFIG = 256 * 1024
MAX_QUOTE = 500


@dataclass(frozen=True)
class Source:
    """Where a statement stands. `lines` are 1-based and inclusive; `quote` are the words there; `run` is a run's id."""

    kind: str  # card, config, licence, inspection, hub, submission, run, registry
    label: str
    path: str = ""
    lines: tuple[int, int] | None = None
    commit: str = ""
    quote: str = ""
    run: int | None = None


@dataclass(frozen=True)
class Suggestion:
    """A prefilled answer. Without sources it is the finding that nothing in the repository speaks of the item."""

    verdict: str = Verdict.NOT_STATED
    value: Any = None
    text: str = ""
    sources: list[Source] = field(default_factory=list)

    @property
    def is_silent(self) -> bool:
        return not self.sources

    def as_dict(self) -> dict[str, Any]:
        sources = [
            {**asdict(source), "lines": list(source.lines) if source.lines else None}
            for source in self.sources
        ]
        found = {"verdict": str(self.verdict), "value": self.value, "text": self.text, "sources": sources}
        return {**found, "sha256": sha256_json(found)}


def stated(text: str, *sources: Source, value: Any = None, concern: bool = False) -> Suggestion:
    verdict = Verdict.CONCERN if concern else Verdict.ACCEPTABLE
    return Suggestion(verdict, value, text[:4000], list(sources))


SILENT = Suggestion()


@dataclass(frozen=True)
class Asked:
    """What the submission says, for the items that the repository cannot answer."""

    owner: str = ""
    use_case: str = ""
    data_class: str = ""
    environment: str = ""
    opened_on: str = ""


class Reading:
    """`evidence` is newest first; `others` are the commits of the model's other living approvals, newest first."""

    def __init__(
        self,
        revision: Revision,
        evidence: list[Evidence],
        asked: Asked | None = None,
        others: list[str] | None = None,
    ) -> None:
        self.revision, self.evidence, self.asked = revision, evidence, asked or Asked()
        self.others = others or []
        self.commit = revision.commit_sha
        self.lines = revision.card_text.splitlines()
        self.sections = sections_of(revision.card_text)
        _, self.header_lines = split_card(revision.card_text)

    # --- the card --------------------------------------------------------------------------------------------------

    def header(self, key: str) -> tuple[Any, Source] | None:
        """(value, source) of a key of the card's YAML header; None when it is not there or empty."""
        value = self.revision.card_data.get(key)
        if value in (None, "", [], {}):
            return None
        start = next(
            (n for n, line in enumerate(self.lines[: self.header_lines], 1) if line.startswith(f"{key}:")),
            None,
        )
        if start is None:
            return value, Source("card", "README.md header", "README.md", None, self.commit)
        end = start
        while (
            end < self.header_lines
            and self.lines[end].startswith((" ", "-"))
            and self.lines[end].strip() != "---"
        ):
            end += 1
        return value, self.card_lines(start, end)

    def section(self, *keys: str) -> tuple[str, Source] | None:
        """(text, source) of the first of these template sections that the card has."""
        for key in keys:
            found = find_section(self.sections, key)
            if found:
                text = (
                    found.text
                    if len(found.text) <= MAX_QUOTE
                    else found.text[:MAX_QUOTE].rsplit(" ", 1)[0] + " …"
                )
                return text, self.card_lines(found.start, found.end)
        return None

    def sentence(self, *words: str) -> tuple[str, Source] | None:
        """The first line of the card's body that has one of the words; headings and tables left out."""
        wanted = re.compile("|".join(re.escape(word) for word in words), re.IGNORECASE)
        for number, line in enumerate(self.lines, 1):
            if number > self.header_lines and wanted.search(line) and not line.startswith(("#", "|")):
                return line.strip(" -*")[:MAX_QUOTE], self.card_lines(number, number)
        return None

    def card_lines(self, start: int, end: int) -> Source:
        quote = "\n".join(self.lines[start - 1 : end])[:MAX_QUOTE]
        return Source("card", _where("README.md", start, end), "README.md", (start, end), self.commit, quote)

    # --- config.json -----------------------------------------------------------------------------------------------

    @functools.cached_property
    def config_lines(self) -> list[str]:
        """config.json as it lies in the store; empty when it cannot be read just now (the facts are still known)."""
        row = next((f for f in self.revision.files.all() if f.path == "config.json"), None)
        if row is None:
            return []
        try:
            with store.open_blob(row.blob_id) as file:
                return file.read(MAX_CONFIG).decode("utf-8", "replace").splitlines()
        except IntegrityFailure:
            return []

    def config(self, key: str) -> Source:
        """The source of a key of config.json, with its line where the file has lines."""
        for number, line in enumerate(self.config_lines, 1):
            if re.search(rf'"{re.escape(key)}"\s*:', line):
                label = _where("config.json", number, number)
                return Source(
                    "config", label, "config.json", (number, number), self.commit, line.strip()[:MAX_QUOTE]
                )
        return Source("config", f"config.json, {key}", "config.json", None, self.commit)

    # --- what Assay found ------------------------------------------------------------------------------------------

    def facts(self, name: str) -> dict[str, Any]:
        found = self.revision.facts.get(name, {})
        return found if isinstance(found, dict) else {}

    def inspection(self, label: str = "inspection", quote: str = "") -> Source:
        return Source("inspection", label, "", None, self.commit, quote)

    def run(self, kind: EvidenceKind) -> tuple[Evidence, Source] | None:
        row = next((each for each in self.evidence if each.kind == kind), None)
        if row is None:
            return None
        source = Source(
            "run", f"run {row.job_id}", "", None, self.commit, row.summary[:MAX_QUOTE], row.job_id
        )
        return row, source


def _where(path: str, start: int, end: int) -> str:
    return f"{path} line {start}" if start == end else f"{path} lines {start}-{end}"
