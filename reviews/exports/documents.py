"""The dossier for reading: HTML that prints well, and the same as PDF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.contrib.staticfiles import finders
from django.template.loader import render_to_string

from registry.actors import Actor
from registry.exceptions import NotAvailable
from registry.models import Revision
from registry.words import gettext
from reviews.enums import Verdict
from reviews.exports.dossier import dossier_of

STYLE = "css/dossier.css"


def as_html(actor: Actor, revision: Revision) -> bytes:
    return _page(actor, revision).encode("utf-8")


def as_pdf(actor: Actor, revision: Revision) -> bytes:
    """Raises NotAvailable where WeasyPrint's system libraries are missing; the HTML prints as well."""
    try:
        from weasyprint import CSS, HTML
    except (ImportError, OSError) as error:
        raise NotAvailable(
            gettext(
                "This installation cannot make PDF files: WeasyPrint lacks its system libraries (Pango). "
                "Open the dossier to print and save it as PDF from the browser."
            ),
            code="pdf_not_available",
        ) from error
    style = Path(str(finders.find(STYLE))).read_text(encoding="utf-8")
    page = HTML(string=_page(actor, revision), url_fetcher=_fetch_nothing)
    content: bytes = page.write_pdf(stylesheets=[CSS(string=style)])
    return content


def _fetch_nothing(url: str, *args: Any, **kwargs: Any) -> Any:
    """A dossier quotes strangers: whatever they wrote, making a PDF of it opens no file and no address."""
    raise ValueError("a dossier loads nothing")


def _page(actor: Actor, revision: Revision) -> str:
    found = dossier_of(actor, revision)
    return render_to_string(
        "exports/dossier.html",
        {"dossier": found, "verdicts": dict(Verdict.choices), "headline": _headline(found)},
    )


def _headline(found: dict[str, Any]) -> str:
    if not found["approvals"]:
        return "Not approved: no consumer can get this revision."
    newest = found["approvals"][-1]
    return f"{newest['status'].capitalize()} for {newest['environment']}; the approval ends on {newest['expires_at'][:10]}."
