"""What exists on the Hub and what we hold of it: models, revisions, files, blobs, evidence."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from registry.enums import CodeAudit, EvidenceKind
from registry.models.accounts import Team
from registry.models.jobs import Job

COMMIT_SHA = r"^[0-9a-f]{40}$"
SHA256 = r"^[0-9a-f]{64}$"


class RegisteredModel(models.Model):
    """A Hub repository that a team looks after. Identity is (team, `org/name`); trust hangs on revisions only."""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="models")
    model_id = models.CharField(max_length=200)
    hub_internal_id = models.CharField(
        max_length=80, blank=True, help_text="The Hub's own id, to see a re-creation."
    )
    pipeline_tag = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["team", "model_id"], name="model_once_per_team"),
        ]

    def __str__(self) -> str:
        return self.model_id


class Blob(models.Model):
    """One file's bytes in the content-addressed store, kept once whatever the number of revisions that use them."""

    sha256 = models.CharField(max_length=64, primary_key=True)
    size = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)
    verified_at = models.DateTimeField(
        null=True,
        blank=True,
        db_index=True,
        help_text="When the scrub last re-hashed it; empty: at intake only.",
    )
    damaged_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Found to be other bytes than its digest says; empty while all is well.",
    )

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(sha256__regex=SHA256), name="blob_sha256_hex"),
            models.CheckConstraint(condition=Q(size__gte=0), name="blob_size_positive"),
        ]

    def __str__(self) -> str:
        return self.sha256[:12]


class Revision(models.Model):
    """One commit of a model, with everything that was found in it. Only the verdict on its code moves (database trigger)."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="revisions")
    commit_sha = models.CharField(max_length=40)
    requested_revision = models.CharField(
        max_length=200, help_text="What was typed when it was first resolved."
    )
    manifest_sha256 = models.CharField(
        max_length=64, help_text="Digest of the sorted (path, size, sha256) list."
    )
    total_size = models.BigIntegerField(help_text="Bytes of all files.")
    card_text = models.TextField(blank=True)
    card_data = models.JSONField(default=dict, blank=True)
    card_sha256 = models.CharField(max_length=64, blank=True)
    config = models.JSONField(default=dict, blank=True, help_text="config.json as parsed, nothing executed.")
    label_mapping = models.JSONField(default=dict, blank=True, help_text='{"0": "negative", ...} or empty.')
    facts = models.JSONField(
        default=dict, blank=True, help_text="Typed facts by inspector; see registry/inspection."
    )
    findings = models.JSONField(default=list, blank=True, help_text="[{severity, path, message, advice}]")
    pipeline_tag = models.CharField(max_length=80, blank=True)
    library_name = models.CharField(max_length=80, blank=True)
    license = models.CharField(max_length=120, blank=True)
    remote_code_sha256 = models.CharField(max_length=64, null=True, blank=True)  # noqa: DJ001 - null means "no code"
    code_audit = models.CharField(max_length=20, choices=CodeAudit.choices, default=CodeAudit.PENDING)
    code_waived_until = models.DateTimeField(
        null=True, blank=True, help_text="When the waiver of its code audit ends; read while serving."
    )
    committed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["model", "commit_sha"], name="revision_once"),
            models.CheckConstraint(
                condition=Q(commit_sha__regex=COMMIT_SHA), name="revision_commit_sha_40_hex"
            ),
            models.CheckConstraint(
                condition=Q(manifest_sha256__regex=SHA256), name="revision_manifest_sha256_hex"
            ),
            models.CheckConstraint(
                condition=Q(remote_code_sha256__isnull=True, code_audit=CodeAudit.NOT_APPLICABLE)
                | (Q(remote_code_sha256__isnull=False) & ~Q(code_audit=CodeAudit.NOT_APPLICABLE)),
                name="revision_code_audit_matches_code",
            ),
            models.CheckConstraint(
                condition=Q(code_audit=CodeAudit.WAIVED, code_waived_until__isnull=False)
                | (~Q(code_audit=CodeAudit.WAIVED) & Q(code_waived_until__isnull=True)),
                name="revision_code_waiver_has_an_end",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model.model_id}@{self.short_sha}"

    @property
    def short_sha(self) -> str:
        return self.commit_sha[:7]


class RevisionFile(models.Model):
    """One file of a revision's manifest."""

    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="files")
    path = models.CharField(max_length=500)
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="files")
    git_oid = models.CharField(max_length=40, blank=True, help_text="git blob id as the Hub declared it.")
    is_lfs = models.BooleanField(default=False)

    class Meta:
        ordering: ClassVar[list[str]] = ["path"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["revision", "path"], name="file_once"),
        ]

    def __str__(self) -> str:
        return self.path


class Evidence(models.Model):
    """A finished measurement of a revision. Append-only; bound to the manifest it was measured on."""

    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="evidence")
    kind = models.CharField(max_length=20, choices=EvidenceKind.choices)
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="evidence")
    manifest_sha256 = models.CharField(max_length=64)
    summary = models.CharField(max_length=300, help_text="The verdict in one sentence.")
    data = models.JSONField(
        help_text="benchmark: latency_p50_ms, ...; evaluation: accuracy, macro_f1, confusion, ..."
    )
    sha256 = models.CharField(max_length=64, help_text="Digest of the canonical JSON of data.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "evidence"
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["revision", "kind", "-created_at"])]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.revision}"
