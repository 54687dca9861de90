"""The governed life of a model, told over HTTP: the API with tokens, the pages with sessions. No Django here.

v1 is submitted, checked, approved and released; v2 follows and takes over; v3 collapses on the golden set and is refused;
the admin rolls production back. Each step asserts what it shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import httpx

from reviews.demo.accounts import PEOPLE
from reviews.demo.answers import answers_for
from reviews.demo.asking import Api, Browser
from reviews.demo.telling import Step, expect, table

TEXTS = ("Hàng đẹp, giao nhanh, rất hài lòng!", "It broke after two days and nobody answers.")
JOB_TIMEOUT_S = 300.0
SERVED_TIMEOUT_S = 90.0
GOLDEN_SET = "customer reviews, autumn"
USE_CASE = "Sort customer reviews of our shop into negative, neutral and positive, to answer unhappy customers first."
ROLLBACK_REASON = "Support reports wrong answers since v2: back to v1 while we look into it."
COLLAPSE = 0.2  # accuracy that v3 must lose against v2 to be called a collapse


class Story:
    """`publish(version)` moves main on the Hub as the model's author would; `alive` raises when a process has died."""

    def __init__(
        self,
        *,
        web: str,
        inference: str,
        model_id: str,
        commits: dict[str, str],
        golden_csv: bytes,
        tokens: dict[str, str],
        passwords: dict[str, str],
        publish: Callable[[str], str],
        alive: Callable[[], None],
    ) -> None:
        self.web, self.inference, self.model_id, self.commits = web, inference, model_id, commits
        self.golden_csv, self.tokens, self.passwords = golden_csv, tokens, passwords
        self.publish, self.alive = publish, alive
        self.model = f"/api/v1/models/{model_id}"
        self.api = {role: Api(web, token) for role, token in tokens.items()}
        self.reviews: dict[str, int] = {}
        self.figures: dict[str, dict[str, Any]] = {}
        self.decisions: dict[str, str] = {}

    def steps(self) -> list[Step]:
        return [
            Step("Seven people of two teams reach the API", self.who_is_who),
            Step("The reviewer adds a golden set", self.add_golden_set),
            *self._until_measured("v1"),
            Step("The submitter tries to approve the own submission: refused", self.four_eyes),
            *self._until_live("v1"),
            Step("The author publishes v2 on the Hub", partial(self.publish_on_hub, "v2")),
            *self._until_measured("v2"),
            *self._until_live("v2"),
            Step(
                "The author publishes v3 on the Hub: v2's weights, two labels exchanged",
                partial(self.publish_on_hub, "v3"),
            ),
            *self._until_measured("v3"),
            Step("The golden set shows v3's collapse beside v2", self.compare_v3),
            Step("The reviewer rejects v3", self.reject_v3),
            Step("The release manager tries to move production to v3: refused", self.move_to_rejected),
            Step("An engineer asks which revision to use", self.ask_approved),
            Step("... and is told why there is none of an unknown or rejected one", self.ask_unapproved),
            Step("Another team asks: for them the model does not exist", self.ask_from_other_team),
            Step("The admin rolls production back from the dashboard", self.roll_back),
            Step("The next answers carry v1's commit", partial(self.served, "v1")),
            Step("History and audit log say who, when and why", self.history),
        ]

    def _until_measured(self, version: str) -> list[Step]:
        return [
            Step(f"The submitter submits {version} at main", partial(self.submit, version)),
            Step(
                f"Intake resolves, downloads, verifies and inspects {version}",
                partial(self.wait_for_review, version),
            ),
            Step(
                f"Benchmark and golden-set evaluation of {version}", partial(self.wait_for_evidence, version)
            ),
        ]

    def _until_live(self, version: str) -> list[Step]:
        return [
            Step(
                f"The reviewer answers the eight items about {version}", partial(self.answer_items, version)
            ),
            Step(f"The reviewer approves {version} for production", partial(self.approve, version)),
            Step(f"The release manager moves production to {version}", partial(self.move, version)),
            Step(f"The inference server answers with {version}", partial(self.served, version)),
        ]

    # --- people ------------------------------------------------------------------------------------------------------

    def who_is_who(self) -> str:
        lines = []
        for person in PEOPLE:
            me = self.api[person.role].get("/api/v1/me")
            expect(
                me["team"] == person.team and me["roles"] == sorted(person.roles), f"{person.role} is {me}"
            )
            lines.append(f"{person.name} ({', '.join(me['roles'])})")
        return ", ".join(lines)

    def add_golden_set(self) -> str:
        fields = {"model_id": self.model_id, "name": GOLDEN_SET}
        made = self.api["reviewer"].upload("/api/v1/golden-sets", fields, "golden.csv", self.golden_csv)
        expect(made["size"] >= 150, f"only {made['size']} examples")
        return f"{made['name']}: {made['size']} examples of {', '.join(made['labels'])}"

    # --- submit, check, measure ----------------------------------------------------------------------------------------

    def submit(self, version: str) -> str:
        body = {
            "model_id": self.model_id,
            "revision": "main",
            "use_case": USE_CASE,
            "environment": "production",
            "data_class": "internal",
            "owner": "Customer care",
        }
        review = self.api["submitter"].post("/api/v1/reviews", body, status=201)
        self.reviews[version] = review["id"]
        expect(
            review["status"] in ("submitted", "checks_running", "in_review"),
            f"its status is {review['status']}",
        )
        return f"review {review['id']}: {review['status'].replace('_', ' ')}"

    def _review(self, version: str, role: str = "reviewer") -> dict[str, Any]:
        expect(version in self.reviews, f"{version} was not submitted")
        found: dict[str, Any] = self.api[role].get(f"/api/v1/reviews/{self.reviews[version]}")
        return found

    def wait_for_review(self, version: str) -> str:
        review = self._wait(
            lambda: self._review(version),
            lambda seen: seen["status"] not in ("submitted", "checks_running"),
            f"the checks of {version}",
        )
        expect(review["status"] == "in_review", f"its status is {review['status']}: {review['problem']}")
        sha = self.commits[version]
        expect(
            review["commit_sha"] == sha, f"main resolved to {review['commit_sha']}, and {version} is {sha}"
        )
        revision = self._revision(version)
        size = revision["total_size"] / 1e6
        findings, files = len(revision["findings"]), len(revision["files"])
        digest, labels = revision["manifest_sha256"][:16], ", ".join(revision["label_mapping"].values())
        return (
            f"main is {sha}\n{files} files, {size:.1f} MB, manifest sha256 {digest}…\n"
            f"labels {labels}; {findings or 'no'} finding{'' if findings == 1 else 's'}"
        )

    def _revision(self, version: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api["reviewer"].get(f"{self.model}/revisions/{self.commits[version]}")
        return found

    def wait_for_evidence(self, version: str) -> str:
        short = self.commits[version][:7]

        def runs() -> list[dict[str, Any]]:
            every = self.api["reviewer"].get("/api/v1/jobs")["results"]
            return [run for run in every if run["kind"] != "intake" and short in run["title"]]

        over = ("succeeded", "failed", "cancelled", "timed_out")
        ended = self._wait(
            runs, lambda seen: bool(seen) and all(r["state"] in over for r in seen), f"the runs of {version}"
        )
        bad = [
            f"{run['title']}: {run['state']}, {run['error']}" for run in ended if run["state"] != "succeeded"
        ]
        expect(not bad, "; ".join(bad))
        evidence = {row["kind"]: row for row in self._revision(version)["evidence"]}
        expect({"benchmark", "evaluation"} <= set(evidence), f"its evidence is {sorted(evidence)}")
        self.figures[version] = evidence
        return (
            f"benchmark   {evidence['benchmark']['summary']}\nevaluation  {evidence['evaluation']['summary']}"
        )

    def _wait(self, look: Callable[[], Any], done: Callable[[Any], bool], what: str) -> Any:
        deadline = time.monotonic() + JOB_TIMEOUT_S
        while not done(seen := look()):
            self.alive()
            expect(
                time.monotonic() < deadline,
                f"{what} took more than {JOB_TIMEOUT_S:.0f} s; last seen: {seen}"[:800],
            )
            time.sleep(0.3)
        return seen

    # --- decide --------------------------------------------------------------------------------------------------------

    def four_eyes(self) -> str:
        pk = self._review("v1")["id"]
        body = {"decision": "approved", "reason": "I know it is good."}
        by_api = self.api["submitter"].refused(
            self.api["submitter"].post(f"/api/v1/reviews/{pk}/decision", body, status=403)
        )
        browser = Browser.signed_in(self.web, "submitter", self.passwords["submitter"])
        browser.open(f"/reviews/{pk}/")
        page = browser.post(f"/reviews/{pk}/decide/", body)
        sentence = by_api.strip("“”")
        expect(page.status == 403, f"the page answered {page.status}")
        expect(sentence in page.text, f"the page does not say why: {page.text[:300]}")
        expect(self._review("v1")["status"] == "in_review", "the review did not stay as it was")
        return f"API 403 {by_api}\npage 403, the same sentence; the review is as it was"

    def answer_items(self, version: str) -> str:
        review, evidence = self._review(version), self.figures[version]
        answers = answers_for(self._revision(version), evidence["evaluation"], evidence["benchmark"])
        asked = [item["key"] for item in review["checklist"]]
        expect(sorted(asked) == sorted(answers), f"the checklist asks for {asked}")
        saved = self.api["reviewer"].put(f"/api/v1/reviews/{review['id']}/answers", {"answers": answers})
        expect(len(saved["answers"]) == len(asked) == 8, f"{len(saved['answers'])} answers were kept")
        return f"for example licence: {answers['license']['text']}"

    def approve(self, version: str) -> str:
        decided = self._decide(version, "approved", "Card, code and figures fit the use case.")
        expect(decided["status"] == "approved" and decided["approval"], f"its status is {decided['status']}")
        self.decisions[version] = "approved"
        answer = self.api["engineer"].get(f"{self.model}/approved", commit_sha=self.commits[version])
        granted = answer["approval"]
        expect(
            granted["approved_by"] == "reviewer" and granted["submitted_by"] == "submitter",
            f"it says {granted}",
        )
        expires, evidence = granted["expires_at"][:10], len(granted["evidence"])
        return (
            f"approval {granted['id']} by {granted['approved_by']}, on {evidence} pieces of evidence and manifest "
            f"{answer['manifest_sha256'][:16]}…, until {expires}"
        )

    def _decide(self, version: str, decision: str, reason: str) -> dict[str, Any]:
        review = self._review(version)
        # What was read is what is decided on: had somebody changed an answer since, this would be refused.
        body = {"decision": decision, "reason": reason, "content_sha256": review["content_sha256"]}
        answer: dict[str, Any] = self.api["reviewer"].post(f"/api/v1/reviews/{review['id']}/decision", body)
        return answer

    def publish_on_hub(self, version: str) -> str:
        sha = self.publish(version)
        expect(sha == self.commits[version], f"main of the Hub is {sha}")
        return f"main is {sha[:7]} now; production still answers with what was approved"

    def compare_v3(self) -> str:
        rows = [["", "v2", "v3"]]
        before, after = (self.figures[version]["evaluation"]["data"] for version in ("v2", "v3"))
        for name in ("accuracy", "macro_f1"):
            rows.append([name.replace("_", " "), f"{before[name]:.3f}", f"{after[name]:.3f}"])
        for label in before["labels"]:
            recall = [self._recall(data, label) for data in (before, after)]
            rows.append([f"recall of {label}", *(f"{value:.3f}" for value in recall)])
        lost = before["accuracy"] - after["accuracy"]
        expect(lost >= COLLAPSE, f"v3 lost only {lost:.3f} of accuracy")
        return "\n".join([*table(rows), "valid JSON, the same weights, wrong business decisions"])

    @staticmethod
    def _recall(evaluation: dict[str, Any], label: str) -> float:
        return float(next(row["recall"] for row in evaluation["per_class"] if row["label"] == label))

    def reject_v3(self) -> str:
        before, after = (self.figures[version]["evaluation"]["data"] for version in ("v2", "v3"))
        reason = (
            f"Accuracy falls from {before['accuracy']:.3f} (v2) to {after['accuracy']:.3f}: config.json exchanges negative and "
            "positive. Correct id2label and submit again."
        )
        decided = self._decide("v3", "rejected", reason)
        expect(
            decided["status"] == "rejected" and decided["approval"] is None,
            f"its status is {decided['status']}",
        )
        self.decisions["v3"] = "rejected"
        return f"“{reason}”"

    # --- release ---------------------------------------------------------------------------------------------------------

    def move(self, version: str) -> str:
        body = {"commit_sha": self.commits[version], "reason": f"{version} is approved and measured."}
        move = self.api["release_manager"].post(f"{self.model}/channels/production/moves", body, status=201)
        expect(move["commit_sha"] == self.commits[version], f"it points at {move['commit_sha']}")
        before, after = (move["from_commit_sha"] or "nothing")[:7], move["commit_sha"][:7]
        return f"move {move['number']} by {move['by']}: {before} -> {after}"

    def move_to_rejected(self) -> str:
        body = {"commit_sha": self.commits["v3"], "reason": "It is the newest one."}
        api = self.api["release_manager"]
        refusal = api.refused(api.post(f"{self.model}/channels/production/moves", body, status=404))
        live = api.get(f"{self.model}/channels/production")["commit_sha"]
        expect(live == self.commits["v2"], f"production points at {live}")
        return f"404 {refusal}; production stays at {live[:7]}"

    def served(self, version: str) -> str:
        """Asks until the first answer that carries the version's commit; once one is live, nothing may fail meanwhile."""
        expect(self.decisions.get(version) == "approved", f"{version} was not approved, so it cannot be live")
        sha, started = self.commits[version], time.monotonic()
        first, seen = version == "v1" and "v2" not in self.decisions, 0
        headers = {"Authorization": f"Bearer {self.tokens['engineer']}"}
        with httpx.Client(base_url=self.inference, headers=headers, timeout=15, trust_env=False) as client:
            while True:
                response = client.post(f"/v1/predict/{self.model_id}", json={"inputs": list(TEXTS)})
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
                self.alive()
                time.sleep(0.05)
        waited = time.monotonic() - started
        body = response.json()
        expect(response.headers["X-Model-Revision"] == sha, "the header X-Model-Revision says something else")
        expect(
            body["model_id"] == self.model_id and body["channel"] == "production", f"it is {body['model_id']}"
        )
        lines = [
            f"first answer of {sha[:7]} after {waited:.2f} s, {seen} asked; {body['device']}, {body['latency_ms']:.1f} ms"
        ]
        for text, one in zip(TEXTS, body["predictions"], strict=True):
            lines.append(f"{one['label']} ({one['confidence']:.2f}, {one['token_count']} tokens)  {text}")
        return "\n".join(lines)

    def roll_back(self) -> str:
        channels = self.api["admin"].get(f"{self.model}/channels")
        pk = next(row["id"] for row in channels if row["name"] == "production")
        browser = Browser.signed_in(self.web, "admin", self.passwords["admin"])
        form = browser.open(f"/channels/{pk}/").form_to(f"/channels/{pk}/rollback/")
        page = browser.send(form, reason=ROLLBACK_REASON)
        expect(page.status == 200, f"the page answered {page.status}: {page.text[:300]}")
        live = self.api["admin"].get(f"{self.model}/channels/production")["commit_sha"]
        expect(live == self.commits["v1"], f"production points at {live}")
        expect(ROLLBACK_REASON in page.text, f"the page does not show the reason: {page.text[:300]}")
        return f"production -> {live[:7]}: “{ROLLBACK_REASON}”"

    # --- consumers -------------------------------------------------------------------------------------------------------

    def ask_approved(self) -> str:
        api, sha = self.api["engineer"], self.commits["v2"]
        answers = [api.get(f"{self.model}/approved"), api.get(f"{self.model}/approved", channel="production")]
        for answer in answers:
            expect(answer["commit_sha"] == sha, f"it says {answer['commit_sha']}")
            expect(f'revision="{sha}"' in answer["snippet"], f"the line to paste is {answer['snippet']}")
            expect(
                len(answer["manifest_sha256"]) == 64 and len(answer["label_mapping"]) == 3,
                f"it says {answer}",
            )
        return f"{answers[0]['snippet']}\nmanifest {answers[0]['manifest_sha256'][:16]}…, labels {answers[0]['label_mapping']}"

    def ask_unapproved(self) -> str:
        api = self.api["engineer"]
        org = self.model_id.split("/")[0]
        unknown = api.refused(api.get(f"/api/v1/models/{org}/no-such-model/approved", status=404))
        rejected = api.refused(api.get(f"{self.model}/approved", status=404, commit_sha=self.commits["v3"]))
        channel = api.refused(api.get(f"{self.model}/approved", status=404, channel="staging"))
        return f"unknown   404 {unknown}\nrejected  404 {rejected}\nchannel   404 {channel}"

    def ask_from_other_team(self) -> str:
        api = self.api["other_team"]
        control = api.refused(api.get(f"{self.model}/approved", status=404))
        review = api.refused(api.get(f"/api/v1/reviews/{self.reviews['v1']}", status=404))
        data = Api(self.inference, self.tokens["other_team"])
        predict = data.refused(data.post(f"/v1/predict/{self.model_id}", {"inputs": TEXTS[0]}, status=404))
        return f"approved   404 {control}\nreview     404 {review}\ninference  404 {predict}"

    # --- the record --------------------------------------------------------------------------------------------------------

    def history(self) -> str:
        auditor = self.api["auditor"]
        moves = self._moves()
        newest = moves[-1]
        expect(len(moves) == 3, f"{len(moves)} moves")
        seen = (newest["by"], newest["kind"], newest["reason"], newest["commit_sha"])
        expect(
            seen == ("admin", "rollback", ROLLBACK_REASON, self.commits["v1"]), f"the newest move is {newest}"
        )
        events = auditor.get("/api/v1/audit", verb="channel.rolled_back")["results"]
        expect(len(events) == 1 and ROLLBACK_REASON in events[0]["sentence"], f"the audit log has {events}")
        decided = auditor.get("/api/v1/audit", verb="review.rejected")["results"]
        expect(len(decided) == 1, f"the audit log has {decided}")
        browser = Browser.signed_in(self.web, "auditor", self.passwords["auditor"])
        page = browser.open("/audit/")
        expect(ROLLBACK_REASON in page.text, f"the audit page does not show it: {page.text[:300]}")
        lines = [
            f"{m['at'][11:19]}  {m['by']}  {m['kind']}  -> {m['commit_sha'][:7]}  “{m['reason']}”"
            for m in moves
        ]
        return "\n".join([*lines, f"event {events[0]['seq']}: {events[0]['sentence']}"])

    def _moves(self) -> list[dict[str, Any]]:
        moves = self.api["auditor"].get(f"{self.model}/channels/production")["moves"]
        return sorted(moves, key=lambda move: int(move["number"]))

    def table(self) -> list[str]:
        """What happened to each version, in one table."""
        head = [
            "version",
            "commit",
            "accuracy",
            "macro F1",
            "p50 ms",
            "p95 ms",
            "texts/s",
            "decision",
            "in production (UTC)",
        ]
        spans = self._spans()
        rows = [head]
        for version, sha in self.commits.items():
            row = self.figures.get(version)
            figures = ["-"] * 5
            if row:
                quality, speed = row["evaluation"]["data"], row["benchmark"]["data"]
                figures = [
                    f"{quality['accuracy']:.3f}",
                    f"{quality['macro_f1']:.3f}",
                    f"{speed['latency_p50_ms']:.2f}",
                    f"{speed['latency_p95_ms']:.2f}",
                    f"{speed['throughput_texts_s']:.0f}",
                ]
            rows.append(
                [version, sha[:7], *figures, self.decisions.get(version, "-"), spans.get(sha, "never")]
            )
        return table(rows)

    def _spans(self) -> dict[str, str]:
        """{commit: "10:02:11-10:03:05, since 10:04:00"} from the channel's own history."""
        try:
            moves = self._moves()
        except (AssertionError, httpx.HTTPError):
            return {}
        spans: dict[str, list[str]] = {}
        for move, following in zip(moves, [*moves[1:], None], strict=True):
            start = _clock(move["at"])
            span = f"{start}-{_clock(following['at'])}" if following else f"live since {start}"
            spans.setdefault(move["commit_sha"], []).append(span)
        return {sha: ", ".join(parts) for sha, parts in spans.items()}


def _clock(at: str) -> str:
    return datetime.fromisoformat(at).strftime("%H:%M:%S")
