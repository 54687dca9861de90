"""The story's second half: what is live, what consumers get, how it is taken back, and what the record says of it."""

from __future__ import annotations

import time
from datetime import datetime

import httpx

from reviews.demo.asking import Api, Browser
from reviews.demo.scene import Scene
from reviews.demo.telling import expect

TEXTS = ("Hàng đẹp, giao nhanh, rất hài lòng!", "It broke after two days and nobody answers.")
SERVED_TIMEOUT_S = 90.0
ROLLBACK_REASON = "Support reports wrong answers since v2: back to v1 while we look into it."


def move(scene: Scene, version: str) -> str:
    body = {"commit_sha": scene.commits[version], "reason": f"{version} is approved and measured."}
    made = scene.api["release_manager"].post(f"{scene.model}/channels/production/moves", body, status=201)
    expect(made["commit_sha"] == scene.commits[version], f"it points at {made['commit_sha']}")
    before, after = (made["from_commit_sha"] or "nothing")[:7], made["commit_sha"][:7]
    return f"move {made['number']} by {made['by']}: {before} -> {after}"


def move_to_rejected(scene: Scene) -> str:
    body = {"commit_sha": scene.commits["v3"], "reason": "It is the newest one."}
    api = scene.api["release_manager"]
    refusal = api.refused(api.post(f"{scene.model}/channels/production/moves", body, status=404))
    live = api.get(f"{scene.model}/channels/production")["commit_sha"]
    expect(live == scene.commits["v2"], f"production points at {live}")
    return f"404 {refusal}; production stays at {live[:7]}"


def served(scene: Scene, version: str) -> str:
    """Asks until the first answer that carries the version's commit; once one is live, nothing may fail meanwhile."""
    expect(scene.decisions.get(version) == "approved", f"{version} was not approved, so it cannot be live")
    sha, started = scene.commits[version], time.monotonic()
    first, seen = version == "v1" and "v2" not in scene.decisions, 0
    headers = {"Authorization": f"Bearer {scene.tokens['engineer']}"}
    with httpx.Client(base_url=scene.inference, headers=headers, timeout=15, trust_env=False) as client:
        while True:
            response = client.post(f"/v1/predict/{scene.model_id}", json={"inputs": list(TEXTS)})
            seen += 1
            if response.status_code == 200 and response.json()["commit_sha"] == sha:
                break
            expect(
                response.status_code == 200 or (first and response.status_code in (404, 503)),
                f"answer {seen} was {response.status_code}: {response.text[:300]}",
            )
            waited = time.monotonic() - started
            expect(
                waited < SERVED_TIMEOUT_S,
                f"no answer of {sha[:7]} in {waited:.0f} s: {response.text[:300]}",
            )
            scene.alive()
            time.sleep(0.05)
    waited = time.monotonic() - started
    body = response.json()
    expect(response.headers["X-Model-Revision"] == sha, "the header X-Model-Revision says something else")
    expect(
        body["model_id"] == scene.model_id and body["channel"] == "production", f"it is {body['model_id']}"
    )
    lines = [
        f"first answer of {sha[:7]} after {waited:.2f} s, {seen} asked; {body['device']}, {body['latency_ms']:.1f} ms"
    ]
    for text, one in zip(TEXTS, body["predictions"], strict=True):
        lines.append(f"{one['label']} ({one['confidence']:.2f}, {one['token_count']} tokens)  {text}")
    return "\n".join(lines)


def roll_back(scene: Scene) -> str:
    channels = scene.api["admin"].get(f"{scene.model}/channels")
    pk = next(row["id"] for row in channels if row["name"] == "production")
    browser = Browser.signed_in(scene.web, "admin", scene.passwords["admin"])
    form = browser.open(f"/channels/{pk}/").form_to(f"/channels/{pk}/rollback/")
    page = browser.send(form, reason=ROLLBACK_REASON)
    expect(page.status == 200, f"the page answered {page.status}: {page.text[:300]}")
    live = scene.api["admin"].get(f"{scene.model}/channels/production")["commit_sha"]
    expect(live == scene.commits["v1"], f"production points at {live}")
    expect(ROLLBACK_REASON in page.text, f"the page does not show the reason: {page.text[:300]}")
    return f"production -> {live[:7]}: “{ROLLBACK_REASON}”"


