"""Lists that must be complete: models and who may change them, grants, audit verbs, settings, generated pages."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from django.apps import apps
from django.db import connection

from config import env
from registry import audit
from registry.enums import STATUSES, ApprovalStatus, JobState, Role
from registry.machines import APPROVAL, JOB, PAST
from registry.permissions import GRANTS, Action
from reviews import checklists
from reviews import enums as review_enums
from reviews.machines import REVIEW, VERBS
from reviews.states_doc import as_markdown
from tests.house.rules import ALL

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("config", "registry", "inference", "reviews")

# Every table of the house, and what may happen to a row once it is written:
#   append-only   neither changed nor deleted (two triggers)
#   record        never deleted, and named columns (or states) never change (triggers)
#   kept          never deleted but for rows that a rule names, and checked at each change (triggers)
#   pointer       its one governed column follows an append-only history (triggers)
#   mutable       changed by services; nothing is decided from an old value of it
MODELS: dict[str, str] = {
    "registry.AuditEvent": "append-only",
    "registry.AccessEvent": "append-only",
    "registry.AuditCheckpoint": "append-only",
    "registry.ChannelMove": "append-only",
    "registry.Evidence": "append-only",
    "registry.RevisionFile": "append-only",
    "registry.Reminder": "append-only",
    "reviews.Vote": "append-only",
    "reviews.ChecklistTemplateVersion": "append-only",
    "reviews.ReviewComment": "append-only",
    "reviews.Mention": "append-only",
    "reviews.FileVerdict": "append-only",
    "reviews.CodeWaiver": "record",
    "reviews.Attestation": "append-only",
    "registry.Revision": "record",
    "registry.Approval": "record",
    "reviews.ReviewRequest": "record",
    "reviews.Answer": "kept",  # but for what was carried over, which the next round works out anew
    "reviews.Policy": "record",
    "reviews.PolicyVersion": "record",
    "reviews.Waiver": "record",
    "reviews.ChecklistTemplate": "mutable",
    "registry.ApiToken": "mutable",
    "registry.AuditHead": "mutable",
    "registry.FailedAttempts": "mutable",
    "registry.Blob": "mutable",
    "registry.Channel": "pointer",
    "registry.Download": "mutable",
    "registry.Job": "mutable",
    "registry.Membership": "mutable",
    "registry.RegisteredModel": "mutable",
    "registry.ServedReplica": "mutable",
    "registry.Team": "mutable",
    "registry.User": "mutable",
    "inference.EvaluationPrediction": "append-only",
    "inference.GoldenExample": "append-only",
    "inference.GoldenSet": "append-only",
}


def test_every_model_is_listed() -> None:
    found = {
        model._meta.label
        for app in ("registry", "inference", "reviews")
        for model in apps.get_app_config(app).get_models()
    }
    assert found == set(MODELS)


@pytest.mark.parametrize(("label", "kind"), sorted(MODELS.items()))
def test_model_has_the_rules_of_its_kind(label: str, kind: str) -> None:
    table = apps.get_model(label)._meta.db_table
    events = {rule.event.split(" ")[0] for rule in ALL if rule.table == table and rule.when == "1=1"}
    guarded = {rule.event.split(" ")[0] for rule in ALL if rule.table == table}
    expected = {
        "append-only": {"UPDATE", "DELETE"},
        "record": {"DELETE"},
        "kept": set(),
        "pointer": set(),
        "mutable": set(),
    }[kind]
    assert events >= expected, f"{label} is called {kind}, and its triggers refuse only {sorted(events)}"
    if kind in ("record", "pointer", "kept"):
        assert "UPDATE" in guarded
    if kind == "kept":
        assert "DELETE" in guarded
    if kind == "mutable":
        assert not guarded


def test_rules_are_installed_in_the_running_database(db: None) -> None:
    query = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(query)
        found = {row[0] for row in cursor.fetchall()}
    assert {rule.name for rule in ALL} <= found


def test_rule_names_fit_postgresql() -> None:
    names = [rule.name for rule in ALL]
    assert len(set(names)) == len(names)
    assert all(len(f"{name}_refuse_all") <= 63 for name in names), "PostgreSQL cuts longer names silently"


def test_every_action_has_its_grant() -> None:
    assert set(GRANTS) == set(Action)
    assert all(grant.roles <= set(Role) and grant.roles for grant in GRANTS.values())


def test_every_state_has_its_words_icon_and_tone() -> None:
    assert set(STATUSES) == {*ApprovalStatus.values, *JobState.values}
    assert set(review_enums.STATUSES) == set(review_enums.ReviewStatus.values)
    for status in [*STATUSES.values(), *review_enums.STATUSES.values()]:
        assert status.label and status.icon and status.tone


@pytest.mark.parametrize("machine", [APPROVAL, JOB, REVIEW], ids=lambda m: m.name)
def test_machine_knows_only_its_own_states_and_says_its_actions(machine: object) -> None:
    from registry.machines import Machine

    assert isinstance(machine, Machine)
    assert {state for state, _ in machine.moves} | set(machine.moves.values()) <= set(machine.states)
    assert set(machine.actions) <= set(PAST)


def test_shipped_checklist_has_the_seeds_ten_sections() -> None:
    assert checklists.shipped().sections == [
        "Basic information", "License", "Intended use", "Language and locale", "Training/evaluation data", "Metrics",
        "Limitations", "Safety and security", "Inference requirements", "Production decision",
    ]  # fmt: skip


# --- audit verbs -------------------------------------------------------------------------------------------------------


def _recorded_verbs() -> set[str]:
    """Every `verb=` that the product writes as a literal, and those that are looked up in the machines' tables."""
    found: set[str] = set()
    for folder in PRODUCT:
        for path in (ROOT / folder).rglob("*.py"):
            if "migrations" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.keyword) and node.arg == "verb":
                    found |= {
                        leaf.value
                        for leaf in ast.walk(node.value)
                        if isinstance(leaf, ast.Constant)
                        and isinstance(leaf.value, str)
                        and "." in leaf.value
                    }
                if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in (
                    "_start_checks", "_record",
                ):  # fmt: skip
                    found |= {
                        arg.value
                        for arg in node.args
                        if isinstance(arg, ast.Constant) and isinstance(arg.value, str) and "." in arg.value
                    }
    found = {verb for verb in found if re.fullmatch(r"[a-z_]+\.[a-z_]+", verb)}
    return found | set(VERBS.values()) | {f"approval.{PAST[action]}" for action in APPROVAL.actions}


