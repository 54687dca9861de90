"""Who gets what for which name, and what everybody else reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from registry.enums import Scope
from registry.services.approvals import change_approval
from registry.services.channels import move_channel
from reviews.code_audits.judging import end_waiver
from tests.factories import (
    MODEL_ID,
    SHA_A,
    SHA_B,
    SHA_C,
    Answered,
    Api,
    World,
    audit_code,
    make_approval,
    make_revision,
)  # fmt: skip
from tests.gateway.scene import FILES, Scene

CONFIG = f"/hub/{MODEL_ID}/resolve/{{}}/config.json"
INFO = f"/hub/api/models/{MODEL_ID}/revision/{{}}"


def refusal(answer: Answered) -> str:
    """The sentence of a refusal, which stands in every place where a client may look for it."""
    message = str(answer.data["error"])
    assert answer.headers["X-Error-Message"] and answer.headers["X-HF-Warning"].startswith("registry; ")
    assert answer.headers["X-HF-Warning"] == "registry; " + answer.headers["X-Error-Message"]
    assert "X-Repo-Commit" not in answer.headers
    return message


def change(scene: Scene, *actions: str, reason: str = "A reason given") -> None:
    for action in actions:
        change_approval(actor=scene.world.admin, approval=scene.approval, action=action, reason=reason)


@pytest.mark.parametrize("asked", ["main", "production", SHA_A])
def test_name_of_the_approved_revision_gives_its_commit(hub: Api, asked: str) -> None:
    file, info = hub.get(CONFIG.format(asked)), hub.get(INFO.format(asked))
    assert file.status == info.status == 200
    assert file.content == FILES["config.json"] and info.data["sha"] == SHA_A
    assert file.headers["X-Repo-Commit"] == info.headers["X-Repo-Commit"] == SHA_A


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (SHA_B, "may not be used: nobody has approved it. See http"),
        (SHA_C, f"has no revision {SHA_C[:12]} in Assay."),
        ("staging", "has no channel 'staging'. It has: production. See http"),
        (SHA_A[:12], f"has no channel '{SHA_A[:12]}'."),
        (SHA_A.upper(), f"is no revision here: a commit is written in lower case. Ask for {SHA_A}. See http"),
        (SHA_A[:12].upper(), "is no revision here"),
        ("v1.0", "is no revision here"),
        ("HEAD", "is no revision here"),
        ("main%5E", "is no revision here"),
        ("x%0D%0ASet-Cookie:a=b", "is no revision here"),
        ("..", "is no revision here"),
        ("%00", "is no revision here"),
    ],
)
def test_any_other_revision_is_refused_with_the_reason_and_the_page(
    hub: Api, asked: str, sentence: str
) -> None:
    for answer in (hub.get(INFO.format(asked)), hub.get(CONFIG.format(asked))):
        assert answer.status == 404 and answer.headers["X-Error-Code"] == "RevisionNotFound"
        assert sentence in refusal(answer) and "http://" in refusal(answer)
        assert all("\r" not in value and "\n" not in value for value in answer.headers.values())


def test_pull_request_of_the_upstream_is_refused(hub: Api) -> None:
    assert "'refs/pr/1' is no revision here" in refusal(hub.get(INFO.format("refs%2Fpr%2F1")))
    assert "has no channel 'refs'" in refusal(hub.get(CONFIG.format("refs%2Fpr%2F1")))


def test_head_refusal_carries_the_sentence_in_its_headers(hub: Api) -> None:
    answer = hub.send("HEAD", CONFIG.format(SHA_B))
    assert answer.status == 404 and answer.content == b""
    assert "nobody has approved it" in answer.headers["X-Error-Message"]


@pytest.mark.parametrize(
    ("actions", "word"),
    [(["suspend"], "suspended"), (["suspend", "revoke"], "revoked"), (["deprecate", "retire"], "retired")],
)
def test_withdrawn_approval_is_refused_at_once_with_its_reason(
    hub: Api, scene: Scene, actions: list[str], word: str
) -> None:
    assert hub.get(CONFIG.format("main")).status == 200
    change(scene, *actions, reason="Dữ liệu huấn luyện bị rò rỉ")
    for asked in ("main", "production", SHA_A):
        answer = hub.get(CONFIG.format(asked))
        assert answer.status == 404 and f"is {word}: Dữ liệu huấn luyện bị rò rỉ" in refusal(answer)
        assert "Du lieu huan luyen bi ro ri" in answer.headers["X-HF-Warning"]
        assert f"/revisions/{scene.approved.pk}/" in answer.headers["X-HF-Warning"]


def test_resumed_approval_is_served_again(hub: Api, scene: Scene) -> None:
    change(scene, "suspend")
    change_approval(
        actor=scene.world.release_manager, approval=scene.approval, action="resume", reason="False alarm"
    )
    assert hub.get(CONFIG.format("main")).status == 200


def test_approval_past_its_date_is_refused_before_the_clock_notes_it(
    hub: Api, scene: Scene, world: World
) -> None:
    revision = make_revision(world.team, SHA_C)
    make_approval(world, revision, expires_at=timezone.now() - timedelta(seconds=1))
    assert "its approval is expired" in refusal(hub.get(CONFIG.format(SHA_C)))


def test_withdrawn_production_is_not_replaced_by_another_approval(hub: Api, scene: Scene) -> None:
    make_approval(scene.world, scene.pending, environment="staging")
    change(scene, "suspend")
    assert "production of" in refusal(hub.get(CONFIG.format("main")))
    assert hub.get(CONFIG.format(SHA_B)).status == 200  # who names it gets it


def test_deprecated_approval_is_served_with_a_warning(hub: Api, scene: Scene) -> None:
    change(scene, "deprecate", reason="v2 is better.")
    for answer in (hub.get(CONFIG.format("main")), hub.get(INFO.format(SHA_A))):
        assert answer.status == 200
        warning = answer.headers["X-HF-Warning"]
        assert warning.startswith(f"registry-notice; {MODEL_ID}@{SHA_A[:12]} is deprecated: v2 is better. ")
        assert f"/revisions/{scene.approved.pk}/" in warning


def test_only_active_approval_is_main_when_no_channel_exists(world: World) -> None:
    revision = make_revision(world.team, SHA_A)
    make_approval(world, revision, environment="staging")
    assert Api.of(world.viewer).get(INFO.format("main")).data["sha"] == SHA_A


def test_several_approvals_without_production_are_no_guess(world: World) -> None:
    for sha in (SHA_A, SHA_B):
        make_approval(world, make_revision(world.team, sha), environment="staging")
    assert "several approved revisions" in refusal(Api.of(world.viewer).get(INFO.format("main")))


def test_channel_name_as_revision_gives_that_channels_commit(hub: Api, scene: Scene) -> None:
    approval = make_approval(scene.world, scene.pending, environment="staging")
    move_channel(
        actor=scene.world.release_manager,
        model=scene.approved.model,
        name="canary",
        approval=approval,
        reason="Try it",
    )
    assert hub.get(INFO.format("canary")).data["sha"] == SHA_B
    assert hub.get(INFO.format("main")).data["sha"] == SHA_A


def test_commit_approved_twice_is_served_by_its_better_approval(hub: Api, scene: Scene) -> None:
    make_approval(scene.world, scene.approved, environment="staging")
    change(scene, "deprecate")
    assert "X-HF-Warning" not in hub.get(CONFIG.format(SHA_A)).headers


def test_unknown_model_is_refused_so_that_a_warm_cache_is_refused_too(hub: Api) -> None:
    for path in (
        "/hub/api/models/acme/other",
        "/hub/acme/other/resolve/main/config.json",
        "/hub/api/models/x/a..b",
    ):
        answer = hub.get(path)
        assert answer.status == 404 and answer.headers["X-Error-Code"] == "RevisionNotFound"
        assert refusal(answer)


def test_other_teams_model_does_not_exist(scene: Scene) -> None:
    stranger = Api.of(scene.world.other)
    for path in (CONFIG.format(SHA_A), INFO.format("main"), f"/hub/api/models/{MODEL_ID}/refs"):
        assert "was never submitted by your team" in refusal(stranger.get(path))
    assert stranger.get("/hub/api/models").data == []


# --- who asks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "hf_something", "assay_0123456789abcdef_" + "x" * 43])
def test_missing_or_wrong_token_is_401_in_words(scene: Scene, token: str) -> None:
    answer = Api(token).get(CONFIG.format("main"))
    assert answer.status == 401 and "Send a valid Assay token: set HF_TOKEN" in refusal(answer)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert Api(token).get("/hub/api/whoami-v2").status == 401


def test_token_without_the_scope_is_403_in_words(scene: Scene, api: Callable[..., Api]) -> None:
    """Told of a model is not handed its files, and the other way round."""
    info = f"/hub/api/models/{MODEL_ID}"
    tells, hands = api(scene.world.viewer, [Scope.READ]), api(scene.world.viewer, [Scope.ARTIFACTS])
    assert tells.get(info).status == hands.get(CONFIG.format("main")).status == 200
    for answer, scope in ((tells.get(CONFIG.format("main")), "artifacts"), (hands.get(info), "read")):
        assert answer.status == 403 and f"lacks the scope `{scope}`" in refusal(answer)


def test_service_account_names_the_team_that_it_serves(scene: Scene) -> None:
    server = Api.of(scene.world.server, [Scope.SERVE])
    assert server.get(CONFIG.format(SHA_A) + "?team=acme").content == FILES["config.json"]
    assert server.get(CONFIG.format(SHA_A) + "?team=globex").status == 404
    assert server.get(CONFIG.format(SHA_A)).status == 404
    assert server.get(CONFIG.format(SHA_A) + "?team=nobody").status == 404


def test_person_cannot_name_another_team(scene: Scene) -> None:
    assert Api.of(scene.world.other).get(CONFIG.format(SHA_A) + "?team=acme").status == 404


# --- what is not served ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audit", "served"), [("passed", True), ("waived", True), ("pending", False), ("failed", False)]
)
def test_code_is_served_and_listed_only_when_its_audit_passed_or_was_waived(
    world: World, audit: str, served: bool
) -> None:
    files = {"config.json": b"{}", "modeling.py": b"x = 1", "sub/Tool.PY": b"y = 2"}
    revision = make_revision(world.team, SHA_A, files=files, remote_code=True)
    audit_code(world, revision, "waived" if audit in ("waived", "pending") else "passed")
    make_approval(world, revision)
    if audit == "pending":
        end_waiver(actor=world.admin, revision=revision, reason="The trial is over")
    elif audit == "failed":
        audit_code(world, revision, "failed")
    hub = Api.of(world.viewer)
    for path in ("modeling.py", "sub/Tool.PY"):
        assert (hub.get(f"/hub/{MODEL_ID}/resolve/main/{path}").status == 200) is served
        assert (path in {s["rfilename"] for s in hub.get(INFO.format("main")).data["siblings"]}) is served


def test_quarantined_file_is_neither_listed_nor_served(hub: Api) -> None:
    answer = hub.get(f"/hub/{MODEL_ID}/resolve/main/evil.bin")
    assert answer.status == 404 and answer.headers["X-Error-Code"] == "EntryNotFound"
    listings = [
        [s["rfilename"] for s in hub.get(INFO.format("main")).data["siblings"]],
        [e["path"] for e in hub.get(f"/hub/api/models/{MODEL_ID}/tree/main?recursive=true").data],
        [e["path"] for e in hub.post(f"/hub/api/models/{MODEL_ID}/paths-info/main", {"paths": [*FILES]}).data],
    ]  # fmt: skip
    assert all("evil.bin" not in names and "config.json" in names for names in listings)


TRICKS = [
    "../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd", "%252e%252e%252fetc%252fpasswd",
    "%25252e%25252e/x", "..%5c..%5cconfig.json", "..\\config.json", "/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd",
    "./config.json", "onnx/../config.json", "onnx//model.onnx", "onnx/", "onnx", "config.json/", "CONFIG.JSON",
    "config.json%00", "config.json%0a", "config.json%0d%0aX-Evil: 1", "%c0%ae%c0%ae/config.json", "C:%5cx", "%5c%5ch%5cs",
    "config.json%20", "config.json.", "a" * 600, "%ff%fe", "",
]  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
def test_path_trick_is_answered_byte_for_byte_as_an_unknown_file(hub: Api, trick: str) -> None:
    unknown = hub.get(f"/hub/{MODEL_ID}/resolve/main/no.such.file")
    answer = hub.get(f"/hub/{MODEL_ID}/resolve/main/{trick}")
    assert (answer.status, answer.content) == (unknown.status, unknown.content) == (404, unknown.content)
    own = {"X-Request-Id"}
    assert {k: v for k, v in answer.headers.items() if k not in own} == {
        k: v for k, v in unknown.headers.items() if k not in own
    }
    assert unknown.headers["X-Error-Code"] == "EntryNotFound" and unknown.headers["X-Repo-Commit"] == SHA_A


def test_file_that_need_not_exist_is_no_warning(hub: Api) -> None:
    """Clients look for a dozen optional files of each model; each would be a line in the terminal."""
    assert "X-HF-Warning" not in hub.get(f"/hub/{MODEL_ID}/resolve/main/processor_config.json").headers


PUSHES = [
    ("POST", "/hub/api/repos/create"), ("DELETE", "/hub/api/repos/delete"), ("POST", "/hub/api/repos/move"),
    ("POST", "/hub/api/validate-yaml"), ("POST", f"/hub/api/models/{MODEL_ID}/preupload/main"),
    ("POST", f"/hub/api/models/{MODEL_ID}/commit/main"), ("POST", f"/hub/{MODEL_ID}.git/info/lfs/objects/batch"),
    ("GET", f"/hub/api/models/{MODEL_ID}/xet-write-token/main"), ("PUT", f"/hub/api/models/{MODEL_ID}/settings"),
    ("POST", f"/hub/api/models/{MODEL_ID}/branch/new"), ("DELETE", f"/hub/api/models/{MODEL_ID}/tag/v1"),
    ("POST", "/hub/anything/else"), ("PATCH", "/hub/"),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "path"), PUSHES)
def test_push_is_403_with_a_sentence(scene: Scene, verb: str, path: str) -> None:
    everything = replace(Api.of(scene.world.admin))
    answer = everything.send(verb, path, {})
    assert answer.status == 403 and "Assay does not take pushes" in refusal(answer)
    assert "/reviews/new/" in answer.headers["X-Error-Message"]


@pytest.mark.parametrize(
    "path",
    ["/hub/", "/hub/api/datasets/acme/x", "/hub/datasets/acme/x/resolve/main/README.md", "/hub/api/models/gpt2",
     "/hub/gpt2/resolve/main/config.json", f"/hub/api/models/{MODEL_ID}/xet-read-token/{SHA_A}",
     f"/hub/api/models/{MODEL_ID}/discussions"],
)  # fmt: skip
def test_rest_of_the_hub_is_404_in_words(hub: Api, path: str) -> None:
    answer = hub.get(path)
    assert answer.status == 404 and "Assay serves approved models" in answer.data["error"]