def ask_approved(scene: Scene) -> str:
    api, sha = scene.api["engineer"], scene.commits["v2"]
    answers = [api.get(f"{scene.model}/approved"), api.get(f"{scene.model}/approved", channel="production")]
    for answer in answers:
        expect(answer["commit_sha"] == sha, f"it says {answer['commit_sha']}")
        expect(f'revision="{sha}"' in answer["snippet"], f"the line to paste is {answer['snippet']}")
        expect(
            len(answer["manifest_sha256"]) == 64 and len(answer["label_mapping"]) == 3,
            f"it says {answer}",
        )
    return f"{answers[0]['snippet']}\nmanifest {answers[0]['manifest_sha256'][:16]}…, labels {answers[0]['label_mapping']}"


def ask_unapproved(scene: Scene) -> str:
    api = scene.api["engineer"]
    org = scene.model_id.split("/")[0]
    unknown = api.refused(api.get(f"/api/v1/models/{org}/no-such-model/approved", status=404))
    rejected = api.refused(api.get(f"{scene.model}/approved", status=404, commit_sha=scene.commits["v3"]))
    channel = api.refused(api.get(f"{scene.model}/approved", status=404, channel="staging"))
    return f"unknown   404 {unknown}\nrejected  404 {rejected}\nchannel   404 {channel}"


def ask_from_other_team(scene: Scene) -> str:
    api = scene.api["other_team"]
    control = api.refused(api.get(f"{scene.model}/approved", status=404))
    review = api.refused(api.get(f"/api/v1/reviews/{scene.reviews['v1']}", status=404))
    data = Api(scene.inference, scene.tokens["other_team"])
    predict = data.refused(data.post(f"/v1/predict/{scene.model_id}", {"inputs": TEXTS[0]}, status=404))
    return f"approved   404 {control}\nreview     404 {review}\ninference  404 {predict}"


def history(scene: Scene) -> str:
    auditor = scene.api["auditor"]
    moves = scene.moves()
    newest = moves[-1]
    expect(len(moves) == 3, f"{len(moves)} moves")
    seen = (newest["by"], newest["kind"], newest["reason"], newest["commit_sha"])
    expect(
        seen == ("admin", "rollback", ROLLBACK_REASON, scene.commits["v1"]), f"the newest move is {newest}"
    )
    events = auditor.get("/api/v1/audit", verb="channel.rolled_back")["results"]
    expect(len(events) == 1 and ROLLBACK_REASON in events[0]["sentence"], f"the audit log has {events}")
    decided = auditor.get("/api/v1/audit", verb="review.rejected")["results"]
    expect(len(decided) == 1, f"the audit log has {decided}")
    browser = Browser.signed_in(scene.web, "auditor", scene.passwords["auditor"])
    page = browser.open("/audit/")
    expect(ROLLBACK_REASON in page.text, f"the audit page does not show it: {page.text[:300]}")
    lines = [
        f"{m['at'][11:19]}  {m['by']}  {m['kind']}  -> {m['commit_sha'][:7]}  “{m['reason']}”" for m in moves
    ]
    return "\n".join([*lines, f"event {events[0]['seq']}: {events[0]['sentence']}"])


def ask_then(scene: Scene) -> str:
    """A moment between the move to v2 and the roll back, long after v1 is live again."""
    second, third = scene.moves()[1:3]
    at = (
        datetime.fromisoformat(second["at"])
        + (datetime.fromisoformat(third["at"]) - datetime.fromisoformat(second["at"])) / 2
    )
    found = scene.api["auditor"].get(f"{scene.model}/channels/production", at=at.isoformat())
    expect(found["commit_sha"] == scene.commits["v2"] and found["served"], f"it says {found}")
    expect(len(found["evidence"]) >= 2, f"it rests on {found['evidence']}")
    return str(found["sentence"])
