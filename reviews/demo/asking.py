"""How the story asks: the API with a person's token, and the pages with a person's session, both as anybody would."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any, Self

import httpx

from reviews.demo.telling import expect

TIMEOUT_S = 30.0


class Api:
    """JSON over HTTP with one token. A status that was not expected is a FellShort with the answer's sentence."""

    def __init__(self, base: str, token: str) -> None:
        # trust_env: a proxy of the environment has no business between two processes of one machine.
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(base_url=base, headers=headers, timeout=TIMEOUT_S, trust_env=False)

    def get(self, path: str, *, status: int = 200, **params: str) -> Any:
        return self._answer(self._client.get(path, params=params), status)

    def post(self, path: str, body: Any, *, status: int = 200) -> Any:
        return self._answer(self._client.post(path, json=body), status)

    def put(self, path: str, body: Any, *, status: int = 200) -> Any:
        return self._answer(self._client.put(path, json=body), status)

    def upload(
        self, path: str, fields: dict[str, str], name: str, content: bytes, *, status: int = 201
    ) -> Any:
        files = {"file": (name, content, "text/csv")}
        return self._answer(self._client.post(path, data=fields, files=files), status)

    def refused(self, answer: Any) -> str:
        """The sentence of a refusal in the one shape that errors have."""
        error = answer["error"]
        expect(error["message"] and error["code"], f"an error without words: {answer}")
        return f"“{error['message']}”"

    def _answer(self, response: httpx.Response, status: int) -> Any:
        request = response.request
        expect(
            response.status_code == status,
            f"{request.method} {request.url.path} answered {response.status_code} where {status} was due: "
            f"{response.text[:500]}",
        )
        return response.json() if response.content else None


class Form:
    """A form as a browser sees it: where it goes and what it sends if nothing is changed."""

    def __init__(self, action: str) -> None:
        self.action = action
        self.fields: dict[str, str] = {}
        self.buttons: list[tuple[str, str, str]] = []  # name, value, formaction


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.text: list[str] = []
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(given.get("action", "")))
        form, name = (self.forms[-1] if self.forms else None), given.get("name", "")
        if form is None:
            return
        if tag == "button":
            form.buttons.append((name, given.get("value", ""), given.get("formaction", "")))
        elif (
            tag == "input" and name and (given.get("type") not in ("radio", "checkbox") or "checked" in given)
        ):
            form.fields[name] = given.get("value", "")
        elif tag == "textarea" and name:
            form.fields[name] = ""
        elif tag == "select":
            self._select = name
            form.fields.setdefault(name, "")
        elif tag == "option" and self._select and "selected" in given:
            form.fields[self._select] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = ""

    def handle_data(self, data: str) -> None:
        self.text.append(data)


class Page:
    """An answer in HTML."""

    def __init__(self, response: httpx.Response) -> None:
        self.status, self.path = response.status_code, response.url.path
        reader = _Reader()
        reader.feed(response.text)
        self.forms = reader.forms
        self.text = " ".join("".join(reader.text).split())

    def form_to(self, path: str) -> Form:
        """The form that goes to `path`. Raises FellShort when the page has none."""
        found = next((form for form in self.forms if form.action == path), None)
        expect(found, f"{self.path} ({self.status}) has no form to {path}: {self.text[:300]}")
        assert found is not None
        return found


class Browser:
    """A person's session: cookies, CSRF, forms. No scripts, which no page needs."""

    def __init__(self, base: str) -> None:
        self._client = httpx.Client(base_url=base, timeout=TIMEOUT_S, trust_env=False, follow_redirects=True)

    @classmethod
    def signed_in(cls, base: str, username: str, password: str) -> Self:
        browser = cls(base)
        page = browser.send(browser.open("/login/").form_to("/login/"), username=username, password=password)
        expect(
            page.status == 200 and page.path != "/login/", f"{username} could not sign in: {page.text[:300]}"
        )
        return browser

    def open(self, path: str) -> Page:
        page = Page(self._client.get(path))
        expect(page.status == 200, f"{path} answered {page.status}: {page.text[:300]}")
        return page

    def send(self, form: Form, **changed: str) -> Page:
        return self.post(form.action, {**form.fields, **changed})

    def post(self, path: str, fields: dict[str, str]) -> Page:
        """Sends a form from this site; Django's CSRF check asks for the token and the origin."""
        token = self._client.cookies.get("csrftoken") or ""
        origin = str(self._client.base_url).rstrip("/")
        headers = {"Origin": origin, "Referer": f"{origin}/"}
        return Page(self._client.post(path, data={"csrfmiddlewaretoken": token, **fields}, headers=headers))
