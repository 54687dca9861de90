"""Whose votes a request needs, which of the votes cast still count, and what is missing until it is decided.

Reasons for the rules: docs/adr/0008-votes.md. What must hold whoever writes stands in triggers.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_noop

from registry.actors import Actor
from registry.enums import Role
from registry.exceptions import Conflict, NotAllowed
from registry.inspection.licence import look_up
from registry.models import Membership, Revision
from registry.words import both, gettext, ngettext
from reviews import code_audits
from reviews.enums import APPROVALS
from reviews.models import ReviewRequest, Vote
from reviews.tiers import Tier


@dataclass(frozen=True)
class Seat:
    """One vote that is needed; any of `roles` can cast it. A person fills one seat."""

    title: str
    roles: frozenset[Role]


REVIEWER = Seat(gettext_noop("a reviewer"), frozenset({Role.REVIEWER}))
SECOND_LOOK = Seat(
    gettext_noop("a reviewer or security auditor"), frozenset({Role.REVIEWER, Role.SECURITY_AUDITOR})
)
LEGAL = Seat(gettext_noop("a legal reviewer"), frozenset({Role.LEGAL}))

SEATS: dict[Tier, tuple[Seat, ...]] = {
    "low": (REVIEWER,),
    "medium": (REVIEWER, SECOND_LOOK),
    "high": (REVIEWER, REVIEWER),
}

# Categories of the licence table that nobody needs a lawyer for; every other one, and an undeclared licence, asks legal.
FREE_LICENCES = frozenset({"Permissive", "Public Domain"})


def seats_of(request: ReviewRequest) -> tuple[Seat, ...]:
    seats = SEATS[request.risk.tier]
    return (*seats, LEGAL) if request.legal_asked else seats


def set_seats(request: ReviewRequest) -> None:
    """Tier and votes needed on the (locked, unsaved) row, as its question and its decision record ask for now."""
    request.tier, request.votes_needed = request.risk.tier, len(seats_of(request))


def legal_reason(revision: Revision) -> str:
    """Why the licence of a revision asks for a legal reviewer; empty when it does not."""
    facts = revision.facts if isinstance(revision.facts, dict) else {}
    declared = facts.get("licence", {}).get("declared")
    if declared is None:
        declared = [look_up(revision.license)] if revision.license else []
    if not declared:
        return "No licence is declared."
    asking = [entry for entry in declared if entry.get("category") not in FREE_LICENCES]
    return " ".join(
        f"The licence {entry.get('spdx') or entry.get('id')} is of the category {entry.get('category')}."
        for entry in asking
    )


# --- which votes count -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tally:
    """`seats`: each with the vote that fills it, or None. `stale`: people whose last vote was on something else."""

    seats: tuple[tuple[Seat, Vote | None], ...]
    stale: tuple[Vote, ...]

    @property
    def needed(self) -> int:
        return len(self.seats)

    @property
    def given(self) -> int:
        return sum(vote is not None for _, vote in self.seats)

    @property
    def is_met(self) -> bool:
        return self.given == self.needed

    @property
    def words(self) -> str:
        return ngettext(
            "%(given)s of %(needed)s vote",
            "%(given)s of %(needed)s votes",
            self.needed,
            given=self.given,
            needed=self.needed,
        )


def tally(request: ReviewRequest, digest: str = "") -> Tally:
    """The votes of the current round, counted against `digest` (else the one that the request keeps).

    While a request is open, the roles of now count: a vote of somebody who lost the role fills no seat. Once it is decided,
    the roles of then do.
    """
    current = digest or request.content_sha256
    votes = [v for v in request.votes.select_related("reviewer").order_by("pk") if v.round == request.round]
    last = {vote.reviewer_id: vote for vote in votes}  # a person's later vote replaces the earlier one
    fresh = [v for v in last.values() if v.content_sha256 == current and v.decision in APPROVALS]
    roles = _roles_now(request, last) if request.is_open else {pk: set(v.roles) for pk, v in last.items()}
    seats = seats_of(request)
    barred = barred_from_approving(request)
    filled = _seated([v for v in fresh if v.reviewer_id not in barred], seats, roles)
    stale = tuple(v for v in last.values() if v.content_sha256 != current)
    return Tally(tuple((seat, filled.get(n)) for n, seat in enumerate(seats)), stale)


def _roles_now(request: ReviewRequest, people: Iterable[int]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    rows = Membership.objects.filter(team=request.team_id, user__in=people, user__is_active=True)
    for user, role in rows.values_list("user_id", "role"):
        found.setdefault(user, set()).add(role)
    return found


def _seated(votes: list[Vote], seats: tuple[Seat, ...], roles: Mapping[int, set[str]]) -> dict[int, Vote]:
    """The best seating (augmenting paths): nobody sits twice, and nobody keeps a seat that only another could fill."""
    taken: dict[int, Vote] = {}

    def sit(vote: Vote, tried: set[int]) -> bool:
        for number, seat in enumerate(seats):
            if number in tried or not seat.roles & roles.get(vote.reviewer_id, set()):
                continue
            tried.add(number)
            if number not in taken or sit(taken[number], tried):
                taken[number] = vote
                return True
        return False

    for vote in votes:
        sit(vote, set())
    return taken


def missing_votes(request: ReviewRequest) -> list[str]:
    """What stands between the votes cast and a decision, as sentences; empty when the quorum is met."""
    counted = tally(request)
    if counted.is_met:
        return []
    open_seats = [gettext(seat.title) for seat, vote in counted.seats if vote is None]
    found = [
        gettext(
            "%(words)s: still needed, %(seats)s.",
            words=counted.words,
            seats=both(open_seats),
        )
    ]
    if counted.stale:
        names = ", ".join(vote.reviewer.display_name for vote in counted.stale)
        found.append(
            gettext(
                "Something changed after these people voted, so they must look again: %(names)s.", names=names
            )
        )
    return found


# --- who may cast them -------------------------------------------------------------------------------------------------


def barred_from_approving(request: ReviewRequest) -> dict[int, str]:
    """{user id: why}: the submitter, whoever last edited the submission, and the auditors of its code."""
    barred = {
        pk: gettext("You audited code of this revision, so somebody else must vote to approve it.")
        for pk in (code_audits.auditors_of(request.revision) if request.revision else ())
    }
    if request.edited_by_id:
        barred[request.edited_by_id] = gettext(
            "You were the last to edit this submission, so somebody else must approve it."
        )
    barred[request.submitted_by_id] = gettext("You submitted this model, so somebody else must approve it.")
    return barred


def check_may_approve(actor: Actor, request: ReviewRequest) -> None:
    """Raises NotAllowed when this person's eyes cannot be the second pair."""
    if reason := barred_from_approving(request).get(actor.user.pk):
        raise NotAllowed(reason, code="four_eyes")


