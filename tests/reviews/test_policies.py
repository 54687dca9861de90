"""Policies: the shipped rules against facts as a table, what is not known, the language's bounds, waivers, the simulator."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from registry.enums import EvidenceKind
from registry.exceptions import Conflict, InvalidInput, NotAllowed
from registry.models import AuditEvent, Revision
from reviews import permissions
from reviews.attestations import statement_of
from reviews.models import Answer, PolicyState, PolicyVersion, ReviewRequest, Waiver
from reviews.policies import gate, language, simulator
from reviews.policies.documents import PolicyError, default_policy, read_policy
from reviews.policies.facts import CATALOGUE, SAMPLES, Fact, Subject
from reviews.policies.gate import MET, UNKNOWN, VIOLATED, Judge, violations_blocking
from reviews.policies.language import MAX_CHARACTERS, RuleError, compile_rule, holds
from reviews.policies.panel import panel_lines
from reviews.policies_doc import as_markdown
from reviews.services.deciding import decide
from reviews.services.policies import end_waiver, grant_waiver, move_policy, note_expired_waivers, save_policy
from tests.factories import SHA_B, World, make_approval, make_evidence, make_review, make_revision

OFF = {"provenance": {"on_default_branch": False}}


def one_rule(require: str, effect: str = "fail", key: str = "our-rules") -> str:
    return (
        f"policy: {key}\ntitle: Ours\nrules:\n  - key: only\n    title: The only rule\n    require: '{require}'\n"
        f"    effect: {effect}\n    message: It does not hold.\n"
    )


def ready(world: World, **fields: Any) -> ReviewRequest:
    revision = make_revision(world.team, **fields)
    for kind in EvidenceKind:
        make_evidence(world.submitter, revision, kind)
    return make_review(world, revision, environment="production", answered=True)


# --- the shipped minimum: rule x facts ----------------------------------------------------------------------------------

HOLDS, BREAKS, OPEN = MET, VIOLATED, UNKNOWN
MATRIX: list[tuple[str, dict[str, Any], str]] = [
    ("card_reviewed", {"review.open_items": 0}, HOLDS),
    ("card_reviewed", {"review.open_items": 1}, BREAKS),
    ("card_reviewed", {}, OPEN),
    ("licence_approved", {"licence.verdict": "acceptable", "review.conditions": False}, HOLDS),
    ("licence_approved", {"licence.verdict": "concern", "review.conditions": True}, HOLDS),
    ("licence_approved", {"licence.verdict": "concern", "review.conditions": False}, BREAKS),
    ("licence_approved", {"licence.verdict": "needs_legal_review", "review.conditions": True}, HOLDS),
    ("licence_approved", {"licence.verdict": "rejected", "review.conditions": True}, BREAKS),
    ("licence_approved", {"review.conditions": True}, OPEN),
    ("sha_pinned", {"revision.pinned": True}, HOLDS),
    ("sha_pinned", {"revision.pinned": False}, BREAKS),
    ("sha_pinned", {}, OPEN),
    ("loads", {"wrapper.loaded": True}, HOLDS),
    ("loads", {"wrapper.loaded": False}, BREAKS),
    ("loads", {}, OPEN),
    ("benchmark", {"benchmark.hardware": "CPU"}, HOLDS),
    ("benchmark", {"benchmark.hardware": ""}, BREAKS),
    ("benchmark", {}, OPEN),
    ("golden_set", {"evaluation.accuracy": 0.9}, HOLDS),
    ("golden_set", {"evaluation.accuracy": 0.9, "regression.accuracy_drop": 0.02}, HOLDS),
    ("golden_set", {"evaluation.accuracy": 0.9, "regression.accuracy_drop": 0.021}, BREAKS),
    ("golden_set", {"regression.accuracy_drop": -0.1}, OPEN),
    ("monitoring", {"monitoring.thresholds": 1}, HOLDS),
    ("monitoring", {"monitoring.thresholds": 0}, BREAKS),
    ("monitoring", {}, OPEN),
    ("data_policy", {"data_policy.stated": True}, HOLDS),
    ("data_policy", {"data_policy.stated": False}, BREAKS),
    ("data_policy", {}, OPEN),
    ("rollback", {"rollback.target": "abcdef0"}, HOLDS),
    ("rollback", {"rollback.target": ""}, BREAKS),
    ("rollback", {}, OPEN),
    ("code_audit", {"code.audit": "not_applicable"}, HOLDS),
    ("code_audit", {"code.audit": "passed"}, HOLDS),
    ("code_audit", {"code.audit": "waived"}, HOLDS),
    ("code_audit", {"code.audit": "pending"}, BREAKS),
    ("code_audit", {"code.audit": "failed"}, BREAKS),
    ("code_audit", {}, OPEN),
    ("no_failed_finding", {"findings.fail": 0}, HOLDS),
    ("no_failed_finding", {"findings.fail": 1}, BREAKS),
    ("no_failed_finding", {}, OPEN),
    ("default_branch", {"provenance.on_default_branch": "yes"}, HOLDS),
    ("default_branch", {"provenance.on_default_branch": "unknown"}, HOLDS),
    ("default_branch", {"provenance.on_default_branch": "no"}, BREAKS),
    ("default_branch", {}, OPEN),
]


@pytest.mark.parametrize(("key", "facts", "expected"), MATRIX)
def test_shipped_rule_over_facts(
    key: str, facts: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "facts_of", lambda subject, gathered: facts)
    subject = Subject(Revision(pk=1), as_environment="production")
    judge = Judge([gate.InForce(default_policy(), 0)], None, {})  # type: ignore[arg-type]
    found = {o.rule.key: o for o in judge.outcomes(subject)}[key]
    assert found.state == expected and found.sentence
    assert found.blocks == (expected != MET and found.rule.effect == "fail")


def test_matrix_and_panel_are_whole() -> None:
    rules = default_policy().rules
    assert {rule.key for rule in rules} == {key for key, _, _ in MATRIX}
    assert [rule.key for rule in rules if rule.panel] == [
        "card_reviewed", "licence_approved", "sha_pinned", "loads", "benchmark", "golden_set", "monitoring", "data_policy",
        "rollback", "code_audit",
    ]  # fmt: skip


def test_every_fact_has_its_words_and_a_sample_of_its_type() -> None:
    assert len(SAMPLES) == len(CATALOGUE)
    for fact in CATALOGUE:
        assert fact.title and fact.source and fact.type and fact.sample is not None


def test_fact_that_is_not_known_is_named_and_fails_closed(world: World) -> None:
    save_policy(actor=world.admin, source=one_rule("latency.p95_ms < 50.0"), state="in_force")
    review = make_review(world, make_revision(world.team), answered=True)
    assert review.revision
    (sentence,) = violations_blocking(review.revision, review)
    assert sentence == "The only rule: not known is “95th percentile” (latency.p95_ms)."
    make_evidence(world.submitter, review.revision, EvidenceKind.BENCHMARK)
    assert violations_blocking(review.revision, review) == []


def asks_about(fact: Fact) -> str:
    """A condition over this fact that its sample fulfils."""
    sample = fact.sample
    if isinstance(sample, list):
        return f"size({fact.name}) >= 0"
    return (
        fact.name
        if sample is True
        else f"!{fact.name}"
        if sample is False
        else f"{fact.name} == {json.dumps(sample)}"
    )


@pytest.mark.parametrize("fact", CATALOGUE, ids=lambda fact: fact.name)
def test_every_fact_fails_closed_while_it_is_not_known(fact: Fact, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a condition and in a scope: what nobody knows neither fulfils a rule nor takes it out of the way."""
    subject, rule = Subject(Revision(pk=1), as_environment="production"), one_rule(asks_about(fact))
    scoped = one_rule("false") + f"    when: {json.dumps(asks_about(fact))}\n"
    for known, source, state in (
        ({fact.name: fact.sample}, rule, MET),
        ({}, rule, UNKNOWN),
        ({fact.name: fact.sample}, scoped, VIOLATED),
        ({}, scoped, VIOLATED),
    ):
        monkeypatch.setattr(gate, "facts_of", lambda subject, gathered, known=known: known)
        judge = Judge([gate.InForce(read_policy(source), 1)], None, {})  # type: ignore[arg-type]
        (found,) = judge.outcomes(subject)
        assert (found.state, found.blocks) == (state, state != MET)


