"""May it be used for that, there, with such data? What reviewers wrote into the approval, enforced where consumers ask."""

from __future__ import annotations

from dataclasses import dataclass

from registry.exceptions import NotAllowed
from registry.models import Approval
from registry.words import gettext


@dataclass(frozen=True)
class Use:
    """What a consumer says of itself; what it leaves empty is not asked."""

    environment: str = ""
    use_case: str = ""
    data_class: str = ""


def environments_of(approval: Approval) -> list[str]:
    """Where it may run; a record that names nothing allows what was asked for, and nothing else."""
    return list(approval.allowed_environments) or [approval.environment]


def data_classes_of(approval: Approval) -> list[str]:
    return list(approval.data_classes) or [approval.data_class]


def use_cases_of(approval: Approval) -> list[str]:
    return [str(row.get("slug", "")) for row in approval.use_cases]


def check_use(approval: Approval, use: Use) -> None:
    """Raises NotAllowed with the first term that is not met, its code, and what would be allowed."""
    where = f"{approval.model.model_id}@{approval.revision.short_sha}"
    asked = (
        (
            "environment",
            use.environment,
            environments_of(approval),
            "not_for_environment",
            gettext("the environment"),
        ),
        ("use_case", use.use_case, use_cases_of(approval), "not_for_use_case", gettext("the use case")),
        (
            "data_class",
            use.data_class,
            data_classes_of(approval),
            "not_for_data_class",
            gettext("data of the class"),
        ),
    )
    for name, wanted, allowed, code, words in asked:
        if wanted and wanted not in allowed:
            known = ", ".join(allowed) or "none"
            raise NotAllowed(
                gettext(
                    "%(where)s may not be used for %(words)s %(wanted)r. Its approval allows: %(known)s. Submit "
                    "it for review with that in the request.",
                    where=where, words=words, wanted=wanted[:60], known=known,
                ),
                code=code, field=name, asked=wanted[:60], allowed=allowed, approval=approval.pk,
            )  # fmt: skip


def covers(approval: Approval, use: Use) -> bool:
    try:
        check_use(approval, use)
    except NotAllowed:
        return False
    return True


def terms_payload(approval: Approval) -> dict[str, object]:
    """The terms as consumers read them, in answers and lock files."""
    return {
        "allowed_environments": environments_of(approval),
        "use_cases": [dict(row) for row in approval.use_cases],
        "data_classes": data_classes_of(approval),
        "conditions": approval.conditions,
        "monitoring": [dict(row) for row in approval.monitoring],
        "review_by": approval.review_by.isoformat() if approval.review_by else None,
    }
