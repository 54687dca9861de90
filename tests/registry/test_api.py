"""The API as a specification: who sees what, the one error shape, and what is refused before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from inference.models import GoldenSet
from registry.enums import EvidenceKind
from registry.models import Approval, AuditEvent, ChannelMove, Evidence, Job, RegisteredModel
from registry.services.channels import move_channel
from reviews.checklists.template import shipped_source
from reviews.checklists.templates import add_version
from reviews.models import Answer, PolicyVersion, ReviewRequest, Vote, Waiver
from reviews.policies.documents import default_policy
from reviews.services.policies import grant_waiver, save_policy
from tests.factories import (
    MODEL_ID,
    SHA_A,
    Api,
    World,
    make_approval,
    make_evidence,
    make_golden_set,
    make_job,
    make_review,
    make_revision,
)
from tests.house.addresses import walk

Clients = Callable[..., Api]


@pytest.fixture
def things(world: World) -> dict[str, Any]:
    """One of everything that belongs to the team acme, by the name of its id in addresses."""
    revision = make_revision(world.team)
    approval = make_approval(world, revision)
    move_channel(
        actor=world.release_manager,
        model=revision.model,
        name="production",
        approval=approval,
        reason="First release",
    )
    make_evidence(world.submitter, revision, EvidenceKind.BENCHMARK)
    return {
        "revision": revision,
        "approval": approval,
        "channel": approval.model.channels.get(),
        "job": make_job(world.submitter),
        "review": make_review(world, make_revision(world.team, "b" * 40), answered=True),
        "golden_set": make_golden_set(world.submitter),
        "policy": save_policy(actor=world.admin, source=default_policy().source),
        "waiver": grant_waiver(
            actor=world.reviewer,
            revision=revision,
            rule="production-minimum/golden_set",
            reason="For the pilot.",
            days=7,
            owner=world.admin.user.username,
        ),
        "template": add_version(
            actor=world.admin, source=shipped_source().replace("Model ID, vi", "Model id, vi")
        ),
    }


# --- another team ------------------------------------------------------------------------------------------------------

OBJECTS: list[tuple[str, str, Any]] = [
    ("GET", "/models/{model}", None),
    ("GET", "/models/{model}/approved", None),
    ("GET", "/models/{model}/revisions", None),
    ("GET", "/models/{model}/revisions/{sha}", None),
    ("GET", "/models/{model}/revisions/{sha}/consumers", None),
    ("GET", "/models/{model}/channels", None),
    ("GET", "/models/{model}/channels/production", None),
    ("POST", "/models/{model}/channels/production/moves", {"commit_sha": SHA_A, "reason": "It is ours now"}),
    ("POST", "/models/{model}/channels/production/rollback", {"reason": "It is ours now"}),
    ("POST", "/models/{model}/revisions/{sha}/benchmarks", {}),
    ("POST", "/models/{model}/revisions/{sha}/evaluations", {"golden_set": "{golden_set}"}),
    ("GET", "/models/{model}/revisions/{sha}/exports/dossier", None),
    ("GET", "/models/{model}/revisions/{sha}/code", None),
    ("GET", "/models/{model}/revisions/{sha}/code/files/" + "0" * 64, None),
    (
        "POST",
        "/models/{model}/revisions/{sha}/code/verdicts",
        {"path": "modeling.py", "sha256": "0" * 64, "verdict": "passed"},
    ),
    (
        "POST",
        "/models/{model}/revisions/{sha}/code/waiver",
        {"reason": "It is ours now", "owner": "stranger", "expires_at": "2030-01-01T00:00:00Z"},
    ),
    ("DELETE", "/models/{model}/revisions/{sha}/code/waiver", {"reason": "It is ours now"}),
    ("GET", "/approvals/{approval}/attestation", None),
    ("GET", "/approvals/{approval}/model-signature", None),
    ("POST", "/approvals/{approval}/suspend", {"reason": "It is ours now"}),
    ("GET", "/jobs/{job}", None),
    ("POST", "/jobs/{job}/cancel", {}),
    ("GET", "/reviews/{review}", None),
    ("GET", "/reviews/{review}/suggestions", None),
    ("GET", "/reviews/{review}/comments", None),
    ("POST", "/reviews/{review}/comments", {"text": "It is ours now"}),
    ("GET", "/checklist-templates/{template}", None),
    ("GET", "/policies/versions/{policy}", None),
    ("POST", "/policies/versions/{policy}", {"state": "in_force"}),
    ("GET", "/waivers/{waiver}", None),
    ("DELETE", "/waivers/{waiver}", None),
    ("PUT", "/reviews/{review}/answers", {"answers": {"license": {"verdict": "acceptable", "text": "MIT"}}}),
    ("PUT", "/reviews/{review}/record", {"record": {"owner": "stranger"}}),
    ("POST", "/reviews/{review}/decision", {"decision": "rejected", "reason": "It is ours now"}),
    ("POST", "/reviews/{review}/changes", {"reason": "It is ours now"}),
    ("POST", "/reviews/{review}/withdraw", {}),
    ("POST", "/reviews/{review}/resubmit", {}),
]


def filled(path: str, body: Any, things: dict[str, Any]) -> tuple[str, Any]:
    ids = {name: thing.pk for name, thing in things.items()}
    url = path.format(model=MODEL_ID, sha=SHA_A, **ids)
    if isinstance(body, dict) and "golden_set" in body:
        body = {"golden_set": ids["golden_set"]}
    return url, body


def state() -> list[Any]:
    tables = (
        PolicyVersion,
        Waiver,
        Approval,
        ChannelMove,
        Job,
        ReviewRequest,
        Answer,
        Vote,
        Evidence,
        GoldenSet,
        RegisteredModel,
    )
    return [list(table._default_manager.order_by("pk").values()) for table in tables]


@pytest.mark.parametrize(("method", "path", "body"), OBJECTS, ids=[f"{m} {p}" for m, p, _ in OBJECTS])
def test_another_teams_object_answers_404_and_stays_as_it_is(
    world: World, api: Clients, things: dict[str, Any], method: str, path: str, body: Any
) -> None:
    """`stranger` has every role in a team of their own."""
    url, body = filled(path, body, things)
    before = state()
    theirs = api(world.other).send(method, url, body)
    assert theirs.status == 404
    assert state() == before
    # The words are those of an object that does not exist at all.
    nowhere = {**things, **{k: type("Gone", (), {"pk": 999_999})() for k in things}}
    gone_url, _ = filled(path, body, nowhere)
    gone = api(world.other).send(method, gone_url, body)
    assert (gone.status, gone.code, gone.error["message"]) == (404, theirs.code, theirs.error["message"])


def test_matrix_of_objects_holds_every_address_with_an_id() -> None:
    listed = {
        path.format(
            model="<o>/<n>",
            sha="<s>",
            approval="<i>",
            job="<i>",
            review="<i>",
            template="<i>",
            policy="<i>",
            waiver="<i>",
        )
        for _, path, _ in OBJECTS
    }
    found = set()
    for address in walk():
        if address.is_api and "<" in address.route and "tokens/" not in address.route:
            route = "/" + address.route.removeprefix("api/v1/")
            for old, new in (
                ("<str:org>/<str:name>", "<o>/<n>"), ("<sha:commit_sha>", "<s>"), ("<int:pk>", "<i>"),
                ("<slug:channel>", "production"), ("<action:action>", "suspend"),
                ("<slug:kind>", "dossier"), ("<slug:sha256>", "0" * 64),
            ):  # fmt: skip
                route = route.replace(old, new)
            found.add(route)
    assert listed == found


@pytest.mark.parametrize(
    "path", ["/models", "/jobs", "/audit", "/reviews", "/golden-sets", f"/models?search={MODEL_ID}"]
)
def test_lists_show_the_own_team_only(world: World, api: Clients, things: dict[str, Any], path: str) -> None:
    assert api(world.viewer).get(path).data["count"] >= 1
    theirs = api(world.other).get(path).data
    assert theirs["results"] == [] or path == "/audit"
    assert all(MODEL_ID not in str(row) for row in theirs["results"])


PAGES: list[str] = [
    "/models/{model}/", "/revisions/{revision}/", "/channels/{channel}/", "/runs/{job}/", "/reviews/{review}/",
]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_another_teams_page_answers_404(world: World, things: dict[str, Any], path: str) -> None:
    url = path.format(
        model=things["revision"].model_id,
        **{name: thing.pk for name, thing in things.items() if name != "model"},
    )
    client = Client(raise_request_exception=False)
    client.force_login(world.other.user)
    assert client.get(url).status_code == 404
    client.force_login(world.viewer.user)
    assert client.get(url).status_code == 200


# --- the one shape -----------------------------------------------------------------------------------------------------


def test_every_error_has_the_one_shape(world: World, api: Clients) -> None:
    submitter, viewer, nobody = api(world.submitter), api(world.viewer), Api("")
    answers = {
        400: submitter.send("POST", "/reviews", b"{"),
        401: nobody.get("/models"),
        403: viewer.post("/reviews", good_submission()),
        404: viewer.get("/models/acme/unknown"),
        405: viewer.delete("/models"),
        415: submitter.send("POST", "/reviews", b"a=1", content_type="application/x-www-form-urlencoded"),
        422: submitter.post("/reviews", {}),
    }
    for status, answer in answers.items():
        assert answer.status == status and answer.code and answer.error["message"].endswith((".", "?"))
        assert answer.headers["Content-Type"].startswith("application/json")


def test_missing_fields_are_named(world: World, api: Clients) -> None:
    answer = api(world.submitter).post("/reviews", {"model_id": "acme/x"})
    assert answer.code == "invalid_input"
    assert set(answer.error["details"]) == {"use_case", "environment", "data_class"}


def test_unexpected_error_tells_its_number_and_nothing_else(
    world: World, api: Clients, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any) -> None:
        raise RuntimeError("password=hunter2")

    client = api(world.viewer)
    monkeypatch.setattr("registry.queries.models_of", fail)
    answer = client.get("/models")
    assert (answer.status, answer.code) == (500, "internal_error") and "hunter2" not in str(answer.data)
    assert "hunter2" in caplog.text
    assert answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("abc-123", True), ("", False), ("x" * 65, False), ("a b", False), ("<script>", False), ("é", False)],
)
def test_request_id_is_taken_when_it_is_harmless(client: Client, sent: str, kept: bool) -> None:
    answered = client.get("/healthz", headers={"X-Request-Id": sent}).headers["X-Request-Id"]
    assert (answered == sent) == kept and answered


def test_request_id_stands_in_the_audit_event(world: World, api: Clients) -> None:
    client = api(world.submitter)
    headers = {"Authorization": f"Bearer {client.token}", "X-Request-Id": "trace-42"}
    body = {"name": "mine", "scopes": ["read"]}
    client.client.post("/api/v1/tokens", body, content_type="application/json", headers=headers)
    assert '"request":"trace-42"' in AuditEvent.objects.latest("seq").body


# --- bodies that two readers would read in two ways --------------------------------------------------------------------


def good_submission(**changed: Any) -> dict[str, Any]:
    return {
        "model_id": MODEL_ID, "use_case": "Sort customers' messages by mood", "environment": "staging",
        "data_class": "internal", **changed,
    }  # fmt: skip


DEEP = b'{"model_id": ' + b"[" * 40 + b"]" * 40 + b"}"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "is not JSON"),
        (b"not json", "is not JSON"),
        (b'{"use_case": NaN}', "contains NaN, which is not JSON"),
        (b'{"use_case": Infinity}', "contains Infinity"),
        (b'{"use_case": -Infinity}', "contains -Infinity"),
        (b'{"model_id": "a/b", "model_id": "c/d"}', "names a key twice"),
        (b'{"x": {"y": 1, "y": 2}}', "names a key twice"),
        (DEEP, "nested deeper than 32 levels"),
        (b"[" * 200_000, "nested deeper than 32 levels"),
        (b'{"use_case": "\\ud800"}', "half of a surrogate pair"),
        (b'{"\\udfff": 1}', "half of a surrogate pair"),
        (b'{"use_case": "a\\u0000b"}', "NUL character"),
        (b'{"use_case": "\xff"}', "is not UTF-8"),
        (b'{"model_id": "' + b"x" * 7_000_000 + b'"}', "larger than"),
        (b'{"n": ' + b"9" * 5000 + b"}", "is not JSON"),
    ],
    ids=["half", "text", "nan", "infinity", "-infinity", "duplicate", "nested duplicate", "deep", "very deep",
         "surrogate", "surrogate key", "nul", "latin-1", "7 MB", "endless number"],
)  # fmt: skip
def test_ambiguous_or_oversized_json_is_refused(world: World, api: Clients, body: bytes, words: str) -> None:
    client = api(world.submitter)
    before = state()
    answer = client.send("POST", "/reviews", body)
    assert answer.status in (400, 413) and words in answer.error["message"]
    assert state() == before


@pytest.mark.parametrize("path", ["/golden-sets/new/", "/api/v1/golden-sets", "/login/", "/nothing"])
def test_body_that_nobody_needs_is_refused_unread(client: Client, path: str) -> None:
    answer = client.post(
        path, b"x", content_type="multipart/form-data; boundary=x", headers={"Content-Length": str(2**40)}
    )
    assert answer.status_code == 413


@pytest.mark.parametrize("body", ["", "[]", "null", "1", '"text"', "true", "{}"])
def test_json_that_is_no_object_is_invalid(world: World, api: Clients, body: str) -> None:
    answer = api(world.submitter).send("POST", "/reviews", body.encode())
    assert (answer.status, answer.code) == (422, "invalid_input")


WRONG: list[Any] = [None, 1, 1.5, True, [], {}, ["x"], "\u202e", "x" * 5000]


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        ("POST", "/reviews", ["model_id", "revision", "use_case", "environment", "data_class", "owner"]),
        ("POST", "/tokens", ["name", "scopes", "days"]),
        ("PUT", "/reviews/{review}/answers", ["answers"]),
        ("POST", "/reviews/{review}/decision", ["decision", "reason", "conditions", "content_sha256"]),
        ("POST", "/reviews/{review}/changes", ["reason"]),
        ("POST", "/models/{model}/channels/production/moves", ["commit_sha", "reason"]),
        ("POST", "/models/{model}/channels/production/rollback", ["commit_sha", "reason"]),
        ("POST", "/models/{model}/revisions/{sha}/evaluations", ["golden_set"]),
        ("POST", "/approvals/{approval}/suspend", ["reason"]),
    ],
)
def test_field_of_any_wrong_type_is_never_our_error(
    world: World,
    api: Clients,
    things: dict[str, Any],
    settings: Any,
    method: str,
    path: str,
    fields: list[str],
) -> None:
    from registry.enums import Role
    from tests.factories import make_member

    settings.HUB_ENDPOINT = "http://127.0.0.1:1"
    client = api(make_member(world.team, *Role))
    url, _ = filled(path, None, things)
    for field in fields:
        for value in WRONG:
            answer = client.send(
                method, url, {**good_submission(), "scopes": ["read"], "name": "n", field: value}
            )
            assert answer.status < 500, f"{field}={str(value)[:20]!r}: {answer.status}"


@pytest.mark.parametrize(
    "path",
    ["/jobs/99999999999999999999999", "/reviews/0", "/models?page=0", "/models?page=-1", "/models?page=abc",
     "/models?page_size=0", "/models?page_size=99999999", "/models?search=%00", "/audit?verb=%00", "/audit?verb='",
     f"/models/{MODEL_ID}/approved?channel=%00", f"/models/{MODEL_ID}/approved?commit_sha=%00",
     f"/models/{MODEL_ID}/approved?channel=' OR 1=1 --", f"/models/{MODEL_ID}/approved?commit_sha={'x' * 3000}",
     "/models/a%00b/c", "/models/..%2F../x", "/models/a/..", "/models/%F0%9F%A4%97/x", "/lookup", "/lookup?model_id=%00",
     "/models?search=%25", "/models?search=_"],
)  # fmt: skip
def test_strange_address_is_never_our_error(world: World, api: Clients, path: str) -> None:
    make_revision(world.team)
    answer = api(world.submitter).get(path.replace(" ", "%20"))
    assert answer.status < 500
    if answer.status != 200:
        assert answer.code


def test_list_is_paged_and_bounded(world: World, api: Clients) -> None:
    RegisteredModel.objects.bulk_create(
        RegisteredModel(team=world.team, model_id=f"acme/m{n:03}") for n in range(230)
    )
    client = api(world.viewer)
    assert [len(client.get(f"/models?page_size={n}").data["results"]) for n in (1, 200, 5000)] == [
        1,
        200,
        200,
    ]
    assert len(client.get("/models").data["results"]) == 50
    assert client.get("/models?page=99").status == 404


@pytest.mark.parametrize(
    "path", ["/models", "/jobs", "/audit", "/reviews", "/golden-sets", f"/models/{MODEL_ID}/revisions"]
)
def test_list_costs_the_same_with_more_rows(world: World, api: Clients, path: str) -> None:
    def grow(number: int) -> None:
        revision = make_revision(world.team, str(number) * 40, files={})
        make_job(world.submitter)
        make_review(world, revision)
        make_golden_set(world.submitter)

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(path).status == 200
        return len(queries)

    client = api(world.viewer)
    client.get("/me")
    grow(1)
    first = cost()
    for number in range(2, 8):
        grow(number)
    assert cost() == first
