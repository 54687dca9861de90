"""A line between a client and a server that breaks in the middle of a large answer, once."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit


class Line:
    """Passes bytes on both ways; once, after `after` bytes of an answer, it hangs up. `ranges`: what was asked for."""

    def __init__(self, server: str, after: int) -> None:
        address = urlsplit(server)
        self._server = (address.hostname or "", address.port or 80)
        self._after, self.cuts, self.ranges = after, 0, list[str]()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server, timeout=60)
                threading.Thread(target=self._up, args=(client, server), daemon=True).start()
                threading.Thread(target=self._down, args=(server, client), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                self.ranges += re.findall(r"(?im)^range: (\S+)", data.decode("latin-1"))
                server.sendall(data)
        self._hang_up(client, server)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        passed = 0
        with suppress(OSError):
            while data := server.recv(65536):
                passed += len(data)
                if passed > self._after and not self.cuts:
                    self.cuts += 1
                    break
                client.sendall(data)
        self._hang_up(client, server)

    @staticmethod
    def _hang_up(*ends: socket.socket) -> None:
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listener.close()


@contextmanager
def breaking_line(server: str, after: int) -> Iterator[Line]:
    line = Line(server, after)
    try:
        yield line
    finally:
        line.close()
