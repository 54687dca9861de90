"""The only module that speaks to the Hub. Its errors are caught here, once, and leave as sentences.

Facts behind the choices (measured): the client does not verify content on plain HTTP, accepts another commit than asked,
and takes short or upper-case SHAs for branch names; so we resolve, compare and re-hash ourselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx2
from django.conf import settings
from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers

from registry.exceptions import HubError, HubNotFound, HubUnreachable, InvalidInput

CHUNK = 1024 * 1024
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_MODEL_ID = re.compile(rf"{_PART}/{_PART}")
_URL = re.compile(
    r"^(?:https?://)?[^/\s]+\.[^/\s]+/(?P<id>[^/\s]+/[^/\s]+)(?:/(?:tree|blob|commit)/(?P<rev>[^\s?#]+))?/?$"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


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
    files: list[HubFile] = field(default_factory=list)

    @property
    def total_size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def blockers(self) -> list[str]:
        """What stops an intake before a byte is downloaded, each a sentence."""
        paths = {file.path for file in self.files}
        found = []
        if "config.json" not in paths:
            found.append("The repository has no config.json, so nobody can tell which architecture it is.")
        if not paths & {
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.txt",
            "spiece.model",
            "tokenizer.model",
        }:
            found.append(
                "The repository has no tokenizer files; a model without its tokenizer gives random answers."
            )
        if not any(path.endswith(".safetensors") for path in paths):
            found.append(
                "The repository has no weights in safetensors. Pickled weights can run code, so they are not accepted; "
                "ask the author for a safetensors conversion."
            )
        return found


def parse_reference(typed: str) -> tuple[str, str]:
    """(model_id, revision or "") from what a person pastes: `org/name` or a Hub address.

    Raises InvalidInput with what is wrong and an example.
    """
    text = typed.strip()
    match = _URL.match(text)
    if match:
        text, revision = match["id"], (match["rev"] or "").split("/")[0]
    else:
        revision = ""
    return check_model_id(text), revision


def check_model_id(model_id: str) -> str:
    """`org/name` in the Hub's own alphabet, at most 96 characters each. Raises InvalidInput with the cure."""
    if len(model_id) > 200:
        raise InvalidInput(
            f"A model id has at most 193 characters; this has {len(model_id)}.", code="bad_model_id"
        )
    if not _MODEL_ID.fullmatch(model_id) or ".." in model_id or "--" in model_id:
        raise InvalidInput(
            f"{model_id[:80]!r} is not a model id. Write it as org/name, for example acme/sentiment-vi-en: "
            "letters, digits, '-', '_' and '.', no spaces and no '..'.",
            code="bad_model_id",
        )
    return model_id


def check_revision(revision: str) -> str:
    """A branch, tag or commit as typed. Raises InvalidInput for names that git or the Hub would read another way."""
    text = revision.strip() or "main"
    if re.fullmatch(r"[0-9A-Fa-f]{7,40}", text) and text != text.lower():
        raise InvalidInput(
            "A commit SHA is written in lower case; the Hub would take this for a branch name. "
            f"Did you mean {text.lower()}?",
            code="bad_revision",
        )
    if (
        len(text) > 120
        or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*", text)
        or ".." in text
        or "//" in text
    ):
        raise InvalidInput(
            f"{text[:60]!r} is not a revision. Give a branch or tag (for example main) or a 40-digit commit SHA.",
            code="bad_revision",
        )
    return text


def _api() -> HfApi:
    return HfApi(endpoint=settings.HUB_ENDPOINT, library_name="assay")


