"""The queries of the hot paths, as SQL: who is this token, what is live in this channel, and which file is asked for?

Everywhere else the ORM writes the SQL. Here compiling a query took three times as long as running it (measured:
benchmarks/api.py, docs/performance.md), so the text is written once. Both engines run the same statements; rows become
partial model instances (`from_db`), so whatever else is asked of them is loaded as usual.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

from django.db import connection
from django.utils import timezone

from registry.models import Approval, Blob, RegisteredModel, Revision, RevisionFile, Team, User

_USER = ("id", "username", "first_name", "last_name", "is_active", "is_service_account")
_TEAM = ("id", "slug", "name")
_APPROVAL = (
    "id", "status", "environment", "use_case", "data_class", "conditions", "manifest_sha256", "remote_code_sha256",
    "evidence_ids", "approved_at", "expires_at", "allowed_environments", "use_cases", "data_classes", "monitoring",
    "review_by", "revision_id", "model_id",
)  # fmt: skip
_REVISION = (
    "id", "model_id", "commit_sha", "label_mapping", "pipeline_tag", "license", "config", "facts",
    "code_audit", "code_waived_until",
)  # fmt: skip
_JSON = frozenset(
    {
        "evidence_ids", "label_mapping", "config", "facts", "allowed_environments", "use_cases", "data_classes",
        "monitoring",
    }
)  # fmt: skip
_MODEL = ("id", "team_id", "model_id")


def _columns(alias: str, names: tuple[str, ...]) -> str:
    return ", ".join(f"{alias}.{name}" for name in names)


TOKEN_SQL = f"""
SELECT t.id, t.digest, t.scopes, t.last_used_at IS NULL OR t.last_used_at < %s, m.role,
       {_columns("u", _USER)}, {_columns("g", _TEAM)}
FROM registry_apitoken t
JOIN registry_user u ON u.id = t.user_id
LEFT JOIN registry_team g ON g.id = t.team_id
LEFT JOIN registry_membership m ON m.user_id = t.user_id AND m.team_id = t.team_id
WHERE t.public_id = %s AND t.revoked_at IS NULL AND t.expires_at > %s
"""

LIVE_SQL = f"""
SELECT s.username, p.username, {_columns("a", _APPROVAL)}, {_columns("r", _REVISION)}, {_columns("m", _MODEL)}
FROM registry_registeredmodel m
JOIN registry_channel c ON c.model_id = m.id
JOIN registry_approval a ON a.id = c.current_id
JOIN registry_revision r ON r.id = a.revision_id
JOIN registry_user s ON s.id = a.submitted_by_id
JOIN registry_user p ON p.id = a.approved_by_id
WHERE m.team_id = %s AND m.model_id = %s AND c.name = %s
  AND a.status IN ('active', 'deprecated') AND a.expires_at > %s
"""


# Of a file that a Hub client asks for: its approval, as far as an answer names it. The rest is loaded if somebody asks.
_FILE_APPROVAL = ("id", "status", "status_reason", "revision_id", "model_id")
_FILE_REVISION = ("id", "model_id", "commit_sha", "code_audit", "code_waived_until")
_FILE = ("id", "revision_id", "path", "blob_id", "git_oid", "is_lfs")
_BLOB = ("sha256", "size", "damaged_at")
# A revision's facts are large: only the list of quarantined paths leaves the database.
_QUARANTINED = {
    "sqlite": "json_extract(r.facts, '$.formats.quarantined')",
    "postgresql": "(r.facts #> '{formats,quarantined}')::text",
}
FILE_SQL = f"""
SELECT {{quarantined}}, {_columns("a", _FILE_APPROVAL)}, {_columns("r", _FILE_REVISION)}, {_columns("m", _MODEL)},
       {_columns("f", _FILE)}, {_columns("b", _BLOB)}
FROM registry_registeredmodel m
{{which}}
JOIN registry_revisionfile f ON f.revision_id = r.id
JOIN registry_blob b ON b.sha256 = f.blob_id
WHERE m.team_id = %s AND m.model_id = %s AND {{name}} = %s AND f.path = %s
  AND a.status IN ('active', 'deprecated') AND a.expires_at > %s
