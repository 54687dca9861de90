"""The two audit chains. Two tables, so that `seq` is the row id itself (docs/adr/0003-audit-chain.md)."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class ChainedEvent(models.Model):
    """One link: `hash = SHA256("audit-v1\\0" + be64(seq) + prev + be64(at in µs) + SHA256(body))`.

    The other columns repeat what `body` says, for filtering; verification compares them with the body.
    """

    seq = models.BigAutoField(primary_key=True)
    at = models.DateTimeField()
    body = models.TextField(help_text="Canonical JSON text: sorted keys, UTF-8, no floats.")
    prev = models.BinaryField(max_length=32)
    hash = models.BinaryField(max_length=32)
    verb = models.CharField(max_length=60)
    actor_id = models.BigIntegerField(null=True)
    team_id = models.BigIntegerField(null=True)
    object_type = models.CharField(max_length=40, blank=True)
    object_id = models.BigIntegerField(null=True)

    class Meta:
        abstract = True
        ordering: ClassVar[list[str]] = ["-seq"]

    def __str__(self) -> str:
        return f"{self.seq} {self.verb}"


class AuditEvent(ChainedEvent):
    """What was done. Written as the last statement of the transaction that did it."""

    class Meta(ChainedEvent.Meta):
        abstract = False
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["team_id", "-seq"]),
            models.Index(fields=["object_type", "object_id"]),
        ]


class AccessEvent(ChainedEvent):
    """What was refused, and who signed in. Its own chain, because it must survive the rollback of what it tells of."""

    class Meta(ChainedEvent.Meta):
        abstract = False
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["team_id", "-seq"])]


class AuditCheckpoint(models.Model):
    """A signed statement: this chain had `size` events and ended in `root`. The same note lies in files outside."""

    chain = models.CharField(max_length=20)
    size = models.BigIntegerField(help_text="Number of events, which is the last one's seq.")
    root = models.CharField(max_length=64, help_text="The last event's hash, hex.")
    note = models.TextField(
        help_text="Origin, size and root with their Ed25519 signature, in signed-note form."
    )
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["chain", "size"], name="checkpoint_once_per_size"),
        ]

    def __str__(self) -> str:
        return f"{self.chain} {self.size}"


class AuditHead(models.Model):
    """One row per chain: the place where writers queue (PostgreSQL locks it; SQLite has one writer anyway)."""

    chain = models.CharField(max_length=20, primary_key=True)

    def __str__(self) -> str:
        return self.chain
