"""Golden sets from CSV: `text,label`, UTF-8, read whole or not at all."""

from __future__ import annotations

import csv
import io

from django.db import IntegrityError, transaction

from inference.models import GoldenExample, GoldenSet
from registry import audit, hub
from registry.actors import Actor
from registry.canonical import sha256_json
from registry.exceptions import Conflict, InvalidInput
from registry.models import Revision
from registry.permissions import Action, check
from registry.words import both, gettext, ngettext

MAX_BYTES = 5 * 1024 * 1024
MAX_ROWS = 20_000
MAX_TEXT = 20_000
COLUMNS = ("text", "label")


def read_csv(data: bytes) -> list[tuple[str, str]]:
    """(text, label) rows. Raises InvalidInput that names the line and the cure."""
    if len(data) > MAX_BYTES:
        raise InvalidInput(
            gettext("A golden set has at most 5 MB. Split it, or keep the telling examples."),
            code="too_large",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InvalidInput(
            gettext(
                "The file is not UTF-8 (line %(line)s). Save it as CSV UTF-8 and upload it again.", line=line
            ),
            code="wrong_encoding",
            line=line,
        ) from error
    if "\x00" in text:
        raise InvalidInput(gettext("The file contains NUL characters; it is not a CSV file."), code="not_csv")
    csv.field_size_limit(MAX_TEXT * 4)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in reader.fieldnames or []]
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise InvalidInput(
                ngettext(
                    "The first line must name the columns text and label; %(missing)s is missing.",
                    "The first line must name the columns text and label; %(missing)s are missing.",
                    len(missing),
                    missing=both(missing),
                ),
                code="missing_columns",
                missing=missing,
            )
        if len(set(header)) != len(header):
            raise InvalidInput(gettext("A column is named twice in the first line."), code="duplicate_column")
        reader.fieldnames = header
        rows = [
            _row(reader.line_num, row)
            for row in reader
            if any((v or "") for v in row.values() if isinstance(v, str))
        ]
    except csv.Error as error:
        raise InvalidInput(
            gettext("Line %(line_num)s is not CSV: %(error)s.", line_num=reader.line_num, error=error),
            code="not_csv",
            line=reader.line_num,
        ) from error
    if not rows:
        raise InvalidInput(gettext("The file has no examples below its first line."), code="no_rows")
    if len(rows) > MAX_ROWS:
        raise InvalidInput(
            gettext(
                "A golden set has at most %(max_rows)s examples; this has %(rows)s.",
                max_rows=MAX_ROWS,
                rows=len(rows),
            ),
            code="too_many_rows",
        )
    return rows


def _row(line: int, row: dict[str, str | None]) -> tuple[str, str]:
    text, label = (row.get("text") or "").strip(), (row.get("label") or "").strip()
    if not text or not label:
        empty = "text" if not text else "label"
        raise InvalidInput(
            gettext(
                "Line %(line)s has no %(empty)s. Fill it in, or remove the line.", line=line, empty=empty
            ),
            code="empty_cell",
            line=line,
        )
    if len(text) > MAX_TEXT or len(label) > 200:
        raise InvalidInput(
            gettext("Line %(line)s is too long (20,000 characters a text, 200 a label).", line=line),
            code="too_long",
            line=line,
        )
    return text, label


def create_golden_set(*, actor: Actor, model_id: str, name: str, data: bytes) -> GoldenSet:
    """Writes the set whole. Raises NotAllowed, InvalidInput, Conflict (name taken)."""
    check(actor, Action.ADD_GOLDEN_SET)
    hub.check_model_id(model_id)
    title = name.strip()
    if not 1 <= len(title) <= 80:
        raise InvalidInput(
            gettext("Give the golden set a name of 1 to 80 characters."), code="name_missing", field="name"
        )
    rows = read_csv(data)
    labels = sorted({label for _, label in rows})
    _check_labels(actor, model_id, labels)
    with transaction.atomic():
        try:
            with transaction.atomic():
                golden_set = GoldenSet.objects.create(
                    team=actor.in_team, model_id=model_id, name=title, sha256=sha256_json(rows), labels=labels,
                    size=len(rows), created_by=actor.user,
                )  # fmt: skip
        except IntegrityError as error:
            raise Conflict(
                gettext(
                    "%(model_id)s already has a golden set named %(title)s. Sets never change: give the new one "
                    "another name.",
                    model_id=model_id,
                    title=title,
                ),
                code="name_taken",
            ) from error
        GoldenExample.objects.bulk_create(
            GoldenExample(golden_set=golden_set, number=number, inputs=text, reference=label)
            for number, (text, label) in enumerate(rows, start=1)
        )
        audit.record(
            actor=actor, verb="golden_set.created", subject=golden_set, name=title, model_id=model_id,
            examples=len(rows), sha256=golden_set.sha256,
        )  # fmt: skip
    return golden_set


def _check_labels(actor: Actor, model_id: str, labels: list[str]) -> None:
    """A label that the model's newest known revision cannot answer is a typing error in most cases: say it at once."""
    newest = (
        Revision.objects.filter(model__team=actor.in_team, model__model_id=model_id)
        .exclude(label_mapping={})
        .order_by("-pk")
        .first()
    )
    known = set(newest.label_mapping.values()) if newest else set()
    unknown = sorted(set(labels) - known)
    if known and unknown:
        raise InvalidInput(
            gettext(
                "The label %(unknown)r is unknown to %(newest)s: its labels are %(known)s.",
                unknown=unknown[0],
                newest=newest,
                known=", ".join(sorted(known)),
            ),
            code="unknown_label",
            unknown=unknown,
        )
