"""The Hub-compatible endpoint: approved bytes for those who may have them, and the Hub's own error codes for the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from registry import store
from registry.enums import Scope
from registry.models import RevisionFile
from registry.services.approvals import change_approval
from tests.factories import MODEL_ID, SHA_A, SHA_B, Answered, Api, World, make_approval, make_revision

Clients = Callable[..., Api]
FILES = {
    "config.json": b'{"model_type": "distilbert"}',
    "model.safetensors": b"\x00weights" * 1000,
    "pytorch_model.bin": b"PK\x03\x04 a pickle",
    "onnx/deep/notes.txt": "chú ý\n".encode(),
}


def url(path: str = "config.json", sha: str = SHA_A, model_id: str = MODEL_ID) -> str:
    return f"/hub/{model_id}/resolve/{sha}/{path}"


@pytest.fixture
def approved(world: World) -> World:
    revision = make_revision(
        world.team, files=FILES, facts={"formats": {"quarantined": ["pytorch_model.bin"]}}
    )
    make_approval(world, revision)
    return world


@pytest.mark.parametrize("path", ["config.json", "model.safetensors", "onnx/deep/notes.txt"])
def test_approved_bytes_are_given_with_the_hubs_headers(approved: World, api: Clients, path: str) -> None:
    answer = api(approved.viewer).get(url(path))
    assert answer.status == 200 and answer.content == FILES[path]
    row = RevisionFile.objects.get(path=path)
    assert answer.headers["X-Repo-Commit"] == SHA_A
    assert answer.headers["Content-Length"] == str(len(FILES[path]))
    assert answer.headers["ETag"] == f'"{row.blob_id if path.endswith(".safetensors") else row.git_oid}"'


def test_bytes_never_open_in_a_browser(approved: World, api: Clients) -> None:
    headers = api(approved.viewer).get(url()).headers
    assert (
        headers["Content-Type"] == "application/octet-stream"
        and headers["Content-Disposition"] == "attachment; filename*=UTF-8''config.json"
    )
    assert "sandbox" in headers["Content-Security-Policy"] and headers["X-Content-Type-Options"] == "nosniff"


def test_head_answers_the_same_headers_without_a_body(approved: World, api: Clients) -> None:
    client = api(approved.viewer)
    head, get = client.send("HEAD", url("model.safetensors")), client.get(url("model.safetensors"))
    for name in ("Content-Length", "X-Repo-Commit", "ETag"):
        assert head.headers[name] == get.headers[name]
    assert head.status == 200 and head.content == b""


def assert_refused(answer: Answered, status: int, code: str) -> str:
    assert (answer.status, answer.headers["X-Error-Code"]) == (status, code)
    message = str(answer.headers["X-Error-Message"])
    assert answer.data == {"error": message} and "\n" not in message
    return message


@pytest.mark.parametrize(
    ("path", "sha", "model_id", "code"),
    [
        ("config.json", SHA_B, MODEL_ID, "RevisionNotFound"),
        ("config.json", SHA_A, "acme/other", "RevisionNotFound"),
        ("missing.json", SHA_A, MODEL_ID, "EntryNotFound"),
        ("onnx", SHA_A, MODEL_ID, "EntryNotFound"),
        ("onnx/../config.json", SHA_A, MODEL_ID, "EntryNotFound"),
        ("../../../etc/passwd", SHA_A, MODEL_ID, "EntryNotFound"),
        ("..%2F..%2Fetc%2Fpasswd", SHA_A, MODEL_ID, "EntryNotFound"),
        ("a%0d%0aSet-Cookie:x=1", SHA_A, MODEL_ID, "EntryNotFound"),
        ("config.json%00", SHA_A, MODEL_ID, "EntryNotFound"),
        ("x" * 3000, SHA_A, MODEL_ID, "EntryNotFound"),
        ("pytorch_model.bin", SHA_A, MODEL_ID, "EntryNotFound"),  # quarantined: kept, never given out
    ],
)
def test_what_is_not_approved_is_not_found(
    approved: World, api: Clients, path: str, sha: str, model_id: str, code: str
) -> None:
    assert_refused(api(approved.viewer).get(url(path, sha, model_id)), 404, code)


@pytest.mark.parametrize("revision", ["v1.0", "aaaaaaa", "A" * 40, "a" * 39, "refs%2Fpr%2F1"])
def test_nothing_is_given_by_tag_short_sha_or_pull_request(
    approved: World, api: Clients, revision: str
) -> None:
    message = assert_refused(api(approved.viewer).get(url(sha=revision)), 404, "RevisionNotFound")
    assert "is no revision here" in message or "has no channel" in message


def test_recorded_revision_without_an_approval_is_refused(world: World, api: Clients) -> None:
    make_revision(world.team, files=FILES)
    message = assert_refused(api(world.viewer).get(url()), 404, "RevisionNotFound")
    assert "nobody has approved it" in message


@pytest.mark.parametrize(("action", "status"), [("deprecate", 200), ("suspend", 404)])
def test_suspended_approval_gives_nothing_any_more(
    approved: World, api: Clients, action: str, status: int
) -> None:
    from registry.models import Approval

    change_approval(
        actor=approved.admin, approval=Approval.objects.get(), action=action, reason="A finding came in."
    )
    assert api(approved.viewer).get(url()).status == status


def test_other_team_gets_nothing(approved: World, api: Clients) -> None:
    assert_refused(api(approved.other).get(url()), 404, "RevisionNotFound")


@pytest.mark.parametrize("token", ["", "nonsense", "assay_0123456789abcdef_" + "a" * 43])
def test_without_a_good_token_the_client_is_told_to_send_one(approved: World, token: str) -> None:
    assert_refused(Api(token).get(url()), 401, "RepoNotFound")


def test_session_opens_no_bytes(approved: World) -> None:
    client = Api("").client
    client.force_login(approved.viewer.user)
    assert Api("", client).get(url()).status == 401


def test_token_without_scope_read_is_refused(approved: World, api: Clients) -> None:
    assert api(approved.viewer, [Scope.INFER]).get(url()).status == 403


def test_service_account_names_the_team_it_means(approved: World, api: Clients) -> None:
    server = api(approved.server, [Scope.SERVE])
    assert server.get(url() + "?team=acme").content == FILES["config.json"]
    for query in ("", "?team=globex", "?team=nobody"):
        assert_refused(server.get(url() + query), 404, "RevisionNotFound")


def test_person_cannot_name_another_team(approved: World, api: Clients) -> None:
    assert api(approved.other).get(url() + "?team=acme").status == 404


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "empty"])
def test_damaged_bytes_are_never_given_out(approved: World, api: Clients, damage: str) -> None:
    row = RevisionFile.objects.select_related("blob").get(path="model.safetensors")
    path = store.path_of(row.blob_id)
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(
        {
            "flip": content[:-1] + bytes([content[-1] ^ 1]),
            "cut": content[:-1],
            "grow": content + b"\0",
            "empty": b"",
        }[damage]
    )
    answer = api(approved.viewer).get(url("model.safetensors"))
    message = assert_refused(answer, 503, "integrity_error")
    assert "does not have the bytes that were approved" in message and answer.headers["Retry-After"] == "60"
    assert api(approved.viewer).get(url("config.json")).status == 200


def test_missing_and_linked_bytes_are_never_given_out(approved: World, api: Clients) -> None:
    path = store.path_of(RevisionFile.objects.get(path="config.json").blob_id)
    path.rename(path.with_suffix(".away"))
    assert_refused(api(approved.viewer).get(url()), 503, "integrity_error")
    path.symlink_to(path.with_suffix(".away"))  # the same bytes, by way of a link somebody could turn later
    assert_refused(api(approved.viewer).get(url()), 503, "integrity_error")


# --- what inference servers ask for ------------------------------------------------------------------------------------


def test_serving_manifest_lists_what_is_live_with_every_digest(approved: World, api: Clients) -> None:
    from registry.models import Approval
    from registry.services.channels import move_channel

    server = api(approved.server, [Scope.SERVE])
    empty = server.get("/serving/manifest")
    assert empty.data["models"] == []
    approval = Approval.objects.get()
    move_channel(
        actor=approved.release_manager,
        model=approval.model,
        name="production",
        approval=approval,
        reason="First release",
    )
    answer = server.get("/serving/manifest")
    assert answer.data["generation"] != empty.data["generation"]
    (model,) = answer.data["models"]
    assert (model["team"], model["model_id"], model["channel"], model["commit_sha"]) == (
        "acme", MODEL_ID, "production", SHA_A,
    )  # fmt: skip
    listed = {f["path"]: (f["size"], f["sha256"]) for f in model["files"]}
    assert set(listed) == set(FILES) - {"pytorch_model.bin"}
    for path, (size, sha256) in listed.items():
        given = server.get(url(path) + "?team=acme").content
        with store.verified(sha256, size) as file:
            assert file.read() == given


def test_serving_manifest_is_sent_again_only_when_it_changed(approved: World, api: Clients) -> None:
    server = api(approved.server, [Scope.SERVE])
    etag = server.get("/serving/manifest").headers["ETag"]
    headers = {"Authorization": f"Bearer {server.token}", "If-None-Match": etag}
    again = server.client.get("/api/v1/serving/manifest", headers=headers)
    assert again.status_code == 304 and again.content == b"" and again.headers["ETag"] == etag


def test_report_of_a_replica_replaces_its_last_one(approved: World, api: Clients) -> None:
    from registry.models import ServedReplica

    server = api(approved.server, [Scope.SERVE])
    row = {
        "team": "acme",
        "model_id": MODEL_ID,
        "channel": "production",
        "commit_sha": SHA_A,
        "state": "loading",
    }
    body = {"replica": "host:1:8100", "generation": "g", "models": [row, {**row, "model_id": "acme/unknown"}]}
    assert server.post("/serving/report", body).status == 204
    assert (
        server.post("/serving/report", {**body, "models": [{**row, "state": "ready", "error": None}]}).status
        == 204
    )
    assert [(r.replica, r.state) for r in ServedReplica.objects.all()] == [("host:1:8100", "ready")]
    assert server.post("/serving/report", {**body, "models": []}).status == 204
    assert not ServedReplica.objects.exists()
    assert server.post("/serving/report", {**body, "models": [{**row, "state": "great"}]}).status == 422
