"""Pieces of the Hub's JSON, from our records only. What we do not know (likes, git trees) is left out, or said to be ours."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any

from django.http import HttpResponseBase, JsonResponse

from registry.gateway.answers import guarded, notice
from registry.gateway.resolving import Given
from registry.models import Approval, Revision, RevisionFile


def when(moment: datetime | None) -> str | None:
    """The one date format that the clients read."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z" if moment else None


def flag(value: str | None) -> bool:
    return (value or "").lower() in ("1", "true")


def json_answer(data: Any, given: Given | None = None) -> HttpResponseBase:
    answer = JsonResponse(data, safe=False)
    if given:
        answer["X-Repo-Commit"] = given.commit_sha
        notice(answer, given.notice)
    return guarded(answer)


def number(text: str | None, default: int, least: int, most: int) -> int:
    return (
        min(max(int(text), least), most)
        if text and text.isascii() and text.isdigit() and len(text) < 12
        else default
    )


def full(revision: Revision) -> Revision:
    """With the columns that the hot path leaves out, in one query."""
    return Revision.objects.select_related("model").defer("card_text", "findings").get(pk=revision.pk)


def head_of(revision: Revision, approval: Approval) -> dict[str, Any]:
    """Everything but the files."""
    model = revision.model
    card = revision.card_data or {}
    config = revision.config if isinstance(revision.config, dict) else {}
    info: dict[str, Any] = {
        "_id": str(model.pk),
        "id": model.model_id,
        "modelId": model.model_id,
        "author": model.model_id.split("/")[0],
        "sha": revision.commit_sha,
        "createdAt": when(model.created_at),
        "lastModified": when(revision.committed_at or revision.created_at),
        "private": True,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": tags_of(revision, card),
        "cardData": card,
        "config": {key: config[key] for key in ("architectures", "model_type") if key in config},
        "xetEnabled": False,
    }
    if revision.pipeline_tag:
        info["pipeline_tag"] = revision.pipeline_tag
    if revision.library_name:
        info["library_name"] = revision.library_name
    if isinstance(card.get("model-index"), list):
        info["model-index"] = card["model-index"]
    return info


def tags_of(revision: Revision, card: dict[str, Any]) -> list[str]:
    def several(key: str) -> list[str]:
        value = card.get(key) or []
        return [str(item) for item in value] if isinstance(value, list) else [str(value)]

    tags = (
        [t for t in (revision.library_name, revision.pipeline_tag) if t]
        + several("tags")
        + several("language")
    )
    tags += [f"license:{licence}" for licence in several("license")]
    return list(dict.fromkeys(tags))


def sibling(file: RevisionFile, *, blobs: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"rfilename": file.path}
    if blobs:
        row |= {"size": file.blob.size, "blobId": file.git_oid}
        if file.is_lfs:
            row["lfs"] = {"sha256": file.blob_id, "size": file.blob.size, "pointerSize": pointer_size(file)}
    return row


def pointer_size(file: RevisionFile) -> int:
    """Bytes of the text that git keeps in place of an LFS file."""
    head = "version https://git-lfs.github.com/spec/v1\noid sha256:\nsize \n"
    return len(head) + 64 + len(str(file.blob.size))


def entry(file: RevisionFile) -> dict[str, Any]:
    row: dict[str, Any] = {"type": "file", "oid": file.git_oid, "size": file.blob.size, "path": file.path}
    if file.is_lfs:
        # Here the sha256 is called oid, among siblings it is called sha256: the Hub's own choice.
        row["lfs"] = {"oid": file.blob_id, "size": file.blob.size, "pointerSize": pointer_size(file)}
    return row


def folders(files: list[RevisionFile], inside: str) -> list[dict[str, Any]]:
    """Each folder below `inside`. Its oid is a digest of what is listed in it, not git's: we do not keep git's trees."""
    held: dict[str, list[str]] = {}
    for file in files:
        parts = file.path.split("/")
        for depth in range(1, len(parts)):
            held.setdefault("/".join(parts[:depth]), []).append(f"{file.path}\0{file.blob_id}")
    return [
        {
            "type": "directory",
            "oid": hashlib.sha1("\n".join(lines).encode(), usedforsecurity=False).hexdigest(),
            "size": 0,
            "path": path,
        }
        for path, lines in sorted(held.items())
        if path.startswith(inside)
    ]