def test_panel_says_of_each_of_the_ten_what_is_missing_and_who_helps_or_what_it_rests_on(
    world: World,
) -> None:
    bare = panel_lines(world.viewer, make_revision(world.team, SHA_B, remote_code=True), None)[0]
    titles = [rule.title for rule in default_policy().rules if rule.panel]
    assert [line.title for line in bare][:10] == titles and len(titles) == 10
    for line in bare[:10]:
        assert line.words and (line.ok or line.who), line.title
    assert {line.title for line in bare if line.ok} == {"Revision pinned"}
    review = ready(world)
    assert review.revision
    full, words = panel_lines(world.viewer, review.revision, review)
    assert words == "10 of 10 met" and [line.title for line in full] == titles
    for line in full:
        # Of two the sentence is all: the commit itself, and that there is no code to audit.
        assert (
            line.ok and line.words and (line.url or line.title in {"Revision pinned", "Code audit settled"})
        ), line.title
    code = next(line for line in bare if line.title == "Code audit settled")
    assert code.url.endswith("/code/") and code.who == "a security auditor"


# --- the language ------------------------------------------------------------------------------------------------------

TOO_MUCH = [
    "true || " * 200 + "true", "(" * 400 + "true" + ")" * 400, "!" * 900 + "true", "[" * 300 + "]" * 300,
    "&&".join(["revision.pinned"] * 60), '"a" * 1000000000 == "b"', '"%1000000000d" % 5 == ""',
    "findings.list.all(a, findings.list.all(b, true))", "findings.list.map(a, [a, a]).map(b, b).size() > 0",
    '"aaaa".matches("(a+)+$")', "findings.list.reduce(a, b, 0, a + b) == 0", "9223372036854775807 + 1 > 0", "1 / 0 == 1",
    "type(1) == int", "timestamp('2020-01-01T00:00:00Z') > timestamp('2020-01-01T00:00:00Z')",
]  # fmt: skip


