"""Intake: resolve -> download -> verify -> inspect -> record. A failed intake keeps nothing and says why.

Runs in a worker. Nothing of the repository is executed or loaded; a child process reads its files as bytes, JSON and text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from django.conf import settings
from django.db import transaction

from registry import audit, hub, pins, probes, provenance, store
from registry.canonical import manifest_sha256, sha256_text
from registry.enums import CodeAudit
from registry.exceptions import Conflict, HubError, IntegrityFailure, InvalidInput
from registry.hub import HubFile, HubRevision
from registry.inspecting import Content, inspect_in_child
from registry.jobs import Running
from registry.models import Blob, RegisteredModel, Revision, RevisionFile


@dataclass(frozen=True)
class Held:
    """A file that lies verified in the store."""

    declared: HubFile
    sha256: str

    @property
    def path(self) -> str:
        return self.declared.path


def run(running: Running) -> None:
    """The handler of intake jobs. params: {"model": pk, "requested_revision": str}."""
    model = RegisteredModel.objects.select_related("team").get(pk=running.job.params["model"])
    requested = str(running.job.params["requested_revision"])
    running.step("resolve")
    found = resolve(model, requested)
    check_listing(found)
    check_identity(model, found)
    check_tree(found)
    known = Revision.objects.filter(model=model, commit_sha=found.commit_sha).first()
    if known:
        with running.publish() as ended:
            ended.revision = known
        return
    kept: dict[str, store.Stored] = {}
    try:
        held = download(running, found, kept)
        running.step("inspect")
        content = inspect(running, model, found, held)
        running.step("trace")
        provenance.trace(found, requested, content)
        pins.trace(model, content)
        running.step("record")
        with running.publish() as ended:
            ended.revision = record(running, model, found, requested, held, content)
    except BaseException:
        for stored in kept.values():
            if not Blob.objects.filter(pk=stored.sha256).exists():
                store.discard(stored)
        raise


def resolve(model: RegisteredModel, requested: str) -> HubRevision:
    """Raises what `hub.resolve` raises, and Conflict when the name of a model that we know leads elsewhere now."""
    try:
        return hub.resolve(model.model_id, requested)
    except HubError as error:
        if error.code != "renamed" or not model.hub_internal_id:
            raise
        raise Conflict(
            f"{model.model_id} is not the repository it was. {error.message} Nothing was taken: a new name is reviewed as a "
            "new model, because whoever registers the old one again would inherit its approvals.",
            code="identity_changed",
        ) from error


def check_listing(found: HubRevision) -> None:
    """Limits and names, before a byte is downloaded. Raises InvalidInput with what to do."""
    if found.blockers:
        raise InvalidInput(" ".join(found.blockers), code="incomplete_repository")
    if len(found.files) > settings.MAX_FILES:
        raise InvalidInput(
            f"The repository lists {len(found.files)} files; at most {settings.MAX_FILES} are accepted "
            "(setting ASSAY_MAX_FILES).",
            code="too_many_files",
        )
    paths: set[str] = set()
    for file in found.files:
        store.safe_path(file.path)
        if file.path in paths:
            raise InvalidInput(
                f"The Hub lists {file.path} twice, so nobody can say which bytes are meant. Nothing was downloaded.",
                code="listed_twice",
            )
        paths.add(file.path)
        if file.size > settings.MAX_FILE_BYTES:
            raise InvalidInput(
                f"{file.path} has {file.size} bytes, over the limit ASSAY_MAX_FILE_MB.", code="too_large"
            )
    for path in sorted(paths):
        parts = path.split("/")
        for depth in range(1, len(parts)):
            if (above := "/".join(parts[:depth])) in paths:
                raise InvalidInput(
                    f"The Hub lists {above} as a file, and {path} as if it were a folder. No disk holds both; nothing was "
                    "downloaded.",
                    code="file_and_folder",
                )
    if found.total_size > settings.MAX_REVISION_BYTES:
        raise InvalidInput("The revision is larger than the limit ASSAY_MAX_REVISION_MB.", code="too_large")


def check_identity(model: RegisteredModel, found: HubRevision) -> None:
    """A name that was deleted and registered again is somebody else's model. Raises Conflict.

    The day it was created is compared, too: a Hub that tells no internal id, or the old one, does not hide it.
    """
    other = []
    if model.hub_internal_id and found.internal_id and model.hub_internal_id != found.internal_id:
        other.append("another internal id")
    last = (
        Revision.objects.filter(model=model)
        .order_by("-pk")
        .values_list("facts__provenance__created_at", flat=True)
    )
    created_at = last.first()
    if created_at and found.created_at and created_at != found.created_at.isoformat():
        other.append(f"another day of creation ({found.created_at:%Y-%m-%d}, it was {created_at[:10]})")
    if other:
        raise Conflict(
            f"{model.model_id} is not the repository it was: the Hub gives it {' and '.join(other)}, so it was deleted and "
            "created again. Nothing was taken. Ask its owner what happened before anybody uses it.",
            code="identity_changed",
        )


def check_tree(found: HubRevision) -> None:
    """The Hub lists a commit in two places; a file that only one of them has, or has otherwise, is not to be trusted.

    Raises HubError that names the first such file.
    """
    tree = hub.tree_of(found.model_id, found.commit_sha)
    listed = {file.path: (file.size, file.lfs_sha256 or file.git_oid) for file in found.files}
    for path in sorted(tree.keys() | listed.keys()):
        if tree.get(path) == listed.get(path):
            continue
        what = (
            "is in its list and not in its tree"
            if path not in tree
            else "is in its tree and not in its list"
            if path not in listed
            else "has another size or digest in its list than in its tree"
        )
        raise HubError(
            f"The Hub contradicts itself about commit {found.commit_sha[:12]}: {path[:200]} {what}. Nothing was kept.",
            code="lists_disagree",
        )


def download(running: Running, found: HubRevision, kept: dict[str, store.Stored]) -> list[Held]:
    """Every file into the store, each checked against what the Hub declared. `kept` collects what clean-up may take."""
    held, done = [], 0
    for file in found.files:
        running.step("download", done, found.total_size)

        def rest(start: int, file: HubFile = file, before: int = done) -> Iterator[bytes]:
            received = before + start
            for chunk in hub.download(
                found.model_id, found.commit_sha, file.path, size=file.size, start=start, wait=running.wait
            ):
                received += len(chunk)
                running.step("download", received, found.total_size)
                yield chunk

        try:
            stored = (
                held_already(file) or store.put_rest(rest, size=file.size, sha256=file.lfs_sha256)
                if file.lfs_sha256
                else store.put(rest(0), size=file.size)
            )
        except IntegrityFailure as error:
            raise IntegrityFailure(
                f"{file.path}: {error.message} Nothing was kept.", code=error.code
            ) from error
        keep(kept, stored)
        same = stored.sha256 == file.lfs_sha256 if file.lfs_sha256 else stored.git_oid == file.git_oid
        if not same:
            raise IntegrityFailure(
                f"{file.path} does not have the bytes that the Hub declared for this commit "
                f"({'sha256' if file.lfs_sha256 else 'git object id'} differs). Nothing was kept.",
                code="wrong_bytes",
            )
        held.append(Held(file, stored.sha256))
        done += file.size
    running.step("download", found.total_size, found.total_size)
    return held


def held_already(file: HubFile) -> store.Stored | None:
    """A large file that lies in the store, re-hashed; None when it must be downloaded.

    Another revision has it, or a worker had fetched it and was killed: neither is a reason to fetch gigabytes again. It is
    renewed, so that it is young when garbage is collected.
    """
    return store.renew(file.lfs_sha256, file.size) if file.lfs_sha256 else None


def keep(kept: dict[str, store.Stored], stored: store.Stored) -> None:
    """Remembers what this intake put; a file that the repository holds twice is put twice, and is still its own."""
    before = kept.get(stored.sha256)
    if before and before.replaced is None and before.mark == stored.replaced:
        stored = replace(stored, replaced=None)
    kept[stored.sha256] = stored


def inspect(running: Running, model: RegisteredModel, found: HubRevision, held: list[Held]) -> Content:
    """Every inspector over the verified bytes, then the probes, each in a child process.

    Raises InvalidInput when config, tokenizer or weights are not what they say, JobFailed when the inspection did not end.
    """
    approved = probes.last_approved(model)
    content = inspect_in_child(
        model.model_id,
        {file.path: (file.sha256, file.declared.size) for file in held},
        dict(approved.label_mapping) if approved else None,
    )
    quarantined = set(content.facts["formats"]["quarantined"])
    files = [(f.path, f.sha256, f.declared.size) for f in held if f.path not in quarantined]
    probes.run(probes.Probing(running, model.model_id, found.commit_sha, files), content)
    probes.compare(approved, content, {file.sha256 for file in held if file.path.endswith(probes.WEIGHTS)})
    return content


@transaction.atomic
def record(
    running: Running,
    model: RegisteredModel,
    found: HubRevision,
    requested: str,
    held: list[Held],
    content: Content,
) -> Revision:
    """Writes blobs, revision and manifest in the transaction that ends the job."""
    code = content.remote_code_sha256
    revision = Revision.objects.create(
        model=model,
        commit_sha=found.commit_sha,
        requested_revision=requested,
        manifest_sha256=manifest_sha256([(f.path, f.declared.size, f.sha256) for f in held]),
        total_size=found.total_size,
        card_text=content.card_text,
        card_data=content.card_data,
        card_sha256=sha256_text(content.card_text) if content.card_text else "",
        config=content.config,
        label_mapping=content.label_mapping,
        facts=content.facts,
        findings=content.findings,
        pipeline_tag=found.pipeline_tag[:80],
        library_name=found.library_name[:80],
        license=str(content.card_data.get("license") or "")[:120],
        remote_code_sha256=code,
        code_audit=CodeAudit.PENDING if code else CodeAudit.NOT_APPLICABLE,
        committed_at=found.committed_at,
    )
    for file in held:
        Blob.objects.get_or_create(sha256=file.sha256, defaults={"size": file.declared.size})
    RevisionFile.objects.bulk_create(
        RevisionFile(
            revision=revision,
            path=file.path,
            blob_id=file.sha256,
            git_oid=file.declared.git_oid,
            is_lfs=file.declared.lfs_sha256 is not None,
        )
        for file in held
    )
    if not model.hub_internal_id or not model.pipeline_tag:
        model.hub_internal_id = model.hub_internal_id or found.internal_id
        model.pipeline_tag = found.pipeline_tag
        model.save(update_fields=["hub_internal_id", "pipeline_tag"])
    audit.record(
        actor=None,
        team=model.team,
        verb="revision.recorded",
        subject=revision,
        model_id=model.model_id,
        sha=revision.commit_sha,
        manifest_sha256=revision.manifest_sha256,
        files=len(held),
        megabytes=str(round(found.total_size / 1_000_000, 1)),
        job=running.job.pk,
        code_audit=str(revision.code_audit),
    )
    return revision
