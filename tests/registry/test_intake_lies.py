"""The Hub lies, one test a lie: what the intake takes is what the Hub declared for one commit, or nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import huggingface_hub
import pytest

from registry import hub, intake, jobs, store
from registry.enums import JobKind, JobState
from registry.exceptions import HubError, HubUnreachable
from registry.hub import downloading
from registry.models import Blob, Job, Revision
from reviews.permissions import missing_for_approval
from tests.factories import World, make_approval, make_model, make_review, make_revision
from tests.sample_hub.running import running_hub
from tests.sample_hub.samples import tiny_model
from tests.sample_hub.store import SampleHubStore

MODEL_ID = "acme/tiny"


class Lying:
    """A sample Hub with one repository, and the ways to make it lie."""

    def __init__(self, root: Path, url: str, world: World) -> None:
        self.store, self.url, self.world = SampleHubStore(root), url, world
        self.base = self.store.create_repo(MODEL_ID)
        self.commit = self.store.commit(MODEL_ID, {**tiny_model(), "big.txt": b"word\n" * 50_000}, "Upload")

    def tell(self, **lies: Any) -> None:
        assert httpx.post(f"{self.url}/_lies", json=lies, trust_env=False).status_code == 200

    def intake(self, revision: str = "main", model_id: str = MODEL_ID) -> Job:
        """A whole intake job, as the worker runs it."""
        jobs.register(JobKind.INTAKE, intake.run, queue="network")
        model = make_model(self.world.team, model_id)
        job, _ = jobs.enqueue(
            actor=self.world.submitter,
            team=self.world.team,
            kind=JobKind.INTAKE,
            subject=f"intake:{model.pk}:{revision}:{time.monotonic_ns()}",
            title="Check",
            params={"model": model.pk, "requested_revision": revision},
        )
        jobs.run(job.pk)
        job.refresh_from_db()
        return job

    def refuses(self, words: str, revision: str = "main") -> Job:
        """The intake fails with these words and keeps nothing: no row, no byte."""
        job = self.intake(revision)
        assert job.state == JobState.FAILED, (job.state, job.error)
        assert words in job.error, job.error
        assert not Revision.objects.exists() and not Blob.objects.exists()
        kept = [path for path in store.root().rglob("*") if path.is_file()] if store.root().exists() else []
        assert kept == []
        return job

    def takes(self, revision: str = "main") -> Revision:
        job = self.intake(revision)
        assert job.state == JobState.SUCCEEDED, job.error
        return Revision.objects.latest("pk")


@pytest.fixture
def lying(transactional_db: None, world: World, tmp_path: Path, settings: Any) -> Iterator[Lying]:
    with running_hub(tmp_path / "hub") as url:
        settings.HUB_ENDPOINT = url
        settings.HUB_TIMEOUT_S = 2
        settings.HUB_FILE_GRACE_S = 20
        settings.HUB_RETRIES = 3
        yield Lying(tmp_path / "hub", url, world)
        huggingface_hub.close_session()


def test_truth_is_taken_with_its_provenance(lying: Lying) -> None:
    revision = lying.takes()
    assert revision.commit_sha == lying.commit
    assert revision.facts["provenance"]["on_default_branch"] is True
    assert revision.facts["provenance"]["author"] == "acme"
    assert revision.facts["hub_scan"]["status"] == "safe"
    assert revision.facts["hub_scan"]["at"]
    assert revision.files.count() == len(tiny_model()) + 2  # and .gitattributes
    assert revision.facts["formats"]["quarantined"] == []


# --- bytes -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["config.json", "model.safetensors"])
def test_wrong_bytes_of_the_right_size(lying: Lying, path: str) -> None:
    lying.tell(wrong_bytes=[path])
    assert lying.refuses(f"{path} does not have the bytes").error_code == "wrong_bytes"


def test_endless_body(lying: Lying) -> None:
    lying.tell(endless=["config.json"])
    assert lying.refuses("config.json: The Hub declared").error_code == "longer_than_declared"


def test_connection_breaks_once_and_the_rest_is_resumed(lying: Lying) -> None:
    lying.tell(broken=["big.txt"], broken_times=2)
    revision = lying.takes()
    assert revision.files.filter(path="big.txt", blob__size=250_000).exists()


def test_connection_always_breaks(lying: Lying, settings: Any) -> None:
    settings.HUB_RETRIES = 2
    lying.tell(broken=["config.json"])
    began = time.monotonic()
    lying.refuses("config.json")
    assert time.monotonic() - began < 60


def test_body_trickles_slower_than_the_slowest_speed(lying: Lying, settings: Any) -> None:
    settings.HUB_FILE_GRACE_S, settings.HUB_MIN_KBPS = 1, 1024
    lying.tell(trickle_s=0.02)
    began = time.monotonic()
    assert lying.refuses("too slowly").error_code == "hub_slow"
    assert time.monotonic() - began < 20


# --- commits ----------------------------------------------------------------------------------------------------------------


def test_answers_with_another_commit(lying: Lying) -> None:
    lying.tell(wrong_commit="e" * 40)
    assert lying.refuses("the Hub answered with commit eeeeeeeeeeee").error_code == "wrong_commit"


def test_a_commit_resolves_to_another_one(lying: Lying) -> None:
    lying.tell(moved={lying.commit: lying.base})
    assert lying.refuses("a branch may bear the name of a commit", lying.commit).error_code == "wrong_commit"


def test_branch_named_like_a_full_commit(lying: Lying) -> None:
    name = "d" * 40
    lying.tell(moved={name: lying.commit})
    job = lying.intake(name)
    assert job.state == JobState.FAILED and not Revision.objects.exists()


def test_branch_named_like_a_short_commit(lying: Lying) -> None:
    lying.store.set_branch(MODEL_ID, "deadbee", lying.commit)
    assert lying.refuses("imitates a commit", "deadbee").error_code == "wrong_commit"


def test_short_commit_is_resolved_by_us(lying: Lying) -> None:
    assert lying.takes(lying.commit[:10]).commit_sha == lying.commit


def test_upper_case_commit_is_resolved_by_us(lying: Lying) -> None:
    revision = lying.takes(lying.commit.upper())
    assert revision.commit_sha == lying.commit and revision.requested_revision == lying.commit.upper()
    assert any("was read as the commit" in f["message"] for f in revision.findings)


def test_branch_named_like_an_upper_case_commit(lying: Lying) -> None:
    """It leads elsewhere than the commit whose name it bears; nobody follows it."""
    lying.store.set_branch(MODEL_ID, lying.commit.upper(), lying.base)
    revision = lying.takes(lying.commit.upper())
    assert revision.commit_sha == lying.commit
    assert any("also has a branch of the name" in f["message"] for f in revision.findings)


def test_branch_named_like_an_upper_case_commit_that_is_none(lying: Lying) -> None:
    lying.store.set_branch(MODEL_ID, "DEADBEE", lying.commit)
    assert (
        lying.refuses("a branch of the name 'DEADBEE', which imitates one", "DEADBEE").error_code
        == "wrong_commit"
    )


def test_moved_tag_gives_another_commit_and_never_changes_the_first(lying: Lying) -> None:
    lying.store.tag(MODEL_ID, "v1", lying.commit)
    first = lying.takes("v1")
    second_commit = lying.store.commit(MODEL_ID, {"notes.txt": b"new"}, "More")
    lying.tell(moved={"v1": second_commit})
    second = lying.takes("v1")
    first.refresh_from_db()
    assert (first.commit_sha, second.commit_sha) == (lying.commit, second_commit)


def test_commit_of_a_pull_request_is_flagged_and_cannot_be_approved(lying: Lying) -> None:
    imposter = lying.store.commit(MODEL_ID, {"notes.txt": b"hi"}, "Please merge", None, lying.commit)
    lying.store.pull_request(MODEL_ID, 1, imposter)
    for asked in ("refs/pr/1", imposter):
        revision = lying.takes(asked)
        assert revision.commit_sha == imposter
        assert revision.facts["provenance"]["on_default_branch"] is False
        assert any(f["severity"] == "fail" and "pull request" in f["message"] for f in revision.findings)
    request = make_review(lying.world, revision, answered=True)
    missing = missing_for_approval(request, list(request.answers.all()), [], 0)
    assert any("default branch" in sentence for sentence in missing)


# --- names, lists and redirects ------------------------------------------------------------------------------------------


def test_deleted_and_created_again_is_another_model(lying: Lying) -> None:
    lying.takes()
    lying.store.delete_repo(MODEL_ID)
    lying.store.create_repo(MODEL_ID, internal_id="f" * 24)
    lying.store.commit(MODEL_ID, {**tiny_model(), "notes.txt": b"mine now"}, "Upload")
    job = lying.intake()
    assert (job.state, job.error_code) == (JobState.FAILED, "identity_changed")
    assert Revision.objects.count() == 1


def test_deleted_and_created_again_with_the_old_internal_id(lying: Lying) -> None:
    """A Hub that gives the new repository the old id, or none, still says when it was created."""
    lying.takes()
    lying.store.set_meta(MODEL_ID, created_at="2026-10-01T08:00:00.000Z")
    lying.store.commit(MODEL_ID, {"notes.txt": b"mine now"}, "Upload")
    job = lying.intake()
    assert (job.state, job.error_code) == (JobState.FAILED, "identity_changed")
    assert (
        "another day of creation (2026-10-01, it was 2026-09-01)" in job.error
        and Revision.objects.count() == 1
    )


def test_renamed_upstream_is_another_identity(lying: Lying) -> None:
    lying.takes()
    lying.store.create_repo("evil/tiny")
    lying.store.commit("evil/tiny", tiny_model(), "Upload")
    lying.tell(model_id=MODEL_ID, renamed_to="evil/tiny")
    job = lying.intake()
    assert (job.state, job.error_code) == (JobState.FAILED, "identity_changed")
    assert "evil/tiny" in job.error and Revision.objects.count() == 1


def test_first_intake_of_a_renamed_model_names_the_new_one(lying: Lying) -> None:
    lying.store.create_repo("new/tiny")
    lying.store.commit("new/tiny", tiny_model(), "Upload")
    lying.tell(model_id=MODEL_ID, renamed_to="new/tiny")
    assert lying.refuses("Submit it under its new name").error_code == "renamed"


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a//b", "a\\b", "con:x", "x\n.json", "a/./b"]
)
def test_path_tricks(lying: Lying, name: str) -> None:
    lying.tell(listed=[name])
    assert lying.refuses("a file name that is not allowed").error_code == "unsafe_path"


def test_lists_a_file_that_it_does_not_have(lying: Lying) -> None:
    lying.tell(listed=["ghost.json"])
    assert lying.refuses("ghost.json is in its list and not in its tree").error_code == "lists_disagree"


def test_lists_a_file_twice_over_that_it_does_not_have(lying: Lying, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both lists lie alike: then the file is asked for, and is not there."""
    true = hub.tree_of
    monkeypatch.setattr(hub, "tree_of", lambda *asked: {**true(*asked), "ghost.json": (10, "0" * 40)})
    lying.tell(listed=["ghost.json"])
    assert lying.refuses("ghost.json").error_code == "file_not_found"


