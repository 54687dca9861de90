"""Intake against a running Hub: what is recorded of a true one, and that a lying one leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from registry import hub as upstream
from registry import jobs, store
from registry.canonical import manifest_sha256, sha256_text
from registry.enums import JobKind
from registry.models import AuditEvent, Blob, Job, RegisteredModel, Revision, RevisionFile
from tests.factories import SHA_B, Api, World, make_approval, make_model, make_revision
from tests.registry.hubs import MODEL_ID, Hub
from tests.sample_hub.samples import bad_inputs


def intake(world: World, revision: str = "main", model_id: str = MODEL_ID) -> Job:
    """One intake job, run to its end in this thread."""
    job, _ = jobs.enqueue(
        actor=world.submitter,
        team=world.team,
        kind=JobKind.INTAKE,
        subject=f"{model_id}@{revision}",
        title=f"Intake of {model_id}",
        params={"model": make_model(world.team, model_id).pk, "requested_revision": revision},
    )
    jobs.run(job.pk)
    return Job.objects.get(pk=job.pk)


def stored_files() -> list[str]:
    root = store.root()
    return [p.name for p in root.rglob("*") if p.is_file()] if root.exists() else []


def assert_nothing_kept(job: Job, code: str, words: str) -> None:
    assert (job.state, job.error_code) == ("failed", code), job.error
    assert words in job.error and job.error.endswith((".", "?"))
    assert not Revision.objects.exists() and not RevisionFile.objects.exists() and not Blob.objects.exists()
    assert stored_files() == []
    assert not AuditEvent.objects.filter(verb="revision.recorded").exists()
    assert AuditEvent.objects.filter(verb="job.failed").count() == 1


def config_of(hub: Hub, **changes: Any) -> bytes:
    return json.dumps({**json.loads(hub.files["config.json"]), **changes}).encode()


# --- a true Hub --------------------------------------------------------------------------------------------------------


def test_branch_becomes_a_commit_with_manifest_and_facts(world: World, hub: Hub) -> None:
    job = intake(world)
    assert job.state == "succeeded", job.error
    assert [step["step"] for step in job.progress] == ["resolve", "download", "inspect", "trace", "record"]
    revision = Revision.objects.get()
    assert (revision.commit_sha, revision.requested_revision) == (hub.first, "main")
    rows = {f.path: (f.blob.size, f.blob_id) for f in revision.files.select_related("blob")}
    assert set(rows) == {*hub.files, ".gitattributes"}
    for path, content in hub.files.items():
        size, sha256 = rows[path]
        assert size == len(content)
        with store.verified(sha256, size) as file:
            assert file.read() == content
    assert revision.manifest_sha256 == manifest_sha256([(p, size, sha) for p, (size, sha) in rows.items()])
    assert revision.total_size == sum(size for size, _ in rows.values())
    assert {f.path for f in revision.files.all() if f.is_lfs} == {"model.safetensors"}


def test_card_config_labels_tokenizer_and_weights_are_read(world: World, hub: Hub) -> None:
    intake(world)
    revision = Revision.objects.get()
    assert revision.card_data["license"] == "apache-2.0" and revision.card_data["language"] == ["vi", "en"]
    assert revision.card_sha256 == sha256_text(revision.card_text)
    assert revision.label_mapping == {"0": "negative", "1": "positive"}
    assert (revision.pipeline_tag, revision.library_name, revision.license) == (
        "text-classification", "transformers", "apache-2.0",
    )  # fmt: skip
    assert revision.facts["config"]["architectures"] == ["BertForSequenceClassification"]
    assert revision.facts["tokenizer"]["vocab_size"] == 4 and revision.facts["tokenizer"]["max_length"] == 8
    assert revision.facts["weights"] == {"parameters": 4, "dtypes": {"F32": 4}, "files": 1}
    assert revision.facts["formats"]["quarantined"] == []
    assert (revision.remote_code_sha256, revision.code_audit) == (None, "not_applicable")
    model = RegisteredModel.objects.get()
    assert model.hub_internal_id and model.pipeline_tag == "text-classification"
    event = AuditEvent.objects.get(verb="revision.recorded")
    assert json.loads(event.body)["data"]["manifest_sha256"] == revision.manifest_sha256


@pytest.mark.parametrize("spelling", ["tag", "commit", "pull request", "branch"])
def test_every_way_to_name_a_revision_ends_at_its_commit(world: World, hub: Hub, spelling: str) -> None:
    hub.store.tag(MODEL_ID, "v1.0", hub.first)
    hub.store.pull_request(MODEL_ID, 1, hub.first)
    hub.store.set_branch(MODEL_ID, "feature/long-texts", hub.first)
    hub.commit(README__md=b"# Newer\n")
    name = {"tag": "v1.0", "commit": hub.first, "pull request": "refs/pr/1", "branch": "feature/long-texts"}[
        spelling
    ]
    assert intake(world, name).state == "succeeded"
    assert Revision.objects.get().commit_sha == hub.first


def test_second_intake_of_a_commit_downloads_nothing(world: World, hub: Hub) -> None:
    intake(world)
    before = len([r for r in hub.requests() if "/resolve/" in str(r)])
    assert intake(world, hub.first).state == "succeeded"
    assert len([r for r in hub.requests() if "/resolve/" in str(r)]) == before
    assert Revision.objects.count() == 1


def test_same_bytes_are_kept_once(world: World, hub: Hub) -> None:
    intake(world)
    hub.commit(README__md=b"# Another card\n")
    assert intake(world).state == "succeeded"
    assert Revision.objects.count() == 2
    assert (
        Blob.objects.count() == len(hub.files) + 2 == len(stored_files())
    )  # .gitattributes, and the second card


def fetched(hub: Hub, path: str) -> int:
    return len([r for r in hub.requests() if r["method"] == "GET" and r["path"].endswith(f"/{path}")])


def test_large_file_of_another_revision_is_not_fetched_again(world: World, hub: Hub) -> None:
    intake(world)
    place = store.path_of(hashlib.sha256(hub.files["model.safetensors"]).hexdigest())
    os.utime(place, (1, 1))
    inode = place.lstat().st_ino
    hub.commit(README__md=b"# Another card\n")
    assert intake(world).state == "succeeded"
    assert (fetched(hub, "model.safetensors"), fetched(hub, "README.md")) == (1, 2)
    assert {f.blob_id for f in RevisionFile.objects.filter(path="model.safetensors")} == {place.name}
    found = place.lstat()
    assert found.st_ino == inode and time.time() - found.st_mtime < 60  # young, and not copied


def test_killed_intake_goes_on_with_the_files_that_it_had(world: World, hub: Hub) -> None:
    """A worker that is killed cleans nothing up: its whole files lie in the store, and no row names them."""
    weights = hub.files["model.safetensors"]
    store.put([weights], size=len(weights))
    assert intake(world).state == "succeeded"
    assert fetched(hub, "model.safetensors") == 0


@pytest.mark.parametrize("true", [True, False], ids=["its beginning", "something else"])
def test_killed_intake_goes_on_in_the_middle_of_a_large_file(
    world: World, hub: Hub, monkeypatch: pytest.MonkeyPatch, true: bool
) -> None:
    """From the Hub's own bytes, and once more from the first when what lay there was not the file's beginning."""
    weights = hub.files["model.safetensors"]
    left = weights[:50] if true else bytes(50)
    digest = hashlib.sha256(weights).hexdigest()
    folder = store.root() / "tmp"
    folder.mkdir(parents=True)
    (folder / f"{digest}.part").write_bytes(left)
    real, came = upstream.download, []

    def watched(model_id: str, commit_sha: str, path: str, **more: Any) -> Iterator[bytes]:
        for chunk in real(model_id, commit_sha, path, **more):
            if path == "model.safetensors":
                came.append(chunk)
            yield chunk

    monkeypatch.setattr(upstream, "download", watched)
    assert intake(world).state == "succeeded"
    assert b"".join(came) == (weights[50:] if true else weights[50:] + weights)
    assert store.path_of(digest).read_bytes() == weights and not list(folder.iterdir())


def test_damaged_copy_in_the_store_is_fetched_again(world: World, hub: Hub) -> None:
    weights = hub.files["model.safetensors"]
    place = store.path_of(store.put([weights], size=len(weights)).sha256)
    place.chmod(0o644)
    place.write_bytes(weights[:-1] + b"?")
    assert intake(world).state == "succeeded"
    assert fetched(hub, "model.safetensors") == 1 and place.read_bytes() == weights


def test_progress_of_a_download_is_seen_while_it_runs(
    world: World, hub: Hub, api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the API and on the run's page, in the middle of a file."""
    seen: list[tuple[Any, str]] = []
    monkeypatch.setattr("registry.jobs.PROGRESS_S", 0)
    real = upstream.download

    def watched(model_id: str, commit_sha: str, path: str, **more: Any) -> Iterator[bytes]:
        for chunk in real(model_id, commit_sha, path, **more):
            yield chunk
            job = Job.objects.get()
            page = django_client(world).get(f"/runs/{job.pk}/").content.decode()
            seen.append((api(world.viewer).get(f"/jobs/{job.pk}").data["progress"][-1], page))

    monkeypatch.setattr(upstream, "download", watched)
    assert intake(world).state == "succeeded"
    total = sum(map(len, hub.files.values()))
    inside = [(step, page) for step, page in seen if 0 < step["done"] < step["total"]]
    assert inside and all(step["step"] == "download" and step["total"] >= total for step, _ in inside)
    assert [step["done"] for step, _ in seen] == sorted(step["done"] for step, _ in seen)
    for step, page in inside:
        assert f'value="{step["done"]}" max="{step["total"]}"' in page


