"""What every protocol does with a request before and after its own words: admission, caller, quota, body, engine.

async with serving(request, org, name) as turn:
    value = await turn.read_json()
    answer = await turn.ask(inputs, Classify())
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request

from inference.engine import (
    Answer,
    Classify,
    EngineBusy,
    EngineClosed,
    EngineDeadline,
    InferenceError,
    InferenceInputError,
    InferenceOutputError,
    Input,
    Options,
    Prediction,
)
from inference.engine.validate import check_inputs
from inference.server.body import ClientGone, parse_json, read_body
from inference.server.errors import ApiError
from inference.server.loading import LoadedModel
from inference.server.slots import DEFAULT_CHANNEL, Slot
from inference.server.state import ServerState
from inference.server.target import parse_target
from inference.server.tokens import Grant

T = TypeVar("T")

# Larger bodies are parsed off the event loop, where a megabyte of JSON would hold up everyone.
_INLINE_BYTES = 64 * 1024
# So many characters are tokenised in a third of a millisecond, and a hop to a thread and back costs a tenth.
_INLINE_CHARS = 2000
# A caller who hangs up is looked for only once the answer takes longer than this: most are there by then.
_LOOK_AFTER_S = 0.05


@dataclass
class Visit:
    """One request that has its place and its caller."""

    request: Request
    state: ServerState
    grant: Grant
    started: float

    @property
    def deadline(self) -> float:
        return self.started + self.state.settings.limits.deadline_s

    async def read_bytes(self, *kinds: str) -> bytes:
        """The body; `kinds` are the media types that it may have. Raises ApiError 408, 413, 415."""
        limits = self.state.settings.limits
        return await read_body(
            self.request, limit=limits.max_body_bytes, timeout_s=limits.deadline_s, kinds=kinds
        )

    async def read_json(self) -> Any:
        """The body's JSON. Raises ApiError 408, 413, 415, 422."""
        raw = await self.read_bytes()
        return await self.work(parse_json, raw, inline=len(raw) <= _INLINE_BYTES)

    async def work(self, function: Callable[..., T], *positional: Any, inline: bool = False) -> T:
        """`function` in the pool of threads, or here when it is nothing."""
        if inline:
            return function(*positional)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.state.pool, function, *positional)

    def elapsed_ms(self) -> float:
        return round((time.monotonic() - self.started) * 1000, 2)

    def take(self, org: str, name: str) -> Turn:
        """The turn with this model, kept in memory until it is given back. `name` may end in @channel or
        @commit_sha. Raises ApiError 404, 503."""
        model_id, selector = parse_target(org, name)
        slot, model = self.state.slots.take(self.grant.team, model_id, selector or DEFAULT_CHANNEL)
        note(self.request, model_id=model_id, channel=slot.served.channel, commit_sha=model.key.commit_sha)
        return Turn(self.request, self.state, self.grant, self.started, slot, model)

    @contextmanager
    def turn(self, org: str, name: str) -> Iterator[Turn]:
        """`take`, and give it back at the end."""
        turn = self.take(org, name)
        try:
            yield turn
        finally:
            turn.give_back()


@dataclass
class Turn(Visit):
    """A visit that has its model."""

    slot: Slot
    model: LoadedModel

    @property
    def headers(self) -> dict[str, str]:
        """What each answer carries, whatever the protocol."""
        return {"X-Model-Revision": self.model.key.commit_sha}

    async def read_bytes(self, *kinds: str) -> bytes:
        """As a visit's; ApiError 429 before a byte of a request that would find no place in the queue."""
        with _typed_errors(self.state.settings.limits.deadline_s):
            self.model.engine.check_room()
        return await super().read_bytes(*kinds)

    def give_back(self) -> None:
        self.state.slots.give_back(self.model)

    async def ask(
        self, inputs: Sequence[Input], options: Options | None = None, *, truncate: bool = True
    ) -> Answer:
        """The engine's answer. Raises ApiError 422, 429, 500, 503, 504; ClientGone."""
        checked = self.checked(inputs)
        chars = [sum(map(len, _parts(one))) for one in checked]
        engine = self.model.engine
        chosen = options if options is not None else Classify()
        # A thread costs more than a short text: only long ones would hold up everyone.
        size = sum(chars)
        hashes = await self.work(self._hashes, checked, inline=size <= _INLINE_BYTES)
        note(self.request, inputs=len(checked), chars=chars, hashes=hashes)
        with _typed_errors(self.state.settings.limits.deadline_s):
            permit = engine.admit(len(checked))
            # Released here as well: this task may be cancelled before the request is queued.
            try:
                prepare = partial(engine.prepare, checked, chosen, truncate=truncate)
                prepared = await self.work(prepare, inline=size <= _INLINE_CHARS and engine.encodes_here)
                queued = engine.enqueue(permit, prepared, deadline=self.deadline)
            except BaseException:
                permit.release()
                raise
            answer = await _wait(self.request, asyncio.wrap_future(queued), self.deadline)
        self.state.quotas.spend(self.grant.token_id, sum(r.token_count for r in answer.results))
        self._note(answer)
        return answer

    def checked(self, inputs: Sequence[Input]) -> list[Input]:
        """The inputs within this server's limits. Raises ApiError 422."""
        limits = self.state.settings.limits
        try:
            return check_inputs(inputs, max_inputs=limits.max_inputs, max_chars=limits.max_chars_per_input)
        except InferenceInputError as exc:
            raise input_error(exc) from None

    def _hashes(self, inputs: Sequence[Input]) -> list[str]:
        # The separator cannot be in a text that a person typed: two pairs never have one hash by accident.
        return [self.state.hasher("\x1f".join(_parts(one))) for one in inputs]

    def _note(self, answer: Answer) -> None:
        results = answer.results
        fields: dict[str, Any] = {
            "tokens": [r.token_count for r in results],
            "truncated": sum(r.truncated for r in results),
            "variant": str(answer.variant),
            "tokenization_ms": answer.tokenization_ms,
            "queue_ms": answer.queue_ms,
            "inference_ms": answer.inference_ms,
        }
        if predictions := [r for r in results if isinstance(r, Prediction)]:
            fields |= {
                "labels": [p.label for p in predictions],
                "confidences": [p.confidence for p in predictions],
            }
        note(self.request, **fields)
        self.state.metrics.answered(self.model.key, answer)


