"""The Hub's refusals: a status, X-Error-Code and X-Error-Message. The client decides by the two headers."""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response


class HubError(Exception):
    """A refusal.

    `code`: X-Error-Code, None where the real Hub sends none. `plain`: a text body, as file routes have.
    """

    def __init__(
        self,
        status: int,
        code: str | None,
        message: str,
        *,
        plain: bool = False,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.plain = status, code, message, plain
        self.headers = headers or {}


def answer(_request: Request, error: Exception) -> Response:
    """HubError -> response (a Starlette exception handler)."""
    assert isinstance(error, HubError)
    # A header is one line of latin-1; a revision quoted back in the message may be anything.
    headers = {
        "X-Error-Message": error.message.encode("ascii", "backslashreplace").decode().replace("\n", " ")
    }
    if error.code:
        headers["X-Error-Code"] = error.code
    headers |= error.headers
    if error.plain:
        return PlainTextResponse(error.message, error.status, headers)
    return JSONResponse({"error": error.message}, error.status, headers)


def unknown_repo(*, anonymous: bool, bare_401: bool) -> HubError:
    """To a token the Hub says 404 RepoNotFound; to a stranger 401, so that private names cannot be guessed.

    The real 401 carries no X-Error-Code: the client knows it by an address that starts with https://. This
    server speaks http, so the code is added, else code under test would see HfHubHTTPError here and
    RepositoryNotFoundError in production. `bare_401` leaves it out.
    """
    if not anonymous:
        return HubError(404, "RepoNotFound", "Repository not found")
    headers = {"WWW-Authenticate": 'Bearer realm="Authentication required", charset="UTF-8"'}
    return HubError(
        401, None if bare_401 else "RepoNotFound", "Invalid username or password.", headers=headers
    )


def moved(request: Request, old: str, new: str) -> HubError:
    """The same address under the model's new name."""
    path = request.scope["raw_path"].decode("ascii", "replace").replace(old, new, 1)
    query = f"?{request.url.query}" if request.url.query else ""
    return HubError(
        307, None, f"Temporary Redirect. Redirecting to {path}", headers={"Location": path + query}
    )


def unknown_revision(revision: str) -> HubError:
    return HubError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
