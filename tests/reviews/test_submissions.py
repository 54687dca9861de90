"""Submitting: what the Hub is asked first, what is refused before anything is written, and what the checks lead to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings

from registry import jobs
from registry.enums import JobKind
from registry.models import AuditEvent, Job, RegisteredModel, Revision
from reviews.models import ReviewRequest, Vote
from reviews.services.deciding import request_changes
from tests.factories import Api, World, make_approval, make_golden_set, make_review
from tests.registry.hubs import MODEL_ID, Hub
from tests.sample_hub.samples import bad_inputs

Clients = Callable[..., Api]


def submission(**changed: Any) -> dict[str, Any]:
    return {
        "model_id": MODEL_ID, "use_case": "Sort customers' messages by mood", "environment": "staging",
        "data_class": "internal", **changed,
    }  # fmt: skip


def run_intake() -> Job:
    """The worker's part, in this thread."""
    job = Job.objects.filter(kind=JobKind.INTAKE).latest("pk")
    jobs.run(job.pk)
    return Job.objects.get(pk=job.pk)


def assert_nothing_written() -> None:
    assert (
        not RegisteredModel.objects.exists()
        and not ReviewRequest.objects.exists()
        and not Job.objects.exists()
    )
    assert not AuditEvent.objects.exclude(verb="token.created").exists()


# --- looking up --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed", [MODEL_ID, f"https://huggingface.co/{MODEL_ID}", f"huggingface.co/{MODEL_ID}/tree/main"]
)
def test_lookup_shows_what_the_hub_says_and_writes_nothing(
    world: World, api: Clients, hub: Hub, typed: str
) -> None:
    answer = api(world.submitter).get(f"/lookup?model_id={typed}")
    assert answer.status == 200
    assert answer.data == {
        "model_id": MODEL_ID, "commit_sha": hub.first, "read_as": "branch or tag",
        "pipeline_tag": "text-classification", "license": "apache-2.0",
        "size": answer.data["size"], "files": len(hub.files) + 1, "blockers": [], "warnings": [],
    }  # fmt: skip
    assert_nothing_written()


def test_lookup_says_what_blocks(world: World, api: Clients, hub: Hub) -> None:
    hub.store.create_repo("acme/empty")
    blockers = api(world.submitter).get("/lookup?model_id=acme/empty").data["blockers"]
    assert len(blockers) == 3 and all(sentence.endswith(".") for sentence in blockers)


@pytest.mark.parametrize(
    ("typed", "status", "code"),
    [
        ("acme/unknown", 422, "model_not_found"),
        (f"{MODEL_ID}&revision=nightly", 422, "revision_not_found"),
        ("", 422, "bad_model_id"),
        ("acme", 422, "bad_model_id"),
        ("a/b/c", 422, "bad_model_id"),
    ],
)
def test_lookup_of_what_is_not_there(
    world: World, api: Clients, hub: Hub, typed: str, status: int, code: str
) -> None:
    answer = api(world.submitter).get(f"/lookup?model_id={typed}")
    assert (answer.status, answer.code) == (status, code)


# --- submitting --------------------------------------------------------------------------------------------------------


def test_submission_opens_a_request_and_its_intake(world: World, api: Clients, hub: Hub) -> None:
    answer = api(world.submitter).post("/reviews", submission(owner="The service desk"))
    assert answer.status == 201
    assert (answer.data["status"], answer.data["requested_revision"], answer.data["round"]) == (
        "submitted",
        "main",
        1,
    )
    assert (answer.data["commit_sha"], answer.data["submitted_by"], answer.data["owner"]) == (
        None, "submitter", "The service desk",
    )  # fmt: skip
    job = Job.objects.get()
    assert (job.kind, job.state, job.pk) == ("intake", "queued", answer.data["intake_job"])
    asked = ReviewRequest.objects.get()
    assert asked.template and asked.checklist == asked.template.items and len(asked.checklist) == 48
    assert asked.checklist_version == asked.template.label == "model-card-review/1"
    verbs = AuditEvent.objects.exclude(verb="token.created").order_by("seq").values_list("verb", flat=True)
    assert list(verbs) == [
        "template.version_added",
        "job.requested",
        "review.submitted",
    ]  # its first use writes the template