@pytest.mark.parametrize("source", TOO_MUCH, ids=range(len(TOO_MUCH)))
def test_what_could_run_away_is_refused_at_once(source: str) -> None:
    started = time.monotonic()
    with pytest.raises(RuleError) as refusal:
        compile_rule(source, SAMPLES)
    assert time.monotonic() - started < 5 and refusal.value.cure


def test_longest_rule_over_the_longest_list_is_bounded() -> None:
    walk = 'findings.list.all(f, f.path != "x" && f.message != "y" && f.key != "z")'
    source = " && ".join([walk] * 12)
    assert len(source) < MAX_CHARACTERS
    rule = compile_rule(source, SAMPLES)
    rows = [{"severity": "warn", "path": "a", "key": "b", "message": "c"}] * 200
    started = time.monotonic()
    with pytest.raises(ValueError):
        holds(rule, {"findings.list": rows})  # stopped after its steps: the caller fails closed
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("source", "column", "words"),
    [
        ("findings.fial == 0", 1, "Did you mean `findings.fail`?"),
        ("revision.pinned && findings.fail == ", 34, "cannot be read"),
        ('findings.fail == "none"', 1, "types do not fit"),
        ("findings.fail", 1, "gives no yes or no"),
        ("revision.pinned && nosuch(1)", 20, "There is no function"),
        ("", 1, "is empty"),
    ],
)
def test_mistake_is_said_with_its_place_and_cure(source: str, column: int, words: str) -> None:
    with pytest.raises(RuleError) as refusal:
        compile_rule(source, SAMPLES)
    assert words in refusal.value.message and abs(refusal.value.column - column) <= 1 and refusal.value.cure


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("policy: [", 1), ("policy: x-y\ntitle: T\nrules: []\n", 3), ("a: &x 1\nb: *x\n", 1),
        (one_rule("findings.nope == 1"), 6), (one_rule("true", effect="stop"), 7),
        (one_rule("true") + "    colour: red\n", 9), (one_rule("true") + "    met: '{no.fact}'\n", 9), ("- 1\n", 1),
        (one_rule("true") + "  - key: only\n    title: T\n    message: M\n    require: true\n", 9),
    ],
)  # fmt: skip
def test_bad_yaml_is_refused_with_its_line(source: str, line: int) -> None:
    with pytest.raises(PolicyError) as refusal:
        read_policy(source)
    assert refusal.value.details["line"] == line and refusal.value.details["cure"]


