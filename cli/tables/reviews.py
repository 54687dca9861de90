"""What people decided: reviews and votes, verdicts on code, waivers, policies, templates, attestations."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from cli.chain import Told
from cli.tables.common import (
    Column,
    Said,
    Table,
    first,
    is_set,
    json_column,
    json_digest,
    last,
    named,
    subject,
    taken,
    text_digest,
    truth,
    when,
)

DECIDED = ("review.approved", "review.rejected")
VOTED = ("review.voted", "review.legal_asked", *DECIDED)
COMMENTED = ("review.commented", "review.thread_resolved", "review.thread_reopened")
POLICY_STATE = {
    "policy.saved": "draft", "policy.dry_run": "dry_run", "policy.in_force": "in_force", "policy.retired": "retired",
}  # fmt: skip


def _request(history: list[Told]) -> Said:
    submitted, decided = first(history, "review.submitted"), last(history, *DECIDED)
    assert submitted is not None
    said = {
        **taken(submitted, environment="environment", data_class="data_class"),
        "submitter": (submitted.actor, submitted),
    }
    for event in history:  # the last that says something of a column is right
        said |= taken(
            event,
            status="to",
            tier="tier",
            votes_needed="votes_needed",
            legal_asked="legal_asked",
            round="round",
        )
    if decided is None:
        return {
            **said,
            "decision": ("", submitted),
            "decider": (None, submitted),
            "approval": (None, submitted),
        }
    said |= taken(
        decided, decision="outcome", reason="reason", conditions="conditions", content_digest="content_sha256",
        approval="approval",
    )  # fmt: skip
    return {**said, "decider": (decided.actor, decided)}


def _vote(history: list[Told]) -> Said:
    event = history[0]
    vote: dict[str, Any] = event.data["vote"]
    said: Said = {name: (vote[name], event) for name in ("decision", "round", "roles") if name in vote}
    said |= {
        "content digest": (vote.get("content_sha256"), event),
        "reason": (vote.get("reason_sha256"), event),
    }
    return {**said, "review": (event.object_id, event), "person": (event.actor, event)}


def _vote_row(event: Told) -> int | None:
    vote = event.data.get("vote") if event.verb in VOTED else None
    pk = vote.get("id") if isinstance(vote, dict) else None
    return pk if isinstance(pk, int) else None


def _comment(history: list[Told]) -> Said:
    event = history[0]
    said = taken(event, thread="thread", item="key", kind="kind", round="in_round", text="text_sha256")
    return {**said, "review": (event.object_id, event), "person": (event.actor, event)}


def _verdict(history: list[Told]) -> Said:
    event = history[0]
    said = taken(event, path="path", digest="sha256", verdict="verdict")
    said["reason"] = (str(event.data.get("reason", "")).removeprefix(", "), event)
    return {
        **said, "revision": (event.object_id, event), "auditor": (event.actor, event), "team": (event.team, event),
    }  # fmt: skip


def _code_waiver(history: list[Told]) -> Said:
    given, ended = first(history, "code.waived"), last(history, "code.waiver_ended")
    assert given is not None
    return {
        **taken(given, reason="reason", owner="owner"),
        "revision": (given.object_id, given),
        "person": (given.actor, given),
        "end": (when(given.data.get("until")), given),
        "early end": (ended is not None, ended or given),
        "person who ended it": (ended.actor if ended else None, ended or given),
    }


def _waiver(history: list[Told]) -> Said:
    given, ended = first(history, "waiver.granted"), last(history, "waiver.ended")
    assert given is not None
    return {
        **taken(given, rule="rule", reason="reason", owner="owner", revision="revision"),
        "person": (given.actor, given),
        "end": (when(given.data.get("expires_at")), given),
        "early end": (ended is not None, ended or given),
        "person who ended it": (ended.actor if ended else None, ended or given),
    }


def _policy(history: list[Told]) -> Said:
    saved, moved = first(history, "policy.saved"), last(history, *POLICY_STATE)
    assert saved is not None and moved is not None
    said = taken(saved, policy="policy", number="number", title="title", digest="sha256", source="sha256")
    return {
        **said, "author": (saved.actor, saved), "team": (saved.team, saved),
        "state": (POLICY_STATE[moved.verb], moved), "person who put it there": (moved.actor, moved),
    }  # fmt: skip


def _template(history: list[Told]) -> Said:
    added = history[0]
    return {
        **taken(added, name="name", digest="sha256"),
        "author": (added.actor, added),
        "team": (added.team, added),
    }


def _payload(envelope: Any) -> str:
    """Digest of what a DSSE envelope signs; empty when it is none."""
    try:
        found = json.loads(envelope)
        return text_digest(base64.b64decode(found["payload"], validate=True).decode("utf-8"))
    except (ValueError, KeyError, TypeError, binascii.Error):
        return ""


TABLES: tuple[Table, ...] = (
    Table(
        "reviews_reviewrequest", ("reviewrequest",), "reviews_reviewrequest",
        (Column("status", "status"), Column("environment", "environment"), Column("data class", "data_class"),
         Column("submitter", "submitted_by_id"), Column("round", "round"), Column("tier", "tier"),
         Column("votes needed", "votes_needed"), Column("legal asked", "legal_asked", truth), Column("decision", "decision"),
         Column("decider", "decision_by_id"), Column("reason", "decision_reason"), Column("conditions", "conditions"),
         Column("content digest", "content_sha256"), Column("approval", "approval_id")),
        subject("reviewrequest"), frozenset({"review.submitted"}), _request,
        "Review {pk}", "Review {pk}, of event {seq},",
    ),
    Table(
        "reviews_vote", ("reviewrequest",), "reviews_vote",
        (Column("review", "request_id"), Column("person", "reviewer_id"), Column("decision", "decision"),
         Column("round", "round"), json_column("roles", "roles"), Column("content digest", "content_sha256"),
         Column("reason", "reason", text_digest)),
        _vote_row, frozenset(VOTED), _vote,
        "Vote {pk} of user {person} on review {review}", "Vote {pk}, of event {seq},",
    ),
    Table(
        "reviews_reviewcomment", ("reviewrequest",), "reviews_reviewcomment",
        (Column("review", "request_id"), Column("thread", "thread_id"), Column("item", "key"), Column("kind", "kind"),
         Column("text", "text", text_digest), Column("round", "round"), Column("person", "by_id")),
        named("comment", *COMMENTED), frozenset(COMMENTED), _comment,
        "Comment {pk} on review {review}", "Comment {comment}, of event {seq},",
    ),
    Table(
        "reviews_fileverdict", ("revision",), "reviews_fileverdict",
        (Column("path", "path"), Column("revision", "revision_id"), Column("digest", "sha256"), Column("verdict", "verdict"),
         Column("reason", "reason"), Column("auditor", "by_id"), Column("team", "team_id")),
        named("judged", "code.judged"), frozenset({"code.judged"}), _verdict,
        "Verdict {pk} on {path} of revision {revision}", "The verdict on {path}, of event {seq},",
    ),
    Table(
        "reviews_codewaiver", ("revision",), "reviews_codewaiver",
        (Column("revision", "revision_id"), Column("reason", "reason"), Column("owner", "owner_id"),
         Column("person", "by_id"), Column("end", "expires_at", when), Column("early end", "ended_at", is_set),
         Column("person who ended it", "ended_by_id")),
        named("waiver", "code.waived", "code.waiver_ended"), frozenset({"code.waived"}), _code_waiver,
        "Waiver {pk} of the code audit of revision {revision}", "Waiver {pk} of a code audit, of event {seq},",
    ),
    Table(
        "reviews_waiver", ("waiver",), "reviews_waiver",
        (Column("rule", "rule"), Column("revision", "revision_id"), Column("reason", "reason"), Column("owner", "owner_id"),
         Column("person", "by_id"), Column("end", "expires_at", when), Column("early end", "ended_at", is_set),
         Column("person who ended it", "ended_by_id")),
        subject("waiver"), frozenset({"waiver.granted"}), _waiver,
        "Waiver {pk} of {rule} for revision {revision}", "Waiver {pk} of {rule}, of event {seq},",
    ),
    Table(
        "reviews_policyversion", ("policyversion",), "reviews_policyversion v JOIN reviews_policy p ON p.id = v.policy_id",
        (Column("policy", "p.key"), Column("number", "v.number"), Column("team", "p.team_id"), Column("title", "v.title"),
         Column("digest", "v.sha256"), Column("source", "v.source", text_digest), Column("author", "v.author_id"),
         Column("state", "v.state"), Column("person who put it there", "v.state_by_id")),
        subject("policyversion"), frozenset({"policy.saved"}), _policy,
        "Version {number} of the policy {policy}", "Version {number} of the policy {policy}, of event {seq},", key="v.id",
    ),
    Table(
        "reviews_checklisttemplateversion", ("checklisttemplateversion",),
        "reviews_checklisttemplateversion v JOIN reviews_checklisttemplate t ON t.id = v.template_id",
        (Column("name", "t.slug || '/' || CAST(v.number AS TEXT)"), Column("digest", "v.sha256"),
         Column("slug", "t.slug"), json_column("names", "v.name"), json_column("items", "v.items"),
         Column("author", "v.by_id"), Column("team", "t.team_id")),
        subject("checklisttemplateversion"), frozenset({"template.version_added"}), _template,
        "The checklist template {name}", "The checklist template {name}, of event {seq},", key="v.id",
        also=lambda row: {
            "content": (json_digest({"slug": row["slug"], "name": row["names"], "items": row["items"]}), row["digest"]),
        },
    ),
    Table(
        "reviews_attestation", ("approval",), "reviews_attestation",
        (Column("digest", "payload_sha256"), Column("statement", "envelope", _payload)),
        subject("approval", "approval.attested"), frozenset({"approval.attested"}),
        lambda history: taken(history[-1], digest="payload_sha256", statement="payload_sha256"),
        "The attestation of approval {pk}", "The attestation of approval {pk}, of event {seq},", key="approval_id",
    ),
)  # fmt: skip
