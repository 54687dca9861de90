"""What the gateway's benchmarks stand on: registries made inside Django, in a process of their own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

MODEL, SHA = "acme/large", "f" * 40


def _people() -> tuple[Any, list[Any]]:
    import django

    django.setup()
    from django.contrib.auth.hashers import make_password
    from django.db import connection

    from registry import triggers
    from registry.enums import Role
    from registry.models import Membership, Team, User
    from reviews.triggers import APPROVAL_QUORUM

    triggers.uninstall(
        connection, [APPROVAL_QUORUM]
    )  # what is measured is reading; nobody reviewed these rows
    team = Team.objects.create(slug="acme", name="Acme")
    people = [User.objects.create(username=name, password=make_password(None)) for name in ("one", "two")]
    for person in people:
        Membership.objects.create(user=person, team=team, role=Role.RELEASE_MANAGER)
    return team, people


def _approval(model: Any, revision: Any, people: list[Any], now: Any) -> Any:
    from registry.models import Approval

    return Approval(
        model=model, revision=revision, environment="production", use_case="benchmark", data_class="public",
        manifest_sha256=revision.manifest_sha256, content_sha256="0" * 64, policy_version="1", submitted_by=people[0],
        approved_by=people[1], approved_at=now, expires_at=now + timedelta(days=90), status_at=now, status_by=people[1],
    )  # fmt: skip


def _token(team: Any, person: Any) -> str:
    """A token to read with; from here on the database's rules hold again."""
    from django.db import connection

    from registry import triggers
    from registry.actors import Actor
    from registry.enums import Role
    from registry.services.tokens import create_token
    from reviews.triggers import APPROVAL_QUORUM

    triggers.install(connection, [APPROVAL_QUORUM])
    actor = Actor(user=person, team=team, roles=frozenset({Role.VIEWER}), auth_method="benchmark")
    return create_token(actor=actor, name="benchmark", scopes=["read", "artifacts"], days=1)[1]


def files_of(folder: str) -> str:
    """The files of `folder` as one approved revision, through the store; returns a token."""
    team, people = _people()
    from django.utils import timezone

    from registry import store
    from registry.canonical import manifest_sha256
    from registry.enums import CodeAudit
    from registry.models import Blob, RegisteredModel, Revision, RevisionFile

    model = RegisteredModel.objects.create(team=team, model_id=MODEL)
    held = []
    for path in sorted(Path(folder).iterdir()):
        with path.open("rb") as file:
            stored = store.put(iter(lambda f=file: f.read(1 << 20), b""), size=path.stat().st_size)  # type: ignore[misc]
        held.append((path.name, stored))
    revision = Revision.objects.create(
        model=model, commit_sha=SHA, requested_revision="main", total_size=sum(s.size for _, s in held),
        manifest_sha256=manifest_sha256([(name, s.size, s.sha256) for name, s in held]),
        code_audit=CodeAudit.NOT_APPLICABLE,
    )  # fmt: skip
    for name, stored in held:
        Blob.objects.get_or_create(sha256=stored.sha256, defaults={"size": stored.size})
        RevisionFile.objects.create(
            revision=revision, path=name, blob_id=stored.sha256, git_oid=stored.git_oid, is_lfs=True
        )
    _approval(model, revision, people, timezone.now()).save()
    return _token(team, people[1])


def many(revisions: int) -> str:
    """One model with so many approved revisions of six files each, the newest in production; returns a token."""
    team, people = _people()
    from django.db import transaction
    from django.utils import timezone

    from registry.actors import Actor
    from registry.enums import CodeAudit, Role
    from registry.models import Approval, Blob, RegisteredModel, Revision, RevisionFile
    from registry.services.channels import move_channel

    model = RegisteredModel.objects.create(team=team, model_id=MODEL, pipeline_tag="text-classification")
    now = timezone.now()
    facts: dict[str, Any] = {"formats": {"quarantined": []}, "tokenizer": {"max_length": 512}}
    card = "# Card\n" + "A line of a model card, as long as such lines are.\n" * 150
    names = (
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    )
    with transaction.atomic():
        rows = Revision.objects.bulk_create(
            Revision(
                model=model, commit_sha=f"{n:040x}", requested_revision="main", manifest_sha256=f"{n:064x}", total_size=6,
                card_text=card, config={"model_type": "distilbert"}, facts=facts, label_mapping={"0": "no", "1": "yes"},
                pipeline_tag="text-classification", code_audit=CodeAudit.NOT_APPLICABLE, committed_at=now,
            )
            for n in range(1, revisions + 1)
        )  # fmt: skip
        Blob.objects.bulk_create(Blob(sha256=f"{n:064x}", size=1) for n in range(1, len(names) + 1))
        RevisionFile.objects.bulk_create(
            (
                RevisionFile(revision=row, path=name, blob_id=f"{n:064x}", git_oid=f"{n:040x}", is_lfs=False)
                for row in rows
                for n, name in enumerate(names, 1)
            ),
            batch_size=5000,
        )
        # One a minute, the newest last, as in a registry's life.
        approvals = Approval.objects.bulk_create(
            _approval(model, row, people, now - timedelta(minutes=len(rows) - number))
            for number, row in enumerate(rows)
        )
    actor = Actor(user=people[1], team=team, roles=frozenset({Role.RELEASE_MANAGER}), auth_method="benchmark")
    move_channel(actor=actor, model=model, name="production", approval=approvals[-1], reason="the newest")
    return _token(team, people[1])


def queries(token: str, addresses: list[tuple[str, str]]) -> dict[str, int]:
    """How many statements each (verb, address) sends to the database, the token's check included."""
    import django

    django.setup()
    from django.conf import settings
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    settings.ALLOWED_HOSTS = ["testserver"]
    client = Client(headers={"Authorization": f"Bearer {token}"})
    counted = {}
    for verb, address in addresses:
        ask = getattr(client, verb.lower())
        ask(address)  # what is done once a process
        with CaptureQueriesContext(connection) as seen:
            answer = ask(address)
        assert answer.status_code == 200, (address, answer.status_code, answer.content[:200])
        counted[f"{verb} {address}"] = len(seen)
    return counted
