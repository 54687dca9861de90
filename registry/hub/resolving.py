"""Which commit is meant, and what lies in it.

A name is never trusted twice: a branch may be called like a commit, and move between two requests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings

from registry.exceptions import HubError, HubNotFound
from registry.hub.client import api, ask_json, translated
from registry.hub.names import check_model_id, check_revision
from registry.inspection import names
from registry.words import gettext, joined

# How a typed revision is understood.
COMMIT, BEGINNING, PULL_REQUEST, NAME = "commit", "beginning of a commit", "pull request", "branch or tag"
_FULL = re.compile(r"[0-9a-f]{40}")
_LIKE_A_COMMIT = re.compile(r"[0-9A-Fa-f]{7,40}")


@dataclass(frozen=True)
class HubFile:
    """One file as the Hub declares it; `lfs_sha256` is None for files kept in git itself."""

    path: str
    size: int
    git_oid: str
    lfs_sha256: str | None


@dataclass(frozen=True)
class HubRevision:
    """A resolved commit and what the Hub says of it."""

    model_id: str
    commit_sha: str
    internal_id: str
    author: str
    pipeline_tag: str
    library_name: str
    license: str
    gated: bool
    committed_at: datetime | None
    created_at: datetime | None = None
    files: list[HubFile] = field(default_factory=list)
    read_as: str = ""  # how the typed revision was understood, see `reading_of`
    remark: str = ""  # a sentence for who typed it, when it could be understood in two ways

    @property
    def total_size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def blockers(self) -> list[str]:
        """What stops an intake before a byte is downloaded, each a sentence."""
        paths = {file.path for file in self.files}
        found = []
        if "config.json" not in paths:
            found.append(
                gettext("The repository has no config.json, so nobody can tell which architecture it is.")
            )
        if not paths & {
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.txt",
            "spiece.model",
            "tokenizer.model",
        }:
            found.append(
                gettext(
                    "The repository has no tokenizer files; a model without its tokenizer gives random answers."
                )
            )
        if not any(path.endswith(".safetensors") for path in paths):
            found.append(
                gettext(
                    "The repository has no weights in safetensors. Pickled weights can run code, so they are not accepted; "
                    "ask the author for a safetensors conversion."
                )
            )
        return found

    @property
    def warnings(self) -> list[str]:
        """What a person should know before submitting, each a sentence. Nothing of it stops an intake."""
        return [sentence for sentence in (names.warning(self.model_id), self.remark) if sentence]


def resolve(model_id: str, requested_revision: str) -> HubRevision:
    """Asks the Hub which commit a revision is now, then asks for that commit by its full name, and what lies in it.

    Whatever reads like a commit is one or is refused, in either case of letters: the Hub is asked for it in lower case and
    must answer with it, so no branch can bear its name. Two requests, one for a full SHA, one more for upper case.
    Raises InvalidInput, HubNotFound, HubUnreachable, HubError (the Hub answered another commit than asked).
    """
    check_model_id(model_id)
    revision = check_revision(requested_revision)
    read_as = reading_of(revision)
    wanted = revision.lower() if read_as in (COMMIT, BEGINNING) else revision
    try:
        commit = wanted if read_as == COMMIT else _commit_of(model_id, wanted, read_as)
        with translated(model_id, revision):
            info = api().model_info(
                model_id, revision=commit, files_metadata=True, timeout=settings.HUB_TIMEOUT_S
            )
    except HubNotFound as error:
        told = wanted != revision and error.code == "revision_not_found"
        twin = _ref_named(model_id, revision) if told else None
        if twin is None:
            raise
        raise HubError(
            gettext(
                "%(model_id)s has no commit %(wanted)s. It has a %(kind)s of the name %(revision)r, which imitates one; "
                "nothing was taken. To review what it points at now, give that commit: %(sha)s.",
                model_id=model_id,
                wanted=wanted[:12],
                kind=twin.kind,
                revision=revision,
                sha=twin.commit_sha,
            ),
            code="wrong_commit",
        ) from error
    sha = _full(info.sha, model_id, revision)
    if sha != commit:
        raise HubError(
            gettext(
                "Asked for commit %(commit)s, the Hub answered with %(sha)s: a branch may bear the name of a "
                "commit. Nothing was taken.",
                commit=commit[:12],
                sha=sha[:12],
            ),
            code="wrong_commit",
        )
    if info.id != model_id:
        raise HubError(
            gettext(
                "%(model_id)s now answers as %(id)s: it was renamed or moved. Submit it under its new name.",
                model_id=model_id,
                id=info.id,
            ),
            code="renamed",
        )
    twin = _ref_named(model_id, revision) if wanted != revision else None
    card: dict[str, Any] = info.card_data.to_dict() if info.card_data else {}
    files = [
        HubFile(
            path=sibling.rfilename,
            size=int(sibling.size or 0),
            git_oid=sibling.blob_id or "",
            lfs_sha256=sibling.lfs.sha256 if sibling.lfs else None,
        )
        for sibling in info.siblings or []
    ]
    return HubRevision(
        model_id=model_id,
        commit_sha=sha,
        internal_id=str(getattr(info, "_id", "") or ""),
        author=info.author or "",
        pipeline_tag=info.pipeline_tag or "",
        library_name=info.library_name or "",
        license=str(card.get("license") or ""),
        gated=bool(info.gated),
        committed_at=info.last_modified,
        created_at=info.created_at,
        files=files,
        read_as=read_as,
        remark=_remark(revision, sha, twin),
    )


def reading_of(revision: str) -> str:
    """How a typed revision is understood: COMMIT, BEGINNING, PULL_REQUEST or NAME. By its form alone."""
    if _LIKE_A_COMMIT.fullmatch(revision):
        return COMMIT if len(revision) == 40 else BEGINNING
    return PULL_REQUEST if revision.startswith("refs/pr/") else NAME


def _commit_of(model_id: str, revision: str, read_as: str) -> str:
    """The 40-hex commit that the Hub gives for a branch, tag, pull request or short SHA."""
    with translated(model_id, revision):
        said = api().model_info(model_id, revision=revision, timeout=settings.HUB_TIMEOUT_S).sha
    sha = _full(said, model_id, revision)
    if read_as == BEGINNING and not sha.startswith(revision):
        raise HubError(
            gettext(
                "%(revision)r reads like the beginning of a commit, and the Hub answers with %(sha)s: it is "
                "the name of a branch or tag that imitates a commit. Nothing was taken. Give the full 40 "
                "digits.",
                revision=revision,
                sha=sha[:12],
            ),
            code="wrong_commit",
        )
    return sha


def _full(said: str | None, model_id: str, revision: str) -> str:
    """The commit that the Hub names, if it is one."""
    if said and _FULL.fullmatch(said):
        return said
    raise HubError(
        gettext(
            "The Hub did not say which commit %(model_id)s@%(revision)s is.",
            model_id=model_id,
            revision=revision,
        ),
        code="no_commit",
    )


@dataclass(frozen=True)
class _Ref:
    kind: str
    commit_sha: str


def _ref_named(model_id: str, name: str) -> _Ref | None:
    """The branch or tag of exactly this name, which is told to people and never followed."""
    try:
        refs, _ = ask_json("GET", f"{settings.HUB_ENDPOINT}/api/models/{model_id}/refs", model_id)
    except HubNotFound:
        return None
    for kind, key in (("branch", "branches"), ("tag", "tags")):
        for ref in refs.get(key) or [] if isinstance(refs, dict) else []:
            if isinstance(ref, dict) and ref.get("name") == name:
                return _Ref(kind, str(ref.get("targetCommit", ""))[:40])
    return None


def _remark(revision: str, sha: str, twin: _Ref | None) -> str:
    """What a person who typed a commit in upper case is told; empty for everybody else."""
    if reading_of(revision) not in (COMMIT, BEGINNING) or revision == revision.lower():
        return ""
    read = gettext(
        "%(revision)s was read as the commit %(sha)s: the Hub writes commits in lower case.",
        revision=repr(revision),
        sha=sha,
    )
    if twin is None:
        return read
    also = gettext(
        "The repository also has a %(kind)s of the name %(revision)s, at %(sha)s; it was not followed, because it imitates "
        "a commit.",
        kind=twin.kind,
        revision=repr(revision),
        sha=twin.commit_sha[:12],
    )
    return joined([read, also])
