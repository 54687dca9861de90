"""The registry's own records: revisions, evidence, golden sets, approvals, channels, roles and tokens."""

from __future__ import annotations

from collections.abc import Iterator

from cli.chain import Told
from cli.ledgers import Ledger
from cli.tables.common import (
    Column,
    Problem,
    Said,
    Table,
    day,
    first,
    is_set,
    json_column,
    json_digest,
    last,
    named,
    subject,
    taken,
    when,
)

# What each event of an approval leaves it as.
STATUS_AFTER = {
    "approval.granted": "active",
    "approval.suspended": "suspended",
    "approval.resumed": "active",
    "approval.revoked": "revoked",
    "approval.deprecated": "deprecated",
    "approval.retired": "retired",
    "approval.expired": "expired",
}
TERMS = (
    "allowed_environments", "use_cases", "data_classes", "review_by", "monitoring", "rollback_approval", "rollback_target",
    "fallback", "data_policy",
)  # fmt: skip


def _revision(history: list[Told]) -> Said:
    recorded = first(history, "revision.recorded")
    assert recorded is not None
    said = taken(recorded, commit="sha", manifest_digest="manifest_sha256", code_audit="code_audit")
    if moved := last(history, "code.moved"):
        said["code audit"] = (moved.data.get("state"), moved)
    if "code audit" in said:
        waived = last(history, "code.waived") if said["code audit"][0] == "waived" else None
        until = when(waived.data.get("until")) if waived else None
        said["end of the waiver"] = (until, waived or said["code audit"][1])
    return said


def _approval(history: list[Told]) -> Said:
    granted = first(history, "approval.granted")
    assert granted is not None
    said = taken(
        granted, environment="environment", commit="sha", manifest_digest="manifest_sha256", content_digest="content_sha256",
        evidence="evidence", use_case="use_case", data_class="data_class", conditions="conditions", owner="owner",
        policies="policy_version", code_digest="remote_code_sha256", submitter="submitted_by",
    )  # fmt: skip
    said["approver"] = (granted.actor, granted)
    said["end"] = (when(granted.data.get("expires_at")), granted)
    terms = granted.data.get("terms") or {}
    said |= {name.replace("_", " "): (terms[name], granted) for name in TERMS if name in terms}
    moved = last(history, *STATUS_AFTER)
    assert moved is not None
    said["status"] = (STATUS_AFTER[moved.verb], moved)
    return said


def _move(history: list[Told]) -> Said:
    event = history[0]
    said = taken(event, approval="approval", approval_before="before", reason="reason", number="number")
    kind = "rollback" if event.verb == "channel.rolled_back" else "move"
    return {
        **said,
        "channel": (event.object_id, event),
        "person": (event.actor, event),
        "kind": (kind, event),
    }


def _role(history: list[Told]) -> Said:
    granted = last(history, "membership.granted")
    assert granted is not None
    role = str(granted.data.get("role", "")).lower().replace(" ", "_")
    return {**taken(granted, user="user"), "role": (role, granted), "team": (granted.team, granted)}


def _token(history: list[Told]) -> Said:
    created = first(history, "token.created")
    assert created is not None
    revoked = last(history, "token.revoked")
    scoped = last(history, "token.scopes_changed") or created
    return {
        **taken(created, public_id="public_id", owner="owner"),
        **taken(scoped, scopes="scopes"),
        "end": (when(created.data.get("expires_at")), created),
        "revocation": (revoked is not None, revoked or created),
    }


