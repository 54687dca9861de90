"""A world with one object of each kind, the addresses that lead to them, and knocks that leave no trace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from registry.models import ApiToken, Team
from registry.services.channels import move_channel
from reviews.attestations import write_attestation
from reviews.checklists import templates
from reviews.code_audits.manifest import code_files
from reviews.models import Waiver
from reviews.policies.documents import default_policy
from reviews.services.commenting import add_comment
from reviews.services.policies import save_policy
from tests.factories import (
    MODEL_ID,
    SHA_A,
    SHA_B,
    World,
    make_approval,
    make_golden_set,
    make_job,
    make_review,
    make_revision,
    make_token,
)
from tests.house.addresses import Address, walk
from tests.house.matrix import ACTIONS, ROWS, STAFF, Cell
from tests.reviews.code import code_revision

WRITE = re.compile(r'^(?:INSERT INTO|UPDATE|DELETE FROM) "(\w+)"')


@dataclass(frozen=True)
class Knock:
    """`cell` is what the table says of this verb."""

    route: str
    verb: str
    url: str
    cell: Cell

    @property
    def kind(self) -> str:
        return "api" if self.route.startswith("api/") else "hub" if self.route.startswith("hub/") else "page"

    def __str__(self) -> str:
        return f"{self.verb} /{self.route} ({self.url})"


def another_template(team: Team) -> str:
    """The YAML of the team's template with one title changed."""
    source = templates.shown_version(team).source
    return source.replace("title: {en: Model ID,", "title: {en: Name of the model,", 1)


def things(world: World) -> dict[str, str]:
    """One object of each kind, of the team acme: what fills the placeholders of each route, by the start of the route."""
    submitter = world.submitter
    revision = make_revision(world.team, SHA_A)
    approval = make_approval(world, revision)
    write_attestation(None, approval)
    move = move_channel(
        actor=world.release_manager, model=revision.model, name="production", approval=approval, reason="first",
    )  # fmt: skip
    # Medium, and under a licence that asks for a lawyer: there is a seat for each role that votes.
    copyleft = {"licence": {"declared": [{"id": "gpl-3.0", "category": "Copyleft"}]}}
    candidate = make_revision(world.team, SHA_B, facts=copyleft)
    review = make_review(world, candidate, environment="production")
    comment = add_comment(
        actor=world.reviewer, request_pk=review.pk, text="Read this", key="", thread_pk=None
    )
    code = code_revision(world, "d" * 40, model_id="acme/code")
    file = next(file for file in code_files(code) if not file.is_keys)
    now = timezone.now()
    waiver = Waiver.objects.create(
        revision=revision, rule="x/y", reason="For a trial", owner=world.admin.user, by=world.admin.user, at=now,
        expires_at=now + timedelta(days=3),
    )  # fmt: skip
    version = save_policy(
        actor=world.admin,
        source=default_policy().source.replace("policy: production-minimum", "policy: our-own"),
    )
    template = templates.add_version(actor=world.admin, source=another_template(world.team))
    make_token(submitter)
    token = ApiToken.objects.get(user=submitter.user)
    job, golden_set = make_job(submitter), make_golden_set(submitter)
    org, name = MODEL_ID.split("/")
    api_model = f"api/v1/models/{org}/{name}"
    return {
        "models/<int:pk>": f"models/{revision.model_id}",
        "revisions/<int:pk>/code": f"revisions/{code.pk}/code",
        "revisions/<int:pk>/evaluate/<int:set_pk>": f"revisions/{revision.pk}/evaluate/{golden_set.pk}",
        "revisions/<int:pk>/exports/<slug:kind>": f"revisions/{revision.pk}/exports/dossier-json",
        "revisions/<int:pk>": f"revisions/{revision.pk}",
        "approvals/<int:pk>": f"approvals/{approval.pk}",
        "policies/versions/<int:pk>": f"policies/versions/{version.pk}",
        "policies/<slug:key>": f"policies/{version.policy.key}",
        "waivers/<int:pk>": f"waivers/{waiver.pk}",
        "reviews/templates/<int:pk>": f"reviews/templates/{template.pk}",
        "reviews/<int:pk>/answers/<slug:key>": f"reviews/{review.pk}/answers/{review.checklist[0]['key']}",
        "reviews/<int:pk>/threads/<int:thread>": f"reviews/{review.pk}/threads/{comment.pk}",
        "reviews/<int:pk>": f"reviews/{review.pk}",
        "runs/<int:pk>": f"runs/{job.pk}",
        "channels/<int:pk>": f"channels/{move.channel_id}",
        "tokens/<int:pk>": f"tokens/{token.pk}",
        "api/v1/models/<str:org>/<str:name>/revisions/<sha:commit_sha>/code/files/<slug:sha256>":
            f"api/v1/models/{code.model.model_id}/revisions/{code.commit_sha}/code/files/{file.sha256}",
        "api/v1/models/<str:org>/<str:name>/revisions/<sha:commit_sha>/code":
            f"api/v1/models/{code.model.model_id}/revisions/{code.commit_sha}/code",
        "api/v1/models/<str:org>/<str:name>/revisions/<sha:commit_sha>/exports/<slug:kind>":
            f"{api_model}/revisions/{SHA_A}/exports/dossier-json",
        "api/v1/models/<str:org>/<str:name>/revisions/<sha:commit_sha>": f"{api_model}/revisions/{SHA_A}",
        "api/v1/models/<str:org>/<str:name>/channels/<slug:channel>": f"{api_model}/channels/production",
        "api/v1/models/<str:org>/<str:name>": api_model,
        "api/v1/approvals/<int:pk>": f"api/v1/approvals/{approval.pk}",
        "api/v1/jobs/<int:pk>": f"api/v1/jobs/{job.pk}",
        "api/v1/tokens/<int:pk>": f"api/v1/tokens/{token.pk}",
        "api/v1/policies/versions/<int:pk>": f"api/v1/policies/versions/{version.pk}",
        "api/v1/waivers/<int:pk>": f"api/v1/waivers/{waiver.pk}",
        "api/v1/reviews/<int:pk>": f"api/v1/reviews/{review.pk}",
        "api/v1/checklist-templates/<int:pk>": f"api/v1/checklist-templates/{template.pk}",
        "hub/<name:org>/<name:name>/resolve/<name:revision>/<anything:path>":
            f"hub/{MODEL_ID}/resolve/{SHA_A}/config.json",
        "hub/api/models/<name:org>/<name:name>/revision/<anything:revision>":
            f"hub/api/models/{MODEL_ID}/revision/{SHA_A}",
        "hub/api/models/<name:org>/<name:name>": f"hub/api/models/{MODEL_ID}",
        "hub/<name:org>/<name:name>": f"hub/{MODEL_ID}",
        "<name:revision>": SHA_A,
        "<anything:folder>": "",
        "<anything:rest>": "anything",
    }  # fmt: skip