def test_finished_intake_opens_the_review_and_measures(world: World, api: Clients, hub: Hub) -> None:
    golden = make_golden_set(world.submitter)
    pk = api(world.submitter).post("/reviews", submission()).data["id"]
    assert run_intake().state == "succeeded"
    answer = api(world.viewer).get(f"/reviews/{pk}")
    assert (answer.data["status"], answer.data["commit_sha"]) == ("in_review", hub.first)
    subjects = set(Job.objects.exclude(kind="intake").values_list("kind", "subject", "state", "queue"))
    revision = Revision.objects.get()
    assert subjects == {
        ("benchmark", f"revision:{revision.pk}:benchmark", "queued", "cpu"),
        ("evaluation", f"revision:{revision.pk}:evaluation:{golden.pk}", "queued", "cpu"),
    }


def test_failed_intake_sends_the_request_back_with_the_sentence(world: World, api: Clients, hub: Hub) -> None:
    client = api(world.submitter)
    pk = client.post("/reviews", submission()).data["id"]
    hub.lie(wrong_bytes=["config.json"])
    assert run_intake().state == "failed"
    answer = client.get(f"/reviews/{pk}")
    assert answer.data["status"] == "changes_requested"
    assert answer.data["problem"].startswith("config.json does not have the bytes that the Hub declared")
    hub.lie()
    again = client.post(f"/reviews/{pk}/resubmit", {"use_case": "Sort customers' messages, second try"})
    assert (again.status, again.data["status"], again.data["round"]) == (200, "submitted", 2)
    assert run_intake().state == "succeeded"
    assert client.get(f"/reviews/{pk}").data["status"] == "in_review"


def test_cancelled_intake_sends_the_request_back(world: World, api: Clients, hub: Hub) -> None:
    client = api(world.submitter)
    answer = client.post("/reviews", submission())
    client.post(f"/jobs/{answer.data['intake_job']}/cancel")
    found = client.get(f"/reviews/{answer.data['id']}").data
    assert (found["status"], found["problem"]) == (
        "changes_requested",
        "Cancelled by submitter before it started.",
    )


def test_swapped_labels_are_sent_to_review_with_the_finding(world: World, api: Clients, hub: Hub) -> None:
    client = api(world.submitter)
    client.post("/reviews", submission())
    run_intake()
    make_approval(world, Revision.objects.get(), environment="production")
    swapped = hub.files["config.json"].replace(b'"negative"', b'"?"').replace(b'"positive"', b'"negative"')
    hub.commit(config__json=swapped.replace(b'"?"', b'"positive"'))
    client.post("/reviews", submission())
    run_intake()
    found = client.get(f"/models/{MODEL_ID}/revisions").data["results"][0]
    assert [f["severity"] for f in found["findings"] if "label mapping changed" in f["message"]] == ["fail"]


def test_two_submissions_of_one_branch_share_the_intake(world: World, api: Clients, hub: Hub) -> None:
    client = api(world.submitter)
    first = client.post("/reviews", submission())
    second = client.post("/reviews", submission(environment="production"))
    assert first.data["intake_job"] == second.data["intake_job"]
    run_intake()
    assert {r.status for r in ReviewRequest.objects.all()} == {"in_review"}


def test_same_question_twice_is_refused_while_it_is_open(world: World, api: Clients, hub: Hub) -> None:
    client = api(world.submitter)
    first = client.post("/reviews", submission())
    run_intake()
    answer = client.post("/reviews", submission(revision=hub.first))
    assert (answer.status, answer.code) == (409, "already_open")
    assert answer.error["details"]["review"] == first.data["id"]


