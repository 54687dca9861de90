"""“What changed since <sha>”: two commits side by side, as tables and line differences for the pages. Bounded throughout."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from registry.enums import ApprovalStatus
from registry.models import Approval, Revision
from registry.words import gettext
from reviews import delta
from reviews.differences import Row, difference

MAX_CARD_ROWS = 400
MAX_CARD_CHARACTERS = 60_000  # of each side
MAX_ROWS = 200  # of each table
MAX_VALUE = 200
MISSING = object()
CLASS_NAMES = {
    "card": _("Card"),
    "licence": _("Licence"),
    "config": _("Configuration"),
    "tokenizer": _("Tokenizer"),
    "labels": _("Label mapping"),
    "weights": _("Weights"),
    "code": _("Code"),
}
_TOKENIZER = (
    ("class", _("Class")),
    ("algorithm", _("Algorithm")),
    ("vocab_size", _("Vocabulary")),
    ("max_length", _("Longest input")),
    ("padding_side", _("Pads on the")),
    ("lowercase", _("Lower-cases")),
    ("normalizer", _("Normalizer")),
    ("special_tokens", _("Special tokens")),
    ("use_fast", _("Fast tokenizer file")),
    ("sha256", _("Contract digest")),
    ("probe", _("Digest of the encoded probe texts")),
)
STATES = {
    ("-", "+"): ("~", _("changed")),
    ("", "+"): ("+", _("added")),
    ("-", ""): ("−", _("removed")),
}


def last_approved_before(revision: Revision) -> Revision | None:
    """What people approved last, before this one if it is approved itself."""
    rows = Approval.objects.filter(model=revision.model_id).exclude(status=ApprovalStatus.REVOKED)
    own = rows.filter(revision=revision).order_by("approved_at").first()
    if own:
        rows = rows.filter(approved_at__lt=own.approved_at)
    found = rows.exclude(revision=revision).select_related("revision__model").order_by("-approved_at").first()
    return found.revision if found else None


def changes_between(before: Revision | None, after: Revision) -> dict[str, Any] | None:
    """The panel's context; None without an earlier revision."""
    if before is None or before.pk == after.pk:
        return None
    classes = delta.classify(delta.side_of(before), delta.side_of(after))
    card, cut = _card(before.card_text, after.card_text)
    return {
        "before": before,
        "after": after,
        "classes": [
            {"name": CLASS_NAMES[name], "why": ", ".join(map(gettext, why[:5])), "more": max(0, len(why) - 5)}
            for name, why in classes.items()
        ],
        "same": [name for key, name in CLASS_NAMES.items() if key not in classes],
        "card": card,
        "card_cut": cut,
        "config": _rows(_flat(before.config), _flat(after.config)),
        "labels": _labels(before.label_mapping, after.label_mapping),
        "tokenizer": _tokenizer(before.facts.get("tokenizer", {}), after.facts.get("tokenizer", {})),
        "files": _files(before, after),
        "has_code": after.remote_code_sha256 is not None,
        "code_changed": "code" in classes,
    }  # fmt: skip


def _card(before: str, after: str) -> tuple[list[Row], bool]:
    if before == after:
        return [], False
    cut = max(len(before), len(after)) > MAX_CARD_CHARACTERS
    rows = difference(before[:MAX_CARD_CHARACTERS].splitlines(), after[:MAX_CARD_CHARACTERS].splitlines())
    return rows[:MAX_CARD_ROWS], cut or len(rows) > MAX_CARD_ROWS


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of config.json; objects one level down by `key.inner`. The label mapping has its own table."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if key in delta.LABEL_KEYS:
            continue
        if isinstance(value, dict) and value:
            found |= {f"{key}.{inner}": each for inner, each in value.items()}
        else:
            found[key] = value
    return found


def _rows(
    before: Mapping[str, Any], after: Mapping[str, Any], shown: Callable[[Any], str] | None = None
) -> dict[str, Any]:
    """{"rows": the keys that differ, "more": how many are left out}."""
    words = shown or _value
    rows = []
    for key in sorted({*before, *after}):
        old, new = before.get(key, MISSING), after.get(key, MISSING)
        if old is MISSING or new is MISSING or old != new:
            sign, state = STATES["" if old is MISSING else "-", "" if new is MISSING else "+"]
            rows.append(
                {
                    "name": str(key)[:MAX_VALUE],
                    "sign": sign,
                    "state": state,
                    "old": "" if old is MISSING else words(old),
                    "new": "" if new is MISSING else words(new),
                }
            )
    return {"rows": rows[:MAX_ROWS], "more": max(0, len(rows) - MAX_ROWS)}


def _value(value: Any) -> str:
    text = (
        value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, sort_keys=True)
    )
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 2]} …"


def _labels(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    found = _rows(before, after)
    found["rows"].sort(key=lambda row: (len(row["name"]), row["name"]))
    return found


def _tokenizer(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    def named(facts: Mapping[str, Any]) -> dict[str, Any]:
        found = {str(name): facts[key] for key, name in _TOKENIZER if facts.get(key) not in (None, "", {})}
        probe = facts.get("probe")
        if isinstance(probe, dict):
            found[str(dict(_TOKENIZER)["probe"])] = probe.get("digest", "")
        return found

    return _rows(named(before), named(after))


def _files(before: Revision, after: Revision) -> dict[str, Any]:
    def held(revision: Revision) -> dict[str, tuple[str, int]]:
        rows = revision.files.values_list("path", "blob_id", "blob__size")
        return {path: (sha256, size) for path, sha256, size in rows}

    old, new = held(before), held(after)
    found = _rows(old, new, shown=lambda value: str(value[1]))
    found["unchanged"] = sum(1 for path, value in new.items() if old.get(path) == value)
    return found