def knocks(filled: dict[str, str]) -> list[Knock]:
    """Every cell of the table, with an address that exists. Longer beginnings are filled first."""
    found = []
    for address in walk():
        if address.namespace == "admin":
            row = {verb: STAFF for verb in address.rules or {} if verb != "HEAD"}
            found += [Knock(address.route, verb, address.url, cell) for verb, cell in row.items()]
            continue
        for verb, cell in ROWS[address.route].items():
            if verb == "POST" and "<action:action>" in address.route:
                found += [
                    Knock(f"{route}={action}", verb, _url(address, filled, action), cell_)
                    for (route, action), cell_ in ACTIONS.items()
                    if route == address.route
                ]
            else:
                found.append(Knock(address.route, verb, _url(address, filled), cell))
    return found


def _url(address: Address, filled: dict[str, str], action: str = "") -> str:
    url = address.route.replace("<action:action>", action)
    for start in sorted(filled, key=len, reverse=True):
        if url.startswith(start) or not start[0].isalpha():
            url = url.replace(start, filled[start])
    assert "<" not in url, f"{address.route} has a placeholder that test_matrix.things does not fill: {url}"
    return f"/{url}"


@contextmanager
def rolled_back(written: list[str]) -> Iterator[None]:
    """Runs one knock and undoes it; `written` gets the tables that it wrote into."""

    def watch(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if match := WRITE.match(sql):
            written.append(match[1])
        return execute(sql, params, many, context)

    with transaction.atomic():
        with connection.execute_wrapper(watch):
            yield
        transaction.set_rollback(True)