# --- versions ----------------------------------------------------------------------------------------------------------


def test_versions_are_numbered_and_one_is_in_force(world: World) -> None:
    first = save_policy(actor=world.admin, source=one_rule("true"), state="in_force")
    second = save_policy(actor=world.admin, source=one_rule("revision.pinned"), seen=1)
    with pytest.raises(Conflict, match="Somebody saved version 2"):
        save_policy(actor=world.admin, source=one_rule("true"), seen=1)
    move_policy(actor=world.admin, version_pk=second.pk, state=PolicyState.IN_FORCE)
    first.refresh_from_db()
    assert (first.number, second.number, first.state) == (1, 2, "retired")
    with pytest.raises(Conflict, match="retired"):
        move_policy(actor=world.admin, version_pk=first.pk, state=PolicyState.IN_FORCE)
    verbs = list(AuditEvent.objects.order_by("seq").values_list("verb", flat=True))
    assert verbs == ["policy.saved", "policy.in_force", "policy.saved", "policy.retired", "policy.in_force"]
    for role in ("viewer", "submitter", "reviewer", "security_auditor", "release_manager", "auditor"):
        with pytest.raises(NotAllowed, match="To edit a policy you need the role admin"):
            save_policy(actor=world.by_role(role), source=one_rule("true"))


@pytest.mark.parametrize("column", ["policy_id", "number", "title", "source", "sha256", "author_id", "at"])
def test_saved_version_cannot_be_changed_in_the_database(world: World, column: str) -> None:
    version = save_policy(actor=world.admin, source=one_rule("true"))
    value = {"at": timezone.now(), "number": 9}.get(
        column, world.viewer.user.pk if "_id" in column else "changed"
    )
    with pytest.raises(DatabaseError, match="a change is a new version"), transaction.atomic():
        PolicyVersion.objects.filter(pk=version.pk).update(**{column: value})
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM reviews_policyversion")


def test_dry_run_is_seen_and_blocks_nothing(world: World) -> None:
    save_policy(actor=world.admin, source=one_rule("false"), state="dry_run")
    review = ready(world)
    assert review.revision and violations_blocking(review.revision, review) == []
    found = gate.outcomes_of(Subject(review.revision, review), dry_run=True)
    assert [o.state for o in found if o.dry_run] == [VIOLATED]


@pytest.mark.parametrize("waived", [False, True])
def test_panel_shows_a_dry_run_and_does_not_count_it(world: World, waived: bool) -> None:
    version = save_policy(actor=world.admin, source=one_rule("false"), state="dry_run")
    review = ready(world)
    assert review.revision
    if waived:
        grant_waiver(
            actor=world.reviewer, revision=review.revision, rule="our-rules/only", reason="Known.", days=7
        )
    lines, words = panel_lines(world.viewer, review.revision, review)
    assert words == "10 of 10 met" and [line.title for line in lines][10:] == ["The only rule"]
    assert lines[10].note == "Dry run of our-rules version 1: it blocks nothing yet."
    move_policy(actor=world.admin, version_pk=version.pk, state=PolicyState.IN_FORCE)
    lines, words = panel_lines(world.viewer, review.revision, review)
    assert words == ("11 of 11 met" if waived else "10 of 11 met") and not lines[10].note


