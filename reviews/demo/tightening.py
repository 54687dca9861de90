"""The story of a stricter policy: what it would take away is known before anybody saves it, and a dry run blocks nothing."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from reviews.demo.asking import Browser
from reviews.demo.auditing import MODEL_ID, SECOND
from reviews.demo.scene import Scene
from reviews.demo.telling import expect

POLICY = "next-quarter"
ACCURATE, NO_CODE = "Accurate enough", "No code of its own"


def _line(scene: Scene) -> tuple[str, str, float]:
    """(worse version, better version, the accuracy half way between them): what both are measured by is known."""
    accuracy = {v: float(scene.figures[v]["evaluation"]["data"]["accuracy"]) for v in ("v1", "v2")}
    worse, better = sorted(accuracy, key=lambda version: accuracy[version])
    expect(accuracy[worse] < accuracy[better], f"both versions have the accuracy {accuracy[worse]}")
    return worse, better, round((accuracy[worse] + accuracy[better]) / 2, 4)


def _source(line: float) -> str:
    return f"""policy: {POLICY}
title: What we ask for from next quarter on
rules:
  - key: accurate
    title: {ACCURATE}
    environments: [production]
    require: evaluation.accuracy >= {line}
    effect: fail
    message: "{{evaluation.accuracy}} of the golden set is right, and {line} is asked for."
    missing: Nobody has run the golden set.
    who: the author of the model
  - key: no_code
    title: {NO_CODE}
    require: "!code.present"
    effect: fail
    message: The repository carries code of its own.
    who: the author of the model
"""


def simulate(scene: Scene) -> str:
    """What the simulator answers is compared with what the story knows of its own: figures, and who brings code."""
    worse, better, line = _line(scene)
    pending = scene.review(SECOND)
    expect(pending["status"] == "in_review", f"{SECOND} is {pending['status']}")
    before = scene.api["admin"].get("/api/v1/policies")
    told = scene.api["admin"].post("/api/v1/policies/simulate", {"source": _source(line)})
    expect(scene.api["admin"].get("/api/v1/policies") == before, "asking has written something")
    flips = {(flip["what"], flip["commit_sha"]): flip for flip in told["flips"]}
    due = {("approved", scene.commits[worse]): ACCURATE, ("pending", pending["commit_sha"]): NO_CODE}
    expect(set(flips) == set(due), f"it says that {sorted(flips)} would flip, and {sorted(due)} are due")
    for place, title in due.items():
        flip = flips[place]
        expect(flip["after"] == "fail" and flip["before"] != "fail", f"{place}: {flip}")
        expect(
            [reason.partition(":")[0] for reason in flip["reasons"]] == [title], f"{place}: {flip['reasons']}"
        )
    return "\n".join(
        [
            f"{told['looked_at']} pending and approved were judged; {better} would stand",
            *map(_shown, told["flips"]),
        ]
    )


def _shown(flip: dict[str, Any]) -> str:
    what = f"{flip['what']} {flip['model_id']}@{flip['commit_sha'][:7]}"
    return f"{what}: {flip['before']} -> {flip['after']}; {' '.join(flip['reasons'])}"


def dry_run(scene: Scene) -> str:
    """Saved, shown on the revisions that it speaks of, and in nobody's way."""
    worse, better, line = _line(scene)
    body = {"source": _source(line), "state": "dry_run", "seen": 0}
    saved = scene.api["admin"].put("/api/v1/policies", body, status=201)
    expect((saved["policy"], saved["state"]) == (POLICY, "dry_run"), f"it is saved as {saved}")
    standing = {p["policy"]: p["state"] for p in scene.api["reviewer"].get("/api/v1/policies")["standing"]}
    expect(standing[POLICY] == "dry_run", f"standing are {standing}")
    note = f"Dry run of {POLICY} version {saved['number']}: it blocks nothing yet."
    browser = Browser.signed_in(scene.web, "engineer", scene.passwords["engineer"])
    for version, is_noted in ((worse, True), (better, False)):
        page = browser.open(urlsplit(scene.revision(version)["url"]).path)
        expect((note in page.text) == is_noted, f"the page of {version} says: {page.text[:600]}")
    code = scene.review(SECOND)["commit_sha"]
    page = browser.open(
        urlsplit(scene.api["reviewer"].get(f"/api/v1/models/{MODEL_ID}/revisions/{code}")["url"]).path
    )
    expect(note in page.text and NO_CODE in page.text, f"the page of {SECOND} says: {page.text[:600]}")
    answer, live = (
        scene.api["engineer"].get(f"{scene.model}/approved", channel="production"),
        scene.moves()[-1],
    )
    expect(answer["commit_sha"] == live["commit_sha"], f"production answers with {answer['commit_sha']}")
    return f"on the pages of {worse} and of the model with code: “{note}”\nproduction answers as before"
