"""The older clients, in an environment of their own (old_client.sh builds it once): other routes, the same answers."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from registry.services.approvals import change_approval
from tests.factories import MODEL_ID, SHA_A, SHA_B, SHA_C
from tests.gateway.cutting import breaking_line
from tests.gateway.scene import HubClient, Scene, approve_large_file

# One worker runs them all: they share an environment, which the first of them builds in a minute.
pytestmark = [
    pytest.mark.xdist_group("old_client"),
    pytest.mark.service,
    pytest.mark.slow,
    pytest.mark.old_client,
    pytest.mark.django_db(transaction=True),
]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def old_python() -> str:
    folder = ROOT / "var" / "cache" / "old-client"
    made = subprocess.run(
        [Path(__file__).with_name("old_client.sh"), folder, sys.executable],
        capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr[-2000:]
    return str(folder / "bin" / "python")


@pytest.fixture
def old_client(client: HubClient, old_python: str) -> HubClient:
    client.python = old_python
    return client


READ = f"""
import json, huggingface_hub, transformers
from pathlib import Path
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
api, m = HfApi(), {MODEL_ID!r}
folder = Path(snapshot_download(m))
model = AutoModelForSequenceClassification.from_pretrained(m)
tokenizer = AutoTokenizer.from_pretrained(m)
print(json.dumps({{
    "versions": [transformers.__version__, huggingface_hub.__version__],
    "sha": api.model_info(m, files_metadata=True).sha, "snapshot": folder.name,
    "files": sorted(p.name for p in folder.iterdir()),
    "pinned": Path(hf_hub_download(m, "config.json", revision={SHA_A!r})).parent.name,
    "refs": {{b.name: b.target_commit for b in api.list_repo_refs(m).branches}},
    "commits": [c.commit_id for c in api.list_repo_commits(m)], "listed": [i.id for i in api.list_models()],
    "paths": [f.path for f in api.get_paths_info(m, ["config.json"])], "me": api.whoami()["name"],
    "label": pipeline("text-classification", model=model, tokenizer=tokenizer)("good")[0]["label"],
}}))
"""


def test_older_clients_get_the_approved_commit(old_client: HubClient, live_scene: Scene) -> None:
    found = json.loads(old_client.python_says(READ).splitlines()[-1])
    assert found["versions"] == ["4.57.6", "0.36.2"]
    assert found["sha"] == found["snapshot"] == found["pinned"] == SHA_A
    assert found["files"] == sorted(live_scene.approved.files.values_list("path", flat=True))
    assert found["refs"] == {"main": SHA_A, "production": SHA_A} and found["commits"] == [SHA_A]
    assert found["listed"] == [MODEL_ID] and found["paths"] == ["config.json"] and found["me"] == "viewer"
    assert found["label"] in ("negative", "neutral", "positive")


LOAD = "from transformers import AutoModelForSequenceClassification as A; A.from_pretrained({model!r}{more})"


def test_older_clients_read_why_an_unapproved_commit_is_refused(
    old_client: HubClient, live_scene: Scene
) -> None:
    said = old_client.python_fails(LOAD.format(model=MODEL_ID, more=f", revision={SHA_B!r}"))
    assert "nobody has approved it" in said and f"/revisions/{live_scene.pending.pk}/" in said


def test_older_clients_with_a_warm_cache_are_refused_after_revoking(
    old_client: HubClient, live_scene: Scene
) -> None:
    old_client.python_says(LOAD.format(model=MODEL_ID, more=""))
    for action in ("suspend", "revoke"):
        change_approval(
            actor=live_scene.world.admin, approval=live_scene.approval, action=action, reason="Leaked data"
        )
    said = old_client.python_fails(LOAD.format(model=MODEL_ID, more=""))
    assert "is revoked: Leaked data" in said


# Both names of the command are in that package; the older one only prints that it is older.
@pytest.mark.parametrize(
    ("program", "sign_in", "who"),
    [("hf", ["auth", "login"], ["auth", "whoami"]), ("huggingface-cli", ["login"], ["whoami"])],
    ids=["hf", "huggingface-cli"],
)
def test_older_commands_sign_in_download_and_read_refusals(
    old_client: HubClient, live_scene: Scene, program: str, sign_in: list[str], who: list[str]
) -> None:
    token, old_client.token = old_client.token, ""
    signed_in = old_client.command(program, *sign_in, "--token", token)
    assert signed_in.returncode == 0, signed_in.stdout + signed_in.stderr
    assert "viewer" in old_client.command(program, *who).stdout
    folder = old_client.home / "here"
    taken = old_client.command(program, "download", MODEL_ID, "--local-dir", str(folder))
    assert taken.returncode == 0, taken.stderr
    names = set(live_scene.approved.files.values_list("path", flat=True))
    assert {path.name for path in folder.iterdir() if path.is_file()} == names
    refused = old_client.command(program, "download", MODEL_ID, "config.json", "--revision", SHA_B)
    assert refused.returncode != 0
    assert f"/revisions/{live_scene.pending.pk}/" in refused.stdout + refused.stderr


def test_older_command_with_a_wrong_token_is_told(old_client: HubClient) -> None:
    found = old_client.hf("auth", "login", "--token", "hf_wrong")
    assert found.returncode != 0 and "Invalid user token" in found.stdout + found.stderr


# As an interrupted download leaves it: the first part under the name of the content, beside where the whole goes.
RESUME = f"""
import hashlib, huggingface_hub as h
from pathlib import Path
from huggingface_hub import constants
whole = h.get_hf_file_metadata(h.hf_hub_url({MODEL_ID!r}, "large.safetensors", revision={SHA_C!r}))
blobs = Path(constants.HF_HUB_CACHE) / "models--{MODEL_ID.replace("/", "--")}" / "blobs"
blobs.mkdir(parents=True)
(blobs / (whole.etag + ".incomplete")).write_bytes(open("part", "rb").read())
path = h.hf_hub_download({MODEL_ID!r}, "large.safetensors", revision={SHA_C!r})
print(whole.size, hashlib.sha256(open(path, "rb").read()).hexdigest())
"""


def test_older_client_goes_on_where_an_interrupted_download_ended(
    old_client: HubClient, live_scene: Scene
) -> None:
    content = approve_large_file(live_scene)
    (old_client.home / "part").write_bytes(content[:1_000_000])
    with breaking_line(old_client.endpoint.removesuffix("/hub"), after=2**40) as line:
        old_client.endpoint = f"{line.url}/hub"
        said = old_client.python_says(RESUME)
        assert said.split() == [str(len(content)), hashlib.sha256(content).hexdigest()]
        assert line.ranges == ["bytes=1000000-"]
