"""A request as an ASGI server hands it over: Ray Serve's, say."""

from __future__ import annotations

from inference.server.http import Message, Receive, Request, Response, Scope, Send
from inference.server.state import ServerState


class Asgi:
    """Implements `Source`."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope, self._receive = scope, receive

    @property
    def address(self) -> str:
        client = self._scope.get("client")
        return str(client[0]) if client else ""

    async def receive(self) -> Message:
        return await self._receive()

    def whole(self) -> bytes | None:
        return None


def request_from(scope: Scope, receive: Receive, state: ServerState) -> Request:
    # Reversed: of a header that is there twice the first one counts.
    headers = dict(reversed(scope["headers"]))
    return Request(scope["method"], scope["path"], headers, Asgi(scope, receive), state)


async def send_response(send: Send, response: Response) -> None:
    await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
    await send({"type": "http.response.body", "body": response.body})
