"""Who may ask: tokens, scopes, teams, and a control plane that is away."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from inference.server.errors import ApiError, ControlUnavailable
from inference.server.quota import Guesses
from inference.server.tokens import AWAY_S, FRESH_S, REFUSED_FRESH_S, STALE_S, TokenCache
from tests.server.conftest import World
from tests.server.control_plane import SERVICE_TOKEN, SHA
from tests.server.running import Caller, inference_server
from tests.server.test_predict import code_of


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (None, (401, "no_token")),
        ("wrong", (401, "invalid_token")),
        ("x" * 300, (401, "invalid_token")),
        ("x" * 5000, (401, "invalid_token")),
        ("no-scope", (403, "missing_scope")),
        ("other-team", (404, "not_served")),
    ],
)
def test_predict_needs_a_token_of_the_team(
    caller: Caller, token: str | None, expected: tuple[int, str]
) -> None:
    assert code_of(caller.predict(token=token)) == expected


@pytest.mark.parametrize("header", ["Basic abc", "Bearer", "engineer-secret", "Bearer a b"])
def test_predict_refuses_a_malformed_authorization(caller: Caller, header: str) -> None:
    assert caller.send(b'{"inputs": "a"}', Authorization=header).status_code == 401


def test_a_refusal_says_how_to_authenticate(caller: Caller) -> None:
    assert caller.predict(token=None).headers["WWW-Authenticate"] == "Bearer"


def test_tokens_seen_before_go_on_working_while_the_control_plane_is_away(world: World) -> None:
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()
        assert caller.predict().status_code == 200
        world.control.down = True
        assert caller.predict().status_code == 200
        response = caller.predict(token="never-seen")
        assert code_of(response) == (503, "auth_unavailable")
        assert response.headers["Retry-After"]
        assert caller.get("/readyz").status_code == 200


def test_one_question_serves_many_requests(world: World) -> None:
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()
        for _ in range(10):
            assert caller.predict().status_code == 200
        assert world.control.introspections == 1
        assert world.control.unauthorised == 0


class FakeControl:
    def __init__(self) -> None:
        self.answer: dict[str, Any] | None = {
            "active": True,
            "token_id": 7,
            "team": "search",
            "scopes": ["infer"],
        }
        self.asked = 0

    async def introspect(self, token: str) -> dict[str, Any]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.answer is None:
            raise ControlUnavailable("down")
        return self.answer


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def parts(tmp_path: Path) -> tuple[FakeControl, Clock, TokenCache]:
    control, clock = FakeControl(), Clock()
    return control, clock, TokenCache(control, tmp_path / "tokens.json", clock=clock)


def test_a_revoked_token_stops_after_its_fresh_time(parts: tuple[FakeControl, Clock, TokenCache]) -> None:
    control, clock, cache = parts

    async def story() -> None:
        await cache.grant("Bearer t")
        control.answer = {"active": False, "reason": "revoked"}
        clock.now += FRESH_S - 1
        await cache.grant("Bearer t")
        clock.now += 2
        with pytest.raises(ApiError) as caught:
            await cache.grant("Bearer t")
        assert caught.value.status == 401
        # Revoked stays revoked when the control plane then goes away: a refusal is never stale-served as a
        # yes.
        control.answer = None
        clock.now += REFUSED_FRESH_S + 1
        with pytest.raises(ApiError) as caught:
            await cache.grant("Bearer t")
        assert caught.value.status == 503

    asyncio.run(story())


def test_revoked_tokens_stop_within_a_minute() -> None:
    assert FRESH_S <= 30 and REFUSED_FRESH_S < FRESH_S


def test_an_address_that_guesses_waits_and_tokens_known_here_do_not(tmp_path: Path) -> None:
    class Registry(FakeControl):
        async def introspect(self, token: str) -> dict[str, Any]:
            self.asked += 1
            return {**self.answer, "active": token.startswith("good")}  # type: ignore[dict-item]

    class Still:
        now = 50.0

        def __call__(self) -> float:
            return self.now

    control, clock, still = Registry(), Clock(), Still()
    cache = TokenCache(control, tmp_path / "tokens.json", clock=clock, guesses=Guesses(clock=still))

    async def status(token: str, address: str = "192.0.2.1") -> int:
        try:
            await cache.grant(f"Bearer {token}", address)
        except ApiError as refusal:
            if refusal.status == 429:
                assert refusal.code == "too_many_attempts" and refusal.headers["Retry-After"] == "1"
            return refusal.status
        return 200

    async def story() -> None:
        most = int(Guesses.BURST)
        assert await status("good") == 200
        assert [await status(f"guess{n}") for n in range(most + 2)] == [401] * most + [429] * 2
        asked = control.asked
        assert await status("guess-again") == 429 and control.asked == asked
        # Known here: also when it has to be asked about anew.
        clock.now += FRESH_S + 1
        assert await status("good") == 200
        assert await status("good-but-new") == 429
        assert await status("good-but-new", "192.0.2.2") == 200
        assert await status("good-but-new") == 200
        still.now += 0.9
        assert [await status(f"later{n}") for n in range(2)] == [401, 429]

    asyncio.run(story())


def test_one_bad_token_sent_again_and_again_is_asked_about_rarely_and_locks_nobody_out(
    parts: tuple[FakeControl, Clock, TokenCache],
) -> None:
    control, _, cache = parts
    control.answer = {"active": False}

    async def story() -> None:
        for _ in range(int(Guesses.BURST) * 3):
            with pytest.raises(ApiError) as caught:
                await cache.grant("Bearer expired", "192.0.2.1")
            assert caught.value.status == 401
        control.answer = {"active": True, "token_id": 7, "team": "search", "scopes": ["infer"]}
        assert (await cache.grant("Bearer new-and-good", "192.0.2.1")).active

    asyncio.run(story())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("127.0.0.1:8100", 200), ("[::1]:8100", 200), ("10.1.2.3", 200), ("localhost:1", 200),
        ("inference:8100", 200), ("assay.localhost", 200), ("models.example.com", 200), ("MODELS.example.com.:443", 200),
        ("evil.example", 400), ("evil.example:8100", 400), ("127.0.0.1.evil.example", 400), ("models.example.com.evil", 400),
        ("a@127.0.0.1", 400), ("evil\\.example", 400),
    ],
)  # fmt: skip
def test_foreign_host_names_are_refused(world: World, host: str, status: int) -> None:
    with inference_server(world.url, world.cache, hosts=("models.example.com",)) as caller:
        answer = caller.http.get("/limits", headers={"Host": host})
    assert answer.status_code == status and answer.headers["X-Request-Id"]
    if status == 400:
        assert code_of(answer) == (400, "unknown_host")


def test_a_stale_grant_ends_and_the_question_is_not_repeated_at_once(
    parts: tuple[FakeControl, Clock, TokenCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    control, clock, cache = parts

    async def story() -> None:
        await cache.grant("Bearer t")
        control.answer = None
        clock.now += FRESH_S + 1
        for _ in range(5):
            assert (await cache.grant("Bearer t")).team == "search"
        assert control.asked == 2, f"asked again within {AWAY_S} s of a failure"
        clock.now += STALE_S
        with pytest.raises(ApiError) as caught:
            await cache.grant("Bearer t")
        assert caught.value.status == 503

    asyncio.run(story())


def test_a_clock_set_back_asks_again(parts: tuple[FakeControl, Clock, TokenCache]) -> None:
    control, clock, cache = parts

    async def story() -> None:
        await cache.grant("Bearer t")
        clock.now -= 3600
        await cache.grant("Bearer t")
        assert control.asked == 2

    asyncio.run(story())


def test_many_waiters_ask_once(parts: tuple[FakeControl, Clock, TokenCache]) -> None:
    control, _, cache = parts

    async def story() -> None:
        await asyncio.gather(*(cache.grant("Bearer t") for _ in range(50)))

    asyncio.run(story())
    assert control.asked == 1


def test_grants_survive_a_restart_but_tokens_are_never_written(
    parts: tuple[FakeControl, Clock, TokenCache], tmp_path: Path
) -> None:
    control, clock, cache = parts

    async def story() -> None:
        await cache.grant("Bearer top-secret-token")
        await cache.save()
        control.answer = None
        clock.now += 60
        again = TokenCache(control, tmp_path / "tokens.json", clock=clock)
        assert (await again.grant("Bearer top-secret-token")).token_id == "7"
        clock.now += STALE_S
        late = TokenCache(control, tmp_path / "tokens.json", clock=clock)
        with pytest.raises(ApiError):
            await late.grant("Bearer top-secret-token")

    asyncio.run(story())
    stored = tmp_path / "tokens.json"
    assert "top-secret-token" not in stored.read_text()
    assert stored.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 1}', '{"a": {"active": true}}'])
def test_an_unreadable_token_file_is_no_reason_not_to_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokens.json").write_text(content)
    TokenCache(FakeControl(), tmp_path / "tokens.json")


@pytest.mark.parametrize(
    "answer", [{"active": True}, {"active": True, "token_id": "a", "team": "", "scopes": []}]
)
def test_a_half_answer_is_no_grant(
    parts: tuple[FakeControl, Clock, TokenCache], answer: dict[str, Any]
) -> None:
    control, _, cache = parts
    control.answer = answer
    with pytest.raises(ApiError) as caught:
        asyncio.run(cache.grant("Bearer t"))
    assert caught.value.status == 503


def test_the_wrong_service_token_is_not_the_caller_s_fault(world: World) -> None:
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()
        world.control.service_token = "rotated"
        assert code_of(caller.predict()) == (503, "auth_unavailable")


def test_a_renewed_service_token_is_taken_without_a_restart(world: World, tmp_path: Path) -> None:
    file = tmp_path / "service-token"
    file.write_text(SERVICE_TOKEN)
    with inference_server(world.url, world.cache, server_token_file=file) as caller:
        caller.wait_ready()
        world.control.service_token = "rotated"
        world.control.serve(world.control.line("v2"))
        file.write_text("rotated\n")
        caller.wait_revision(SHA["v2"])
