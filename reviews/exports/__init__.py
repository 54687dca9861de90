"""What is carried out of the house: the dossier of a revision, the filled template, the bill of materials, tables.

Every export is an audited act; who may is in `registry/permissions.py` (Action.EXPORT_RECORD).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import translation
from django.utils.translation import gettext_lazy as _

from registry import audit
from registry.actors import Actor
from registry.canonical import canonical_json
from registry.exceptions import NotFound
from registry.models import Revision
from registry.permissions import Action, check
from registry.words import gettext
from reviews.exports import bom, documents, dossier, template

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


@dataclass(frozen=True)
class Kind:
    """`name` follows the model's and commit's in the file's name; `inline` ones are read in the browser."""

    label: StrOrPromise
    name: str
    content_type: str
    build: Callable[[Actor, Revision], bytes]
    inline: bool = False


@dataclass(frozen=True)
class Exported:
    content: bytes
    name: str
    content_type: str
    inline: bool


def _json(actor: Actor, revision: Revision) -> bytes:
    return (canonical_json(dossier.dossier_of(actor, revision)) + "\n").encode()


KINDS: dict[str, Kind] = {
    "dossier": Kind(
        _("Dossier to print"), "dossier.html", "text/html; charset=utf-8", documents.as_html, inline=True
    ),
    "dossier-pdf": Kind(_("Dossier as PDF"), "dossier.pdf", "application/pdf", documents.as_pdf),
    "dossier-json": Kind(_("Dossier as JSON"), "dossier.json", "application/json", _json),
    "review-template": Kind(
        _("Filled review template"), "review.md", "text/markdown; charset=utf-8", template.as_markdown
    ),
    "ml-bom": Kind(
        _("Bill of materials (CycloneDX)"),
        "cdx.json",
        "application/vnd.cyclonedx+json; version=1.6",
        bom.as_json,
    ),
}


@transaction.atomic
def export_revision(*, actor: Actor, revision: Revision, kind: str) -> Exported:
    """Builds one export and records that it was taken. Raises NotAllowed, NotFound (kind), NotAvailable (PDF)."""
    check(actor, Action.EXPORT_RECORD)
    if kind not in KINDS:
        raise NotFound(
            gettext(
                "There is no export %(kind)r. There are: %(known)s.", kind=kind[:40], known=", ".join(KINDS)
            ),
            code="export_unknown",
        )
    chosen = KINDS[kind]
    with translation.override("en"):  # an export reads the same whoever takes it
        content = chosen.build(actor, revision)
    audit.record(
        actor=actor,
        verb="record.exported",
        subject=revision,
        model_id=revision.model.model_id,
        sha=revision.commit_sha,
        what=chosen.label,
    )
    stem = revision.model.model_id.replace("/", "--")
    return Exported(content, f"{stem}-{revision.short_sha}.{chosen.name}", chosen.content_type, chosen.inline)
