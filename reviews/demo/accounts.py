"""The people of the demonstration. No Django here: the story reads this table, a command makes them."""

from __future__ import annotations

from dataclasses import dataclass

TEAMS = {"acme": "Acme", "globex": "Globex"}


@dataclass(frozen=True)
class Person:
    """`role` is the key in var/demo.json; `roles` are the roles in the team; `scopes` those of the token."""

    role: str
    name: str
    team: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    staff: bool = False


PEOPLE: tuple[Person, ...] = (
    # Submitter *and* reviewer: the attempt to approve meets the four-eyes rule, not a missing role.
    Person("submitter", "Linh Tran", "acme", ("submitter", "reviewer"), ("read", "submit", "review")),
    Person("reviewer", "Ravi Menon", "acme", ("reviewer",), ("read", "submit", "review")),
    Person(
        "second_reviewer", "Hoa Le", "acme", ("reviewer", "security_auditor"), ("read", "artifacts", "review")
    ),
    Person(
        "security_auditor", "Sofia Lindqvist", "acme", ("security_auditor",), ("read", "artifacts", "review")
    ),
    Person("auditor", "Ada Novak", "acme", ("auditor",), ("read",)),
    Person("release_manager", "Mai Pham", "acme", ("release_manager",), ("read", "release")),
    Person(
        "admin",
        "Jonas Weber",
        "acme",
        ("admin",),
        ("read", "submit", "review", "release", "admin"),
        staff=True,
    ),
    Person("engineer", "Grace Kim", "acme", ("viewer",), ("read", "artifacts", "infer")),
    Person("other_team", "Omar Haddad", "globex", ("submitter",), ("read", "artifacts", "infer", "submit")),
)