def django_client(world: World) -> Client:
    browser = Client()
    browser.force_login(world.viewer.user)
    return browser


def test_moved_branch_is_another_revision(world: World, hub: Hub) -> None:
    intake(world)
    second = hub.commit(config__json=config_of(hub, hidden_size=4))
    assert intake(world).state == "succeeded"
    assert set(Revision.objects.values_list("commit_sha", flat=True)) == {hub.first, second}


# --- a Hub that lies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["config.json", "model.safetensors"], ids=["in git", "in lfs"])
def test_wrong_bytes_are_refused(world: World, hub: Hub, path: str) -> None:
    hub.lie(wrong_bytes=[path])
    assert_nothing_kept(intake(world), "wrong_bytes", f"{path} does not have the bytes that the Hub declared")


def test_file_of_another_commit_is_refused(world: World, hub: Hub) -> None:
    hub.lie(wrong_commit=SHA_B)
    assert_nothing_kept(intake(world), "wrong_commit", f"the Hub answered with commit {SHA_B[:12]}")


def test_commit_that_resolves_to_another_is_refused(world: World, hub: Hub) -> None:
    second = hub.commit(README__md=b"# Newer\n")
    hub.lie(moved={hub.first: second})
    assert_nothing_kept(intake(world, hub.first), "wrong_commit", "a branch may bear the name of a commit")


