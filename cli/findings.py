"""What a check can say: findings with a rule, a severity and a place; and what could not be checked at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """`error` fails the run, `warning` fails it with --strict, `note` never does."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


# Every rule: its severity and what it means, one sentence. SARIF lists them; docs/lock.md is checked against them.
RULES: dict[str, tuple[Severity, str]] = {
    "signature-missing": (Severity.ERROR, "The lock carries no signature, so anybody may have written it."),
    "signature-invalid": (Severity.ERROR, "The signature does not fit the lock: it was changed after it was signed."),
    "signature-unknown-key": (Severity.ERROR, "The lock is signed with another key than the one given or published."),
    "signature-unchecked": (Severity.WARNING, "No key was given or fetched, so the signature was not checked."),
    "lock-unpinned": (Severity.ERROR, "A revision in the lock is not a commit: 40 lower-case hex digits."),
    "lock-manifest": (Severity.ERROR, "The lock's file list does not give the manifest digest it names."),
    "lock-expired": (Severity.ERROR, "The approval in the lock has ended."),
    "registry-refused": (Severity.ERROR, "The registry no longer approves what the lock holds."),
    "registry-differs": (Severity.ERROR, "The registry holds another commit, manifest or code verdict than the lock."),
    "registry-deprecated": (Severity.WARNING, "The registry still serves the revision and advises to leave it."),
    "registry-renewed": (Severity.NOTE, "The registry's approval is newer than the lock's; fetch a new lock."),
    "channel-moved": (Severity.WARNING, "The lock's channel points at another commit now."),
    "file-changed": (Severity.ERROR, "A file does not have the bytes that were approved."),
    "file-extra": (Severity.ERROR, "A file is there that was not approved."),
    "file-missing": (Severity.ERROR, "An approved file is not there."),
    "file-absent": (Severity.NOTE, "An approved file is not in a partial copy (--partial)."),
    "file-quarantined": (Severity.ERROR, "A file is there that the registry holds in quarantine and gives to nobody."),
    "file-unsafe": (Severity.ERROR, "A link that leaves the folder or the cache, or something that is not a plain file."),
    "cache-missing": (Severity.ERROR, "The locked commit is not in the Hugging Face cache."),
    "cache-other-revision": (Severity.WARNING, "The cache holds or names a commit of a locked model that is not locked."),
    "cache-other-model": (Severity.NOTE, "The cache holds a model that the lock does not name."),
    "unpinned": (Severity.ERROR, "A load without a revision: whatever the branch main is on that day."),
    "mutable-revision": (Severity.ERROR, "A load by branch, tag or short commit: it can move."),
    "not-in-lock": (Severity.ERROR, "A load of a model or commit that the lock does not hold."),
    "remote-code": (Severity.ERROR, "trust_remote_code=True where no approval allows the repository's code."),
    "unresolved": (Severity.NOTE, "The model, the revision or a flag is computed, so it cannot be read from the source."),
    "local-path": (Severity.NOTE, "A load from a local path; check its bytes with --snapshot."),
    "attestation-invalid": (Severity.ERROR, "No signature of the given key fits the attestation."),
    "attestation-inconsistent": (Severity.ERROR, "The attestation contradicts itself."),
    "attestation-unchecked": (Severity.WARNING, "No key was given, so the attestation's signature was not checked."),
    "attestation-expired": (Severity.WARNING, "The approval that is attested has ended since."),
    "audit-gap": (Severity.ERROR, "An event of the audit log is missing, or stands where another should."),
    "audit-order": (Severity.ERROR, "An event does not follow the one before it."),
    "audit-changed": (Severity.ERROR, "An event was changed after it was written."),
    "audit-columns": (Severity.ERROR, "The columns of an event say something else than its body."),
    "audit-cut": (Severity.ERROR, "A signed checkpoint has seen more events than there are."),
    "audit-rewritten": (Severity.ERROR, "A signed checkpoint knows another event at that place."),
    "checkpoint-invalid": (Severity.ERROR, "A checkpoint file holds something that the key has not signed."),
    "checkpoint-missing": (Severity.WARNING, "No checkpoint was given: a cut end or a rewritten log would not show."),
    "checkpoint-unchecked": (Severity.WARNING, "No key was given, so the checkpoints' signatures were not checked."),
    "checkpoint-behind": (Severity.NOTE, "Events are younger than every checkpoint that was given."),
    "record-without-event": (Severity.ERROR, "A row of a record that the log does not know."),
    "event-without-record": (Severity.ERROR, "The log tells of a row that is not there."),
    "record-differs": (Severity.ERROR, "A row says something else than the event that wrote it."),
    "ignored": (Severity.NOTE, "A finding that an `# assay: ignore` comment answers for, with its reason."),
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """`path` as a person would type it; `line` and `column` count from 1. `reason` only for ignored ones."""

    rule: str
    message: str
    path: str = ""
    line: int = 0
    column: int = 0
    reason: str = ""

    @property
    def severity(self) -> Severity:
        return RULES[self.rule][0]


@dataclass
class Report:
    """Everything one run found. `problems` are sentences about what could not be checked; `checked`, what was."""

    findings: list[Finding] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    strict: bool = False

    def fails(self, finding: Finding) -> bool:
        return finding.severity is Severity.ERROR or (self.strict and finding.severity is Severity.WARNING)

    @property
    def exit_code(self) -> int:
        """1 when something is wrong, for that is certain; else 2 when something could not be checked; else 0."""
        if any(self.fails(finding) for finding in self.findings):
            return 1
        return 2 if self.problems else 0


class CannotCheck(Exception):
    """A check could not be made; the message says why and what to do. Nothing is known about what it would have found."""
