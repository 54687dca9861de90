"""Who acts: a person or a service account, in one team, with the roles of now, cut down to a token's scopes."""

from __future__ import annotations

from dataclasses import dataclass, field

from registry.enums import Role, Scope
from registry.models import Membership, Team, User


@dataclass(frozen=True)
class Actor:
    """`scopes is None` means a signed-in session: no scope narrows the roles."""

    user: User
    team: Team | None
    roles: frozenset[str] = field(default_factory=frozenset)
    auth_method: str = "session"
    token_id: str = ""
    scopes: frozenset[str] | None = None

    def has_role(self, *roles: Role) -> bool:
        return any(role in self.roles for role in roles)

    def has_scope(self, scope: Scope) -> bool:
        return self.scopes is None or scope in self.scopes

    @property
    def in_team(self) -> Team:
        """The team, for code that only members reach. Raises RuntimeError when there is none."""
        if self.team is None:
            raise RuntimeError("this actor has no team")
        return self.team


def actor_for(user: User, team: Team, *, auth_method: str = "internal") -> Actor:
    """The actor of `user` in `team` with the roles the database says now."""
    roles = Membership.objects.filter(user=user, team=team).values_list("role", flat=True)
    return Actor(user=user, team=team, roles=frozenset(roles), auth_method=auth_method)