def test_same_question_in_the_same_minute_ends_in_one_review(world: World, api: Clients, hub: Hub) -> None:
    """Before the intake has run nobody knows that both mean the same commit: the second is sent back with the reason."""
    client = api(world.submitter)
    for _ in range(2):
        assert client.post("/reviews", submission()).status == 201
    run_intake()
    assert sorted(r.status for r in ReviewRequest.objects.all()) == ["changes_requested", "in_review"]
    assert (
        "is already under review for staging" in ReviewRequest.objects.get(status="changes_requested").problem
    )


# --- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model_id",
    ["", " ", "acme", "acme/", "/x", "a/b/c", "acme/../x", "../etc/passwd", "acme/x..y", "acme/a b", "acme /x", "acme/x\ty",
     "acme/-x", "acme/x-", "acme/x--y", ".acme/x", "acme/x.", "acme/ü", "acme/x%20y", "acme/x?y", "acme/x#y", "acme/x\\y",
     "x" * 300, "a/" + "b" * 300, "a" * 97 + "/b", "https://", "https://evil.example/a/b/c/d", "file:///etc/passwd",
     "acme/x@main", "acme/<script>", "🤗/x"],
)  # fmt: skip
def test_bad_model_id_is_refused_with_the_cure(
    world: World, api: Clients, model_id: str, settings: Settings
) -> None:
    settings.HUB_ENDPOINT = "http://127.0.0.1:1"  # nobody may even be asked
    answer = api(world.submitter).post("/reviews", submission(model_id=model_id))
    assert answer.status == 422 and answer.code in ("bad_model_id", "invalid_input")
    assert_nothing_written()


@pytest.mark.parametrize(
    "revision",
    [
        "..",
        "a..b",
        "-x",
        "a b",
        "x" * 300,
        "a//b",
        "~1",
        "HEAD^",
        "a:b",
        "a\\b",
        "@{1}",
        "ü",
    ],
)
def test_bad_revision_is_refused_with_the_cure(
    world: World, api: Clients, revision: str, settings: Settings
) -> None:
    settings.HUB_ENDPOINT = "http://127.0.0.1:1"
    answer = api(world.submitter).post("/reviews", submission(revision=revision))
    assert answer.status == 422 and answer.code in ("bad_revision", "invalid_input")
    assert_nothing_written()


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"use_case": ""}, "use_case"),
        ({"use_case": "too short"}, "use_case"),
        ({"use_case": "x" * 4001}, "use_case"),
        ({"environment": "prod"}, "environment"),
        ({"environment": ""}, "environment"),
        ({"data_class": "secret"}, "data_class"),
        ({"owner": "x" * 121}, "owner"),
    ],
)
def test_bad_field_is_named(
    world: World, api: Clients, changed: dict[str, Any], field: str, settings: Settings
) -> None:
    settings.HUB_ENDPOINT = "http://127.0.0.1:1"
    answer = api(world.submitter).post("/reviews", submission(**changed))
    assert answer.status == 422
    assert field in answer.error["details"] or answer.error["details"].get("field") == field
    assert_nothing_written()


@pytest.mark.parametrize("name", ["acme/no-config", "acme/no-tokenizer", "acme/no-safetensors"])
def test_incomplete_repository_is_refused_at_the_desk(
    world: World, api: Clients, hub: Hub, name: str
) -> None:
    hub.store.create_repo(name)
    hub.store.commit(name, bad_inputs()[name], "Upload")
    answer = api(world.submitter).post("/reviews", submission(model_id=name))
    assert (answer.status, answer.code) == (422, "incomplete_repository")
    assert answer.error["details"] == {"field": "model_id"}
    assert_nothing_written()


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"model_id": "acme/unknown"}, 422, "model_not_found"),
        ({"revision": "nightly"}, 422, "revision_not_found"),
        ({"revision": "f" * 40}, 422, "revision_not_found"),
    ],
)
def test_what_the_hub_does_not_have_is_refused(
    world: World, api: Clients, hub: Hub, changed: dict[str, str], status: int, code: str
) -> None:
    answer = api(world.submitter).post("/reviews", submission(**changed))
    assert (answer.status, answer.code) == (status, code)
    assert_nothing_written()


