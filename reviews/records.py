"""The decision record: read from words, checked, and filled in beforehand from the request.

The seed's exercise 7 asks: may it be used in production, under which conditions, what is the rollback, which metric is
watched, which risk is left? Here those are fields, so that serving can enforce what was decided.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext_noop as _

from registry.exceptions import InvalidInput
from registry.models import Approval
from registry.words import gettext
from reviews.enums import DataClass, Environment
from reviews.models import ReviewRequest
from reviews.tiers import Tier

# Days that an approval lasts unless the record says otherwise, and the most that anybody may write.
VALID_DAYS: dict[Tier, int] = {"low": 365, "medium": 180, "high": 90}
MAX_DAYS = 366
REVIEW_BEFORE = 30

OPERATORS = ("<=", ">=", "<", ">")
_RULE = re.compile(r"^\s*([A-Za-z][\w .%/@-]{0,60}?)\s*(<=|>=|<|>)\s*(-?\d+(?:[.,]\d+)?)\s*(?:%|ms|MB)?\s*$")
_SLUG = re.compile(r"^[a-z0-9][a-z0-9_-]{0,59}$")
TEXTS = {
    "conditions": 4000, "rollback_target": 300, "fallback": 2000, "data_policy": 4000, "owner": 120,
}  # fmt: skip
FIELDS = (
    "allowed_environments", "use_cases", "data_classes", "expires_at", "review_by", "monitoring", "rollback_approval",
    *TEXTS,
)  # fmt: skip

# What the fields are called in sentences.
WORDS = (
    _("conditions"), _("rollback target"), _("fallback"), _("data policy"), _("owner"), _("allowed environments"),
    _("data classes"),
)  # fmt: skip


def record_of(request: ReviewRequest) -> dict[str, Any]:
    """The record as plain data: what votes bind to, and what the API shows."""
    return {
        **request.terms(),
        "expires_at": request.expires_at.isoformat() if request.expires_at else None,
        "conditions": request.conditions,
        "owner": request.owner,
    }


def prefill(request: ReviewRequest) -> dict[str, Any]:
    """What the request itself says: nothing wider than what was asked for."""
    ends = last_day(request)
    return {
        "allowed_environments": [request.environment],
        "use_cases": [{"slug": slug_of(request.use_case), "text": request.use_case[:300]}],
        "data_classes": DataClass.values[: DataClass.values.index(request.data_class) + 1],
        "expires_at": _end_of(ends),
        "review_by": ends - timedelta(days=REVIEW_BEFORE),
    }


def last_day(request: ReviewRequest) -> date:
    """When an approval given today ends unless the record says otherwise."""
    return timezone.now().date() + timedelta(days=VALID_DAYS[request.risk.tier])


def shortened(request: ReviewRequest) -> dict[str, Any]:
    """The dates of the record that lie behind what its tier gives, as the tier gives them."""
    ends = last_day(request)
    review_by, found = ends - timedelta(days=REVIEW_BEFORE), dict[str, Any]()
    if request.expires_at and request.expires_at > _end_of(ends):
        found["expires_at"] = _end_of(ends)
    if request.review_by and request.review_by > review_by:
        found["review_by"] = review_by
    return found


def slug_of(text: str) -> str:
    """A short name from the first words of a sentence."""
    name = slugify(text)[:48]
    return (name if len(name) < 48 else name.rsplit("-", 1)[0]) or "use-case"


def _end_of(day: date) -> datetime:
    return datetime.combine(day, time(23, 59, 59), tzinfo=UTC)


def check_record(request: ReviewRequest, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given fields, read and checked; fields that are not given are left alone. Raises InvalidInput with the field."""
    unknown = sorted(set(given) - set(FIELDS))
    if unknown:
        raise InvalidInput(
            gettext(
                "The decision record has no field %(name)r. It has: %(fields)s.",
                name=unknown[0][:40],
                fields=", ".join(FIELDS),
            ),
            field="record",
        )
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name in TEXTS:
            found[name] = _text(name, value)
        elif name in ("allowed_environments", "data_classes"):
            known = Environment.values if name == "allowed_environments" else DataClass.values
            found[name] = _choices(name, value, known)
        else:
            found[name] = _READERS[name](request, value)
    if not found.get("owner", request.owner):
        raise InvalidInput(gettext("Name who answers for the model in use."), field="owner")
    return found


def _text(name: str, value: Any) -> str:
    text = str(value or "").replace("\0", "").strip()
    if len(text) > TEXTS[name]:
        words = gettext(name.replace("_", " ")).capitalize()
        raise InvalidInput(
            gettext("%(words)s has at most %(limit)s characters.", words=words, limit=f"{TEXTS[name]:,}"),
            code="too_long",
            field=name,
        )
    return text


def _choices(name: str, value: Any, known: list[str]) -> list[str]:
    wanted = list(value) if isinstance(value, list | tuple) else []
    words = gettext(name.replace("_", " "))
    if not wanted:
        raise InvalidInput(
            gettext("Choose at least one of the %(words)s: %(known)s.", words=words, known=", ".join(known)),
            field=name,
        )
    if bad := [item for item in wanted if item not in known]:
        raise InvalidInput(
            gettext(
                "%(value)r is none of the %(words)s: %(known)s.",
                value=str(bad[0])[:40],
                words=words,
                known=", ".join(known),
            ),
            field=name,
        )
    return [item for item in known if item in wanted]