class visiting:
    """A place and a caller, for a protocol that names the model in the body. Raises ApiError 401, 403, 429,
    503. (Classes, not generators: every request passes here.)"""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._state: ServerState = request.app.state.server

    async def __aenter__(self) -> Visit:
        started, state = time.monotonic(), self._state
        # Admission before any work: bodies and parses of a flood must not fill the memory.
        limit = state.settings.limits.max_concurrent_requests
        if state.places.taken >= limit:
            raise ApiError(429, "busy", f"The server is working on {limit} requests.", retry_after_s=1)
        state.places.change(1)
        try:
            grant = await caller(self._request, state)
            state.quotas.begin(grant.token_id)
        except BaseException:
            state.places.change(-1)
            raise
        return Visit(self._request, state, grant, started)

    async def __aexit__(self, *details: object) -> None:
        self._state.places.change(-1)


class serving:
    """1. a place among the running requests  2. who is calling  3. which model, kept in memory until the end.

    `name` may end in @channel or @commit_sha. Raises ApiError 401, 403, 404, 429, 503.
    """

    def __init__(self, request: Request, org: str, name: str) -> None:
        self._visiting, self._org, self._name = visiting(request), org, name

    async def __aenter__(self) -> Turn:
        visit = await self._visiting.__aenter__()
        try:
            self._turn = visit.take(self._org, self._name)
        except BaseException:
            await self._visiting.__aexit__()
            raise
        return self._turn

    async def __aexit__(self, *details: object) -> None:
        self._turn.give_back()
        await self._visiting.__aexit__()


async def caller(request: Request, state: ServerState) -> Grant:
    """The caller's grant. Raises ApiError 401, 403 (no scope infer), 429, 503."""
    address = request.client.host if request.client else ""
    grant = await state.tokens.grant(request.headers.get("authorization"), address)
    note(request, team=grant.team, token_id=grant.token_id)
    if "infer" not in grant.scopes:
        raise ApiError(403, "missing_scope", "Your token lacks the scope infer.", details={"scope": "infer"})
    return grant


def note(request: Request, **fields: Any) -> None:
    """Add fields to the request's one log line."""
    request.scope["assay"]["log"].update(fields)


def input_error(exc: InferenceInputError) -> ApiError:
    return ApiError(422, exc.code, str(exc), details=dict(exc.details))


class _typed_errors:
    """The engine's exceptions as answers."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, _: object) -> None:
        if isinstance(exc, InferenceInputError):
            raise input_error(exc) from None
        if isinstance(exc, EngineBusy):
            message = "The model has more requests than it can take."
            raise ApiError(429, "busy", message, retry_after_s=exc.retry_after_s) from None
        if isinstance(exc, EngineDeadline | TimeoutError):
            details = {"deadline_s": self._deadline_s}
            message = "The answer was not ready in time."
            raise ApiError(504, "deadline_exceeded", message, details=details) from None
        if isinstance(exc, InferenceOutputError):
            raise ApiError(500, exc.code, "The model's answer on this request is no answer.") from exc
        if isinstance(exc, InferenceError):
            # Often memory: the same request may pass when fewer are running.
            raise ApiError(503, exc.code, "The model failed on this request.", retry_after_s=1) from exc
        if isinstance(exc, EngineClosed):
            message = "The model is being replaced."
            raise ApiError(503, "model_unavailable", message, retry_after_s=1) from None


async def _wait(request: Request, answer: asyncio.Future[Answer], deadline: float) -> Answer:
    """Wait for the answer, the deadline or the caller's hanging up; in the last two cases the work is
    dropped."""
    watch = _Watch(request, answer, deadline)
    try:
        return await answer
    except asyncio.CancelledError:
        if watch.ended_by is not None:
            raise watch.ended_by from None
        raise
    finally:
        watch.close()
        # Also when this task itself is cancelled (shutdown): nobody will read the answer.
        answer.cancel()


class _Watch:
    """Cancels the answer at the deadline or when the caller hangs up; `ended_by` then says which. One timer,
    where most answers are there before it rings."""

    def __init__(self, request: Request, answer: asyncio.Future[Answer], deadline: float) -> None:
        self.ended_by: Exception | None = None
        self._request, self._answer, self._deadline = request, answer, deadline
        self._gone: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        left = max(0.0, deadline - time.monotonic())
        self._timer = self._loop.call_later(min(left, _LOOK_AFTER_S), self._ring)

    def close(self) -> None:
        self._timer.cancel()
        if self._gone is not None:
            self._gone.cancel()

    def _ring(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            self._end(TimeoutError())
            return
        self._timer = self._loop.call_later(left, self._ring)
        if self._gone is None:
            self._gone = self._loop.create_task(_hung_up(self._request))
            self._gone.add_done_callback(self._left)

    def _left(self, gone: asyncio.Task[None]) -> None:
        if not gone.cancelled() and gone.exception() is None:
            self._end(ClientGone())

    def _end(self, reason: Exception) -> None:
        if not self._answer.done():
            self.ended_by = reason
            self._answer.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _parts(one: Input) -> tuple[str, ...]:
    return (one,) if isinstance(one, str) else one
