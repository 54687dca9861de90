"""The page “Code audit” and its API: reading hostile files without harm, judging, waiving, and what consumers are told."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import yaml
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape

from registry import lock
from registry.actors import Actor
from registry.models import Revision
from registry.services.channels import move_channel
from reviews.code_audits import sources
from reviews.code_audits.judging import end_waiver, inherit
from reviews.code_audits.manifest import code_files
from reviews.differences import difference
from reviews.models import FileVerdict
from tests.factories import (
    MODEL_ID,
    SHA_A,
    SHA_B,
    Api,
    World,
    audit_code,
    make_approval,
    make_review,
)
from tests.reviews.code import HELPER, HELPER_2, code_revision

CODE = f"/models/{MODEL_ID}/revisions/{SHA_A}/code"


def signed_in(actor: Actor) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(actor.user)
    return client


def page(actor: Actor, revision: Revision, query: str = "") -> str:
    answer = signed_in(actor).get(f"/revisions/{revision.pk}/code/{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def sent(revision: Revision, path: str, **changed: str) -> dict[str, str]:
    digest = {file.path: file.sha256 for file in code_files(revision)}[path]
    return {"path": path, "sha256": digest, "seen": "0", "verdict": "passed", "reason": ""} | changed


# --- the page ----------------------------------------------------------------------------------------------------------


def test_page_shows_files_source_and_flags(world: World) -> None:
    revision = code_revision(world)
    html = page(world.security_auditor, revision)
    assert "Nobody gets the code before every file is audited (0 of 2 passed)." in html
    assert 'id="L3"' in html and escape("HOME = os.environ.get('HOME')") in html
    assert "reads or changes the environment, where secrets are" in html
    assert html.count("Not audited") >= 2 and 'name="verdict" value="passed"' in html


@pytest.mark.parametrize(
    ("who", "sentence"),
    [
        ("reviewer", "To audit the code of a model you need the role security auditor"),
        ("submitter", "To audit the code of a model you need the role security auditor"),
        ("viewer", "To waive a code audit you need the role admin or security auditor"),
    ],
)
def test_page_says_why_a_person_may_not(world: World, who: str, sentence: str) -> None:
    html = page(world.by_role(who), code_revision(world))
    assert sentence in html and 'name="verdict"' not in html


def test_auditor_goes_from_file_to_file(world: World) -> None:
    revision, client = code_revision(world), signed_in(world.security_auditor)
    url = f"/revisions/{revision.pk}/code/verdict/"
    first = client.post(url, sent(revision, "helper.py"))
    assert first.headers["Location"] == f"/revisions/{revision.pk}/code/?file=modeling_x.py"
    failed = client.post(url, sent(revision, "modeling_x.py", verdict="failed"))
    assert failed.status_code == 422 and "Say why in a few words" in failed.content.decode()
    client.post(url, sent(revision, "modeling_x.py", verdict="failed", reason="It opens the network"))
    html = page(world.viewer, revision)
    assert "A file failed, so nobody gets the code" in html and "“It opens the network”" in html


def test_verdict_after_somebody_elses_keeps_the_words_and_shows_theirs(world: World) -> None:
    revision = audit_code(world, code_revision(world))
    other = signed_in(world.security_auditor)
    answer = other.post(
        f"/revisions/{revision.pk}/code/verdict/",
        sent(revision, "helper.py", verdict="failed", reason="My words"),
    )
    html = answer.content.decode()
    assert answer.status_code == 409 and "My words" in html and "after you opened it" in html
    newest = FileVerdict.objects.filter(path="helper.py").latest("pk").pk
    assert f'name="seen" value="{newest}"' in html


def test_changed_file_shows_what_changed(world: World) -> None:
    audit_code(world, code_revision(world))
    second = code_revision(world, SHA_B, helper__py=HELPER_2)
    inherit(second.pk)
    html = page(world.security_auditor, second)
    assert f"Changes since {SHA_A[:7]}" in html and f"unchanged since {SHA_A[:7]}" in html
    assert "return x * 2" in html and 'class="removed"' in html and 'class="added"' in html
    assert "1 of 2 passed" in html


def test_waiver_through_the_page(world: World) -> None:
    revision, client = code_revision(world), signed_in(world.admin)
    url = f"/revisions/{revision.pk}/code/waiver/"
    until = (timezone.now() + timedelta(days=5)).date().isoformat()
    assert client.post(url, {"owner": "admin", "until": until}).status_code == 422
    far = (timezone.now() + timedelta(days=200)).date().isoformat()
    assert client.post(url, {"owner": "admin", "until": far, "reason": "For the trial"}).status_code == 422
    assert client.post(url, {"owner": "admin", "until": until, "reason": "For the trial"}).status_code == 302
    html = page(world.viewer, revision)
    assert "The audit is waived until" in html and "For the trial" in html
    assert client.post(f"{url}end/", {"reason": "x"}).status_code == 422
    assert client.post(f"{url}end/", {"reason": "The trial is over"}).status_code == 302
    revision.refresh_from_db()
    assert revision.code_audit == "pending"


def test_file_named_in_the_address_is_looked_up_and_never_opened(world: World) -> None:
    revision = code_revision(world)
    for trick in ("../../etc/passwd", "%2Fetc%2Fpasswd", "config.json", "nothing", "x" * 3000):
        html = page(world.security_auditor, revision, f"?file={trick}&from=-3")
        assert "root:" not in html and 'id="L1"' in html
    assert "The next ones" not in page(world.viewer, revision, "?from=99999999")
    stranger = signed_in(world.other).get(f"/revisions/{revision.pk}/code/")
    assert stranger.status_code == 404


def test_questions_to_the_database_do_not_grow_with_the_files(world: World) -> None:
    few = code_revision(world)
    many: dict[str, Any] = {f"part{n}__py": b"x = %d\n" % n for n in range(60)}
    rich = code_revision(world, SHA_B, **many)
    client, counts = signed_in(world.security_auditor), []
    for revision in (few, few, rich):
        with CaptureQueriesContext(connection) as queries:
            assert client.get(f"/revisions/{revision.pk}/code/").status_code == 200
        counts.append(len(queries))
    assert counts[1] == counts[2] <= 25


def test_home_and_badge_say_what_waits_for_a_security_auditor(world: World) -> None:
    revision = code_revision(world)
    make_review(world, revision)
    html = signed_in(world.security_auditor).get("/").content.decode()
    assert f"/revisions/{revision.pk}/code/" in html and "1<span" in html
    assert f"/revisions/{revision.pk}/code/" not in signed_in(world.viewer).get("/").content.decode()
    audit_code(world, revision)
    assert (
        f"/revisions/{revision.pk}/code/"
        not in signed_in(world.security_auditor).get("/?x=1").content.decode().split("What happened")[0]
    )


# --- hostile files -----------------------------------------------------------------------------------------------------

BIDI = "access = 'user\u202e \u2066# admin\u2069 \u2066'\n".encode()
HOSTILE: dict[str, tuple[bytes, list[str], list[str]]] = {
    # name: content, what the page says, what it must not contain
    "HTML": (b"x = '<script>alert(1)</script><img src=x>'\n", ["&lt;script&gt;"], ["<script>alert", "<img src=x"]),
    "template": (b"x = '{{ 7*7 }}{% csrf_token %}'\n", ["{{ 7*7 }}{% csrf_token %}"], []),
    "NUL": (b"x = 1\x00 # \x1b[31m\n", ["U+0000", "U+001B", "Invisible or reordering characters"], ["\x00", "\x1b"]),
    "bidi": (BIDI, ["U+202E", "RIGHT-TO-LEFT OVERRIDE", "U+2066"], ["\u202e", "\u2066"]),
    "zero width": ("a\u200bb = 1\ufe0f\n".encode(), ["U+200B", "U+FE0F"], ["\u200b", "\ufe0f"]),
    "no-break": ("a\u00a0= 1\n".encode(), ["U+00A0"], []),
    "not UTF-8": (b"x = '\xff\xfe'\n", ["\\xff\\xfe", "The file is not UTF-8"], []),
    "coding": (b"# -*- coding: utf-7 -*-\n+AHgAPQAx-\n", ["declares the encoding", "utf-7"], []),
    "long line": (b"x = '" + b"A" * 300_000 + b"; import os'\n", ["Line 1 is very long", "; import os"], []),
    "empty": (b"", ["The file is empty."], []),
    "line ends": (b"a = 1\rb = 2\r\nc = 3\x0cd = 4\n", ['id="L3"', "U+000C"], ['id="L4"']),
    "10 MB": (b"x = 1\n" * 1_700_000, ["only the first 2,097,152 are shown: it cannot pass", "The next ones"], []),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_source_is_shown_whole_and_harmless(world: World, name: str) -> None:
    content, says, never = HOSTILE[name]
    revision = code_revision(world, helper__py=content)
    html = page(world.security_auditor, revision, "?file=helper.py")
    for expected in says:
        assert expected in html, expected
    for forbidden in never:
        assert forbidden not in html, forbidden
    assert len(html) < 2_500_000


def test_file_names_are_shown_as_what_they_are(world: World) -> None:
    names: dict[str, Any] = {
        "a\u202egpj.py": b"1\n",
        "<b>x</b>.py": b"2\n",
        "a&b'\".py": b"3\n",
        "sub/ü đ.py": b"4\n",
    }
    revision = code_revision(world, **names)
    html = page(world.security_auditor, revision)
    assert "\u202e" not in html and "U+202E" in html and "<b>x" not in html
    client = signed_in(world.security_auditor)
    for file in code_files(revision):
        answer = client.post(f"/revisions/{revision.pk}/code/verdict/", sent(revision, file.path))
        assert answer.status_code == 302, file.path
    revision.refresh_from_db()
    assert revision.code_audit == "passed"


def test_windows_of_a_long_file_leave_nothing_out() -> None:
    lines = [f"line {number}" for number in range(1, 2345)]
    source, seen, start = sources.Source(lines, []), [], 1
    while start:
        rows, start = sources.window(source, [], start)
        seen += [row.number for row in rows]
    assert seen == list(range(1, 2345))


@pytest.mark.parametrize("kinds", [2, 15, 100, 1500])
def test_difference_is_complete_and_bounded(kinds: int) -> None:
    before = [str(n * 7 % kinds) for n in range(1500)]
    after = [*before[:700], "new", *before[720:]]
    rows = difference(before, after)
    added = [r for r in rows if r.sign == "+"]
    removed = [r for r in rows if r.sign == "-"]
    assert len(after) - len(before) == len(added) - len(removed)
    assert "new" in {row.parts[0].text for row in added}
    assert difference(before, before) == []
    many = difference(["a"] * 5000, ["b"] * 5000)
    assert len(many) == 10_000


# --- the API -----------------------------------------------------------------------------------------------------------


def test_api_tells_and_takes_verdicts(world: World, api: Callable[..., Api]) -> None:
    revision = code_revision(world)
    auditor, engineer = api(world.security_auditor), api(world.viewer)
    told = engineer.get(CODE).data
    assert (told["state"], [f["mark"] for f in told["files"]]) == ("pending", ["open", "open"])
    helper = told["files"][0]
    assert helper["flagged"][0]["call"] == "os.environ"
    source = engineer.get(f"{CODE}/files/{helper['sha256']}").data
    assert source["text"].encode() == HELPER and source["notes"] == []
    assert engineer.get(f"{CODE}/files/{'0' * 64}").code == "no_such_file"
    verdict = {"path": "helper.py", "sha256": helper["sha256"], "verdict": "passed", "seen": 0}
    assert engineer.post(f"{CODE}/verdicts", verdict).code == "role_missing"
    assert api(world.security_auditor, ["read"]).post(f"{CODE}/verdicts", verdict).status == 403
    given = auditor.post(f"{CODE}/verdicts", verdict)
    assert (given.status, given.data["files"][0]["mark"]) == (201, "passed")
    assert given.data["missing"] == [
        "modeling_x.py has not been audited yet; a security auditor judges the code."
    ]
    assert auditor.post(f"{CODE}/verdicts", verdict | {"verdict": "failed"}).status == 422
    late = verdict | {"verdict": "failed", "reason": "On second thoughts"}
    assert auditor.post(f"{CODE}/verdicts", late).code == "changed_since_seen"
    second = code_revision(world, SHA_B, modeling_x__py=b"y = 1\n")
    inherit(second.pk)
    files = engineer.get(CODE.replace(SHA_A, SHA_B)).data["files"]
    assert (files[0]["unchanged_since"], files[1]["unchanged_since"]) == (SHA_A, None)
    assert api(world.other).get(CODE).status == 404
    assert revision.pk != second.pk


def test_api_waives_and_ends(world: World, api: Callable[..., Api]) -> None:
    code_revision(world)
    admin = api(world.admin)
    body = {
        "reason": "For the trial",
        "owner": "admin",
        "expires_at": (timezone.now() + timedelta(days=2)).isoformat(),
    }
    assert api(world.reviewer).post(f"{CODE}/waiver", body).status == 403
    assert admin.post(f"{CODE}/waiver", {**body, "owner": "nobody"}).code == "bad_owner"
    made = admin.post(f"{CODE}/waiver", body)
    assert (made.status, made.data["state"], made.data["waiver"]["owner"]) == (201, "waived", "admin")
    assert admin.post(f"{CODE}/waiver", body).code == "nothing_to_waive"
    assert admin.send("DELETE", f"{CODE}/waiver", {"reason": "It is over"}).data["state"] == "pending"


def test_approval_and_lock_carry_the_verdict_of_now(world: World, api: Callable[..., Api]) -> None:
    revision = audit_code(world, code_revision(world), "waived")
    approval = make_approval(world, revision)
    move_channel(
        actor=world.release_manager, model=revision.model, name="production", approval=approval, reason="First release"
    )  # fmt: skip
    engineer = api(world.viewer)
    for path in (f"/models/{MODEL_ID}/approved", f"/models/{MODEL_ID}/approved?commit_sha={SHA_A}"):
        told = engineer.get(path).data
        assert told["trust_remote_code"] is True and told["code_audit"]["verdict"] == "waived"
        assert told["code_audit"]["waived_until"] == revision.code_waived_until.isoformat()  # type: ignore[union-attr]
    assert lock.lock_of(world.viewer, [MODEL_ID])["models"][0]["trust_remote_code"]["allowed"] is True
    end_waiver(actor=world.admin, revision=revision, reason="The trial is over")
    told = engineer.get(f"/models/{MODEL_ID}/approved").data
    assert told["trust_remote_code"] is False
    assert (told["code_audit"]["allowed"], told["code_audit"]["verdict"]) == (False, "pending")
    locked = yaml.safe_load(lock.as_yaml(lock.lock_of(world.viewer, [MODEL_ID])))["models"][0]
    assert locked["trust_remote_code"] == {
        "allowed": False, "verdict": "pending", "digest": revision.remote_code_sha256
    }  # fmt: skip
    refused = engineer.get(f"/hub/{MODEL_ID}/resolve/main/helper.py")
    assert refused.status == 404 and refused.headers["X-Error-Code"] == "RevisionNotFound"
    assert f"/revisions/{revision.pk}/code/" in json.loads(refused.content)["error"]