def test_own_version_takes_the_place_of_the_shipped_one_for_its_team_only(world: World) -> None:
    save_policy(actor=world.admin, source=one_rule("true", key="production-minimum"), state="in_force")
    mine = gate.policies_in_force(world.team.pk)
    assert [(p.document.key, p.number) for p in mine] == [("production-minimum", 1)]
    assert [p.number for p in gate.policies_in_force(world.other.in_team.pk)] == [0]
    assert gate.policies_digest(world.team.pk) != gate.policies_digest(world.other.in_team.pk)


# --- waivers -----------------------------------------------------------------------------------------------------------


def test_waiver_subtracts_and_its_end_brings_the_violation_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    review = ready(world, facts=OFF)
    revision = review.revision
    assert revision
    (sentence,) = violations_blocking(revision, review)
    assert "default branch" in sentence
    give: dict[str, Any] = {"actor": world.reviewer, "revision": revision, "rule": "production-minimum/default_branch",
            "reason": "The owner confirmed it.", "days": 7}  # fmt: skip
    waiver = grant_waiver(**give, owner=world.admin.user.username)
    assert waiver.owner == world.admin.user and violations_blocking(revision, review) == []
    with pytest.raises(Conflict, match="waived for this revision already"):
        grant_waiver(**give)
    end_waiver(actor=world.security_auditor, waiver=waiver)
    assert violations_blocking(revision, review) == [sentence]
    again = grant_waiver(**give)
    later = timezone.now() + timedelta(days=7, seconds=1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    assert violations_blocking(revision, review) == [sentence]  # before any task has run
    assert (note_expired_waivers(), note_expired_waivers()) == (1, 0)
    event = AuditEvent.objects.latest("seq")
    assert (event.verb, event.object_id, event.team_id) == ("waiver.expired", again.pk, world.team.pk)


def test_submitter_cannot_waive_anywhere(world: World) -> None:
    revision = ready(world, facts=OFF).revision
    assert revision
    give: dict[str, Any] = {
        "revision": revision,
        "rule": "production-minimum/default_branch",
        "reason": "I am sure.",
        "days": 7,
    }
    with pytest.raises(NotAllowed, match="You submitted this model"):
        grant_waiver(actor=world.submitter, **give)
    for role in ("viewer", "release_manager", "auditor"):
        with pytest.raises(NotAllowed, match="To waive a violation"):
            grant_waiver(actor=world.by_role(role), **give)
    now = timezone.now()
    with pytest.raises(InvalidInput, match="somebody else must answer for the waiver"):
        grant_waiver(actor=world.reviewer, owner=world.submitter.user.username, **give)
    for by, owner in ((world.submitter, world.admin), (world.reviewer, world.submitter)):
        with pytest.raises(DatabaseError, match="Whoever submitted"), transaction.atomic():
            Waiver.objects.create(
                revision=revision, rule="x/y", reason="r", owner=owner.user, by=by.user, at=now,
                expires_at=now + timedelta(days=1),
            )  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"days": 0}, "1 to 366 days"), ({"days": 367}, "1 to 366 days"), ({"rule": "nobody/knows"}, "has this rule"),
        ({"rule": "production-minimum/code_audit"}, "cannot be waived"), ({"owner": "stranger"}, "no member"),
    ],
)  # fmt: skip
def test_bad_waiver_is_refused(world: World, changed: dict[str, Any], words: str) -> None:
    revision = make_revision(world.team)
    give = {"rule": "production-minimum/golden_set", "reason": "For the pilot.", "days": 7, **changed}
    with pytest.raises(InvalidInput, match=words):
        grant_waiver(actor=world.reviewer, revision=revision, **give)
    assert not Waiver.objects.exists()


