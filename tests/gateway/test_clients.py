"""Unmodified clients in processes of their own, with only HF_ENDPOINT and HF_TOKEN set, against a real server."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import pytest
from django.db import connection

from registry.models import Download
from registry.services.approvals import change_approval
from tests.factories import MODEL_ID, SHA_A, SHA_B, SHA_C, make_token
from tests.gateway.cutting import breaking_line
from tests.gateway.scene import HubClient, Scene, approve_large_file, spoil

pytestmark = [pytest.mark.service, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

HUGGINGFACE_HUB = f"""
import json
from pathlib import Path
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
api, m = HfApi(), {MODEL_ID!r}
info = api.model_info(m, files_metadata=True)
pinned = api.model_info(m, revision={SHA_A!r})
folder = Path(snapshot_download(m))
print(json.dumps({{
    "sha": info.sha, "pinned": pinned.sha, "channel": api.model_info(m, revision="production").sha,
    "siblings": sorted(s.rfilename for s in info.siblings), "sizes": sum(s.size for s in info.siblings),
    "snapshot": folder.name, "files": sorted(p.name for p in folder.iterdir()),
    "again": Path(snapshot_download(m, revision={SHA_A!r})).name,
    "config": Path(hf_hub_download(m, "config.json", revision="production")).parent.name,
    "refs": {{b.name: b.target_commit for b in api.list_repo_refs(m).branches}},
    "commits": [c.commit_id for c in api.list_repo_commits(m)],
    "listed": [i.id for i in api.list_models(search="sentiment")],
    "paths": [f.path for f in api.get_paths_info(m, ["config.json", "no.such"], expand=True)],
    "tree": len(list(api.list_repo_tree(m, recursive=True))),
    "exists": [api.file_exists(m, "config.json"), api.file_exists(m, "no.such")],
    "me": api.whoami()["name"],
}}))
"""


def test_huggingface_hub_reads_everything_it_knows_how_to_ask(client: HubClient, live_scene: Scene) -> None:
    found = json.loads(client.python_says(HUGGINGFACE_HUB))
    names = sorted(live_scene.approved.files.values_list("path", flat=True))
    assert found["sha"] == found["pinned"] == found["channel"] == found["snapshot"] == found["again"] == SHA_A
    assert found["config"] == SHA_A
    assert found["siblings"] == found["files"] == names and found["tree"] == len(names)
    assert found["sizes"] == live_scene.approved.total_size
    assert found["refs"] == {"main": SHA_A, "production": SHA_A}
    assert found["commits"] == [SHA_A] and found["listed"] == [MODEL_ID]
    assert found["paths"] == ["config.json"] and found["exists"] == [True, False]
    assert found["me"] == "viewer"


TRANSFORMERS = f"""
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
m = {MODEL_ID!r}
tokenizer = AutoTokenizer.from_pretrained(m)
model = AutoModelForSequenceClassification.from_pretrained(m)
print(len(tokenizer), model.config.num_labels)
print(pipeline("text-classification", model=m)("a useful and reliable product")[0]["label"])
print(pipeline("text-classification", model=m, revision={SHA_A!r})("late and terrible")[0]["label"])
"""


def test_transformers_without_revision_loads_the_approved_commit_although_a_newer_one_exists(
    client: HubClient, live_scene: Scene
) -> None:
    lines = client.python_says(TRANSFORMERS).splitlines()
    assert lines[0].endswith(" 3") and {lines[1], lines[2]} <= {"negative", "neutral", "positive"}
    snapshots = list((client.home / "hub").glob("models--*/snapshots/*"))
    assert [folder.name for folder in snapshots] == [SHA_A]
    assert _downloads(live_scene) == [SHA_A]


def _downloads(scene: Scene) -> list[str]:
    """What the counting thread has written, waiting for its next round."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        rows = list(Download.objects.select_related("revision").filter(files__gt=0))
        if rows:
            connection.close()
            return [row.revision.commit_sha for row in rows]
        time.sleep(0.1)
    return []


LOAD = "from transformers import AutoModelForSequenceClassification as A; A.from_pretrained({model!r}{more})"


def test_transformers_reads_why_an_unapproved_commit_is_refused(client: HubClient, live_scene: Scene) -> None:
    said = client.python_fails(LOAD.format(model=MODEL_ID, more=f", revision={SHA_B!r}"))
    assert f"{MODEL_ID}@{SHA_B[:7]} may not be used: nobody has approved it." in said
    assert f"/revisions/{live_scene.pending.pk}/" in said


