"""Rules that must hold whoever writes: views, shell, raw SQL. Installed after every migration, on both engines.

Installed by `post_migrate` and not by a migration, because SQLite drops a table's triggers whenever Django rebuilds it.
Reasons of the SQLite audit recipe: docs/adr/0003-audit-chain.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True)
class Rule:
    """One trigger. `when` is SQL over OLD/NEW that is true for a *forbidden* change; `message` is what the writer reads."""

    name: str
    table: str
    event: str  # "INSERT", "UPDATE", "UPDATE OF a, b" or "DELETE"
    message: str
    when: str = "1=1"


def append_only(table: str, what: str) -> list[Rule]:
    return [
        Rule(f"{table}_no_update", table, "UPDATE", f"{what} is append-only: it cannot be changed."),
        Rule(f"{table}_no_delete", table, "DELETE", f"{what} is append-only: it cannot be deleted."),
    ]


def _chain(table: str) -> list[Rule]:
    return [
        *append_only(table, "The audit log"),
        Rule(
            f"{table}_next",
            table,
            "INSERT",
            "An audit event must follow the last one.",
            f"NEW.seq <> COALESCE((SELECT MAX(seq) FROM {table}), 0) + 1 OR (EXISTS (SELECT 1 FROM {table}) AND "
            f"NEW.prev <> (SELECT hash FROM {table} ORDER BY seq DESC LIMIT 1))",
        ),
    ]


RULES: list[Rule] = [
    *_chain("registry_auditevent"),
    *_chain("registry_accessevent"),
    *append_only("registry_auditcheckpoint", "A checkpoint"),
    *append_only("registry_channelmove", "The history of a channel"),
    Rule(
        "registry_channelmove_approved",
        "registry_channelmove",
        "INSERT",
        "A channel can only move to an active approval of its own model.",
        "NOT EXISTS (SELECT 1 FROM registry_approval a JOIN registry_channel c ON c.model_id = a.model_id "
        "WHERE a.id = NEW.to_approval_id AND c.id = NEW.channel_id AND a.status = 'active')",
    ),
    Rule(
        "registry_channelmove_production",
        "registry_channelmove",
        "INSERT",
        "The channel production moves to approvals that allow production only.",
        "EXISTS (SELECT 1 FROM registry_channel WHERE id = NEW.channel_id AND name = 'production') "
        "AND NOT EXISTS (SELECT 1 FROM registry_approval a WHERE a.id = NEW.to_approval_id "
        "AND (CAST(a.allowed_environments AS TEXT) LIKE '%\"production\"%' "
        "OR (CAST(a.allowed_environments AS TEXT) = '[]' AND a.environment = 'production')))",
    ),
    *append_only("registry_reminder", "A reminder"),
    # `current` is what consumers read: setting it without a move would be a release that no history shows.
    Rule(
        "registry_channel_follows",
        "registry_channel",
        "UPDATE OF current_id",
        "A channel points at its last move.",
        "COALESCE(NEW.current_id, 0) <> COALESCE((SELECT to_approval_id FROM registry_channelmove "
        "WHERE channel_id = NEW.id ORDER BY number DESC LIMIT 1), 0)",
    ),
    Rule(
        "registry_channel_starts_empty",
        "registry_channel",
        "INSERT",
        "A channel points at its last move, so a new one points nowhere.",
        "NEW.current_id IS NOT NULL",
    ),
    *append_only("registry_evidence", "Evidence"),
    Rule(
        "registry_evidence_manifest",
        "registry_evidence",
        "INSERT",
        "Evidence must be measured on the manifest of its revision.",
        "NEW.manifest_sha256 <> (SELECT manifest_sha256 FROM registry_revision WHERE id = NEW.revision_id)",
    ),
    *append_only("registry_revisionfile", "A revision's manifest"),
    Rule(
        "registry_revisionfile_closed",
        "registry_revisionfile",
        "INSERT",
        "The manifest of an approved revision is closed: a file more would be a file that nobody approved.",
        "EXISTS (SELECT 1 FROM registry_approval WHERE revision_id = NEW.revision_id)",
    ),
    Rule(
        "registry_revision_immutable",
        "registry_revision",
        # Everything but code_audit and code_waived_until, which follow the code audit (reviews/triggers.py).
        "UPDATE OF model_id, commit_sha, requested_revision, manifest_sha256, total_size, card_text, card_data, "
        "card_sha256, config, label_mapping, facts, findings, pipeline_tag, library_name, license, remote_code_sha256, "
        "committed_at, created_at",
        "What was found at a commit cannot be changed.",
    ),
    Rule(
        "registry_revision_no_delete",
        "registry_revision",
        "DELETE",
        "A revision is a record: it cannot be deleted.",
    ),
    Rule(
        "registry_approval_immutable",
        "registry_approval",
        "UPDATE OF model_id, revision_id, environment, use_case, data_class, conditions, manifest_sha256, "
        "remote_code_sha256, content_sha256, evidence_ids, policy_version, submitted_by_id, approved_by_id, "
        "approved_at, expires_at, owner, allowed_environments, use_cases, data_classes, review_by, monitoring, "
        "rollback_approval_id, rollback_target, fallback, data_policy",
        "What was approved cannot be changed: a new decision is a new review.",
    ),
    Rule(
        "registry_approval_no_delete",
        "registry_approval",
        "DELETE",
        "An approval is a record: it cannot be deleted.",
    ),
    Rule(
        "registry_approval_bound",
        "registry_approval",
        "INSERT",
        "An approval must be bound to the content of its revision.",
        "NOT EXISTS (SELECT 1 FROM registry_revision r WHERE r.id = NEW.revision_id AND r.model_id = NEW.model_id "
        "AND r.manifest_sha256 = NEW.manifest_sha256 "
        "AND COALESCE(r.remote_code_sha256, '') = COALESCE(NEW.remote_code_sha256, '') "
        "AND r.code_audit IN ('not_applicable', 'passed', 'waived') "
        "AND COALESCE(r.code_waived_until > NEW.approved_at, TRUE))",
    ),
    Rule(
        "registry_approval_final",
        "registry_approval",
        "UPDATE OF status",
        "A revoked, retired or expired approval stays so.",
        "OLD.status IN ('revoked', 'retired', 'expired') AND NEW.status <> OLD.status",
    ),
]


def _sqlite(rule: Rule) -> list[str]:
    message = rule.message.replace("'", "''")
    return [
        f"DROP TRIGGER IF EXISTS {rule.name}",
        f"CREATE TRIGGER {rule.name} BEFORE {rule.event} ON {rule.table} FOR EACH ROW WHEN {rule.when} "
        f"BEGIN SELECT RAISE(ABORT, '{message}'); END",
    ]


def _postgresql(rule: Rule) -> list[str]:
    message = rule.message.replace("'", "''").replace("%", "%%")
    function = f"{rule.name}_refuse"
    result = "OLD" if rule.event == "DELETE" else "NEW"
    statements = [
        f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN "
        f"IF {rule.when} THEN RAISE EXCEPTION '{message}' USING ERRCODE = 'check_violation'; END IF; "
        f"RETURN {result}; END $body$",
        f"DROP TRIGGER IF EXISTS {rule.name} ON {rule.table}",
        f"CREATE TRIGGER {rule.name} BEFORE {rule.event} ON {rule.table} FOR EACH ROW EXECUTE FUNCTION {function}()",
    ]
    if rule.event == "DELETE":
        # TRUNCATE fires no row trigger, so it needs one of its own.
        statements += [
            f"CREATE OR REPLACE FUNCTION {function}_all() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN "
            f"RAISE EXCEPTION '{message}' USING ERRCODE = 'check_violation'; END $body$",
            f"DROP TRIGGER IF EXISTS {rule.name}_all ON {rule.table}",
            f"CREATE TRIGGER {rule.name}_all BEFORE TRUNCATE ON {rule.table} FOR EACH STATEMENT "
            f"EXECUTE FUNCTION {function}_all()",
        ]
    return statements


def install(connection: BaseDatabaseWrapper, rules: Iterable[Rule] = RULES) -> None:
    """Creates or replaces the triggers. Tables must exist; running it again changes nothing."""
    make = {"sqlite": _sqlite, "postgresql": _postgresql}[connection.vendor]
    with connection.cursor() as cursor:
        for rule in rules:
            for statement in make(rule):
                cursor.execute(statement)


def uninstall(connection: BaseDatabaseWrapper, rules: Iterable[Rule] = RULES) -> None:
    """Removes the triggers. For tests that must empty tables; nothing in the product calls it."""
    with connection.cursor() as cursor:
        for rule in rules:
            on = f" ON {rule.table}" if connection.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER IF EXISTS {rule.name}{on}")
            if on and rule.event == "DELETE":
                cursor.execute(f"DROP TRIGGER IF EXISTS {rule.name}_all{on}")
