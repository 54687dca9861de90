"""The only module that speaks to the Hub. Its errors are caught here, once, and leave as sentences.

Facts behind the choices (measured): the client does not verify content on plain HTTP, accepts another commit than asked,
and takes short or upper-case SHAs for branch names; so we resolve, compare and re-hash ourselves.
"""

from __future__ import annotations

import ipaddress
import json
import re
import time
from collections.abc import Callable, Iterator
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
from registry.inspection import names
from registry.words import gettext

CHUNK = 1024 * 1024
COMMITS_READ = 2000  # of the default branch's history, to find out whether a commit belongs to it
SCANNED_PATHS = 500
MAX_JSON_BYTES = 32 * 1024 * 1024
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_MODEL_ID = re.compile(rf"{_PART}/{_PART}")
_URL = re.compile(
    r"^(?:https?://)?[^/\s]+\.[^/\s]+/(?P<id>[^/\s]+/[^/\s]+)(?:/(?:tree|blob|commit)/(?P<rev>[^\s?#]+))?/?$"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHORT_COMMIT = re.compile(r"[0-9a-f]{7,39}")


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
        sentence = names.warning(self.model_id)
        return [sentence] if sentence else []


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
            gettext("A model id has at most 193 characters; this has %(n)s.", n=len(model_id)),
            code="bad_model_id",
        )
    if not _MODEL_ID.fullmatch(model_id) or ".." in model_id or "--" in model_id:
        raise InvalidInput(
            gettext(
                "%(model_id)r is not a model id. Write it as org/name, for example acme/sentiment-vi-en: "
                "letters, digits, '-', '_' and '.', no spaces and no '..'.",
                model_id=model_id[:80],
            ),
            code="bad_model_id",
        )
    return model_id


def check_revision(revision: str) -> str:
    """A branch, tag or commit as typed. Raises InvalidInput for names that git or the Hub would read another way."""
    text = revision.strip() or "main"
    if re.fullmatch(r"[0-9A-Fa-f]{7,40}", text) and text != text.lower():
        raise InvalidInput(
            gettext(
                "A commit SHA is written in lower case; the Hub would take this for a branch name. Did you "
                "mean %(text)s?",
                text=text.lower(),
            ),
            code="bad_revision",
        )
    if (
        len(text) > 120
        or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*", text)
        or ".." in text
        or "//" in text
    ):
        raise InvalidInput(
            gettext(
                "%(text)r is not a revision. Give a branch or tag (for example main) or a 40-digit commit "
                "SHA.",
                text=text[:60],
            ),
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
            gettext(
                "%(model_id)s has no revision %(revision)r on %(where)s. Check the branch, tag or commit on "
                "the model's page.",
                model_id=model_id,
                revision=revision,
                where=where,
            ),
            code="revision_not_found",
        ) from error
    except GatedRepoError as error:
        raise HubNotFound(
            gettext(
                "%(model_id)s is gated. Accept its terms on %(where)s with the account whose token Assay "
                "uses (HF_TOKEN).",
                model_id=model_id,
                where=where,
            ),
            code="gated",
        ) from error
    except RepositoryNotFoundError as error:
        raise HubNotFound(
            gettext(
                "There is no model %(model_id)s on %(where)s, or it is private and Assay's token may not see "
                "it. Check the spelling.",
                model_id=model_id,
                where=where,
            ),
            code="model_not_found",
        ) from error
    except EntryNotFoundError as error:
        raise HubNotFound(
            gettext(
                "A file of %(model_id)s@%(revision)s is missing on %(where)s.",
                model_id=model_id,
                revision=revision,
                where=where,
            ),
            code="file_not_found",
        ) from error
    except HFValidationError as error:
        raise InvalidInput(
            gettext("The Hub's client refuses this name: %(error)s", error=error), code="bad_model_id"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status == 429:
            raise HubUnreachable(
                gettext("%(where)s says: too many requests. Try again in a few minutes.", where=where),
                code="hub_busy",
            ) from error
        raise HubUnreachable(
            gettext(
                "%(where)s answered with the error %(status)s. Try again later.", where=where, status=status
            )
        ) from error
    except (httpx2.TimeoutException, httpx2.TransportError, OSError) as error:
        raise HubUnreachable(
            gettext(
                "%(where)s does not answer. Check the network of this server (setting HF_ENDPOINT), then try "
                "again.",
                where=where,
            )
        ) from error


def resolve(model_id: str, requested_revision: str) -> HubRevision:
    """Asks the Hub which commit a revision is now, then asks for that commit by its full name, and what lies in it.

    A name is never trusted twice: a branch may be called like a commit, and move between two requests. Two requests, one
    for a full SHA. Raises InvalidInput, HubNotFound, HubUnreachable, HubError (the Hub answered another commit than asked).
    """
    check_model_id(model_id)
    revision = check_revision(requested_revision)
    commit = revision if _COMMIT.fullmatch(revision) else _commit_of(model_id, revision)
    with _translated(model_id, revision):
        info = _api().model_info(
            model_id, revision=commit, files_metadata=True, timeout=settings.HUB_TIMEOUT_S
        )
    sha = info.sha or ""
    if not _COMMIT.fullmatch(sha):
        raise HubError(
            gettext(
                "The Hub did not say which commit %(model_id)s@%(revision)s is.",
                model_id=model_id,
                revision=revision,
            ),
            code="no_commit",
        )
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
    )


