"""A stored file that is not what its digest says: noted once, taken out of reach, fetched again, and looked for.

1. Whoever meets the damage (a download, the scrub) calls `damaged`: the first one moves the file aside, writes the audit
event and rings for healing. 2. `heal` downloads that one file again by commit and digest. 3. `scrub` re-hashes what was
not re-hashed for longest, and rings again for what is still damaged.
"""

from __future__ import annotations

import logging
import time

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from registry import audit, hub, store
from registry.enums import JobKind, JobState
from registry.exceptions import DomainError, IntegrityFailure
from registry.models import Blob, Job, RevisionFile

logger = logging.getLogger(__name__)
SOURCES = 5  # revisions that are asked for one blob before healing gives up until the next scrub


def damaged(sha256: str, failure: IntegrityFailure) -> bool:
    """Notes a failed read. True for the one caller that saw it first; only that one records, moves aside and rings.

    A file that the system could not open just now is no damage: nothing is noted.
    """
    found = str(failure.details.get("found", "wrong"))
    if found == "unreadable":
        return False
    with transaction.atomic():
        if (
            Blob.objects.filter(pk=sha256, damaged_at__isnull=True).update(
                damaged_at=timezone.now(), verified_at=None
            )
            != 1
        ):
            return False
        if found != "nothing":
            store.set_aside(sha256)
        for file in _one_per_team(sha256):
            audit.record(
                actor=None,
                team=file.revision.model.team,
                verb="integrity.failed",
                subject=file.revision,
                model_id=file.revision.model.model_id,
                sha=file.revision.commit_sha,
                path=file.path,
                sha256=sha256,
                found=found,
            )
        transaction.on_commit(lambda: ring(sha256))
    logger.error("integrity_failed", extra={"blob": sha256, "found": found})
    return True


def whole(sha256: str) -> None:
    """Notes that a blob that was damaged has its bytes again (healed, or restored from a backup)."""
    now = timezone.now()
    with transaction.atomic():
        if (
            Blob.objects.filter(pk=sha256, damaged_at__isnull=False).update(damaged_at=None, verified_at=now)
            != 1
        ):
            return
        for file in _one_per_team(sha256):
            audit.record(
                actor=None,
                team=file.revision.model.team,
                verb="integrity.restored",
                subject=file.revision,
                model_id=file.revision.model.model_id,
                sha=file.revision.commit_sha,
                path=file.path,
                sha256=sha256,
            )


def _holders(sha256: str) -> list[RevisionFile]:
    rows = RevisionFile.objects.filter(blob=sha256).select_related("revision__model__team", "blob")
    return list(rows.order_by("-revision_id")[:200])


def _one_per_team(sha256: str) -> list[RevisionFile]:
    return list({file.revision.model.team_id: file for file in reversed(_holders(sha256))}.values())


def ring(sha256: str) -> bool:
    """Asks a worker to heal. When the broker is down the next scrub asks again, so this never raises."""
    from registry.tasks import heal_blob

    try:
        heal_blob.apply_async((sha256,), queue="cpu")
    except Exception:  # kombu, redis and socket errors have no common base
        logger.warning("broker_unreachable", extra={"blob": sha256}, exc_info=True)
        return False
    return True


def heal(sha256: str) -> str:
    """Downloads a damaged blob again from a commit that holds it. Returns one word for the task's log.

    The bytes must have the digest, else nothing is kept: the Hub cannot change what was approved.
    """
    blob = Blob.objects.filter(pk=sha256).first()
    if blob is None or blob.damaged_at is None:
        return "not-damaged"
    asked = 0
    for file in _holders(sha256)[:SOURCES]:
        asked += 1
        model_id, commit_sha = file.revision.model.model_id, file.revision.commit_sha
        try:
            stream = hub.download(model_id, commit_sha, file.path, size=blob.size)
            store.put(stream, size=blob.size, sha256=sha256)
        except (DomainError, OSError) as error:
            logger.warning("heal_failed", extra={"blob": sha256, "model": model_id, "reason": str(error)})
            continue
        whole(sha256)
        return "healed"
    return "not-healed" if asked else "nobody-has-it"


def scrub(budget_s: float) -> dict[str, int]:
    """Re-hashes blobs, the least recently verified first, until `budget_s` seconds are over (at least one blob)."""
    counts = {"verified": 0, "damaged": 0, "rung": 0}
    for sha256 in Blob.objects.filter(damaged_at__isnull=False).values_list("pk", flat=True)[:100]:
        counts["rung"] += ring(sha256)
    end = time.monotonic() + budget_s
    due = Blob.objects.filter(damaged_at__isnull=True).order_by(F("verified_at").asc(nulls_first=True), "pk")
    started = timezone.now()
    for blob in due[:10_000]:
        try:
            store.check(blob.pk, blob.size)
        except IntegrityFailure as failure:
            counts["damaged"] += damaged(blob.pk, failure)
            if failure.code == "store_unreachable":
                break
        else:
            counts["verified"] += 1
            Blob.objects.filter(pk=blob.pk, damaged_at__isnull=True).update(verified_at=started)
        if time.monotonic() >= end:
            break
    return counts


def collect() -> dict[str, int]:
    """Deletes blobs that no revision uses and nobody put for ASSAY_STORE_GC_H hours. Waits while an intake is running.

    The grace is longer than an intake lasts, and an intake that finds a blob there puts it again or renews it (which makes
    it young), so what an intake counts on is never taken. docs/store.md has the interleavings.
    """
    counts = {"kept": 0, "deleted": 0}
    before = time.time() - settings.STORE_GC_H * 3600
    for sha256, put_at in list(store.blobs()):
        if len(sha256) != 64 or put_at >= before or Blob.objects.filter(pk=sha256).exists():
            counts["kept"] += 1
            continue
        if Job.objects.filter(kind=JobKind.INTAKE, state=JobState.RUNNING).exists():
            break
        counts["deleted" if store.delete_older(sha256, before) else "kept"] += 1
    return counts
