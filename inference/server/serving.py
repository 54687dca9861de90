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
from functools import partial
from typing import Any, TypeVar

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
from inference.engine.inbox import Pending
from inference.engine.validate import check_inputs
from inference.server.body import ClientGone, body_now, parse_json, read_body
from inference.server.errors import ApiError
from inference.server.http import Request
from inference.server.loading import LoadedModel
from inference.server.patience import HungUp, TooLate, Watch
from inference.server.slots import DEFAULT_CHANNEL, Slot
from inference.server.state import ServerState
from inference.server.target import parse_target
from inference.server.tokens import Grant

T = TypeVar("T")

# Larger bodies are parsed off the event loop, where a megabyte of JSON would hold up everyone.
_INLINE_BYTES = 64 * 1024
# So many characters are tokenised in a third of a millisecond, and a hop to a thread and back costs a tenth.
_INLINE_CHARS = 2000


class Visit:
    """One request that has its place and its caller. `deadline` is on the clock of `time.monotonic()`."""

    __slots__ = ("deadline", "grant", "request", "state")

    def __init__(self, request: Request, state: ServerState, grant: Grant) -> None:
        self.request, self.state, self.grant = request, state, grant
        self.deadline = request.started + state.settings.limits.deadline_s

    def check_room(self) -> None:
        """Raises ApiError 429 before a byte of a request is read that would find no place."""

    async def read_bytes(self, *kinds: bytes) -> bytes:
        """The body; `kinds` are media types that it may have beside JSON. Raises ApiError 408, 413, 415, 429."""
        self.check_room()
        state = self.state
        limit = state.settings.limits.max_body_bytes
        body = body_now(self.request, limit, kinds)
        if body is None:
            body = await read_body(self.request, limit=limit, deadline=self.deadline, patience=state.patience)
        return body

    async def read_json(self) -> Any:
        """The body's JSON. Raises ApiError 408, 413, 415, 422, 429."""
        raw = await self.read_bytes()
        return parse_json(raw) if len(raw) <= _INLINE_BYTES else await self.work(parse_json, raw)

    async def work(self, function: Callable[..., T], *positional: Any) -> T:
        """`function` in the pool of threads: what would hold up everyone."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.state.pool, function, *positional)

    def elapsed_ms(self) -> float:
        return round((time.monotonic() - self.request.started) * 1000, 2)

    def take(self, org: str, name: str) -> Turn:
        """The turn with this model, kept in memory until it is given back. `name` may end in @channel or
        @commit_sha. Raises ApiError 404, 503."""
        model_id, selector = parse_target(org, name)
        slot, model = self.state.slots.take(self.grant.team, model_id, selector or DEFAULT_CHANNEL)
        log = self.request.log
        log["model_id"], log["channel"], log["commit_sha"] = (
            model_id,
            slot.served.channel,
            model.key.commit_sha,
        )
        return Turn(self, slot, model)

    @contextmanager
    def turn(self, org: str, name: str) -> Iterator[Turn]:
        """`take`, and give it back at the end."""
        turn = self.take(org, name)
        try:
            yield turn
        finally:
            turn.give_back()


class Turn(Visit):
    """A visit that has its model."""

    __slots__ = ("model", "slot")

    def __init__(self, visit: Visit, slot: Slot, model: LoadedModel) -> None:
        self.request, self.state, self.grant, self.deadline = (
            visit.request,
            visit.state,
            visit.grant,
            visit.deadline,
        )
        self.slot, self.model = slot, model

    @property
    def headers(self) -> dict[str, str]:
        """What each answer carries, whatever the protocol."""
        return {"X-Model-Revision": self.model.key.commit_sha}

    def check_room(self) -> None:
        if not self.model.engine.has_room:
            raise busy()

    def give_back(self) -> None:
        self.state.slots.give_back(self.model)

    async def ask(
        self, inputs: Sequence[Input], options: Options | None = None, *, truncate: bool = True
    ) -> Answer:
        """The engine's answer. Raises ApiError 422, 429, 500, 503, 504; ClientGone."""
        checked = self.checked(inputs)
        chars = [len(one) if isinstance(one, str) else sum(map(len, one)) for one in checked]
        engine, request = self.model.engine, self.request
        chosen = options if options is not None else Classify()
        # A thread costs more than a short text: only long ones would hold up everyone.
        size = sum(chars)
        hashes = self._hashes(checked) if size <= _INLINE_BYTES else await self.work(self._hashes, checked)
        log = request.log
        log["inputs"], log["chars"], log["hashes"] = len(checked), chars, hashes
        try:
            permit = engine.admit(len(checked))
            # Released here as well: this task may be cancelled before the request is queued.
            try:
                if size <= _INLINE_CHARS and engine.encodes_here:
                    prepared = engine.prepare(checked, chosen, truncate=truncate)
                else:
                    prepare = partial(engine.prepare, checked, chosen, truncate=truncate)
                    prepared = await self.work(prepare)
                pending = engine.enqueue_here(permit, prepared, deadline=self.deadline)
            except BaseException:
                permit.release()
                raise
            answer = await self._wait(pending)
        except Exception as exc:
            typed = _answer_for(exc, self.state.settings.limits.deadline_s)
            if typed is None:
                raise
            # The log of a failure says what was behind it; what a caller did wrong has nothing behind it.
            raise typed from (exc if isinstance(exc, InferenceError) else None)
        self._note(answer)
        return answer

    async def _wait(self, pending: Pending) -> Answer:
        """Wait for the answer, the deadline or the caller's hanging up; in the last two cases the work is dropped.
        Raises TooLate, ClientGone, and what the engine answers."""
        future, patience = pending.future, self.state.patience
        watch = Watch(self.deadline, future.cancel, self.request.source.receive)
        patience.add(watch)
        try:
            return await future
        except asyncio.CancelledError:
            if watch.ended_by is None:
                raise
            raise (ClientGone() if isinstance(watch.ended_by, HungUp) else watch.ended_by) from None
        finally:
            patience.discard(watch)
            watch.close()
            # Also when this task itself is cancelled (shutdown): nobody will read the answer.
            if not future.done() or future.cancelled():
                pending.drop()

    def checked(self, inputs: Sequence[Input]) -> list[Input]:
        """The inputs within this server's limits. Raises ApiError 422."""
        limits = self.state.settings.limits
        try:
            return check_inputs(inputs, max_inputs=limits.max_inputs, max_chars=limits.max_chars_per_input)
        except InferenceInputError as exc:
            raise input_error(exc) from None

    def _hashes(self, inputs: Sequence[Input]) -> list[str]:
        # The separator cannot be in a text that a person typed: two pairs never have one hash by accident.
        hasher = self.state.hasher
        return [hasher(one if isinstance(one, str) else "\x1f".join(one)) for one in inputs]

    def _note(self, answer: Answer) -> None:
        results, variant, tokenization_ms, queue_ms, inference_ms = answer
        tokens = [r.token_count for r in results]
        truncated = sum([r.truncated for r in results])
        noted = {
            "tokens": tokens,
            "truncated": truncated,
            "variant": str(variant),
            "tokenization_ms": tokenization_ms,
            "queue_ms": queue_ms,
            "inference_ms": inference_ms,
        }
        if results and isinstance(results[0], Prediction):
            noted["labels"] = [p.label for p in results]  # type: ignore[union-attr]
            noted["confidences"] = [p.confidence for p in results]  # type: ignore[union-attr]
        self.request.log |= noted
        whole, state = sum(tokens), self.state
        state.quotas.spend(self.grant.token_id, whole)
        state.metrics.answered(self.model.key, answer, whole, truncated)