def _commit_of(model_id: str, revision: str) -> str:
    """The 40-hex commit that the Hub gives for a branch, tag, pull request or short SHA."""
    with _translated(model_id, revision):
        sha = _api().model_info(model_id, revision=revision, timeout=settings.HUB_TIMEOUT_S).sha or ""
    if not _COMMIT.fullmatch(sha):
        raise HubError(
            gettext(
                "The Hub did not say which commit %(model_id)s@%(revision)s is.",
                model_id=model_id,
                revision=revision,
            ),
            code="no_commit",
        )
    if _SHORT_COMMIT.fullmatch(revision) and not sha.startswith(revision):
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


# --- asking the API beside the client ------------------------------------------------------------------------------------


def _json(method: str, url: str, model_id: str, **sent: Any) -> tuple[Any, str | None]:
    """(JSON, address of the next page or None). Only addresses of our Hub are followed. Raises HubError and its kinds."""
    headers = build_hf_headers(library_name="assay")
    with (
        _translated(model_id, ""),
        httpx2.Client(timeout=settings.HUB_TIMEOUT_S, follow_redirects=False) as client,
        client.stream(method, url, headers=headers, **sent) as answer,
    ):
        if answer.status_code == 404:
            raise HubNotFound(
                gettext("The Hub has no such list for %(model_id)s.", model_id=model_id), code="not_listed"
            )
        if answer.status_code != 200:
            raise HubUnreachable(
                gettext(
                    "The Hub answered %(status_code)s about %(model_id)s. Try again later.",
                    status_code=answer.status_code,
                    model_id=model_id,
                )
            )
        body = b""
        for chunk in answer.iter_bytes(CHUNK):
            body += chunk
            if len(body) > MAX_JSON_BYTES:
                raise HubError(
                    gettext("The Hub's answer about %(model_id)s does not end.", model_id=model_id),
                    code="endless_answer",
                )
        following = answer.links.get("next", {}).get("url")
    try:
        value = json.loads(body)
    except ValueError as error:
        raise HubError(
            gettext("The Hub's answer about %(model_id)s is not JSON.", model_id=model_id), code="bad_answer"
        ) from error
    if following:
        following = str(httpx2.URL(url).join(following))
        if httpx2.URL(following).host != httpx2.URL(url).host:
            following = None
    return value, following


def on_default_branch(model_id: str, commit_sha: str) -> bool | None:
    """Whether a commit belongs to the history of `main`; None when its first COMMITS_READ commits do not tell.

    A commit of a pull request lives in the same repository under the same trusted name, pushed by anybody.
    Raises HubUnreachable, HubError.
    """
    url: str | None = f"{settings.HUB_ENDPOINT}/api/models/{model_id}/commits/main"
    read = 0
    while url and read < COMMITS_READ:
        try:
            rows, url = _json("GET", url, model_id)
        except HubNotFound:
            return None  # no branch of this name
        if not isinstance(rows, list) or not rows:
            break
        if any(isinstance(row, dict) and row.get("id") == commit_sha for row in rows):
            return True
        read += len(rows)
    return None if url else False