def test_unreachable_hub_is_said_and_nothing_is_written(
    world: World, api: Clients, settings: Settings
) -> None:
    settings.HUB_ENDPOINT = "http://127.0.0.1:1"
    answer = api(world.submitter).post("/reviews", submission())
    assert (answer.status, answer.code) == (424, "hub_unreachable")
    assert_nothing_written()


def test_busy_hub_is_said_and_nothing_is_written(world: World, api: Clients, hub: Hub) -> None:
    hub.lie(status=429, status_on="api")
    answer = api(world.submitter).post("/reviews", submission())
    assert (answer.status, answer.code) == (424, "hub_busy")
    assert_nothing_written()


@pytest.mark.parametrize("role", ["viewer", "reviewer", "security_auditor", "release_manager", "auditor"])
def test_only_submitters_and_admins_submit(world: World, api: Clients, hub: Hub, role: str) -> None:
    answer = api(world.by_role(role)).post("/reviews", submission())
    assert (answer.status, answer.code) == (403, "role_missing")
    assert_nothing_written()


# --- taking back, sending again ----------------------------------------------------------------------------------------


def test_withdrawn_submission_stays_withdrawn_when_its_intake_ends(
    world: World, api: Clients, hub: Hub
) -> None:
    client = api(world.submitter)
    pk = client.post("/reviews", submission()).data["id"]
    assert client.post(f"/reviews/{pk}/withdraw").data["status"] == "withdrawn"
    run_intake()
    assert client.get(f"/reviews/{pk}").data["status"] == "withdrawn"
    assert not Job.objects.exclude(kind="intake").exists()  # nobody waits for a measurement any more
    assert client.post(f"/reviews/{pk}/withdraw").code == "wrong_state"


def test_only_the_submitter_takes_back(world: World, api: Clients) -> None:
    review = make_review(world, status="changes_requested")
    answer = api(world.admin).post(f"/reviews/{review.pk}/withdraw")
    assert (answer.status, answer.code) == (403, "not_submitter")


@pytest.mark.parametrize("role", ["viewer", "reviewer", "security_auditor", "release_manager", "auditor"])
def test_only_submitters_and_admins_send_again(world: World, api: Clients, role: str) -> None:
    review = make_review(world, status="changes_requested")
    answer = api(world.by_role(role)).post(f"/reviews/{review.pk}/resubmit")
    assert (answer.status, answer.code) == (403, "role_missing")


def test_who_sends_it_again_is_its_last_editor(world: World, api: Clients, hub: Hub) -> None:
    pk = api(world.submitter).post("/reviews", submission()).data["id"]
    run_intake()
    request_changes(actor=world.reviewer, request_pk=pk, reason="Please pin the data set.")
    assert api(world.admin).post(f"/reviews/{pk}/resubmit").status == 200
    found = ReviewRequest.objects.get(pk=pk)
    assert (found.submitted_by, found.edited_by) == (world.submitter.user, world.admin.user)


def test_resubmission_is_a_new_round_in_which_earlier_votes_do_not_count(
    world: World, api: Clients, hub: Hub
) -> None:
    client = api(world.submitter)
    pk = client.post("/reviews", submission()).data["id"]
    run_intake()
    request_changes(actor=world.reviewer, request_pk=pk, reason="Please pin a tag.")
    hub.store.tag(MODEL_ID, "v1.0", hub.first)
    again = client.post(f"/reviews/{pk}/resubmit", {"revision": "v1.0"})
    assert (again.data["round"], again.data["requested_revision"], again.data["commit_sha"]) == (
        2,
        "v1.0",
        None,
    )
    run_intake()
    assert client.get(f"/reviews/{pk}").data["status"] == "in_review"
    assert not Vote.objects.filter(round=2).exists()


def test_resubmission_is_for_requests_that_were_sent_back(world: World, api: Clients, hub: Hub) -> None:
    client = api(world.submitter)
    pk = client.post("/reviews", submission()).data["id"]
    assert client.post(f"/reviews/{pk}/resubmit").code == "wrong_state"