# --- the simulator -----------------------------------------------------------------------------------------------------


def test_simulator_says_what_would_flip_and_why(world: World) -> None:
    review = ready(world)
    make_approval(world, make_revision(world.team, SHA_B))
    found = simulator.simulate(actor=world.admin, source=one_rule("latency.p95_ms < 4.0"))
    flips = {flip.what: flip for flip in found.flips}
    assert found.looked_at == 2 and flips["pending"].after == "fail" and flips["pending"].before == "ok"
    assert flips["pending"].reasons == ["The only rule: It does not hold."]
    assert review.revision and flips["pending"].sha == review.revision.commit_sha
    assert (
        simulator.simulate(actor=world.admin, source=one_rule("latency.p95_ms < 6.0", effect="info")).flips
        == []
    )
    assert not PolicyVersion.objects.exists()
    loose = simulator.simulate(actor=world.admin, source=one_rule("true", key="production-minimum"))
    assert {(f.what, f.before, f.after) for f in loose.flips} == {("approved", "fail", "ok")}
    assert simulator.simulate(actor=world.other, source=one_rule("false")).looked_at == 0


def test_simulator_and_pages_ask_as_often_whatever_the_number(world: World, client: Any) -> None:
    client.force_login(world.admin.user)

    def count() -> list[int]:
        counts = []
        for act in (
            lambda: simulator.simulate(actor=world.admin, source=one_rule("false")),
            lambda: client.get("/policies/"),
            lambda: client.get("/waivers/"),
        ):
            with CaptureQueriesContext(connection) as queries:
                act()
            counts.append(len(queries))
        return counts

    def add(digit: str) -> None:
        revision = make_revision(world.team, digit * 40, model_id=f"acme/m{digit}")
        make_evidence(world.submitter, revision, EvidenceKind.BENCHMARK)
        make_review(world, revision, environment="production", answered=True)
        make_approval(world, revision, environment="staging")
        grant_waiver(
            actor=world.reviewer,
            revision=revision,
            rule="production-minimum/golden_set",
            reason="Pilot use.",
            days=3,
        )

    add("1")
    client.get("/policies/")
    few = count()
    for digit in "23456789":
        add(digit)
    assert count() == few and Answer.objects.count() > 60


# --- pages and the API -------------------------------------------------------------------------------------------------


def test_api_keeps_the_text_and_says_where_it_is_wrong(world: World, api: Any) -> None:
    admin, text = api(world.admin), "# why: the board asked\n" + one_rule("revision.pinned")
    made = admin.send("PUT", "/policies", text.encode(), content_type="application/yaml")
    assert made.status == 201 and made.data["source"] == text and made.data["state"] == "draft"
    rule = {"key": "r", "title": "T", "require": "findings.fail == 0", "message": "M"}
    as_json = admin.put(
        "/policies", {"policy": "other", "title": "O", "rules": [{**rule, "key": "rr"}], "state": "in_force"}
    )
    assert as_json.status == 201 and as_json.data["state"] == "in_force"
    bad = admin.send(
        "PUT", "/policies", one_rule("findings.fial == 0").encode(), content_type="application/yaml"
    )
    assert (bad.status, bad.code) == (422, "bad_policy")
    assert bad.error["details"]["line"] == 6 and "findings.fail" in bad.error["details"]["cure"]
    flips = admin.send("POST", "/policies/simulate", text.encode(), content_type="application/yaml")
    assert flips.status == 200 and flips.data["flips"] == []
    assert {p["policy"] for p in admin.get("/policies").data["standing"]} == {"production-minimum", "other"}
    assert api(world.other).get(f"/policies/versions/{made.data['id']}").status == 404
    assert (
        admin.post(f"/policies/versions/{made.data['id']}", {"state": "dry_run"}).data["state"] == "dry_run"
    )