TABLES: tuple[Table, ...] = (
    Table(
        "registry_revision", ("revision",), "registry_revision",
        (Column("commit", "commit_sha"), Column("manifest digest", "manifest_sha256"), Column("code audit", "code_audit"),
         Column("end of the waiver", "code_waived_until", when)),
        subject("revision", "revision.", "code."), frozenset({"revision.recorded"}), _revision,
        "Revision {pk}", "Revision {pk}, of event {seq},",
    ),
    Table(
        "registry_evidence", ("evidence",), "registry_evidence e JOIN registry_revision r ON r.id = e.revision_id",
        (Column("digest", "e.sha256"), json_column("figures", "e.data", json_digest),
         Column("summary", "e.summary"), Column("commit", "r.commit_sha")),
        subject("evidence"), frozenset({"evidence.published"}),
        lambda history: taken(history[0], digest="evidence_sha256", figures="evidence_sha256", summary="summary", commit="sha"),
        "Evidence {pk}", "Evidence {pk}, of event {seq},", key="e.id",
    ),
    Table(
        "inference_goldenset", ("goldenset",), "inference_goldenset",
        (Column("digest", "sha256"), Column("name", "name"), Column("model", "model_id"), Column("size", "size")),
        subject("goldenset"), frozenset({"golden_set.created"}),
        lambda history: taken(history[0], digest="sha256", name="name", model="model_id", size="examples"),
        "Golden set {pk}", "Golden set {pk}, of event {seq},",
    ),
    Table(
        "registry_approval", ("approval",), "registry_approval a JOIN registry_revision r ON r.id = a.revision_id",
        (
            Column("status", "a.status"), Column("environment", "a.environment"), Column("commit", "r.commit_sha"),
            Column("manifest digest", "a.manifest_sha256"), Column("content digest", "a.content_sha256"),
            Column("code digest", "a.remote_code_sha256"), Column("approver", "a.approved_by_id"),
            Column("submitter", "a.submitted_by_id"), Column("end", "a.expires_at", when),
            Column("use case", "a.use_case"), Column("data class", "a.data_class"), Column("conditions", "a.conditions"),
            Column("owner", "a.owner"), Column("policies", "a.policy_version"),
            json_column("evidence", "a.evidence_ids"),
            json_column("allowed environments", "a.allowed_environments"), json_column("use cases", "a.use_cases"),
            json_column("data classes", "a.data_classes"), Column("review by", "a.review_by", day),
            json_column("monitoring", "a.monitoring"), Column("rollback approval", "a.rollback_approval_id"),
            Column("rollback target", "a.rollback_target"), Column("fallback", "a.fallback"),
            Column("data policy", "a.data_policy"),
        ),
        subject("approval"), frozenset({"approval.granted"}), _approval,
        "Approval {pk}", "Approval {pk}, of event {seq},", key="a.id",
    ),
    Table(
        "registry_channelmove", ("channel",), "registry_channelmove",
        (Column("number", "number"), Column("channel", "channel_id"), Column("approval", "to_approval_id"),
         Column("approval before", "from_approval_id"), Column("person", "by_id"), Column("kind", "kind"),
         Column("reason", "reason")),
        named("move", "channel.moved", "channel.rolled_back"), frozenset({"channel.moved", "channel.rolled_back"}), _move,
        "Move {number} of channel {channel}", "Move {number} of {channel} of {model_id}, of event {seq},",
    ),
    Table(
        "registry_membership", ("membership",), "registry_membership",
        (Column("user", "user_id"), Column("team", "team_id"), Column("role", "role")),
        subject("membership"), frozenset({"membership.granted"}), _role,
        "The role {role} of user {user} in team {team}", "The role {role} of event {seq}",
        gone=frozenset({"membership.removed"}),
    ),
    Table(
        "registry_apitoken", ("apitoken",), "registry_apitoken",
        (Column("public id", "public_id"), Column("owner", "user_id"), json_column("scopes", "scopes"),
         Column("end", "expires_at", when), Column("revocation", "revoked_at", is_set)),
        subject("apitoken"), frozenset({"token.created"}), _token,
        "Token {public_id}", "Token '{name}' of event {seq}",
    ),
)  # fmt: skip


def manifests(ledger: Ledger) -> Iterator[Problem]:
    """The list of a revision's files gives its digest, which the table above holds against the log."""
    files: dict[int, list[list[object]]] = {}
    for revision, path, size, sha256 in ledger.query(
        "SELECT f.revision_id, f.path, b.size, f.blob_id FROM registry_revisionfile f "
        "JOIN registry_blob b ON b.sha256 = f.blob_id ORDER BY f.revision_id"
    ):
        files.setdefault(revision, []).append([path, size, sha256])
    for pk, digest in ledger.query("SELECT id, manifest_sha256 FROM registry_revision ORDER BY id"):
        if json_digest(sorted(files.get(pk, []))) != digest:
            yield (
                "record-differs",
                "registry_revisionfile",
                pk,
                f"The files of revision {pk} do not give its digest.",
            )


def pointers(ledger: Ledger) -> Iterator[Problem]:
    """A channel points at its last move, which the table above holds against the log."""
    live = {
        channel: approval
        for channel, approval in ledger.query(
            "SELECT channel_id, to_approval_id FROM registry_channelmove ORDER BY channel_id, number"
        )
    }
    for channel, current in ledger.query("SELECT id, current_id FROM registry_channel ORDER BY id"):
        if current != live.get(channel):
            sentence = (
                f"Channel {channel} points at approval {current}, and its last move at {live.get(channel)}."
            )
            yield "record-differs", "registry_channel", channel, sentence
