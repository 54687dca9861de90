"""The story's first half: people submit, workers check and measure, reviewers decide."""

from __future__ import annotations

from collections import Counter
from typing import Any

from reviews.demo.accounts import PEOPLE
from reviews.demo.answers import answers_for
from reviews.demo.asking import Browser
from reviews.demo.scene import Scene
from reviews.demo.telling import expect, table

GOLDEN_SET = "customer reviews, autumn"
USE_CASE = "Sort customer reviews of our shop into negative, neutral and positive, to answer unhappy customers first."
CONDITIONS = "For sorting reviews only: a person answers each customer."
COLLAPSE = 0.2  # accuracy that v3 must lose against v2 to be called a collapse


def who_is_who(scene: Scene) -> str:
    lines = []
    for person in PEOPLE:
        me = scene.api[person.role].get("/api/v1/me")
        expect(me["team"] == person.team and me["roles"] == sorted(person.roles), f"{person.role} is {me}")
        lines.append(f"{person.name} ({', '.join(me['roles'])})")
    return ", ".join(lines)


def add_golden_set(scene: Scene) -> str:
    fields = {"model_id": scene.model_id, "name": GOLDEN_SET}
    made = scene.api["reviewer"].upload("/api/v1/golden-sets", fields, "golden.csv", scene.golden_csv)
    expect(made["size"] >= 150, f"only {made['size']} examples")
    return f"{made['name']}: {made['size']} examples of {', '.join(made['labels'])}"


def publish_on_hub(scene: Scene, version: str) -> str:
    sha = scene.publish(version)
    expect(sha == scene.commits[version], f"main of the Hub is {sha}")
    return f"main is {sha[:7]} now; production still answers with what was approved"


def submit(scene: Scene, version: str) -> str:
    body = {
        "model_id": scene.model_id,
        "revision": "main",
        "use_case": USE_CASE,
        "environment": "production",
        "data_class": "internal",
        "owner": "Customer care",
    }
    review = scene.api["submitter"].post("/api/v1/reviews", body, status=201)
    scene.reviews[version] = review["id"]
    expect(
        review["status"] in ("submitted", "checks_running", "in_review"),
        f"its status is {review['status']}",
    )
    return f"review {review['id']}: {review['status'].replace('_', ' ')}"


def wait_for_review(scene: Scene, version: str) -> str:
    review = scene.wait(
        lambda: scene.review(version),
        lambda seen: seen["status"] not in ("submitted", "checks_running"),
        f"the checks of {version}",
    )
    expect(review["status"] == "in_review", f"its status is {review['status']}: {review['problem']}")
    sha = scene.commits[version]
    expect(review["commit_sha"] == sha, f"main resolved to {review['commit_sha']}, and {version} is {sha}")
    revision = scene.revision(version)
    size = revision["total_size"] / 1e6
    findings, files = len(revision["findings"]), len(revision["files"])
    digest, labels = revision["manifest_sha256"][:16], ", ".join(revision["label_mapping"].values())
    return (
        f"main is {sha}\n{files} files, {size:.1f} MB, manifest sha256 {digest}…\n"
        f"labels {labels}; {findings or 'no'} finding{'' if findings == 1 else 's'}"
    )


def wait_for_evidence(scene: Scene, version: str) -> str:
    short = scene.commits[version][:7]

    def runs() -> list[dict[str, Any]]:
        every = scene.api["reviewer"].get("/api/v1/jobs")["results"]
        return [run for run in every if run["kind"] != "intake" and short in run["title"]]

    over = ("succeeded", "failed", "cancelled", "timed_out")
    ended = scene.wait(
        runs, lambda seen: bool(seen) and all(r["state"] in over for r in seen), f"the runs of {version}"
    )
    bad = [f"{run['title']}: {run['state']}, {run['error']}" for run in ended if run["state"] != "succeeded"]
    expect(not bad, "; ".join(bad))
    evidence = {row["kind"]: row for row in scene.revision(version)["evidence"]}
    expect({"benchmark", "evaluation"} <= set(evidence), f"its evidence is {sorted(evidence)}")
    scene.figures[version] = evidence
    return f"benchmark   {evidence['benchmark']['summary']}\nevaluation  {evidence['evaluation']['summary']}"


def four_eyes(scene: Scene) -> str:
    pk = scene.review("v1")["id"]
    body = {"decision": "approved", "reason": "I know it is good."}
    by_api = scene.api["submitter"].refused(
        scene.api["submitter"].post(f"/api/v1/reviews/{pk}/decision", body, status=403)
    )
    browser = Browser.signed_in(scene.web, "submitter", scene.passwords["submitter"])
    browser.open(f"/reviews/{pk}/")
    page = browser.post(f"/reviews/{pk}/decide/", body)
    sentence = by_api.strip("“”")
    expect(page.status == 403, f"the page answered {page.status}")
    expect(sentence in page.text, f"the page does not say why: {page.text[:300]}")
    expect(scene.review("v1")["status"] == "in_review", "the review did not stay as it was")
    return f"API 403 {by_api}\npage 403, the same sentence; the review is as it was"


