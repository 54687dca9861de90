"""The governed life of a model, told over HTTP: the API with tokens, the pages with sessions. No Django here.

v1 is submitted, checked, approved and released; v2 follows and takes over; v3 collapses on the golden set and is refused;
the admin rolls production back. Each step asserts what it shows.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

import httpx

from reviews.demo import auditing, consuming, proving, releasing, reviewing, tightening
from reviews.demo.scene import Scene
from reviews.demo.telling import Step, table

HEAD = (
    "version",
    "commit",
    "accuracy",
    "macro F1",
    "p50 ms",
    "p95 ms",
    "texts/s",
    "decision",
    "in production (UTC)",
)


def steps(scene: Scene) -> list[Step]:
    """The whole story in its order."""

    def step(title: str, act: Callable[..., str], *about: str) -> Step:
        return Step(title, partial(act, scene, *about))

    def until_measured(version: str) -> list[Step]:
        return [
            step(f"The submitter submits {version} at main", reviewing.submit, version),
            step(
                f"Intake resolves, downloads, verifies, inspects {version}",
                reviewing.wait_for_review,
                version,
            ),
            step(f"Benchmark and golden-set evaluation of {version}", reviewing.wait_for_evidence, version),
        ]

    def until_live(version: str) -> list[Step]:
        return [
            step(f"The reviewer answers the ten sections about {version}", reviewing.answer_items, version),
            step(f"The reviewer writes the decision record of {version}", reviewing.write_record, version),
            step(f"The reviewer votes for {version}: one vote is not enough", reviewing.first_vote, version),
            step(f"The second reviewer votes, and {version} is approved", reviewing.approve, version),
            step(f"The release manager moves production to {version}", releasing.move, version),
            step(f"The inference server answers with {version}", releasing.served, version),
        ]

    return [
        step("Nine people of two teams reach the API", reviewing.who_is_who),
        step("The reviewer adds a golden set", reviewing.add_golden_set),
        *until_measured("v1"),
        step("The submitter tries to approve the own submission: refused", reviewing.four_eyes),
        *until_live("v1"),
        step("The author publishes v2 on the Hub", reviewing.publish_on_hub, "v2"),
        *until_measured("v2"),
        *until_live("v2"),
        step("The author publishes v3: v2's weights, two labels exchanged", reviewing.publish_on_hub, "v3"),
        *until_measured("v3"),
        step("The golden set shows v3's collapse beside v2", reviewing.compare_v3),
        step("The reviewer rejects v3", reviewing.reject_v3),
        step("The release manager tries to move production to v3: refused", releasing.move_to_rejected),
        step("An engineer asks which revision to use", releasing.ask_approved),
        step("... and is told why there is none of an unknown or rejected one", releasing.ask_unapproved),
        step(
            "An unmodified transformers, no revision named, gets the approved commit",
            consuming.pipeline_without_revision,
        ),
        step("... and is refused v3 in the engineer's own terminal", consuming.pipeline_of_rejected),
        step("Another team asks: for them the model does not exist", releasing.ask_from_other_team),
        step("A model with code of its own is submitted for development", auditing.submit_first),
        step("Unread code: no approval, and the refusal names the files", auditing.refused_before_audit),
        step("The security auditor reads and passes file by file, one of them flagged", auditing.judge_all),
        step("The next commit changes one helper file: only that is open again", auditing.submit_second),
        step("... and one more verdict settles the audit", auditing.judge_changed),
        step("The admin rolls production back from the dashboard", releasing.roll_back),
        step("The next answers carry v1's commit", releasing.served, "v1"),
        step("History and audit log say who, when and why", releasing.history),
        step("The admin writes a stricter policy and asks what would flip", tightening.simulate),
        step("... and puts it on a dry run: shown on revisions, blocking nothing", tightening.dry_run),
        step("What was live then? The auditor asks for a moment of v2", releasing.ask_then),
        step("The auditor exports the dossier of v2", proving.export_dossier, "v2"),
        step("... and checks its signed attestation outside", proving.check_attestation, "v2"),
        step(
            "The auditor verifies the audit log, by the page and by a command of its own",
            proving.verify_chain,
        ),
        step("Somebody edits a copy of the database: verification names the row", proving.forge),
    ]


def closing_table(scene: Scene) -> list[str]:
    """What became of each version, as far as the story came."""
    rows: list[tuple[str, ...]] = [HEAD]
    spans = _spans(scene)
    for version, sha in scene.commits.items():
        figures = ["-"] * 5
        if seen := scene.figures.get(version):
            quality, speed = seen["evaluation"]["data"], seen["benchmark"]["data"]
            figures = [f"{quality[name]:.3f}" for name in ("accuracy", "macro_f1")]
            figures += [f"{speed[name]:.2f}" for name in ("latency_p50_ms", "latency_p95_ms")]
            figures += [f"{speed['throughput_texts_s']:.0f}"]
        decision = scene.decisions.get(version, "-")
        rows.append((version, sha[:7], *figures, decision, spans.get(sha, "never")))
    return table(rows)


def _spans(scene: Scene) -> dict[str, str]:
    """{commit: "10:02:11-10:03:05, live since 10:04:00"} from the channel's own history."""
    try:
        moves = scene.moves()
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