def check_has_seat(actor: Actor, request: ReviewRequest) -> None:
    """Raises NotAllowed when no vote of this person's roles is asked for."""
    seats = seats_of(request)
    if not any(actor.has_role(*seat.roles) for seat in seats):
        wanted = both(dict.fromkeys(gettext(seat.title) for seat in seats))
        raise NotAllowed(
            gettext(
                "This review asks for the vote of %(wanted)s, and you are neither. Ask an admin of the team "
                "for the role.",
                wanted=wanted,
            ),
            code="role_missing",
        )


def check_not_repeated(actor: Actor, request: ReviewRequest, digest: str) -> None:
    if request.votes.filter(round=request.round, reviewer=actor.user, content_sha256=digest).exists():
        raise Conflict(
            gettext("You have voted on exactly this already. Your vote counts until something changes."),
            code="already_voted",
        )


def status_of(vote: Vote, request: ReviewRequest) -> str:
    """How a vote stands now, in words."""
    if vote.round != request.round:
        return gettext("from round %(round)s, does not count any more", round=vote.round)
    if vote.content_sha256 != request.content_sha256 and vote.decision in APPROVALS:
        return gettext(
            "stale: something changed since, %(reviewer)s must look again",
            reviewer=vote.reviewer.display_name,
        )
    return ""


def data_of(request: ReviewRequest) -> dict[str, Any]:
    """For the API: needed, given, the seats and who sits there."""
    counted, risk = tally(request), request.risk
    return {
        "tier": risk.tier,
        "tier_reason": risk.reason,
        "needed": counted.needed,
        "given": counted.given,
        "seats": [
            {"needs": seat.title, "reviewer": vote.reviewer.username if vote else None}
            for seat, vote in counted.seats
        ],
        "stale": [vote.reviewer.username for vote in counted.stale],
        "legal_asked": request.legal_asked,
        "legal_reason": request.legal_reason,
    }
