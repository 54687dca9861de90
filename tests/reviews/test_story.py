"""A model's life through the API, from a branch on the Hub to a rollback, as each role types it."""

from __future__ import annotations

from collections.abc import Callable

from registry import audit, jobs
from registry.enums import EvidenceKind, Role
from registry.models import AuditEvent, Job, Revision
from tests.factories import Api, World, an_answer, make_evidence, make_member
from tests.registry.hubs import MODEL_ID, Hub

MODEL = f"/models/{MODEL_ID}"
PRODUCTION = f"{MODEL}/channels/production"


def work() -> None:
    """The worker's part: every queued intake runs; measurements are cancelled, their figures are given by `measure`."""
    for job in Job.objects.filter(state="queued", kind="intake"):
        assert jobs.run(job.pk) == "succeeded"


def measure(world: World, commit_sha: str) -> None:
    for job in Job.objects.filter(state="queued"):
        jobs.cancel(actor=world.admin, job=job)
    for kind in EvidenceKind:
        make_evidence(world.submitter, Revision.objects.get(commit_sha=commit_sha), kind)


def test_life_of_a_model(world: World, api: Callable[..., Api], hub: Hub) -> None:
    # `author` may also review: four eyes are about the person, not about the role.
    author = make_member(world.team, Role.SUBMITTER, Role.REVIEWER)
    submitter, reviewer, cosigner = api(author), api(world.reviewer), api(world.security_auditor)
    engineer, releaser, admin = api(world.viewer, ["read"]), api(world.release_manager), api(world.admin)

    def approve(commit_sha: str) -> int:
        review = submitter.post("/reviews", {
            "model_id": MODEL_ID, "revision": "main", "use_case": "Sort customers' messages by mood",
            "environment": "production", "data_class": "internal",
        })  # fmt: skip
        assert review.status == 201
        pk: int = review.data["id"]
        work()
        measure(world, commit_sha)
        page = reviewer.get(f"/reviews/{pk}").data
        assert (page["status"], page["commit_sha"]) == ("in_review", commit_sha)
        record = {
            "monitoring": [{"metric": "accuracy", "op": ">=", "threshold": 0.8}],
            "rollback_target": "The people who sorted before.",
            "fallback": "People sort by hand.",
            "data_policy": "Texts only; nothing is kept.",
        }
        assert reviewer.put(f"/reviews/{pk}/record", record).status == 200
        answers = {item["key"]: an_answer(item) for item in page["checklist"]}
        seen = reviewer.put(f"/reviews/{pk}/answers", {"answers": answers}).data["content_sha256"]
        own = submitter.post(f"/reviews/{pk}/decision", {"decision": "approved"})
        assert (own.status, own.code) == (403, "four_eyes")
        decided = reviewer.post(f"/reviews/{pk}/decision", {"decision": "approved", "content_sha256": seen})
        assert (decided.status, decided.data["status"], decided.data["votes_summary"]["given"]) == (
            200,
            "in_review",
            1,
        )
        decided = cosigner.post(f"/reviews/{pk}/decision", {"decision": "approved", "content_sha256": seen})
        assert (decided.status, decided.data["status"], decided.data["decision_by"]) == (
            200,
            "approved",
            "security_auditor",
        )
        return pk

    # Nobody has heard of it.
    assert engineer.get(f"{MODEL}/approved").code == "model_unknown"
    # The first version is submitted, reviewed by somebody else, and released.
    approve(hub.first)
    assert engineer.get(f"{MODEL}/approved").data["commit_sha"] == hub.first
    moved = releaser.post(f"{PRODUCTION}/moves", {"commit_sha": hub.first, "reason": "First release"})
    assert (moved.status, moved.data["from_commit_sha"], moved.data["commit_sha"]) == (201, None, hub.first)
    # The branch moves on the Hub; what is approved does not.
    second = hub.commit(README__md=hub.files["README.md"] + b"\nBetter.\n")
    assert engineer.get(f"{MODEL}/approved").data["commit_sha"] == hub.first
    not_yet = releaser.post(f"{PRODUCTION}/moves", {"commit_sha": second, "reason": "It is newer"})
    assert (not_yet.status, not_yet.code) == (404, "revision_unknown")
    # The second version goes the same way.
    approve(second)
    releaser.post(f"{PRODUCTION}/moves", {"commit_sha": second, "reason": "Better on the golden set"})
    assert engineer.get(f"{MODEL}/approved?channel=production").data["commit_sha"] == second
    # A third is rejected, and can go nowhere.
    third = hub.commit(README__md=b"---\nlicense: mit\n---\n# Another\n")
    bad = submitter.post("/reviews", {
        "model_id": MODEL_ID, "use_case": "Sort customers' messages by mood", "environment": "production",
        "data_class": "internal",
    }).data["id"]  # fmt: skip
    work()
    rejected = reviewer.post(
        f"/reviews/{bad}/decision", {"decision": "rejected", "reason": "The licence changed."}
    )
    assert rejected.data["status"] == "rejected"
    refused = releaser.post(f"{PRODUCTION}/moves", {"commit_sha": third, "reason": "Try it anyway"})
    assert (refused.status, refused.code) == (404, "not_approved")
    # One action takes production back, with a reason that stays.
    back = admin.post(f"{PRODUCTION}/rollback", {"reason": "Customers complain about the second"})
    assert (back.status, back.data["kind"], back.data["commit_sha"]) == (201, "rollback", hub.first)
    assert engineer.get(f"{MODEL}/approved").data["commit_sha"] == hub.first
    history = engineer.get(PRODUCTION).data["moves"]
    assert (history[0]["by"], history[0]["reason"]) == ("admin", "Customers complain about the second")
    # And the log tells all of it, in order, and can prove that nobody changed it.
    verbs = [
        e.verb
        for e in AuditEvent.objects.order_by("seq")
        if e.verb.startswith(("approval.granted", "channel."))
    ]
    assert verbs == [
        "approval.granted", "channel.moved", "approval.granted", "channel.moved", "channel.rolled_back",
    ]  # fmt: skip
    assert audit.verify().ok