@pytest.mark.parametrize("path", ["README.md", "model.safetensors"])
def test_file_without_end_is_refused(world: World, hub: Hub, path: str) -> None:
    hub.lie(endless=[path])
    assert_nothing_kept(intake(world), "longer_than_declared", f"{path}: The Hub declared")


@pytest.mark.parametrize(
    ("status", "where", "code", "words"),
    [
        (429, "resolve", "hub_busy", "too many requests. Try again in a few minutes"),
        (429, "api", "hub_busy", "too many requests"),
        (500, "resolve", "hub_unreachable", "answered 500"),
        (503, "api", "hub_unreachable", "error 503"),
        (403, "resolve", "gated", "does not let Assay read"),
    ],
)
def test_refusing_hub_is_named_as_the_cause(
    world: World, hub: Hub, settings: Settings, status: int, where: str, code: str, words: str
) -> None:
    settings.HUB_RETRIES = 0  # tests/registry/test_intake_lies.py is about trying again
    hub.lie(status=status, status_on=where)
    assert_nothing_kept(intake(world), code, words)


def test_silent_hub_is_unreachable(world: World, hub: Hub, settings: Settings) -> None:
    settings.HUB_TIMEOUT_S = 1
    hub.lie(slow_s=3)
    assert_nothing_kept(intake(world), "hub_unreachable", "does not answer. Check the network of this server")


def test_absent_hub_is_unreachable(world: World, settings: Settings) -> None:
    settings.HUB_ENDPOINT = "http://127.0.0.1:1"
    assert_nothing_kept(intake(world), "hub_unreachable", "http://127.0.0.1:1 does not answer")


def test_file_that_vanishes_midway_takes_the_others_with_it(world: World, hub: Hub) -> None:
    """Files that were already downloaded do not stay behind."""
    hub.lie(wrong_bytes=["tokenizer_config.json"])  # the last path in the listing
    assert_nothing_kept(intake(world), "wrong_bytes", "Nothing was kept")


def test_failed_intake_leaves_the_bytes_of_other_revisions_alone(world: World, hub: Hub) -> None:
    intake(world)
    kept = sorted(stored_files())
    hub.commit(zz__json=b'{"new": true}')
    hub.lie(wrong_bytes=["zz.json"])
    assert intake(world).error_code == "wrong_bytes"
    assert sorted(stored_files()) == kept and Revision.objects.count() == 1
    hub.lie()
    assert intake(world).state == "succeeded"


# --- names that do not exist -------------------------------------------------------------------------------------------


