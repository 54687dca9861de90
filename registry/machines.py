"""The state machines as tables, and the one door that every state goes through.

A move locks the row, looks itself up here, writes status, time and person, and leaves the audit event to the caller's
service, all in one transaction. The diagrams in docs/states.md are generated from these tables
(`python -m tests.house.states`).
"""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext_noop as _

from registry.enums import ApprovalStatus as A
from registry.enums import JobState as J
from registry.exceptions import Conflict
from registry.words import gettext


@dataclass(frozen=True)
class Machine:
    """`moves[(from, action)] = to`. A state with no way out is terminal."""

    name: str
    states: tuple[str, ...]
    moves: dict[tuple[str, str], str]

    @property
    def actions(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(action for _, action in self.moves))

    def target(self, state: str, action: str) -> str:
        """The state after `action`. Raises Conflict when the table has no such move."""
        try:
            return self.moves[state, action]
        except KeyError:
            raise Conflict(
                gettext(
                    "This %(object)s is %(state)s, so it cannot be %(done)s any more. Reload the page to see what "
                    "happened.",
                    object=gettext(self.name),
                    state=gettext(state.replace("_", " ")),
                    done=gettext(PAST.get(action, action.replace("_", " "))),
                ),
                code="wrong_state",
                state=str(state),
                action=str(action),
            ) from None

    def allows(self, state: str, action: str) -> bool:
        return (state, action) in self.moves

    def as_mermaid(self) -> str:
        lines = ["stateDiagram-v2", f"    [*] --> {self.states[0]}"]
        lines += [f"    {state} --> {to}: {action}" for (state, action), to in self.moves.items()]
        ends = [state for state in self.states if not any(source == state for source, _ in self.moves)]
        return "\n".join(lines + [f"    {state} --> [*]" for state in ends])


PAST: dict[str, str] = {
    "suspend": _("suspended"),
    "resume": _("resumed"),
    "revoke": _("revoked"),
    "deprecate": _("deprecated"),
    "retire": _("retired"),
    "expire": _("expired"),
    "claim": _("started"),
    "succeed": _("finished"),
    "fail": _("failed"),
    "cancel": _("cancelled"),
    "time_out": _("timed out"),
    "requeue": _("queued again"),
    "submit": _("submitted"),
    "start_checks": _("checked"),
    "pass_checks": _("opened for review"),
    "fail_checks": _("sent back"),
    "request_changes": _("sent back"),
    "approve": _("approved"),
    "reject": _("rejected"),
    "withdraw": _("withdrawn"),
    "supersede": _("superseded"),
}

# What machines and states are called in the sentence of a refusal.
WORDS = (
    _("approval"), _("job"), _("review request"), _("active"), _("deprecated"), _("suspended"), _("retired"), _("revoked"),
    _("expired"), _("queued"), _("running"), _("succeeded"), _("failed"), _("cancelled"), _("timed out"), _("draft"),
    _("submitted"), _("checks running"), _("in review"), _("changes requested"), _("approved"), _("rejected"), _("withdrawn"),
    _("superseded"), _("start checks"), _("carried over"),
)  # fmt: skip

APPROVAL = Machine(
    name="approval",
    states=(A.ACTIVE, A.DEPRECATED, A.SUSPENDED, A.RETIRED, A.REVOKED, A.EXPIRED),
    moves={
        (A.ACTIVE, "deprecate"): A.DEPRECATED,
        (A.ACTIVE, "suspend"): A.SUSPENDED,
        (A.ACTIVE, "expire"): A.EXPIRED,
        (A.DEPRECATED, "retire"): A.RETIRED,
        (A.DEPRECATED, "suspend"): A.SUSPENDED,
        (A.DEPRECATED, "expire"): A.EXPIRED,
        (A.SUSPENDED, "resume"): A.ACTIVE,
        (A.SUSPENDED, "revoke"): A.REVOKED,
    },
)

JOB = Machine(
    name="job",
    states=(J.QUEUED, J.RUNNING, J.SUCCEEDED, J.FAILED, J.CANCELLED, J.TIMED_OUT),
    moves={
        (J.QUEUED, "claim"): J.RUNNING,
        (J.QUEUED, "cancel"): J.CANCELLED,
        (J.RUNNING, "succeed"): J.SUCCEEDED,
        (J.RUNNING, "fail"): J.FAILED,
        (J.RUNNING, "cancel"): J.CANCELLED,
        (J.RUNNING, "time_out"): J.TIMED_OUT,
        (J.RUNNING, "requeue"): J.QUEUED,
    },
)