def answer_items(scene: Scene, version: str) -> str:
    """Ten sections: what has a source is accepted with it, the rest is judged."""
    review, evidence = scene.review(version), scene.figures[version]
    suggestions = scene.api["reviewer"].get(f"/api/v1/reviews/{review['id']}/suggestions")
    answers = answers_for(review["checklist"], suggestions, evidence["evaluation"])
    saved = scene.api["reviewer"].put(f"/api/v1/reviews/{review['id']}/answers", {"answers": answers})
    states = Counter(answer["suggestion_state"] for answer in saved["answers"])
    silent = sum(answer["verdict"] == "not_stated" for answer in saved["answers"])
    sections = len({item["section"] for item in review["checklist"]})
    expect(len(saved["answers"]) == len(review["checklist"]), f"{len(saved['answers'])} answers were kept")
    licence = suggestions["license"]["sources"][0]
    expect(
        licence["path"] == "README.md" and licence["commit"] == scene.commits[version], f"it cites {licence}"
    )
    return (
        f"{len(saved['answers'])} items in {sections} sections: {states['accepted']} suggestions accepted with their sources, "
        f"{states['written'] + states['corrected']} judged; the card is silent on {silent}\n"
        f"for example licence: {suggestions['license']['text'].splitlines()[0]}, from {licence['label']}"
    )


def write_record(scene: Scene, version: str) -> str:
    """What production needs to know: how it is watched, what takes over, what may be sent to it."""
    review = scene.review(version)
    accuracy = scene.figures[version]["evaluation"]["data"]["accuracy"]
    record: dict[str, Any] = {
        "use_cases": [{"slug": "review-triage", "text": USE_CASE}],
        "monitoring": [
            {"metric": "accuracy", "op": ">=", "threshold": round(accuracy - 0.03, 2)},
            {"metric": "p95_latency_ms", "op": "<=", "threshold": 500},
        ],
        "conditions": CONDITIONS,
        "fallback": "Reviews go to people unsorted, newest first.",
        "data_policy": "Review texts only, no names or addresses; nothing of them is logged or kept.",
    }
    if before := scene.approvals.get("v1"):
        record["rollback_approval"] = before
    else:
        record["rollback_target"] = "The people who sorted reviews before: there is no earlier version."
    seen = scene.api["reviewer"].put(f"/api/v1/reviews/{review['id']}/record", record)["record"]
    watched = "; ".join(f"{rule['metric']} {rule['op']} {rule['threshold']}" for rule in seen["monitoring"])
    return f"watched: {watched}\nends {seen['expires_at'][:10]}, looked at again by {seen['review_by']}"


def first_vote(scene: Scene, version: str) -> str:
    voted = _decide(scene, version, "approved", "Card, code and figures fit the use case.")
    votes = voted["votes_summary"]
    expect(voted["status"] == "in_review", f"its status is {voted['status']}")
    expect((votes["given"], votes["needed"]) == (1, 2), f"the votes are {votes}")
    open_seat = next(seat["needs"] for seat in votes["seats"] if seat["reviewer"] is None)
    return f"1 of 2 votes ({votes['tier']} risk); still needed: {open_seat}"


def approve(scene: Scene, version: str) -> str:
    decided = _decide(scene, version, "approved", "I read it on my own and agree.", "second_reviewer")
    expect(decided["status"] == "approved" and decided["approval"], f"its status is {decided['status']}")
    scene.approvals[version] = decided["approval"]
    votes = decided["votes_summary"]
    expect(votes["given"] == votes["needed"] == 2, f"the votes are {votes}")
    scene.decisions[version] = "approved"
    answer = scene.api["engineer"].get(f"{scene.model}/approved", commit_sha=scene.commits[version])
    granted = answer["approval"]
    expect(
        granted["approved_by"] == "second_reviewer" and granted["submitted_by"] == "submitter",
        f"it says {granted}",
    )
    expires, evidence = granted["expires_at"][:10], len(granted["evidence"])
    return (
        f"2 of 2 votes: reviewer, second_reviewer\napproval {granted['id']}, on {evidence} pieces of evidence and manifest "
        f"{answer['manifest_sha256'][:16]}…, until {expires}"
    )


def _decide(scene: Scene, version: str, decision: str, reason: str, role: str = "reviewer") -> dict[str, Any]:
    review = scene.review(version)
    # What was read is what is decided on: had somebody changed an answer since, this would be refused.
    body = {"decision": decision, "reason": reason, "content_sha256": review["content_sha256"]}
    answer: dict[str, Any] = scene.api[role].post(f"/api/v1/reviews/{review['id']}/decision", body)
    return answer


def compare_v3(scene: Scene) -> str:
    rows = [["", "v2", "v3"]]
    before, after = (scene.figures[version]["evaluation"]["data"] for version in ("v2", "v3"))
    for name in ("accuracy", "macro_f1"):
        rows.append([name.replace("_", " "), f"{before[name]:.3f}", f"{after[name]:.3f}"])
    for label in before["labels"]:
        recall = [_recall(data, label) for data in (before, after)]
        rows.append([f"recall of {label}", *(f"{value:.3f}" for value in recall)])
    lost = before["accuracy"] - after["accuracy"]
    expect(lost >= COLLAPSE, f"v3 lost only {lost:.3f} of accuracy")
    return "\n".join([*table(rows), "valid JSON, the same weights, wrong business decisions"])


def _recall(evaluation: dict[str, Any], label: str) -> float:
    return float(next(row["recall"] for row in evaluation["per_class"] if row["label"] == label))


def reject_v3(scene: Scene) -> str:
    before, after = (scene.figures[version]["evaluation"]["data"] for version in ("v2", "v3"))
    reason = (
        f"Accuracy falls from {before['accuracy']:.3f} (v2) to {after['accuracy']:.3f}: config.json exchanges negative and "
        "positive. Correct id2label and submit again."
    )
    decided = _decide(scene, "v3", "rejected", reason)
    expect(
        decided["status"] == "rejected" and decided["approval"] is None,
        f"its status is {decided['status']}",
    )
    scene.decisions["v3"] = "rejected"
    return f"“{reason}”"
