"""Who may do what at every address: one row a route, one cell a verb. Written by hand; test_matrix.py knocks on each.

A cell says which door stands there and which roles of the object's own team pass it. A new route without a row fails the
test, and so does a row without a route. HEAD follows GET.
"""

from __future__ import annotations

from dataclasses import dataclass

from registry.enums import Role

VIEWER, SUBMITTER, REVIEWER = Role.VIEWER, Role.SUBMITTER, Role.REVIEWER
SECURITY, LEGAL, RELEASE, ADMIN, AUDITOR = (
    Role.SECURITY_AUDITOR, Role.LEGAL, Role.RELEASE_MANAGER, Role.ADMIN, Role.AUDITOR,
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """`door`, from open to closed:

    anyone     a stranger passes
    signed in  whoever is known passes, in a team or not
    team       one's own team's things: another team sees its own, and its roles count there
    object     a thing of one team: for another team it does not exist (404)
    own        a thing of these people: for everybody else it does not exist (404)
    service    inference servers
    staff      Django's administration: no role of a team opens it
    refused    nobody: a sentence for whoever is known (403)
    nothing    nobody: there is nothing there, for whoever is known (404)
    """

    door: str
    roles: frozenset[str] = frozenset(Role.values)


def _team(*roles: Role) -> Cell:
    return Cell("team", frozenset(roles))


def _object(*roles: Role) -> Cell:
    return Cell("object", frozenset(roles))


ANYONE, SIGNED_IN, OWN = Cell("anyone"), Cell("signed in"), Cell("own", frozenset({SUBMITTER}))
TEAM, OBJECT = Cell("team"), Cell("object")
SERVICE, STAFF = Cell("service", frozenset()), Cell("staff", frozenset())
REFUSED, NOTHING = Cell("refused", frozenset()), Cell("nothing", frozenset())

SUBMITS = (SUBMITTER, ADMIN)
ANSWERS = (REVIEWER, SECURITY, LEGAL)
COMMENTS = (SUBMITTER, REVIEWER, SECURITY, LEGAL, RELEASE, ADMIN)
MEASURES = (SUBMITTER, REVIEWER, RELEASE, ADMIN)
ADDS_SETS = (SUBMITTER, REVIEWER, ADMIN)
WAIVES = (REVIEWER, SECURITY, ADMIN)
WAIVES_CODE = (SECURITY, ADMIN)
SUSPENDS = (REVIEWER, RELEASE, ADMIN)
RESUMES = (RELEASE, ADMIN)
EXPORTS = (REVIEWER, SECURITY, RELEASE, ADMIN, AUDITOR)

Row = dict[str, Cell]

PAGES: dict[str, Row] = {
    "": {"GET": TEAM},
    "healthz": {"GET": ANYONE},
    "login/": {"GET": ANYONE, "POST": ANYONE},
    "logout/": {"POST": SIGNED_IN},
    "password/": {"GET": SIGNED_IN, "POST": SIGNED_IN},
    "language/": {"POST": SIGNED_IN},
    "search/": {"GET": TEAM},
    "models/": {"GET": TEAM},
    "models/<int:pk>/": {"GET": OBJECT},
    "models/<int:pk>/lock/": {"GET": OBJECT},
    "revisions/<int:pk>/": {"GET": OBJECT},
    "revisions/<int:pk>/benchmark/": {"POST": _object(*MEASURES)},
    "revisions/<int:pk>/evaluate/<int:set_pk>/": {"POST": _object(*MEASURES)},
    "revisions/<int:pk>/code/": {"GET": OBJECT},
    "revisions/<int:pk>/code/verdict/": {"POST": _object(SECURITY)},
    "revisions/<int:pk>/code/waiver/": {"POST": _object(*WAIVES_CODE)},
    "revisions/<int:pk>/code/waiver/end/": {"POST": _object(*WAIVES_CODE)},
    "revisions/<int:pk>/exports/<slug:kind>/": {"GET": _object(*EXPORTS)},
    "revisions/<int:pk>/waive/": {"GET": OBJECT, "POST": _object(*WAIVES)},
    "exports/approvals.csv": {"GET": _team(*EXPORTS)},
    "exports/audit.csv": {"GET": _team(*EXPORTS)},
    "approvals/<int:pk>/attestation/": {"GET": OBJECT},
    "approvals/<int:pk>/model-signature/": {"GET": OBJECT},
    "approvals/<int:pk>/<action:action>/": {"POST": _object(*SUSPENDS)},
    "policies/": {"GET": TEAM},
    "policies/edit/": {"GET": TEAM, "POST": _team(ADMIN)},
    "policies/simulate/": {"POST": TEAM},
    "policies/versions/<int:pk>/": {"POST": _object(ADMIN)},
    "policies/<slug:key>/": {"GET": OBJECT},
    "waivers/": {"GET": TEAM},
    "waivers/<int:pk>/end/": {"POST": _object(*WAIVES)},
    "reviews/": {"GET": TEAM},
    "reviews/new/": {"GET": _team(*SUBMITS), "POST": _team(*SUBMITS)},
    "reviews/lookup/": {"GET": TEAM},
    "reviews/tier/": {"GET": TEAM},
    "reviews/<int:pk>/": {"GET": OBJECT, "POST": _object(*ANSWERS)},
    "reviews/<int:pk>/answers/<slug:key>/": {"POST": _object(REVIEWER)},  # this item asks reviewers
    "reviews/<int:pk>/comments/": {"POST": _object(*COMMENTS)},
    "reviews/<int:pk>/threads/<int:thread>/": {"POST": _object(*COMMENTS)},
    "reviews/<int:pk>/decide/": {"POST": _object(*ANSWERS)},
    "reviews/<int:pk>/record/": {"POST": _object(*ANSWERS)},
    "reviews/<int:pk>/changes/": {"POST": _object(*ANSWERS)},
    "reviews/<int:pk>/withdraw/": {"POST": _object(SUBMITTER)},  # the one who submitted, and nobody else
    "reviews/<int:pk>/resubmit/": {"POST": _object(*SUBMITS)},
    "reviews/templates/": {"GET": TEAM},
    "reviews/templates/new/": {"GET": _team(ADMIN), "POST": _team(ADMIN)},
    "reviews/templates/<int:pk>/": {"GET": OBJECT},
    "runs/": {"GET": TEAM},
    "runs/<int:pk>/": {"GET": OBJECT},
    "runs/<int:pk>/cancel/": {"POST": _object(*MEASURES)},
    "channels/": {"GET": TEAM},
    "channels/<int:pk>/": {"GET": OBJECT},
    "channels/<int:pk>/move/": {"POST": _object(RELEASE)},
    "channels/<int:pk>/rollback/": {"POST": _object(RELEASE, ADMIN)},
    "golden-sets/": {"GET": TEAM},
    "golden-sets/new/": {"GET": _team(*ADDS_SETS), "POST": _team(*ADDS_SETS)},
    "audit/": {"GET": TEAM},
    "tokens/": {"GET": SIGNED_IN, "POST": SIGNED_IN},
    "tokens/<int:pk>/revoke/": {"POST": OWN},
    "teams/switch/": {"POST": Cell("own")},  # a team of one's own: any other is none
}

_MODEL = "api/v1/models/<str:org>/<str:name>"
_REVISION = f"{_MODEL}/revisions/<sha:commit_sha>"

API: dict[str, Row] = {
    "api/v1/me": {"GET": SIGNED_IN},
    "api/v1/keys": {"GET": SIGNED_IN},
    "api/v1/schema": {"GET": TEAM},
    "api/v1/docs": {"GET": TEAM},
    "api/v1/lock": {"GET": TEAM},
    "api/v1/lookup": {"GET": _team(*SUBMITS)},
    "api/v1/models": {"GET": TEAM},
    _MODEL: {"GET": OBJECT},
    f"{_MODEL}/approved": {"GET": OBJECT},
    f"{_MODEL}/revisions": {"GET": OBJECT},
    _REVISION: {"GET": OBJECT},
    f"{_REVISION}/consumers": {"GET": OBJECT},
    f"{_REVISION}/benchmarks": {"POST": _object(*MEASURES)},
    f"{_REVISION}/evaluations": {"POST": _object(*MEASURES)},
    f"{_REVISION}/exports/<slug:kind>": {"GET": _object(*EXPORTS)},
    f"{_REVISION}/code": {"GET": OBJECT},
    f"{_REVISION}/code/verdicts": {"POST": _object(SECURITY)},
    f"{_REVISION}/code/waiver": {"POST": _object(*WAIVES_CODE), "DELETE": _object(*WAIVES_CODE)},
    f"{_REVISION}/code/files/<slug:sha256>": {"GET": OBJECT},
    f"{_MODEL}/channels": {"GET": OBJECT},
    f"{_MODEL}/channels/<slug:channel>": {"GET": OBJECT},
    f"{_MODEL}/channels/<slug:channel>/moves": {"POST": _object(RELEASE)},
    f"{_MODEL}/channels/<slug:channel>/rollback": {"POST": _object(RELEASE, ADMIN)},
    "api/v1/approvals/<int:pk>/<action:action>": {"POST": _object(*SUSPENDS)},
    "api/v1/approvals/<int:pk>/attestation": {"GET": OBJECT},
    "api/v1/approvals/<int:pk>/model-signature": {"GET": OBJECT},
    "api/v1/exports/approvals.csv": {"GET": _team(*EXPORTS)},
    "api/v1/exports/audit.csv": {"GET": _team(*EXPORTS)},
    "api/v1/jobs": {"GET": TEAM},
    "api/v1/jobs/<int:pk>": {"GET": OBJECT},
    "api/v1/jobs/<int:pk>/cancel": {"POST": _object(*MEASURES)},
    "api/v1/golden-sets": {"GET": TEAM, "POST": _team(*ADDS_SETS)},
    "api/v1/audit": {"GET": TEAM},
    "api/v1/audit/verify": {"GET": TEAM},
    "api/v1/tokens": {"GET": SIGNED_IN, "POST": SIGNED_IN},
    "api/v1/tokens/<int:pk>": {"DELETE": OWN},
    "api/v1/tokens/introspect": {"POST": SERVICE},
    "api/v1/serving/manifest": {"GET": SERVICE},
    "api/v1/serving/report": {"POST": SERVICE},
    "api/v1/policies": {"GET": TEAM, "PUT": _team(ADMIN)},
    "api/v1/policies/simulate": {"POST": TEAM},
    "api/v1/policies/versions/<int:pk>": {"GET": OBJECT, "POST": _object(ADMIN)},
    "api/v1/waivers": {"GET": TEAM, "POST": _team(*WAIVES)},
    "api/v1/waivers/<int:pk>": {"GET": OBJECT, "DELETE": _object(*WAIVES)},
    "api/v1/reviews": {"GET": TEAM, "POST": _team(*SUBMITS)},
    "api/v1/reviews/<int:pk>": {"GET": OBJECT},
    "api/v1/reviews/<int:pk>/answers": {"PUT": _object(*ANSWERS)},
    "api/v1/reviews/<int:pk>/suggestions": {"GET": OBJECT},
    "api/v1/reviews/<int:pk>/comments": {"GET": OBJECT, "POST": _object(*COMMENTS)},
    "api/v1/reviews/<int:pk>/decision": {"POST": _object(*ANSWERS)},
    "api/v1/reviews/<int:pk>/record": {"PUT": _object(*ANSWERS)},
    "api/v1/reviews/<int:pk>/changes": {"POST": _object(*ANSWERS)},
    "api/v1/reviews/<int:pk>/withdraw": {"POST": _object(SUBMITTER)},
    "api/v1/reviews/<int:pk>/resubmit": {"POST": _object(*SUBMITS)},
    "api/v1/checklist-templates": {"GET": TEAM, "POST": _team(ADMIN)},
    "api/v1/checklist-templates/<int:pk>": {"GET": OBJECT},
}

_HUB = "hub/api/models/<name:org>/<name:name>"
_PUSH: Row = dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), REFUSED)

