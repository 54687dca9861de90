"""POST /v1/predict/{org}/{name}[@{channel or sha}]"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from inference.engine import (
    Answer,
    EngineBusy,
    EngineClosed,
    EngineDeadline,
    InferenceError,
    InferenceInputError,
    InferenceOutputError,
    Prediction,
)
from inference.server.body import ClientGone, parse_json, read_body
from inference.server.errors import ApiError
from inference.server.fleet import DEFAULT_CHANNEL
from inference.server.loading import LoadedModel
from inference.server.predict_request import PredictRequest, input_error, parse_predict, parse_target
from inference.server.responses import json_response
from inference.server.state import ServerState
from inference.server.tokens import Grant

# Larger bodies are parsed off the event loop, where a megabyte of JSON would hold up everyone.
_PARSE_INLINE_BYTES = 64 * 1024


async def predict(request: Request) -> Response:
    """1. a place among the running requests  2. who is calling  3. what is asked for  4. the body  5. the
    engine."""
    state: ServerState = request.app.state.server
    started = time.monotonic()
    async with _place(state):
        grant = await caller(request, state)
        state.quotas.begin(grant.token_id)
        model_id, selector = parse_target(request.path_params["org"], request.path_params["name"])
        with state.fleet.use(grant.team, model_id, selector or DEFAULT_CHANNEL) as (slot, model):
            note(request, model_id=model_id, channel=slot.served.channel, commit_sha=model.key.commit_sha)
            asked = await _read(request, state)
            answer = await _classify(request, state, model, asked, started + state.settings.limits.deadline_s)
            state.quotas.spend(grant.token_id, sum(p.token_count for p in answer.predictions))
            latency_ms = round((time.monotonic() - started) * 1000, 2)
            _note_answer(request, answer)
            return json_response(
                {
                    "predictions": [_prediction(p) for p in answer.predictions],
                    "model_id": model.key.model_id,
                    "commit_sha": model.key.commit_sha,
                    "channel": slot.served.channel,
                    "device": model.engine.device,
                    "latency_ms": latency_ms,
                    "timings": {
                        "tokenization_ms": answer.tokenization_ms,
                        "queue_ms": answer.queue_ms,
                        "inference_ms": answer.inference_ms,
                    },
                    "request_id": request.scope["assay"]["request_id"],
                },
                headers={"X-Model-Revision": model.key.commit_sha},
            )


async def caller(request: Request, state: ServerState) -> Grant:
    """The caller's grant. Raises ApiError 401, 403 (no scope infer), 503."""
    grant = await state.tokens.grant(request.headers.get("authorization"))
    note(request, team=grant.team, token_id=grant.token_id)
    if "infer" not in grant.scopes:
        raise ApiError(403, "missing_scope", "Your token lacks the scope infer.", details={"scope": "infer"})
    return grant


def note(request: Request, **fields: Any) -> None:
    """Add fields to the request's one log line."""
    request.scope["assay"]["log"].update(fields)


@asynccontextmanager
async def _place(state: ServerState) -> AsyncIterator[None]:
    """Admission before any work: bodies and parses of a flood must not fill the memory."""
    limit = state.settings.limits.max_concurrent_requests
    if state.in_flight >= limit:
        raise ApiError(429, "busy", f"The server is working on {limit} requests.", retry_after_s=1)
    state.in_flight += 1
    try:
        yield
    finally:
        state.in_flight -= 1


async def _read(request: Request, state: ServerState) -> PredictRequest:
    limits = state.settings.limits
    raw = await read_body(request, limit=limits.max_body_bytes, timeout_s=limits.deadline_s)
    loop = asyncio.get_running_loop()
    inline = len(raw) <= _PARSE_INLINE_BYTES
    value = parse_json(raw) if inline else await loop.run_in_executor(state.pool, parse_json, raw)
    asked = parse_predict(value, limits)
    # Hashing is work for the pool too once the texts are long.
    hashes = (
        _hashes(state, asked.texts)
        if inline
        else await loop.run_in_executor(state.pool, _hashes, state, asked.texts)
    )
    note(request, inputs=len(asked.texts), chars=[len(text) for text in asked.texts], hashes=hashes)
    return asked


async def _classify(
    request: Request, state: ServerState, model: LoadedModel, asked: PredictRequest, deadline: float
) -> Answer:
    """The engine's answer. Raises ApiError 422, 429, 500, 503, 504; ClientGone."""
    engine = model.engine
    loop = asyncio.get_running_loop()
    try:
        permit = engine.admit(len(asked.texts))
        # Released here as well: if this task is cancelled while the pool has not begun, submit never runs.
        try:
            queued = await loop.run_in_executor(
                state.pool,
                lambda: engine.submit(
                    permit, asked.texts, top_k=asked.top_k, truncate=asked.truncate, deadline=deadline
                ),
            )
        except BaseException:
            permit.release()
            raise
        return await _wait(request, asyncio.wrap_future(queued), deadline)
    except InferenceInputError as exc:
        raise input_error(exc) from None
    except EngineBusy as exc:
        raise ApiError(
            429, "busy", "The model has more requests than it can take.", retry_after_s=exc.retry_after_s
        ) from None
    except (EngineDeadline, TimeoutError):
        seconds = state.settings.limits.deadline_s
        raise ApiError(
            504, "deadline_exceeded", "The answer was not ready in time.", details={"deadline_s": seconds}
        ) from None
    except InferenceOutputError as exc:
        raise ApiError(500, exc.code, "The model's answer on this request is no answer.") from exc
    except InferenceError as exc:
        # Often memory: the same request may pass when fewer are running.
        raise ApiError(503, exc.code, "The model failed on this request.", retry_after_s=1) from exc
    except EngineClosed:
        raise ApiError(503, "model_unavailable", "The model is being replaced.", retry_after_s=1) from None


async def _wait(request: Request, answer: asyncio.Future[Answer], deadline: float) -> Answer:
    """Wait for the answer, the deadline or the caller's hanging up; in the last two cases the work is
    dropped."""
    gone = asyncio.create_task(_hung_up(request))
    try:
        waited: set[asyncio.Future[Any]] = {answer, gone}
        await asyncio.wait(
            waited, timeout=max(0.0, deadline - time.monotonic()), return_when=asyncio.FIRST_COMPLETED
        )
        if answer.done():
            return answer.result()
        answer.cancel()
        if gone.done():
            raise ClientGone
        raise TimeoutError
    finally:
        # Also when this task itself is cancelled (shutdown): nobody will read the answer.
        answer.cancel()
        gone.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _prediction(prediction: Prediction) -> dict[str, Any]:
    line: dict[str, Any] = {
        "label": prediction.label,
        "confidence": prediction.confidence,
        "token_count": prediction.token_count,
        "truncated": prediction.truncated,
    }
    if prediction.scores is not None:
        line["scores"] = [{"label": s.label, "confidence": s.confidence} for s in prediction.scores]
    return line


def _hashes(state: ServerState, texts: Sequence[str]) -> list[str]:
    return [state.hasher(text) for text in texts]


def _note_answer(request: Request, answer: Answer) -> None:
    note(
        request,
        tokens=[p.token_count for p in answer.predictions],
        labels=[p.label for p in answer.predictions],
        confidences=[p.confidence for p in answer.predictions],
        truncated=sum(p.truncated for p in answer.predictions),
        tokenization_ms=answer.tokenization_ms,
        queue_ms=answer.queue_ms,
        inference_ms=answer.inference_ms,
    )
