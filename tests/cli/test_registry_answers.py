"""What a registry says about a lock: the real one over HTTP, and one that lies, stumbles or is not there."""

from __future__ import annotations

import http.server
import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import yaml
from django.utils import timezone

from registry import lock, store
from registry.enums import Scope
from registry.models import Approval
from registry.services.approvals import change_approval
from registry.services.channels import move_channel
from tests.cli.locks import KEY, MODEL_ID, OTHER_KEY, OTHER_SHA, SHA, Desk, entry, key_id_of, pem_of, signed
from tests.factories import SHA_B, make_approval, make_revision, make_token, make_world

# --- the real registry -------------------------------------------------------------------------------------------------


class Running:
    """A registry on a port with one approved revision, live in production, and its lock in the desk's folder."""

    def __init__(self, url: str, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        self.url, self.desk, self.world = url, desk, make_world()
        self.revision = make_revision(self.world.team)
        self.approval = make_approval(self.world, self.revision)
        self.go_live(self.approval)
        monkeypatch.setenv("ASSAY_TOKEN", make_token(self.world.viewer, [Scope.READ]))
        self.fetch()

    def go_live(self, approval: Approval) -> None:
        move_channel(
            actor=self.world.release_manager, model=approval.model, name="production", approval=approval, reason="Release",
        )  # fmt: skip

    def fetch(self, model_id: str = MODEL_ID) -> None:
        document = lock.lock_of(self.world.viewer, [model_id])
        self.desk.lock.write_text(lock.as_yaml(document), encoding="utf-8")

    def act(self, action: str) -> None:
        change_approval(
            actor=self.world.admin, approval=self.approval, action=action, reason="It misreads negation"
        )

    def verify(self, *arguments: object) -> tuple[int, list[str], dict[str, Any]]:
        return self.desk.run("--lock", self.desk.lock, "--registry", self.url, *arguments)


@pytest.fixture
def running(live_server: Any, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Running:
    return Running(live_server.url, desk, monkeypatch)


def test_living_lock_is_ok_and_its_key_is_fetched(running: Running) -> None:
    code, rules, answer = running.verify()
    assert (code, rules, answer["problems"]) == (0, [], [])
    assert answer["checked"][-1] == f"the registry {running.url}"
    assert answer["checked"][0].startswith("signature by key ")


def test_changed_lock_is_found_by_the_published_key(running: Running) -> None:
    content = yaml.safe_load(running.desk.lock.read_text())
    content["models"][0]["serving"]["batch_size"] = 64
    running.desk.write(content)
    assert running.verify()[:2] == (1, ["signature-invalid"])


def test_lock_of_another_registry_is_found(running: Running) -> None:
    running.desk.write(signed(entry(revision=running.revision.commit_sha)))
    code, rules, _ = running.verify()
    assert code == 1 and "signature-unknown-key" in rules and "registry-differs" in rules


@pytest.mark.parametrize(
    ("actions", "word"),
    [(["suspend"], "suspended"), (["suspend", "revoke"], "revoked"), (["deprecate", "retire"], "retired")],
)
def test_approval_that_was_taken_back_is_found(running: Running, actions: list[str], word: str) -> None:
    for action in actions:
        running.act(action)
    code, rules, answer = running.verify()
    assert (code, rules) == (1, ["registry-refused"])
    assert word in answer["findings"][0]["message"] and "/revisions/" in answer["findings"][0]["message"]


def test_deprecated_approval_is_a_warning(running: Running) -> None:
    running.act("deprecate")
    assert running.verify()[:2] == (0, ["registry-deprecated"])
    assert running.verify("--strict")[0] == 1


def test_channel_that_moved_is_a_warning(running: Running) -> None:
    newer = make_revision(running.world.team, SHA_B)
    running.go_live(make_approval(running.world, newer))
    assert running.verify()[:2] == (0, ["channel-moved"])
    running.fetch()
    assert running.verify()[:2] == (0, [])


def test_expired_approval_is_found_here_and_there(running: Running) -> None:
    brief = make_revision(running.world.team, SHA_B, model_id="acme/brief")
    make_approval(running.world, brief, expires_at=timezone.now() + timedelta(seconds=1))
    running.fetch("acme/brief")
    time.sleep(1.1)
    code, rules, answer = running.verify()
    assert (code, rules) == (1, ["lock-expired", "registry-refused"])
    assert "its approval is expired" in answer["findings"][1]["message"]


@pytest.mark.parametrize("token", ["", "wrong"])
def test_registry_without_a_good_token_cannot_be_asked(
    running: Running, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_TOKEN", token)
    code, rules, answer = running.verify()
    assert (code, rules) == (2, []) and "answered 401" in answer["problems"][0]


def test_token_of_another_variable_is_used(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI_TOKEN", make_token(running.world.viewer, [Scope.READ]))
    monkeypatch.delenv("ASSAY_TOKEN")
    assert running.verify("--token-env", "CI_TOKEN")[0] == 0


def test_other_team_is_told_that_the_model_is_unknown(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSAY_TOKEN", make_token(running.world.other, [Scope.READ]))
    assert running.verify()[1] == ["registry-refused"]


def test_store_of_the_registry_and_its_lock_agree_byte_by_byte(running: Running) -> None:
    base = running.desk.folder / "snapshot"
    base.mkdir()
    for file in running.revision.files.select_related("blob"):
        with store.verified(file.blob_id, file.blob.size) as source:
            (base / file.path).write_bytes(source.read())
    assert running.verify("--snapshot", base)[:2] == (0, [])
    (base / "config.json").write_bytes(b"{}")
    assert running.verify("--snapshot", base)[:2] == (1, ["file-changed"])


# --- one that lies or stumbles ------------------------------------------------------------------------------------------

KEYS = {"keys": [{"key_id": key_id_of(KEY), "alg": "ed25519", "public_key_pem": pem_of(KEY).decode()}]}


def approved(**changed: Any) -> dict[str, Any]:
    locked = entry()
    return {
        "model_id": MODEL_ID, "commit_sha": SHA, "manifest_sha256": locked["manifest_sha256"], "trust_remote_code": False,
        "review_url": "http://127.0.0.1/revisions/1/", "approval": {"id": 7, "status": "active"}, **changed,
    }  # fmt: skip


class Liar:
    """Answers what it is told: path (without query) -> (status, body or bytes, headers)."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any, dict[str, str]]] = {}
        self.asked: list[tuple[str, str]] = []
        liar = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.split("?")[0]
                liar.asked.append((path, self.headers.get("Authorization", "")))
                status, body, headers = liar.answers.get(
                    path, (404, {"error": {"code": "not_found", "message": "No."}}, {})
                )
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for key, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.say("/api/v1/keys", 200, KEYS)
        self.say(self.approved, 200, approved())

    approved = f"/api/v1/models/{MODEL_ID}/approved"

    def say(self, path: str, status: int, body: Any, **headers: str) -> None:
        self.answers[path] = (status, body, headers)


@pytest.fixture
def liar(monkeypatch: pytest.MonkeyPatch) -> Iterator[Liar]:
    monkeypatch.setenv("ASSAY_TOKEN", "secret-token")
    found = Liar()
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


def ask(desk: Desk, liar: Liar) -> tuple[int, list[str], dict[str, Any]]:
    return desk.run("--lock", desk.lock, "--registry", liar.url)


def test_fake_registry_that_agrees_is_ok(desk: Desk, liar: Liar) -> None:
    assert ask(desk, liar)[:2] == (0, [])
    assert {token for _, token in liar.asked} == {"Bearer secret-token"}


@pytest.mark.parametrize(
    "changed", [{"commit_sha": OTHER_SHA}, {"manifest_sha256": "0" * 64}, {"model_id": "acme/x"}]
)
def test_registry_that_holds_something_else_is_found(desk: Desk, liar: Liar, changed: dict[str, str]) -> None:
    liar.say(liar.approved, 200, approved(**changed))
    code, rules, _ = ask(desk, liar)
    assert code == 1 and rules[0] == "registry-differs"


def test_code_that_is_no_longer_allowed_is_found(desk: Desk, liar: Liar) -> None:
    desk.write(signed(entry(code_allowed=True)))
    assert ask(desk, liar)[:2] == (1, ["registry-differs"])


def test_newer_approval_is_a_note(desk: Desk, liar: Liar) -> None:
    liar.say(liar.approved, 200, approved(approval={"id": 8, "status": "active"}))
    assert ask(desk, liar)[:2] == (0, ["registry-renewed"])


def test_key_that_is_not_published_is_found(desk: Desk, liar: Liar) -> None:
    desk.write(signed(entry(), key=OTHER_KEY))
    assert ask(desk, liar)[:2] == (1, ["signature-unknown-key"])


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {"error": {"code": "internal_error", "message": "Broken."}}),
        (503, {"error": {"code": "not_configured", "message": "Later."}}),
        (403, {"error": {"code": "not_allowed", "message": "No scope."}}),
        (200, b"<html>sign in</html>"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b"[" * 100_000),
        (200, b"x" * 5_000_000),
        (404, b"not found"),
        (404, {"detail": "Not found."}),
        (404, {"error": {"code": "not_found", "message": "There is nothing at this address."}}),
    ],
)
def test_answer_that_is_none_cannot_be_counted_as_good(
    desk: Desk, liar: Liar, status: int, body: Any
) -> None:
    liar.say(liar.approved, status, body)
    code, rules, answer = ask(desk, liar)
    assert (code, rules) == (2, []) and liar.url in answer["problems"][0]


def test_redirect_is_not_followed_with_the_token(desk: Desk, liar: Liar) -> None:
    liar.say("/elsewhere", 200, approved())
    liar.say(liar.approved, 302, b"", Location=f"{liar.url}/elsewhere")
    assert ask(desk, liar)[0] == 2
    assert "/elsewhere" not in [path for path, _ in liar.asked]


def test_registry_that_is_away_cannot_be_asked_and_violations_still_count(desk: Desk, liar: Liar) -> None:
    nobody = "http://127.0.0.1:9"
    code, rules, answer = desk.run("--lock", desk.lock, "--registry", nobody, "--public-key", desk.key)
    assert (code, rules) == (2, []) and "cannot be asked" in answer["problems"][0]
    file = desk.folder / "app.py"
    file.write_text('A.from_pretrained("a/b")')
    assert (
        desk.run("--lock", desk.lock, "--registry", nobody, "--public-key", desk.key, "--sources", file)[0]
        == 1
    )


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "assay.example.com", "http://", "http://user@127.0.0.1", ""]
)
def test_address_that_is_none_is_refused(desk: Desk, url: str) -> None:
    if url:
        assert desk.run("--lock", desk.lock, "--registry", url)[0] == 2
