"""The bytes of one file of a commit: resumed where a connection broke, waited for as the Hub asks, and bounded in time."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Callable, Iterator

import httpx2
from django.conf import settings
from huggingface_hub import constants, hf_hub_url
from huggingface_hub.utils import build_hf_headers

from registry.exceptions import HubError, HubNotFound, HubUnreachable


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
    model_id: str,
    commit_sha: str,
    path: str,
    *,
    size: int,
    start: int = 0,
    wait: Callable[[float], None] = time.sleep,
) -> Iterator[bytes]:
    """Streams one file of `size` bytes of a commit, from byte `start` on, plain HTTP.

    A broken connection goes on where it ended (Range); 429 and 503 are waited for as the Hub asks, at most
    HUB_RETRIES times without a new byte. The whole has `deadline_s(size)`. `wait` sleeps. The caller hashes what comes.
    Raises HubError when `X-Repo-Commit` is not the commit asked for, HubNotFound, HubUnreachable.
    """
    url = hf_hub_url(model_id, path, revision=commit_sha, endpoint=settings.HUB_ENDPOINT)
    ends = time.monotonic() + deadline_s(size)
    received, failures = start, 0
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
