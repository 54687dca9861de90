"""The story of a model that brings code: nobody runs it before a security auditor has read it, file by file."""

from __future__ import annotations

from typing import Any

from reviews.demo.scene import Scene
from reviews.demo.telling import expect

MODEL_ID = "acme/sentiment-remote-code"
FIRST, SECOND = "code-1", "code-2"
HELPER = "scaling.py"
FLAGGED = "It reads MOOD_DEBUG once and nothing else; no secret can leave by it."


def _submit(scene: Scene, version: str, sha: str) -> dict[str, Any]:
    body = {
        "model_id": MODEL_ID, "revision": "main", "environment": "development", "data_class": "public",
        "use_case": "Try scaled scores on public reviews, on a developer's machine only.", "owner": "Customer care",
    }  # fmt: skip
    scene.reviews[version] = scene.api["submitter"].post("/api/v1/reviews", body, status=201)["id"]
    review: dict[str, Any] = scene.wait(
        lambda: scene.review(version),
        lambda seen: seen["status"] not in ("submitted", "checks_running"),
        f"the checks of {version}",
    )
    expect(review["status"] == "in_review", f"its status is {review['status']}: {review['problem']}")
    expect(review["commit_sha"] == sha, f"main resolved to {review['commit_sha']}")
    return review


def _code(sha: str) -> str:
    return f"/api/v1/models/{MODEL_ID}/revisions/{sha}/code"


def _audit(scene: Scene, sha: str) -> dict[str, Any]:
    found: dict[str, Any] = scene.api["security_auditor"].get(_code(sha))
    return found


def _judge(scene: Scene, sha: str, file: dict[str, Any], reason: str) -> dict[str, Any]:
    api = scene.api["security_auditor"]
    source = api.get(f"{_code(sha)}/files/{file['sha256']}")
    expect(source["text"], f"{file['path']} has no text")
    seen = file["verdict"]["id"] if file["verdict"] else 0
    body = {
        "path": file["path"],
        "sha256": file["sha256"],
        "verdict": "passed",
        "reason": reason,
        "seen": seen,
    }
    told: dict[str, Any] = api.post(f"{_code(sha)}/verdicts", body, status=201)
    return told


def _sha(scene: Scene, version: str) -> str:
    return str(scene.review(version)["commit_sha"])


def submit_first(scene: Scene) -> str:
    sha = scene.publish(FIRST)
    _submit(scene, FIRST, sha)
    told = _audit(scene, sha)
    expect(told["state"] == "pending", f"its code audit is {told['state']}")
    flagged = [
        f"{f['path']} line {c['line']}: {c['call']} {c['why']}" for f in told["files"] for c in f["flagged"]
    ]
    expect(any(HELPER in line for line in flagged), f"flagged is {flagged}")
    return "\n".join([f"{len(told['files'])} things to judge; nothing of it was run", *flagged])


def refused_before_audit(scene: Scene) -> str:
    api, pk = scene.api["reviewer"], scene.reviews[FIRST]
    answer = api.post(f"/api/v1/reviews/{pk}/decision", {"decision": "approved"}, status=409)
    sentence = next((s for s in answer["error"]["details"]["missing"] if HELPER in s), "")
    expect("have not been audited" in sentence, f"it says {answer}")
    return f"409 “{sentence}”"


def judge_all(scene: Scene) -> str:
    sha = _sha(scene, FIRST)
    own, auditor = scene.api["submitter"], scene.api["security_auditor"]
    body = {"path": HELPER, "sha256": "0" * 64, "verdict": "passed"}
    no_auditor = own.refused(own.post(f"{_code(sha)}/verdicts", body, status=403))
    other_bytes = auditor.refused(auditor.post(f"{_code(sha)}/verdicts", body, status=404))
    told = _audit(scene, sha)
    for file in told["files"]:
        told = _judge(scene, sha, file, FLAGGED if file["path"] == HELPER else "")
    expect(told["state"] == "passed", f"its code audit is {told['state']}: {told['missing']}")
    passed = ", ".join(file["path"] for file in told["files"])
    return (
        f"passed by security_auditor: {passed}\n{HELPER}: “{FLAGGED}”\n"
        f"a verdict of the submitter: 403 {no_auditor}\na verdict on other bytes: 404 {other_bytes}"
    )


def submit_second(scene: Scene) -> str:
    first, sha = _sha(scene, FIRST), scene.publish(SECOND)
    _submit(scene, SECOND, sha)
    told = _audit(scene, sha)
    still = [file["path"] for file in told["files"] if file["mark"] == "open"]
    kept = [file["path"] for file in told["files"] if file["unchanged_since"] == first]
    expect(still == [HELPER] and len(kept) == len(told["files"]) - 1, f"open {still}, kept {kept}")
    return f"open: {HELPER}\nunchanged since {first[:7]}: {', '.join(kept)}"


def judge_changed(scene: Scene) -> str:
    sha = _sha(scene, SECOND)
    file = next(file for file in _audit(scene, sha)["files"] if file["mark"] == "open")
    told = _judge(scene, sha, file, "Only a lower bound for the temperature is new.")
    expect(told["state"] == "passed" and not told["missing"], f"its code audit is {told['state']}")
    return f"the code audit of {sha[:7]} has passed: {told['url']}"
