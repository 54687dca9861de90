"""The audit of a repository's code: who may judge, what verdicts make of a revision, what a new commit inherits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from registry import audit, remote_code
from registry.actors import Actor
from registry.enums import Role
from registry.exceptions import Conflict, DomainError, InvalidInput, NotAllowed, NotFound
from registry.models import AuditEvent, Revision
from reviews.code_audits import auditors_of, blocking
from reviews.code_audits.judging import end_waiver, inherit, judge_file, settle, sweep, waive_audit
from reviews.code_audits.manifest import KEYS_PATH, code_files
from reviews.code_audits.states import judged_files
from reviews.models import CodeWaiver, FileVerdict, ReviewRequest, Vote
from reviews.services.deciding import decide
from tests.factories import (
    SHA_A,
    SHA_B,
    SHA_C,
    World,
    audit_code,
    make_approval,
    make_member,
    make_review,
    make_revision,
)
from tests.house.rules import without_rules
from tests.reviews.code import HELPER_2, code_revision

Raw = Callable[..., int]


def judge(
    actor: Actor,
    revision: Revision,
    path: str,
    verdict: str = "passed",
    reason: str = "",
    seen: int | None = None,
) -> FileVerdict:
    digest = {file.path: file.sha256 for file in code_files(revision)}[path]
    return judge_file(
        actor=actor, revision=revision, path=path, sha256=digest, verdict=verdict, reason=reason, seen=seen
    )


def state(revision: Revision) -> str:
    revision.refresh_from_db()
    return revision.code_audit


def waive(actor: Actor, revision: Revision, **changed: Any) -> CodeWaiver:
    given: dict[str, Any] = {
        "owner": "admin",
        "reason": "A trial of one week",
        "expires_at": timezone.now() + timedelta(days=7),
    }
    return waive_audit(actor=actor, revision=revision, **(given | changed))


# --- who ---------------------------------------------------------------------------------------------------------------

WHO = {
    # who, as what they stand to the revision                  judge  waive  vote to approve
    "security auditor": (True, True, False),
    "admin": (False, True, False),
    "reviewer": (False, False, True),
    "submitter": (False, False, False),
    "viewer": (False, False, False),
    "release manager": (False, False, False),
    "auditor": (False, False, False),
    "every role": (True, True, True),
    "every role, submitter": (False, False, False),
    "every role, submitter of a withdrawn request": (True, True, True),
    "every role, voted to approve": (False, False, None),
    "every role, voted to approve the same file elsewhere": (False, None, True),
    "every role, judged a file": (True, True, False),
    "every role, judged the same file elsewhere": (True, True, False),
    "every role, waives its audit": (True, None, True),  # the verdicts of others end the waiver
}


@pytest.mark.parametrize(("who", "may"), WHO.items(), ids=list(WHO))
def test_who_may_judge_waive_and_vote(world: World, who: str, may: tuple[bool | None, ...]) -> None:
    revision, elsewhere = (
        code_revision(world),
        code_revision(world, SHA_B, helper__py=b"x = 1\n", model_id="acme/other"),
    )
    person = _person(world, who, revision, elsewhere)
    reviewer = make_member(world.team, Role.REVIEWER, Role.SECURITY_AUDITOR)

    def can(act: Callable[[], Any]) -> bool:
        try:
            with transaction.atomic():
                act()
                transaction.set_rollback(True)
        except NotAllowed:
            return False
        return True

    def vote() -> None:
        review = ReviewRequest.objects.filter(revision=revision, status="in_review").first() or make_review(
            world, revision, answered=True
        )
        # Everything but the person is in order.
        for path in ("modeling_x.py", "helper.py"):
            judge(reviewer, revision, path)
        decide(actor=person, request_pk=review.pk, decision="approved")

    acts = (
        lambda: judge(person, revision, "helper.py", "failed", "It reads the environment"),
        lambda: waive(person, revision, owner=reviewer.user.username),
        vote,
    )
    for number, act in enumerate(acts):
        if may[number] is not None:
            assert can(act) == may[number], f"{who}: {('judge', 'waive', 'vote')[number]}"


def _person(world: World, who: str, revision: Revision, elsewhere: Revision) -> Actor:
    role, _, relation = who.partition(", ")
    if role != "every role":
        return world.by_role(role.replace(" ", "_"))
    person = make_member(world.team, *Role)
    if relation.startswith("submitter"):
        status = "withdrawn" if "withdrawn" in relation else "in_review"
        make_review(world, revision, submitted_by=person.user, status=status, answered=status == "in_review")
    elif relation.startswith("voted"):
        review = make_review(world, elsewhere if "elsewhere" in relation else revision)
        Vote.objects.create(
            request=review, round=1, reviewer=person.user, decision="approved", content_sha256=review.content_sha256,
            at=timezone.now(),
        )  # fmt: skip
    elif relation.startswith("judged"):
        judge(person, elsewhere if "elsewhere" in relation else revision, "modeling_x.py")
    elif relation.startswith("waives"):
        waive(person, revision)
    return person


def test_another_teams_auditor_sees_no_revision(world: World) -> None:
    with pytest.raises(DomainError):
        judge_file(
            actor=world.other, revision=make_revision(world.other.in_team), path="x.py", sha256="0" * 64, verdict="passed"
        )  # fmt: skip


@pytest.mark.parametrize(
    ("table", "sql", "sentence"),
    [
        ("verdict", "by_id", "The submitter of a model cannot audit its code"),
        ("waiver", "by_id", "The submitter of a model cannot waive the audit of its code"),
        ("waiver", "owner_id", "nor answer for the waiver"),
    ],
)
def test_database_refuses_the_submitter(world: World, table: str, sql: str, sentence: str) -> None:
    revision = code_revision(world)
    make_review(world, revision)
    with pytest.raises(DatabaseError, match=sentence), transaction.atomic():
        if table == "verdict":
            _forge_verdict(world, revision, world.submitter.user.pk)
        else:
            who = {
                "by_id": world.admin.user.pk,
                "owner_id": world.admin.user.pk,
                sql: world.submitter.user.pk,
            }
            CodeWaiver.objects.create(
                revision=revision, reason="x", at=timezone.now(), expires_at=timezone.now() + timedelta(days=1), **who
            )  # fmt: skip


def _forge_verdict(
    world: World, revision: Revision, by: int, verdict: str = "passed", **fields: Any
) -> FileVerdict:
    file = code_files(revision)[0]
    shape: dict[str, Any] = {"team": world.team, "path": file.path, "sha256": file.sha256, **fields}
    return FileVerdict.objects.create(
        revision=revision, verdict=verdict, reason="forged", by_id=by, at=timezone.now(), **shape
    )


def test_database_refuses_an_approvers_verdict_and_an_auditors_vote(world: World) -> None:
    revision = code_revision(world)
    review = make_review(world, revision)
    judge(world.security_auditor, revision, "helper.py")
    vote = {"request": review, "round": 1, "content_sha256": review.content_sha256, "at": timezone.now()}
    with (
        pytest.raises(DatabaseError, match="Who audited the code of a revision cannot vote to approve it"),
        transaction.atomic(),
    ):
        Vote.objects.create(reviewer=world.security_auditor.user, decision="approved", **vote)
    Vote.objects.create(reviewer=world.security_auditor.user, decision="rejected", **vote)
    Vote.objects.create(reviewer=world.reviewer.user, decision="approved", **vote)
    with (
        pytest.raises(DatabaseError, match="Who voted to approve a revision cannot audit its code"),
        transaction.atomic(),
    ):
        _forge_verdict(world, revision, world.reviewer.user.pk)


def test_database_refuses_the_vote_and_approval_of_who_waives(world: World) -> None:
    revision = audit_code(world, code_revision(world), "waived")
    review = make_review(world, revision, environment="production")
    with pytest.raises(DatabaseError, match="cannot vote to approve it"), transaction.atomic():
        Vote.objects.create(
            request=review, round=1, reviewer=world.security_auditor.user, decision="approved",
            content_sha256=review.content_sha256,
            at=timezone.now(),
        )  # fmt: skip
    with pytest.raises(DatabaseError, match=r"cannot (vote to )?approve it"), transaction.atomic():
        make_approval(world, revision, review=review, approved_by=world.security_auditor.user)


def _approve_by(world: World, revision: Revision, role: str) -> None:
    people: dict[str, Any] = {role: world.security_auditor.user}
    make_approval(world, revision, **people)


def test_database_refuses_an_approval_by_an_auditor_or_of_the_auditor(world: World) -> None:
    revision = audit_code(world, code_revision(world))
    for role, sentence in (
        ("approved_by", "Who audited the code of a revision cannot"),
        ("submitted_by", "The submitter of a model cannot be the auditor of its code"),
    ):
        with pytest.raises(DatabaseError, match=sentence), transaction.atomic():
            _approve_by(world, revision, role)
    make_approval(world, revision)


def test_database_refuses_another_teams_verdict(world: World) -> None:
    revision = code_revision(world)
    with pytest.raises(DatabaseError, match="belongs to the team of its revision"), transaction.atomic():
        _forge_verdict(world, revision, world.admin.user.pk, team=world.other.in_team)


@pytest.mark.parametrize(
    ("table", "column", "refused"),
    [
        *(("fileverdict", c, True) for c in ("verdict", "sha256", "by_id", "reason", "at", "path")),
        *(("codewaiver", c, True) for c in ("revision_id", "reason", "owner_id", "by_id", "at", "expires_at")),
        ("codewaiver", "ended_at", False),
    ],
)  # fmt: skip
def test_what_was_judged_and_waived_stays(
    world: World, raw: Raw, table: str, column: str, refused: bool
) -> None:
    revision = code_revision(world)
    judge(world.security_auditor, revision, "helper.py")
    waive(world.security_auditor, revision)
    sql = f"UPDATE reviews_{table} SET {column} = {column}"
    if not refused:
        raw(sql)
        return
    with pytest.raises(DatabaseError, match=r"append-only|stays as it was given"), transaction.atomic():
        raw(sql)
    with pytest.raises(DatabaseError), transaction.atomic():
        raw(f"DELETE FROM reviews_{table}")


# --- states ------------------------------------------------------------------------------------------------------------

STATES = [
    # verdicts on helper.py and modeling_x.py, waiver         state
    ("", "", False, "pending"),
    ("passed", "", False, "pending"),
    ("passed", "passed", False, "passed"),
    ("failed", "", False, "failed"),
    ("failed", "passed", False, "failed"),
    ("failed passed", "passed", False, "passed"),
    ("passed failed", "passed", False, "failed"),
    ("passed failed passed", "passed", False, "passed"),
    ("", "", True, "waived"),
    ("passed", "", True, "waived"),
    ("passed", "passed", True, "passed"),
    ("failed", "", True, "failed"),
]


@pytest.mark.parametrize(("helper", "model", "waiver", "expected"), STATES)
def test_newest_verdicts_and_waiver_make_the_state(
    world: World, helper: str, model: str, waiver: bool, expected: str
) -> None:
    revision = code_revision(world)
    if waiver:
        waive(world.security_auditor, revision)
    for path, verdicts in (("helper.py", helper), ("modeling_x.py", model)):
        for verdict in verdicts.split():
            judge(world.security_auditor, revision, path, verdict, f"Because {verdict}")
    assert state(revision) == expected
    assert (revision.code_waived_until is not None) == (expected == "waived")
    # A waiver that a verdict made pointless is over, and never comes back.
    assert CodeWaiver.objects.filter(ended_at__isnull=True).exists() == (expected == "waived")
    assert bool(blocking(revision)) == (expected in ("pending", "failed"))
    assert audit.verify().ok


@pytest.mark.parametrize("target", ["passed", "waived", "not_applicable"])
def test_state_without_its_verdicts_is_refused_by_the_database(world: World, raw: Raw, target: str) -> None:
    revision = code_revision(world)
    judge(world.security_auditor, revision, "helper.py")
    until = connection.ops.adapt_datetimefield_value(timezone.now() + timedelta(days=1))
    with pytest.raises(DatabaseError), transaction.atomic():
        raw(
            "UPDATE registry_revision SET code_audit = %s, code_waived_until = %s WHERE id = %s",
            target, until if target == "waived" else None, revision.pk,
        )  # fmt: skip


def test_revision_cannot_begin_as_audited(world: World) -> None:
    revision = code_revision(world)
    revision.pk, revision.commit_sha, revision.code_audit = None, SHA_B, "passed"
    with pytest.raises(DatabaseError, match="has not been audited yet"), transaction.atomic():
        Revision.objects.bulk_create([revision])


def test_revision_without_code_has_nothing_to_audit(world: World) -> None:
    revision = make_revision(world.team)
    assert settle(revision.pk) == state(revision) == "not_applicable"
    assert not code_files(revision) and not judged_files(revision) and not blocking(revision)
    with pytest.raises(Conflict, match="needs no waiver"):
        waive(world.security_auditor, revision)


def test_blocking_names_the_files_and_who(world: World) -> None:
    revision = code_revision(world)
    assert blocking(revision) == [
        "helper.py and modeling_x.py have not been audited yet; a security auditor judges the code."
    ]
    judge(world.security_auditor, revision, "helper.py", "failed", "It opens the network.")
    assert blocking(revision) == [
        "helper.py failed its code audit: It opens the network.",
        "modeling_x.py has not been audited yet; a security auditor judges the code.",
    ]
    audit_code(world, revision)
    assert blocking(revision) == []
    make_review(world, revision, submitted_by=world.security_auditor.user)
    assert blocking(revision)[0].startswith(
        "helper.py was audited by security_auditor, who submitted this model"
    )
    assert state(revision) == "passed" == settle(revision.pk)  # what is served stays


def test_keys_of_the_configuration_are_judged_like_a_file(world: World) -> None:
    keys = ["config.json:auto_map.AutoModel=modeling_x.Model"]
    revision = code_revision(world, keys=keys)
    assert [file.path for file in code_files(revision)] == [KEYS_PATH, "helper.py", "modeling_x.py"]
    judge(world.security_auditor, revision, "helper.py")
    judge(world.security_auditor, revision, "modeling_x.py")
    assert state(revision) == "pending"
    judge(world.security_auditor, revision, KEYS_PATH)
    assert state(revision) == "passed"
    same = code_revision(world, SHA_B, keys=keys)
    other = code_revision(world, SHA_C, keys=["config.json:auto_map.AutoModel=evil/repo--modeling_x.Model"])
    assert (inherit(same.pk), inherit(other.pk)) == ("passed", "pending")
    judge(world.security_auditor, same, KEYS_PATH, "failed", "It names another repository")
    assert (state(revision), state(same), state(other)) == ("failed", "failed", "pending")


def test_code_without_a_file_or_key_is_not_passed_by_nobody(world: World) -> None:
    revision = make_revision(world.team, remote_code=True)
    assert settle(revision.pk) == "pending" and [f.path for f in code_files(revision)] == [KEYS_PATH]


# --- inheritance -------------------------------------------------------------------------------------------------------


def test_only_the_changed_file_is_open_again(world: World) -> None:
    first = audit_code(world, code_revision(world))
    second = code_revision(world, SHA_B, helper__py=HELPER_2)
    assert inherit(second.pk) == "pending"
    helper, model = judged_files(second)
    assert (helper.mark, helper.verdict, model.mark, model.inherited_from) == ("open", None, "passed", first)
    assert helper.before is not None and helper.before.revision == first
    assert blocking(second) == ["helper.py has not been audited yet; a security auditor judges the code."]
    event = AuditEvent.objects.filter(verb="code.inherited").get()
    assert '"paths":["modeling_x.py"]' in event.body
    judge(world.security_auditor, second, "helper.py")
    assert state(second) == "passed" == state(first)


def test_unchanged_code_passes_at_once_and_a_moved_file_too(world: World) -> None:
    audit_code(world, code_revision(world))
    same = code_revision(world, SHA_B)
    assert inherit(same.pk) == "passed"
    moved_file: dict[str, Any] = {"sub/helper__py": HELPER_2.replace(b" * 2", b"")}
    moved = code_revision(world, SHA_C, model_id="acme/other", **moved_file)
    assert inherit(moved.pk) == "passed"


def test_failing_verdict_reaches_every_revision_with_these_bytes(world: World) -> None:
    first = audit_code(world, code_revision(world))
    second = code_revision(world, SHA_B, helper__py=HELPER_2)
    inherit(second.pk)
    make_approval(world, first)
    judge(world.security_auditor, second, "modeling_x.py", "failed", "It opens the network")
    assert (state(first), state(second)) == ("failed", "failed")
    assert not remote_code.allowed(first)


def test_verdict_of_another_team_is_not_inherited(world: World) -> None:
    audit_code(world, code_revision(world))
    theirs = code_revision(
        World(**{**vars(world), "team": world.other.in_team}), SHA_A, model_id="globex/same"
    )
    assert inherit(theirs.pk) == "pending" and all(file.verdict is None for file in judged_files(theirs))


def test_own_verdict_is_not_inherited_by_the_own_submission(world: World) -> None:
    both = make_member(world.team, *Role)
    first = code_revision(world)
    for path in ("helper.py", "modeling_x.py"):
        judge(both, first, path)
    second = code_revision(world, SHA_B)
    make_review(world, second, submitted_by=both.user)
    assert inherit(second.pk) == "pending"
    assert "another security auditor must judge it" in blocking(second)[0]
    audit_code(world, second)
    assert state(second) == "passed"


def test_file_without_facts_of_intake_is_still_judged(world: World) -> None:
    revision = code_revision(world)
    with without_rules(connection):
        Revision.objects.filter(pk=revision.pk).update(facts={})
    revision.refresh_from_db()
    assert [file.path for file in code_files(revision)] == ["helper.py", "modeling_x.py"]


# --- judging -----------------------------------------------------------------------------------------------------------


def test_second_auditor_is_told_of_the_first(world: World) -> None:
    other, revision = make_member(world.team, Role.SECURITY_AUDITOR), code_revision(world)
    first = judge(world.security_auditor, revision, "helper.py", "failed", "It opens the network", seen=0)
    with pytest.raises(Conflict, match="security_auditor judged this file as failed after you opened it"):
        judge(other, revision, "helper.py", seen=0)
    judge(other, revision, "helper.py", reason="Read again", seen=first.pk)
    assert [v.verdict for v in FileVerdict.objects.order_by("pk")] == ["failed", "passed"]


def test_same_verdict_twice_is_one(world: World) -> None:
    revision = code_revision(world)
    assert (
        judge(world.security_auditor, revision, "helper.py", seen=0)
        == judge(world.security_auditor, revision, "helper.py", seen=0)
        == FileVerdict.objects.get()
    )


@pytest.mark.parametrize(
    ("path", "digest", "verdict", "reason", "error"),
    [
        ("helper.py", "", "passed", "", None),
        ("helper.py", "", "failed", "", InvalidInput),
        ("helper.py", "", "waived", "", InvalidInput),
        ("helper.py", "", "passed", "x" * 2001, InvalidInput),
        ("helper.py", "0" * 64, "passed", "", NotFound),
        ("config.json", "", "passed", "", NotFound),
        ("../helper.py", "", "passed", "", NotFound),
    ],
)
def test_what_a_verdict_must_say(
    world: World, path: str, digest: str, verdict: str, reason: str, error: type[DomainError] | None
) -> None:
    revision = code_revision(world)
    real = {file.path: file.sha256 for file in code_files(revision)}.get(path, "0" * 64)
    act = lambda: judge_file(  # noqa: E731
        actor=world.security_auditor, revision=revision, path=path, sha256=digest or real, verdict=verdict, reason=reason
    )  # fmt: skip
    if error is None:
        act()
        return
    with pytest.raises(error):
        act()
    assert not FileVerdict.objects.exists()


def test_file_too_large_to_read_can_fail_and_not_pass(world: World) -> None:
    revision = code_revision(world, helper__py=b"x = 1\n" * 400_000)
    with pytest.raises(InvalidInput, match="nobody can have read it: it cannot pass"):
        judge(world.security_auditor, revision, "helper.py")
    judge(world.security_auditor, revision, "helper.py", "failed", "Nobody can read this")
    assert state(revision) == "failed"


# --- waivers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"reason": ""}, "reason_missing"),
        ({"expires_at": None}, "bad_end"),
        ({"expires_at": timezone.now() - timedelta(minutes=1)}, "bad_end"),
        ({"expires_at": timezone.now() + timedelta(days=92)}, "bad_end"),
        ({"owner": ""}, "bad_owner"),
        ({"owner": "stranger"}, "bad_owner"),
        ({"owner": "submitter"}, "owner_is_submitter"),
    ],
)
def test_waiver_needs_reason_owner_and_end(world: World, changed: dict[str, Any], code: str) -> None:
    revision = code_revision(world)
    make_review(world, revision)
    with pytest.raises(InvalidInput) as refusal:
        waive(world.security_auditor, revision, **changed)
    assert refusal.value.code == code and not CodeWaiver.objects.exists()


def test_waiver_is_over_at_its_minute_and_noted_by_the_clock(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = code_revision(world)
    waive(world.admin, revision, expires_at=timezone.now() + timedelta(hours=1))
    assert state(revision) == "waived" and remote_code.allowed(revision) and blocking(revision) == []
    assert sweep() == 0
    later = timezone.now() + timedelta(hours=2)
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    assert not remote_code.allowed(revision), "serving must not wait for the clock's job"
    assert remote_code.verdict(revision) == "pending"
    assert blocking(revision)[0] == "The waiver of its code audit has ended."
    assert sweep() == 1 and sweep() == 0
    assert state(revision) == "pending" and revision.code_waived_until is None
    verbs = [event.verb for event in AuditEvent.objects.filter(verb__startswith="code.").order_by("seq")]
    assert verbs == ["code.waived", "code.moved", "code.waiver_ended", "code.moved"]
    waive(world.admin, revision, expires_at=later + timedelta(days=1))
    assert state(revision) == "waived"


def test_waiver_taken_back(world: World) -> None:
    revision = code_revision(world)
    with pytest.raises(Conflict, match="no waiver to end"):
        end_waiver(actor=world.admin, revision=revision, reason="Not needed")
    waive(world.admin, revision)
    with pytest.raises(NotAllowed):
        end_waiver(actor=world.reviewer, revision=revision, reason="Not needed")
    end_waiver(actor=world.security_auditor, revision=revision, reason="Not needed")
    assert state(revision) == "pending"


def test_failed_code_cannot_be_waived(world: World) -> None:
    revision = code_revision(world)
    judge(world.security_auditor, revision, "helper.py", "failed", "It opens the network")
    with pytest.raises(Conflict, match="not against a verdict"):
        waive(world.admin, revision)


def test_approval_during_a_waiver_is_refused_after_its_end(world: World) -> None:
    revision = audit_code(world, code_revision(world), "waived")
    with pytest.raises(DatabaseError, match="bound to the content"), transaction.atomic():
        make_approval(world, revision, approved_at=timezone.now() + timedelta(days=8))
    make_approval(world, revision)


def test_auditors_are_those_who_judged_or_waive(world: World) -> None:
    other = make_member(world.team, Role.SECURITY_AUDITOR)
    revision, twin = code_revision(world), code_revision(world, SHA_B, helper__py=HELPER_2)
    assert auditors_of(revision) == set()
    judge(other, twin, "modeling_x.py")
    waive(world.admin, revision)
    assert auditors_of(revision) == {other.user.pk, world.admin.user.pk}
    assert auditors_of(twin) == {other.user.pk}