@pytest.mark.parametrize("path", ["README.md", "big.txt"])
def test_leaves_a_file_out_of_the_list(lying: Lying, path: str) -> None:
    lying.tell(unlisted=[path])
    assert lying.refuses(f"{path} is in its tree and not in its list").error_code == "lists_disagree"


def test_lists_that_disagree_about_a_digest(lying: Lying, monkeypatch: pytest.MonkeyPatch) -> None:
    true = hub.tree_of
    monkeypatch.setattr(hub, "tree_of", lambda *asked: {**true(*asked), "big.txt": (250_000, "0" * 40)})
    assert lying.refuses("big.txt has another size or digest").error_code == "lists_disagree"


def test_lists_a_file_twice(lying: Lying) -> None:
    lying.tell(listed=["config.json"])
    assert lying.refuses("The Hub lists config.json twice").error_code == "listed_twice"


def test_lists_a_file_as_a_folder(lying: Lying) -> None:
    lying.tell(listed=["config.json/inside.txt"])
    assert lying.refuses("config.json as a file").error_code == "file_and_folder"


def test_leaves_the_weights_out_of_the_list(lying: Lying) -> None:
    lying.tell(unlisted=["model.safetensors"])
    assert lying.refuses("no weights in safetensors").error_code == "incomplete_repository"


