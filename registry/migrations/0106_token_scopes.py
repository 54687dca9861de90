"""`read` used to open files, too, and `review` with `release` the acts of admins: tokens keep what they could do.

A token never gains a power here. `read` -> `read` and `artifacts`. Who held both `review` and `release` could do every act
that needs `admin` now (with the role, as before) and gets it; a token with one of the two could do a part of them, and is
told so by the refusal. Each change is an event of the audit log, because the log says which scopes a token has; its hash is
computed here as it was when this file was written (docs/adr/0003-audit-chain.md), whatever the code says later.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from django.db import migrations
from django.utils import timezone


def widened(scopes: list[str]) -> list[str]:
    found = set(scopes)
    if "read" in found:
        found.add("artifacts")
    if {"review", "release"} <= found:
        found.add("admin")
    return sorted(found)


def keep_powers(apps: Any, schema_editor: Any) -> None:
    for token in apps.get_model("registry", "ApiToken").objects.order_by("pk"):
        scopes = widened(token.scopes)
        if scopes != sorted(token.scopes):
            token.scopes = scopes
            token.save(update_fields=["scopes"])
            _record(apps, token)


def _record(apps: Any, token: Any) -> None:
    event = apps.get_model("registry", "AuditEvent")
    apps.get_model("registry", "AuditHead").objects.select_for_update().get_or_create(chain="auditevent")
    last = event.objects.order_by("-seq").first()
    seq, prev = (last.seq + 1, bytes(last.hash)) if last else (1, b"\0" * 32)
    at = timezone.now()
    body = json.dumps(
        {
            "actor": None, "auth": "system", "token": "", "request": "", "team": token.team_id, "verb": "token.scopes_changed",
            "object": ["apitoken", token.pk], "data": {"name": token.name, "scopes": token.scopes},
        },
        sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False,
    )  # fmt: skip
    event.objects.create(
        seq=seq, at=at, body=body, prev=prev, hash=_link(seq, prev, at, body), verb="token.scopes_changed",
        actor_id=None, team_id=token.team_id, object_type="apitoken", object_id=token.pk,
    )  # fmt: skip


def _link(seq: int, prev: bytes, at: datetime, body: str) -> bytes:
    delta = at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    at_us = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    digest = hashlib.sha256(body.encode("utf-8")).digest()
    payload = b"audit-v1\0" + seq.to_bytes(8, "big") + prev + at_us.to_bytes(8, "big", signed=True) + digest
    return hashlib.sha256(payload).digest()


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0105_failed_attempts'),
    ]

    operations = [
        migrations.RunPython(keep_powers, migrations.RunPython.noop),
    ]
