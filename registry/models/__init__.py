from registry.models.accounts import ApiToken, Membership, Team, User
from registry.models.approvals import Approval, Channel, ChannelMove, Reminder, ServedReplica
from registry.models.artifacts import Blob, Evidence, RegisteredModel, Revision, RevisionFile
from registry.models.attempts import FailedAttempts
from registry.models.audit import AccessEvent, AuditCheckpoint, AuditEvent, AuditHead
from registry.models.downloads import Download
from registry.models.jobs import Job

__all__ = [
    "AccessEvent",
    "ApiToken",
    "Approval",
    "AuditCheckpoint",
    "AuditEvent",
    "AuditHead",
    "Blob",
    "Channel",
    "ChannelMove",
    "Download",
    "Evidence",
    "FailedAttempts",
    "Job",
    "Membership",
    "RegisteredModel",
    "Reminder",
    "Revision",
    "RevisionFile",
    "ServedReplica",
    "Team",
    "User",
]