def test_unknown_model_and_unknown_revision_are_said_apart(world: World, hub: Hub) -> None:
    assert_nothing_kept(
        intake(world, model_id="acme/nothing"), "model_not_found", "There is no model acme/nothing"
    )
    job = intake(world, "nightly")
    assert job.error_code == "revision_not_found" and "has no revision 'nightly'" in job.error


def test_private_model_looks_unknown(world: World, hub: Hub) -> None:
    hub.store.set_meta(MODEL_ID, private=True)
    assert_nothing_kept(intake(world), "model_not_found", "or it is private")


def test_recreated_repository_is_somebody_elses(world: World, hub: Hub) -> None:
    intake(world)
    hub.store.delete_repo(MODEL_ID)
    hub.store.create_repo(MODEL_ID, internal_id="f" * 24)
    hub.store.commit(MODEL_ID, hub.files | {"README.md": b"# Taken over\n"}, "Add the model")
    job = intake(world)
    assert (job.state, job.error_code) == ("failed", "identity_changed")
    assert "deleted and created again" in job.error and Revision.objects.count() == 1


# --- repositories that lack something ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("acme/no-config", "has no config.json"),
        ("acme/no-tokenizer", "has no tokenizer files"),
        ("acme/no-safetensors", "has no weights in safetensors"),
    ],
)
def test_incomplete_repository_is_refused_before_a_byte(
    world: World, hub: Hub, name: str, words: str
) -> None:
    hub.store.create_repo(name)
    hub.store.commit(name, bad_inputs()[name], "Upload")
    assert_nothing_kept(intake(world, model_id=name), "incomplete_repository", words)
    assert not [r for r in hub.requests() if "/resolve/" in str(r)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("acme/no-card", "The repository has no model card."),
        ("acme/no-card-yaml", "The model card has no YAML header"),
    ],
)
def test_missing_card_is_a_finding_for_people_not_a_failure(
    world: World, hub: Hub, name: str, words: str
) -> None:
    hub.store.create_repo(name)
    hub.store.commit(name, bad_inputs()[name], "Upload")
    assert intake(world, model_id=name).state == "succeeded"
    revision = Revision.objects.get()
    assert revision.card_data == {} and revision.license == ""
    assert any(f["message"].startswith(words) and f["severity"] == "warn" for f in revision.findings)


def safetensors(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"config__json": b"{"}, "config.json is not valid JSON"),
        ({"config__json": b"[1]"}, "config.json holds list, not a JSON object"),
        ({"config__json": b'{"a": 1, "a": 2}'}, "the key 'a' twice"),
        ({"config__json": b'{"a": NaN}'}, "contains NaN, which is not JSON"),
        ({"config__json": b'{"a": ' * 40 + b"1" + b"}" * 40}, "nested deeper than 32 levels"),
        ({"tokenizer__json": b"[" * 100_000}, "tokenizer.json is not valid JSON"),
        ({"config__json": '{"a": "ü"}'.encode("latin-1")}, "is not UTF-8 text"),
        ({"config__json": b'{"a": "\\u0000"}'}, "contains a NUL character"),
        ({"tokenizer__json": b"not json"}, "tokenizer.json is not valid JSON"),
        ({"model__safetensors": b"short"}, "is too short to be safetensors"),
        ({"model__safetensors": struct.pack("<Q", 2**60)}, "which cannot be"),
        ({"model__safetensors": safetensors(b"{not json}")}, "is not JSON"),
        ({"model__safetensors": safetensors({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"1234")},
         "does not fit its shape"),
        ({"model__safetensors": safetensors({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"123456")},
         "bytes that belong to no tensor"),
    ],
)  # fmt: skip
def test_file_that_is_not_what_its_name_says_is_refused(
    world: World, hub: Hub, change: dict[str, bytes], words: str
) -> None:
    hub.commit(**change)
    assert_nothing_kept(intake(world), "bad_document", words)


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("MAX_FILES", 2, "at most 2 are accepted (setting ASSAY_MAX_FILES)"),
        ("MAX_FILE_BYTES", 100, "over the limit ASSAY_MAX_FILE_MB"),
        ("MAX_REVISION_BYTES", 100, "larger than the limit ASSAY_MAX_REVISION_MB"),
    ],
)
def test_limits_are_kept_before_a_byte(
    world: World, hub: Hub, settings: Settings, limit: str, value: int, words: str
) -> None:
    setattr(settings, limit, value)
    job = intake(world)
    assert job.state == "failed" and words in job.error and stored_files() == []
    assert not [r for r in hub.requests() if "/resolve/" in str(r)]


# --- what people must look at ------------------------------------------------------------------------------------------


