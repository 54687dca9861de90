"""The JSON that clients read before they fetch files."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from registry.gateway import names
from tests.factories import MODEL_ID, SHA_A, SHA_B, Api, World, make_approval, make_revision
from tests.gateway.scene import FILES, Scene

M = f"/hub/api/models/{MODEL_ID}"


def test_info_with_blobs_says_size_and_digest_of_each_file(hub: Api) -> None:
    info = hub.get(f"{M}?blobs=true").data
    by_name = {s["rfilename"]: s for s in info["siblings"]}
    assert set(by_name) == set(FILES) - {"evil.bin"}
    assert (
        by_name["config.json"]["size"] == len(FILES["config.json"])
        and len(by_name["config.json"]["blobId"]) == 40
    )
    assert by_name["model.safetensors"]["lfs"]["size"] == len(FILES["model.safetensors"])
    assert info["sha"] == SHA_A and info["pipeline_tag"] == "text-classification" and not info["xetEnabled"]
    assert info["cardData"] == {"license": "apache-2.0"} and "license:apache-2.0" in info["tags"]
    assert info["createdAt"].endswith("Z") and info["gated"] is False


def test_info_without_blobs_names_files_only(hub: Api) -> None:
    assert all(set(s) == {"rfilename"} for s in hub.get(M).data["siblings"])


def test_expand_gives_these_keys_and_no_others(hub: Api) -> None:
    found = hub.get(f"{M}/revision/main?expand=sha&expand=xetEnabled&expand=unknown").data
    assert set(found) == {"_id", "id", "sha", "xetEnabled"}


def test_tree_lists_folders_and_files(hub: Api) -> None:
    top = hub.get(f"{M}/tree/main").data
    assert {e["path"] for e in top if e["type"] == "directory"} == {"onnx"}
    assert "onnx/model.onnx" not in {e["path"] for e in top}
    deep = hub.get(f"{M}/tree/main?recursive=true").data
    assert {e["path"] for e in deep if e["type"] == "file"} == set(FILES) - {"evil.bin"}
    assert {e["path"] for e in deep if e["type"] == "directory"} == {"onnx", "onnx/deep"}
    below = hub.get(f"{M}/tree/main/onnx?expand=true").data
    assert {e["path"] for e in below} == {"onnx/model.onnx", "onnx/deep"}
    assert all(e["lastCommit"]["id"] == SHA_A and len(e["oid"]) == 40 for e in below)


@pytest.mark.parametrize(
    "folder", ["additional_chat_templates", "..", "%2e%2e/etc", "config.json", "onnx/../onnx"]
)
def test_tree_of_no_folder_is_404_and_no_warning(hub: Api, folder: str) -> None:
    answer = hub.get(f"{M}/tree/main/{folder}")
    unknown = hub.get(f"{M}/tree/main/nothing")
    assert answer.status == 404 and answer.content == unknown.content
    assert answer.headers["X-Error-Code"] == "EntryNotFound" and "X-HF-Warning" not in answer.headers


def test_paths_info_reads_forms_and_json_and_leaves_out_what_does_not_exist(hub: Api) -> None:
    asked = ["config.json", "onnx", "no.such", "../config.json"]
    as_json = hub.post(f"{M}/paths-info/main", {"paths": asked}).data
    form = "&".join(f"paths={path}" for path in asked).encode()
    as_form = hub.send(
        "POST", f"{M}/paths-info/main", form, content_type="application/x-www-form-urlencoded"
    ).data
    assert as_json == as_form and [row["path"] for row in as_json] == ["onnx", "config.json"]


@pytest.mark.parametrize("body", [b"[]", b'{"paths": 1}', b"{", b"[" * 100_000])
def test_paths_info_with_a_wrong_body_is_400(hub: Api, body: bytes) -> None:
    assert hub.send("POST", f"{M}/paths-info/main", body).status == 400


def test_refs_are_channels_and_main(hub: Api, scene: Scene) -> None:
    found = hub.get(f"{M}/refs?include_prs=1").data
    assert {b["name"]: b["targetCommit"] for b in found["branches"]} == {"main": SHA_A, "production": SHA_A}
    assert found["tags"] == found["converts"] == found["pullRequests"] == []


def test_commits_are_the_approved_history(hub: Api, scene: Scene) -> None:
    make_approval(scene.world, scene.pending, environment="staging")
    newest = hub.get(f"{M}/commits/{SHA_B}").data
    assert [c["id"] for c in newest] == [SHA_B, SHA_A] and newest[0]["authors"] == [{"user": "reviewer"}]
    assert [c["id"] for c in hub.get(f"{M}/commits/main").data] == [SHA_A]


def test_commits_come_in_pages_that_clients_follow(
    hub: Api, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "COMMITS", 2)
    shas = [SHA_A]
    for number in range(1, 6):
        shas.append(f"{number:040x}")
        make_approval(scene.world, make_revision(scene.world.team, shas[-1]))
    read, address = [], f"{M}/commits/{shas[-1]}"
    for _ in range(3):
        page = hub.get(address)
        read += [c["id"] for c in page.data]
        if "Link" not in page.headers:
            break
        address = page.headers["Link"].split(">")[0].removeprefix(f"<{settings.PUBLIC_URL}")
    assert read == shas[::-1] and "Link" not in page.headers


def test_list_names_a_model_once_whatever_the_number_of_its_approvals(
    hub: Api, scene: Scene, django_assert_num_queries: Any
) -> None:
    """In production: that one. Without production: the only active one; of several, none (main would be a guess)."""
    for number in range(1, 4):
        make_approval(scene.world, make_revision(scene.world.team, f"{number:040x}"))
        make_approval(scene.world, make_revision(scene.world.team, f"{number:040x}", model_id="acme/several"))
    make_approval(scene.world, make_revision(scene.world.team, SHA_A, model_id="acme/single"))
    hub.get("/hub/api/models")
    with django_assert_num_queries(4):
        listed = hub.get("/hub/api/models?full=true").data
    assert {m["id"]: m["sha"] for m in listed} == {MODEL_ID: SHA_A, "acme/single": SHA_A}


def test_list_filters_sorts_and_pages(world: World) -> None:
    for number in range(5):
        make_approval(world, make_revision(world.team, SHA_A, model_id=f"acme/m{number}"))
    make_revision(world.team, SHA_A, model_id="acme/unapproved")
    hub = Api.of(world.viewer)
    assert [m["id"] for m in hub.get("/hub/api/models").data] == [f"acme/m{n}" for n in range(5)]
    assert [m["id"] for m in hub.get("/hub/api/models?search=M3").data] == ["acme/m3"]
    assert hub.get("/hub/api/models?author=other").data == []
    assert len(hub.get("/hub/api/models?filter=license:apache-2.0,text-classification").data) == 5
    assert hub.get("/hub/api/models?filter=license:mit").data == []
    full = hub.get("/hub/api/models?full=true&limit=2")
    assert [m["sha"] for m in full.data] == [SHA_A, SHA_A]
    assert "cursor=2" in full.headers["Link"] and full.headers["Link"].endswith('rel="next"')
    assert [m["id"] for m in hub.get("/hub/api/models?limit=2&cursor=4").data] == ["acme/m4"]


def test_query_count_does_not_grow_with_models_and_revisions(hub: Api, scene: Scene) -> None:
    paths = ["/hub/api/models", M, f"{M}/tree/main", f"{M}/refs", f"/hub/{MODEL_ID}/resolve/main/config.json"]

    def counts() -> list[int]:
        found = []
        for path in paths:
            with CaptureQueriesContext(connection) as queries:
                assert hub.get(path).status == 200
            found.append(len(queries))
        return found

    make_approval(scene.world, make_revision(scene.world.team, "9" * 40, model_id="acme/without-a-channel"))
    hub.get(M)  # the token's last use is noted once a minute
    before = counts()
    for number in range(8):
        revision = make_revision(scene.world.team, f"{number}" * 40, model_id=f"acme/more{number}")
        make_approval(scene.world, revision)
        make_revision(scene.world.team, f"{number}" * 40)
    assert counts() == before and max(before) <= 6


@pytest.mark.parametrize(
    "path", ["/hub/api/models?search=%00", "/hub/api/models?author=%00&filter=%00&limit=x&cursor=-1&sort=%00"]
)
def test_list_with_a_wrong_parameter_is_no_error(hub: Api, path: str) -> None:
    assert hub.get(path).status == 200


@pytest.mark.parametrize(
    "tail", ["", "/refs", "/revision/main", "/tree/main", "/commits/main", "/revision/%00"]
)
def test_model_id_with_a_zero_byte_is_refused(hub: Api, tail: str) -> None:
    assert hub.get(f"/hub/api/models/acme/x%00{tail}").status == 404
    assert hub.get(f"/hub/api/models/%00/x{tail}").status == 404


def test_agent_harnesses_are_told_without_a_token(db: None) -> None:
    assert Api("").get("/hub/api/agent-harnesses").data == {"standardEnvVars": [], "harnesses": {}}


def test_whoami_names_person_team_and_token(hub: Api) -> None:
    me = hub.get("/hub/api/whoami-v2").data
    assert me["type"] == "user" and me["name"] == "viewer" and me["orgs"][0]["name"] == "acme"
    assert me["auth"]["accessToken"]["displayName"] == "test" and me["auth"]["accessToken"]["role"] == "read"