def test_redirects_in_circles(lying: Lying) -> None:
    lying.tell(redirect_to=f"/{MODEL_ID}/resolve/{lying.commit}/config.json")
    assert lying.refuses("in circles").error_code == "redirect_loop"


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://example.com/x", "gopher://x"])
def test_redirects_to_another_scheme(lying: Lying, target: str) -> None:
    lying.tell(redirect_to=target)
    assert lying.refuses("not safe to follow").error_code == "bad_redirect"


def test_redirect_into_a_private_network_is_not_followed(settings: Any) -> None:
    settings.HUB_ENDPOINT = "https://hub.example.com"
    answer = httpx2.Response(302, headers={"location": "https://169.254.169.254/latest"})
    with pytest.raises(HubError, match="private network"):
        downloading._redirected("https://hub.example.com/a", answer, {}, "a")
    down = httpx2.Response(302, headers={"location": "http://hub.example.com/a"})
    with pytest.raises(HubError, match="not safe"):
        downloading._redirected("https://hub.example.com/a", down, {}, "a")


def test_token_does_not_follow_a_redirect_to_another_server() -> None:
    headers = {"authorization": "Bearer secret"}
    answer = httpx2.Response(302, headers={"location": "https://cdn.example.com/a"})
    downloading._redirected("https://hub.example.com/a", answer, headers, "a")
    assert headers == {}


def test_xet_headers_change_nothing(lying: Lying, tmp_path: Path, settings: Any) -> None:
    with running_hub(tmp_path / "hub", xet=True) as url:
        settings.HUB_ENDPOINT = url
        assert lying.takes().commit_sha == lying.commit