ORDER BY a.status, a.approved_at DESC LIMIT 1
"""
# By commit as by channel over unique indexes; "active" sorts before "deprecated".
_BY_COMMIT = {
    "which": "JOIN registry_revision r ON r.model_id = m.id JOIN registry_approval a ON a.revision_id = r.id",
    "name": "r.commit_sha",
}
_BY_CHANNEL = {
    "which": "JOIN registry_channel c ON c.model_id = m.id JOIN registry_approval a ON a.id = c.current_id "
    "JOIN registry_revision r ON r.id = a.revision_id",
    "name": "c.name",
}


def _moment(value: Any) -> datetime:
    """SQLite keeps UTC as text, PostgreSQL gives a datetime."""
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    assert isinstance(found, datetime)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _part(model: Any, names: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    """A partial instance; JSON, dates and booleans as the ORM would give them."""
    read: dict[str, Any] = {}
    for name, value in zip(names, values, strict=True):
        if name in _JSON:
            value = _json(value)
        elif name == "review_by":
            value = date.fromisoformat(value) if isinstance(value, str) else value
        elif name.endswith(("_at", "_until")):
            value = None if value is None else _moment(value)
        elif name.startswith("is_"):
            value = bool(value)
        read[name] = value
    ordered = [
        field.attname for field in model._meta.concrete_fields if field.attname in read
    ]  # what from_db expects
    return model.from_db(connection.alias, ordered, [read[name] for name in ordered])


def _adapted(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


class TokenRow:
    """A token that is neither revoked nor expired, with its owner, team, and the owner's roles there as of now."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        first = rows[0]
        self.pk, self.digest, self.scopes, self.unused_lately = (
            first[0],
            first[1],
            _json(first[2]),
            bool(first[3]),
        )
        self.roles = frozenset(row[4] for row in rows if row[4])
        owner, team = first[5 : 5 + len(_USER)], first[5 + len(_USER) :]
        self.user: User = _part(User, _USER, owner)
        self.team: Team | None = _part(Team, _TEAM, team) if team[0] is not None else None


def find_token(public_id: str, used_before: datetime) -> TokenRow | None:
    """One query. `unused_lately` says whether its last use lies before `used_before`."""
    with connection.cursor() as cursor:
        cursor.execute(TOKEN_SQL, [_adapted(used_before), public_id, _adapted(timezone.now())])
        rows = cursor.fetchall()
    return TokenRow(rows) if rows else None


def live_approval(team: Team, model_id: str, channel: str) -> Approval | None:
    """One query over three unique indexes: what the channel points at, if consumers may have it now."""
    with connection.cursor() as cursor:
        cursor.execute(LIVE_SQL, [team.pk, model_id, channel, _adapted(timezone.now())])
        row = cursor.fetchone()
    if row is None:
        return None
    a, r = 2 + len(_APPROVAL), 2 + len(_APPROVAL) + len(_REVISION)
    approval: Approval = _part(Approval, _APPROVAL, row[2:a])
    approval.revision = _part(Revision, _REVISION, row[a:r])
    approval.model = _part(RegisteredModel, _MODEL, row[r:])
    approval.submitted_by, approval.approved_by = User(username=row[0]), User(username=row[1])
    return approval


def served_file(
    team: Team, model_id: str, path: str, *, channel: str = "", commit_sha: str = ""
) -> tuple[Approval, RevisionFile, list[str]] | None:
    """(approval, file with its blob, quarantined paths of the revision) of a commit, else of what a channel points at.

    One query, whose answer is never kept: a suspended approval is refused by the next request, in every process. None when
    consumers may not have it now, for whatever reason.
    """
    sql = FILE_SQL.format(
        quarantined=_QUARANTINED[connection.vendor], **(_BY_COMMIT if commit_sha else _BY_CHANNEL)
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [team.pk, model_id, commit_sha or channel, path, _adapted(timezone.now())])
        row = cursor.fetchone()
    if row is None:
        return None
    parts, start = [], 1
    for model, names in (
        (Approval, _FILE_APPROVAL), (Revision, _FILE_REVISION), (RegisteredModel, _MODEL), (RevisionFile, _FILE), (Blob, _BLOB),
    ):  # fmt: skip
        parts.append(_part(model, names, row[start : start + len(names)]))
        start += len(names)
    approval, revision, model, file, blob = parts
    approval.revision, approval.model, revision.model = revision, model, model
    file.revision, file.blob = revision, blob
    return approval, file, _json(row[0]) or []
