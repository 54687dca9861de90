"""uvicorn's connection, with an answer written in one piece.

ASGI hands an answer over in two messages; uvicorn makes a call to the kernel of each, and judges every header by two patterns.
Ours are whole from the start and of headers that we made: where the server offers it, the application gives them all at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

# Where the scope offers `_Cycle.answer`.
ANSWER = "assay.answer"


class _Cycle(RequestResponseCycle):
    """One request and its answer."""

    def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bool:
        """Write the whole answer; False when it must go by `send`, and nothing is written yet."""
        if self.response_started or self.flow.write_paused or self.scope["method"] == "HEAD":
            return False
        if self.disconnected:
            return True
        self.response_started = self.response_complete = True
        parts, closing = [STATUS_LINE[status]], False
        for name, value in (*self.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
            closing = closing or name == b"connection"
        if closing:
            self.keep_alive = False
        elif not self.keep_alive:
            parts.append(b"connection: close\r\n")
        parts += (b"\r\n", body)
        self.transport.write(b"".join(parts))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True


class Connection(HttpToolsProtocol):
    """What uvicorn is given as its protocol."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        # The cycle was made by uvicorn a moment ago; all that differs is how it answers.
        cycle.__class__ = _Cycle
        refuse: Callable[..., bool] | None = getattr(self.config.app, "refuse_at_once", None)
        if refuse is not None and refuse(cycle.scope, cycle.receive, cycle.answer):  # type: ignore[attr-defined]
            return
        cycle.scope[ANSWER] = cycle.answer  # type: ignore[attr-defined, literal-required]
        super()._start_asgi_task(cycle, app)