# --- time --------------------------------------------------------------------------------------------------------------------


def test_too_many_requests_is_waited_for(lying: Lying) -> None:
    lying.tell(status=429, status_times=2, retry_after_s=1)
    began = time.monotonic()
    assert lying.takes().commit_sha == lying.commit
    assert time.monotonic() - began >= 2


def test_too_many_requests_for_ever_ends(lying: Lying, settings: Any) -> None:
    settings.HUB_RETRIES = 1
    lying.tell(status=429, retry_after_s=1)
    assert lying.refuses("too many requests").error_code == "hub_busy"


def test_retry_after_of_a_day_is_not_waited_for(lying: Lying) -> None:
    lying.tell(status=429, retry_after_s=86400)
    began = time.monotonic()
    assert lying.refuses("it asks to wait 86400 seconds").error_code == "hub_busy"
    assert time.monotonic() - began < 15


def test_hub_that_is_silent(lying: Lying, settings: Any) -> None:
    settings.HUB_TIMEOUT_S = 1
    lying.tell(slow_s=3)
    assert lying.refuses("does not answer").error_code == "hub_unreachable"


# --- what a revision leads to ------------------------------------------------------------------------------------------


def test_edge_to_another_repository_blocks_until_it_is_approved(lying: Lying) -> None:
    other = "acme/base"
    lying.store.create_repo(other)
    base = lying.store.commit(other, tiny_model(), "Upload")
    lying.store.commit(
        MODEL_ID, {"adapter_config.json": b'{"base_model_name_or_path": "acme/base"}'}, "Adapter"
    )
    revision = lying.takes()
    [pin] = revision.facts["pins"]
    assert (pin["role"], pin["repo"], pin["commit_sha"], pin["approved"]) == (
        "adapter_base",
        other,
        base,
        False,
    )
    request = make_review(lying.world, revision, answered=True)
    missing = missing_for_approval(request, list(request.answers.all()), [], 0)
    assert any(f"acme/base@{base[:7]}, which this team has not approved" in sentence for sentence in missing)
    make_approval(lying.world, make_revision(lying.world.team, base, model_id=other))
    assert not any("leads to" in s for s in missing_for_approval(request, list(request.answers.all()), [], 0))


def test_edge_that_cannot_be_resolved_blocks(lying: Lying) -> None:
    lying.store.commit(
        MODEL_ID, {"adapter_config.json": b'{"base_model_name_or_path": "gone/base"}'}, "Adapter"
    )
    revision = lying.takes()
    [pin] = revision.facts["pins"]
    assert pin["commit_sha"] is None and "no model gone/base" in pin["why"]
    request = make_review(lying.world, revision, answered=True)
    missing = missing_for_approval(request, list(request.answers.all()), [], 0)
    assert any("could not be pinned" in sentence for sentence in missing)


def test_base_model_of_the_card_is_lineage_and_its_licence_is_compared(lying: Lying) -> None:
    other = "acme/base"
    lying.store.create_repo(other)
    lying.store.commit(
        other, {**tiny_model(), "README.md": b"---\nlicense: cc-by-nc-4.0\n---\n# Base\n"}, "Upload"
    )
    card = b"---\nlicense: apache-2.0\nbase_model: acme/base\n---\n# A model\n"
    lying.store.commit(MODEL_ID, {"README.md": card}, "Card")
    revision = lying.takes()
    assert [(p["role"], p["followed"]) for p in revision.facts["pins"]] == [("lineage", False)]
    assert any("forbids commercial use" in f["message"] for f in revision.findings)
    request = make_review(lying.world, revision, answered=True)
    assert missing_for_approval(request, list(request.answers.all()), [], 0) == []


def test_scan_result_of_the_hub_is_dated_evidence(lying: Lying) -> None:
    lying.store.set_meta(MODEL_ID, security={"big.txt": "unsafe"})
    revision = lying.takes()
    assert revision.facts["hub_scan"]["status"] == "unsafe"
    assert any(
        f["path"] == "big.txt" and "scanners call this file unsafe" in f["message"] for f in revision.findings
    )


def test_scan_that_is_not_told_is_not_safe(lying: Lying, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: Any) -> dict[str, str]:
        raise HubUnreachable("The Hub answered 500.")

    monkeypatch.setattr(hub, "scan_status", silent)
    assert lying.takes().facts["hub_scan"]["status"] == "error"


def test_lookup_warns_of_a_name_that_imitates_another() -> None:
    found = hub.HubRevision("meta-lIama/x", "a" * 40, "", "", "", "", "", False, None)
    assert any("meta-llama" in sentence for sentence in found.warnings)