def scan_status(model_id: str, commit_sha: str, paths: list[str]) -> dict[str, str]:
    """path -> what the Hub's own scanners say of it (safe, unsafe, suspicious, queued, unscanned, error ...).

    A path without an answer is left out: it is not safe, it is unknown. Raises HubError and its kinds.
    """
    url = f"{settings.HUB_ENDPOINT}/api/models/{model_id}/paths-info/{commit_sha}"
    found = {}
    for start in range(0, min(len(paths), SCANNED_PATHS), 100):
        rows, _ = _json("POST", url, model_id, data={"paths": paths[start : start + 100], "expand": "true"})
        for row in rows if isinstance(rows, list) else []:
            status = row.get("securityFileStatus") if isinstance(row, dict) else None
            if isinstance(status, dict) and status.get("status"):
                found[str(row.get("path"))] = str(status["status"])[:40]
    return found


# --- downloading -----------------------------------------------------------------------------------------------------------


class _Broken(Exception):
    """The stream ended before its time; what has arrived stays, and the rest is asked for."""


class _Busy(Exception):
    """The Hub asks to come back later."""

    def __init__(self, status: int, wait_s: float) -> None:
        super().__init__(status)
        self.status = status
        self.wait_s = wait_s


def deadline_s(size: int) -> float:
    """Seconds that a file of `size` bytes may take in all: a grace, and the slowest speed that is accepted."""
    return settings.HUB_FILE_GRACE_S + size / (settings.HUB_MIN_KBPS * 1024)


def download(
    model_id: str, commit_sha: str, path: str, *, size: int, wait: Callable[[float], None] = time.sleep
) -> Iterator[bytes]:
    """Streams one file of `size` bytes of a commit, plain HTTP.

    A broken connection goes on where it ended (Range); 429 and 503 are waited for as the Hub asks, at most
    HUB_RETRIES times without a new byte. The whole has `deadline_s(size)`. `wait` sleeps. The caller hashes what comes.
    Raises HubError when `X-Repo-Commit` is not the commit asked for, HubNotFound, HubUnreachable.
    """
    url = hf_hub_url(model_id, path, revision=commit_sha, endpoint=settings.HUB_ENDPOINT)
    ends = time.monotonic() + deadline_s(size)
    received = failures = 0
    while True:
        before = received
        try:
            for chunk in _stream(url, model_id, commit_sha, path, received):
                received += len(chunk)
                yield chunk
                if time.monotonic() > ends:
                    raise HubUnreachable(
                        f"The Hub sends {path} too slowly: {received} of {size} bytes in {deadline_s(size):.0f} seconds "
                        "(settings ASSAY_HUB_MIN_KBPS and ASSAY_HUB_FILE_GRACE_S). Try again later.",
                        code="hub_slow",
                    )
            if received >= size:
                return
            raise _Broken
        except (_Broken, _Busy) as trouble:
            failures = 1 if received > before else failures + 1
            pause = trouble.wait_s if isinstance(trouble, _Busy) else min(8.0, 0.2 * 2**failures)
            if failures > settings.HUB_RETRIES or time.monotonic() + pause > ends:
                raise _given_up(trouble, path, received, size, failures) from trouble
            wait(pause)


def _given_up(trouble: Exception, path: str, received: int, size: int, failures: int) -> HubError:
    if isinstance(trouble, _Busy) and trouble.status == 429:
        return HubUnreachable(
            "The Hub says: too many requests. Try again in a few minutes "
            f"(it asks to wait {trouble.wait_s:.0f} seconds).",
            code="hub_busy",
        )
    if isinstance(trouble, _Busy):
        return HubUnreachable(f"The Hub answered {trouble.status} for {path}. Try again later.")
    if trouble.__cause__ is None:
        return HubError(
            f"{path}: the Hub declared {size} bytes and sent {received}, {failures} times in a row. Nothing was kept.",
            code="shorter_than_declared",
        )
    return HubUnreachable(
        f"The connection to the Hub broke {failures} times in a row at byte {received} of {path}. Try again later."
    )


