"""What can go wrong, as types. `config/errors.py` turns each into an HTTP answer; the sentence is for people.

Each carries `code` (stable, for programs), a message that says what happened, why and what to do, and `details`.
"""

from __future__ import annotations

from typing import Any


class DomainError(Exception):
    """Base of every refusal; `status` is its HTTP answer."""

    status = 400
    code = "bad_request"

    def __init__(self, message: str, *, code: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message  # in the reader's language; `english(message)` is what may be stored
        self.code = code or self.code
        self.details = details


class InvalidInput(DomainError):
    """The request cannot be understood or breaks a limit; nothing was written."""

    status = 422
    code = "invalid_input"


class NotAllowed(DomainError):
    """This person may not do this (role, scope or four eyes)."""

    status = 403
    code = "not_allowed"


class NotFound(DomainError):
    """It does not exist, or belongs to another team: the two look the same from outside."""

    status = 404
    code = "not_found"


class Conflict(DomainError):
    """The object is in a state that does not allow this."""

    status = 409
    code = "conflict"


class TooManyAttempts(DomainError):
    """Tried too often; nothing is looked at again for `retry_after_s` seconds."""

    status = 429
    code = "throttled"

    def __init__(self, message: str, *, retry_after_s: int) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.retry_after_s = retry_after_s


class HubError(DomainError):
    """The Hub refused, lied or could not be reached."""

    status = 424
    code = "hub_error"


class HubUnreachable(HubError):
    code = "hub_unreachable"


class HubNotFound(HubError):
    """The repository or the revision does not exist on the Hub (or its token may not see it)."""

    status = 422
    code = "hub_not_found"


class IntegrityFailure(DomainError):
    """Bytes are not what their digest says. Never served, never loaded."""

    status = 503
    code = "integrity_error"


class NotConfigured(DomainError):
    """This installation lacks something that its operator must give it; the message says what."""

    status = 503
    code = "not_configured"


class NotAvailable(DomainError):
    """This machine cannot do it at all (a system library is missing); the message says what does instead."""

    status = 501
    code = "not_available"


class JobFailed(DomainError):
    """A job ended without a result; the message is what the person reads on its page."""

    status = 409
    code = "job_failed"


class LeaseLost(Exception):
    """Another worker owns this job now; what this one has computed must not be published."""


class JobCancelled(Exception):
    """A person asked the running job to stop."""