def _use_cases(request: ReviewRequest, value: Any) -> list[dict[str, str]]:
    """`slug: what it decides`, one a line; or a list of {"slug", "text"}."""
    rows = (
        [line.partition(":")[::2] for line in value.splitlines() if line.strip()]
        if isinstance(value, str)
        else [(row.get("slug", ""), row.get("text", "")) for row in value or [] if isinstance(row, dict)]
    )
    found = [{"slug": str(slug).strip().lower(), "text": str(text).strip()[:300]} for slug, text in rows]
    if not found or len(found) > 20:
        raise InvalidInput(
            gettext("Name 1 to 20 use cases, one a line: `short-name: what it decides`."), field="use_cases"
        )
    for row in found:
        if not _SLUG.match(row["slug"]):
            raise InvalidInput(
                gettext(
                    "%(name)r is no short name: use small letters, digits and hyphens, then a colon and words.",
                    name=row["slug"][:40],
                ),
                field="use_cases",
            )
    if len({row["slug"] for row in found}) != len(found):
        raise InvalidInput(gettext("A use case is named twice."), field="use_cases")
    return found


def _monitoring(request: ReviewRequest, value: Any) -> list[dict[str, Any]]:
    """`metric >= number`, one a line; or a list of {"metric", "op", "threshold"}."""
    lines = (
        [line for line in value.splitlines() if line.strip()]
        if isinstance(value, str)
        else [
            f"{r.get('metric')} {r.get('op')} {r.get('threshold')}"
            for r in value or []
            if isinstance(r, dict)
        ]
    )
    if len(lines) > 20:
        raise InvalidInput(gettext("Name at most 20 metrics."), field="monitoring")
    found = []
    for line in lines:
        match = _RULE.match(line)
        number = float(match[3].replace(",", ".")) if match else math.nan
        if not match or not math.isfinite(number):
            raise InvalidInput(
                gettext(
                    "%(line)r is no threshold. Write one a line: a metric, one of %(operators)s, a number; for "
                    "example `accuracy >= 0.9`.",
                    line=line.strip()[:60],
                    operators=" ".join(OPERATORS),
                ),
                field="monitoring",
            )
        found.append({"metric": match[1].strip(), "op": match[2], "threshold": number})
    return found


def _day(name: str, value: Any) -> date | None:
    if value in (None, ""):
        return None
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        words = {
            "expires_at": gettext("The end of the approval"),
            "review_by": gettext("The day of the next review"),
        }[name]
        raise InvalidInput(gettext("%(words)s is a date like 2027-01-31.", words=words), field=name) from None


def _expiry(request: ReviewRequest, value: Any) -> datetime:
    day, today = _day("expires_at", value), timezone.now().date()
    if day is None or not today < day <= today + timedelta(days=MAX_DAYS):
        last = today + timedelta(days=MAX_DAYS)
        raise InvalidInput(
            gettext(
                "An approval ends on a day after today and not later than %(last)s: nothing is approved for "
                "ever.",
                last=last,
            ),
            field="expires_at",
        )
    return _end_of(day)


def _review_by(request: ReviewRequest, value: Any) -> date | None:
    day = _day("review_by", value)
    if day is not None and day <= timezone.now().date():
        raise InvalidInput(gettext("The day of the next review lies in the future."), field="review_by")
    return day


def _rollback(request: ReviewRequest, value: Any) -> Approval | None:
    if value in (None, ""):
        return None
    pk = value.pk if isinstance(value, Approval) else value
    found = (
        Approval.objects.filter(model=request.model_id, pk=int(pk)).first() if str(pk).isdecimal() else None
    )
    if found is None:
        raise InvalidInput(
            gettext("The rollback target is an approval of this model."), field="rollback_approval"
        )
    if found.revision_id == request.revision_id:
        raise InvalidInput(
            gettext(
                "A revision cannot be its own rollback target. Choose an earlier one, or name the fallback."
            ),
            field="rollback_approval",
        )
    return found


_READERS = {
    "use_cases": _use_cases,
    "monitoring": _monitoring,
    "expires_at": _expiry,
    "review_by": _review_by,
    "rollback_approval": _rollback,
}


def use_cases_text(rows: list[dict[str, str]]) -> str:
    return "\n".join(f"{row['slug']}: {row['text']}" for row in rows)


def monitoring_text(rows: list[dict[str, Any]]) -> str:
    return "\n".join(f"{row['metric']} {row['op']} {row['threshold']:g}" for row in rows)


def missing_terms(request: ReviewRequest) -> list[str]:
    """What an approval cannot be written without; empty when the record is whole."""
    found = []
    if not request.allowed_environments or not request.data_classes or not request.use_cases:
        found.append(
            gettext("The decision record does not say where, for what and on which data it may be used.")
        )
    if request.expires_at is None or request.expires_at <= timezone.now():
        found.append(gettext("The decision record does not say when the approval ends."))
    rollback = request.rollback_approval
    if rollback is not None and (rollback.status != "active" or rollback.expires_at <= timezone.now()):
        found.append(
            gettext("The rollback target of the decision record is not approved any more. Choose another.")
        )
    return found