def test_audit_verbs_and_sentences_are_the_same_list() -> None:
    by_migrations = {"token.scopes_changed"}
    assert _recorded_verbs() | by_migrations == set(audit.SENTENCES)


# --- generated pages ---------------------------------------------------------------------------------------------------


def test_settings_page_is_what_the_table_says() -> None:
    written = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert written == env.as_markdown(), "run `python -m config.env > docs/settings.md`"


def test_states_page_is_what_the_machines_say() -> None:
    written = (ROOT / "docs/states.md").read_text(encoding="utf-8")
    assert written == as_markdown(), "run `python -m tests.house.states > docs/states.md`"


def test_no_setting_is_read_outside_the_table() -> None:
    """`os.environ` in the control plane is config/env.py's business: a setting elsewhere would be undocumented."""
    allowed = {
        "config/env.py",  # the table
        "inference/child.py",  # passes a short list of names on to the child
        "reviews/demo/consuming.py",  # gives the engineer's clean process its PATH
    }
    own = {"DJANGO_SETTINGS_MODULE"}
    found = []
    for folder in PRODUCT:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name in allowed or name.startswith(("inference/engine/", "inference/server/")):
                continue
            for line in path.read_text(encoding="utf-8").splitlines():
                names = set(re.findall(r"""environ(?:\.get\(|\.setdefault\(|\[)["'](\w+)""", line))
                found += [f"{name}: {n}" for n in names - own if n not in env.SETTINGS]
    assert found == []