HUB: dict[str, Row] = {
    "hub/api/agent-harnesses": {"GET": ANYONE},
    "hub/api/whoami-v2": {"GET": SIGNED_IN},
    "hub/api/models": {"GET": TEAM},
    _HUB: {"GET": OBJECT},
    f"{_HUB}/revision/<anything:revision>": {"GET": OBJECT},
    f"{_HUB}/tree/<name:revision>": {"GET": OBJECT},
    f"{_HUB}/tree/<name:revision>/<anything:folder>": {"GET": OBJECT},
    f"{_HUB}/paths-info/<name:revision>": {"POST": OBJECT},
    f"{_HUB}/refs": {"GET": OBJECT},
    f"{_HUB}/commits/<name:revision>": {"GET": OBJECT},
    "hub/<name:org>/<name:name>/resolve/<name:revision>/<anything:path>": {"GET": OBJECT},
    "hub/api/repos/<anything:rest>": _PUSH,
    "hub/api/validate-yaml": _PUSH,
    f"{_HUB}/preupload/<name:revision>": _PUSH,
    f"{_HUB}/commit/<name:revision>": _PUSH,
    f"{_HUB}/xet-write-token/<name:revision>": _PUSH,
    "hub/<name:org>/<name:name>/info/lfs/<anything:rest>": _PUSH,
    "hub/<anything:rest>": {**_PUSH, "GET": NOTHING},
}

# The same route asks for other roles when its action does: (route, action) -> the cell of POST.
ACTIONS: dict[tuple[str, str], Cell] = {
    (route, action): cell
    for route in ("approvals/<int:pk>/<action:action>/", "api/v1/approvals/<int:pk>/<action:action>")
    for action, cell in {
        "suspend": _object(*SUSPENDS),
        "deprecate": _object(*SUSPENDS),
        "resume": _object(*RESUMES),
        "retire": _object(ADMIN),
        "revoke": _object(ADMIN),
    }.items()
}

ROWS: dict[str, Row] = {**PAGES, **API, **HUB}