def test_warm_cache_then_revoke_unpinned_load_is_refused(client: HubClient, live_scene: Scene) -> None:
    load = LOAD.format(model=MODEL_ID, more="")
    client.python_says(load)
    for action in ("suspend", "revoke"):
        change_approval(
            actor=live_scene.world.admin,
            approval=live_scene.approval,
            action=action,
            reason="Trained on leaked data",
        )
    said = client.python_fails(load)
    assert "is revoked: Trained on leaked data" in said and f"/revisions/{live_scene.approved.pk}/" in said


def test_deprecated_revision_loads_and_says_so(client: HubClient, live_scene: Scene) -> None:
    change_approval(
        actor=live_scene.world.admin, approval=live_scene.approval, action="deprecate", reason="v2 is better"
    )
    found = client.run(client.python, "-c", LOAD.format(model=MODEL_ID, more=""))
    assert found.returncode == 0, found.stderr
    assert "is deprecated: v2 is better. It is still served" in found.stderr


def test_hf_command_signs_in_downloads_and_reads_refusals(client: HubClient, live_scene: Scene) -> None:
    token, client.token = client.token, ""
    signed_in = client.hf("auth", "login", "--token", token)
    assert signed_in.returncode == 0, signed_in.stdout + signed_in.stderr
    assert "viewer" in client.hf("auth", "whoami").stdout
    taken = client.hf("download", MODEL_ID, "config.json", "--local-dir", str(client.home / "here"))
    assert taken.returncode == 0, taken.stderr
    assert json.loads((client.home / "here" / "config.json").read_text())["model_type"] == "distilbert"
    refused = client.hf("download", MODEL_ID, "--revision", SHA_B)
    assert refused.returncode != 0
    assert f"/revisions/{live_scene.pending.pk}/" in refused.stdout + refused.stderr


RESUME = f"""
import hashlib, huggingface_hub as h
path = h.hf_hub_download({MODEL_ID!r}, "large.safetensors", revision={SHA_C!r})
print(hashlib.sha256(open(path, "rb").read()).hexdigest())
"""


def test_broken_download_goes_on_where_it_ended(client: HubClient, live_scene: Scene) -> None:
    """The client keeps what came in pieces of 10 MiB, and asks for the rest by Range."""
    content = approve_large_file(live_scene)
    with breaking_line(client.endpoint.removesuffix("/hub"), after=15 * 2**20) as line:
        client.endpoint = f"{line.url}/hub"
        said = client.python_says(RESUME)
        assert said.split() == [hashlib.sha256(content).hexdigest()]
        assert line.cuts == 1 and line.ranges == [f"bytes={10 * 2**20}-"]


def test_hf_command_with_a_wrong_token_is_told(client: HubClient) -> None:
    found = client.hf("auth", "login", "--token", "hf_wrong")
    assert found.returncode != 0 and "Invalid user token" in found.stdout + found.stderr


@pytest.mark.parametrize(
    "script",
    [
        "import huggingface_hub as h; h.create_repo('acme/new')",
        f"import huggingface_hub as h; h.upload_folder(repo_id={MODEL_ID!r}, folder_path='.')",
        f"import huggingface_hub as h; h.upload_file(repo_id={MODEL_ID!r}, path_or_fileobj=b'x', path_in_repo='x')",
    ],
    ids=["create_repo", "upload_folder", "upload_file"],
)
def test_push_is_refused_with_a_sentence(client: HubClient, script: str) -> None:
    (client.home / "file.txt").write_text("hello")
    assert "Assay does not take pushes" in client.python_fails(script)


def test_damaged_file_is_not_taken_by_a_client(client: HubClient, live_scene: Scene) -> None:
    def flip(place: Any) -> None:
        data = bytearray(place.read_bytes())
        data[-1] ^= 1
        place.write_bytes(data)

    spoil(live_scene.approved, "model.safetensors", flip)
    said = client.python_fails(
        f"import huggingface_hub as h; h.hf_hub_download({MODEL_ID!r}, 'model.safetensors')"
    )
    assert "does not have the bytes that were approved" in said
    assert not list((client.home / "hub").rglob("*.safetensors"))


def test_token_of_another_team_finds_nothing(client: HubClient, live_scene: Scene) -> None:
    client.token = make_token(live_scene.world.other, ["read", "artifacts"])
    said = client.python_fails(f"import huggingface_hub as h; h.snapshot_download({MODEL_ID!r})")
    assert "was never submitted by your team" in said