@contextmanager
def _translated(model_id: str, revision: str) -> Iterator[None]:
    where = settings.HUB_ENDPOINT
    try:
        yield
    except RevisionNotFoundError as error:
        raise HubNotFound(
            f"{model_id} has no revision {revision!r} on {where}. Check the branch, tag or commit on the model's page.",
            code="revision_not_found",
        ) from error
    except GatedRepoError as error:
        raise HubNotFound(
            f"{model_id} is gated. Accept its terms on {where} with the account whose token Assay uses (HF_TOKEN).",
            code="gated",
        ) from error
    except RepositoryNotFoundError as error:
        raise HubNotFound(
            f"There is no model {model_id} on {where}, or it is private and Assay's token may not see it. "
            "Check the spelling.",
            code="model_not_found",
        ) from error
    except EntryNotFoundError as error:
        raise HubNotFound(
            f"A file of {model_id}@{revision} is missing on {where}.", code="file_not_found"
        ) from error
    except HFValidationError as error:
        raise InvalidInput(f"The Hub's client refuses this name: {error}", code="bad_model_id") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status == 429:
            raise HubUnreachable(
                f"{where} says: too many requests. Try again in a few minutes.", code="hub_busy"
            ) from error
        raise HubUnreachable(f"{where} answered with the error {status}. Try again later.") from error
    except (httpx2.TimeoutException, httpx2.TransportError, OSError) as error:
        raise HubUnreachable(
            f"{where} does not answer. Check the network of this server (setting HF_ENDPOINT), then try again."
        ) from error


def resolve(model_id: str, requested_revision: str) -> HubRevision:
    """Asks the Hub which commit a revision is now, and what lies in it. One request.

    Raises InvalidInput, HubNotFound, HubUnreachable, HubError (the Hub answered another commit than asked).
    """
    check_model_id(model_id)
    revision = check_revision(requested_revision)
    with _translated(model_id, revision):
        info = _api().model_info(
            model_id, revision=revision, files_metadata=True, timeout=settings.HUB_TIMEOUT_S
        )
    sha = info.sha or ""
    if not _COMMIT.fullmatch(sha):
        raise HubError(f"The Hub did not say which commit {model_id}@{revision} is.", code="no_commit")
    if _COMMIT.fullmatch(revision) and sha != revision:
        raise HubError(
            f"Asked for commit {revision[:12]}, the Hub answered with {sha[:12]}: a branch may bear the name of a commit. "
            "Nothing was taken.",
            code="wrong_commit",
        )
    if info.id != model_id:
        raise HubError(
            f"{model_id} now answers as {info.id}: it was renamed or moved. Submit it under its new name.",
            code="renamed",
        )
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
        files=files,
    )


def download(model_id: str, commit_sha: str, path: str) -> Iterator[bytes]:
    """Streams one file of a commit, plain HTTP.

    Raises HubError when `X-Repo-Commit` is not the commit asked for, HubNotFound, HubUnreachable.
    """
    url = hf_hub_url(model_id, path, revision=commit_sha, endpoint=settings.HUB_ENDPOINT)
    headers = {**build_hf_headers(library_name="assay"), "Accept-Encoding": "identity"}
    with (
        _translated(model_id, commit_sha),
        httpx2.Client(timeout=settings.HUB_TIMEOUT_S, follow_redirects=False) as client,
    ):
        for _ in range(5):
            with client.stream("GET", url, headers=headers) as answer:
                _check_answer(answer, model_id, commit_sha, path)
                if answer.is_redirect:
                    target = httpx2.URL(url).join(answer.headers["location"])
                    if target.host != httpx2.URL(url).host:
                        headers.pop(
                            "authorization", None
                        )  # our token is for the Hub, not for its file servers
                    url = str(target)
                    continue
                yield from answer.iter_bytes(CHUNK)
                return
    raise HubError(f"The Hub redirects {path} in circles.", code="redirect_loop")


def _check_answer(answer: httpx2.Response, model_id: str, commit_sha: str, path: str) -> None:
    said = answer.headers.get(constants.HUGGINGFACE_HEADER_X_REPO_COMMIT)
    if said and said != commit_sha:
        raise HubError(
            f"Asked for {path} at {commit_sha[:12]}, the Hub answered with commit {said[:12]}. Nothing was kept.",
            code="wrong_commit",
        )
    if answer.status_code == 404:
        raise HubNotFound(f"The Hub lists {path} and does not have it.", code="file_not_found")
    if answer.status_code == 429:
        raise HubUnreachable("The Hub says: too many requests. Try again in a few minutes.", code="hub_busy")
    if answer.status_code in (401, 403):
        raise HubNotFound(
            f"The Hub does not let Assay read {path} of {model_id} (token or gate).", code="gated"
        )
    if not answer.is_redirect and answer.status_code != 200:
        raise HubUnreachable(f"The Hub answered {answer.status_code} for {path}. Try again later.")
