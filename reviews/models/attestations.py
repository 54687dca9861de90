"""What was signed when an approval was given."""

from __future__ import annotations

from django.db import models

from registry.models import Approval


class Attestation(models.Model):
    """One signed statement an approval. Append-only (database trigger); the audit log holds the digest of its payload."""

    approval = models.OneToOneField(Approval, on_delete=models.PROTECT, related_name="attestation")
    envelope = models.TextField(help_text="DSSE envelope with an in-toto statement, JSON.")
    files_bundle = models.TextField(
        blank=True,
        help_text="Sigstore bundle over the files for `model_signing verify key`; empty without an EC key.",
    )
    payload_sha256 = models.CharField(max_length=64)
    at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"Attestation of {self.approval}"