def _stream(url: str, model_id: str, commit_sha: str, path: str, offset: int) -> Iterator[bytes]:
    """The bytes from `offset` on. Raises _Broken (also when cut short), _Busy, HubError and its kinds."""
    headers = {**build_hf_headers(library_name="assay"), "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    try:
        with httpx2.Client(timeout=settings.HUB_TIMEOUT_S, follow_redirects=False) as client:
            for _ in range(5):
                with client.stream("GET", url, headers=headers) as answer:
                    _check_answer(answer, model_id, commit_sha, path)
                    if answer.is_redirect:
                        url = _redirected(url, answer, headers, path)
                        continue
                    skip = _to_skip(answer, offset, path)
                    for chunk in answer.iter_bytes():  # as it comes: a trickle must not hide in a buffer
                        kept = chunk[skip:] if skip < len(chunk) else b""
                        skip = max(0, skip - len(chunk))
                        if kept:
                            yield kept
                    return
    except (httpx2.TimeoutException, httpx2.TransportError, OSError) as error:
        raise _Broken from error
    raise HubError(f"The Hub redirects {path} in circles.", code="redirect_loop")


def _redirected(url: str, answer: httpx2.Response, headers: dict[str, str], path: str) -> str:
    """Where to go on. Our token stays with the Hub; nothing but http(s) is followed, and never from TLS to none."""
    here = httpx2.URL(url)
    target = here.join(answer.headers.get("location", ""))
    if target.scheme not in ("http", "https") or (here.scheme == "https" and target.scheme != "https"):
        raise HubError(
            f"The Hub redirects {path} to an address that is not safe to follow.", code="bad_redirect"
        )
    if _is_private(target.host) and not _is_private(httpx2.URL(settings.HUB_ENDPOINT).host):
        raise HubError(
            f"The Hub redirects {path} into a private network. Nothing was kept.", code="bad_redirect"
        )
    if (target.host, target.port) != (here.host, here.port):
        headers.pop("authorization", None)
    return str(target)


def _is_private(host: str) -> bool:
    """An address literal that is not public, or this machine by name. Names are not looked up here."""
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_global
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".internal", ".local"))


def _to_skip(answer: httpx2.Response, offset: int, path: str) -> int:
    """Bytes to drop of this answer: none for the part that was asked for, `offset` when the whole came again."""
    if not offset or answer.status_code == 200:
        return offset
    said = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("content-range", ""))
    if not said or int(said[1]) != offset:
        raise HubError(f"Asked for {path} from byte {offset}, the Hub sent another part.", code="wrong_range")
    return 0


def _retry_after(answer: httpx2.Response) -> float:
    """Seconds the Hub asks to wait; 5 when it does not say so in digits."""
    said = answer.headers.get("retry-after", "")
    return float(said) if said.isdecimal() and len(said) < 6 else 5.0


def _check_answer(answer: httpx2.Response, model_id: str, commit_sha: str, path: str) -> None:
    said = answer.headers.get(constants.HUGGINGFACE_HEADER_X_REPO_COMMIT)
    if said and said != commit_sha:
        raise HubError(
            f"Asked for {path} at {commit_sha[:12]}, the Hub answered with commit {said[:12]}. Nothing was kept.",
            code="wrong_commit",
        )
    if answer.status_code == 404:
        raise HubNotFound(f"The Hub lists {path} and does not have it.", code="file_not_found")
    if answer.status_code in (429, 500, 502, 503, 504):
        raise _Busy(answer.status_code, _retry_after(answer))
    if answer.status_code in (401, 403):
        raise HubNotFound(
            f"The Hub does not let Assay read {path} of {model_id} (token or gate).", code="gated"
        )
    if not answer.is_redirect and answer.status_code not in (200, 206):
        raise HubUnreachable(f"The Hub answered {answer.status_code} for {path}. Try again later.")