def test_waivers_by_api(world: World, api: Any) -> None:
    revision = make_revision(world.team, facts=OFF)
    body = {"model_id": revision.model.model_id, "commit_sha": revision.commit_sha, "days": 5, "reason": "Checked by hand.",
            "rule": "production-minimum/default_branch"}  # fmt: skip
    made = api(world.reviewer).post("/waivers", body)
    assert (
        made.status == 201 and api(world.viewer).get("/waivers").data["results"][0]["id"] == made.data["id"]
    )
    assert api(world.other).get(f"/waivers/{made.data['id']}").status == 404
    assert (
        api(world.reviewer).delete(f"/waivers/{made.data['id']}").data["ended_by"]
        == world.reviewer.user.username
    )


def test_editor_loses_nothing_and_the_panel_shows_ten_lines(world: World, client: Any) -> None:
    client.force_login(world.admin.user)
    typed = one_rule("findings.fial == 0")
    answer = client.post("/policies/edit/", {"source": typed, "seen": "0"})
    assert answer.status_code == 422 and answer.context["form"]["source"].value() == typed
    assert "Line 6" in answer.content.decode() and "findings.fail" in answer.content.decode()
    assert "Line 6" in client.post("/policies/simulate/", {"source": typed}).content.decode()
    saved = client.post("/policies/edit/", {"source": one_rule("false"), "seen": "0"}, follow=True)
    assert "saved as a draft" in saved.content.decode() and PolicyVersion.objects.get().state == "draft"
    review = ready(world)
    assert "would flip" in client.post("/policies/simulate/", {"source": one_rule("false")}).content.decode()
    page = client.get(f"/revisions/{review.revision_id}/").content.decode()
    for rule in default_policy().rules:
        assert (rule.title in page) == rule.panel


def test_waiver_from_the_violation_on_the_page(world: World, client: Any) -> None:
    review = ready(world, facts=OFF)
    client.force_login(world.reviewer.user)
    page = client.get(f"/revisions/{review.revision_id}/").content.decode()
    address = f"/revisions/{review.revision_id}/waive/?rule=production-minimum/default_branch"
    assert address in page
    form = {
        "rule": "production-minimum/default_branch",
        "reason": "The owner confirmed it.",
        "days": "9",
        "owner": "reviewer",
    }
    assert client.post(address, {**form, "reason": ""}).status_code == 422
    page = client.post(address, form, follow=True).content.decode()
    assert "Waived by" in page and "The owner confirmed it." in page
    listed = client.get("/waivers/").content.decode()
    assert "The owner confirmed it." in listed and "End now" in listed
    client.post(f"/waivers/{Waiver.objects.get().pk}/end/")
    assert Waiver.objects.get().ended_at


# --- what a decision keeps of it ----------------------------------------------------------------------------------------


def test_staging_request_whose_record_allows_production_answers_for_production(world: World) -> None:
    review = make_review(world, make_revision(world.team), environment="staging", answered=True)
    assert review.revision and violations_blocking(review.revision, review) == []
    review.allowed_environments = ["staging", "production"]
    found = violations_blocking(review.revision, review)
    assert "Production needs a benchmark of this revision." in found
    save_policy(
        actor=world.admin, source=one_rule("false").replace("effect: fail", "tiers: [high]"), state="in_force"
    )
    assert "It does not hold." not in violations_blocking(review.revision, review)
    review.data_classes = ["internal", "personal"]
    assert "It does not hold." in violations_blocking(review.revision, review)


@pytest.mark.parametrize(
    ("field", "empty", "words"),
    [("monitoring", [], "No metric with a threshold"), ("data_policy", "", "which data"), ("fallback", "", "go back to")],
)  # fmt: skip
def test_record_that_leaves_something_out_blocks_production(
    world: World, field: str, empty: Any, words: str
) -> None:
    review = ready(world)
    assert review.revision and violations_blocking(review.revision, review) == []
    setattr(review, field, empty)
    (sentence,) = violations_blocking(review.revision, review)
    assert words in sentence