class visiting:
    """1. a place among the running requests  2. who is calling, and one request of their quota: for a protocol that names
    the model in the body. Raises ApiError 401, 403, 429, 503. (Classes, not generators: every request passes here.)"""

    __slots__ = ("_request",)

    def __init__(self, request: Request) -> None:
        self._request = request

    async def __aenter__(self) -> Any:
        request = self._request
        state = request.state
        _take_place(state)
        try:
            grant = known_caller(request, state) or await caller(request, state)
            state.quotas.begin(grant.token_id)
            return self._begin(Visit(request, state, grant))
        except BaseException:
            state.places.change(-1)
            raise

    async def __aexit__(self, *details: object) -> None:
        self._request.state.places.change(-1)

    def _begin(self, visit: Visit) -> Visit:
        return visit


class serving(visiting):
    """3. besides, which model, kept in memory until the end.

    `name` may end in @channel or @commit_sha. Raises ApiError 401, 403, 404, 429, 503.
    """

    __slots__ = ("_name", "_org", "_turn")

    def __init__(self, request: Request, org: str, name: str) -> None:
        self._request, self._org, self._name = request, org, name

    async def __aexit__(self, *details: object) -> None:
        self._turn.give_back()
        self._request.state.places.change(-1)

    def _begin(self, visit: Visit) -> Turn:
        self._turn = visit.take(self._org, self._name)
        return self._turn


def _take_place(state: ServerState) -> None:
    """Admission before any work: bodies and parses of a flood must not fill the memory. Raises ApiError 429."""
    limit = state.settings.limits.max_concurrent_requests
    if state.places.taken >= limit:
        raise ApiError(429, "busy", f"The server is working on {limit} requests.", retry_after_s=1)
    state.places.change(1)


def known_caller(request: Request, state: ServerState) -> Grant | None:
    """The caller's grant where it is remembered: without waiting. Raises ApiError 401, 403."""
    grant = state.tokens.known(request.header(b"authorization"))
    return None if grant is None else _admitted(request, grant)


async def caller(request: Request, state: ServerState) -> Grant:
    """The caller's grant. Raises ApiError 401, 403 (no scope infer), 429, 503."""
    return _admitted(
        request, await state.tokens.grant(request.header(b"authorization"), request.source.address)
    )


def _admitted(request: Request, grant: Grant) -> Grant:
    log = request.log
    log["team"], log["token_id"] = grant.team, grant.token_id
    if "infer" not in grant.scopes:
        raise ApiError(403, "missing_scope", "Your token lacks the scope infer.", details={"scope": "infer"})
    return grant


def busy(retry_after_s: int = 1) -> ApiError:
    return ApiError(429, "busy", "The model has more requests than it can take.", retry_after_s=retry_after_s)


def input_error(exc: InferenceInputError) -> ApiError:
    return ApiError(422, exc.code, str(exc), details=dict(exc.details))


def _answer_for(exc: Exception, deadline_s: float) -> ApiError | None:
    """The engine's exceptions as answers; None for what is none of its."""
    match exc:
        case InferenceInputError():
            return input_error(exc)
        case EngineBusy():
            return busy(exc.retry_after_s)
        case EngineDeadline() | TooLate():
            message = "The answer was not ready in time."
            return ApiError(504, "deadline_exceeded", message, details={"deadline_s": deadline_s})
        case InferenceOutputError():
            return ApiError(500, exc.code, "The model's answer on this request is no answer.")
        case InferenceError():
            # Often memory: the same request may pass when fewer are running.
            return ApiError(503, exc.code, "The model failed on this request.", retry_after_s=1)
        case EngineClosed():
            return ApiError(503, "model_unavailable", "The model is being replaced.", retry_after_s=1)
    return None
