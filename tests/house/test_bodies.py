"""Bodies of every JSON address: what no reader may take, and fields that nobody may set."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django import forms
from django.apps import apps
from rest_framework import serializers

from registry.enums import Role, Scope
from tests.factories import MODEL_ID, SHA_A, Api, World, make_member
from tests.house.knocking import knocks, rolled_back, things

ROOT = Path(__file__).resolve().parents[2]
HOUSE = ("registry", "inference", "reviews")
WRITES = ("POST", "PUT", "PATCH", "DELETE")

BODIES: dict[str, bytes] = {
    "lone surrogate": b'{"reason": "a \\ud800 b"}',
    "lone surrogate as a key": b'{"\\udfff": 1}',
    "surrogates the wrong way round": b'{"reason": "\\udc00\\ud800"}',
    "surrogate in bytes": b'{"reason": "\xed\xa0\x80"}',
    "nul": b'{"reason": "a\\u0000b"}',
    "nul byte": b'{"reason": "a\x00b"}',
    "nan": b'{"reason": NaN}',
    "infinity": b'{"days": -Infinity}',
    "number too large": b'{"days": 1e999}',
    "endless number": b'{"days": ' + b"9" * 5000 + b"}",
    "duplicate key": b'{"reason": "a", "reason": "b"}',
    "nested duplicate": b'{"answers": {"license": {"text": "a", "text": "b"}}}',
    "20,000 lists deep": b"[" * 20_000 + b"]" * 20_000,
    "20,000 objects deep": b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
    "33 deep": b'{"reason": ' + b"[" * 33 + b"]" * 33 + b"}",
    "half": b'{"reason": "a',
    "byte order mark": b'\xef\xbb\xbf{"reason": "a"}',
    "utf-16": '{"reason": "a"}'.encode("utf-16"),
    "latin-1": b'{"reason": "\xe9"}',
    "not an object": b"[1, 2]",
    "a text": b'"text"',
    "null": b"null",
    "number": b"1",
    "empty": b"",
    "comment": b'{"reason": "a"} // b',
    "two documents": b'{"reason": "a"}{"reason": "b"}',
    "proto": b'{"__proto__": {"is_staff": true}, "constructor": 1}',
}
ODD_QUERIES = ["%ED%A0%80", "%FF%00", "a" * 5000, "%27%20OR%201=1--%0d%0aX-A:%20b", "1e309"]
PARAMETERS = (
    "q", "search", "page", "page_size", "verb", "channel", "commit_sha", "model", "model_id", "revision", "at", "state",
    "status", "environment", "use_case", "data_class", "person", "since", "file", "from", "policy", "rule", "next",
)  # fmt: skip


def test_odd_body_is_never_our_error_at_any_address(world: World, settings: Any) -> None:
    settings.HUB_ENDPOINT = "http://127.0.0.1:1"
    filled = things(world)
    person = Api.of(make_member(world.team, *Role))
    server = Api.of(world.server, [Scope.SERVE])
    addresses = [k for k in knocks(filled) if k.kind == "api" and k.verb in WRITES]
    failed = []
    for knock in addresses:
        for name, body in BODIES.items():
            with rolled_back([]):
                client = server if knock.cell.door == "service" else person
                answer = client.send(knock.verb, knock.url, body)
            if answer.status >= 500 or (answer.status >= 400 and not answer.code):
                failed.append(f"{knock} with {name}: {answer.status}")
    assert failed == []
    assert len(addresses) > 30


def test_odd_query_is_never_our_error_at_any_address(world: World, settings: Any) -> None:
    settings.HUB_ENDPOINT = "http://127.0.0.1:1"
    filled = things(world)
    person = make_member(world.team, *Role)
    api = Api.of(person)
    session = api.client
    session.force_login(person.user)
    failed = []
    for knock in knocks(filled):
        if knock.verb != "GET" or knock.cell.door in ("service", "staff"):
            continue
        for value in ODD_QUERIES:
            url = f"{knock.url}?" + "&".join(f"{name}={value}" for name in PARAMETERS)
            with rolled_back([]):
                status = session.get(url).status_code if knock.kind == "page" else api.get(url).status
            if status >= 500:
                failed.append(f"{knock} with {value[:20]}: {status}")
    assert failed == []


# --- fields that nobody may set ----------------------------------------------------------------------------------------

Body = dict[str, Any]

# Good bodies; with every field of every table beside them, what is written must stay the same.
GOOD: dict[tuple[str, str], Callable[[dict[str, str]], Body]] = {
    ("POST", "api/v1/tokens"): lambda f: {"name": "notebook", "scopes": ["read"], "days": 3},
    ("POST", "api/v1/reviews/<int:pk>/comments"): lambda f: {"text": "Read the licence again"},
    ("PUT", "api/v1/reviews/<int:pk>/answers"): lambda f: {"answers": {"license": {"verdict": "concern", "text": "Read it"}}},
    ("PUT", "api/v1/reviews/<int:pk>/record"): lambda f: {"fallback": "People sort by hand, as before"},
    ("POST", "api/v1/reviews/<int:pk>/changes"): lambda f: {"reason": "The card says nothing of limits"},
    ("POST", "api/v1/reviews/<int:pk>/decision"): lambda f: {"decision": "rejected", "reason": "It is not good enough"},
    ("POST", "api/v1/approvals/<int:pk>/<action:action>=suspend"): lambda f: {"reason": "A finding came in"},
    ("POST", "api/v1/checklist-templates"): lambda f: {"yaml": f["yaml"], "note": "Another item"},
    ("POST", "api/v1/waivers"): lambda f: {
        "model_id": MODEL_ID, "commit_sha": SHA_A, "rule": f["rule"], "reason": "For a trial of a week", "days": 7},
    ("POST", "api/v1/policies/versions/<int:pk>"): lambda f: {"state": "dry_run"},
    ("POST", "api/v1/models/<str:org>/<str:name>/revisions/<sha:commit_sha>/benchmarks"): lambda f: {},
    ("DELETE", "api/v1/waivers/<int:pk>"): lambda f: {},
    ("POST", "api/v1/jobs/<int:pk>/cancel"): lambda f: {},
}  # fmt: skip
HOSTILE: Body = {
    "approved": True, "is_staff": True, "is_superuser": True, "is_active": False, "password": "x", "user": 1, "user_id": 1,
    "actor": 1, "actor_id": 1, "by": 1, "by_id": 1, "author": 1, "team_id": 2, "roles": ["admin"], "role": "admin",
    "status": "approved", "status_by": 1, "approved_by": 1, "approved_by_id": 1, "approved_at": "2020-01-01T00:00:00Z",
    "submitted_by": 1, "decision_by": 1, "decision_at": "2020-01-01T00:00:00Z", "round": 9, "votes_needed": 0, "tier": "low",
    "checklist": [], "legal_asked": False, "code_audit": "passed", "remote_code_sha256": None, "manifest_sha256": "0" * 64,
    "public_id": "0" * 16, "digest": "0" * 64, "revoked_at": None, "last_used_at": None, "created_at": "2020-01-01T00:00:00Z",
    "id": 1, "pk": 1, "number": 99, "lease_owner": "me", "priority": 9, "requested_by": 1, "evidence_ids": [1],
    "kind": "intake", "current": 1, "current_id": 1, "ended_by": 1, "state_by": 1, "waived": True, "audit": False,
}  # fmt: skip
CHAINS = ("auditevent", "accessevent", "audithead", "auditcheckpoint", "failedattempts")
VOLATILE = ("digest", "public_id", "content_sha256", "payload_sha256", "log_tail")


def tables() -> dict[str, list[str]]:
    """Every row of the house without what differs from run to run: keys, moments, secrets."""
    found = {}
    for app in HOUSE:
        for model in apps.get_app_config(app).get_models():
            if model._meta.model_name in CHAINS:
                continue
            timed = {f.name for f in model._meta.concrete_fields if f.get_internal_type().startswith("Date")}
            skipped = timed | set(VOLATILE) | {model._meta.pk.name}
            rows = [
                {k: v for k, v in row.items() if k not in skipped} for row in model._default_manager.values()
            ]
            found[model._meta.label] = sorted(json.dumps(row, sort_keys=True, default=str) for row in rows)
    return found


def test_fields_that_nobody_may_set_change_nothing(world: World) -> None:
    filled = things(world)
    filled |= extras(world)
    client = Api.of(make_member(world.team, *Role, username="everything"))
    untried = dict(GOOD)
    for knock in knocks(filled):
        make = untried.pop((knock.verb, knock.route), None)
        if make is None:
            continue
        body = make(filled)
        written: list[dict[str, list[str]]] = []
        for more in ({}, {key: value for key, value in HOSTILE.items() if key not in body}):
            with rolled_back([]):
                answer = client.send(knock.verb, knock.url, {**body, **more})
                assert answer.status in (200, 201, 202, 204, 422), (knock, answer.data)
                if more and answer.status == 422:
                    assert written[0] is not None, knock  # refused for the foreign fields: good, too
                    continue
                assert answer.status != 422, (knock, answer.data)
                written.append(tables())
        assert len(written) == 1 or written[0] == written[1], knock
    assert untried == {}


def extras(world: World) -> dict[str, str]:
    from reviews.checklists import templates
    from reviews.policies.gate import policies_in_force

    rules = [
        f"{policy.document.key}/{rule.key}"
        for policy in policies_in_force(world.team.pk, dry_run=True)
        for rule in policy.document.rules
        if rule.waivable
    ]
    source = templates.shown_version(world.team).source.replace("Name of the model", "Name at loading")
    return {"rule": rules[0], "yaml": source}


def serializer_classes(base: Any = serializers.BaseSerializer) -> list[Any]:
    found: list[Any] = []
    for child in base.__subclasses__():
        found += [child, *serializer_classes(child)]
    return [child for child in found if child.__module__.split(".")[0] in (*HOUSE, "config")]


def test_every_serializer_lists_its_fields_and_none_of_a_table_reads_a_request() -> None:
    models = [c for c in serializer_classes() if issubclass(c, serializers.ModelSerializer)]
    assert len(models) > 8
    for found in models:
        fields = getattr(found.Meta, "fields", None)
        assert isinstance(fields, list | tuple) and not hasattr(found.Meta, "exclude"), found
    read = {
        name
        for package in HOUSE
        for path in (ROOT / package).rglob("*.py")
        for name in re.findall(r"valid\(\s*(?:\w+\.)?(\w+)\(", path.read_text(encoding="utf-8"))
    }
    assert len(read) > 10 and not read & {c.__name__ for c in models}


def test_no_form_of_ours_is_a_form_of_a_table() -> None:
    def below(base: Any) -> list[Any]:
        return [c for child in base.__subclasses__() for c in (child, *below(child))]

    ours = [c.__name__ for c in below(forms.ModelForm) if c.__module__.split(".")[0] in (*HOUSE, "config")]
    assert ours == []