def test_what_is_said_in_detail_is_not_said_twice(world: World) -> None:
    review = make_review(world, make_revision(world.team, remote_code=True), environment="production")
    missing = permissions.missing_for_approval(review, [], [], 0)
    assert not [m for m in missing if "items of the checklist are not answered" in m]
    assert len([m for m in missing if "not been audited" in m or "its audit" in m]) == 1
    revision = review.revision
    assert revision
    alone = violations_blocking(revision, review)
    assert len([m for m in alone if "audit" in m]) == 1 and len(alone) > len(
        violations_blocking(revision, review, told=["code.audit", "review.open_items"])
    )


def test_rejected_licence_stands_in_the_way_even_with_conditions(world: World) -> None:
    review = ready(world)
    Answer.objects.filter(request=review, key="license_decision").update(value="needs_legal_review")
    assert review.revision and violations_blocking(review.revision, review, "Only inside") == []
    assert len(violations_blocking(review.revision, review)) == 1
    Answer.objects.filter(request=review, key="license_decision").update(value="rejected")
    (sentence,) = violations_blocking(review.revision, review, "Only inside")
    assert "does not accept the licence" in sentence


def test_decision_and_attestation_name_policies_and_waivers(world: World, settings: Any) -> None:
    own = save_policy(actor=world.admin, source=one_rule("true"), state="in_force")
    review = make_review(world, make_revision(world.team, facts=OFF), environment="staging", answered=True)
    assert review.revision
    waiver = grant_waiver(
        actor=world.security_auditor, revision=review.revision, rule="production-minimum/default_branch",
        reason="The owner confirmed it.", days=7, owner=world.admin.user.username,
    )  # fmt: skip
    decided = decide(actor=world.reviewer, request_pk=review.pk, decision="approved")
    assert decided.approval
    named = [
        {"policy": "production-minimum", "version": 0, "sha256": default_policy().sha256},
        {"policy": "our-rules", "version": 1, "sha256": own.sha256},
    ]
    for verb in ("approval.granted", "review.approved"):
        assert json.loads(AuditEvent.objects.get(verb=verb).body)["data"]["policies"] == named
    end_waiver(actor=world.reviewer, waiver=waiver)  # what comes later changes nothing of what was signed
    move_policy(actor=world.admin, version_pk=own.pk, state="retired")
    approval = statement_of(decided.approval)["predicate"]["approval"]
    assert approval["policies"] == named
    assert [(w["id"], w["rule"], w["owner"]) for w in approval["waivers"]] == [
        (waiver.pk, "production-minimum/default_branch", world.admin.user.username)
    ]
    assert approval["policy_version"] == decided.approval.policy_version


def test_clock_ends_an_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = compile_rule("findings.fail == 0 && findings.warn == 0", SAMPLES)
    assert holds(rule, {"findings.fail": 0, "findings.warn": 0})
    monkeypatch.setattr(language, "MAX_SECONDS", -1.0)
    with pytest.raises(ValueError):
        holds(rule, {"findings.fail": 0, "findings.warn": 0})


def test_simulation_ends_by_the_clock_and_says_what_it_left_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(world)
    monkeypatch.setattr(simulator, "MAX_SECONDS", -1.0)
    found = simulator.simulate(actor=world.admin, source=one_rule("false"))
    assert (found.looked_at, found.left_out, found.flips) == (0, 1, [])
    assert simulator.touched(world.admin, gate.policies_in_force(world.team.pk))[1] == 1


def test_documentation_is_what_the_tables_say() -> None:
    written = (Path(__file__).parents[2] / "docs/policies.md").read_text(encoding="utf-8")
    assert written == as_markdown(), "run `python -m tests.house.policies > docs/policies.md`"
    assert read_policy(written.split("```yaml")[1].split("```")[0]).rules
