"""Asking the Hub: the client library, its API beside the library, and the one place where their errors become sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
from django.conf import settings
from huggingface_hub import HfApi
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
from registry.words import gettext

CHUNK = 1024 * 1024
MAX_JSON_BYTES = 32 * 1024 * 1024


def api() -> HfApi:
    return HfApi(endpoint=settings.HUB_ENDPOINT, library_name="assay")


@contextmanager
def translated(model_id: str, revision: str) -> Iterator[None]:
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


def ask_json(method: str, url: str, model_id: str, **sent: Any) -> tuple[Any, str | None]:
    """(JSON, address of the next page or None). Only addresses of our Hub are followed. Raises HubError and its kinds."""
    headers = build_hf_headers(library_name="assay")
    with (
        translated(model_id, ""),
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