def swapped(hub: Hub) -> bytes:
    return config_of(
        hub, id2label={"0": "positive", "1": "negative"}, label2id={"positive": 0, "negative": 1}
    )


def test_swapped_labels_are_flagged_against_the_approved_revision(world: World, hub: Hub) -> None:
    intake(world)
    make_approval(world, Revision.objects.get())
    hub.commit(config__json=swapped(hub))
    assert intake(world).state == "succeeded"  # valid JSON: only people can say no
    revision = Revision.objects.latest("pk")
    assert revision.facts["labels"] == {"labels": 2, "changed": True}
    (finding,) = [f for f in revision.findings if f["severity"] == "fail"]
    assert finding["message"] == (
        "The label mapping changed: it was 0=negative, 1=positive at the last approved revision and is "
        "0=positive, 1=negative here."
    )


def test_swapped_labels_are_no_finding_without_an_approval(world: World, hub: Hub) -> None:
    hub.commit(config__json=swapped(hub))
    intake(world)
    assert Revision.objects.get().facts["labels"]["changed"] is False


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"modeling_tiny__py": b"print('hello')\n"}, None),
        ({"config__json": {"auto_map": {"AutoModel": "modeling_tiny.Tiny"}}}, "auto_map"),
        ({"config__json": {"trust_remote_code": True}}, "trust_remote_code"),
        ({"tokenizer_config__json": b'{"auto_map": {"AutoTokenizer": ["x.Y", null]}}'}, "tokenizer.auto_map"),
    ],
)
def test_code_in_any_form_waits_for_its_audit(
    world: World, hub: Hub, change: dict[str, Any], key: str | None
) -> None:
    hub.commit(**{k: config_of(hub, **v) if isinstance(v, dict) else v for k, v in change.items()})
    assert intake(world).state == "succeeded"
    revision = Revision.objects.get()
    assert revision.code_audit == "pending" and len(revision.remote_code_sha256 or "") == 64
    assert any("security auditor" in f["advice"].lower() for f in revision.findings)


def test_digest_of_code_follows_the_code(world: World, hub: Hub) -> None:
    digests = set()
    for content in (b"print(1)\n", b"print(2)\n"):
        hub.commit(modeling__py=content)
        intake(world)
        digests.add(Revision.objects.latest("pk").remote_code_sha256)
    assert len(digests) == 2


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("pytorch_model.bin", b"PK\x03\x04" + b"\x00" * 20_000),
        ("weights.txt", b"\x80\x04\x95" + b"\x00" * 64),
        ("tool.exe", b"MZ" + b"\x00" * 64),
        ("archive.tgz", b"\x1f\x8b" + b"\x00" * 64),
        ("notes.unknown", b"hello"),
    ],
)
def test_dangerous_formats_are_quarantined_by_content_not_by_name(
    world: World, hub: Hub, path: str, content: bytes
) -> None:
    hub.store.commit(MODEL_ID, {path: content}, "Add a file")
    assert intake(world).state == "succeeded"
    revision = Revision.objects.get()
    assert revision.facts["formats"]["quarantined"] == [path]
    assert RevisionFile.objects.filter(revision=revision, path=path).exists()  # kept as evidence


def test_yaml_bomb_in_the_card_is_a_finding(world: World, hub: Hub) -> None:
    bomb = b"---\na: &a [x, x]\nb: &b [*a, *a]\nlicense: mit\n---\n# Hi\n"
    hub.commit(README__md=bomb)
    assert intake(world).state == "succeeded"
    revision = Revision.objects.get()
    assert revision.card_data == {} and any("aliases" in f["message"] for f in revision.findings)


def test_intake_that_is_cancelled_midway_keeps_nothing(
    world: World, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from registry import intake as work

    real: Callable[..., Any] = work.inspect

    def cancelled_meanwhile(*args: Any) -> Any:
        job = Job.objects.get()
        jobs.cancel(actor=world.submitter, job=job)
        return real(*args)

    monkeypatch.setattr(work, "inspect", cancelled_meanwhile)
    monkeypatch.setattr(jobs.Running, "check", beating_check)
    job = intake(world)
    assert job.state == "cancelled" and stored_files() == [] and not Revision.objects.exists()


def beating_check(running: jobs.Running) -> None:
    """As if a heartbeat came before each step."""
    from registry.exceptions import JobCancelled

    running.beat()
    if running.cancelled.is_set():
        raise JobCancelled


def test_revision_of_another_team_is_not_reused(world: World, hub: Hub) -> None:
    make_revision(world.other.in_team, hub.first)
    assert intake(world).state == "succeeded"
    assert Revision.objects.filter(model__team=world.team).count() == 1
